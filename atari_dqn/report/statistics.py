"""Computes statistics of many runs, with bootstrap confidence intervals.

The source is Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical
Precipice". Scores are a sequence with one array (..., runs) for each game. The number of runs may
differ between games. Leading axes are resamples, which every statistic keeps. Statistics over
several games need human-normalized scores (``games.ids.human_normalised_score``).
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Scores = Sequence[Array]  # for each game (..., runs)


def mean(scores: Scores) -> Array:
    """Returns the mean over games of each game's mean score, shape (...).

    >>> float(mean([np.array([0.0, 1.0]), np.array([2.5])]))
    1.5
    """
    return np.asarray(_game_means(scores).mean(axis=-1))


def median(scores: Scores) -> Array:
    """Returns the median over games of each game's mean score, shape (...).

    Papers on Atari usually report this number.

    >>> float(median([np.array([0.0, 1.0]), np.array([2.5]), np.array([9.0])]))
    2.5
    """
    return np.asarray(np.median(_game_means(scores), axis=-1))


def interquartile_mean(scores: Scores) -> Array:
    """Returns the mean of the middle half of all runs of all games, shape (...).

    A quarter of the runs, rounded down, is left out at each end. Agarwal et al. 2021, section 4.3.

    >>> float(interquartile_mean([np.array([-9.0, 1.0]), np.array([2.0, 100.0])]))
    1.5
    """
    runs = np.sort(np.concatenate(scores, axis=-1), axis=-1)
    cut = runs.shape[-1] // 4
    return np.asarray(runs[..., cut : runs.shape[-1] - cut].mean(axis=-1))


def optimality_gap(scores: Scores, target: float = 1.0) -> Array:
    """Returns the mean distance of runs below a target, shape (...).

    Runs above the target have a distance of 0. Agarwal et al. 2021, section 4.3.

    >>> float(optimality_gap([np.array([0.5, 1.0]), np.array([3.0, 0.5])]))
    0.25
    """
    return np.asarray(target - np.minimum(np.concatenate(scores, axis=-1), target).mean(axis=-1))


def performance_profile(scores: Scores, thresholds: Array) -> Array:
    """Returns the share of the runs above each threshold, shape (..., thresholds).

    Agarwal et al. 2021, section 4.2, equation 1.

    >>> scores = [np.array([0.1, 0.6]), np.array([0.6, 2.0])]
    >>> performance_profile(scores, np.array([0.0, 0.5, 1.0])).tolist()
    [1.0, 0.75, 0.25]
    """
    runs = np.concatenate(scores, axis=-1)
    return np.asarray((runs[..., np.newaxis] > thresholds).mean(axis=-2))


def probability_of_improvement(scores: Scores, others: Scores) -> Array:
    """Returns the probability that a run beats a run of another recipe, shape (...).

    Two runs are compared on the same game, and a tie counts as half a win. The result is the mean
    over games of the Mann-Whitney statistic. Agarwal et al. 2021, section 4.3.

    >>> float(probability_of_improvement([np.array([1.0, 2.0])], [np.array([1.0, 0.0])]))
    0.875

    Raises:
        ValueError: The recipes have different numbers of games.
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
    """Returns the confidence interval of a statistic by a stratified bootstrap.

    Each resample draws the runs of every game from that game's own runs, with replacement. The
    bounds are percentiles over the resamples. With one run for each game the bounds coincide,
    because a single run does not show how much runs differ. Agarwal et al. 2021, section 4.1.

    Args:
        statistic: Function of one group of scores, or of two (``probability_of_improvement``).
        groups: Arguments of the statistic; each game of a group has shape (runs,).
        resamples: Number of resamples.
        confidence: Share of the resamples between the bounds.
        seed: Seed of the resamples.

    Returns:
        The lower and the upper bound, each in the statistic's shape without resamples.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    samples = [_resample(scores, resamples, random) for scores in groups]
    tail = 50 * (1 - confidence)
    lower, upper = np.percentile(statistic(*samples), [tail, 100 - tail], axis=0)
    return lower, upper


def _resample(scores: Scores, resamples: int, random: np.random.Generator) -> list[Array]:
    """Samples the runs of each game, (runs,), with replacement, to (resamples, runs)."""
    samples = []
    for runs in scores:
        indices = random.integers(len(runs), size=(resamples, len(runs)))
        samples.append(runs[indices])
    return samples


def _game_means(scores: Scores) -> Array:
    return np.stack([runs.mean(axis=-1) for runs in scores], axis=-1)


def _compared(ours: Array, theirs: Array) -> Array:
    """Returns 1 where our run is better, 0.5 for a tie and 0 otherwise, (..., runs, runs)."""
    return (np.sign(ours[..., :, np.newaxis] - theirs[..., np.newaxis, :]) + 1) / 2
