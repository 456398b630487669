"""What results say together, as plain data: one table for each protocol, never two protocols in
one.
"""

from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atari_dqn.games.ids import human_normalised_score, reference_scores
from atari_dqn.games.published_scores import (
    DOPAMINE_MILLIONS,
    DOPAMINE_PROTOCOL,
    at_200_million,
    dopamine,
)
from atari_dqn.report import statistics
from atari_dqn.report.results import TRAINING, Result

# Ids decide the first two for a single game, recipes the last; they are no reason to tell two
# protocols apart.
OF_THE_GAME = ("actions", "frame skip")
OF_THE_RECIPE = "exploration"
DOPAMINE_EXPLORATION = "epsilon 0.01"
AGGREGATES: dict[str, Callable[[statistics.Scores], NDArray[np.float64]]] = {
    "mean": statistics.mean,
    "median": statistics.median,
    "interquartile mean": statistics.interquartile_mean,
    "optimality gap": statistics.optimality_gap,
}
THRESHOLDS = np.linspace(0, 3, 61)
PUBLISHED_AT_200_MILLION = {"DQN": "dqn:dqn", "Rainbow": "rainbow:rainbow", "IQN": "iqn:iqn"}
DOPAMINE_AGENTS = ("DQN", "Rainbow", "IQN")


def make_tables(results: Sequence[Result]) -> list[dict[str, Any]]:
    """One table for each measure, protocol and length of training; those with most runs first."""
    groups: dict[tuple[Any, ...], list[Result]] = {}
    for result in results:
        shared = _shared(result)
        groups.setdefault((result.measure, result.steps, *sorted(shared.items())), []).append(
            result
        )
    return [_table(group) for group in sorted(groups.values(), key=len, reverse=True)]


def _table(results: Sequence[Result]) -> dict[str, Any]:
    first = results[0]
    recipes = sorted({result.recipe for result in results})
    games = sorted({(result.game, result.rom or "") for result in results})
    rows = [
        _game_row(game, rom, [result for result in results if result.game == game])
        for game, rom in games
    ]
    return {
        "measure": first.measure,
        "protocol": first.conditions.get("protocol", ""),
        "conditions": _shared(first),
        "steps": first.steps,
        "runs": len(results),
        "recipes": recipes,
        "games": rows,
        "overall": _overall(results, recipes),
    }


def _shared(result: Result) -> dict[str, str]:
    """The conditions that all runs of a table have in common."""
    return {
        name: text
        for name, text in result.conditions.items()
        if name not in (*OF_THE_GAME, OF_THE_RECIPE)
    }


def _game_row(game: str, rom: str, results: Sequence[Result]) -> dict[str, Any]:
    scores = {}
    for recipe in sorted({result.recipe for result in results}):
        own = [result for result in results if result.recipe == recipe]
        runs = np.array([result.score for result in own])
        low, high = statistics.interval(statistics.mean, [runs])
        scores[recipe] = {
            "runs": len(runs),
            "mean": float(runs.mean()),
            "interval": [float(low), float(high)] if len(runs) > 1 else None,
            "min": float(runs.min()),
            "max": float(runs.max()),
            "human_normalised": human_normalised_score(rom or None, float(runs.mean())),
            "exploration": ", or ".join(
                sorted({result.conditions.get(OF_THE_RECIPE, "") for result in own} - {""})
            ),
        }
    return {
        "game": game,
        "rom": rom or None,
        "conditions": {
            name: text for name, text in results[0].conditions.items() if name in OF_THE_GAME
        },
        "scores": scores,
        "published": _published(rom, results),
    }


def _published(rom: str, results: Sequence[Result]) -> list[dict[str, Any]]:
    """Scores to stand beside, each with its protocol and whether that is the table's own,
    exploration included.
    """
    if rom not in reference_scores():
        return []
    result, explorations = results[0], {result.conditions.get(OF_THE_RECIPE) for result in results}
    random, human = reference_scores()[rom]
    entries = [("random", random, "no-op starts", False), ("human", human, "no-op starts", False)]
    frames = result.steps * _frame_skip(result) / 1e6
    nearest = min(DOPAMINE_MILLIONS, key=lambda millions: abs(millions - frames))
    under = f"training scores of protocol '{DOPAMINE_PROTOCOL}' (sticky 0.25, epsilon 0.01) at {nearest} million frames"
    same = (
        result.measure == TRAINING
        and result.conditions.get("protocol") == DOPAMINE_PROTOCOL
        and nearest == round(frames)
    )
    same = same and explorations == {DOPAMINE_EXPLORATION}
    found = dopamine(rom, nearest)
    entries += [
        (f"Dopamine {agent}", found[agent], under, same)
        for agent in DOPAMINE_AGENTS
        if agent in found
    ]
    papers = at_200_million(rom)
    under = "no-op starts, best agent, 200 million frames"
    entries += [
        (f"{agent}, paper", papers[key], under, False)
        for agent, key in PUBLISHED_AT_200_MILLION.items()
        if key in papers
    ]
    return [
        dict(zip(("agent", "score", "protocol", "same_protocol"), entry, strict=True))
        for entry in entries
    ]


def _frame_skip(result: Result) -> float:
    """Emulator frames of an agent step; the middle where it is drawn at random."""
    text = result.conditions.get("frame skip", "1").strip("[]")
    return float(np.mean([float(part) for part in text.split(",")]))


def _overall(results: Sequence[Result], recipes: Sequence[str]) -> dict[str, Any] | None:
    """Statistics over the games that every recipe has runs of and that have human scores; None if
    there are none.
    """
    normalised: dict[tuple[str, str], list[float]] = {}
    for result in results:
        score = human_normalised_score(result.rom, result.score)
        if score is not None:
            normalised.setdefault((result.recipe, result.game), []).append(score)
    games = sorted(
        {game for _, game in normalised if all((recipe, game) in normalised for recipe in recipes)}
    )
    if not games:
        return None
    scores = {recipe: [np.array(normalised[recipe, game]) for game in games] for recipe in recipes}
    return {
        "games": games,
        "recipes": {recipe: _aggregates(scores[recipe]) for recipe in recipes},
        "thresholds": THRESHOLDS.tolist(),
        "profiles": {recipe: _profile(scores[recipe]) for recipe in recipes},
        "improvements": [_improvement(scores, *pair) for pair in permutations(recipes, 2)],
    }


def _aggregates(scores: statistics.Scores) -> dict[str, Any]:
    numbers: dict[str, Any] = {"runs": [len(runs) for runs in scores]}
    for name, statistic in AGGREGATES.items():
        low, high = statistics.interval(statistic, scores)
        numbers[name] = {"value": float(statistic(scores)), "interval": [float(low), float(high)]}
    return numbers


def _profile(scores: statistics.Scores) -> dict[str, list[float]]:
    low, high = statistics.interval(
        lambda drawn: statistics.performance_profile(drawn, THRESHOLDS), scores, resamples=500
    )
    return {
        "share": statistics.performance_profile(scores, THRESHOLDS).tolist(),
        "low": low.tolist(),
        "high": high.tolist(),
    }


def _improvement(
    scores: dict[str, list[NDArray[np.float64]]], ours: str, theirs: str
) -> dict[str, Any]:
    low, high = statistics.interval(
        statistics.probability_of_improvement, scores[ours], scores[theirs]
    )
    value = float(statistics.probability_of_improvement(scores[ours], scores[theirs]))
    return {
        "recipe": ours,
        "over": theirs,
        "probability": value,
        "interval": [float(low), float(high)],
    }
