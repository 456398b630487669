"""Measures how fast a short run trains, and prints agent steps per second.

    python -m benchmarks.speed --steps 12000 --training.environments 8

All further options go to ``atari-dqn train``.
"""

import argparse
import csv
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

BASE = "--training.warmup_steps 3000 --training.log_period 1000 --training.evaluation_period 0"


def speed(game: str, options: str, steps: int) -> float:
    """Returns the median agent steps per second of a short run during learning.

    Args:
        game: Environment id.
        options: Options of ``atari-dqn train``, and ``NAME=VALUE`` environment variables.
        steps: Agent steps of the run.
    """
    words = shlex.split(options)
    variables = [word for word in words if "=" in word and not word.startswith("-")]
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "atari_dqn.cli", "train", *shlex.split(BASE)]
        command += ["--game", game, "--total-steps", str(steps)]
        command += ["--run-dir", f"{directory}/run", "--videos", f"{directory}/videos"]
        environment = os.environ | dict(variable.split("=", 1) for variable in variables)
        arguments = [word for word in words if word not in variables]
        subprocess.run([*command, *arguments], check=True, capture_output=True, env=environment)
        with (Path(directory) / "run" / "metrics.csv").open() as file:
            rows = [row for row in csv.DictReader(file) if int(row["updates"]) > 0]
    speeds = [float(row["steps_per_second"]) for row in rows]
    return statistics.median(speeds[1:])  # the first row includes building graphs


def main() -> None:
    """Runs once and prints the speed."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--game", default="BreakoutNoFrameskip-v4")
    parser.add_argument("--steps", type=int, default=12_000)
    options, others = parser.parse_known_args()
    print(speed(options.game, shlex.join(others), options.steps))


if __name__ == "__main__":
    main()
