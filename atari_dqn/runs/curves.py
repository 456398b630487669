"""Learning curves for the page: a run's CSV files, thinned to what a screen can show."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atari_dqn.files.csv_files import read_columns

POINTS = 400


def thin(x: NDArray[np.float64], y: NDArray[np.float64], points: int) -> NDArray[np.int64]:
    """Chooses points of a line so that its shape stays: Steinarsson 2013, largest triangle three
    buckets.

    The first and last stay; of each bucket between, the point that spans the largest triangle with
    the one chosen before it and the mean of the next bucket.

    Args:
        x: (N,) in order.
        y: (N,)
        points: how many to keep, at least 3.

    Returns:
        Their places, in order: (min(N, points),).

    >>> thin(np.arange(9.0), np.array([0.0, 0, 0, 0, 9, 0, 0, 0, 0]), 3).tolist()
    [0, 4, 8]
    """
    count = len(x)
    if count <= points:
        return np.arange(count)
    edges = np.linspace(1, count - 1, points - 1).astype(np.int64)
    chosen = [0]
    for start, end, beyond in zip(edges[:-1], edges[1:], [*edges[2:], count], strict=True):
        ahead_x, ahead_y = x[end:beyond].mean(), y[end:beyond].mean()
        last = chosen[-1]
        area = np.abs(
            (x[last] - ahead_x) * (y[start:end] - y[last])
            - (x[last] - x[start:end]) * (ahead_y - y[last])
        )
        chosen.append(int(start + np.argmax(area)))
    return np.array([*chosen, count - 1])


def read_curve(run: Path) -> dict[str, Any]:
    """The mean score of the last 100 training episodes by agent step, and epsilon then (null where
    it is unknown).
    """
    steps, score = read_columns(run / "episodes.csv", ("steps", "mean_100"))
    logged, epsilon = read_columns(run / "metrics.csv", ("steps", "epsilon"))
    kept = thin(steps, score, POINTS)
    known = np.interp(steps[kept], logged, epsilon).tolist() if len(logged) else [None] * len(kept)
    return {
        "steps": _short(steps[kept].tolist()),
        "score": _short(score[kept].tolist()),
        "epsilon": _short(known),
    }


def read_evaluations(run: Path) -> dict[str, Any]:
    """Mean scores of the short evaluations in training by agent step."""
    steps, mean = read_columns(run / "evaluations.csv", ("steps", "mean"))
    kept = thin(steps, mean, POINTS)
    return {"steps": _short(steps[kept].tolist()), "mean": _short(mean[kept].tolist())}


def _short(numbers: list[Any]) -> list[Any]:
    """Six significant digits are more than a screen shows."""
    return [
        None if number is None else int(number) if number.is_integer() else float(f"{number:.6g}")
        for number in numbers
    ]
