"""Measures the cost of checkpoints while a replay memory of a million frames fills up.

    python -m benchmarks.checkpoints --storage compressed

The play is random, as in the warm-up of a run, and the period between checkpoints is that of the
default recipe. Run nothing else at the same time.
"""

import argparse
import tempfile
import time
from pathlib import Path

import psutil

from atari_dqn.config.resolve import load_config
from atari_dqn.training.loop import PeriodicTask, Training


def main() -> None:
    """Fills the memory and prints a row for each checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--game", default="BreakoutDeterministic-v4")
    parser.add_argument("--storage", default="compressed")
    parser.add_argument("--steps", type=int, default=1_100_000)
    parser.add_argument("--capacity", type=int, default=1_000_000)
    options = parser.parse_args()
    changes = {
        "replay.capacity": options.capacity,
        "replay.storage": options.storage,
        "training.total_steps": options.steps,
        "training.warmup_steps": options.steps,
        "training.evaluation_period": 0,
    }
    config, _ = load_config(options.game, overrides=changes)
    with tempfile.TemporaryDirectory() as directory:
        run = Path(directory)
        training = Training(config, run, run / "videos")
        save = training.save

        def timed_save() -> None:
            before = {file for file in run.rglob("*") if file.is_file()}
            start = time.perf_counter()
            save()
            seconds = time.perf_counter() - start
            files = {file: file.stat().st_size for file in run.rglob("*") if file.is_file()}
            written = sum(size for file, size in files.items() if file not in before)
            frames = sum(size for file, size in files.items() if file.parent.name == "replay")
            resident = psutil.Process().memory_info().rss
            sizes = [f"{size / 1e6:.1f}" for size in (written, frames, resident)]
            cells = [str(training.steps), f"{seconds:.2f}", *sizes]
            print("|", " | ".join(cells), "|", flush=True)

        period = config.training.checkpoint_period
        training.periodic_tasks = [PeriodicTask(period, "checkpoint", timed_save)]
        print("| agent steps | seconds stalled | MB written | MB of frames kept | MB of memory |")
        print("| --- | --- | --- | --- | --- |")
        training.run()


if __name__ == "__main__":
    main()
