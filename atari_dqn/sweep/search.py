"""A search over settings: Ray Tune gives every candidate a share of the steps, and more of them
only to the best.

Successive halving in which nobody waits for the others (Li et al. 2020, "A System for Massively
Parallel Hyperparameter Tuning", Algorithm 2).
"""

import logging
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from atari_dqn.runs.signals import StopOnSignals
from atari_dqn.sweep.candidates import REDUCTION, rungs, score_at
from atari_dqn.sweep.plan import DROPPED, FAILED, RUNNING, STOPPED, WAITING, Run
from atari_dqn.sweep.runner import Runner, steps_saved
from atari_dqn.sweep.status import Board, Status

# Says nothing, leaves Ctrl-C to us, and decides on each rung before the next begins.
ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_RESULT_BUFFER_LENGTH": "1",
}
STOP = "stop"


def search(
    candidates: Sequence[Sequence[Run]], cpus: int, gpus: float, room: int, out: Path
) -> list[Status]:
    """Trains candidates, the best of them to the end.

    Args:
        candidates: the runs of each, with all their steps.
        cpus: of a run.
        gpus: of a run.
        room: for how many runs the cluster has room.
        out: the folder of the search.

    Returns:
        How all runs stand.
    """
    os.environ |= ENVIRONMENT
    for name in ("ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)
    milestones = rungs(candidates[0][0].total_steps)
    stop_file = out.resolve() / STOP
    stop_file.unlink(missing_ok=True)
    # What a search that was stopped knows is in its runs.
    shutil.rmtree(out / "tune", ignore_errors=True)
    statuses = [Status(run) for runs in candidates for run in runs]
    fixed = {"milestones": milestones, "cpus": cpus, "gpus": gpus, "stop_file": str(stop_file)}
    asha = ASHAScheduler(
        time_attr="steps",
        max_t=milestones[-1],
        grace_period=milestones[0],
        reduction_factor=REDUCTION,
    )
    with StopOnSignals() as stop, Board(out / "results.csv") as board:
        follow = Follower(statuses, board, lambda: stop.requested, stop_file)
        tune.Tuner(
            # A candidate only waits for its runs, so it takes no CPU from them; Ray Tune wants it
            # to take something.
            tune.with_resources(train_candidate, {"cpu": 0, "memory": 1}),
            param_space=fixed
            | {"runs": tune.grid_search([[run._asdict() for run in runs] for runs in candidates])},
            tune_config=tune.TuneConfig(
                metric="score",
                mode="max",
                scheduler=asha,
                max_concurrent_trials=max(room // len(candidates[0]), 1),
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(out.resolve()),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=2),
                callbacks=[follow],
            ),
        ).fit()
        board.show(statuses)
    stop_file.unlink(missing_ok=True)
    return statuses


def train_candidate(config: dict[str, Any]) -> None:
    """What Ray Tune runs for each candidate: its runs to one rung after the other, for as long as
    they are among the best.
    """
    stop_file = Path(config["stop_file"])
    for steps in config["milestones"]:
        runs = [Run(**run)._replace(total_steps=steps) for run in config["runs"]]
        last = steps == config["milestones"][-1]
        runner = Runner(config["cpus"], config["gpus"], evaluate=last)
        for run in runs:
            if last or steps_saved(run) < steps:
                runner.submit(run)
        while len(runner):
            if stop_file.exists():
                runner.stop()
            for run, outcome in runner.ended(1.0):
                if outcome.state == FAILED:
                    raise RuntimeError(f"{run.name}: {outcome.why}")
        if stop_file.exists():
            return
        tune.report(
            {"score": float(np.mean([score_at(run, steps) for run in runs])), "steps": steps}
        )


class Follower(tune.Callback):  # type: ignore[misc]
    """What Ray Tune tells how its trials stand, and what tells them to stop.

    Args:
        statuses: of all runs.
        board: that shows them.
        stopping: whether the user has asked for it.
        stop_file: that tells the trials.
    """

    def __init__(
        self,
        statuses: Sequence[Status],
        board: Board,
        stopping: Callable[[], bool],
        stop_file: Path,
    ) -> None:
        self._statuses, self._board, self._stopping, self._stop_file = (
            statuses,
            board,
            stopping,
            stop_file,
        )

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray Tune stores its callbacks, but a search that goes on makes a new one."""
        return {}

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Ray Tune has looked at its trials."""
        stopping = self._stopping()
        ended = {run["directory"]: trial.status for trial in trials for run in trial.config["runs"]}
        for status in self._statuses:
            _look(status, ended.get(status.run.directory, ""), STOPPED if stopping else DROPPED)
        self._board.show(self._statuses)
        if stopping:
            self._stop_file.touch()

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A candidate has failed."""
        lines = (
            Path(trial.error_file).read_text(encoding="utf-8").strip().splitlines()
            if trial.error_file
            else [""]
        )
        for status in self._statuses:
            if status.run.directory in {run["directory"] for run in trial.config["runs"]}:
                status.why = lines[-1]


def _look(status: Status, trial: str, unfinished: str) -> None:
    """Reads how far a run has come, or how it was left when its trial ended."""
    if status.state in (WAITING, RUNNING):
        status.look()
        if trial == "ERROR":
            status.state = FAILED
        elif trial == "TERMINATED":
            status.state = unfinished
            status.settle()
