"""How the runs of a sweep stand, read from their directories; one table of all, on the terminal and
as CSV.
"""

import csv
import io
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atari_dqn.console import say
from atari_dqn.errors import UserError
from atari_dqn.files.atomic_write import write_whole
from atari_dqn.files.reading import read_json
from atari_dqn.report.results import EVALUATION, TRAINING, read_results
from atari_dqn.runs.curves import read_latest_metrics
from atari_dqn.sweep.plan import DONE, DROPPED, FAILED, RUNNING, STOPPED, WAITING, Run
from atari_dqn.sweep.worker import WORKER

STATES = (RUNNING, FAILED, STOPPED, WAITING, DONE, DROPPED)
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
# On a terminal: those that run come first, and what is left out is counted.
ROWS_SHOWN = 24


@dataclass
class Status:
    """Where a run stands.

    Attributes:
        run: which.
        state: ``WAITING``, ``RUNNING``, ``DONE``, ``STOPPED``, ``FAILED``, or in a search
            ``DROPPED``.
        why: of a failure.
        steps: agent steps that it has logged.
        scores: by measure: training (mean of the last 100 episodes while it runs) and evaluation.
        speed: agent steps in a second.
        machine: that it runs on.
        deaths: how often it lost its worker.
    """

    run: Run
    state: str = WAITING
    why: str = ""
    steps: int = 0
    scores: dict[str, float] = field(default_factory=dict)
    speed: float | None = None
    machine: str = ""
    deaths: int = 0

    def look(self) -> None:
        """Reads how far it has come."""
        directory = Path(self.run.directory)
        if self.state == DONE:
            return
        try:
            worker = read_json(directory / WORKER)
            row = read_latest_metrics(directory)
        except UserError:  # it has not begun, or somebody else wrote these files
            return
        if not isinstance(worker, dict):
            return
        if self.state == WAITING and worker.get("attempt") == self.deaths:
            self.state = RUNNING
        if self.state == RUNNING:
            self.machine = str(worker.get("node", ""))
            steps = row.get("steps", 0.0)
            self.steps = int(steps) if math.isfinite(steps) else 0
            self.speed = row.get("steps_per_second")
            self.scores = {TRAINING: row["score"]} if "score" in row else {}

    def settle(self) -> None:
        """Notes the scores of a run that is complete; ``DONE`` if nothing of it is missing."""
        directory = Path(self.run.directory)
        try:
            results, _ = read_results([directory], Path(self.run.videos))
        except UserError:
            return
        found = {
            result.measure: result for result in results if result.steps >= self.run.total_steps
        }
        if (TRAINING if self.run.episodes == 0 else EVALUATION) in found:
            self.state, self.steps, self.speed = DONE, self.run.total_steps, None
            self.scores = {measure: result.score for measure, result in found.items()}

    def row(self) -> tuple[str, ...]:
        """As ``COLUMNS``."""
        left = (
            (self.run.total_steps - self.steps) / self.speed
            if self.speed and self.state == RUNNING
            else None
        )
        scores = (
            f"{self.scores[name]:.2f}" if name in self.scores else ""
            for name in (TRAINING, EVALUATION)
        )
        speed = f"{self.speed:.0f}" if self.speed and self.state == RUNNING else ""
        remaining = "" if left is None else f"{left // 3600:.0f}:{left % 3600 // 60:02.0f}"
        state = f"{self.state}: {self.why}" if self.why else self.state
        numbers = (f"{self.steps}", f"{self.run.total_steps}", *scores, speed, remaining)
        return (self.run.name, state, *numbers, self.machine, f"{self.deaths or ''}")


def as_csv(statuses: Sequence[Status]) -> str:
    """All runs as a table, a row for each."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(status.row() for status in statuses)
    return text.getvalue()


class Board:
    """Shows how runs stand: a table that is drawn anew on a terminal, lines elsewhere; and a CSV
    file.

    Args:
        path: of the CSV file.
    """

    def __init__(self, path: Path) -> None:
        from rich.console import Console
        from rich.live import Live

        self._path, self._console = path, Console(stderr=True)
        self._live = (
            Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        )
        self._states: dict[str, str] = {}
        self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES

    def __enter__(self) -> "Board":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, statuses: Sequence[Status]) -> None:
        """Shows and writes what has changed."""
        write_whole(self._path, as_csv(statuses).encode())
        if self._live:
            self._live.update(_table(statuses), refresh=True)
        else:
            self._lines(statuses)

    def _lines(self, statuses: Sequence[Status]) -> None:
        for status in statuses:
            if self._states.get(status.run.directory, WAITING) != status.state:
                self._say(status)
            self._states[status.run.directory] = status.state
        if time.monotonic() > self._next_line:
            self._next_line = time.monotonic() + SECONDS_BETWEEN_LINES
            for status in statuses:
                if status.state == RUNNING:
                    self._say(status)

    def _say(self, status: Status) -> None:
        said = dict(zip(COLUMNS, status.row(), strict=True))
        begin = (
            f"{said.pop('run')}: {said.pop('state')}, step {said.pop('steps')} of {said.pop('of')}"
        )
        say(", ".join([begin, *(f"{name} {value}" for name, value in said.items() if value)]))


def _table(statuses: Sequence[Status]) -> Any:
    from rich.table import Table
    from rich.text import Text

    first = sorted(statuses, key=lambda status: STATES.index(status.state))
    counts = [f"{sum(status.state == state for status in statuses)} {state}" for state in STATES]
    table = Table(caption=", ".join(count for count in counts if not count.startswith("0 ")))
    for name in COLUMNS:
        table.add_column(
            name,
            justify="left" if name in ("run", "state", "machine") else "right",
            overflow="fold",
        )
    for status in first[:ROWS_SHOWN]:
        table.add_row(*(Text(cell) for cell in status.row()))
    return table
