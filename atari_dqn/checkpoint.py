"""Checkpoints: complete or absent, verified when read, and made of nothing that could run code.

A checkpoint is a directory ``step-000123456`` inside a run's directory:

    arrays.npz      every array that a continued run depends on; NumPy's own format, pickle refused
    network.keras   the network that plays, for other programs; never read by this one
    config.toml     the resolved settings
    manifest.json   size and SHA-256 of each file above, and notes, under a SHA-256 of its own; written last, so that its
                    presence marks completeness
"""

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from atari_dqn.errors import UserError

FORMAT = 4
MANIFEST = "manifest.json"
ARRAYS = "arrays.npz"
SHARED = "replay"

Arrays = Mapping[str, NDArray[Any]]


class Entry(TypedDict):
    """What a manifest says of a file."""

    bytes: int
    sha256: str


class Checkpoint(NamedTuple):
    """A verified checkpoint."""

    path: Path
    step: int  # agent steps when it was written
    arrays: dict[str, NDArray[Any]]
    notes: dict[str, Any]
    shared: dict[str, Entry]  # files that it shares with others of its run, oldest first


def save(
    run_directory: Path,
    step: int,
    arrays: Arrays,
    write_files: Mapping[str, Callable[[Path], object]],
    notes: dict[str, Any],
    shared: Mapping[str, Entry] | None = None,
) -> Path:
    """Writes a checkpoint beside the run's others and returns its directory.

    It is written under a temporary name, flushed to the disk, and renamed as a whole: whatever interrupts this leaves the
    previous checkpoints as they were.

    Args:
        run_directory: of the run.
        step: agent steps so far.
        arrays: by name.
        write_files: further files by name, each a function that writes to the path it is given.
        notes: anything that JSON can hold.
        shared: files written by ``share`` that this checkpoint needs as well.

    Raises:
        UserError: it could not be written, as on a full disk; earlier checkpoints are as they were.
    """
    final = directory_of(run_directory, step)
    temporary = run_directory / f".writing-{final.name}"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        np.savez(temporary / ARRAYS, **dict(arrays))  # type: ignore[arg-type]
        for name, write in write_files.items():
            write(temporary / name)
        files = {file.name: _entry(file) for file in sorted(temporary.iterdir())}
        manifest = {"format": FORMAT, "step": step, "files": files, "shared": dict(shared or {}), "notes": notes}
        _write_manifest(temporary, manifest)
        for path in (*temporary.iterdir(), temporary):
            _flush(path)
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
        _flush(run_directory)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        before = in_run(run_directory)
        left = f"'{before[-1]}' is complete" if before else "there is no earlier one"
        raise UserError(f"checkpoint '{final}' could not be written: {error.strerror or error}; {left}") from error
    return final


