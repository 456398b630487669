"""Trains every run of a sweep to its end."""

import logging
from collections.abc import Sequence
from pathlib import Path

from atari_dqn.runs.signals import StopOnSignals
from atari_dqn.sweep.plan import Resources, Run, State
from atari_dqn.sweep.runner import SECONDS_BETWEEN_LOOKS, Runner
from atari_dqn.sweep.status import Board, Status

logger = logging.getLogger(__name__)


def run_all(groups: Sequence[Sequence[Run]], resources: Resources, out: Path) -> list[Status]:
    """Trains the runs that are not finished yet, until all are done or the user stops them.

    Args:
        groups: The runs, in groups.
        resources: Resources of each run.
        out: Directory of the sweep.

    Returns:
        The status of each run.
    """
    runner = Runner(resources)
    statuses = {run.directory: Status(run) for runs in groups for run in runs}
    every = list(statuses.values())
    is_stopping = False
    with StopOnSignals() as stop, Board(out / "results.csv") as board:
        for status in every:
            status.settle()
            if status.state != State.DONE:
                runner.submit(status.run)
        while len(runner):
            _update(runner, statuses)
            board.show(every)
            if stop.requested and not is_stopping:
                logger.info("stopping: each run finishes its step and saves")
                runner.stop()
                is_stopping = True
        board.show(every)
    return every


def _update(runner: Runner, statuses: dict[str, Status]) -> None:
    """Waits a moment for runs to end, and updates the status of every run.

    Args:
        runner: Trains the runs.
        statuses: The status of each run, by its directory.
    """
    for run, outcome in runner.ended(SECONDS_BETWEEN_LOOKS):
        status = statuses[run.directory]
        status.look()
        status.state = outcome.state
        status.why = outcome.why
        status.settle()
    for status in statuses.values():
        deaths = runner.deaths(status.run)
        if deaths != status.deaths:
            status.deaths = deaths
            status.state = State.WAITING
        status.look()
