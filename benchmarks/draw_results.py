"""Draws the picture of learning curves in the README from docs/results/curves.

    python -m benchmarks.draw_results

It needs the extra ``plot``. Each panel shows one game: a thin line for each seed, their mean, and a
band from the lowest to the highest seed, up to the last agent step that every seed has.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from atari_dqn.config.resolve import load_config
from atari_dqn.games.ids import reference_scores

ROOT = Path(__file__).parent.parent
CURVES = ROOT / "docs" / "results" / "curves"
PICTURE = ROOT / "docs" / "images" / "learning_curves.png"
GAMES = {"pong": "PongDeterministic-v4", "breakout": "BreakoutDeterministic-v4"}
COLOR = "#1f5fa8"


@dataclass(frozen=True)
class Curve:
    """Training scores of one run.

    Attributes:
        steps: Agent steps, shape (N,).
        scores: Mean score of the episodes that ended since the step before, shape (N,).
    """

    steps: NDArray[np.int64]
    scores: NDArray[np.float64]


def read_curve(path: Path) -> Curve:
    """Reads a CSV file with the columns ``agent_steps`` and ``training_score``."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    steps = np.array([int(row["agent_steps"]) for row in rows])
    scores = np.array([float(row["training_score"]) for row in rows])
    return Curve(steps, scores)


def read_seeds(game: str, recipe: str) -> list[Curve]:
    """Reads the curves of all seeds of a recipe, as far as the shortest one goes."""
    curves = [read_curve(path) for path in sorted(CURVES.glob(f"{game}-{recipe}-seed*.csv"))]
    points = min(len(curve.steps) for curve in curves)
    return [Curve(curve.steps[:points], curve.scores[:points]) for curve in curves]


def draw_panel(axes: Axes, game: str, recipe: str) -> None:
    """Draws the seeds of one game."""
    curves = read_seeds(game, recipe)
    steps = curves[0].steps / 1e6
    scores = np.stack([curve.scores for curve in curves])
    axes.fill_between(steps, scores.min(axis=0), scores.max(axis=0), color=COLOR, alpha=0.2, lw=0)
    for seed in scores:
        axes.plot(steps, seed, color=COLOR, lw=0.8, alpha=0.6)
    label = f"{recipe}, mean of {len(curves)} seeds" if len(curves) > 1 else f"{recipe}, one seed"
    axes.plot(steps, scores.mean(axis=0), color=COLOR, lw=2.2, label=label)
    random, human = reference_scores()[game]
    axes.axhline(human, color="0.35", lw=1, ls="--", label=f"human {human:g}")
    axes.axhline(random, color="0.6", lw=1, ls=":", label=f"random play {random:g}")
    axes.set_title(GAMES[game])
    axes.set_xlabel("million agent steps")
    axes.set_xlim(0, steps[-1])
    axes.set_ylim(bottom=min(0.0, random) - 1)
    axes.legend(loc="best", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """Draws the picture for the current version of the recipe ``default``."""
    config, _ = load_config(GAMES["pong"])
    mpl.rcParams.update({"font.size": 9, "svg.fonttype": "none"})
    figure = Figure(figsize=(8.0, 3.0), dpi=150, layout="constrained")
    panels = figure.subplots(1, len(GAMES))
    for axes, game in zip(panels, GAMES, strict=True):
        draw_panel(axes, game, config.versioned_recipe)
    panels[0].set_ylabel("training score")
    figure.savefig(PICTURE)
    print(PICTURE.relative_to(ROOT))


if __name__ == "__main__":
    main()
