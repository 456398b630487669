"""The lock of a run directory, which lets one process at a time write, and never through a link."""

import fcntl
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from atari_dqn.errors import UserError
from atari_dqn.files.atomic_write import TEMPORARY, check_no_link, create
from atari_dqn.runs import checkpoint
from atari_dqn.runs.circumstances import CIRCUMSTANCES
from atari_dqn.runs.directory import check_writable

LOCK = "run.lock"
OPEN_LOCK = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# The files and folders that a run writes in its directory and that must not be links. Checkpoints
# and config.toml are not in the list, because writing them replaces a link.
WRITTEN = (
    LOCK,
    CIRCUMSTANCES,
    "metrics.csv",
    "episodes.csv",
    "evaluations.csv",
    "errors.log",
    "train.log",
    "worker.json",
    checkpoint.SHARED,
    "plugins",
    "plugins/profile",
)


@contextmanager
def held(run_directory: Path) -> Iterator[None]:
    """Context in which this process holds the lock of a run directory.

    A missing directory is created. It is deleted again if nothing was written to it.

    Raises:
        UserError: Another process holds the lock, the directory is not writable, or something in it
            is a link.
    """
    check_writable(run_directory)
    if run_directory.is_symlink() and not run_directory.exists():
        advice = "create the directory that it points to"
        raise UserError(f"'{run_directory}' is a broken link: {advice}")
    missing = [path for path in (run_directory, *run_directory.parents) if not path.exists()]
    try:
        run_directory.mkdir(parents=True, exist_ok=True)
        check_links(run_directory)
        lock = _locked(run_directory / LOCK)
    except OSError as error:
        raise UserError(f"cannot write to '{run_directory}': {error.strerror}") from None
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield
    finally:
        if _is_at(lock, run_directory / LOCK):
            _remove_unused(run_directory, missing)
        os.close(lock)


def is_held(run_directory: Path) -> bool:
    """Returns whether a process holds the lock of a run directory, without writing anything."""
    try:
        descriptor = os.open(run_directory / LOCK, OPEN_LOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def check_links(run_directory: Path) -> None:
    """Raises a UserError if a file or folder that a run writes to is a link."""
    for name in WRITTEN:
        check_no_link(run_directory / name)
    for path in run_directory.glob("events.out.tfevents.*"):
        check_no_link(path)
    for path in (run_directory / checkpoint.SHARED).glob("*"):
        if checkpoint.SHARED_NAME.fullmatch(path.name):
            check_no_link(path)


def _locked(path: Path) -> int:
    """Opens a lock file, locks it, and returns its file descriptor.

    Raises:
        UserError: Another process holds the lock.
        OSError: The file cannot be opened or locked.
    """
    while True:
        descriptor = os.open(path, OPEN_LOCK | os.O_CREAT, 0o666)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                advice = "delete it, or choose another run directory"
                raise UserError(f"'{path}' is not a regular file: {advice}")
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace")
            os.close(descriptor)
            advice = "stop that process, or choose another run directory"
            raise UserError(f"'{path.parent}' is in use by process {holder}: {advice}") from None
        except BaseException:
            os.close(descriptor)
            raise
        if not _is_at(descriptor, path):  # the previous holder has deleted the file
            os.close(descriptor)
            continue
        if status.st_nlink == 1:
            return descriptor
        try:
            return _locked_copy(path)
        finally:
            os.close(descriptor)


def _locked_copy(path: Path) -> int:
    """Replaces a lock file that a backup has hard-linked by a new one, and locks that.

    Returns:
        The file descriptor of the new file.
    """
    temporary = path.with_name(f"{TEMPORARY}{path.name}")
    with create(temporary) as file:
        descriptor = os.dup(file.fileno())
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    temporary.replace(path)
    return descriptor


def _is_at(descriptor: int, path: Path) -> bool:
    """Returns whether a path refers to an open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError:
        return False


def _remove_unused(run_directory: Path, created: Sequence[Path]) -> None:
    """Deletes the lock and the created directories if the run directory contains nothing else."""
    with suppress(OSError):
        if list(run_directory.iterdir()) == [run_directory / LOCK]:
            (run_directory / LOCK).unlink()
            for path in created:
                path.rmdir()
