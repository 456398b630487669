"""Compares statistics and bootstrap intervals with plain definitions."""

import random
import statistics as plain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from atari_dqn.report.statistics import (
    interquartile_mean,
    interval,
    mean,
    median,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)

finite = st.floats(-5, 5, allow_nan=False)
some_scores = st.lists(
    st.lists(finite, min_size=1, max_size=6).map(np.array), min_size=1, max_size=5
)


def naive_interquartile_mean(scores: list[NDArray[np.float64]]) -> float:
    runs = sorted(float(run) for game in scores for run in game)
    cut = int(len(runs) * 0.25)
    return plain.fmean(runs[cut : len(runs) - cut])


@settings(max_examples=100)
@given(some_scores)
def test_the_statistics_match_their_definitions(scores: list[NDArray[np.float64]]) -> None:
    means = [plain.fmean(game.tolist()) for game in scores]
    runs = [run for game in scores for run in game.tolist()]
    assert float(mean(scores)) == pytest.approx(plain.fmean(means))
    assert float(median(scores)) == pytest.approx(plain.median(means))
    assert float(interquartile_mean(scores)) == pytest.approx(naive_interquartile_mean(scores))
    assert float(optimality_gap(scores)) == pytest.approx(
        plain.fmean(1 - min(run, 1.0) for run in runs)
    )
    thresholds = np.linspace(-5, 5, 11)
    shares = [sum(run > threshold for run in runs) / len(runs) for threshold in thresholds]
    np.testing.assert_allclose(performance_profile(scores, thresholds), shares)


@settings(max_examples=100)
@given(some_scores)
def test_the_probabilities_of_improvement_in_both_directions_add_up_to_one(
    scores: list[NDArray[np.float64]],
) -> None:
    others = [game[::-1] + 0.1 for game in scores]
    forward = probability_of_improvement(scores, others)
    backward = probability_of_improvement(others, scores)
    assert float(forward + backward) == pytest.approx(1.0)
    assert float(probability_of_improvement(scores, scores)) == pytest.approx(0.5)


def test_the_probability_of_improvement_matches_a_value_computed_by_hand() -> None:
    better = [np.array([3.0, 4.0]), np.array([1.0])]
    worse = [np.array([1.0, 2.0, 3.0]), np.array([1.0])]
    # In the first game, 3 beats two and ties one of three, and 4 beats all: (2.5 + 3) / 6.
    # The second game is a tie.
    assert float(probability_of_improvement(better, worse)) == pytest.approx((5.5 / 6 + 0.5) / 2)
    with pytest.raises(ValueError, match="zip"):
        probability_of_improvement(better, worse[:1])


def test_an_interquartile_mean_ignores_a_single_outlier() -> None:
    scores = [np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.5, 0.6, 0.7, 0.8])]
    lucky = [scores[0], np.array([0.5, 0.6, 0.7, 1000.0])]
    assert (
        float(interquartile_mean(lucky))
        == pytest.approx(float(interquartile_mean(scores)))
        == pytest.approx(0.45)
    )
    assert float(mean(lucky)) > 100


def test_resampled_scores_keep_their_leading_axis() -> None:
    scores = [np.arange(12.0).reshape(4, 3), np.arange(8.0).reshape(4, 2)]
    for statistic in (mean, median, interquartile_mean, optimality_gap):
        together = statistic(scores)
        assert together.shape == (4,)
        for row in range(4):
            assert together[row] == pytest.approx(float(statistic([game[row] for game in scores])))
    assert performance_profile(scores, np.zeros(5)).shape == (4, 5)
    assert probability_of_improvement(scores, scores[::-1]).shape == (4,)


def test_the_interval_matches_a_naive_bootstrap() -> None:
    """With 20,000 resamples, the percentiles of both differ by a few thousandths."""
    draw = np.random.default_rng(4)
    scores = [draw.normal(game, 1.0, size=runs) for game, runs in enumerate((5, 3, 8, 5))]
    lower, upper = interval(interquartile_mean, scores, resamples=20_000)
    dice = random.Random(7)
    naive = sorted(
        naive_interquartile_mean(
            [np.array(dice.choices(game.tolist(), k=len(game))) for game in scores]
        )
        for _ in range(20_000)
    )
    assert float(lower) == pytest.approx(naive[500], abs=0.03)
    assert float(upper) == pytest.approx(naive[19_500], abs=0.03)
    assert float(upper - lower) > 0.3


def test_runs_are_resampled_within_their_game() -> None:
    """All runs of a game have the same score, so every resample gives the same mean."""
    lower, upper = interval(mean, [np.full(3, 1.0), np.full(5, 9.0)], resamples=100)
    assert float(lower) == float(upper) == 5.0


def test_intervals_of_two_recipes_are_reproducible_and_contain_the_estimate() -> None:
    draw = np.random.default_rng(1)
    ours = [draw.normal(1, 1, 10)]
    theirs = [draw.normal(0, 1, 10)]
    first = interval(probability_of_improvement, ours, theirs)
    assert first == interval(probability_of_improvement, ours, theirs)
    lower, upper = (float(bound) for bound in first)
    assert 0 <= lower < float(probability_of_improvement(ours, theirs)) < upper <= 1


def test_a_higher_confidence_gives_a_wider_interval() -> None:
    scores = [np.random.default_rng(2).normal(size=9)]
    half = interval(mean, scores, confidence=0.5)
    nearly_all = interval(mean, scores, confidence=0.99)
    assert nearly_all[0] < half[0] < half[1] < nearly_all[1]
