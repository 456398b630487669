"""Searches for the best settings on Ray Tune; only the best candidates train to the end.

The method is asynchronous successive halving (Li et al. 2020, "A System for Massively Parallel
Hyperparameter Tuning", Algorithm 2).
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
from atari_dqn.sweep.plan import Resources, Run, State
from atari_dqn.sweep.runner import SECONDS_BETWEEN_LOOKS, Runner, steps_saved
from atari_dqn.sweep.status import Board, Status

# Ray Tune prints nothing, does not handle Ctrl-C, and decides after each rung.
ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_RESULT_BUFFER_LENGTH": "1",
}
STOP = "stop"


def search(candidates: Sequence[Sequence[Run]], resources: Resources, out: Path) -> list[Status]:
    """Trains all candidates to the first rung, and only the best of them further.

    Args:
        candidates: The runs of each candidate, with all their steps.
        resources: Resources of each run.
        out: Directory of the search.

    Returns:
        The status of each run.
    """
    os.environ |= ENVIRONMENT
    for name in ("ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)
    stop_file = out.resolve() / STOP
    stop_file.unlink(missing_ok=True)
    # A search continues from the files of its runs, so those of Ray Tune can go.
    shutil.rmtree(out / "tune", ignore_errors=True)
    statuses = [Status(run) for runs in candidates for run in runs]
    with StopOnSignals() as stop, Board(out / "results.csv") as board:
        follower = Follower(statuses, board, lambda: stop.requested, stop_file)
        _tuner(candidates, resources, stop_file, follower).fit()
        board.show(statuses)
    stop_file.unlink(missing_ok=True)
    return statuses


def _tuner(
    candidates: Sequence[Sequence[Run]],
    resources: Resources,
    stop_file: Path,
    follower: "Follower",
) -> tune.Tuner:
    """Returns the tuner that trains the candidates; its files are beside the stop file."""
    milestones = rungs(candidates[0][0].total_steps)
    parameters = {
        "milestones": milestones,
        "cpus": resources.cpus,
        "gpus": resources.gpus,
        "stop_file": str(stop_file),
        "runs": tune.grid_search([[run._asdict() for run in runs] for runs in candidates]),
    }
    scheduler = ASHAScheduler(
        time_attr="steps",
        max_t=milestones[-1],
        grace_period=milestones[0],
        reduction_factor=REDUCTION,
    )
    candidates_at_a_time = max(resources.at_a_time // len(candidates[0]), 1)
    return tune.Tuner(
        # A candidate only waits for its runs, so it must not take a CPU from them. Ray Tune
        # requires some resource, so it takes one byte of memory.
        tune.with_resources(train_candidate, {"cpu": 0, "memory": 1}),
        param_space=parameters,
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            scheduler=scheduler,
            max_concurrent_trials=candidates_at_a_time,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(stop_file.parent),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=2),
            callbacks=[follower],
        ),
    )


def train_candidate(config: dict[str, Any]) -> None:
    """Trains a candidate's runs from rung to rung, as long as they are among the best.

    Ray Tune calls this function for each candidate.

    Args:
        config: The parameters that ``_tuner`` passes to Ray Tune.
    """
    stop_file = Path(config["stop_file"])
    resources = Resources(config["cpus"], config["gpus"], at_a_time=len(config["runs"]))
    for steps in config["milestones"]:
        runs = [Run(**run)._replace(total_steps=steps) for run in config["runs"]]
        is_last = steps == config["milestones"][-1]
        runner = Runner(resources, evaluate=is_last)
        for run in runs:
            if is_last or steps_saved(run) < steps:
                runner.submit(run)
        _finish(runner, stop_file)
        if stop_file.exists():
            return
        score = float(np.mean([score_at(run, steps) for run in runs]))
        tune.report({"score": score, "steps": steps})


def _finish(runner: Runner, stop_file: Path) -> None:
    """Waits until all runs have ended.

    Raises:
        RuntimeError: One of them failed.
    """
    while len(runner):
        if stop_file.exists():
            runner.stop()
        for run, outcome in runner.ended(SECONDS_BETWEEN_LOOKS):
            if outcome.state == State.FAILED:
                raise RuntimeError(f"{run.name}: {outcome.why}")


class Follower(tune.Callback):  # type: ignore[misc]
    """A callback that shows the status of the runs of all trials, and stops them on request.

    Args:
        statuses: Status of each run.
        board: Shows the statuses.
        stopping: Returns whether the user has requested a stop.
        stop_file: File whose existence makes the trials stop.
    """

    def __init__(
        self,
        statuses: Sequence[Status],
        board: Board,
        stopping: Callable[[], bool],
        stop_file: Path,
    ) -> None:
        self._statuses = statuses
        self._board = board
        self._stopping = stopping
        self._stop_file = stop_file

    def __getstate__(self) -> dict[str, Any]:
        """Returns nothing: Ray Tune stores callbacks, but a continued search makes a new one."""
        return {}

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Updates and shows the status of all runs, after Ray Tune has processed its trials."""
        stopping = self._stopping()
        unfinished = State.STOPPED if stopping else State.DROPPED
        trial_status = {
            run["directory"]: trial.status for trial in trials for run in trial.config["runs"]
        }
        for status in self._statuses:
            _look(status, trial_status.get(status.run.directory, ""), unfinished)
        self._board.show(self._statuses)
        if stopping:
            self._stop_file.touch()

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Stores the reason why a candidate failed."""
        reason = ""
        if trial.error_file:
            text = Path(trial.error_file).read_text(encoding="utf-8")
            reason = text.strip().splitlines()[-1]
        directories = {run["directory"] for run in trial.config["runs"]}
        for status in self._statuses:
            if status.run.directory in directories:
                status.why = reason


def _look(status: Status, trial: str, unfinished: State) -> None:
    """Updates the status of a run from its files and from the state of its trial.

    Args:
        status: Status of the run.
        trial: Ray Tune's name for the state of the trial.
        unfinished: State of a run whose trial ended before the run was complete.
    """
    if status.state in (State.WAITING, State.RUNNING):
        status.look()
        if trial == "ERROR":
            status.state = State.FAILED
        elif trial == "TERMINATED":
            status.state = unfinished
            status.settle()
