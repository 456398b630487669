"""Makes a table and a picture of the panel of eight games from docs/results/runs.csv.

    python -m benchmarks.panel --steps 500000

A row of the table is a candidate: its training score in each game, and the interquartile mean of
its human-normalized scores. A second table has the human-normalized score of each game. Candidates
that lack a game have no such mean. The picture needs the extra ``plot``.
"""

import argparse
import tomllib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from atari_dqn.report.statistics import interquartile_mean
from benchmarks.run_results import ROOT, RunResult, human_normalized, read_rows

PLAN = ROOT / "configs" / "sweeps" / "panel.toml"
PICTURE = ROOT / "docs" / "images" / "panel.png"
SEED = 1
TICKS = (0, 0.1, 0.2, 0.5, 1, 2, 5, 10)  # human-normalized scores


def panel_games() -> list[str]:
    """Returns the ids of the eight games."""
    games: list[str] = tomllib.loads(PLAN.read_text(encoding="utf-8"))["games"]
    return games


def by_candidate(rows: Sequence[RunResult], steps: int) -> dict[str, dict[str, RunResult]]:
    """Returns the runs of each candidate by game, in the order of the plan.

    Args:
        rows: all runs.
        steps: agent steps of training; other runs are left out.
    """
    candidates: dict[str, dict[str, RunResult]] = {}
    for game in panel_games():
        for row in rows:
            if (row.game, row.seed, row.agent_steps) == (game, SEED, steps):
                candidates.setdefault(row.recipe, {})[game] = row
    return dict(sorted(candidates.items()))


def panel_mean(runs: dict[str, RunResult]) -> float | None:
    """Returns the interquartile mean of the human-normalized scores, or None if a game lacks."""
    if len(runs) < len(panel_games()):
        return None
    scores = [human_normalized(run.rom, run.training_score) for run in runs.values()]
    return float(interquartile_mean([np.array([score]) for score in scores]))


def as_table(rows: Sequence[RunResult], steps: int, normalized: bool = False) -> str:
    """Returns the table of training scores or of human-normalized ones, in Markdown."""
    games = panel_games()
    names = [game.removesuffix("Deterministic-v4") for game in games]
    lines = [
        f"| recipe | {' | '.join(names)} | interquartile mean |",
        f"|{' --- |' * (len(games) + 2)}",
    ]
    for recipe, runs in by_candidate(rows, steps).items():
        scores = [_cell(runs[game], normalized) if game in runs else "" for game in games]
        mean = panel_mean(runs)
        shown = "" if mean is None else f"{mean:.3f}"
        lines.append(f"| `{recipe}` | {' | '.join(scores)} | {shown} |")
    return "\n".join(lines)


def _cell(run: RunResult, normalized: bool) -> str:
    if normalized:
        return f"{human_normalized(run.rom, run.training_score):.2f}"
    return f"{run.training_score:,.1f}"


def draw(rows: Sequence[RunResult], steps: int, path: Path) -> None:
    """Draws the human-normalized scores of every candidate, a row for each game."""
    from matplotlib.figure import Figure

    games = panel_games()
    figure = Figure(figsize=(7.0, 4.8), dpi=150, layout="constrained")
    axes = figure.subplots()
    candidates = by_candidate(rows, steps)
    for number, (recipe, runs) in enumerate(candidates.items()):
        offset = 0.4 * ((number + 0.5) / len(candidates) - 0.5)  # so that no mark hides another
        places = [len(games) - games.index(game) - offset for game in runs]
        scores = [human_normalized(run.rom, run.training_score) for run in runs.values()]
        axes.scatter(scores, places, label=recipe, alpha=0.8)
    axes.axvline(0, color="0.6", lw=1, ls=":")
    axes.axvline(1, color="0.35", lw=1, ls="--")
    axes.set_yticks(range(len(games), 0, -1), [game.split("Det")[0] for game in games])
    axes.set_xscale("symlog", linthresh=0.2)
    axes.margins(x=0.1)
    axes.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS], minor=False)
    axes.minorticks_off()
    axes.set_xlabel("human-normalized score: 0 is random play, 1 a human")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper left", frameon=False)
    figure.savefig(path)


def main() -> None:
    """Prints the table, and draws the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=500_000, help="agent steps of training")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    options = parser.parse_args()
    rows = read_rows()
    print(as_table(rows, options.steps))
    print()
    print(as_table(rows, options.steps, normalized=True))
    draw(rows, options.steps, options.picture)


if __name__ == "__main__":
    main()