def share(run_directory: Path, name: str, write: Callable[[Path], object]) -> Entry:
    """Writes a file that several checkpoints of a run will need, and returns its entry; it is never changed afterwards.

    Raises:
        UserError: it could not be written.
    """
    final = run_directory / SHARED / name
    temporary = final.with_name(f".writing-{name}")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        entry = _entry(temporary)
        _flush(temporary)
        temporary.rename(final)
        _flush(final.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(
            f"'{final}' could not be written: {error.strerror or error}; earlier checkpoints are complete"
        ) from error
    return entry


def load(path: str | Path, shared: bool = True) -> Checkpoint:
    """Reads a checkpoint, given itself or its run's directory (then the newest complete one).

    Args:
        path: of the checkpoint or the run.
        shared: whether the files that it shares with others are verified too; who needs none of them can do without.

    Raises:
        UserError: there is none, or a file of it is missing or damaged.
    """
    directory = find(path)
    manifest = _manifest(directory)
    needed = {directory / name: entry for name, entry in manifest["files"].items()}
    if shared:
        needed |= {directory.parent / SHARED / name: entry for name, entry in manifest["shared"].items()}
    for file, expected in needed.items():
        if not file.is_file():
            raise UserError(f"damaged checkpoint: {file} is missing")
        if file.stat().st_size != expected["bytes"] or _sha256(file) != expected["sha256"]:
            raise UserError(f"damaged checkpoint: {file} is not what was written (size or SHA-256 differ)")
    return Checkpoint(directory, manifest["step"], read_arrays(directory / ARRAYS), manifest["notes"], manifest["shared"])


def read_arrays(file: Path) -> dict[str, NDArray[Any]]:
    """The arrays in an ``.npz`` file.

    Raises:
        UserError: it is no such file, or holds pickled objects, which could run code.
    """
    try:
        with np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(f"damaged checkpoint: {file} holds something else than arrays ({error})") from error


def directory_of(run_directory: Path, step: int) -> Path:
    """Where the checkpoint of a step lies.

    >>> directory_of(Path("run"), 4000).as_posix()
    'run/step-000004000'
    """
    return run_directory / f"step-{step:09d}"


def add_notes(directory: Path, notes: Mapping[str, Any]) -> None:
    """Adds to the notes of a checkpoint, or replaces some of them.

    Raises:
        UserError: the manifest could not be written; the checkpoint is as it was.
    """
    manifest = _manifest(directory)
    try:
        _write_manifest(directory, manifest | {"notes": manifest["notes"] | dict(notes)})
    except OSError as error:
        raise UserError(f"'{directory}' could not be changed: {error.strerror}") from error


def find(path: str | Path) -> Path:
    """The checkpoint directory that a path means: itself, or the newest complete one in a run's directory.

    Raises:
        UserError: there is none.
    """
    path = Path(path)
    if not path.is_dir():
        raise UserError(f"no checkpoint at '{path}': give a run's directory or one of the step-... directories in it")
    if (path / MANIFEST).is_file():
        return path
    complete = in_run(path)
    if not complete:
        raise UserError(f"no complete checkpoint in '{path}'")
    return complete[-1]


def in_run(run_directory: Path) -> list[Path]:
    """The complete checkpoints of a run, oldest first."""
    return sorted(path.parent for path in run_directory.glob(f"step-*/{MANIFEST}"))


def step_of(directory: Path) -> int:
    """Agent steps when a checkpoint was written."""
    return int(_manifest(directory)["step"])


def prune(run_directory: Path, keep: int) -> None:
    """Deletes old checkpoints, and the shared files that no checkpoint needs any more.

    The newest ``keep`` stay as they are. Of the older ones those stay whose notes say ``keep``, and the one whose notes have
    the best ``evaluation``, without their shared files: with them an agent can be evaluated, but no run continued.
    """
    manifests = _readable_manifests(run_directory)
    complete, notes = list(manifests), {path: manifest["notes"] for path, manifest in manifests.items()}
    evaluated = [path for path in complete if notes[path].get("evaluation") is not None]
    best = max(reversed(evaluated), key=lambda path: float(notes[path]["evaluation"]), default=None)
    for old in complete[:-keep]:
        if old == best or notes[old].get("keep"):
            _release(old)
        else:
            # Without its marker a half-deleted checkpoint is no checkpoint.
            (old / MANIFEST).unlink()
            shutil.rmtree(old)
    needed = {name for kept in _readable_manifests(run_directory).values() for name in kept["shared"]}
    for file in (run_directory / SHARED).glob("*"):
        if file.name not in needed:
            file.unlink()


def _release(directory: Path) -> None:
    """Makes a checkpoint need no shared file any more."""
    manifest = _manifest(directory)
    if manifest["shared"]:
        _write_manifest(directory, manifest | {"shared": {}})


def digest(arrays: Arrays) -> str:
    """SHA-256 over the sorted (name, dtype, shape, bytes) of arrays; files carry dates, arrays do not.

    >>> digest({"a": np.zeros(2)}) == digest({"a": np.zeros(2)}) != digest({"a": np.zeros((2, 1))})
    True
    """
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name}|{array.dtype.str}|{arrays[name].shape}|".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def part(arrays: Arrays, owner: str) -> dict[str, NDArray[Any]]:
    """The arrays named ``owner/...``, without that prefix."""
    return {name.removeprefix(f"{owner}/"): array for name, array in arrays.items() if name.startswith(f"{owner}/")}


def _manifest(directory: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        found, seal = manifest["format"], manifest.pop("sha256", None)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"damaged checkpoint: {directory / MANIFEST} is no manifest") from None
    if seal not in (None, _seal(manifest)):
        raise UserError(f"damaged checkpoint: {directory / MANIFEST} is not what was written")
    if found != FORMAT:  # the first format had no seal
        raise UserError(f"{directory} has checkpoint format {found}; this version reads format {FORMAT}")
    # Others' manifests are not to be trusted: what they name is deleted when it is old.
    if seal is None or any(Path(name).name != name for name in (*manifest["files"], *manifest["shared"])):
        raise UserError(f"damaged checkpoint: {directory / MANIFEST} is no manifest of this version")
    return manifest


def _readable_manifests(run_directory: Path) -> dict[Path, dict[str, Any]]:
    """The manifests of a run's complete checkpoints, oldest first, but for damaged ones."""
    manifests = {}
    for path in in_run(run_directory):
        with suppress(UserError):
            manifests[path] = _manifest(path)
    return manifests


def _write_manifest(directory: Path, manifest: dict[str, Any]) -> None:
    temporary = directory / f".{MANIFEST}"
    temporary.write_text(json.dumps(manifest | {"sha256": _seal(manifest)}, indent=1) + "\n", encoding="utf-8")
    _flush(temporary)
    temporary.rename(directory / MANIFEST)


def _seal(manifest: dict[str, Any]) -> str:
    """SHA-256 of all else that a manifest says."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _entry(file: Path) -> Entry:
    return {"bytes": file.stat().st_size, "sha256": _sha256(file)}


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
