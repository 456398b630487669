"""Tests the figure of raw frames and observations."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atari_dqn.config.resolve import load_config
from atari_dqn.environments.environments import make_game
from atari_dqn.environments.preprocessing import grayscale, max_pool, resize
from atari_dqn.recording.preprocessing_figure import draw_frames, play_steps


@pytest.mark.parametrize("game", ["ALE/Breakout-v5", "BreakoutDeterministic-v4"])
def test_the_observation_in_the_figure_is_computed_from_the_frames_above_it(game: str) -> None:
    config, _ = load_config(game)
    steps = play_steps(config, steps=3, after=10, seed=1)
    assert [step.number for step in steps] == [11, 12, 13]
    assert [step.first_frame for step in steps] == [41, 45, 49]
    for step in steps:
        *_, older, newest = (grayscale(raw) for raw in step.raw)
        seen = max_pool(newest, older) if config.environment.max_pool else newest
        assert np.abs(resize(seen, 84, 84).astype(int) - step.observation[-1]).max() <= 1, (
            "gray levels may differ by rounding only"
        )
    np.testing.assert_array_equal(steps[0].observation[1:], steps[1].observation[:-1])


def test_the_last_frame_of_a_step_is_the_screen_after_it() -> None:
    config, _ = load_config("Seaquest-v0")
    (step,) = play_steps(config, steps=1, after=5, seed=4)
    assert 2 <= len(step.raw) <= 4
    random = np.random.Generator(np.random.PCG64(4))
    game = make_game(config.spec, config.environment, 108_000)
    game.reset(4)
    for _ in range(6):
        game.step(int(random.integers(len(game.action_names))))
    np.testing.assert_array_equal(step.raw[-1], game.screen())


def test_the_figure_contains_the_raw_frames_and_the_observation(tmp_path: Path) -> None:
    config, _ = load_config("BreakoutDeterministic-v4")
    draw_frames(tmp_path / "new" / "frames.png", config, steps=2, after=10, seed=1)
    first, _ = play_steps(config, steps=2, after=10, seed=1)
    with Image.open(tmp_path / "new" / "frames.png") as image:
        pixels = np.asarray(image)
    np.testing.assert_array_equal(pixels[56 : 56 + 210, 12 : 12 + 160], first.raw[0])
    seen = pixels[56 + 210 + 16 + 18 :, 12:][: 2 * 84 : 2, : 2 * 84 : 2, 0]
    np.testing.assert_array_equal(seen, first.observation[0])
