from collections.abc import Iterator
from pathlib import Path

import imageio.v3
import imageio_ffmpeg
import numpy as np
import pytest
from ale_py.vector_env import AtariVectorEnv
from PIL import Image, ImageSequence

from atari_dqn.config import load_config
from atari_dqn.environments import make_game
from atari_dqn.errors import UserError
from atari_dqn.evaluation import Episode, evaluate
from atari_dqn.recording import MP4_SCALE, Screen, gif_durations, replay_screens, write_recording
from atari_dqn.settings import Config

GAMES = ["BreakoutDeterministic-v4", "ALE/Qbert-v5", "SpaceInvadersDeterministic-v0", "Seaquest-v0", "ALE/Boxing-v5", "pong"]


def replay(config: Config, episode: Episode) -> Iterator[Screen]:
    return replay_screens(make_game(config.spec, config.environment, config.evaluation.frame_cap), episode)


def random_episode(game: str, **overrides: object) -> tuple[Config, Episode]:
    config, _ = load_config(game, overrides={"evaluation.frame_cap": 1500, **overrides})
    result = evaluate(lambda observation: np.zeros(len(observation), np.int32), config, seed=2, episodes=1, epsilon=1.0)
    return config, result.episodes[0]


@pytest.mark.parametrize("game", GAMES)
def test_a_gif_expanded_along_its_timeline_is_the_game(game: str, tmp_path: Path) -> None:
    config, episode = random_episode(game)
    path = tmp_path / "episode.gif"
    seconds = write_recording(path, config, episode).shown
    screens = list(replay(config, episode))
    starts = np.cumsum([0, *gif_durations([screen.frames for screen in screens], 60)])[:-1]
    shown, time = 0, 0
    with Image.open(path) as gif:
        for frame in ImageSequence.Iterator(gif):
            pixels, time = np.asarray(frame.convert("RGB")), time + frame.info["duration"]
            while shown < len(screens) and starts[shown] < time:
                np.testing.assert_array_equal(pixels, screens[shown].image)
                shown += 1
    assert shown == len(screens) == len(episode.actions) + 1
    assert time / 1000 == seconds == pytest.approx(episode.frames / 60, rel=0.02)


@pytest.mark.parametrize("game", ["BreakoutDeterministic-v4", "ALE/Qbert-v5", "ALE/Seaquest-v5"])
def test_the_screens_are_those_of_the_cpp_environment_in_colour(game: str) -> None:
    config, episode = random_episode(game)
    settings = config.environment
    in_colour = AtariVectorEnv(
        config.spec.rom or "",
        1,
        grayscale=False,
        stack_num=1,
        maxpool=False,
        img_height=210,
        img_width=160,
        repeat_action_probability=settings.sticky_probability,
        noop_max=settings.noop_max,
        use_fire_reset=settings.fire_at_reset,
        reward_clipping=False,
        max_num_frames_per_episode=1500,
    )
    shown, _ = in_colour.reset(seed=np.array([episode.seed], np.int32))
    for action, screen in zip(episode.actions, replay(config, episode), strict=False):
        np.testing.assert_array_equal(shown[0, 0], screen.image)
        shown, *_ = in_colour.step(np.array([action], np.int32))


def test_an_mp4_has_the_frames_size_and_duration_of_the_game(tmp_path: Path) -> None:
    for game in ("BreakoutDeterministic-v4", "Breakout-v0"):
        config, episode = random_episode(game)
        path = tmp_path / "episode.mp4"
        seconds = write_recording(path, config, episode).shown
        count, duration = imageio_ffmpeg.count_frames_and_secs(str(path))
        assert duration == pytest.approx(seconds, rel=0.02)
        assert duration == pytest.approx(episode.frames / 60, rel=0.02)
        per_step = 1 if isinstance(config.environment.frame_skip, int) else None
        assert count == (len(episode.actions) + 1 if per_step else round(seconds * 60))
        properties = imageio.v3.immeta(path)
        assert properties["codec"] == "h264"
        assert properties["size"] == (160 * MP4_SCALE, 210 * MP4_SCALE)


def test_an_mp4_looks_like_the_game(tmp_path: Path) -> None:
    config, episode = random_episode("BreakoutDeterministic-v4")
    write_recording(tmp_path / "episode.mp4", config, episode)
    screens = list(replay(config, episode))
    for index, frame in enumerate(imageio.v3.imiter(tmp_path / "episode.mp4")):
        shown = frame[::MP4_SCALE, ::MP4_SCALE].astype(int)
        assert np.abs(shown - screens[index].image).mean() < 6
    assert index == len(screens) - 1


def test_a_long_gif_is_cut_after_the_stated_time(tmp_path: Path) -> None:
    config, episode = random_episode("pong", **{"recording.max_seconds": 5})
    assert write_recording(tmp_path / "episode.gif", config, episode).shown == pytest.approx(5.0, abs=0.1)
    assert write_recording(tmp_path / "episode.mp4", config, episode).shown == pytest.approx(episode.frames / 60, rel=0.02)


def test_a_replay_that_does_not_show_the_episode_is_refused() -> None:
    config, episode = random_episode("pong")
    wrong = Episode(episode.seed, episode.actions, episode.score + 1, episode.frames, episode.truncated, 0)
    with pytest.raises(RuntimeError, match="scored"):
        list(replay(config, wrong))


def test_an_unknown_ending_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    config, episode = random_episode("pong")
    with pytest.raises(UserError, match=r"must end in .gif or .mp4"):
        write_recording(tmp_path / "new" / "episode.avi", config, episode)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("frames", [[4] * 900, [3] * 901, [2, 3, 4] * 100, [1] * 50])
def test_durations_are_whole_hundredths_and_lose_no_time(frames: list[int]) -> None:
    durations = gif_durations(frames, 60)
    assert all(duration % 10 == 0 and duration > 0 for duration in durations)
    assert sum(durations) == pytest.approx(sum(frames) * 1000 / 60, abs=5)
