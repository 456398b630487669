"""Checkpoints, which are complete or absent, verified when read, and unable to run code.

A checkpoint is a directory ``step-000123456`` inside a run directory:

    arrays.npz      all arrays that a continued run needs except full blocks of frames; NumPy's own
                    format, without pickle
    network.keras   the acting network, for other programs; this package never reads it
    config.toml     the resolved settings
    manifest.json   size and SHA-256 of each file above, notes, and a SHA-256 of the manifest;
                    written last, so that its presence means that the checkpoint is complete
"""

import hashlib
import json
import math
import os
import re
import struct
import tokenize
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, BinaryIO, NamedTuple, TypedDict, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from atari_dqn.backend.machine import memory_left
from atari_dqn.console import waiting
from atari_dqn.errors import UserError
from atari_dqn.files.atomic_write import (
    TEMPORARY,
    check_no_link,
    check_there,
    flush,
    remove,
    write_whole,
)
from atari_dqn.files.reading import open_file, read_json

FORMAT = 4
MANIFEST = "manifest.json"
ARRAYS = "arrays.npz"
SHARED = "replay"
CONFIG = "config.toml"
# The array with the numbers of the first blocks after each file of frames, for each environment.
FRAME_FILES = "frame_files"

# The suffix of a checkpoint's name while a new one of the same step replaces it.
REPLACED = ".replaced"
CHECKPOINT_NAME = re.compile(rf"step-(\d{{9,}})({re.escape(REPLACED)})?")
# No file with another name is ever deleted from the folder of shared files.
SHARED_NAME = re.compile(rf"({re.escape(TEMPORARY)})?\d{{9,}}\.npz")

LARGEST_MANIFEST = 16 * 2**20

Arrays = Mapping[str, NDArray[Any]]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Length = Annotated[int, Field(ge=1, lt=2**31)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Entry(TypedDict):
    """The size and the hash of a file in a manifest."""

    bytes: int
    sha256: str


class Manifest(TypedDict):
    """A manifest without its own SHA-256."""

    format: int
    step: int
    files: dict[str, Entry]
    shared: dict[str, Entry]
    notes: dict[str, Any]
    agent_only: bool


@dataclass(frozen=True)
class Contents:
    """The content of a checkpoint to write.

    Attributes:
        arrays: Arrays by name.
        write_files: For each other file, by name, a function that writes it to the given path.
        notes: Any JSON values by name.
        shared: Entries of the files written by ``share`` that this checkpoint also needs.
    """

    arrays: Arrays
    write_files: Mapping[str, Callable[[Path], object]]
    notes: Mapping[str, Any]
    shared: Mapping[str, Entry] = field(default_factory=dict)


class Checkpoint(NamedTuple):
    """A verified checkpoint.

    Attributes:
        path: The checkpoint's directory.
        step: Agent steps of the run when it was written.
        arrays: Arrays by name.
        notes: Any JSON values by name.
        shared: Entries of the files shared with other checkpoints of the run, oldest first.
        agent_only: Whether the replay memory is gone, so that no run can continue from it.
    """

    path: Path
    step: int
    arrays: dict[str, NDArray[Any]]
    notes: dict[str, Any]
    shared: dict[str, Entry]
    agent_only: bool = False


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)


class _Entry(_Part):
    bytes: Count
    sha256: Annotated[str, Field(max_length=64)]


class _Time(_Part):
    wall: Seconds
    parts: dict[str, Seconds]


class _Notes(_Part):
    """The notes that this package reads. Others are allowed and kept."""

    model_config = ConfigDict(extra="allow")

    keep: bool = False
    evaluation: float | None = None
    observation_shape: Annotated[list[Length], Field(max_length=4)] = []
    actions: Annotated[list[str], Field(max_length=2**16)] = []
    logs: dict[str, Count] = {}
    time: _Time | None = None


