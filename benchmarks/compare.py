"""Training speed of one set of options against another: whole runs in turns, each in a process of its own.

    python -m benchmarks.compare --a="--replay.storage memory" --b="--replay.storage compressed"

Prints the agent steps per second of each run while it learns, and the median and spread of b / a over the pairs. Nothing else
should run beside it.
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

BASE = "--training.warmup_steps 3000 --training.log_period 1000 --training.evaluation_period 0 --training.checkpoint_period 0"


def speed(game: str, options: str, steps: int) -> float:
    """Median agent steps per second of a short run, from its second row of metrics with learning on.

    Args:
        game: environment id.
        options: of ``atari-dqn train``; words ``NAME=VALUE`` before them are environment variables.
        steps: agent steps of the run.
    """
    words = shlex.split(options)
    variables = [word for word in words if "=" in word and not word.startswith("-")]
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "atari_dqn.cli", "train", "--game", game, *shlex.split(BASE)]
        command += ["--total-steps", str(steps), "--run-dir", f"{directory}/run", "--videos", f"{directory}/videos"]
        environment = os.environ | dict(variable.split("=", 1) for variable in variables)
        arguments = [word for word in words if word not in variables]
        subprocess.run([*command, *arguments], check=True, capture_output=True, env=environment)
        with (Path(directory) / "run" / "metrics.csv").open() as file:
            learning = [float(row["steps_per_second"]) for row in csv.DictReader(file) if int(row["updates"]) > 0]
    return statistics.median(learning[1:])


def main() -> None:
    """Runs the pairs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--a", default="")
    parser.add_argument("--b", default="")
    parser.add_argument("--game", default="BreakoutDeterministic-v4")
    parser.add_argument("--steps", type=int, default=12_000)
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    ratios = []
    for number in range(options.pairs):
        # Who goes first alternates, so that a machine that slows down favours neither.
        speeds = {side: speed(options.game, side, options.steps) for side in (options.a, options.b)[:: 1 - 2 * (number % 2)]}
        ratios.append(speeds[options.b] / speeds[options.a])
        print(f"a {speeds[options.a]:.0f}, b {speeds[options.b]:.0f} agent steps/s, b / a {ratios[-1]:.3f}", flush=True)
    print(f"b / a: median {statistics.median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f}")


if __name__ == "__main__":
    main()
