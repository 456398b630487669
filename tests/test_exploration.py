import numpy as np
import pytest

from atari_dqn.exploration import epsilon_greedy, linear_schedule


def test_each_environment_explores_by_itself() -> None:
    """Over many steps, two environments explore together as often as independence says, and not more."""
    random = np.random.default_rng(0)
    steps, epsilon = 20_000, 0.5
    greedy = np.full(8, 9, np.int32)
    explored = np.stack([epsilon_greedy(greedy, epsilon, 5, random) != 9 for _ in range(steps)])
    correlation = np.asarray(np.corrcoef(explored.T))
    np.testing.assert_allclose(explored.mean(axis=0), epsilon, atol=0.02)
    assert np.abs(correlation - np.eye(8)).max() < 0.04


def test_random_actions_are_uniform_and_independent_of_each_other() -> None:
    random = np.random.default_rng(1)
    actions = np.stack([epsilon_greedy(np.zeros(2, np.int32), 1.0, 4, random) for _ in range(20_000)])
    for environment in range(2):
        np.testing.assert_allclose(np.bincount(actions[:, environment], minlength=4) / 20_000, 0.25, atol=0.02)
    assert abs(float(np.asarray(np.corrcoef(actions.T))[0, 1])) < 0.03


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_the_generator_moves_on_alike_whatever_epsilon_is(epsilon: float) -> None:
    random, other = np.random.default_rng(2), np.random.default_rng(2)
    epsilon_greedy(np.zeros(6, np.int32), epsilon, 4, random)
    epsilon_greedy(np.ones(6, np.int32), 0.5, 4, other)
    assert random.random() == other.random()


def test_epsilon_0_is_greedy() -> None:
    greedy = np.array([3, 1, 2], np.int32)
    assert epsilon_greedy(greedy, 0.0, 4, np.random.default_rng(0)).tolist() == [3, 1, 2]


def test_a_schedule_without_length_is_a_step() -> None:
    assert [linear_schedule(step, 1.0, 0.1, begin=5, duration=0) for step in (4, 5, 6)] == [1.0, 0.1, 0.1]