class _Manifest(_Part):
    format: int
    step: Count
    files: dict[str, _Entry]
    shared: dict[str, _Entry]
    notes: _Notes
    agent_only: bool = False

    @field_validator("files", "shared")
    @classmethod
    def _names_no_files_elsewhere(cls, files: dict[str, _Entry]) -> dict[str, _Entry]:
        # A manifest may come from anybody, and old files that it names are deleted.
        if any(Path(name).name != name or name in ("", "..") or "\0" in name for name in files):
            raise ValueError("a file name leads to another directory")
        return files


# For each file that was hashed: its stamp at that time (see ``_stamp``), and its SHA-256.
_hashed: dict[Path, tuple[tuple[int, ...], str]] = {}


def save(run_directory: Path, step: int, contents: Contents) -> Path:
    """Writes a checkpoint into a run directory, and returns the checkpoint's directory.

    The directory is written under a temporary name, flushed to disk, and then renamed. An
    interruption at any time leaves earlier checkpoints intact.

    Args:
        run_directory: The run directory.
        step: Agent steps so far.
        contents: Arrays, files and notes.

    Raises:
        UserError: Writing failed, as on a full disk. Earlier checkpoints are intact.
    """
    final = directory_of(run_directory, step)
    temporary = run_directory / f"{TEMPORARY}{final.name}"
    check_there(run_directory)
    try:
        remove(temporary)
        temporary.mkdir()
        np.savez(temporary / ARRAYS, **dict(contents.arrays))  # type: ignore[arg-type]
        for name, write in contents.write_files.items():
            write(temporary / name)
        files = {file.name: _entry(file) for file in sorted(temporary.iterdir())}
        manifest = {
            "format": FORMAT,
            "step": step,
            "files": files,
            "shared": dict(contents.shared),
            "notes": dict(contents.notes),
        }
        _write_manifest(temporary, manifest)
        for path in (*temporary.iterdir(), temporary):
            flush(path)
        _put_in_place(temporary, final)
    except OSError as error:
        with suppress(OSError):
            remove(temporary)
        check_there(run_directory)
        earlier = in_run(run_directory)
        rest = "there is no earlier checkpoint"
        if earlier:
            rest = f"the newest complete checkpoint is '{earlier[-1]}'"
        raise UserError(
            f"checkpoint '{final}' could not be written: {error.strerror or error}; {rest}"
        ) from error
    for name, entry in files.items():
        _remember(final / name, entry["sha256"])
    return final


def _put_in_place(temporary: Path, final: Path) -> None:
    """Renames a checkpoint to its final name. Another one of its step stays complete until then."""
    aside = final.with_name(f"{final.name}{REPLACED}")
    if os.path.lexists(final):
        _delete(aside)
        final.rename(aside)
    temporary.rename(final)
    flush(final.parent)
    _delete(aside)


def _delete(directory: Path) -> None:
    """Deletes a checkpoint, or a link to one.

    The manifest is deleted first, so that a half-deleted checkpoint does not count as complete.
    """
    if not directory.is_symlink():
        (directory / MANIFEST).unlink(missing_ok=True)
    remove(directory)


