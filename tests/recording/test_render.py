"""Tests recordings as GIF and MP4, and replaying them from their JSON files."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imageio.v3
import imageio_ffmpeg
import numpy as np
import pytest
from ale_py.vector_env import AtariVectorEnv
from PIL import Image, ImageSequence

from atari_dqn.config.resolve import load_config
from atari_dqn.config.schema import Config
from atari_dqn.environments.environments import make_game
from atari_dqn.errors import UserError
from atari_dqn.evaluation.evaluate import evaluate
from atari_dqn.evaluation.results import Episode, Evaluation
from atari_dqn.recording.episode_file import RANDOM_PLAY, EvaluatedEpisode, read_episode
from atari_dqn.recording.gif import gif_delay
from atari_dqn.recording.render import (
    EpisodeChangedError,
    Screen,
    check_beside,
    record_episode,
    record_ranked,
    replay_recording,
    replay_screens,
    write_recording,
)

GAMES = [
    "BreakoutDeterministic-v4",
    "ALE/Qbert-v5",
    "SpaceInvadersDeterministic-v0",
    "Seaquest-v0",
    "ALE/Boxing-v5",
    "pong",
]
STICKY = [
    "BreakoutDeterministic-v0",
    "ALE/Qbert-v5",
    "SpaceInvadersDeterministic-v0",
    "Seaquest-v0",
    "ALE/Boxing-v5",
    "ALE/Pong-v5",
]


def replay(config: Config, episode: Episode) -> Iterator[Screen]:
    return replay_screens(
        make_game(config.spec, config.environment, config.evaluation.frame_cap), episode
    )


def random_play(game: str, **overrides: object) -> Evaluation:
    config, _ = load_config(game, overrides={"evaluation.frame_cap": 1500, **overrides})
    return evaluate(
        lambda observation: np.zeros(len(observation), np.int32),
        config,
        seed=2,
        episodes=1,
        epsilon=1.0,
    )


def random_episode(game: str, **overrides: object) -> tuple[Config, Episode]:
    result = random_play(game, **overrides)
    return result.config, result.episodes[0]


def frames_at(path: Path, times: list[int]) -> Iterator[np.ndarray]:
    """Yields the frame that a GIF shows at each of the given times, in hundredths of a second."""
    left = list(times)
    end = 0
    with Image.open(path) as gif:
        for frame in ImageSequence.Iterator(gif):
            pixels = np.asarray(frame.convert("RGB"))
            end = end + frame.info["duration"] // 10
            while left and left[0] < end:
                left.pop(0)
                yield pixels
    assert not left


def start_times(screens: list[Screen], rate: float) -> list[int]:
    ends = np.cumsum([screen.frames for screen in screens]) / rate
    return [
        0,
        *np.cumsum(
            [gif_delay(begin, end) for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
        ).tolist(),
    ]


@pytest.mark.parametrize("game", [*GAMES, "CartPole-v1"])
def test_a_gif_shows_every_screen_of_the_game_at_its_time(game: str, tmp_path: Path) -> None:
    config, episode = random_episode(game)
    path = tmp_path / "episode.gif"
    recorded = write_recording(path, config, episode)
    screens = list(replay(config, episode))
    *begin, end = start_times(screens, recorded.screens_per_second)
    for pixels, screen in zip(frames_at(path, begin), screens, strict=True):
        np.testing.assert_array_equal(pixels, screen.image)
    assert len(screens) == len(episode.actions) + 1
    assert (
        end / 100
        == recorded.seconds
        == pytest.approx(episode.frames / recorded.screens_per_second, rel=0.02, abs=0.021)
    )


@pytest.mark.parametrize("game", ["BreakoutDeterministic-v4", "ALE/Qbert-v5", "ALE/Seaquest-v5"])
def test_replayed_screens_equal_those_of_the_cpp_environment_in_color(game: str) -> None:
    config, episode = random_episode(game)
    settings = config.environment
    in_color = AtariVectorEnv(
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
    shown, _ = in_color.reset(seed=np.array([episode.seed], np.int32))
    for action, screen in zip(episode.actions, replay(config, episode), strict=False):
        np.testing.assert_array_equal(shown[0, 0], screen.image)
        shown, *_ = in_color.step(np.array([action], np.int32))


def test_an_mp4_has_the_frame_count_size_and_duration_of_the_game(tmp_path: Path) -> None:
    for game in ("BreakoutDeterministic-v4", "Breakout-v0"):
        config, episode = random_episode(game)
        path = tmp_path / "episode.mp4"
        seconds = write_recording(path, config, episode).seconds
        count, duration = imageio_ffmpeg.count_frames_and_secs(str(path))
        assert duration == pytest.approx(seconds, rel=0.02)
        assert duration == pytest.approx(episode.frames / 60, rel=0.02)
        per_step = 1 if isinstance(config.environment.frame_skip, int) else None
        assert count == (len(episode.actions) + 1 if per_step else round(seconds * 60))
        properties = imageio.v3.immeta(path)
        assert properties["codec"] == "h264"
        assert properties["size"] == (160 * 2, 210 * 2)


def test_an_mp4_looks_like_the_game(tmp_path: Path) -> None:
    config, episode = random_episode("BreakoutDeterministic-v4")
    write_recording(tmp_path / "episode.mp4", config, episode)
    screens = list(replay(config, episode))
    for index, frame in enumerate(imageio.v3.imiter(tmp_path / "episode.mp4")):
        shown = frame[::2, ::2].astype(int)
        assert np.abs(shown - screens[index].image).mean() < 6
    assert index == len(screens) - 1


def test_a_gif_is_cut_at_the_maximum_duration_but_an_mp4_is_not(tmp_path: Path) -> None:
    config, episode = random_episode("pong", **{"recording.max_seconds": 5})
    assert write_recording(tmp_path / "episode.gif", config, episode).seconds == pytest.approx(
        5.0, abs=0.1
    )
    assert write_recording(tmp_path / "episode.mp4", config, episode).seconds == pytest.approx(
        episode.frames / 60, rel=0.02
    )


def test_a_replay_with_a_different_score_is_an_error() -> None:
    config, episode = random_episode("pong")
    wrong = Episode(
        episode.seed, episode.actions, episode.score + 1, episode.frames, episode.truncated, 0
    )
    with pytest.raises(EpisodeChangedError, match=r"it scored .* instead of"):
        list(replay(config, wrong))


def test_an_unknown_file_extension_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    config, episode = random_episode("pong")
    with pytest.raises(UserError, match=r"must end in .gif or .mp4"):
        write_recording(tmp_path / "new" / "episode.avi", config, episode)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("scale", [1, 3])
def test_scaling_a_recording_repeats_each_pixel(scale: int, tmp_path: Path) -> None:
    config, episode = random_episode("pong", **{"evaluation.frame_cap": 120})
    write_recording(tmp_path / "episode.gif", config, episode, scale=scale)
    write_recording(tmp_path / "episode.mp4", config, episode, scale=scale)
    with Image.open(tmp_path / "episode.gif") as gif:
        assert gif.size == (160 * scale, 210 * scale)
        first = np.asarray(gif.convert("RGB"))
    screen = next(replay(config, episode)).image
    np.testing.assert_array_equal(first, np.kron(screen, np.ones((scale, scale, 1), np.uint8)))
    assert imageio.v3.immeta(tmp_path / "episode.mp4")["size"] == (160 * scale, 210 * scale)


def test_an_mp4_starts_with_its_index_and_has_a_pixel_format_for_browsers(tmp_path: Path) -> None:
    config, episode = random_episode("CartPole-v1")
    write_recording(tmp_path / "episode.mp4", config, episode)
    content = (tmp_path / "episode.mp4").read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")
    properties = imageio.v3.immeta(tmp_path / "episode.mp4")
    assert (properties["codec"], properties["pix_fmt"].split("(")[0], properties["size"]) == (
        "h264",
        "yuv420p",
        (600, 400),
    )


def recorded(game: str, directory: Path, **overrides: object) -> tuple[Evaluation, Path]:
    """Records an episode of random play as a GIF; returns its evaluation and its JSON file."""
    result = random_play(game, **overrides)
    record_episode(
        {"gif": directory / "first.gif"}, EvaluatedEpisode(result, result.episodes[0], RANDOM_PLAY)
    )
    return result, directory / "first.json"


@pytest.mark.parametrize("game", [*STICKY, "BreakoutDeterministic-v4", "Pong-v4", "CartPole-v1"])
def test_an_episode_is_rendered_again_from_its_json_file_alone(game: str, tmp_path: Path) -> None:
    """The GIFs are identical, even with sticky actions, no-ops, FIRE and random frame skips."""
    result, described = recorded(game, tmp_path, **{"evaluation.frame_cap": 600})
    assert result.config.environment.sticky_probability == (0.25 if game in STICKY else 0)
    alone = tmp_path / "alone" / "episode.json"
    alone.parent.mkdir()
    shutil.copy(described, alone)
    again = replay_recording(alone, tmp_path / "alone" / "again.gif")
    assert again.episode.score == result.episodes[0].score
    assert (tmp_path / "alone" / "again.gif").read_bytes() == (tmp_path / "first.gif").read_bytes()
    assert read_episode(tmp_path / "alone" / "again.json") == again


def test_a_recording_keeps_the_keyword_arguments_of_its_task(tmp_path: Path) -> None:
    result, described = recorded(
        "CartPole-v1", tmp_path, **{"environment.kwargs": {"sutton_barto_reward": True}}
    )
    assert result.episodes[0].score == -1
    assert replay_recording(described, tmp_path / "again.gif").episode.score == -1


def test_the_json_file_describes_the_origin_of_its_episode(tmp_path: Path) -> None:
    result, described = recorded("BreakoutDeterministic-v4", tmp_path)
    document = json.loads(described.read_text(encoding="utf-8"))
    episode = result.episodes[0]
    assert (document["kind"], document["format"], document["run"], document["source"]) == (
        "recording",
        1,
        "random",
        "random",
    )
    assert (document["game"], document["rom"], document["recipe"]) == (
        "BreakoutDeterministic-v4",
        "breakout",
        None,
    )
    assert document["protocol"] == json.loads(json.dumps(result.protocol()))
    assert document["actions"] == episode.actions.tolist()
    assert document["episode"] == result.to_json()["episodes"][0]
    assert document["seconds"] == pytest.approx(episode.frames / 60)
    assert document["files"] == {
        "gif": {"name": "first.gif", "seconds": pytest.approx(document["seconds"], rel=0.02)}
    }
    lines = described.read_text(encoding="utf-8").splitlines()
    assert sum('"actions": [' in line and line.rstrip(",").endswith("]") for line in lines) == 1


def test_a_second_file_of_the_same_episode_is_added_to_its_json_file(tmp_path: Path) -> None:
    result, described = recorded("pong", tmp_path)
    record_episode(
        {"mp4": tmp_path / "first.mp4"}, EvaluatedEpisode(result, result.episodes[0], RANDOM_PLAY)
    )
    assert set(read_episode(described).files) == {"gif", "mp4"}
    other = random_play("pong", **{"evaluation.frame_cap": 400})
    record_episode(
        {"mp4": tmp_path / "first.mp4"}, EvaluatedEpisode(other, other.episodes[0], RANDOM_PLAY)
    )
    assert set(read_episode(described).files) == {"mp4"}


def test_a_json_file_of_another_kind_is_not_overwritten(tmp_path: Path) -> None:
    check_beside(tmp_path / "settings.gif")
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(UserError, match="recording would replace it, so choose another name"):
        check_beside(tmp_path / "settings.gif")


def test_complex_keyword_arguments_are_recorded_but_not_accepted_for_replay(
    tmp_path: Path,
) -> None:
    lake = {"environment.kwargs": {"desc": ["SH", "FG"], "is_slippery": False}}
    config, _ = load_config(
        "FrozenLake-v1", "cartpole", overrides={"evaluation.frame_cap": 20, **lake}
    )
    result = evaluate(
        lambda shown: np.zeros(len(shown), np.int32),
        config,
        seed=2**31 + 5,
        episodes=1,
        epsilon=1.0,
    )
    record_episode(
        {"gif": tmp_path / "lake.gif"}, EvaluatedEpisode(result, result.episodes[0], RANDOM_PLAY)
    )
    with pytest.raises(
        UserError,
        match=r"environment.kwargs.desc must be a number or a plain word in a recording",
    ):
        replay_recording(tmp_path / "lake.json", tmp_path / "again.gif")


def test_file_names_of_recordings_contain_game_run_step_score_and_rank(tmp_path: Path) -> None:
    result = random_play("ALE/Pong-v5", **{"evaluation.frame_cap": 200})
    median = EvaluatedEpisode.of_rank(result, "median", RANDOM_PLAY)
    described, paths = record_ranked(tmp_path, median, "tutorial_seed2")
    stem = (
        f"ALE-Pong-v5_random_step000000000_score{result.episodes[0].score:g}_median_tutorial_seed2"
    )
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{stem}.gif",
        f"{stem}.mp4",
        f"{stem}.json",
    }
    assert {path.name for path in paths.values()} == {
        file.name for file in described.files.values()
    }
    assert described.rank == "median"


def tampered(path: Path, **changes: Any) -> Path:
    document = json.loads(path.read_text(encoding="utf-8"))
    for name, value in changes.items():
        *sections, key = name.split("__")
        table = document
        for section in sections:
            table = table[section]
        table[key] = value
    other = path.with_name("tampered.json")
    other.write_text(json.dumps(document), encoding="utf-8")
    return other


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"game": "os:Env-v0"}, "game: an id of the form module:Env runs code"),
        ({"game": "Brekout"}, "unknown game 'Brekout'"),
        ({"game": "ALE/Pong-v5"}, "the game's actions are different here"),
        (
            {"protocol__environment__kwargs": {"env": "os:system"}},
            "environment.kwargs.env must be a number or a plain word in a recording",
        ),
        ({"protocol__environment__frame_skip": 0}, "frame_skip = 0"),
        (
            {"protocol__environment__stack": 10**9},
            "protocol.environment.stack: Input should be less than or equal to 16",
        ),
        (
            {"episode__score": 99.0},
            "does not match the game: replaying the episode's seed and actions",
        ),
        ({"episode__score": float("nan")}, "episode.score: Input should be a finite number"),
        ({"episode__seed": -1}, "episode.seed: Input should be greater than or equal to 0"),
        ({"actions": [7]}, "action 7 is not one of 0 to 3"),
        ({"actions": []}, "actions: List should have at least 1 item"),
        ({"actions": [0.5]}, "actions.0: Input should be a valid integer"),
        ({"kind": "evaluation"}, "kind: Input should be 'recording'"),
        ({"format": 2}, "format: Input should be 1"),
        ({"unknown": 1}, "unknown: Extra inputs are not permitted"),
    ],
)
def test_a_manipulated_json_file_is_refused_with_a_one_line_error(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    _, described = recorded("BreakoutDeterministic-v4", tmp_path, **{"evaluation.frame_cap": 200})
    with pytest.raises(UserError) as refused:
        replay_recording(tampered(described, **changes), tmp_path / "again.gif")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "again.gif").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Invalid JSON"),
        (b"[1]", "should be an object"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (None, "No such"),
    ],
)
def test_a_file_that_is_not_a_recording_is_refused_with_a_one_line_error(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "episode.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message) as refused:
        read_episode(path)
    assert "\n" not in str(refused.value)
