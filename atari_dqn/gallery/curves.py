"""Reads learning curves for the page, thinned to the resolution of a screen."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from atari_dqn.errors import UserError
from atari_dqn.runs.curves import EPISODES, EVALUATIONS, METRICS, read_series

POINTS = 400
PROGRESS_POINTS = 120  # each small curve has at most this many
PROGRESS = ("loss", "mean_max_q", "steps_per_second")  # columns of the log of metrics


class CurveData(TypedDict):
    """Training scores by agent step."""

    steps: list[float]
    score: list[float]  # mean of the last 100 episodes
    epsilon: list[float] | list[None]  # None if unknown


class EvaluationCurveData(TypedDict):
    """Scores of the evaluations during training, by agent step."""

    steps: list[float]
    mean: list[float]


class LineData(TypedDict):
    """One metric of training, by agent step."""

    steps: list[float]
    values: list[float]


class ProgressData(TypedDict):
    """How training went, besides its scores."""

    loss: LineData
    max_q: LineData  # mean highest Q-value of the observations in a batch
    speed: LineData  # agent steps per second


def thin(x: NDArray[np.float64], y: NDArray[np.float64], points: int) -> NDArray[np.int64]:
    """Returns the indices of points that preserve the shape of a line (LTTB).

    The algorithm is Largest Triangle Three Buckets (Steinarsson 2013, "Downsampling Time Series for
    Visual Representation"). It keeps the first and the last point, and one point of each bucket
    between them. That point spans the largest triangle with the previously chosen point and the
    mean of the next bucket.

    Args:
        x: Positions (N,), in ascending order.
        y: Values (N,).
        points: Number of points to keep, at least 3.

    Returns:
        The indices of the chosen points, in order: (min(N, points),).

    >>> thin(np.arange(9.0), np.array([0.0, 0, 0, 0, 9, 0, 0, 0, 0]), 3).tolist()
    [0, 4, 8]
    """
    count = len(x)
    if count <= points:
        return np.arange(count)
    edges = np.linspace(1, count - 1, points - 1).astype(np.int64)
    chosen = [0]
    for start, end, next_end in zip(edges[:-1], edges[1:], [*edges[2:], count], strict=True):
        next_x = x[end:next_end].mean()
        next_y = y[end:next_end].mean()
        last = chosen[-1]
        area = np.abs(
            (x[last] - next_x) * (y[start:end] - y[last])
            - (x[last] - x[start:end]) * (next_y - y[last])
        )
        chosen.append(int(start + np.argmax(area)))
    return np.array([*chosen, count - 1])


def thinned_curve(run: Path) -> CurveData:
    """Returns a run's epsilon and mean score of the last 100 training episodes, by agent step."""
    scores = read_series(run, EPISODES, "mean_100")
    epsilon = read_series(run, METRICS, "epsilon")
    chosen = thin(scores.steps, scores.values, POINTS)
    steps = scores.steps[chosen]
    known: list[float] | list[None] = [None] * len(chosen)
    if len(epsilon.steps):
        known = _short(np.interp(steps, epsilon.steps, epsilon.values))
    return {"steps": _short(steps), "score": _short(scores.values[chosen]), "epsilon": known}


def thinned_evaluations(run: Path) -> EvaluationCurveData:
    """Returns the mean scores of a run's evaluations during training, by agent step."""
    evaluations = read_series(run, EVALUATIONS, "mean")
    chosen = thin(evaluations.steps, evaluations.values, POINTS)
    return {
        "steps": _short(evaluations.steps[chosen]),
        "mean": _short(evaluations.values[chosen]),
    }


def thinned_progress(run: Path) -> ProgressData:
    """Returns a run's loss, mean highest Q-value and speed, empty where they were not logged."""
    loss, max_q, speed = (_thinned_metric(run, column) for column in PROGRESS)
    return {"loss": loss, "max_q": max_q, "speed": speed}


def _thinned_metric(run: Path, column: str) -> LineData:
    with suppress(UserError):
        metric = read_series(run, METRICS, column)
        chosen = thin(metric.steps, metric.values, PROGRESS_POINTS)
        return {"steps": _short(metric.steps[chosen]), "values": _short(metric.values[chosen])}
    return {"steps": [], "values": []}


def _short(numbers: Iterable[float]) -> list[float]:
    """Rounds numbers to six significant digits, except whole ones, to keep the page small."""
    return [
        int(number) if number.is_integer() else float(f"{number:.6g}")
        for number in map(float, numbers)
    ]
