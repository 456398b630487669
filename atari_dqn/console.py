"""Messages on standard error, and what happens when nobody reads them any more.

Results go to standard output. Everything else goes to standard error. If the reader of standard
error disappears (``head`` has exited, or a terminal was closed), a run stops as after Ctrl-C.

In a terminal, the last line shows what is going on (``Line``), and longer lines are broken between
words. In pipes and files, nothing is broken.
"""

import logging
import os
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TextIO

from atari_dqn.errors import one_line

if TYPE_CHECKING:
    from tqdm import tqdm

DESCRIPTOR = 2  # the file descriptor of standard error
SECONDS_BETWEEN_REDRAWS = 0.5
# Columns of a terminal that does not report its size.
USUAL_WIDTH = 80
LONGEST_BAR = 30


class StandardError:
    """A text stream that writes to the current ``sys.stderr`` and never fails.

    Attributes:
        reader_gone: Whether writing has failed because nobody reads the stream any more. Later
            text is discarded.
    """

    encoding = "utf-8"

    def __init__(self) -> None:
        self.reader_gone = False
        self._copy: TextIO | None = None

    def write(self, text: str) -> int:
        """Writes text, or discards it if nobody reads the stream; returns its length."""
        self._try(lambda stream: stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flushes buffered text to the operating system."""
        self._try(lambda stream: stream.flush())

    def isatty(self) -> bool:
        """Returns whether standard error is a terminal."""
        stream = self._stream()
        with suppress(ValueError):  # the Python file object was closed
            return stream is not None and stream.isatty()
        return False

    def fileno(self) -> int:
        """Returns the file descriptor, which knows the width of the terminal."""
        stream = self._stream()
        if stream is None:
            raise OSError("standard error is closed")
        return stream.fileno()

    @contextmanager
    def continued_on(self, descriptor: int) -> Iterator[None]:
        """Context in which text goes to a copy of descriptor 2, which itself leads elsewhere.

        Args:
            descriptor: A copy of descriptor 2, made before the redirection.
        """
        if self._copy is not None or not self._is_descriptor_2():
            yield
            return
        with open(descriptor, "w", encoding="utf-8", closefd=False) as copy:
            self._copy = copy
            try:
                yield
            finally:
                self._copy = None

    def _is_descriptor_2(self) -> bool:
        with suppress(OSError, ValueError):
            return self.fileno() == DESCRIPTOR
        return False

    def _stream(self) -> TextIO | None:
        return self._copy or sys.stderr

    def _try(self, action: Callable[[TextIO], object]) -> None:
        """Runs an action on the stream and records whether its reader has disappeared."""
        stream = self._stream()
        if stream is None:  # it was closed before this process started
            return
        try:
            action(stream)
        except (OSError, ValueError):  # a broken pipe, a closed terminal, or a closed file
            self.reader_gone = True
            # Python flushes its buffer at exit; that must not fail a second time.
            with suppress(OSError, ValueError):
                _replace(sys.stderr.fileno(), os.O_WRONLY)


STANDARD_ERROR = StandardError()


def say(*lines: str) -> None:
    """Prints lines on standard error, above the line that shows what is going on."""
    width = terminal_width(STANDARD_ERROR)
    for line in lines:
        Line.print_above(wrapped(line, width))


def say_notes(notes: Iterable[str]) -> None:
    """Prints notes on standard error, each on one line."""
    say(*(f"note: {one_line(note)}" for note in notes))


def print_result(text: str, hanging: str = "  ") -> None:
    """Prints a result on standard output; in a terminal, longer lines are broken between words.

    Args:
        text: One line or several.
        hanging: Indentation of the rest of a broken line.
    """
    print(wrapped(text, terminal_width(sys.stdout), hanging), flush=True)


def progress_bars() -> "type[tqdm[Any]]":
    """Returns tqdm, imported on first use because the import takes time.

    tqdm gets a thread lock. Its default is a multiprocessing lock, which would fix the start method
    of ``multiprocessing`` for the whole process.
    """
    from tqdm import tqdm

    if not hasattr(tqdm, "_lock"):
        tqdm.set_lock(Line._lock)
    return tqdm


class Stream(Protocol):
    """A stream that may lead to a terminal."""

    def isatty(self) -> bool:
        """Returns whether the stream leads to a terminal."""

    def fileno(self) -> int:
        """Returns the file descriptor."""


def terminal_width(stream: Stream) -> int | None:
    """Returns the columns of a stream's terminal, or None if it leads elsewhere."""
    if not stream.isatty():
        return None
    with suppress(OSError, ValueError):
        return os.get_terminal_size(stream.fileno()).columns or USUAL_WIDTH
    return USUAL_WIDTH


def wrapped(text: str, width: int | None, hanging: str = "  ") -> str:
    r"""Returns a text whose long lines are broken between words.

    Indented lines stay as they are, because they are commands to paste, or parts of a table.

    Args:
        text: One line or several.
        width: Columns of the terminal, or None to break nothing.
        hanging: Indentation of the rest of a broken line.

    >>> wrapped("a sentence of words\n  a command", width=12)
    'a sentence\n  of words\n  a command'
    """
    lines = text.split("\n")
    return "\n".join(
        line
        if width is None or len(line) <= width or line.startswith(" ")
        else _broken(line, width, hanging)
        for line in lines
    )


def _broken(line: str, width: int, hanging: str) -> str:
    """Returns a line broken between words. A long path gets as much room as possible."""
    longest = max(map(len, line.split()))
    return textwrap.fill(
        line,
        width,
        subsequent_indent=hanging if len(hanging) + longest <= width else "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def fitted(parts: Sequence[str], width: int) -> str:
    """Returns as many parts, from the first one on, as fit on one line.

    >>> fitted(["score 1.00", "50 steps/s", "0:10 left"], width=25)
    'score 1.00, 50 steps/s'
    """
    line = parts[0]
    for part in parts[1:]:
        longer = f"{line}, {part}"
        if len(longer) > width:
            break
        line = longer
    return line[:width]


def clock(seconds: float) -> str:
    """Returns seconds as hours, minutes and seconds.

    >>> clock(3725), clock(65)
    ('1:02:05', '1:05')
    """
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


class Line:
    """The last line of the terminal, which shows what is going on until it is closed.

    A newer line hides older ones: all share one bar of tqdm. A thread redraws the newest line twice
    a second. Messages are printed above it. Nothing is shown unless standard error is a terminal.

    Args:
        text: Function from the number of columns to the text.
        in_library: Whether to show it even where this package is used as a library.

    Attributes:
        is_shown: Whether the terminal shows it while it is open.
    """

    _open: ClassVar[list["Line"]] = []
    _bar: ClassVar["tqdm[Any] | None"] = None
    _lock: ClassVar = threading.RLock()  # tqdm's lock, too
    _is_redrawn: ClassVar[bool] = False

    def __init__(self, text: Callable[[int], str], *, in_library: bool = False) -> None:
        self._text = text
        self.is_shown = STANDARD_ERROR.isatty() and (in_library or _is_command_line())

    def open(self) -> None:
        """Shows the line until it is closed."""
        if not self.is_shown:
            return
        with self._lock:
            self._open.append(self)
            Line._draw()
            if not Line._is_redrawn:
                Line._is_redrawn = True
                threading.Thread(target=Line._keep_redrawing, daemon=True).start()

    def close(self) -> None:
        """Removes the line from the terminal."""
        if self not in self._open:
            return
        with self._lock:
            self._open.remove(self)
            if self._open:
                Line._draw()
            elif Line._bar is not None:
                Line._bar.close()
                Line._bar = None

    @classmethod
    def print_above(cls, text: str) -> None:
        """Prints a text on standard error, above the newest line."""
        if not cls._open:
            STANDARD_ERROR.write(f"{text}\n")
            STANDARD_ERROR.flush()
            return
        with cls._lock:
            cls._draw()  # tqdm draws the text again as it is
            progress_bars().write(text, file=STANDARD_ERROR)

    @classmethod
    def _draw(cls) -> None:
        """Draws the newest line, which must be open."""
        # Text in the last column would make some terminals begin a new line.
        width = (terminal_width(STANDARD_ERROR) or USUAL_WIDTH) - 1
        text = cls._open[-1]._text(width)[:width]
        if cls._bar is None:
            cls._bar = progress_bars()(
                desc=text, bar_format="{desc}", leave=False, file=STANDARD_ERROR
            )
        else:
            cls._bar.set_description_str(text)

    @classmethod
    def _keep_redrawing(cls) -> None:
        """Redraws the newest line until all are closed."""
        while True:
            time.sleep(SECONDS_BETWEEN_REDRAWS)
            with cls._lock:
                cls._is_redrawn = bool(cls._open)
                if not cls._is_redrawn:
                    return
                cls._draw()


@contextmanager
def waiting(what: str, total: int | None = None) -> Iterator[Callable[[int], object]]:
    """Context of work that may take seconds: in a terminal, one line shows what is going on.

    The line shows the elapsed time and, with a total, a bar and the time left. It disappears at the
    end. Nothing is shown where standard error is not a terminal, or where this package is used as a
    library.

    Args:
        what: What is going on, such as "reading the replay memory".
        total: Number of parts of the work, if it is known.

    Yields:
        A function that is called with the number of parts done since its last call.
    """
    wait = _Wait(what, total)
    line = Line(wait.text)
    try:  # a signal may end even ``open`` with an exception
        line.open()
        yield wait.advance
    finally:
        line.close()


class _Wait:
    """The progress of some work.

    Args:
        what: What is going on.
        total: Number of parts of the work, if it is known.
    """

    def __init__(self, what: str, total: int | None) -> None:
        self._what = what
        self._total = total
        self._done = 0
        self._began = time.monotonic()

    def advance(self, parts: int) -> None:
        """Adds parts that are done."""
        self._done += parts

    def text(self, width: int) -> str:
        """Returns what is going on, and how long it takes, on one line."""
        seconds = time.monotonic() - self._began
        if not self._total:
            return f"{self._what} ... {clock(seconds)}"
        share = min(self._done / self._total, 1.0)
        times = clock(seconds)
        if share:
            times += f", {clock(seconds / share - seconds)} left"
        before = f"{self._what} {share:4.0%}"
        room = min(width - len(f"{before}|| {times}"), LONGEST_BAR)
        bar = f"|{'█' * round(room * share):<{room}}|" if room > 0 else ""
        return f"{before}{bar} {times}"


class StandardErrorHandler(logging.Handler):
    """Prints log records on standard error.

    Records of level INFO are printed unchanged. A warning becomes one line that begins with
    "note: ", and an error one that begins with "error: ". The line that shows what is going on
    stays below all messages.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Prints a record, or its traceback if it has one."""
        if record.exc_info:
            Line.print_above(logging.Formatter().formatException(record.exc_info))
            return
        text = record.getMessage()
        if record.levelno >= logging.ERROR:
            text = f"error: {one_line(text)}"
        elif record.levelno >= logging.WARNING:
            text = f"note: {one_line(text)}"
        say(text)


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
