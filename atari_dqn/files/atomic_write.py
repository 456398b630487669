"""Files that are written: as a whole or not at all, and never through a link to somewhere else.

A run directory may be a link, and what lies in it may not: nobody who links a file expects that a
run writes, truncates or deletes what the link leads to. A hard link, as ``cp -al`` makes it for a
backup, is another name of the same file. So a file with several names is replaced by a copy of its
own before anything is appended to it or cut off.
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

TEMPORARY = ".writing-"


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that whoever reads it at any time finds the old content or the new one.

    That holds for whatever interrupts this, too. The file is on the disk when this returns. Where
    the path is a link, the link is replaced, and what it leads to stays as it is.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    with replacing(path) as file:
        file.write(content)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Opens a file that takes the place of another when the context ends, as ``write_whole`` does.

    Raises:
        OSError: it cannot be written; nothing is left behind.
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
    """Opens a new file for writing; a file or link that has its name is deleted first.

    Raises:
        OSError: it cannot be made, or a directory has its name.
    """
    path.unlink(missing_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o666), "w+b")


def open_own(path: Path, create: bool = False) -> BinaryIO:
    """Opens a file to append to it or to cut it.

    One with several names is replaced by a copy of its own first.

    Args:
        path: of the file.
        create: whether it is made where it is missing.

    Raises:
        UserError: it is a link.
        OSError: it cannot be opened, or is not a regular file.
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
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        if status.st_nlink <= 1:
            return os.fdopen(descriptor, "r+b")
        with os.fdopen(descriptor, "rb") as shared, replacing(path) as own:
            shutil.copyfileobj(shared, own)


def has_several_names(file: BinaryIO) -> bool:
    """Returns whether an open file has another name, which would see what is appended."""
    return os.fstat(file.fileno()).st_nlink > 1


def check_no_link(path: Path) -> None:
    """Raises a UserError where something that a run writes is a symbolic link."""
    if path.is_symlink():
        advice = "link the whole run directory instead"
        raise UserError(f"'{path}' is a link, and a run writes nothing through links: {advice}")


def check_there(directory: Path) -> None:
    """Raises a UserError where a run's directory is missing; it is not made again."""
    if not directory.is_dir():
        nowhere = "there is nowhere to save it any more"
        raise UserError(f"'{directory}' has been deleted while the run went on: {nowhere}")


def remove(path: Path) -> None:
    """Deletes a file, a link, or a directory with its content; what links lead to stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Writes a file or a directory through to the disk before this returns."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
