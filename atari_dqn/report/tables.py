"""Makes a table of results for each protocol, because protocols are not comparable."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import permutations
from typing import Any, NamedTuple

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

# Conditions that may differ within a table: those that follow from a game's id, and the one that
# follows from a recipe.
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


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


@dataclass(frozen=True)
class RecipeScore:
    """The scores of a recipe's runs on one game."""

    runs: int
    mean: float
    interval: Interval | None  # interval of the mean, or None for a single run
    min: float
    max: float
    human_normalised: float | None  # of the mean, or None for a game without human scores
    exploration: str  # exploration in training episodes; empty for evaluations
    # Minutes of training until each of MILESTONES, sorted, of the runs that reached it. Empty
    # for evaluations, and for games without human scores.
    minutes: dict[str, list[float]]


@dataclass(frozen=True)
class PublishedScore:
    """A published score, shown for comparison."""

    agent: str
    score: float
    protocol: str
    same_protocol: bool  # whether protocol and exploration are those of the table


@dataclass(frozen=True)
class GameRow:
    """The row of a game: its scores by recipe, and published scores."""

    game: str
    rom: str | None
    conditions: dict[str, str]  # the conditions that belong to the game
    scores: dict[str, RecipeScore]  # by recipe
    published: list[PublishedScore]


@dataclass(frozen=True)
class Estimate:
    """A statistic over all games and runs."""

    value: float
    interval: Interval | None  # None if no game has several runs


@dataclass(frozen=True)
class RecipeStatistics:
    """Statistics over games of a recipe's human-normalized scores."""

    runs: list[int]  # number of runs of each game
    estimates: dict[str, Estimate]  # by the names in AGGREGATES


@dataclass(frozen=True)
class Profile:
    """A performance profile: the share of runs above each of THRESHOLDS, with its interval.

    Without several runs of a game, the bounds are the share itself.
    """

    share: list[float]
    low: list[float]
    high: list[float]


@dataclass(frozen=True)
class Improvement:
    """The probability that a run of one recipe is better than a run of another."""

    recipe: str
    over: str
    probability: float
    interval: Interval | None  # None if no game has several runs


@dataclass(frozen=True)
class Overall:
    """A comparison of recipes over the games that all of them have in common."""

    games: list[str]
    recipes: dict[str, RecipeStatistics]
    thresholds: list[float]  # scores at which the profiles are evaluated
    profiles: dict[str, Profile]  # by recipe
    improvements: list[Improvement]


@dataclass(frozen=True)
class Table:
    """Scores that can be compared with each other."""

    measure: str  # EVALUATION or TRAINING
    protocol: str
    conditions: dict[str, str]  # the conditions that all games share
    steps: int  # agent steps of training
    runs: int
    recipes: list[str]
    games: list[GameRow]
    overall: Overall | None  # None for one run, or if the recipes share no game with human scores

    def to_json(self) -> dict[str, Any]:
        """Returns the table in plain numbers and texts, ready for JSON."""
        document = asdict(self)
        if self.overall is not None:
            document["overall"]["recipes"] = {
                recipe: {"runs": numbers["runs"], **numbers["estimates"]}
                for recipe, numbers in document["overall"]["recipes"].items()
            }
        return document


def make_tables(results: Sequence[Result]) -> list[Table]:
    """Returns a table for each measure, protocol and training length, the largest first."""
    groups: dict[tuple[object, ...], list[Result]] = {}
    for result in results:
        key = (result.measure, result.steps, *sorted(_shared(result).items()))
        groups.setdefault(key, []).append(result)
    return [_table(group) for group in sorted(groups.values(), key=len, reverse=True)]


def _table(results: Sequence[Result]) -> Table:
    first = results[0]
    recipes = sorted({result.recipe for result in results})
    games = sorted({(result.game, result.rom or "") for result in results})
    rows = []
    for game, rom in games:
        of_game = [result for result in results if result.game == game]
        rows.append(_game_row(game, rom, of_game))
    return Table(
        measure=first.measure,
        protocol=first.conditions.get("protocol", ""),
        conditions=_shared(first),
        steps=first.steps,
        runs=len(results),
        recipes=recipes,
        games=rows,
        overall=_overall(results, recipes) if len(results) > 1 else None,
    )


def _shared(result: Result) -> dict[str, str]:
    """Returns the conditions that all runs of a table share."""
    return {
        name: text
        for name, text in result.conditions.items()
        if name not in (*OF_THE_GAME, OF_THE_RECIPE)
    }


def _game_row(game: str, rom: str, results: Sequence[Result]) -> GameRow:
    scores = {}
    for recipe in sorted({result.recipe for result in results}):
        of_recipe = [result for result in results if result.recipe == recipe]
        scores[recipe] = _recipe_score(rom or None, of_recipe)
    conditions = results[0].conditions
    return GameRow(
        game=game,
        rom=rom or None,
        conditions={name: text for name, text in conditions.items() if name in OF_THE_GAME},
        scores=scores,
        published=_published(rom, results),
    )


