"""Messages on standard error, and what happens when nobody reads them any more.

Results go to standard output. Everything else goes to standard error. If the reader of standard
error disappears (``head`` has exited, or a terminal was closed), a run stops as after Ctrl-C.
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

SECONDS_BETWEEN_REDRAWS = 0.5


class StandardError:
    """A text stream that writes to the current ``sys.stderr`` and never fails.

    Attributes:
        reader_gone: Whether writing has failed because nobody reads the stream any more. Later
            text is discarded.
    """

    encoding = "utf-8"

    def __init__(self) -> None:
        self.reader_gone = False

    def write(self, text: str) -> int:
        """Writes text, or discards it if nobody reads the stream; returns its length."""
        self._try(lambda: sys.stderr.write(text))
        return len(text)

    def flush(self) -> None:
        """Flushes buffered text to the operating system."""
        self._try(lambda: sys.stderr.flush())

    def isatty(self) -> bool:
        """Returns whether standard error is a terminal."""
        with suppress(ValueError):  # the Python file object was closed
            return bool(sys.stderr) and sys.stderr.isatty()
        return False

    def fileno(self) -> int:
        """Returns the file descriptor, from which tqdm learns the width of the terminal."""
        return sys.stderr.fileno()

    def _try(self, action: Callable[[], object]) -> None:
        """Runs an action on ``sys.stderr`` and records whether its reader has disappeared."""
        if sys.stderr is None:  # it was closed before this process started
            return
        try:
            action()
        except (OSError, ValueError):  # a broken pipe, a closed terminal, or a closed file
            self.reader_gone = True
            # Python flushes its buffer at exit; that must not fail a second time.
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
    """Returns tqdm, imported on first use because the import takes time.

    tqdm gets a thread lock. Its default is a multiprocessing lock, which would fix the start method
    of ``multiprocessing`` for the whole process.
    """
    from tqdm import tqdm

    if not hasattr(tqdm, "_lock"):
        tqdm.set_lock(threading.RLock())
    return tqdm


@contextmanager
def waiting(what: str, total: int | None = None) -> Iterator[Callable[[int], object]]:
    """Context of work that may take seconds: in a terminal, one line shows what is going on.

    The line shows the elapsed time or, with a total, a bar and the time left. It disappears at the
    end. Nothing is shown where standard error is not a terminal, or where this package is used as a
    library.

    Args:
        what: What is going on, such as "reading the replay memory".
        total: Number of parts of the work, if it is known.

    Yields:
        A function that is called with the number of parts done since its last call.
    """
    if not (STANDARD_ERROR.isatty() and _is_command_line()):
        yield lambda parts: None
        return
    form = (
        "{desc} ... {elapsed}"
        if total is None
        else "{desc} {percentage:3.0f}%|{bar}| {remaining} left"
    )
    bar = progress_bars()(
        total=total,
        desc=what,
        bar_format=form,
        dynamic_ncols=True,
        leave=False,
        file=STANDARD_ERROR,
    )
    ended = threading.Event()

    def keep_redrawing() -> None:
        while not ended.wait(SECONDS_BETWEEN_REDRAWS):
            bar.refresh()

    redrawing = threading.Thread(target=keep_redrawing, daemon=True)
    redrawing.start()
    try:
        yield bar.update
    finally:
        ended.set()
        redrawing.join()
        bar.close()


class StandardErrorHandler(logging.Handler):
    """Prints log records on standard error.

    Records of level INFO are printed unchanged. A warning becomes one line that begins with
    "note: ", and an error one that begins with "error: ". A progress bar stays below all messages.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Prints a record, or its traceback if it has one."""
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
    """Enables the loggers of this package again if other code has disabled them.

    ``logging.config`` disables every logger that it does not name. Outside of
    ``log_to_standard_error`` this function does nothing, because the caller configures logging.
    """
    if not _is_command_line():
        return
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith("atari_dqn") and isinstance(logger, logging.Logger):
            logger.disabled = False


def _is_command_line() -> bool:
    """Returns whether the messages of this package go to standard error."""
    handlers = logging.getLogger("atari_dqn").handlers
    return any(isinstance(handler, StandardErrorHandler) for handler in handlers)


@contextmanager
def log_to_standard_error() -> Iterator[None]:
    """Context in which the messages of this package go to standard error and nowhere else.

    Outside of this context, messages go wherever ``logging`` is configured to send them.
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
    """Points standard input, and closed output streams, at the null device.

    Child processes inherit this, so that none of them reads from the terminal. The system stops a
    background process that does, and its parent would wait forever. No command of this package
    reads standard input.
    """
    for descriptor in (1, 2):
        try:
            os.fstat(descriptor)
        except OSError:  # it is closed; without this, the next opened file would get its number
            _replace(descriptor, os.O_WRONLY)
    _replace(0, os.O_RDONLY)


@contextmanager
def without_standard_input() -> Iterator[None]:
    """Context in which child processes get an empty standard input.

    Use it for libraries that start processes without an option for their standard input.
    """
    try:
        original = os.dup(0)
    except OSError:  # standard input is closed
        yield
        return
    _replace(0, os.O_RDONLY)
    try:
        yield
    finally:
        os.dup2(original, 0)
        os.close(original)


def _replace(descriptor: int, mode: int) -> None:
    """Points a file descriptor at the null device."""
    nothing = os.open(os.devnull, mode)
    if nothing != descriptor:
        os.dup2(nothing, descriptor)
        os.close(nothing)
