"""Learning curves of runs as pictures, from the ``episodes.csv`` that each run keeps."""

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atari_dqn.config.resolve import read_config
from atari_dqn.config.schema import Config
from atari_dqn.errors import UserError, check_installed
from atari_dqn.files.atomic_write import write_whole
from atari_dqn.files.csv_files import read_columns
from atari_dqn.runs.continuation import differing_settings, format_differences

POINTS = 500
RESAMPLES = 2_000
ENDINGS = (".png", ".svg")


class Curve(NamedTuple):
    """The training episodes of a run."""

    label: str  # game and recipe
    steps: NDArray[np.float64]  # (episodes,) agent steps of the run when each ended
    score: NDArray[np.float64]  # (episodes,)
    mean_100: NDArray[np.float64]  # (episodes,) of the last 100
    config: Config


class Band(NamedTuple):
    """Several runs as one curve; arrays have one number for each place on the axis."""

    steps: NDArray[np.float64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def read_curve(run: Path) -> Curve:
    """Reads the episodes of a run.

    Raises:
        UserError: it is no run, or no episode has ended in it yet.
    """
    path = run / "episodes.csv"
    if not os.path.lexists(path):
        raise UserError(f"'{run}' is no run: it has no episodes.csv")
    config = read_config(run / "config.toml")
    steps, score, mean = read_columns(path, ("steps", "score", "mean_100"))
    if not len(steps):
        raise UserError(f"no episode has ended in '{run}' yet")
    return Curve(f"{config.game}, {config.recipe}", steps, score, mean, config)


def named_apart(curves: Sequence[Curve]) -> list[Curve]:
    """Adds to the labels of runs of one game and recipe what they set otherwise, so that those with
    equal labels are alike.
    """
    told: dict[int, str] = {}
    for label in {curve.label for curve in curves}:
        alike = [number for number, curve in enumerate(curves) if curve.label == label]
        differences = differing_settings([curves[number].config for number in alike])
        told |= zip(alike, map(format_differences, differences), strict=True)
    return [curve._replace(label=curve.label + told[number]) for number, curve in enumerate(curves)]


def confidence_band(curves: Sequence[Curve]) -> Band:
    """Mean of the runs' running means, with the 95 % interval of a percentile bootstrap over runs.

    Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice",
    section 4.1. It covers the steps that all runs have.
    """
    steps = np.linspace(
        max(curve.steps[0] for curve in curves), min(curve.steps[-1] for curve in curves), POINTS
    )
    scores = np.stack([np.interp(steps, curve.steps, curve.mean_100) for curve in curves])
    drawn = np.random.Generator(np.random.PCG64(1)).integers(
        len(curves), size=(RESAMPLES, len(curves))
    )
    share = np.stack([(drawn == run).mean(axis=1) for run in range(len(curves))], axis=1)
    low, high = np.percentile(share @ scores, [2.5, 97.5], axis=0)
    return Band(steps, scores.mean(axis=0), low, high)


def read_curves(runs: Sequence[str | Path], note: Callable[[list[str]], object]) -> list[Curve]:
    """Reads the episodes of runs; those that cannot be read are noted and left out.

    Raises:
        UserError: none can be read.
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
        note([f"{problem}; the run is left out"])
    return curves


def plot_runs(
    runs: Sequence[str | Path],
    stem: str | Path,
    note: Callable[[list[str]], object] = lambda notes: None,
) -> list[Path]:
    """Draws the learning curves of runs to ``stem.png`` and ``stem.svg``.

    A run alone shows the score of each episode and the mean of the last 100. Several runs of one
    game and recipe become one curve with a band; different games, recipes or settings stand beside
    each other.

    Args:
        runs: their directories.
        stem: of the pictures' names.
        note: is told of runs that are left out because they cannot be read.

    Returns:
        What was written.

    Raises:
        UserError: nothing is a run, matplotlib is missing, or the files cannot be written.
    """
    stem = Path(stem)
    curves = named_apart(read_curves(runs, note))
    stem = stem.with_suffix("") if stem.suffix in ENDINGS else stem
    check_installed("a plot", ("matplotlib",), "plot", "plot")
    from matplotlib import rc_context

    paths = [stem.with_name(f"{stem.name}{ending}") for ending in ENDINGS]
    # What stands between two dollar signs in the name of a game or recipe is no mathematics.
    with rc_context({"text.parse_math": False}):
        figure = _figure(curves)
        try:
            stem.parent.mkdir(parents=True, exist_ok=True)
            for path in paths:
                drawn = io.BytesIO()
                figure.savefig(drawn, dpi=150, format=path.suffix.removeprefix("."))
                write_whole(path, drawn.getvalue())
        except OSError as error:
            raise UserError(f"'{stem}' could not be written: {error.strerror}") from error
    return paths


def _figure(curves: Sequence[Curve]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    groups = {
        label: [curve for curve in curves if curve.label == label]
        for label in dict.fromkeys(c.label for c in curves)
    }
    for number, (label, group) in enumerate(groups.items()):
        _draw(axes, label, group, colour=f"C{number}", alone=len(curves) == 1)
    axes.set(xlabel="agent steps", ylabel="score of training episodes")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside upper left", fontsize="small", frameon=False)
    return figure


def _draw(axes: Any, label: str, group: Sequence[Curve], colour: str, alone: bool) -> None:
    if len(group) > 1:
        band = confidence_band(group)
        axes.fill_between(band.steps, band.low, band.high, color=colour, alpha=0.25, linewidth=0)
        axes.plot(
            band.steps,
            band.mean,
            color=colour,
            label=f"{label}: mean of {len(group)} runs, 95 % interval",
        )
        return
    (curve,) = group
    if alone:
        axes.plot(
            curve.steps, curve.score, ".", color=colour, alpha=0.3, markersize=4, label="an episode"
        )
    axes.plot(curve.steps, curve.mean_100, color=colour, label=f"{label}: mean of 100 episodes")
