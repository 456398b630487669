"""Reads the CSV logs of a run as arrays."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atari_dqn.files.csv_files import last_row, read_columns

EPISODES = "episodes.csv"  # a row for each training episode
METRICS = "metrics.csv"  # a row for each logging period
EVALUATIONS = "evaluations.csv"  # a row for each short evaluation in training


@dataclass(frozen=True)
class Series:
    """One column of a log."""

    steps: NDArray[np.float64]  # (rows,) agent steps of the run
    values: NDArray[np.float64]  # (rows,) the column


@dataclass(frozen=True)
class LearningCurve:
    """The training episodes of a run."""

    steps: NDArray[np.float64]  # (episodes,) agent steps of the run when each episode ended
    score: NDArray[np.float64]  # (episodes,)
    mean_100: NDArray[np.float64]  # (episodes,) mean score of the last 100 episodes


def read_series(run: Path, log: str, column: str) -> Series:
    """Returns a column of a log, without rows in which it is not a finite number.

    Args:
        run: The run directory. If the log does not exist, the series is empty.
        log: ``EPISODES``, ``METRICS`` or ``EVALUATIONS``.
        column: Name of the column.

    Raises:
        UserError: The file cannot be read, or lacks the column.
    """
    steps, values = read_columns(run / log, ("steps", column))
    return Series(steps, values)


def read_learning_curve(run: Path) -> LearningCurve:
    """Returns the training episodes of a run; raises a UserError if their file is damaged."""
    steps, score, mean_100 = read_columns(run / EPISODES, ("steps", "score", "mean_100"))
    return LearningCurve(steps, score, mean_100)


def read_logged_steps(run: Path) -> NDArray[np.float64]:
    """Returns the agent steps (rows,) at which a run logged its metrics."""
    steps: NDArray[np.float64] = read_columns(run / METRICS, ("steps",))[0]
    return steps


def read_latest_metrics(run: Path) -> dict[str, float]:
    """Returns the newest metrics of a run by name, or an empty dictionary if there are none yet."""
    return last_row(run / METRICS)