def _recipe_score(rom: str | None, results: Sequence[Result]) -> RecipeScore:
    scores = np.array([result.score for result in results])
    mean = float(scores.mean())
    explorations = {result.conditions.get(OF_THE_RECIPE, "") for result in results}
    return RecipeScore(
        runs=len(scores),
        mean=mean,
        interval=_interval(statistics.mean, [scores]),
        min=float(scores.min()),
        max=float(scores.max()),
        human_normalised=human_normalised_score(rom, mean),
        exploration=", or ".join(sorted(explorations - {""})),
        minutes=_minutes(results),
    )


def _minutes(results: Sequence[Result]) -> dict[str, list[float]]:
    minutes: dict[str, list[float]] = {}
    for result in results:
        for name, value in result.minutes.items():
            reached = minutes.setdefault(name, [])
            if value is not None:
                reached.append(value)
    return {name: sorted(reached) for name, reached in minutes.items()}


def _published(rom: str, results: Sequence[Result]) -> list[PublishedScore]:
    """Returns the published scores of a game, each with its protocol."""
    if rom not in reference_scores():
        return []
    random, human = reference_scores()[rom]
    return [
        PublishedScore("random", random, "no-op starts", same_protocol=False),
        PublishedScore("human", human, "no-op starts", same_protocol=False),
        *_dopamine_scores(rom, results),
        *_paper_scores(rom),
    ]


def _dopamine_scores(rom: str, results: Sequence[Result]) -> list[PublishedScore]:
    """Returns Dopamine's training scores at the nearest published number of frames."""
    result = results[0]
    millions = result.steps * _frame_skip(result) / 1e6
    nearest = min(DOPAMINE_MILLIONS, key=lambda published: abs(published - millions))
    protocol = (
        f"training scores of protocol '{DOPAMINE_PROTOCOL}' "
        f"(sticky probability 0.25, epsilon 0.01) at {nearest} million frames"
    )
    same_protocol = (
        result.measure == TRAINING
        and result.conditions.get("protocol") == DOPAMINE_PROTOCOL
        and nearest == round(millions)
        and {one.conditions.get(OF_THE_RECIPE) for one in results} == {DOPAMINE_EXPLORATION}
    )
    scores = dopamine(rom, nearest)
    return [
        PublishedScore(f"Dopamine {agent}", scores[agent], protocol, same_protocol)
        for agent in DOPAMINE_AGENTS
        if agent in scores
    ]


def _paper_scores(rom: str) -> list[PublishedScore]:
    """Returns the scores that papers report for the best agent of each run."""
    scores = at_200_million(rom)
    protocol = "no-op starts, best agent, 200 million frames"
    return [
        PublishedScore(f"{agent}, paper", scores[column], protocol, same_protocol=False)
        for agent, column in PUBLISHED_AT_200_MILLION.items()
        if column in scores
    ]


def _frame_skip(result: Result) -> float:
    """Returns the emulator frames of an agent step, or their mean if they are random."""
    text = result.conditions.get("frame skip", "1").strip("[]")
    return float(np.mean([float(part) for part in text.split(",")]))


def _overall(results: Sequence[Result], recipes: Sequence[str]) -> Overall | None:
    """Compares recipes over the games in which all of them have human-normalized scores."""
    normalized: dict[tuple[str, str], list[float]] = {}
    for result in results:
        score = human_normalised_score(result.rom, result.score)
        if score is not None:
            normalized.setdefault((result.recipe, result.game), []).append(score)
    games = [
        game
        for game in sorted({game for _, game in normalized})
        if all((recipe, game) in normalized for recipe in recipes)
    ]
    if not games:
        return None
    scores: dict[str, list[NDArray[np.float64]]] = {}
    for recipe in recipes:
        scores[recipe] = [np.array(normalized[recipe, game]) for game in games]
    return Overall(
        games=games,
        recipes={recipe: _recipe_statistics(scores[recipe]) for recipe in recipes},
        thresholds=THRESHOLDS.tolist(),
        profiles={recipe: _profile(scores[recipe]) for recipe in recipes},
        improvements=[
            _improvement(scores, recipe, other) for recipe, other in permutations(recipes, 2)
        ],
    )


def _recipe_statistics(scores: statistics.Scores) -> RecipeStatistics:
    estimates = {}
    for name, statistic in AGGREGATES.items():
        estimates[name] = Estimate(float(statistic(scores)), _interval(statistic, scores))
    return RecipeStatistics([len(runs) for runs in scores], estimates)


def _profile(scores: statistics.Scores) -> Profile:
    def statistic(samples: statistics.Scores) -> NDArray[np.float64]:
        return statistics.performance_profile(samples, THRESHOLDS)

    low, high = statistics.interval(statistic, scores, resamples=500)
    return Profile(statistic(scores).tolist(), low.tolist(), high.tolist())


def _improvement(
    scores: dict[str, list[NDArray[np.float64]]], recipe: str, other: str
) -> Improvement:
    statistic = statistics.probability_of_improvement
    return Improvement(
        recipe=recipe,
        over=other,
        probability=float(statistic(scores[recipe], scores[other])),
        interval=_interval(statistic, scores[recipe], scores[other]),
    )


def _interval(
    statistic: Callable[..., NDArray[np.float64]], *groups: statistics.Scores
) -> Interval | None:
    """Returns the interval of a statistic, or None if no game has several runs."""
    if all(len(runs) == 1 for scores in groups for runs in scores):
        return None
    low, high = statistics.interval(statistic, *groups)
    return Interval(float(low), float(high))
