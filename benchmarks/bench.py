"""Runs the speed benchmarks, prints tables, and writes the same numbers as JSON.

    make bench                                   everything, about two hours on two cores
    make bench ARGS="--only training update"     some comparisons

Each number is measured in its own process. The contenders of a comparison take turns, so that a
machine that slows down favors none of them. Tables show the median, minimum and maximum of the
repeats. Run nothing else at the same time.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from atari_dqn.backend.machine import usable_cores
from benchmarks.comparisons import COMPARISONS, Comparison

PACKAGES = ("tensorflow", "numpy", "ale-py", "opencv-python", "stable_baselines3", "torch")


def run(arguments: str) -> float:
    """Runs a command and returns the last number that it prints."""
    answer = subprocess.run(
        [sys.executable, "-m", *arguments.split()], capture_output=True, text=True, env=quiet()
    )
    if answer.returncode != 0:
        raise SystemExit(f"error: python -m {arguments} failed:\n{answer.stderr.strip()}")
    return float(answer.stdout.split()[-1])


def quiet() -> dict[str, str]:
    """Returns the environment variables, with TensorFlow's messages turned off."""
    return os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}


def measure(comparison: Comparison, repeats: int) -> dict[str, Any]:
    """Measures the contenders in turns, in reverse order in every second round."""
    values: dict[str, list[float]] = {contender.name: [] for contender in comparison.contenders}
    for number in range(repeats):
        for contender in comparison.contenders[:: 1 - 2 * (number % 2)]:
            values[contender.name].append(run(contender.arguments))
    commands = {
        contender.name: f"python -m {contender.arguments}" for contender in comparison.contenders
    }
    return {
        "name": comparison.name,
        "unit": comparison.unit,
        "values": values,
        "commands": commands,
    }


def show(result: dict[str, Any]) -> None:
    """Prints a comparison as a table."""
    medians = {name: statistics.median(values) for name, values in result["values"].items()}
    first = next(iter(medians.values()))
    print(f"\n| {result['name']} | {result['unit']} | smallest to largest | ratio to the first |")
    print("| --- | --- | --- | --- |")
    for name, values in result["values"].items():
        spread = f"{min(values):.4g} to {max(values):.4g}"
        ratio = medians[name] / first
        print(f"| {name} | {medians[name]:.4g} | {spread} | {ratio:.2f} |", flush=True)


def machine() -> dict[str, Any]:
    """Returns a description of the machine and its packages."""
    installed = {distribution.name for distribution in metadata.distributions()}
    versions = {name: metadata.version(name) for name in PACKAGES if name in installed}
    return {
        "processor": processor(),
        "cores": usable_cores(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "python": platform.python_version(),
        **versions,
    }


def processor() -> str:
    """Returns the processor's name."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def main() -> None:
    """Runs the requested comparisons and writes their results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[""],
        metavar="WORD",
        help="run comparisons whose names begin with one of these words",
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("bench.json"))
    options = parser.parse_args()
    chosen = [
        comparison for comparison in COMPARISONS if comparison.name.startswith(tuple(options.only))
    ]
    if not chosen:
        names = "; ".join(comparison.name for comparison in COMPARISONS)
        parser.error(f"no comparison has such a name; choose from: {names}")
    about = machine()
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    results = []
    for comparison in chosen:
        results.append(measure(comparison, options.repeats))
        show(results[-1])
        options.out.write_text(
            json.dumps({"machine": about, "results": results}, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
