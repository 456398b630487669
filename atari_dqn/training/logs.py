"""The logs of a run: progress, CSV files and TensorBoard."""

import csv
import io
import logging
import os
import time
import traceback
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from atari_dqn.console import Line, clock, fitted
from atari_dqn.errors import UserError, describe_failure
from atari_dqn.files.atomic_write import check_no_link, check_there, has_several_names, open_own
from atari_dqn.training.episodes import EpisodeRow
from atari_dqn.training.tensorboard import Row, TensorBoardFile

logger = logging.getLogger(__name__)

# The metrics that the progress shows, the most important first. They are left out while unknown.
SHOWN = {
    "score": "score {:.2f}",
    "loss": "loss {:.4f}",
    "epsilon": "epsilon {:.3f}",
    "mean_max_q": "mean max Q {:.3f}",
}
LOG_WIDTH = 79  # columns of the log lines
SECONDS_TO_NOTICE = 2.0  # after this time without a step, the line says that it waits
SECONDS_TO_SETTLE = 2.0
SECONDS_TO_MEASURE = 2.0
SPEED_MARKS = 15  # the current speed covers about as many seconds


class CsvFile:
    """A CSV file to which rows are appended. The names in the first row become its header."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = open_own(path, create=True)

    def write(self, row: Row) -> None:
        """Appends a row and flushes it to the operating system."""
        # A backup may have hard-linked the file; its copy must not change.
        if has_several_names(self._file) and self._path.exists():
            self._file.close()
            self._file = open_own(self._path)
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(row))
        if self.size() == 0:
            writer.writeheader()
        writer.writerow({name: _cell(value) for name, value in row.items()})
        self._file.write(text.getvalue().encode())
        self._file.flush()

    def size(self) -> int:
        """Returns the size of the file in bytes."""
        return os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _cell(value: float | int) -> str | int:
    """Returns six digits of a fraction, and all digits of a whole number, as most scores are."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else f"{value:.6g}"
    return value


class Progress:
    """A line in the terminal that shows how far a run is, or periodic log lines elsewhere.

    Args:
        start: Agent steps so far.
        total: Agent steps of the whole run.
        warmup: Agent steps of random play before the run learns.
        seconds_between_lines: Minimum time between log lines.
    """

    def __init__(
        self, start: int, total: int, warmup: int = 0, seconds_between_lines: float = 30.0
    ) -> None:
        self._total = total
        self._warmup = warmup
        self._seconds = seconds_between_lines
        now = time.monotonic()
        self._last_line = now
        self._step = start
        self._moved = now
        self._drawn = now
        self._reappeared = now  # after another line, which said what was going on
        self._speed = Speed(now)
        self._row: Row = {}
        self._line = Line(self._text, in_library=True)
        self._line.open()

    def advance(self, steps: int) -> None:
        """Adds agent steps to the progress."""
        was_warming_up = self._is_warming_up
        self._step += steps
        self._moved = time.monotonic()
        if was_warming_up and not self._is_warming_up:
            self._speed = Speed(self._moved)  # learning is slower than random play
        self._speed.add(self._step, self._moved)

    def show(self, row: Row) -> None:
        """Shows the most important values of the newest row of metrics."""
        self._row = row
        now = time.monotonic()
        if not self._line.is_shown and now - self._last_line >= self._seconds:
            self._last_line = now
            step = f"step {self._step:,} of {self._total:,}: "
            logger.info(step + fitted(self._parts(), LOG_WIDTH - len(step)))

    def close(self) -> None:
        """Removes the line from the terminal."""
        self._line.close()

    @property
    def _is_warming_up(self) -> bool:
        return self._step < self._warmup

    def _text(self, width: int) -> str:
        """Returns the line for the terminal."""
        now = time.monotonic()
        if now - self._drawn > SECONDS_TO_NOTICE:
            self._reappeared = now
        self._drawn = now
        still = now - max(self._moved, self._reappeared)
        waits = [f"waiting for the next step: {clock(still)}"] if still > SECONDS_TO_NOTICE else []
        if self._is_warming_up:
            return fitted([*waits, *self._parts(f"at step {self._step:,}")], width)
        if self._speed.is_known:
            done = f"{self._step / max(self._total, 1):.0%} of {self._total:,} steps"
        else:  # nothing else changes yet
            done = f"step {self._step:,} of {self._total:,}"
        return fitted([*waits, *self._parts(done)], width)

    def _parts(self, *steps: str) -> list[str]:
        """Returns what there is to show, the most important first; ``steps`` is one part of it."""
        values = {
            name: form.format(self._row[name])
            for name, form in SHOWN.items()
            if np.isfinite(self._row.get(name, np.nan))
        }
        score = []
        if self._row:
            score.append(values.pop("score", "no episode has ended yet"))
        measured = self._speed  # the training may replace it while another thread draws the line
        speed = []
        left = []
        if measured.is_known:
            speed.append(f"{measured.now:,.0f} steps/s")
            left.append(f"{clock((self._total - self._step) / measured.mean)} left")
        if self._is_warming_up:
            return [f"warming up: random play until step {self._warmup:,}", *steps, *speed, *score]
        return [*score, *speed, *left, *steps, *values.values()]


