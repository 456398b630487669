"""Ranks recipes by the evaluations of their runs, each with its own seed."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from atari_dqn.config.schema import RECIPE_SECTIONS
from atari_dqn.gallery.records import EvaluationData, LeaderData, RunData
from atari_dqn.games.ids import human_normalised_score
from atari_dqn.report.statistics import interval, mean
from atari_dqn.runs.continuation import differing_values, format_differences


class _Score(NamedTuple):
    """The score of one run: the evaluations of its latest evaluated checkpoint."""

    run: int  # index
    steps: int
    score: float


def leaderboard(runs: Sequence[RunData], evaluations: Sequence[EvaluationData]) -> list[LeaderData]:
    """Returns the leaderboard, sorted by game, protocol, and score.

    Random play has no line. Of several runs with one seed, the one with the most steps counts.

    Args:
        runs: All runs; evaluations refer to them by index.
        evaluations: All evaluations.
    """
    recipes = _recipes(runs)
    groups: dict[tuple[str, str, int], dict[str, _Score]] = defaultdict(dict)
    for protocol, score in _scores(evaluations):
        run = runs[score.run]
        if run["recipe"] is None:
            continue
        settings = run["settings"] or {}
        seed = settings.get("machine.seed", f"of {run['name']}")
        seeds = groups[run["game"], recipes[score.run], protocol]
        if seed not in seeds or score.steps > seeds[seed].steps:
            seeds[seed] = score
    lines = [_line(runs, *key, list(seeds.values())) for key, seeds in groups.items()]
    return sorted(lines, key=lambda line: (line["game"].lower(), line["protocol"], -line["mean"]))


def _line(
    runs: Sequence[RunData], game: str, recipe: str, protocol: int, scores: Sequence[_Score]
) -> LeaderData:
    values = np.array([score.score for score in scores])
    best = max(scores, key=lambda score: score.score)
    average = float(values.mean())
    bounds = None
    if len(values) > 1:
        bounds = [float(bound) for bound in interval(mean, [values])]
    return {
        "game": game,
        "recipe": recipe,
        "protocol": protocol,
        "seeds": len(scores),
        "steps": [min(score.steps for score in scores), max(score.steps for score in scores)],
        "mean": average,
        "interval": bounds,
        "best": best.score,
        "best_run": best.run,
        "human_normalised": human_normalised_score(runs[best.run]["rom"], average),
    }


def _scores(evaluations: Sequence[EvaluationData]) -> list[tuple[int, _Score]]:
    """Returns the protocol and the score of each run under each protocol.

    If a checkpoint was evaluated with several seeds, its score is the mean over all episodes.
    """
    of_runs: dict[tuple[int, int], list[EvaluationData]] = defaultdict(list)
    for evaluation in evaluations:
        of_runs[evaluation["protocol"], evaluation["run"]].append(evaluation)
    scores = []
    for (protocol, run), of_run in of_runs.items():
        steps = max(evaluation["steps"] for evaluation in of_run)
        latest = [evaluation for evaluation in of_run if evaluation["steps"] == steps]
        score = np.average(
            [evaluation["mean"] for evaluation in latest],
            weights=[evaluation["episodes"] for evaluation in latest],
        )
        scores.append((protocol, _Score(run, steps, float(score))))
    return scores


def _recipes(runs: Sequence[RunData]) -> dict[int, str]:
    """Returns the recipe of each run, by index, with the settings that differ from most runs."""
    of_recipes: dict[tuple[str, str | None], list[int]] = defaultdict(list)
    for index, run in enumerate(runs):
        of_recipes[run["game"], run["recipe"]].append(index)
    names: dict[int, str] = {}
    for (_, recipe), indices in of_recipes.items():
        known = [index for index in indices if runs[index]["settings"]]
        settings = [runs[index]["settings"] or {} for index in known]
        differences = differing_values(settings, (*RECIPE_SECTIONS, "machine"))
        texts = dict(zip(known, map(format_differences, differences), strict=True))
        names |= {index: f"{recipe}{texts.get(index, '')}" for index in indices}
    return names
