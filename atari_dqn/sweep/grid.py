"""Every run of a sweep, to its end."""

from collections.abc import Sequence
from pathlib import Path

from atari_dqn.console import say
from atari_dqn.runs.signals import StopOnSignals
from atari_dqn.sweep.plan import DONE, WAITING, Run
from atari_dqn.sweep.runner import Runner
from atari_dqn.sweep.status import Board, Status

SECONDS_BETWEEN_LOOKS = 1.0


def run_all(
    groups: Sequence[Sequence[Run]], cpus: int, gpus: float, room: int, out: Path
) -> list[Status]:
    """Runs what is not finished yet and shows how it goes, until all is done or the user stops it.

    Args:
        groups: the runs.
        cpus: of a run.
        gpus: of a run.
        room: for how many runs the cluster has room; Ray knows that, too.
        out: the folder of the sweep.

    Returns:
        How all runs stand.
    """
    runner, stopping = Runner(cpus, gpus), False
    statuses = {run.directory: Status(run) for runs in groups for run in runs}
    with StopOnSignals() as stop, Board(out / "results.csv") as board:
        for status in statuses.values():
            status.settle()
            if status.state != DONE:
                runner.submit(status.run)
        while len(runner):
            for run, outcome in runner.ended(SECONDS_BETWEEN_LOOKS):
                status = statuses[run.directory]
                status.look()
                status.state, status.why = outcome.state, outcome.why
                status.settle()
            for status in statuses.values():
                if (deaths := runner.deaths(status.run)) != status.deaths:
                    status.deaths, status.state = deaths, WAITING
                status.look()
            board.show(list(statuses.values()))
            if stop.requested and not stopping:
                say("stopping: each run ends its step and saves")
                runner.stop()
                stopping = True
        board.show(list(statuses.values()))
    return list(statuses.values())