class Speed:
    """The agent steps per second, now and on average.

    The first seconds do not count, because the first calls of a graph take longer.

    Args:
        now: The current time, in seconds.
    """

    def __init__(self, now: float) -> None:
        self._created = now
        self._marks: deque[Mark] = deque()  # about one for each second
        self._first = Mark(0.0, 0)
        self._last = Mark(0.0, 0)

    def add(self, step: int, now: float) -> None:
        """Adds a step that was made at the current time, in seconds."""
        if now - self._created < SECONDS_TO_SETTLE:
            return
        self._last = Mark(now, step)
        if not self._marks:
            self._first = self._last
        if not self._marks or self._last.seconds - self._marks[-1].seconds >= 1.0:
            self._marks.append(self._last)
            if len(self._marks) > SPEED_MARKS:
                self._marks.popleft()

    @property
    def is_known(self) -> bool:
        """Whether enough time has passed to measure the speed."""
        seconds = self._last.seconds - self._first.seconds
        return seconds >= SECONDS_TO_MEASURE and self._last.step > self._first.step

    @property
    def now(self) -> float:
        """Steps per second, over the last seconds."""
        return self._since(self._marks[0])

    @property
    def mean(self) -> float:
        """Steps per second since the beginning, including pauses such as evaluations."""
        return self._since(self._first)

    def _since(self, mark: "Mark") -> float:
        return (self._last.step - mark.step) / (self._last.seconds - mark.seconds)


class Mark(NamedTuple):
    """A step, and the time at which it was made."""

    seconds: float
    step: int


