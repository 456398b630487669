"""Tests epsilon-greedy and Boltzmann exploration, and their schedules."""

import numpy as np
import pytest

from atari_dqn.agent.exploration import (
    EnvironmentSlice,
    Explorer,
    boltzmann,
    epsilon_at,
    epsilon_greedy,
    linear_schedule,
    spread,
)
from atari_dqn.config.learning_schema import ExplorationSettings


def test_environments_explore_independently_of_each_other() -> None:
    """Over many steps, the exploratory actions of different environments are uncorrelated."""
    random = np.random.default_rng(0)
    steps = 20_000
    epsilon = 0.5
    greedy = np.full(8, 9, np.int32)
    explored = np.stack([epsilon_greedy(greedy, epsilon, 5, random) != 9 for _ in range(steps)])
    correlation = np.asarray(np.corrcoef(explored.T))
    np.testing.assert_allclose(explored.mean(axis=0), epsilon, atol=0.02)
    assert np.abs(correlation - np.eye(8)).max() < 0.04


def test_random_actions_are_uniform_and_independent_across_environments() -> None:
    random = np.random.default_rng(1)
    actions = np.stack(
        [epsilon_greedy(np.zeros(2, np.int32), 1.0, 4, random) for _ in range(20_000)]
    )
    for environment in range(2):
        np.testing.assert_allclose(
            np.bincount(actions[:, environment], minlength=4) / 20_000, 0.25, atol=0.02
        )
    assert abs(float(np.asarray(np.corrcoef(actions.T))[0, 1])) < 0.03


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_epsilon_does_not_change_how_many_random_numbers_are_consumed(epsilon: float) -> None:
    random = np.random.default_rng(2)
    other = np.random.default_rng(2)
    epsilon_greedy(np.zeros(6, np.int32), epsilon, 4, random)
    epsilon_greedy(np.ones(6, np.int32), 0.5, 4, other)
    assert random.random() == other.random()


def test_epsilon_zero_is_greedy() -> None:
    greedy = np.array([3, 1, 2], np.int32)
    assert epsilon_greedy(greedy, 0.0, 4, np.random.default_rng(0)).tolist() == [3, 1, 2]


def test_a_schedule_of_zero_duration_jumps_to_its_end_value() -> None:
    assert [linear_schedule(step, 1.0, 0.1, duration=0) for step in (0, 1)] == [0.1, 0.1]


def test_each_environment_can_have_its_own_epsilon() -> None:
    random = np.random.default_rng(3)
    epsilons = spread(0.4, count=4, exponent=7.0)
    np.testing.assert_allclose(epsilons, [0.4 ** (1 + 7 * i / 3) for i in range(4)])
    explored = np.stack(
        [epsilon_greedy(np.full(4, 9, np.int32), epsilons, 5, random) != 9 for _ in range(20_000)]
    )
    np.testing.assert_allclose(explored.mean(axis=0), epsilons, atol=0.01)
    assert spread(0.1, count=1, exponent=7.0).tolist() == [0.1]


def test_an_exponential_schedule_approaches_its_end_by_a_constant_factor() -> None:
    settings = ExplorationSettings(
        schedule="exponential", epsilon_start=1.0, epsilon_end=0.1, decay_steps=100
    )
    values = [epsilon_at(settings, steps, 0) for steps in (0, 100, 200, 10_000)]
    np.testing.assert_allclose(values, [1.0, 0.1 + 0.9 / np.e, 0.1 + 0.9 / np.e**2, 0.1])
    assert epsilon_at(settings.model_copy(update={"decay_steps": 0}), 0, 0) == pytest.approx(0.1)


def test_a_boltzmann_policy_samples_from_the_softmax_of_the_values() -> None:
    values = np.array([[1.0, 2.0, 0.0], [500.0, -500.0, 500.0]], np.float32)
    random = np.random.default_rng(4)
    actions = np.stack([boltzmann(values, 0.5, random) for _ in range(20_000)])
    shares = np.stack([np.bincount(column, minlength=3) / 20_000 for column in actions.T])
    weights = np.exp(np.array([1.0, 2.0, 0.0]) / 0.5)
    np.testing.assert_allclose(shares, [weights / weights.sum(), [0.5, 0, 0.5]], atol=0.01)


def test_a_boltzmann_policy_at_low_temperature_is_greedy() -> None:
    values = np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32)
    np.testing.assert_array_equal(
        boltzmann(values, 1e-6, np.random.default_rng(1)), values.argmax(axis=1)
    )


class LastActionAgent:
    """An agent that strongly prefers the last of three actions."""

    def values_with_noise(self, observations: np.ndarray) -> np.ndarray:
        return np.tile(np.array([0.0, 0.0, 50.0], np.float32), (len(observations), 1))


@pytest.mark.parametrize("policy", ["greedy", "boltzmann"])
def test_an_explorer_acts_randomly_during_warmup_and_follows_the_agent_afterwards(
    policy: str,
) -> None:
    settings = ExplorationSettings.model_validate(
        {"policy": policy, "epsilon_end": 0.0, "decay_steps": 100}
    )
    explorer = Explorer(
        settings,
        warmup_steps=50,
        environments=EnvironmentSlice.all(400),
        num_actions=3,
        seed=1,
    )
    observations = np.zeros((400, 1))
    early = explorer.choose(LastActionAgent(), observations, steps=49, episodes=0)
    np.testing.assert_allclose(np.bincount(early, minlength=3) / 400, 1 / 3, atol=0.1)
    halfway = explorer.choose(LastActionAgent(), observations, steps=100, episodes=0)
    np.testing.assert_allclose(np.mean(halfway == 2), 0.5 + 0.5 / 3, atol=0.1)
    assert (
        explorer.choose(LastActionAgent(), observations, steps=150, episodes=0).tolist()
        == [2] * 400
    )
    assert explorer.epsilon(100, 0) == pytest.approx(0.5)
