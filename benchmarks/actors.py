"""Measures how training with actors scales: speed and traffic, and each part alone.

    python -m benchmarks.actors --game pong --actors 0 1 2 4 8

With 0 actors, everything runs in one process. All further options go to ``atari-dqn train``. Run
nothing else at the same time.
"""

import argparse
import csv
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from atari_dqn.backend import startup
from atari_dqn.config.resolve import load_config
from atari_dqn.config.schema import Config
from benchmarks.bench import quiet

WARMUP = 3_000
LOG_PERIOD = 2_000
CHANGES = {
    "training.warmup_steps": WARMUP,
    "training.log_period": LOG_PERIOD,
    "training.evaluation_period": 0,
}
COLUMNS = (
    "steps_per_second",
    "samples_per_step",
    "bytes_received_per_step",
    "bytes_sent_per_step",
    "share_environment",
)


def rows_of(run: Path) -> list[dict[str, str]]:
    """Returns the rows of metrics.csv during learning, except for the first."""
    with (run / "metrics.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if int(row["updates"]) > 0][1:]


def train(game: str, actors: int, steps: int, more: list[str]) -> dict[str, float]:
    """Returns the medians of a short run's metrics, or the last values of cumulative ones."""
    with tempfile.TemporaryDirectory() as directory:
        options: dict[str, object] = {
            "game": game,
            "actors": actors,
            "total-steps": steps,
            "run-dir": f"{directory}/run",
            "videos": f"{directory}/videos",
            **CHANGES,
        }
        command = [sys.executable, "-m", "atari_dqn.cli", "train"]
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        subprocess.run([*command, *more], check=True, capture_output=True, env=quiet())
        rows = rows_of(Path(directory) / "run")
    columns = [name for name in COLUMNS if name in rows[0]]
    return {name: summary([float(row[name]) for row in rows], name) for name in columns}


def summary(values: list[float], column: str) -> float:
    """Returns the last value of a cumulative column, or the median of any other."""
    return values[-1] if "per_step" in column else statistics.median(values)


class Recorded:
    """A stand-in for ``Actors`` that returns recorded experience without waiting."""

    deaths = bytes_received = bytes_sent = 0

    def __init__(self, experience: list[tuple[int, Any]]) -> None:
        self._experience = itertools.cycle(experience)

    def start(self, steps: int, episodes: int) -> None:
        """Does nothing: there is no process to start."""

    def next(self, seconds: float, steps: int, episodes: int) -> tuple[int, Any]:
        """Returns the next piece of experience."""
        return next(self._experience)

    def stop(self) -> None:
        """Does nothing: there is no process to stop."""


class Speeds(NamedTuple):
    """Speeds in agent steps per second on one core.

    Attributes:
        actor: Speed of an actor that acts with its network.
        learner: Speed of a learner that never waits for experience.
        storing: Speed of a learner that only stores experience.
    """

    actor: float
    learner: float
    storing: float


def alone(config: Config) -> Speeds:
    """Returns the speeds of the parts of training with actors, each measured alone."""
    startup.start(1, 1)
    from atari_dqn.distributed.actor import Actor
    from atari_dqn.distributed.learner import DistributedTraining

    actor = Actor(config, 0, 0, 1)
    pieces = []
    acting = []
    for _ in range(100):
        begin = time.perf_counter()
        pieces.append((0, actor.work(None, 10 * WARMUP, 0)))
        acting.append(time.perf_counter() - begin)
    with tempfile.TemporaryDirectory() as directory:
        learner = DistributedTraining(config, Path(directory) / "run", Path(directory) / "videos")
        learner.actors = Recorded(pieces)  # type: ignore[assignment]
        learner.run()
        speeds = [float(row["steps_per_second"]) for row in rows_of(Path(directory) / "run")]
        storing = []
        for index, experience in pieces:
            begin = time.perf_counter()
            learner.insert_experience(index, experience)
            storing.append(time.perf_counter() - begin)
    _, first = pieces[0]
    return Speeds(
        actor=first.steps / statistics.median(acting[10:]),
        learner=statistics.median(speeds),
        storing=first.steps / statistics.median(storing),
    )


def main() -> None:
    """Prints the table of complete runs and the speeds of the parts."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--game", default="pong")
    parser.add_argument("--actors", type=int, nargs="*", default=[0, 1, 2, 4, 8])
    parser.add_argument("--steps", type=int, default=13_000)
    parser.add_argument("--repeats", type=int, default=3)
    options, more = parser.parse_known_args()
    results: dict[int, list[dict[str, float]]] = {actors: [] for actors in options.actors}
    for number in range(options.repeats):
        for actors in options.actors[:: 1 - 2 * (number % 2)]:
            results[actors].append(train(options.game, actors, options.steps, more))
    print("| actors | " + " | ".join(COLUMNS) + " |")
    print("| --- " * (1 + len(COLUMNS)) + "|")
    for actors, runs in results.items():
        columns = [[run[name] for run in runs if name in run] for name in COLUMNS]
        print(f"| {actors} | " + " | ".join(cell(values) for values in columns) + " |")
    for precision in ("float32", "bfloat16"):
        changes = {
            "training.total_steps": options.steps,
            "machine.actors": 1,
            "machine.precision": precision,
        }
        config, _ = load_config(options.game, overrides=CHANGES | changes)
        speeds = alone(config)
        print(
            f"{precision}, agent steps/s on one core: actor {speeds.actor:.4g}, "
            f"learner {speeds.learner:.4g}, learner that only stores {speeds.storing:.4g}"
        )


def cell(values: list[float]) -> str:
    """Returns the median and range of values as text, which is empty without values."""
    if not values:
        return ""
    return f"{statistics.median(values):.4g} ({min(values):.4g}-{max(values):.4g})"


if __name__ == "__main__":
    main()