def share(run_directory: Path, name: str, write: Callable[[Path], object]) -> Entry:
    """Writes a file that several checkpoints of a run share, and returns its manifest entry.

    The file never changes afterwards.

    Raises:
        UserError: Writing failed.
    """
    final = run_directory / SHARED / name
    temporary = final.with_name(f"{TEMPORARY}{name}")
    check_there(run_directory)
    check_no_link(final.parent)
    check_no_link(final)
    try:
        final.parent.mkdir(exist_ok=True)
        remove(temporary)
        write(temporary)
        check_no_link(temporary)
        entry = _entry(temporary)
        flush(temporary)
        temporary.rename(final)
        flush(final.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        check_there(run_directory)
        reason = f"{error.strerror or error}; earlier checkpoints are intact"
        raise UserError(f"'{final}' could not be written: {reason}") from error
    _remember(final, entry["sha256"])
    return entry


def load(path: str | Path, shared: bool = True) -> Checkpoint:
    """Returns a checkpoint after verifying it.

    Args:
        path: Directory of a checkpoint, or of a run for its newest complete checkpoint.
        shared: Whether to verify shared files too.

    Raises:
        UserError: There is no checkpoint, or one of its files is missing or damaged.
    """
    directory = find(path)
    manifest = _manifest(directory)
    with waiting("reading the checkpoint"):
        _verify(directory, manifest, shared)
        arrays = read_arrays(directory / ARRAYS)
    files = arrays[FRAME_FILES].shape[:1] if FRAME_FILES in arrays else ()
    agent_only = _lacks_frames(manifest, sum(files))
    return Checkpoint(
        path=directory,
        step=manifest["step"],
        arrays=arrays,
        notes=manifest["notes"],
        shared=manifest["shared"],
        agent_only=agent_only,
    )


def _verify(directory: Path, manifest: Manifest, shared: bool = True, again: bool = True) -> None:
    """Raises a UserError if a file that a manifest names is missing or has changed.

    Args:
        directory: The checkpoint's directory.
        manifest: The checkpoint's manifest.
        shared: Whether to verify shared files too.
        again: Whether to hash all files. Otherwise the hash of a file that this process has already
            hashed is reused if the file's stamp has not changed.
    """
    needed = {directory / name: entry for name, entry in manifest["files"].items()}
    if shared:
        folder = directory.parent / SHARED
        needed |= {folder / name: entry for name, entry in manifest["shared"].items()}
    for file, expected in needed.items():
        if not os.path.isfile(file):  # noqa: PTH113  (Path.is_file raises without permission)
            raise UserError(f"damaged checkpoint: {file} is missing")
        if file.stat().st_size != expected["bytes"] or _sha256(file, again) != expected["sha256"]:
            reason = "is corrupt (its size or SHA-256 differs from the manifest)"
            raise UserError(f"damaged checkpoint: {file} {reason}")


def read_arrays(file: Path) -> dict[str, NDArray[Any]]:
    """Returns the arrays in an ``.npz`` file.

    The sizes in the file's headers are checked before any memory is allocated.

    Raises:
        UserError: The file is not an archive of arrays, does not fit into free memory, or contains
            pickled objects, which could run code.
    """
    try:
        with open_file(file) as stream:
            _check_arrays(file, stream)
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
    except MemoryError:
        raise UserError(f"'{file}' does not fit into free memory") from None
    except _BAD_ARCHIVE as error:
        raise UserError(
            f"damaged checkpoint: {file} is not a plain archive of arrays ({error})"
        ) from error


# The exceptions of NumPy, zipfile and the header parser for a file that is not such an archive.
_BAD_ARCHIVE = (
    *(ValueError, EOFError, TypeError, AttributeError, LookupError, RuntimeError, OSError),
    *(SyntaxError, OverflowError, zipfile.BadZipFile, tokenize.TokenError, struct.error),
)


def _check_arrays(file: Path, stream: BinaryIO) -> None:
    """Raises a ValueError unless every array is uncompressed and as large as its header says."""
    size = os.fstat(stream.fileno()).st_size
    total = 0
    with zipfile.ZipFile(stream) as archive:
        members = archive.infolist()
        if len({member.filename.removesuffix(".npy") for member in members}) != len(members):
            raise ValueError("two arrays have the same name")
        for member in members:
            stored = member.compress_type == zipfile.ZIP_STORED
            if not stored or member.file_size != member.compress_size:
                raise ValueError(f"{member.filename} is compressed")
            total += member.file_size
            if total > size:
                raise ValueError(f"its arrays claim {total} bytes, but the file has {size}")
            with archive.open(member) as content:
                claimed = _claimed_bytes(content)
            if claimed != member.file_size:
                sizes = f"claims {claimed} bytes but has {member.file_size}"
                raise ValueError(f"{member.filename} {sizes}")
    if total > memory_left():
        raise MemoryError


def _claimed_bytes(content: Any) -> int:
    """Returns the size of an ``.npy`` file in bytes according to its header."""
    version = np.lib.format.read_magic(content)
    readers: dict[tuple[int, int], Callable[[Any], Any]] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"an array has unknown format version {version}")
    shape, _, dtype = readers[version](content)
    if dtype.hasobject:
        raise ValueError("an array contains objects, which allow_pickle=False refuses")
    if dtype.kind not in "biufc" or dtype.fields is not None:
        raise ValueError(f"an array has dtype {dtype}, which is not a number type")
    return int(content.tell()) + math.prod(int(length) for length in shape) * int(dtype.itemsize)


