"""Tests episodes, lives, seeds and actions of a vector of environments."""

from typing import Any

import numpy as np
import pytest

from atari_dqn.config.resolve import load_config
from atari_dqn.config.schema import EnvironmentSettings
from atari_dqn.environments.environments import Environments, Step, make_games, seed_of
from atari_dqn.environments.vector import CppGames, SerialGames, Transitions, VectorGame
from atari_dqn.errors import UserError

TUTORIAL = EnvironmentSettings(
    fire_at_reset=True, fire_after_life_loss=True, life_loss_ends_future=True, max_pool=False
)


class ScriptedGames:
    """Two games that follow a script of lives and episode ends."""

    num_envs = 2
    action_names = ("NOOP", "FIRE", "RIGHT")
    observation_shape = (1, 1, 1)
    seed_steps = 0

    def __init__(
        self, lives: list[list[int]], terminated: list[list[bool]], truncated: list[list[bool]]
    ) -> None:
        self._script = list(zip(lives, terminated, truncated, strict=True))
        self.sent: list[list[int]] = []
        self.resets: list[tuple[list[bool], list[int]]] = []
        self._lives = np.zeros(2, np.int32)

    def reset(self, mask: np.ndarray, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.resets.append((mask.tolist(), seeds.tolist()))
        self._lives = np.where(mask, 3, self._lives)
        return np.full((2, 1, 1, 1), 100 + len(self.resets), np.uint8), self._lives

    def send(self, actions: np.ndarray) -> None:
        self.sent.append(actions.tolist())

    def recv(self) -> Transitions:
        lives, terminated, truncated = self._script.pop(0)
        self._lives = np.array(lives, np.int32)
        observation = np.full((2, 1, 1, 1), len(self.sent), np.uint8)
        rewards = np.ones(2, np.float32)
        frames = np.full(2, 4, np.int64)
        ends = np.array(terminated, np.bool_), np.array(truncated, np.bool_)
        return Transitions(observation, rewards, *ends, self._lives, frames)


def run_script(settings: EnvironmentSettings) -> tuple[ScriptedGames, list[Step]]:
    """Environment 0 loses a life and then its game; environment 1 is truncated and continues."""
    games = ScriptedGames(
        lives=[[3, 3], [2, 3], [2, 3], [0, 3]],
        terminated=[[False, False], [False, False], [False, False], [True, False]],
        truncated=[[False, False], [False, True], [False, False], [False, False]],
    )
    environments = Environments(games, settings, seed=9)
    environments.reset()
    steps = []
    for _ in range(4):
        environments.send(np.array([2, 2], np.int32))
        steps.append(environments.recv())
    return games, steps


def test_a_lost_life_zeroes_the_discount_but_does_not_end_the_episode() -> None:
    _, steps = run_script(TUTORIAL)
    assert [step.discount.tolist() for step in steps] == [[1, 1], [0, 1], [1, 1], [0, 1]]
    assert [step.ended.tolist() for step in steps] == [
        [False, False],
        [False, True],
        [False, False],
        [True, False],
    ]
    assert [step.truncated.tolist() for step in steps][1] == [False, True]


def test_a_lost_life_has_no_effect_under_other_protocols() -> None:
    games, steps = run_script(EnvironmentSettings())
    assert [step.discount.tolist() for step in steps] == [[1, 1], [1, 1], [1, 1], [0, 1]]
    assert games.sent == [[2, 2]] * 4


def test_fire_replaces_only_the_action_after_a_lost_life() -> None:
    games, _ = run_script(TUTORIAL)
    assert games.sent == [[2, 2], [2, 2], [1, 2], [2, 2]]


def test_an_ended_episode_keeps_its_last_observation_and_the_next_starts_immediately() -> None:
    games, steps = run_script(TUTORIAL)
    assert [mask for mask, _ in games.resets] == [[True, True], [False, True], [True, False]]
    assert steps[1].observation[1, 0, 0, 0] == 2
    assert steps[1].current[1, 0, 0, 0] == 102
    assert steps[0].current is steps[0].observation


def test_a_reset_that_begins_in_a_thread_is_the_same_reset() -> None:
    spec = load_config("breakout")[0].spec
    played = []
    for begins in (False, True):
        games = make_games(spec, TUTORIAL, 3, frame_cap=108_000)
        environments = Environments(games, TUTORIAL, seed=9, seed_steps=games.seed_steps)
        if begins:
            environments.begin_reset()
        first = environments.reset().copy()
        environments.send([1, 2, 3])
        second = environments.recv().observation.copy()
        again = environments.reset().copy()
        played.append([first, second, again, environments.lives, *environments.arrays().values()])
    for one, other in zip(*played, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("count", [1, 3])
def test_a_reset_ends_the_episodes_in_progress(count: int) -> None:
    config, _ = load_config("BreakoutDeterministic-v4", overrides={"machine.seed": 3})
    games = make_games(config.spec, config.environment, count, 108_000, 1)
    environments = Environments(games, config.environment, 3, games.seed_steps)
    first = environments.reset()
    seeds = environments.seeds.tolist()
    for _ in range(20):
        environments.send(np.full(count, 2))
        environments.recv()
    again = environments.reset()
    assert set(environments.seeds.tolist()).isdisjoint(seeds)
    assert all(not length for length in environments.arrays()["lengths"])
    for one, other in zip(first, again, strict=True):
        # A new episode shows the paddle at its starting position.
        np.testing.assert_array_equal(one[-1][70:], other[-1][70:])


def test_every_episode_has_its_own_seed() -> None:
    games, steps = run_script(TUTORIAL)
    expected = [[seed_of(9, 0, 0), seed_of(9, 1, 0)], [seed_of(9, 1, 1)], [seed_of(9, 0, 1)]]
    assert [seeds for _, seeds in games.resets] == expected
    assert steps[1].seed.tolist() == expected[0]
    assert steps[2].seed.tolist() == [expected[0][0], expected[1][0]]
    seeds = {
        seed_of(run, env, episode) for run in range(5) for env in range(20) for episode in range(20)
    }
    assert len(seeds) == 2000
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_five_lives_of_breakout_are_one_episode_without_a_reset() -> None:
    games = CppGames("breakout", TUTORIAL, 2, 108_000)
    environments = Environments(games, TUTORIAL, seed=1)
    environments.reset()
    random = np.random.default_rng(0)
    zero_discounts = np.zeros(2, np.int64)
    while True:
        environments.send(random.integers(4, size=2).astype(np.int32))
        step = environments.recv()
        zero_discounts += step.discount == 0
        if step.ended.any():
            break
    # Of the five lives, four are lost in mid-game and the fifth ends the game.
    assert set(zero_discounts[step.ended].tolist()) == {5}
    black = (step.current[step.ended][:, :-1] == 0).all()
    assert black, "a new episode begins with an empty stack"


def test_games_with_random_frame_skips_use_the_reference_and_others_the_cpp_path() -> None:
    def made(game: str) -> VectorGame:
        config, _ = load_config(game)
        return make_games(config.spec, config.environment, 1, 100)

    assert isinstance(made("Pong-v4"), SerialGames)
    assert isinstance(made("PongDeterministic-v4"), CppGames)


@pytest.mark.parametrize("game", ["ALE/Qbert-v5", "Breakout-v0"])
def test_an_episode_is_reproduced_from_its_seed_and_actions(game: str) -> None:
    config, _ = load_config(game)
    random = np.random.default_rng(3)
    environments = Environments(
        make_games(config.spec, config.environment, 3, 108_000), config.environment, seed=4
    )
    environments.reset()
    seeds = environments.seeds.copy()
    actions = []
    observations = []
    rewards = []
    for _ in range(120):
        taken = random.integers(len(environments.action_names), size=3).astype(np.int32)
        actions.append(environments.send(taken)[1])
        step = environments.recv()
        observations.append(step.observation[1])
        rewards.append(step.reward[1])
        if step.ended[1]:
            break
    again = make_games(config.spec, config.environment, 1, 108_000)
    again.reset(np.ones(1, np.bool_), seeds[1:2])
    for action, observation, reward in zip(actions, observations, rewards, strict=True):
        again.send(np.array([action], np.int32))
        answer = again.recv()
        np.testing.assert_array_equal(answer.observation[0], observation)
        assert answer.reward[0] == reward


@pytest.mark.parametrize(
    ("game", "seed_steps"), [("BreakoutDeterministic-v0", 250), ("ALE/Qbert-v5", 10_000)]
)
def test_restored_environments_continue_identically_when_a_seed_covers_several_episodes(
    game: str, seed_steps: int
) -> None:
    config, _ = load_config(game)
    random = np.random.default_rng(3)

    def new_environments() -> Environments:
        games = make_games(config.spec, config.environment, 3, 108_000)
        return Environments(games, config.environment, seed=4, seed_steps=seed_steps)

    def step(environments: Environments, actions: np.ndarray) -> Step:
        environments.send(actions)
        return environments.recv()

    def actions() -> np.ndarray:
        return random.integers(len(environments.action_names), size=3).astype(np.int32)

    environments = new_environments()
    environments.reset()
    seeds = [environments.seeds.copy()]
    ends = 0
    for _ in range(700):
        ends += int(step(environments, actions()).ended.sum())
        seeds.append(environments.seeds.copy())
    reseeds = sum(len({row[env] for row in seeds}) for env in range(3)) - 3
    assert 3 <= reseeds < ends if seed_steps < 700 else ends > 1 and reseeds == 0
    again = new_environments()
    observation = again.restore(environments.arrays())
    for _ in range(300):
        taken = actions()
        one = step(environments, taken)
        other = step(again, taken)
        for left, right in zip(one, other, strict=True):
            np.testing.assert_array_equal(left, right)
    assert observation.shape == one.current.shape


WRONG_ACTIONS = [
    ([0, 4], "no action 4: actions go from 0 to 3"),
    ([0, 17], "no action 17: actions go from 0 to 3"),
    ([-1, 0], "no action -1: actions go from 0 to 3"),
    (np.array([0, 2**32], np.int64), "no action 4294967296: actions go from 0 to 3"),
    ([0], r"actions of shape \(1,\) and type int64; expected 2 whole numbers, shape \(2,\)"),
    ([[0, 1]], r"actions of shape \(1, 2\)"),
    (1, r"actions of shape \(\) "),
    ([0.0, 1.0], r"actions of shape \(2,\) and type float64; expected 2 whole numbers"),
    ([True, False], "type bool; expected 2 whole numbers"),
    ([None, None], "type object; expected 2 whole numbers"),
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("actions", "message"), WRONG_ACTIONS)
@pytest.mark.parametrize("game", ["BreakoutDeterministic-v4", "Breakout-v0"])
def test_invalid_actions_are_refused_before_anything_is_stepped(
    game: str, actions: Any, message: str
) -> None:
    config, _ = load_config(game)
    games = make_games(config.spec, config.environment, 2, 100)
    environments = Environments(games, config.environment, seed=1)
    environments.reset()
    for receiver in (environments, games):
        with pytest.raises(UserError, match=message):
            receiver.send(actions)
    environments.send(np.array([3, 0]))
    assert environments.recv().reward.shape == (2,), "the refused actions must not have been sent"
    assert environments.arrays()["lengths"].tolist() == [1, 1]


@pytest.mark.parametrize(
    "actions", [[3, 0], (3, 0), np.array([3, 0], np.int64), np.array([3, 0], np.uint8)]
)
def test_actions_may_have_any_integer_type(actions: Any) -> None:
    config, _ = load_config("BreakoutDeterministic-v4")
    environments = Environments(
        make_games(config.spec, config.environment, 2, 100), config.environment, seed=1
    )
    environments.reset()
    executed = environments.send(actions)
    assert (executed.dtype.name, executed.tolist()) == ("int32", [3, 0])
    environments.recv()