class RunLogs:
    """All logs of a training run: CSV files (``FILES``) and TensorBoard's event files.

    Every method raises a UserError if a file cannot be written, as on a full disk.

    Args:
        directory: The run directory.
        step: Agent steps so far.
        total: Agent steps of the whole run.
        warmup: Agent steps of random play before the run learns.
        show_progress: Whether to show the progress.
    """

    FILES = ("metrics.csv", "episodes.csv", "evaluations.csv")
    ERRORS = "errors.log"

    def __init__(
        self,
        directory: Path,
        step: int,
        total: int,
        warmup: int = 0,
        *,
        show_progress: bool = False,
    ) -> None:
        check_there(directory)
        self._directory = directory
        try:
            files = [CsvFile(directory / name) for name in self.FILES]
        except OSError as error:
            raise UserError(f"'{error.filename}' could not be written: {error.strerror}") from error
        self._metrics, self._episodes, self._evaluations = files
        self._board = TensorBoardFile(directory)
        self._progress = Progress(step, total, warmup) if show_progress else None

    def advance(self, steps: int) -> None:
        """Adds agent steps to the progress."""
        if self._progress is not None:
            self._progress.advance(steps)

    def metrics(self, step: int, row: Row) -> None:
        """Writes a row of metrics, and shows the most important ones with the progress."""
        with self._writing():
            self._metrics.write(row)
            self._board.write("training", step, row)
        if self._progress is not None:
            self._progress.show(row)

    def episode(self, row: EpisodeRow) -> None:
        """Writes the row of a finished training episode."""
        with self._writing():
            self._episodes.write(row._asdict())
            self._board.write("episode", row.steps, {"score": row.score, "length": row.length})

    def evaluation(self, step: int, row: Row, message: str) -> None:
        """Writes the statistics of an evaluation, and logs a message about it."""
        with self._writing():
            self._evaluations.write({"steps": step, **row})
            self._board.write("evaluation", step, row)
        logger.info(message)

    def recording(self, step: int, gif: Path, values: Mapping[str, NDArray[np.float32]]) -> None:
        """Writes a recorded episode to TensorBoard, with a histogram of each action's Q-values.

        Args:
            step: Agent steps so far.
            gif: Path of the recording.
            values: Q-values (T,) of each action during T steps, by the action's name.
        """
        with self._writing():
            self._board.gif("evaluation/median_episode", step, gif)
            self._board.histograms("q_values", step, values)

    def failure(self, what: str, error: BaseException) -> None:
        """Logs a failure that does not end the run.

        The traceback goes to ``errors.log``, unless the error is a UserError.

        Args:
            what: Beginning of the message.
            error: The exception that caused the failure.
        """
        message = f"{what}: {describe_failure(error)}"
        if not isinstance(error, UserError) and self.keep_traceback(what, error):
            message += f" (traceback in '{self._directory / self.ERRORS}')"
        logger.warning(message)

    def keep_traceback(self, what: str, error: BaseException) -> bool:
        """Appends a traceback to ``errors.log``; returns whether that succeeded."""
        text = f"{what}\n{''.join(traceback.format_exception(error))}\n"
        try:
            with open_own(self._directory / self.ERRORS, create=True) as file:
                file.write(text.encode(errors="replace"))
        except (OSError, UserError):
            return False
        return True

    def settings(self, step: int, toml: str) -> None:
        """Writes the resolved settings of the run, as TOML, to TensorBoard."""
        with self._writing():
            self._board.text("settings", step, toml)

    def positions(self) -> dict[str, int]:
        """Returns the size of each log file in bytes; a checkpoint stores it for ``cut_logs``."""
        with self._writing():
            self._board.flush()
            files = [self._directory / name for name in self.FILES] + _event_files(self._directory)
            return {file.name: file.stat().st_size for file in files}

    def close(self) -> None:
        """Closes the files and removes the progress from the terminal."""
        if self._progress is not None:
            self._progress.close()
        with self._writing():
            for sink in (self._metrics, self._episodes, self._evaluations, self._board):
                sink.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, self._board.error) as error:
            check_there(self._directory)
            if isinstance(error, OSError):
                reason = error.strerror
            else:  # TensorFlow's message begins with its graph and goes on for several lines
                reason = error.message.strip().splitlines()[0].split("; ")[-1]
            failure = f"the logs in '{self._directory}' could not be written"
            raise UserError(f"{failure}: {reason}; checkpoints are complete") from error


def cut_logs(directory: Path, positions: Mapping[str, int]) -> None:
    """Truncates a run's logs to their sizes at a checkpoint, from which the run continues.

    Args:
        directory: The run directory.
        positions: Sizes in bytes by file name. CSV files without an entry are emptied, and event
            files without an entry are deleted. No other file is changed.

    Raises:
        UserError: A log is a link.
    """
    events = _event_files(directory)
    logs = [directory / name for name in RunLogs.FILES]
    for file in (*events, *logs):
        check_no_link(file)
    for file in events:
        if file.name not in positions:
            file.unlink()
    for file in (*events, *logs):
        size = positions.get(file.name, 0)
        if file.is_file() and file.stat().st_size > size:
            with open_own(file) as stream:
                stream.truncate(size)


def _event_files(directory: Path) -> list[Path]:
    """Returns TensorBoard's event files, including links but not directories."""
    paths = sorted(directory.glob("events.out.tfevents.*"))
    return [path for path in paths if path.is_symlink() or not path.is_dir()]
