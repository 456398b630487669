"""Tests the estimate of how long a run takes."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atari_dqn.config.resolve import load_config
from atari_dqn.config.schema import Config
from atari_dqn.training.run_time import Speeds, evaluation_seconds, most_steps, run_seconds
from atari_dqn.workflows.time_budget import with_settings

SPEEDS = Speeds(
    start=10.0,
    acting=1_000.0,
    learning=100.0,
    evaluation_start=1.0,
    evaluation_step=0.001,
    recording_start=0.5,
    recording_step=0.002,
    checkpoint=2.0,
    checkpoint_step=0.0001,
)


def settings(game: str = "breakout", **values: object) -> Config:
    config, _ = load_config(game)
    return with_settings(config, {f"training.{name}": value for name, value in values.items()})


def test_a_worked_example() -> None:
    config = settings(
        total_steps=600_000,
        warmup_steps=10_000,
        evaluation_period=250_000,
        evaluation_episodes=5,
        checkpoint_period=100_000,
    )
    evaluation = 1.0 + 2_000 * 0.001 + 0.5 + 2_000 * 0.002
    assert evaluation_seconds(config, SPEEDS) == pytest.approx(evaluation)
    expected = 10 + 10 + 5_900 + 60 + 6 * 2 + 3 * evaluation
    assert run_seconds(config, SPEEDS) == pytest.approx(expected)


def test_a_run_that_goes_on_is_charged_for_the_rest_only() -> None:
    config = settings(total_steps=200_000, evaluation_period=50_000, checkpoint_period=0)
    rest = run_seconds(config, SPEEDS, done=100_000)
    assert rest == pytest.approx(10 + 1_000 + 10 + 2 + 2 * evaluation_seconds(config, SPEEDS))


def test_an_evaluation_lasts_until_the_time_limit_of_a_task() -> None:
    config = settings("CartPole-v1", evaluation_episodes=20)
    config = with_settings(config, {"evaluation.environments": 10})
    expected = 1.0 + 2 * 500 * 0.001 + 0.5 + 500 * 0.002
    assert evaluation_seconds(config, SPEEDS) == pytest.approx(expected)


def test_episodes_of_a_short_atari_run_are_shorter_and_never_longer_than_the_cap() -> None:
    longer = evaluation_seconds(settings(total_steps=1_000_000), SPEEDS)
    shorter = evaluation_seconds(settings(total_steps=10_000), SPEEDS)
    capped = with_settings(settings(total_steps=10_000), {"evaluation.frame_cap": 40})
    assert evaluation_seconds(capped, SPEEDS) < shorter < longer


@given(
    steps=st.integers(1, 10**7),
    more=st.integers(0, 10**6),
    learning=st.floats(1, 10_000),
    period=st.sampled_from([0, 1_000, 100_000]),
)
def test_a_longer_or_slower_run_never_takes_less_time(
    steps: int, more: int, learning: float, period: int
) -> None:
    shorter = settings(total_steps=steps, evaluation_period=period, checkpoint_period=period)
    longer = settings(total_steps=steps + more, evaluation_period=period, checkpoint_period=period)
    speeds = replace(SPEEDS, learning=learning)
    seconds = run_seconds(shorter, speeds)
    assert seconds <= run_seconds(longer, speeds)
    assert seconds <= run_seconds(shorter, replace(speeds, learning=learning / 2))


@given(fixed=st.floats(0, 100), speed=st.floats(0.01, 10_000), seconds=st.floats(0, 10**6))
def test_the_most_steps_fit_and_one_more_does_not(
    fixed: float, speed: float, seconds: float
) -> None:
    def seconds_of(steps: int) -> float:
        return fixed + steps / speed

    steps = most_steps(seconds_of, seconds)
    assert steps == 0 or seconds_of(steps) <= seconds
    assert seconds_of(steps + 1) > seconds


def test_a_time_without_end_gives_a_number_of_steps_that_settings_allow() -> None:
    assert most_steps(lambda steps: 0.0, math.inf) < 10**15
