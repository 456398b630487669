"""Tests evaluations: quotas of episodes, statistics and reproducibility."""

import re

import numpy as np
import pytest

from atari_dqn.config.resolve import load_config
from atari_dqn.config.schema import EnvironmentSettings
from atari_dqn.environments.environments import Environments
from atari_dqn.environments.vector import Transitions
from atari_dqn.evaluation.describe import describe
from atari_dqn.evaluation.evaluate import evaluate, play
from atari_dqn.evaluation.results import Episode, Evaluation


class LopsidedGames:
    """Three environments whose episodes last 2, 6 and 10 steps and score one point a step."""

    num_envs = 3
    action_names = ("NOOP", "RIGHT")
    seed_steps = 0
    observation_shape = (1, 1, 1)

    def __init__(self) -> None:
        self._step = np.zeros(3, np.int64)
        self._lives = np.zeros(3, np.int32)

    def reset(self, mask: np.ndarray, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self._step[mask] = 0
        return np.zeros((3, 1, 1, 1), np.uint8), self._lives

    def send(self, actions: np.ndarray) -> None:
        self._step += 1

    def recv(self) -> Transitions:
        ended = self._step == np.array([2, 6, 10])
        truncated = ended & (np.arange(3) == 2)
        observation = np.zeros((3, 1, 1, 1), np.uint8)
        reward = np.ones(3, np.float32)
        return Transitions(
            observation, reward, ended & ~truncated, truncated, self._lives, np.full(3, 4)
        )


@pytest.mark.parametrize(
    ("episodes", "quota"), [(3, [1, 1, 1]), (7, [3, 2, 2]), (30, [10, 10, 10]), (2, [1, 1, 0])]
)
def test_every_environment_plays_its_quota_of_episodes_however_long_they_are(
    episodes: int, quota: list[int]
) -> None:
    environments = Environments(LopsidedGames(), EnvironmentSettings(), seed=1)
    played = play(lambda observation: np.zeros(3, np.int32), environments, episodes, 0.0, seed=1)
    assert [sum(episode.environment == env for episode in played) for env in range(3)] == quota
    for episode in played:
        assert episode.score == len(episode.actions) == [2, 6, 10][episode.environment]
        assert episode.frames == 4 * len(episode.actions)
        assert episode.truncated == (episode.environment == 2)
    assert len({episode.seed for episode in played}) == episodes


def test_statistics_match_values_computed_by_hand() -> None:
    config, _ = load_config("breakout")
    scores = [1.0, 2.0, 3.0, 10.0]
    none = np.zeros(5, np.uint8)
    episodes = [
        Episode(7, none, score, 20, score == 10, index % 2) for index, score in enumerate(scores)
    ]
    evaluation = Evaluation(config, episodes, 0.05, 1, ("NOOP",))
    numbers = evaluation.statistics()
    assert (numbers["mean"], numbers["median"], numbers["min"], numbers["max"]) == (
        4.0,
        2.5,
        1.0,
        10.0,
    )
    # The deviations are -3, -2, -1 and 6, so the variance is 50 / 3 and the standard error is its
    # square root divided by 2.
    assert numbers["standard_error"] == pytest.approx((50 / 3) ** 0.5 / 2)
    assert numbers["human_normalised"] == pytest.approx((4 - 1.7) / (30.5 - 1.7))
    assert numbers["cut_by_frame_cap"] == 1
    assert evaluation.representative().score == 2.0
    text = describe(evaluation, "some agent")
    for part in (
        "mean 4.00 +- 2.04",
        "median 2.5",
        "min 1, max 10",
        "0.080",
        "1 of 4 episodes",
        "epsilon 0.05",
        "tutorial",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("game", "cap", "truncated", "at_limit", "cut"),
    [
        (
            "CartPole-v1",
            108_000,
            True,
            "2 of 3 episodes reached the task's limit of 500 steps",
            None,
        ),
        (
            "CartPole-v1",
            500,
            True,
            "0 of 3 episodes reached the task's limit of 500 steps",
            "2 of 3 episodes, after 500 agent steps",
        ),
        (
            "MountainCar-v0",
            108_000,
            False,
            "0 of 3 episodes reached the task's limit of 200 steps",
            None,
        ),
        ("breakout", 108_000, True, None, "2 of 3 episodes, after 108,000 frames"),
    ],
)
def test_the_limit_of_a_task_is_not_called_the_frame_cap(
    game: str, cap: int, truncated: bool, at_limit: str | None, cut: str | None
) -> None:
    config, _ = load_config(game, overrides={"evaluation.frame_cap": cap})
    episodes = [Episode(1, np.zeros(500, np.uint8), 500.0, 500, truncated, 0) for _ in range(2)]
    episodes.append(Episode(1, np.zeros(9, np.uint8), 9.0, 9, False, 0))
    text = describe(Evaluation(config, episodes, 0.0, 1, ("A",)), "some agent")
    described = dict(re.findall(r"^(limit|cut off) +(.*)$", text, re.MULTILINE))
    assert (described.get("limit"), described.get("cut off")) == (at_limit, cut)


def test_a_single_episode_has_no_standard_error() -> None:
    config, _ = load_config("adventure")
    evaluation = Evaluation(
        config, [Episode(1, np.zeros(1, np.uint8), 5.0, 4, False, 0)], 0.0, 1, ("NOOP",)
    )
    assert evaluation.statistics()["standard_error"] is None
    assert "no published scores" in describe(evaluation, "some agent")


def test_an_evaluation_is_reproducible_and_depends_on_its_seed() -> None:
    config, _ = load_config("breakout")

    def left(observation: np.ndarray) -> np.ndarray:
        return np.full(len(observation), 3, np.int32)

    one, same, other = (
        evaluate(left, config, seed=seed, episodes=4, epsilon=0.5) for seed in (1, 1, 2)
    )
    assert one.to_json() == same.to_json()
    assert one.to_json() != other.to_json()


def test_random_play_reaches_its_published_score() -> None:
    """Random play scores -20.7 in Pong (Mnih et al. 2015)."""
    config, _ = load_config("PongDeterministic-v4")
    result = evaluate(
        lambda observation: np.zeros(len(observation), np.int32),
        config,
        seed=1,
        episodes=10,
        epsilon=1.0,
    )
    assert -21 <= result.statistics()["mean"] <= -19.5


def test_the_frame_cap_truncates_episodes() -> None:
    config, _ = load_config("pong", overrides={"evaluation.frame_cap": 400})
    result = evaluate(
        lambda observation: np.zeros(len(observation), np.int32), config, seed=1, episodes=3
    )
    assert result.statistics()["cut_by_frame_cap"] == 3
    assert {episode.frames for episode in result.episodes} == {400}
    assert {len(episode.actions) for episode in result.episodes} == {100}