@contextmanager
def restoring(path: Path) -> Iterator[None]:
    """Context that turns errors in a checkpoint's content into a UserError that names its path.

    A checkpoint with correct checksums may still lack arrays or contain the wrong ones.

    Raises:
        UserError: Something is missing, or has the wrong shape or type.
    """
    try:
        yield
    except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        reason = f"{lines[0]} is missing" if isinstance(error, KeyError) else lines[0]
        raise UserError(f"damaged checkpoint: {path}: {reason}") from error


def array(
    arrays: Arrays, name: str, shape: tuple[int | None, ...], dtype: DTypeLike
) -> NDArray[Any]:
    """Returns an array by name after checking its shape and dtype.

    Args:
        arrays: Arrays by name.
        name: Name of the array.
        shape: Expected shape. None allows any length.
        dtype: Expected dtype. A dtype that NumPy can cast to it as "same_kind" is accepted too, and
            so is an empty array of any dtype.

    Raises:
        KeyError: The array is missing.
        ValueError: The array has the wrong shape or dtype.
    """
    stored = arrays[name]
    fits = len(stored.shape) == len(shape) and all(
        expected in (None, length) for length, expected in zip(stored.shape, shape, strict=True)
    )
    if not fits:
        expected_shape = ", ".join("any" if length is None else str(length) for length in shape)
        raise ValueError(f"array {name} has shape {stored.shape}, expected ({expected_shape})")
    if stored.size and not np.can_cast(stored.dtype, dtype, "same_kind"):
        raise ValueError(f"array {name} has dtype {stored.dtype}, expected {np.dtype(dtype)}")
    return stored


def directory_of(run_directory: Path, step: int) -> Path:
    """Returns the directory of the checkpoint at a step.

    >>> directory_of(Path("run"), 4000).as_posix()
    'run/step-000004000'
    """
    return run_directory / f"step-{step:09d}"


def add_notes(directory: Path, notes: Mapping[str, Any]) -> None:
    """Adds notes to a checkpoint, or replaces them. A linked checkpoint is not changed.

    Raises:
        UserError: The manifest could not be written. The checkpoint is unchanged.
    """
    if directory.is_symlink():
        return
    manifest = _manifest(directory)
    manifest["notes"] = manifest["notes"] | dict(notes)
    try:
        _write_manifest(directory, manifest)
    except OSError as error:
        raise UserError(f"'{directory}' could not be changed: {error.strerror}") from error


def find(path: str | Path) -> Path:
    """Returns the checkpoint at a path, or the newest complete one of the run at that path.

    Raises:
        UserError: There is no complete checkpoint.
    """
    path = Path(path)
    if not path.is_dir():
        advice = "give a run directory or one of the step-... directories in it"
        raise UserError(f"no checkpoint at '{path}': {advice}")
    if (path / MANIFEST).is_file():
        return path
    complete = in_run(path)
    if not complete:
        raise UserError(f"no complete checkpoint in '{path}'")
    return complete[-1]


def in_run(run_directory: Path) -> list[Path]:
    """Returns the complete checkpoints of a run, including linked ones, oldest first."""
    current: dict[int, Path] = {}
    replaced: dict[int, Path] = {}
    for marker in run_directory.glob(f"step-*/{MANIFEST}"):
        name = CHECKPOINT_NAME.fullmatch(marker.parent.name)
        if name:
            (replaced if name[2] else current)[int(name[1])] = marker.parent
    # A checkpoint that is being replaced counts until the new one of its step is complete.
    complete = replaced | current
    return [complete[step] for step in sorted(complete)]


def step_of(directory: Path) -> int:
    """Returns the number of agent steps of the run at a checkpoint."""
    return _manifest(directory)["step"]


