"""The lock of a run directory: one process writes into it at a time, and never through a link."""

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
# What a run writes into its directory beside its checkpoints, and beside its settings: a link in
# their place is replaced.
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
    """Holds a run directory for this process.

    It is made where it is missing, and deleted again if nothing was written into it.

    Raises:
        UserError: another process holds it, it cannot be written, or something in it is a link.
    """
    check_writable(run_directory)
    if run_directory.is_symlink() and not run_directory.exists():
        advice = "make the directory that it names"
        raise UserError(f"'{run_directory}' is a link that leads nowhere: {advice}")
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
    """Returns whether a process holds a run directory, without writing anything."""
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
    """Raises a UserError where something in a run's directory that a run writes is a link."""
    for name in WRITTEN:
        check_no_link(run_directory / name)
    for path in run_directory.glob("events.out.tfevents.*"):
        check_no_link(path)
    for path in (run_directory / checkpoint.SHARED).glob("*"):
        if checkpoint.SHARED_NAME.fullmatch(path.name):
            check_no_link(path)


def _locked(path: Path) -> int:
    """Opens a lock file and locks it.

    Raises:
        UserError: another process holds it.
        OSError: it cannot be opened or locked.
    """
    while True:
        descriptor = os.open(path, OPEN_LOCK | os.O_CREAT, 0o666)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise UserError(f"'{path}' is no file: delete it, or choose another run directory")
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace")
            os.close(descriptor)
            advice = "stop that one, or choose another run directory"
            raise UserError(f"'{path.parent}' is in use by process {holder}: {advice}") from None
        except BaseException:
            os.close(descriptor)
            raise
        if not _is_at(descriptor, path):  # who held it has deleted it meanwhile
            os.close(descriptor)
            continue
        if status.st_nlink == 1:
            return descriptor
        try:
            return _locked_copy(path)
        finally:
            os.close(descriptor)


def _locked_copy(path: Path) -> int:
    """Puts a new file, locked already, in the place of a lock that somebody's backup has too."""
    temporary = path.with_name(f"{TEMPORARY}{path.name}")
    with create(temporary) as file:
        descriptor = os.dup(file.fileno())
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    temporary.replace(path)
    return descriptor


def _is_at(descriptor: int, path: Path) -> bool:
    """Returns whether an open file is the one that a path names."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError:
        return False


def _remove_unused(run_directory: Path, created: Sequence[Path]) -> None:
    """Deletes a run's directory, and those created with it, if only the lock is in it."""
    with suppress(OSError):
        if list(run_directory.iterdir()) == [run_directory / LOCK]:
            (run_directory / LOCK).unlink()
            for path in created:
                path.rmdir()
