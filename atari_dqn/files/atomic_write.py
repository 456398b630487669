"""Writes files atomically, and never through a link to another place.

A run directory itself may be a link, but nothing in it may be one. A user who links a file does not
expect a run to write, truncate or delete its target. Backups made with ``cp -al`` share files
through hard links. A file with several hard links is therefore copied before it is appended to or
truncated.
"""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from atari_dqn.errors import UserError

TEMPORARY = ".writing-"  # prefix of the names of unfinished files


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file atomically: a reader finds either the old content or the new content.

    This holds for interruptions too. When the function returns, the file is on disk. A link at the
    path is replaced, and its target stays unchanged.

    Raises:
        OSError: Writing failed. No temporary file remains.
    """
    with replacing(path) as file:
        file.write(content)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Context that yields a new file, which replaces the file at the path when the context ends.

    Raises:
        OSError: Writing failed. No temporary file remains.
    """
    temporary = path.with_name(f"{TEMPORARY}{path.name}")
    try:
        with create(temporary) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        flush(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def create(path: Path) -> BinaryIO:
    """Opens a new file for writing, after deleting a file or link at the path.

    Raises:
        OSError: The file cannot be created, or the path is a directory.
    """
    path.unlink(missing_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o666), "w+b")


def open_own(path: Path, create: bool = False) -> BinaryIO:
    """Opens a file for appending or truncating.

    Every write goes to the end of the file. A file with several hard links is replaced by a copy
    first.

    Args:
        path: The file.
        create: Whether to create the file if it is missing.

    Raises:
        UserError: The path is a link.
        OSError: The file cannot be opened, or is not a regular file.
    """
    check_no_link(path)
    flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    if create:
        flags |= os.O_CREAT
    while True:
        descriptor = os.open(path, flags, 0o666)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        if status.st_nlink <= 1:
            return os.fdopen(descriptor, "r+b")
        with os.fdopen(descriptor, "rb") as shared, replacing(path) as own:
            shutil.copyfileobj(shared, own)


def has_several_names(file: BinaryIO) -> bool:
    """Returns whether an open file has another hard link, whose content would change with it."""
    return os.fstat(file.fileno()).st_nlink > 1


def check_no_link(path: Path) -> None:
    """Raises a UserError if a path that a run writes to is a symbolic link."""
    if path.is_symlink():
        advice = "link the whole run directory instead"
        raise UserError(f"'{path}' is a link, and a run writes nothing through links: {advice}")


def check_there(directory: Path) -> None:
    """Raises a UserError if the directory of a running run has been deleted."""
    if not directory.is_dir():
        nowhere = "the run can no longer be saved"
        raise UserError(f"'{directory}' was deleted during the run: {nowhere}")


def remove(path: Path) -> None:
    """Deletes a file, a link, or a directory with its content, but never the target of a link."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Flushes a file or a directory to disk, and returns when that is done."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
