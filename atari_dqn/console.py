"""The process and its terminal: messages on standard error, and readers that go away.

Results go to standard output, everything else to standard error. A reader of standard error that
goes away, such as ``head`` or a terminal that is closed, is a request to stop, as Ctrl-C is.
"""

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from atari_dqn.errors import one_line

if TYPE_CHECKING:
    from tqdm import tqdm


class StandardError:
    """Whatever ``sys.stderr`` is at the moment, as a text stream that survives its reader.

    Attributes:
        reader_gone: whether writing has failed because nobody reads any more; what is written
            from then on is lost.
    """

    encoding = "utf-8"

    def __init__(self) -> None:
        self.reader_gone = False

    def write(self, text: str) -> int:
        """Writes text if there is still somebody to read it; returns its length."""
        self._try(lambda: sys.stderr.write(text))
        return len(text)

    def flush(self) -> None:
        """Hands what was written to the operating system."""
        self._try(lambda: sys.stderr.flush())

    def isatty(self) -> bool:
        """Returns whether standard error is a terminal."""
        with suppress(ValueError):  # a file of Python's that was closed
            return bool(sys.stderr) and sys.stderr.isatty()
        return False

    def fileno(self) -> int:
        """Returns the file descriptor, from which tqdm learns the width of the terminal."""
        return sys.stderr.fileno()

    def _try(self, action: Callable[[], object]) -> None:
        """Does something with ``sys.stderr``, and notices that its reader has gone."""
        if sys.stderr is None:  # it was closed before this process began
            return
        try:
            action()
        except (OSError, ValueError):  # a broken pipe, a terminal that hung up, or a closed file
            self.reader_gone = True
            # What Python still holds back for it must not fail once more when the process ends.
            with suppress(OSError, ValueError):
                _replace(sys.stderr.fileno(), os.O_WRONLY)


STANDARD_ERROR = StandardError()


def say(*lines: str) -> None:
    """Prints lines on standard error."""
    for line in lines:
        print(line, file=STANDARD_ERROR, flush=True)


def say_notes(notes: Iterable[str]) -> None:
    """Prints notes on standard error, each on one line."""
    say(*(f"note: {one_line(note)}" for note in notes))


def progress_bars() -> "type[tqdm[Any]]":
    """Returns tqdm, which is not imported before there is something to print: that takes time.

    Its lock is one of threads. That between processes, which it would make, decides for all others
    in this process how they start processes.
    """
    from tqdm import tqdm

    if not hasattr(tqdm, "_lock"):
        tqdm.set_lock(threading.RLock())
    return tqdm


class StandardErrorHandler(logging.Handler):
    """Prints log records on standard error: information as it is, other records on one line each.

    Warnings begin with "note: ", errors with "error: ". A progress bar stays the last line.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Prints a record, and the traceback that it may have."""
        text = record.getMessage()
        if record.exc_info:
            text = logging.Formatter().formatException(record.exc_info)
        elif record.levelno >= logging.ERROR:
            text = f"error: {one_line(text)}"
        elif record.levelno >= logging.WARNING:
            text = f"note: {one_line(text)}"
        progress_bars().write(text, file=STANDARD_ERROR)
        STANDARD_ERROR.flush()


def keep_messages() -> None:
    """Has the messages of this package printed even if other code has switched them off.

    A configuration of ``logging`` disables all loggers that it does not name. Outside of
    ``log_to_standard_error`` that is for the user of the package to decide.
    """
    if not any(
        isinstance(it, StandardErrorHandler) for it in logging.getLogger("atari_dqn").handlers
    ):
        return
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith("atari_dqn") and isinstance(logger, logging.Logger):
            logger.disabled = False


@contextmanager
def log_to_standard_error() -> Iterator[None]:
    """Context in which the messages of this package are printed on standard error, and only there.

    Outside of it they go wherever the user of the package has configured ``logging`` to put them.
    """
    package = logging.getLogger("atari_dqn")
    handlers = package.handlers
    level = package.level
    propagates = package.propagate
    package.handlers = [StandardErrorHandler()]
    package.setLevel(logging.INFO)
    package.propagate = False
    try:
        yield
    finally:
        package.handlers = handlers
        package.setLevel(level)
        package.propagate = propagates


def own_process() -> None:
    """Prepares a process that is ours alone: no child of it can read from the terminal.

    A child that reads from a terminal while it is in the background is stopped, and whoever waits
    for it waits for ever. No command of this package reads standard input.
    """
    for descriptor in (1, 2):
        try:
            os.fstat(descriptor)
        except OSError:  # closed: else the next file that is opened would take its place
            _replace(descriptor, os.O_WRONLY)
    _replace(0, os.O_RDONLY)


@contextmanager
def without_standard_input() -> Iterator[None]:
    """Context in which processes that are started read from nothing instead of standard input.

    For libraries that start processes and do not let one choose.
    """
    try:
        original = os.dup(0)
    except OSError:  # it is closed
        yield
        return
    _replace(0, os.O_RDONLY)
    try:
        yield
    finally:
        os.dup2(original, 0)
        os.close(original)


def _replace(descriptor: int, mode: int) -> None:
    """Makes a file descriptor that of the null device."""
    nothing = os.open(os.devnull, mode)
    if nothing != descriptor:
        os.dup2(nothing, descriptor)
        os.close(nothing)
