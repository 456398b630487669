"""Draws learning curves from the ``episodes.csv`` of each run."""

import io
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atari_dqn.config.resolve import read_config
from atari_dqn.config.schema import Config
from atari_dqn.errors import UserError, check_installed
from atari_dqn.files.atomic_write import write_whole
from atari_dqn.runs.continuation import differing_settings, format_differences
from atari_dqn.runs.curves import EPISODES, read_learning_curve
from atari_dqn.runs.directory import CONFIG

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

POINTS = 500
RESAMPLES = 2_000
ENDINGS = (".png", ".svg")


class Curve(NamedTuple):
    """The training episodes of a run."""

    label: str  # game and recipe
    steps: NDArray[np.float64]  # (episodes,) agent steps at the end of each
    score: NDArray[np.float64]  # (episodes,)
    mean_100: NDArray[np.float64]  # (episodes,) mean of the last 100
    config: Config


class Band(NamedTuple):
    """The curve of several runs; every array has shape (POINTS,)."""

    steps: NDArray[np.float64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def read_curve(run: Path) -> Curve:
    """Returns the training episodes of a run.

    Raises:
        UserError: The directory is not a run, or no episode has ended in it yet.
    """
    if not os.path.lexists(run / EPISODES):
        raise UserError(f"'{run}' is not a run: it has no {EPISODES}")
    config = read_config(run / CONFIG)
    episodes = read_learning_curve(run)
    if not len(episodes.steps):
        raise UserError(f"no episode has ended in '{run}' yet")
    return Curve(
        label=f"{config.game}, {config.versioned_recipe}",
        steps=episodes.steps,
        score=episodes.score,
        mean_100=episodes.mean_100,
        config=config,
    )


def named_apart(curves: Sequence[Curve]) -> list[Curve]:
    """Returns curves whose labels name the settings in which runs of one game and recipe differ.

    Runs with equal labels then have equal settings.
    """
    differences: dict[int, str] = {}
    for label in {curve.label for curve in curves}:
        alike = [index for index, curve in enumerate(curves) if curve.label == label]
        configs = [curves[index].config for index in alike]
        texts = map(format_differences, differing_settings(configs))
        differences |= zip(alike, texts, strict=True)
    return [
        curve._replace(label=curve.label + differences[index]) for index, curve in enumerate(curves)
    ]


def confidence_band(curves: Sequence[Curve]) -> Band:
    """Returns the mean curve of several runs with its 95 % interval.

    The curve covers the agent steps that all runs have in common. The interval is a percentile
    bootstrap over runs (Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the
    Statistical Precipice", section 4.1).
    """
    first = max(curve.steps[0] for curve in curves)
    last = min(curve.steps[-1] for curve in curves)
    steps = np.linspace(first, last, POINTS)
    scores = np.stack([np.interp(steps, curve.steps, curve.mean_100) for curve in curves])
    random = np.random.Generator(np.random.PCG64(1))
    samples = random.integers(len(curves), size=(RESAMPLES, len(curves)))
    weights = np.stack([(samples == run).mean(axis=1) for run in range(len(curves))], axis=1)
    low, high = np.percentile(weights @ scores, [2.5, 97.5], axis=0)
    return Band(steps, scores.mean(axis=0), low, high)


def read_curves(runs: Sequence[str | Path]) -> list[Curve]:
    """Returns the training episodes of runs, and logs a warning about each unreadable run.

    Raises:
        UserError: No run can be read.
    """
    curves: list[Curve] = []
    problems: list[UserError] = []
    for run in runs:
        try:
            curves.append(read_curve(Path(run)))
        except UserError as error:
            problems.append(error)
    if not curves:
        raise problems[0]
    for problem in problems:
        logger.warning("%s; the run is left out", problem)
    return curves


def plot_runs(runs: Sequence[str | Path], stem: str | Path) -> list[Path]:
    """Draws the learning curves of runs to ``stem.png`` and ``stem.svg``.

    A single run is drawn with the score of each episode and the mean of the last 100. Several runs
    of one game and recipe become one curve with a band. Each game, recipe and set of settings has
    its own curve.

    Args:
        runs: Directories of the runs.
        stem: Path of the pictures, without their endings.

    Returns:
        The paths of the pictures.

    Raises:
        UserError: No run can be read, matplotlib is missing, or a file cannot be written.
    """
    stem = Path(stem)
    if stem.suffix in ENDINGS:
        stem = stem.with_suffix("")
    curves = named_apart(read_curves(runs))
    check_installed("a plot", ("matplotlib",), "plot", "plot")
    from matplotlib import rc_context

    paths = [stem.with_name(f"{stem.name}{ending}") for ending in ENDINGS]
    # Text between dollar signs in the name of a game or recipe is not a formula.
    with rc_context({"text.parse_math": False}):
        figure = _figure(curves)
        try:
            stem.parent.mkdir(parents=True, exist_ok=True)
            for path in paths:
                picture = io.BytesIO()
                figure.savefig(picture, dpi=150, format=path.suffix.removeprefix("."))
                write_whole(path, picture.getvalue())
        except OSError as error:
            raise UserError(f"'{stem}' could not be written: {error.strerror}") from error
    return paths


def _figure(curves: Sequence[Curve]) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    groups: dict[str, list[Curve]] = {}
    for curve in curves:
        groups.setdefault(curve.label, []).append(curve)
    for index, group in enumerate(groups.values()):
        color = f"C{index}"
        if len(curves) == 1:
            _draw_episodes(axes, curves[0], color)
        if len(group) == 1:
            _draw_curve(axes, group[0], color)
        else:
            _draw_band(axes, group, color)
    axes.set(xlabel="agent steps", ylabel="score of training episodes")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside upper left", fontsize="small", frameon=False)
    return figure


def _draw_episodes(axes: "Axes", curve: Curve, color: str) -> None:
    """Draws a point for each episode of a run."""
    label = "an episode"
    axes.plot(curve.steps, curve.score, ".", color=color, alpha=0.3, markersize=4, label=label)


def _draw_curve(axes: "Axes", curve: Curve, color: str) -> None:
    """Draws the mean of the last 100 episodes of a run."""
    label = f"{curve.label}: mean of 100 episodes"
    axes.plot(curve.steps, curve.mean_100, color=color, label=label)


def _draw_band(axes: "Axes", curves: Sequence[Curve], color: str) -> None:
    """Draws the mean of several runs with its interval."""
    band = confidence_band(curves)
    axes.fill_between(band.steps, band.low, band.high, color=color, alpha=0.25, linewidth=0)
    label = f"{curves[0].label}: mean of {len(curves)} runs, 95 % interval"
    axes.plot(band.steps, band.mean, color=color, label=label)
