"""Reads the status of a sweep's runs from their directories, and shows it as a table."""

import csv
import io
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from atari_dqn.errors import UserError
from atari_dqn.files.atomic_write import write_whole
from atari_dqn.files.reading import read_json
from atari_dqn.report.results import EVALUATION, TRAINING, read_results
from atari_dqn.runs.curves import read_latest_metrics
from atari_dqn.sweep.plan import Run, State
from atari_dqn.sweep.worker import WORKER

if TYPE_CHECKING:
    from rich.table import Table

logger = logging.getLogger(__name__)

STATES = (State.RUNNING, State.FAILED, State.STOPPED, State.WAITING, State.DONE, State.DROPPED)
COLUMNS = (
    "run",
    "state",
    "steps",
    "of",
    "training score",
    "evaluation",
    "steps/s",
    "left",
    "machine",
    "deaths",
)
SECONDS_BETWEEN_LINES = 60.0
# Rows of the table on a terminal; its caption counts all runs.
ROWS_SHOWN = 24
OTHER_LINES = 6  # lines of the table besides the rows, and the line of the cursor
# The columns that a narrow terminal lacks, the first to go first. All are in the CSV file.
LEAST_IMPORTANT = ("machine", "deaths", "of", "steps/s", "training score", "steps")
SHORTEST_NAME = 24  # columns of the name of a run, if it is longer
BORDERS = 3  # columns of the table besides the text of one of its columns


@dataclass
class Status:
    """The status of a run.

    Attributes:
        run: The run.
        state: State of the run.
        why: Reason for a failure.
        steps: Logged agent steps.
        scores: Scores by measure: training and evaluation. While the run trains, the training
            score is the mean of its last 100 episodes.
        speed: Agent steps per second.
        machine: Address of the machine that trains the run.
        deaths: Number of times that its worker has died.
    """

    run: Run
    state: State = State.WAITING
    why: str = ""
    steps: int = 0
    scores: dict[str, float] = field(default_factory=dict)
    speed: float | None = None
    machine: str = ""
    deaths: int = 0

    def look(self) -> None:
        """Updates the status from the files of the run, unless the run is done."""
        directory = Path(self.run.directory)
        if self.state == State.DONE:
            return
        try:
            worker = read_json(directory / WORKER)
            row = read_latest_metrics(directory)
        except UserError:  # it has not started, or its files are foreign
            return
        if not isinstance(worker, dict):
            return
        if self.state == State.WAITING and worker.get("attempt") == self.deaths:
            self.state = State.RUNNING
        if self.state == State.RUNNING:
            self.machine = str(worker.get("node", ""))
            steps = row.get("steps", 0.0)
            self.steps = int(steps) if math.isfinite(steps) else 0
            self.speed = row.get("steps_per_second")
            self.scores = {TRAINING: row["score"]} if "score" in row else {}

    def settle(self) -> None:
        """Reads the final scores of a run; its state becomes ``DONE`` if they are complete."""
        directory = Path(self.run.directory)
        try:
            results, _ = read_results([directory], Path(self.run.videos))
        except UserError:
            return
        complete = {
            result.measure: result.score
            for result in results
            if result.steps >= self.run.total_steps
        }
        last_measure = TRAINING if self.run.episodes == 0 else EVALUATION
        if last_measure in complete:
            self.state = State.DONE
            self.steps = self.run.total_steps
            self.speed = None
            self.scores = complete

    def row(self) -> dict[str, str]:
        """Returns the row of the run, as text by the names in ``COLUMNS``."""
        speed = ""
        remaining = ""
        if self.speed and self.state == State.RUNNING:
            seconds = (self.run.total_steps - self.steps) / self.speed
            speed = f"{self.speed:.0f}"
            remaining = f"{seconds // 3600:.0f}:{seconds % 3600 // 60:02.0f}"
        return {
            "run": self.run.name,
            "state": f"{self.state}: {self.why}" if self.why else str(self.state),
            "steps": str(self.steps),
            "of": str(self.run.total_steps),
            "training score": self._score(TRAINING),
            "evaluation": self._score(EVALUATION),
            "steps/s": speed,
            "left": remaining,
            "machine": self.machine,
            "deaths": str(self.deaths or ""),
        }

    def _score(self, measure: str) -> str:
        return f"{self.scores[measure]:.2f}" if measure in self.scores else ""