def evaluation_of(directory: Path) -> float | None:
    """Returns the mean score of a checkpoint's evaluation in training, or None without one.

    Raises:
        UserError: The checkpoint is damaged.
    """
    return _score(_manifest(directory)["notes"])


def is_agent_only(directory: Path) -> bool:
    """Returns whether a checkpoint has no replay memory, so that no run can continue from it.

    Raises:
        UserError: The checkpoint is damaged.
    """
    manifest = _manifest(directory)
    if manifest["agent_only"] or manifest["shared"]:
        return manifest["agent_only"]
    # A manifest without this field may list no shared files although the memory had some.
    try:
        with (
            open_file(directory / ARRAYS) as stream,
            zipfile.ZipFile(stream) as archive,
            archive.open(f"{FRAME_FILES}.npy") as content,
        ):
            np.lib.format.read_magic(content)
            shape, _, _ = np.lib.format.read_array_header_1_0(content)
    except KeyError:
        return False
    except _BAD_ARCHIVE as error:
        reason = f"{directory / ARRAYS} is not a plain archive of arrays ({error})"
        raise UserError(f"damaged checkpoint: {reason}") from error
    return _lacks_frames(manifest, shape[0] if shape else 0)


def _lacks_frames(manifest: Manifest, files: int) -> bool:
    """Returns whether the replay memory had files of frames that the manifest does not name."""
    return manifest["agent_only"] or (not manifest["shared"] and files > 0)


def to_continue_from(run_directory: Path) -> Path | None:
    """Returns the newest checkpoint from which a run can continue, or None.

    Only manifests are read; files are not verified.
    """
    for directory in reversed(in_run(run_directory)):
        with suppress(UserError):
            if not is_agent_only(directory):
                return directory
    return None


def prune(run_directory: Path, keep: int) -> None:
    """Deletes old checkpoints, and shared files that no checkpoint needs any more.

    The newest ``keep`` checkpoints remain complete. Of the older ones, two kinds remain: those with
    ``keep`` in their notes, and the one with the best ``evaluation``. These lose their shared
    files, so their agents can be evaluated, but no run can continue from them.

    Damaged checkpoints and links to checkpoints do not count. They are kept together with the
    shared files that they name. Nothing else in the run directory is changed.
    """
    check_no_link(run_directory / SHARED)
    _delete_replaced(run_directory)
    manifests = _readable_manifests(run_directory)
    own = [path for path in manifests if not path.is_symlink()]
    sound = [path for path in own if _is_sound(path, manifests[path])]
    resumable = [path for path in sound if not is_agent_only(path)]
    notes = {path: manifests[path]["notes"] for path in sound}
    evaluated = [path for path in sound if _score(notes[path]) is not None]
    best = max(reversed(evaluated), key=lambda path: _score(notes[path]) or 0.0, default=None)
    newest = resumable[-keep:]
    for path in sound:
        if path in newest:
            continue
        if path == best or notes[path].get("keep"):
            _drop_frames(path)
        else:
            _delete(path)
    _remove_unneeded(run_directory)


def _score(notes: Mapping[str, Any]) -> float | None:
    """Returns the evaluation score of a checkpoint, or None if it is missing or NaN."""
    score = notes.get("evaluation")
    return None if score is None or math.isnan(score) else float(score)


def _delete_replaced(run_directory: Path) -> None:
    """Deletes replaced checkpoints that an interrupted ``save`` has not deleted."""
    for aside in run_directory.glob(f"step-*{REPLACED}"):
        if CHECKPOINT_NAME.fullmatch(aside.name) and (aside.with_suffix("") / MANIFEST).is_file():
            _delete(aside)


def _remove_unneeded(run_directory: Path) -> None:
    """Deletes shared files that no checkpoint names."""
    folder = run_directory / SHARED
    needed: set[str] = set()
    for manifest in _readable_manifests(run_directory).values():
        needed.update(manifest["shared"])
    for file in folder.glob("*"):
        of_a_run = SHARED_NAME.fullmatch(file.name) and file.is_file() and not file.is_symlink()
        if of_a_run and file.name not in needed:
            file.unlink()


