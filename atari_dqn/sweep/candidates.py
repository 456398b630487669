"""Samples the candidates of a search and compares their scores, without Ray.

Candidates are sampled with a fixed seed, so that a continued search finds its runs again.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from atari_dqn.config.resolve import is_integer_setting
from atari_dqn.errors import UserError
from atari_dqn.games.ids import human_normalised_score, identify
from atari_dqn.report.results import EVALUATION
from atari_dqn.runs.curves import METRICS, read_series
from atari_dqn.sweep.plan import Plan, Range, Run
from atari_dqn.sweep.status import Status

# At each rung, the best 1 / REDUCTION of the candidates continue, to REDUCTION times the steps.
REDUCTION = 3
RUNGS = 3
ATTEMPTS = 100


def sample_candidates(plan: Plan, number: int) -> list[dict[str, Any]]:
    """Samples candidates: for each setting, one of its values or a number from its range.

    Returns:
        Distinct candidates: the requested number, or fewer if not enough exist.
    """
    random = np.random.default_rng(0)
    candidates: list[dict[str, Any]] = []
    for _ in range(number * ATTEMPTS):
        candidate = {name: _sample(name, values, random) for name, values in plan.settings.items()}
        if candidate not in candidates:
            candidates.append(candidate)
        if len(candidates) == number:
            break
    return candidates


def _sample(name: str, values: list[Any] | Range, random: np.random.Generator) -> Any:
    """Samples one of several values, or a number with four significant digits from a range."""
    if not isinstance(values, Range):
        return values[random.integers(len(values))]
    if values.log:
        sample = np.exp(random.uniform(np.log(values.low), np.log(values.high)))
    else:
        sample = random.uniform(values.low, values.high)
    number = float(f"{sample:.4g}")
    is_whole = isinstance(values.low, int) and isinstance(values.high, int)
    if is_integer_setting(name):  # for such a setting, bounds like 1e3 are whole numbers too
        is_whole = float(values.low).is_integer() and float(values.high).is_integer()
    return round(number) if is_whole else number


def rungs(total_steps: int) -> list[int]:
    """Returns the agent steps after which candidates are compared.

    >>> rungs(90_000)
    [10000, 30000, 90000]
    """
    return [max(total_steps // REDUCTION**power, 1) for power in reversed(range(RUNGS))]


def score_at(run: Run, steps: int) -> float:
    """Returns the mean score of a run's last 100 training episodes at a rung.

    It is human-normalized for games with human scores, and minus infinity until an episode has
    ended.
    """
    try:
        scores = read_series(Path(run.directory), METRICS, "score")
    except UserError:  # a run with unreadable scores is not among the best
        return float("-inf")
    until_rung = scores.values[scores.steps <= steps]
    if not len(until_rung) or np.isnan(until_rung[-1]):
        return float("-inf")
    return _comparable(run, float(until_rung[-1]))


def _comparable(run: Run, score: float) -> float:
    """Returns a score, human-normalized for games with human scores."""
    normalized = human_normalised_score(identify(run.game).rom, score)
    return score if normalized is None else normalized


def check_comparable(runs: Sequence[Run]) -> None:
    """Raises a UserError if the scores of a candidate's games cannot be averaged."""
    games = {run.game for run in runs}
    without = [game for game in games if human_normalised_score(identify(game).rom, 0.0) is None]
    if len(games) > 1 and without:
        wanted = "a search over several games needs human-normalized scores"
        raise UserError(f"{wanted}; there are none for {without[0]}")


def best_of(statuses: Sequence[Status]) -> tuple[str, float] | None:
    """Returns the best candidate's recipe and mean evaluation, or None if none was evaluated."""
    scores_by_recipe: dict[str, list[float]] = {}
    for status in statuses:
        if EVALUATION in status.scores:
            scores = scores_by_recipe.setdefault(status.run.recipe, [])
            scores.append(_comparable(status.run, status.scores[EVALUATION]))
    means = {recipe: float(np.mean(scores)) for recipe, scores in scores_by_recipe.items()}
    return max(means.items(), key=lambda item: item[1]) if means else None