def as_csv(statuses: Sequence[Status]) -> str:
    """Returns the status of all runs as CSV, with one row for each run."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(status.row() for status in statuses)
    return text.getvalue()


class Board:
    """Shows the status of runs, and writes it as CSV.

    A terminal shows a table that is redrawn. Elsewhere, lines are logged.

    Args:
        path: Path of the CSV file.
    """

    def __init__(self, path: Path) -> None:
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True)
        self._path = path
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._states: dict[str, State] = {}
        self._next_lines = time.monotonic() + SECONDS_BETWEEN_LINES

    def __enter__(self) -> "Board":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, statuses: Sequence[Status]) -> None:
        """Shows the status of runs and writes the CSV file."""
        write_whole(self._path, as_csv(statuses).encode())
        if self._live:
            width, height = self._live.console.size
            self._live.update(_table(statuses, width, height), refresh=True)
        else:
            self._log(statuses)

    def _log(self, statuses: Sequence[Status]) -> None:
        for status in statuses:
            if self._states.get(status.run.directory, State.WAITING) != status.state:
                logger.info(_line(status))
            self._states[status.run.directory] = status.state
        if time.monotonic() > self._next_lines:
            self._next_lines = time.monotonic() + SECONDS_BETWEEN_LINES
            for status in statuses:
                if status.state == State.RUNNING:
                    logger.info(_line(status))


def _line(status: Status) -> str:
    """Returns the status of a run on one line."""
    row = status.row()
    steps = f"step {row.pop('steps')} of {row.pop('of')}"
    line = f"{row.pop('run')}: {row.pop('state')}, {steps}"
    return ", ".join([line, *(f"{name} {value}" for name, value in row.items() if value)])


def _table(statuses: Sequence[Status], width: int, height: int) -> "Table":
    """Returns the status of runs as a table for a terminal, running ones first.

    Args:
        statuses: The status of each run.
        width: Columns of the terminal. The table drops columns until it fits, and then shortens the
            names of runs.
        height: Rows of the terminal.
    """
    from rich.table import Table
    from rich.text import Text

    counts = [f"{sum(status.state == state for status in statuses)} {state}" for state in STATES]
    table = Table(caption=", ".join(count for count in counts if not count.startswith("0 ")))
    by_state = sorted(statuses, key=lambda status: STATES.index(status.state))
    shown = max(min(ROWS_SHOWN, height - OTHER_LINES), 1)
    rows = [status.row() for status in by_state[:shown]]
    for row, status in zip(rows, by_state, strict=False):
        row["state"] = str(status.state)  # the reasons of failures are printed at the end
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in COLUMNS}
    columns = _fitting_columns(widths, width)
    room = width - 1 - sum(widths[name] + BORDERS for name in columns if name != "run") - BORDERS
    for name in columns:
        is_text = name in ("run", "state", "machine")
        table.add_column(name, justify="left" if is_text else "right", no_wrap=True)
    for row in rows:
        row["run"] = _shorten_middle(row["run"], max(room, SHORTEST_NAME))
        table.add_row(*(Text(row[name]) for name in columns))
    return table


def _fitting_columns(widths: Mapping[str, int], width: int) -> list[str]:
    """Returns the names of the columns that fit into a terminal when names of runs are shortened.

    Args:
        widths: Width of each column.
        width: Columns of the terminal.
    """
    columns = list(COLUMNS)
    for name in LEAST_IMPORTANT:
        shortest = {**widths, "run": min(widths["run"], SHORTEST_NAME)}
        if 1 + sum(shortest[column] + BORDERS for column in columns) <= width:
            break
        columns.remove(name)
    return columns


def _shorten_middle(text: str, longest: int) -> str:
    """Returns a text, shortened in its middle if it is too long.

    >>> _shorten_middle("Breakout/default-seed1", 16)
    'Break...lt-seed1'
    """
    if len(text) <= longest:
        return text
    end = (longest - 3) * 2 // 3
    return f"{text[: longest - 3 - end]}...{text[-end:]}"
