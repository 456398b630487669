"""Measures a GPU: updates, whole runs, whether a run repeats to the bit, and Pong.

    python -m benchmarks.gpu                # about six minutes
    python -m benchmarks.gpu --pong 10      # and ten minutes of Pong

It also runs without a GPU, for comparison. Each number comes from a process of its own. Run nothing
else at the same time. The output is Markdown.
"""

import argparse
import csv
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.speed import speed

GAME = "BreakoutDeterministic-v4"
PONG = "PongDeterministic-v4"
COMPILED = ("false", "true")
UPDATES = (("plain", 32), ("plain", 256), ("default", 32), ("default", 256), ("long", 32))
RUNS = ("default", "long")
RUN_STEPS = 24_000
REPEATED = "--total-steps 4000 --training.warmup_steps 1000 --training.evaluation_period 0"
SECONDS_PER_MINUTE = 60


def machine() -> str:
    """Returns the name of the GPU, or that there is none, and the number of cores."""
    cores = f"{len(os.sched_getaffinity(0))} cores"
    if not shutil.which("nvidia-smi"):
        return f"no GPU, {cores}"
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    name = subprocess.run(query, check=True, capture_output=True, text=True).stdout.strip()
    return f"{name}, {cores}"


def update(recipe: str, batch: int, compiled: str) -> float:
    """Returns the milliseconds of an update."""
    words = f"update ours --recipe {recipe} --batch {batch} --compile {compiled}"
    return float(_output("benchmarks.parts", shlex.split(words)))


def digests(directory: Path, compiled: str) -> list[str]:
    """Makes the same short run twice, and returns the digest of each.

    Args:
        directory: Directory for the runs.
        compiled: Value of ``machine.compile``.
    """
    results = []
    for number in (1, 2):
        run = directory / f"run{number}"
        options = f"--game {GAME} --machine.compile {compiled} {REPEATED}"
        train(run, shlex.split(options)).wait()
        results.append(_output("atari_dqn.cli", ["digest", str(run)]).split()[0])
    return results


def train(run: Path, options: Sequence[str]) -> subprocess.Popen[bytes]:
    """Starts ``atari-dqn train`` in a process of its own."""
    command = [sys.executable, "-m", "atari_dqn.cli", "train", *options]
    command += ["--run-dir", str(run), "--videos", str(run.parent / "videos")]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def pong(directory: Path, minutes: float) -> list[tuple[float, int, float]]:
    """Trains on Pong for some minutes.

    Args:
        directory: Directory for the run.
        minutes: Time from the start of the process.

    Returns:
        Minutes of training, agent steps and mean training score, from each line of the log.
    """
    run = directory / "pong"
    process = train(run, ["--game", PONG, "--training.evaluation_period", "0"])
    try:
        process.wait(minutes * SECONDS_PER_MINUTE)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        process.wait()
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    log = [
        (float(row["wall_seconds"]) / SECONDS_PER_MINUTE, int(row["steps"]), float(row["score"]))
        for row in rows
    ]
    return [line for line in log if not math.isnan(line[-1])]  # before the first episode has ended


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _output(module: str, arguments: Sequence[str]) -> str:
    """Returns the standard output of a module's command line."""
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    """Measures everything and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pong", type=float, default=0.0, metavar="MINUTES")
    options = parser.parse_args()
    begin = time.monotonic()
    print(f"{machine()}\n", flush=True)
    rows = [
        [f"{recipe}, {batch}", *(f"{update(recipe, batch, value):.1f}" for value in COMPILED)]
        for recipe, batch in UPDATES
    ]
    print(table(["update, ms", "not compiled", "compiled"], rows), flush=True)
    rows = [[recipe, *(f"{_speed(recipe, value):,.0f}" for value in COMPILED)] for recipe in RUNS]
    print(table(["whole run, agent steps/s", "not compiled", "compiled"], rows), flush=True)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for value in COMPILED:
            first, second = digests(directory / value, value)
            repeats = "the same" if first == second else "another"
            print(f"The same run again, machine.compile = {value}: {repeats} digest", flush=True)
        print(f"\n{(time.monotonic() - begin) / SECONDS_PER_MINUTE:.1f} minutes\n", flush=True)
        if options.pong:
            log = pong(directory, options.pong)
            every = max(len(log) // 20, 1)
            rows = [
                [f"{minute:.1f}", f"{steps:,}", f"{score:.1f}"]
                for minute, steps, score in log[::every]
            ]
            print(table(["minutes of Pong", "agent steps", "training score"], rows))


def _speed(recipe: str, compiled: str) -> float:
    """Returns the agent steps per second of a short run."""
    return speed(GAME, f"--config {recipe} --machine.compile {compiled}", RUN_STEPS)


if __name__ == "__main__":
    main()
