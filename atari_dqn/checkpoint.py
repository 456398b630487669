"""Checkpoints: complete or absent, verified when read, and made of nothing that could run code.

A checkpoint is a directory ``step-000123456`` inside a run's directory:

    arrays.npz      every array that a continued run depends on; NumPy's own format, pickle refused
    network.keras   the online network for other programs; never read by this one
    config.toml     the resolved settings
    manifest.json   size and SHA-256 of each file above, and notes; written last, so that its presence marks completeness
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atari_dqn.errors import UserError

FORMAT = 1
MANIFEST = "manifest.json"
ARRAYS = "arrays.npz"

Arrays = Mapping[str, NDArray[Any]]


class Checkpoint(NamedTuple):
    """A verified checkpoint."""

    path: Path
    step: int  # agent steps when it was written
    arrays: dict[str, NDArray[Any]]
    notes: dict[str, Any]


def save(
    run_directory: Path, step: int, arrays: Arrays, write_files: Mapping[str, Callable[[Path], object]], notes: dict[str, Any]
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

    Raises:
        UserError: it could not be written, as on a full disk; earlier checkpoints are as they were.
    """
    final = run_directory / f"step-{step:09d}"
    temporary = run_directory / f".writing-{final.name}"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        _write(temporary, step, arrays, write_files, notes)
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
        _flush(run_directory)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        before = in_run(run_directory)
        left = f"'{before[-1]}' is complete" if before else "there is no earlier one"
        raise UserError(f"checkpoint '{final}' could not be written: {error.strerror or error}; {left}") from error
    return final


def _write(
    directory: Path, step: int, arrays: Arrays, write_files: Mapping[str, Callable[[Path], object]], notes: dict[str, Any]
) -> None:
    np.savez(directory / ARRAYS, **dict(arrays))  # type: ignore[arg-type]
    for name, write in write_files.items():
        write(directory / name)
    written = sorted(directory.iterdir())
    files = {file.name: {"bytes": file.stat().st_size, "sha256": _sha256(file)} for file in written}
    manifest = {"format": FORMAT, "step": step, "files": files, "notes": notes}
    (directory / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    for path in (*written, directory / MANIFEST, directory):
        _flush(path)


def load(path: Path) -> Checkpoint:
    """Reads a checkpoint, given itself or its run's directory (then the newest complete one).

    Raises:
        UserError: there is none, or a file of it is missing or damaged.
    """
    directory = find(path)
    manifest = _manifest(directory)
    for name, expected in manifest["files"].items():
        file = directory / name
        if not file.is_file():
            raise UserError(f"damaged checkpoint: {file} is missing")
        if file.stat().st_size != expected["bytes"] or _sha256(file) != expected["sha256"]:
            raise UserError(f"damaged checkpoint: {file} is not what was written (size or SHA-256 differ)")
    with np.load(directory / ARRAYS, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    return Checkpoint(directory, manifest["step"], arrays, manifest["notes"])


def find(path: Path) -> Path:
    """The checkpoint directory that a path means: itself, or the newest complete one in a run's directory.

    Raises:
        UserError: there is none.
    """
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
    """Deletes all but the newest ``keep`` checkpoints."""
    for old in in_run(run_directory)[:-keep]:
        # Without its marker a half-deleted checkpoint is no checkpoint.
        (old / MANIFEST).unlink()
        shutil.rmtree(old)


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


def generator_to_array(generator: np.random.Generator) -> NDArray[np.uint64]:
    """State of a PCG64 generator as six numbers."""
    state: Any = generator.bit_generator.state
    words = [part for number in (state["state"]["state"], state["state"]["inc"]) for part in (number >> 64, number % 2**64)]
    return np.array([*words, state["has_uint32"], state["uinteger"]], np.uint64)


def generator_from_array(generator: np.random.Generator, array: NDArray[np.uint64]) -> None:
    """Puts a PCG64 generator into the state that ``generator_to_array`` returned.

    >>> one, other = np.random.default_rng(1), np.random.default_rng(2)
    >>> generator_from_array(other, generator_to_array(one))
    >>> one.random() == other.random()
    True
    """
    words = [int(word) for word in array]
    generator.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": (words[0] << 64) + words[1], "inc": (words[2] << 64) + words[3]},
        "has_uint32": words[4],
        "uinteger": words[5],
    }


def _manifest(directory: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        found = manifest["format"]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"damaged checkpoint: {directory / MANIFEST} is no manifest") from None
    if found != FORMAT:
        raise UserError(f"{directory} has checkpoint format {found}; this version reads format {FORMAT}")
    return manifest


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
