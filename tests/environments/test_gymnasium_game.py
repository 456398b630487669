"""Tests image environments of Gymnasium that are not Atari games."""

from typing import Any

import gymnasium
import numpy as np
import pytest

from atari_dqn.config.resolve import load_config
from atari_dqn.environments.environments import make_game, make_games
from atari_dqn.environments.gymnasium_game import GymnasiumGame
from atari_dqn.errors import UserError
from atari_dqn.evaluation.evaluate import evaluate
from atari_dqn.recording.render import replay_screens

STEPS = gymnasium.spaces.Discrete(3, start=-1)


class Walk(gymnasium.Env[Any, Any]):
    """A corridor of ten cells, shown as an image with the walker's cell lit.

    Actions -1, 0 and 1 move the walker. Leaving at the right end earns 5 and ends the episode.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(
        self,
        render_mode: str | None = None,
        channels: int = 3,
        dtype: Any = np.uint8,
        actions: Any = STEPS,
        highest: int = 255,
    ) -> None:
        self.render_mode = render_mode
        self.action_space = actions
        self._shape = (40, 40) if channels == 0 else (40, 40, channels)
        self.observation_space = gymnasium.spaces.Box(0, highest, self._shape, dtype)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._place = int(self.np_random.integers(3))
        return self._picture(), {"lives": 2}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert -1 <= action <= 1
        self._place = max(self._place + int(action), 0)
        over = self._place == 10
        return self._picture(), 5.0 * over, over, False, {"lives": 1}

    def render(self) -> Any:
        return np.full((20, 30, 3), self._place, np.uint8)

    def _picture(self) -> Any:
        picture = np.zeros(self._shape, self.observation_space.dtype)
        picture[:, 4 * self._place : 4 * self._place + 4] = 255
        return picture


for name, arguments in (
    ("Rgb", {}),
    ("Gray", {"channels": 1}),
    ("Flat", {"channels": 0}),
    ("Four", {"channels": 4}),
    ("Floats", {"dtype": np.float32}),
    ("Fractions", {"dtype": np.float32, "highest": 1}),
    ("Continuous", {"actions": gymnasium.spaces.Box(-1, 1, (1,))}),
):
    gymnasium.register(f"Walk{name}-v0", f"{__name__}:Walk", kwargs=arguments, max_episode_steps=30)


@pytest.mark.parametrize("game_id", ["WalkRgb-v0", "WalkGray-v0", "WalkFlat-v0", "WalkFloats-v0"])
def test_images_are_converted_to_gray_resized_and_stacked(game_id: str) -> None:
    config, _ = load_config(
        game_id,
        overrides={"environment.height": 40, "environment.width": 40, "environment.stack": 2},
    )
    game = GymnasiumGame(game_id, config.environment, 100)
    observation, lives = game.reset(seed=5)
    assert (observation.shape, observation.dtype.name, lives) == ((2, 40, 40), "uint8", 2)
    assert not observation[0].any()
    assert (observation[1].max(), observation[1].mean()) == (255, 25.5)
    outcome = game.step(2)
    np.testing.assert_array_equal(outcome.observation[0], observation[1])
    np.testing.assert_array_equal(outcome.observation[1], np.roll(observation[1], 4, axis=1))
    assert (
        outcome.reward,
        outcome.terminated,
        outcome.truncated,
        outcome.lives,
        outcome.frames,
    ) == (0.0, False, False, 1, 1)


def test_an_episode_ends_at_the_environments_end_its_step_limit_or_the_frame_cap() -> None:
    config, _ = load_config("WalkRgb-v0")
    for action, cap, steps, terminated in (
        (2, 100, range(8, 11), True),
        (0, 100, range(30, 31), False),
        (0, 7, range(7, 8), False),
    ):
        game = GymnasiumGame("WalkRgb-v0", config.environment, cap)
        game.reset(seed=5)
        outcomes = [game.step(action)]
        while not (outcomes[-1].terminated or outcomes[-1].truncated):
            outcomes.append(game.step(action))
        assert len(outcomes) in steps
        assert outcomes[-1].terminated is terminated
        assert outcomes[-1].reward == 5.0 * terminated


def test_an_episode_of_a_vector_environment_is_replayed_with_rendered_screens() -> None:
    config, _ = load_config("WalkRgb-v0")
    games = make_games(config.spec, config.environment, 3, 100)
    assert (games.action_names, games.observation_shape) == (("0", "1", "2"), (4, 84, 84))
    result = evaluate(
        lambda observations: np.full(len(observations), 2, np.int32),
        config,
        seed=1,
        episodes=6,
        epsilon=0.3,
    )
    assert result.statistics()["mean"] == 5.0
    assert result.statistics()["human_normalised"] is None
    game = make_game(config.spec, config.environment, 100)
    episode = result.representative()
    screens = list(replay_screens(game, episode))
    assert game.screens_per_second == 10
    assert len(screens) == len(episode.actions) + 1
    assert screens[-1].image.shape == (20, 30, 3)
    assert screens[-1].image.max() == 10


@pytest.mark.parametrize(
    ("game_id", "overrides", "message"),
    [
        ("WalkFour-v0", {}, "WalkFour-v0 shows Box.*expected a vector, or a picture"),
        (
            "WalkFractions-v0",
            {},
            "WalkFractions-v0 shows Box.*expected a vector, or a picture",
        ),
        (
            "WalkRgb-v0",
            {"environment.time_feature": True},
            "time_feature = true is only for vectors; WalkRgb-v0 shows pictures",
        ),
        (
            "WalkRgb-v0",
            {"environment.rescale": True},
            "rescale = true is only for vectors; WalkRgb-v0 shows pictures",
        ),
        ("WalkContinuous-v0", {}, "takes Box.*needs a fixed set of actions"),
        (
            "WalkRgb-v0",
            {"environment.frame_skip": 4},
            "frame_skip = 4 is only for Atari games; WalkRgb-v0 is stepped without changes",
        ),
        ("WalkRgb-v0", {"environment.noop_max": 30}, "noop_max = 30 is only for Atari games"),
    ],
)
def test_unsupported_environments_and_settings_are_refused(
    game_id: str, overrides: dict[str, Any], message: str
) -> None:
    config, _ = load_config(game_id, overrides=overrides)
    with pytest.raises(UserError, match=message):
        make_games(config.spec, config.environment, 1, 100)
