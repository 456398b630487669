"""Statistics of many runs: means that one lucky run does not move, and their intervals.

Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice". Scores
are given as one array for each game, whose last axis is its runs; games may have different numbers
of runs. Leading axes are resamples, and every statistic keeps them. Scores that go into a statistic
over games are human-normalised (``games.ids.human_normalised_score``).
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Scores = Sequence[Array]  # for each game (..., runs)


def mean(scores: Scores) -> Array:
    """Returns the mean over the games of each game's mean over its runs: (...).

    >>> float(mean([np.array([0.0, 1.0]), np.array([2.5])]))
    1.5
    """
    return np.asarray(_game_means(scores).mean(axis=-1))


def median(scores: Scores) -> Array:
    """Returns the median over the games of each game's mean over its runs: (...).

    It is the usual number of papers on Atari.

    >>> float(median([np.array([0.0, 1.0]), np.array([2.5]), np.array([9.0])]))
    2.5
    """
    return np.asarray(np.median(_game_means(scores), axis=-1))


def interquartile_mean(scores: Scores) -> Array:
    """Returns the mean of the middle half of all runs of all games: (...).

    A quarter of the runs, rounded down, is left out at each end. Agarwal et al. 2021, section 4.3.

    >>> float(interquartile_mean([np.array([-9.0, 1.0]), np.array([2.0, 100.0])]))
    1.5
    """
    runs = np.sort(np.concatenate(scores, axis=-1), axis=-1)
    cut = runs.shape[-1] // 4
    return np.asarray(runs[..., cut : runs.shape[-1] - cut].mean(axis=-1))


def optimality_gap(scores: Scores, target: float = 1.0) -> Array:
    """Returns how far runs fall short of a target on average: (...).

    Being above it counts for nothing. Ibid., section 4.3.

    >>> float(optimality_gap([np.array([0.5, 1.0]), np.array([3.0, 0.5])]))
    0.25
    """
    return np.asarray(target - np.minimum(np.concatenate(scores, axis=-1), target).mean(axis=-1))


def performance_profile(scores: Scores, thresholds: Array) -> Array:
    """Returns the share of the runs above each threshold: (..., thresholds).

    Ibid., equation 1 in section 4.2.

    >>> scores = [np.array([0.1, 0.6]), np.array([0.6, 2.0])]
    >>> performance_profile(scores, np.array([0.0, 0.5, 1.0])).tolist()
    [1.0, 0.75, 0.25]
    """
    runs = np.concatenate(scores, axis=-1)
    return np.asarray((runs[..., np.newaxis] > thresholds).mean(axis=-2))


def probability_of_improvement(scores: Scores, others: Scores) -> Array:
    """Returns the probability that a run is better than one of another recipe: (...).

    They are compared on the same game, and a tie counts half. Within a game it is the Mann-Whitney
    statistic, and games count alike. Ibid., section 4.3.

    >>> float(probability_of_improvement([np.array([1.0, 2.0])], [np.array([1.0, 0.0])]))
    0.875

    Raises:
        ValueError: the two do not have the same games.
    """
    pairs = list(zip(scores, others, strict=True))
    wins = [_compared(ours, theirs).mean(axis=(-2, -1)) for ours, theirs in pairs]
    return np.asarray(np.mean(wins, axis=0))


def interval(
    statistic: Callable[..., Array],
    *groups: Scores,
    resamples: int = 2_000,
    confidence: float = 0.95,
    seed: int = 1,
) -> tuple[Array, Array]:
    """Returns bounds between which a statistic lies, by a stratified bootstrap.

    In each resample every game's runs are sampled from its own runs, with replacement; the bounds
    are percentiles. With one run of each game they coincide: a single run does not show how much
    runs differ. Ibid., section 4.1.

    Args:
        statistic: of one group, or of two (``probability_of_improvement``).
        groups: arguments of the statistic, each game of each group (runs,).
        resamples: how many.
        confidence: share of the resamples between the bounds.
        seed: of the resamples.

    Returns:
        The lower and the upper bound, each of the statistic's shape without resamples.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    samples = [_resample(scores, resamples, random) for scores in groups]
    tail = 50 * (1 - confidence)
    lower, upper = np.percentile(statistic(*samples), [tail, 100 - tail], axis=0)
    return lower, upper


def _resample(scores: Scores, resamples: int, random: np.random.Generator) -> list[Array]:
    """Samples each game's runs (runs,) with replacement: (resamples, runs)."""
    samples = []
    for runs in scores:
        indices = random.integers(len(runs), size=(resamples, len(runs)))
        samples.append(runs[indices])
    return samples


def _game_means(scores: Scores) -> Array:
    return np.stack([runs.mean(axis=-1) for runs in scores], axis=-1)


def _compared(ours: Array, theirs: Array) -> Array:
    """Returns (..., runs, runs): 1 where ours is better, 0.5 for equal ones, 0 where theirs is."""
    return (np.sign(ours[..., :, np.newaxis] - theirs[..., np.newaxis, :]) + 1) / 2
