"""Kills a training run at random moments until it is complete, and compares it with an
uninterrupted run. A run that is complete too soon is followed by another.

    python -m tests.torture --kills 50
    python -m tests.torture --recipes rainbow iqn --tasks Qbert-v0 --kills 6

Every other kill happens while a checkpoint is being written. Nothing is repaired between a kill and
the next start.
"""

import argparse
import itertools
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests import forked

Process = subprocess.Popen[str] | forked.Process
TASKS = ("BreakoutDeterministic-v4", "Qbert-v0", "SpaceInvadersDeterministic-v4")
SMALL = (
    *(
        "--training.environments",
        "4",
        "--training.warmup_steps",
        "400",
        "--training.log_period",
        "200",
    ),
    *(
        "--training.checkpoint_period",
        "400",
        "--training.evaluation_period",
        "0",
        "--replay.capacity",
        "3000",
    ),
    *("--agent.batch_size", "8", "--agent.target_period_updates", "40"),
)


def start_anew(arguments: list[str]) -> Process:
    """Starts a command in a new process of Python."""
    command = [sys.executable, "-m", "atari_dqn.cli", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@dataclass
class Outcome:
    """The result for one task with one recipe."""

    task: str
    recipe: str
    kills: int = 0
    while_writing: int = 0
    same: bool = True

    def has(self, kills: int) -> bool:
        """Tells whether there were enough kills, at least half of them inside a checkpoint."""
        return self.kills >= kills and self.while_writing >= kills // 2


def torture(
    task: str,
    recipe: str,
    steps: int,
    kills: int,
    seed: int,
    directory: Path,
    extra: Sequence[str] = (),
    start: Callable[[list[str]], Process] = start_anew,
) -> Outcome:
    """Trains a task uninterrupted and killed several times, and compares the digests.

    A fast machine may complete a run before all kills: then another run takes the rest of them.

    Args:
        task: environment id.
        recipe: name of a recipe.
        steps: agent steps of the run.
        kills: least number of kills; at least half of them happen inside of a checkpoint.
        seed: seed of the moments of the kills.
        directory: directory of both runs.
        extra: further options of ``atari-dqn train``.
        start: function that starts the command line of a run that is killed or continued.
    """
    command = [
        "train",
        "--game",
        task,
        "--config",
        recipe,
        *SMALL,
        *extra,
    ]
    command += [
        "--total-steps",
        str(steps),
        "--root",
        str(directory),
        "--videos",
        str(directory / "videos"),
    ]
    runs = directory / task.replace("/", "-")
    _complete(start_anew([*command, "--run-dir", "alone"]))
    expected = _digest(runs / "alone")
    outcome = Outcome(task, recipe)
    moments = random.Random(seed)
    number = 0
    while not outcome.has(kills):
        number += 1
        run = runs / f"killed{number}"
        again = [*command, "--run-dir", run.name]
        complete = False
        while not (complete or outcome.has(kills)):
            process = start(again)
            writing = outcome.while_writing <= outcome.kills // 2
            _kill(process, run, moments.uniform(0, 3), writing)
            complete = process.wait() != -signal.SIGKILL
            if not complete:
                outcome.kills += 1
                outcome.while_writing += bool(_half_written(run))
        _complete(start(again))
        outcome.same &= _digest(run) == expected
    return outcome


def _complete(process: Process) -> None:
    """Waits for a process, which has to succeed."""
    _, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(errors)


def _kill(process: Process, run: Path, delay: float, writing: bool) -> None:
    """Kills a run some time after its first logged step, or while it writes a checkpoint."""
    metrics = run / "metrics.csv"
    size = before = 2**63
    while (
        process.poll() is None and size <= before
    ):  # wait until the log grows; it may first be cut back to the checkpoint
        time.sleep(0.02)
        before = size
        size = metrics.stat().st_size if metrics.is_file() else 0
    deadline = time.monotonic() + delay
    while process.poll() is None and (
        time.monotonic() < deadline or (writing and not _half_written(run))
    ):
        time.sleep(0.001)
    process.kill()


def _half_written(run: Path) -> list[Path]:
    return [*run.glob(".writing-*"), *run.glob("replay/.writing-*")]


def _digest(run: Path) -> str:
    command = [sys.executable, "-m", "atari_dqn.cli", "digest", str(run)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main() -> int:
    """Tortures every task with every recipe and returns 0 if all digests are equal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--recipes", nargs="+", default=("default",))
    parser.add_argument("--kills", type=int, default=51, help="over all runs")
    parser.add_argument("--steps", type=int, default=12_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    pairs = list(itertools.product(options.recipes, options.tasks))
    outcomes = []
    for number, (recipe, task) in enumerate(pairs):
        with tempfile.TemporaryDirectory() as directory:
            share = -(-options.kills // len(pairs))
            outcome = torture(
                task, recipe, options.steps, share, options.seed + number, Path(directory)
            )
        kills = f"{outcome.kills} kills, {outcome.while_writing} inside a checkpoint"
        digest = "the same digest" if outcome.same else "ANOTHER DIGEST"
        print(f"{task}, {recipe}: {kills}: {digest}", flush=True)
        outcomes.append(outcome)
    return 0 if all(outcome.same for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