def _is_sound(directory: Path, manifest: Manifest) -> bool:
    try:
        _verify(directory, manifest, again=False)
    except (UserError, OSError):
        return False
    return True


def _drop_frames(directory: Path) -> None:
    """Removes the shared files from a checkpoint's manifest, so that they can be deleted."""
    manifest = _manifest(directory)
    if manifest["shared"]:
        manifest["shared"] = {}
        manifest["agent_only"] = True
        _write_manifest(directory, manifest)


def digest(arrays: Arrays) -> str:
    """Returns a SHA-256 over the name, dtype, shape and bytes of all arrays, sorted by name.

    Unlike a hash of the file, it does not depend on the dates in the file.

    >>> digest({"a": np.zeros(2)}) == digest({"a": np.zeros(2)}) != digest({"a": np.zeros((2, 1))})
    True
    """
    total = hashlib.sha256()
    for name in sorted(arrays):
        values = np.ascontiguousarray(arrays[name])
        total.update(f"{name}|{values.dtype.str}|{arrays[name].shape}|".encode())
        total.update(values.tobytes())
    return total.hexdigest()


def part(arrays: Arrays, owner: str) -> dict[str, NDArray[Any]]:
    """Returns the arrays whose names begin with ``owner/``, without that prefix."""
    prefix = f"{owner}/"
    return {
        name.removeprefix(prefix): values
        for name, values in arrays.items()
        if name.startswith(prefix)
    }


def _manifest(directory: Path) -> Manifest:
    """Returns a checkpoint's manifest after validating it.

    A missing field ``agent_only`` means False.
    """
    path = directory / MANIFEST
    try:
        manifest: dict[str, Any] = read_json(path, LARGEST_MANIFEST)
        version = manifest["format"]
        seal = manifest.pop("sha256", None)
        expected = _seal(manifest)
    except UserError as error:
        raise UserError(f"damaged checkpoint: {path} is not a manifest ({error})") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"damaged checkpoint: {path} is not a manifest") from None
    if seal not in (None, expected):
        raise UserError(f"damaged checkpoint: {path} is corrupt (its own SHA-256 differs)")
    if version != FORMAT:  # comes before the check for a missing seal, as format 1 has none
        raise UserError(
            f"{directory} has checkpoint format {version}; this version reads format {FORMAT}"
        )
    try:
        _Manifest.model_validate(manifest)
    except (ValidationError, RecursionError):
        seal = None
    if seal is None:
        raise UserError(f"damaged checkpoint: {path} is not a valid manifest of format {FORMAT}")
    validated: Any = {"agent_only": False} | manifest
    return cast(Manifest, validated)


def _readable_manifests(run_directory: Path) -> dict[Path, Manifest]:
    """Returns the manifests of a run's complete checkpoints, oldest first, except damaged ones."""
    manifests = {}
    for path in in_run(run_directory):
        with suppress(UserError):
            manifests[path] = _manifest(path)
    return manifests


def _write_manifest(directory: Path, manifest: Mapping[str, Any]) -> None:
    text = json.dumps({**manifest, "sha256": _seal(manifest)}, indent=1) + "\n"
    write_whole(directory / MANIFEST, text.encode())


def _seal(manifest: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of a manifest without its field ``sha256``."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _entry(file: Path) -> Entry:
    return {"bytes": file.stat().st_size, "sha256": _sha256(file)}


def _sha256(file: Path, again: bool = True) -> str:
    """Returns the SHA-256 of a file.

    Without ``again``, an earlier result is reused if the file's stamp has not changed.
    """
    stamp, sha256 = _hashed.get(file.absolute(), ((), ""))
    if again or stamp != _stamp(file):
        with open_file(file) as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        _remember(file, sha256)
    return sha256


def _remember(file: Path, sha256: str) -> None:
    _hashed[file.absolute()] = (_stamp(file), sha256)


def _stamp(file: Path) -> tuple[int, ...]:
    """Returns a file's device, inode, size and modification time, which change when it does."""
    status = file.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
