"""How training with actors scales: speed and traffic for each number of them, and one actor and one
learner alone on a core.

    python -m benchmarks.actors --game pong --actors 0 1 2 4 8

0 actors: everything in one process. Any other option is one of ``atari-dqn train``. Nothing else
should run beside it.
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
from typing import Any

from atari_dqn.backend import startup
from atari_dqn.config.resolve import load_config
from atari_dqn.config.schema import Config
from benchmarks.bench import quiet

WARMUP, LOG_PERIOD = 3_000, 2_000
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
    """The rows of metrics.csv with learning on, but the first."""
    with (run / "metrics.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if int(row["updates"]) > 0][1:]


def train(game: str, actors: int, steps: int, more: list[str]) -> dict[str, float]:
    """Medians of a short run's metrics; those that count from the start as they are at its end."""
    with tempfile.TemporaryDirectory() as directory:
        command = [
            sys.executable,
            "-m",
            "atari_dqn.cli",
            "train",
            "--game",
            game,
            "--actors",
            str(actors),
        ]
        command += [
            "--total-steps",
            str(steps),
            "--run-dir",
            f"{directory}/run",
            "--videos",
            f"{directory}/videos",
        ]
        settings = [word for name, value in CHANGES.items() for word in (f"--{name}", str(value))]
        subprocess.run([*command, *settings, *more], check=True, capture_output=True, env=quiet())
        rows = rows_of(Path(directory) / "run")
    here = [name for name in COLUMNS if name in rows[0]]
    return {
        name: statistics.median(float(row[name]) for row in rows)
        if "per_step" not in name
        else float(rows[-1][name])
        for name in here
    }


class Recorded:
    """In place of ``Actors``: experience that is always there already."""

    deaths = bytes_received = bytes_sent = 0

    def __init__(self, experience: list[tuple[int, Any]]) -> None:
        self._experience = itertools.cycle(experience)

    def start(self, steps: int, episodes: int) -> None:
        """Nothing to start."""

    def next(self, seconds: float, steps: int, episodes: int) -> tuple[int, Any]:
        """The next piece."""
        return next(self._experience)

    def stop(self) -> None:
        """Nothing to stop."""


def alone(config: Config) -> tuple[float, float, float]:
    """Agent steps per second, on one core: of an actor that acts by its network, of a learner that
    never waits, and of one that only stores.
    """
    startup.start(1, 1)
    from atari_dqn.distributed.actor import Actor
    from atari_dqn.distributed.learner import DistributedTraining

    one = Actor(config, 0, 0, 1)
    made, seconds = [], []
    for _ in range(100):
        begun = time.perf_counter()
        made.append((0, one.work(None, 10 * WARMUP, 0)))
        seconds.append(time.perf_counter() - begun)
    with tempfile.TemporaryDirectory() as directory:
        learner = DistributedTraining(config, Path(directory) / "run", Path(directory) / "videos")
        learner.actors = Recorded(made)  # type: ignore[assignment]
        learner.run()
        speeds = [float(row["steps_per_second"]) for row in rows_of(Path(directory) / "run")]
        storing = []
        for index, experience in made:
            begun = time.perf_counter()
            learner.take_over(index, experience)
            storing.append(time.perf_counter() - begun)
    steps = made[0][1].steps
    return (
        steps / statistics.median(seconds[10:]),
        statistics.median(speeds),
        steps / statistics.median(storing),
    )


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--game", default="pong")
    parser.add_argument("--actors", type=int, nargs="*", default=[0, 1, 2, 4, 8])
    parser.add_argument("--steps", type=int, default=13_000)
    parser.add_argument("--repeats", type=int, default=3)
    options, more = parser.parse_known_args()
    found: dict[int, list[dict[str, float]]] = {actors: [] for actors in options.actors}
    for number in range(options.repeats):
        for actors in options.actors[:: 1 - 2 * (number % 2)]:
            found[actors].append(train(options.game, actors, options.steps, more))
    print("| actors | " + " | ".join(COLUMNS) + " |")
    print("| --- " * (1 + len(COLUMNS)) + "|")
    for actors, runs in found.items():
        cells = []
        for name in COLUMNS:
            values = [run[name] for run in runs if name in run]
            cells.append(
                f"{statistics.median(values):.4g} ({min(values):.4g}-{max(values):.4g})"
                if values
                else ""
            )
        print(f"| {actors} | " + " | ".join(cells) + " |")
    for precision in ("float32", "bfloat16"):
        changes = {
            "training.total_steps": options.steps,
            "machine.actors": 1,
            "machine.precision": precision,
        }
        config, _ = load_config(options.game, overrides=CHANGES | changes)
        actor, learner, store = (f"{speed:.4g}" for speed in alone(config))
        print(
            f"{precision}, agent steps/s on one core: actor {actor}, learner {learner}, learner that only stores {store}"
        )


if __name__ == "__main__":
    main()
