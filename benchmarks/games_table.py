"""Prints a table of games in Markdown, for a page in docs/results, from docs/results/runs.csv.

    python -m benchmarks.games_table

It lists the games of configs/sweeps/games.toml that have a run of the current ``default``, the
lowest human-normalized score first. A game's recording is docs/images/games/<rom>.gif, if it
exists.
"""

import tomllib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atari_dqn.config.resolve import load_config
from atari_dqn.games.ids import reference_scores
from atari_dqn.games.published_scores import dopamine
from atari_dqn.report.statistics import interquartile_mean, median
from benchmarks.run_results import ROOT, RunResult, human_normalized, read_rows

RECORDINGS = ROOT / "docs" / "images" / "games"
PLAN = ROOT / "configs" / "sweeps" / "games.toml"
SEED = 1
AGENT_STEPS = 1_000_000
DOPAMINE_AGENTS = ("DQN", "Rainbow", "IQN")
DOPAMINE_MILLIONS = 10  # emulator frames
RESAMPLES = 2_000


def wanted_games() -> list[str]:
    """Returns the ids of the 26 games."""
    games: list[str] = tomllib.loads(PLAN.read_text(encoding="utf-8"))["games"]
    return games


def rows_of_table(rows: Sequence[RunResult]) -> list[RunResult]:
    """Returns the runs that the table lists, the lowest human-normalized score first."""
    games = set(wanted_games())
    recipe = load_config("PongDeterministic-v4")[0].versioned_recipe
    wanted = (recipe, SEED, AGENT_STEPS)
    found = [
        row
        for row in rows
        if row.game in games and (row.recipe, row.seed, row.agent_steps) == wanted
    ]
    return sorted(found, key=lambda row: human_normalized(row.rom, row.score))


def interval_over_games(
    scores: NDArray[np.float64], seed: int = 1
) -> dict[str, tuple[float, float, float]]:
    """Returns the interquartile mean and the median of games, each with its 95 % interval.

    With one run for each game, only the choice of games can be resampled.

    Args:
        scores: (games,) human-normalized scores.
        seed: seed of the resamples.

    Returns:
        The statistic, its lower and its upper bound, by name.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    chosen = scores[random.integers(len(scores), size=(RESAMPLES, len(scores)))]
    results = {}
    for name, statistic in (("interquartile mean", interquartile_mean), ("median", median)):
        resampled = statistic([column[:, np.newaxis] for column in chosen.T])
        lower, upper = np.percentile(resampled, [2.5, 97.5])
        value = statistic([score[np.newaxis] for score in scores])
        results[name] = (float(value), float(lower), float(upper))
    return results


def table(rows: Sequence[RunResult], recordings: Path = RECORDINGS) -> str:
    """Returns the statistics and the table in Markdown.

    Args:
        rows: the runs, in the order of the table.
        recordings: directory of the recordings.
    """
    scores = np.array([human_normalized(row.rom, row.score) for row in rows])
    lines = [
        f"{len(rows)} games, one run each. Human-normalized, with 95 % intervals over games:",
        "",
    ]
    for name, (value, lower, upper) in interval_over_games(scores).items():
        lines.append(f"* {name} {value:.2f} ({lower:.2f} to {upper:.2f})")
    above = int((scores >= 1).sum())
    lines.append(f"* {above} of {len(rows)} games at or above the human score")
    agents = " | ".join(DOPAMINE_AGENTS)
    lines += [
        "",
        f"| | game | score | human-normalized | random | human | {agents} | minutes | commit |",
        f"|{' --- |' * (8 + len(DOPAMINE_AGENTS))}",
    ]
    for row in rows:
        random, human = reference_scores()[row.rom]
        published = dopamine(row.rom, DOPAMINE_MILLIONS)
        others = [f"{published[agent]:,.1f}" if published else "" for agent in DOPAMINE_AGENTS]
        picture = ""
        if (recordings / f"{row.rom}.gif").exists():
            picture = f'<img src="../images/games/{row.rom}.gif" width="80" alt="{row.game}">'
        cells = [
            picture,
            f"`{row.game}`",
            f"{row.score:,.1f} +- {row.standard_error:,.1f}",
            f"{human_normalized(row.rom, row.score):.2f}",
            f"{random:,.1f}",
            f"{human:,.1f}",
            *others,
            f"{row.minutes:.0f}",
            row.commit,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Prints the table."""
    rows = rows_of_table(read_rows())
    if not rows:
        raise SystemExit("docs/results/runs.csv has no run of these games with the current default")
    print(table(rows))


if __name__ == "__main__":
    main()
