"""Tests the choice of highlights, and how they are cut together."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atari_dqn.config.resolve import load_config
from atari_dqn.recording.highlights import (
    MARK_SECONDS,
    Course,
    Cut,
    choose_cuts,
    clock,
    interest_of,
    td_errors,
)

RATE = 60.0
INTERESTS = st.lists(
    st.one_of(st.just(0.0), st.floats(0, 3, allow_nan=False)), min_size=1, max_size=400
)


def frames_of(cuts: list[Cut], frames: np.ndarray) -> int:
    """Returns the frames of all cuts and of the marks between them."""
    shown = sum(int(frames[cut.first : cut.end].sum()) for cut in cuts)
    return shown + (len(cuts) - 1) * round(MARK_SECONDS * RATE)


@settings(max_examples=300, deadline=None)
@given(INTERESTS, st.integers(1, 30), st.integers(0, 2**31 - 1))
def test_cuts_are_in_order_disjoint_within_the_time_and_contain_the_greatest_moment(
    interest: list[float], seconds: int, seed: int
) -> None:
    frames = np.random.default_rng(seed).integers(1, 13, size=len(interest))
    cuts = choose_cuts(np.array(interest), frames, seconds, RATE)
    assert frames_of(cuts, frames) <= seconds * RATE
    assert all(cut.first < cut.end for cut in cuts)
    assert all(before.end < after.first for before, after in pairwise(cuts))
    assert cuts[0].first >= 0
    assert cuts[-1].end <= len(interest)
    greatest = int(np.argmax(interest))
    assert any(cut.first <= greatest < cut.end for cut in cuts)
    if frames.sum() <= seconds * RATE:
        assert cuts == [Cut(0, len(interest))]


def test_the_time_is_used() -> None:
    rng = np.random.default_rng(1)
    interest = rng.random(9000) ** 20
    frames = np.full(9000, 4)
    for seconds in (1, 5, 20, 60):
        unused = seconds * RATE - frames_of(choose_cuts(interest, frames, seconds, RATE), frames)
        assert 0 <= unused <= 0.1 * seconds * RATE


def test_moments_far_apart_have_cuts_of_their_own_and_near_ones_share_a_cut() -> None:
    interest = np.zeros(3000)
    interest[[300, 340, 1500, 2600]] = 1  # 15 steps a second
    frames = np.full(3000, 4)
    cuts = choose_cuts(interest, frames, 15, RATE)
    assert len(cuts) == 3
    assert [
        [step for step in (300, 340, 1500, 2600) if cut.first <= step < cut.end] for cut in cuts
    ] == [[300, 340], [1500], [2600]]
    for step in (300, 1500, 2600):
        assert any(cut.first <= step - 25 and step + 12 < cut.end for cut in cuts), "context"


def test_a_dense_moment_is_preferred_to_a_single_event() -> None:
    interest = np.zeros(3000)
    interest[100] = 1
    interest[1000] = 0.8
    interest[2000:2010] = 0.5
    frames = np.full(3000, 4)
    cuts = choose_cuts(interest, frames, 8, RATE)
    shown = [any(cut.first <= step < cut.end for cut in cuts) for step in (100, 1000, 2005)]
    assert shown == [True, False, True]


def test_rewards_lost_lives_and_td_errors_are_of_interest_and_each_counts_up_to_one() -> None:
    course = Course(
        rewards=np.array([0, 7, 0, -2, 0, 0.0]),
        lives=np.array([3, 3, 3, 3, 1, 1]),
        frames=np.full(6, 4),
    )
    errors = np.array([0, 0, 0, 0, 0, 5.0])
    np.testing.assert_allclose(interest_of(course, errors), [0, 1, 0, 1, 1, 1])


def test_nothing_is_of_interest_in_an_episode_without_events() -> None:
    course = Course(np.zeros(500), np.zeros(500, np.int64), np.full(500, 4))
    interest = interest_of(course, np.zeros(500))
    assert not interest.any()
    (cut,) = choose_cuts(interest, course.frames, 5, RATE)
    assert (cut.end - cut.first) * 4 <= 5 * RATE


def test_td_errors_use_the_clipped_reward_and_no_value_after_the_end() -> None:
    config, _ = load_config("BreakoutDeterministic-v4", overrides={"agent.gamma": 0.5})
    assert config.agent.reward_clip == 1
    values = np.array([[1, 0], [2, 4], [0, 3.0]], np.float32)
    rewards = np.array([0, 7.0, 0])
    ended = td_errors(values, rewards, config, terminated=True)
    np.testing.assert_allclose(ended, [0, abs(1 + 0.5 * 4 - 1), 4])
    cut = td_errors(values, rewards, config, terminated=False)
    np.testing.assert_allclose(cut, [0, 2, abs(0.5 * 3 - 4)])


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.99, "0:59"), (3661, "61:01")])
def test_times_are_written_as_minutes_and_seconds(seconds: float, text: str) -> None:
    assert clock(seconds) == text
