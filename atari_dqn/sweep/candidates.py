"""What a search chooses from, and how it compares: pure functions, without Ray.

Candidates are drawn at random, the same ones each time, so that a search that was stopped finds its
runs again.
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

# One candidate in so many gets as many times the steps, and so on: to a ninth, a third, all of
# them.
REDUCTION = 3
RUNGS = 3
ATTEMPTS_AT_DRAWING = 100


def draw(plan: Plan, number: int) -> list[dict[str, Any]]:
    """Candidates: for each setting one of its values, or a number of its range with four digits; no
    two the same.

    Returns:
        As many as asked for, or fewer where there are no more.
    """
    random = np.random.default_rng(0)
    found: list[dict[str, Any]] = []
    for _ in range(number * ATTEMPTS_AT_DRAWING):
        candidate = {name: _drawn(name, values, random) for name, values in plan.settings.items()}
        if candidate not in found:
            found.append(candidate)
        if len(found) == number:
            break
    return found


def _drawn(name: str, values: list[Any] | Range, random: np.random.Generator) -> Any:
    if not isinstance(values, Range):
        return values[random.integers(len(values))]
    low, high = (
        (np.log(values.low), np.log(values.high)) if values.log else (values.low, values.high)
    )
    drawn = random.uniform(low, high)
    number = float(f"{np.exp(drawn) if values.log else drawn:.4g}")
    whole = isinstance(values.low, int) and isinstance(values.high, int)
    if is_integer_setting(name):  # bounds such as 1e3 and 1e5 are whole numbers there
        whole = float(values.low).is_integer() and float(values.high).is_integer()
    return round(number) if whole else number


def rungs(total_steps: int) -> list[int]:
    """Agent steps after which candidates are compared.

    >>> rungs(90_000)
    [10000, 30000, 90000]
    """
    return [max(total_steps // REDUCTION**power, 1) for power in reversed(range(RUNGS))]


def score_at(run: Run, steps: int) -> float:
    """Mean score of a run's last 100 training episodes at a rung: human-normalised for games that
    have such scores.

    Minus infinity before the first has ended.
    """
    try:
        scores = read_series(Path(run.directory), METRICS, "score")
    except UserError:  # a run whose score nobody can read is not among the best
        return float("-inf")
    reached = scores.steps <= steps
    score = float(scores.values[reached][-1]) if reached.any() else float("nan")
    if np.isnan(score):
        return float("-inf")
    normalised = human_normalised_score(identify(run.game).rom, score)
    return score if normalised is None else normalised


def check_comparable(runs: Sequence[Run]) -> None:
    """Raises a UserError where the scores of a candidate's games cannot be averaged."""
    games = {run.game for run in runs}
    without = [game for game in games if human_normalised_score(identify(game).rom, 0.0) is None]
    if len(games) > 1 and without:
        raise UserError(
            f"a search over several games wants human-normalised scores; there are none for {without[0]}"
        )


def best_of(statuses: Sequence[Status]) -> tuple[str, float] | None:
    """Recipe and mean evaluation of the best candidate that was trained to the end; None if none
    was.
    """
    found: dict[str, list[float]] = {}
    for status in statuses:
        if EVALUATION in status.scores:
            score = human_normalised_score(identify(status.run.game).rom, status.scores[EVALUATION])
            found.setdefault(status.run.recipe, []).append(
                status.scores[EVALUATION] if score is None else score
            )
    means = {recipe: float(np.mean(scores)) for recipe, scores in found.items()}
    return max(means.items(), key=lambda item: item[1]) if means else None
