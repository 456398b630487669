"""Compares the training speed of two sets of options, in runs that alternate.

    python -m benchmarks.compare --a="--replay.storage memory" --b="--replay.storage compressed"

Each run has its own process. The output is each run's agent steps per second while it learns, and
the median and range of b / a over the pairs. Run nothing else at the same time.
"""

import argparse
import statistics

from benchmarks.speed import speed


def main() -> None:
    """Runs the pairs and prints their ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--a", default="")
    parser.add_argument("--b", default="")
    parser.add_argument("--game", default="BreakoutDeterministic-v4")
    parser.add_argument("--steps", type=int, default=12_000)
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    ratios = []
    for number in range(options.pairs):
        # The order alternates, so that a machine that slows down favors neither side.
        speeds = {
            side: speed(options.game, side, options.steps)
            for side in (options.a, options.b)[:: 1 - 2 * (number % 2)]
        }
        ratios.append(speeds[options.b] / speeds[options.a])
        both = f"a {speeds[options.a]:.0f}, b {speeds[options.b]:.0f} agent steps/s"
        print(f"{both}, b / a {ratios[-1]:.3f}", flush=True)
    spread = f"from {min(ratios):.3f} to {max(ratios):.3f}"
    print(f"b / a: median {statistics.median(ratios):.3f}, {spread}")


if __name__ == "__main__":
    main()
