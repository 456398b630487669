"""Tests the Python interface: paths as strings, NumPy numbers, policies and invalid values."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atari_dqn import (
    ReplayMemory,
    Training,
    UserError,
    evaluate,
    load_agent,
    load_config,
    write_recording,
)
from atari_dqn.config.resolve import read_config
from atari_dqn.config.schema import Config
from atari_dqn.recording.episode_file import EvaluatedEpisode, Origin, read_episode
from atari_dqn.recording.render import (
    record_episode,
    record_ranked,
    replay_recording,
    write_recordings,
)
from atari_dqn.runs import checkpoint
from atari_dqn.runs.circumstances import write_circumstances
from atari_dqn.workflows.release import release

SHORT = {
    "training.total_steps": 240,
    "training.environments": 2,
    "training.warmup_steps": 100,
    "training.evaluation_period": 0,
    "replay.capacity": 1_000,
}


def cartpole(**overrides: Any) -> Config:
    return load_config("CartPole-v1", overrides=SHORT | overrides)[0]


def ones(observations: np.ndarray) -> np.ndarray:
    return np.ones(len(observations), np.int32)


def test_every_path_may_be_a_string(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = cartpole()
    training = Training(config, "run", "videos")
    assert training.run()
    assert load_agent("run").num_actions == 2
    assert checkpoint.load("run").path == checkpoint.find("run")
    assert read_config(str(checkpoint.find("run") / "config.toml")) == config
    again = Training(config, "run", "videos")
    assert again.restore(checkpoint.load("run"))
    result = evaluate(ones, config, seed=1, episodes=2)
    episode = result.representative()
    origin = Origin("record", "run", None, None, 0)
    assert write_recording("plain.gif", config, episode).seconds > 0
    assert write_recording("UPPER.GIF", config, episode).seconds > 0
    write_recordings({"gif": "both.gif", "mp4": "both.mp4"}, config, episode)
    record_episode({"gif": "folder/one.gif"}, EvaluatedEpisode(result, episode, origin))
    _, paths = record_ranked("ranked", EvaluatedEpisode.of_rank(result, "median", origin), "end")
    assert all(path.parent == Path("ranked") for path in paths.values())
    assert (
        replay_recording("folder/one.json", "again.gif").episode
        == read_episode("folder/one.json").episode
    )
    write_circumstances(Path("run"), config)
    assert release("run/" + checkpoint.find("run").name, "given", "given.gif", 1, 1).episodes
    written = (
        "plain.gif",
        "UPPER.GIF",
        "both.gif",
        "both.mp4",
        "folder/one.gif",
        "again.gif",
        "given/README.md",
        "given.gif",
    )
    assert all((tmp_path / name).is_file() for name in written)


def test_the_directory_of_a_replay_memory_may_be_a_string(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"stack": 2, "n_step": 1, "gamma": 0.9, "seed": 1, "storage": "disk"}
    memory = ReplayMemory(100, 1, (4, 4), directory=str(tmp_path / "replay"), **sizes)
    memory.start(np.zeros((1, 4, 4), np.uint8))
    assert len(memory) == 1


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("machine.seed", np.int64(3), 3),
        ("machine.seed", np.array(3), 3),
        ("agent.n_step", np.uint8(2), 2),
        ("agent.gamma", np.float64(0.9), 0.9),
        ("agent.gamma", np.float32(0.5), 0.5),
        ("agent.gamma", np.int64(1), 1.0),
        ("agent.double", np.bool_(False), False),
        ("environment.frame_skip", (2, 4), [2, 4]),
        ("environment.frame_skip", np.array([2, 4]), [2, 4]),
        ("network.nature_channels", (np.int64(4), 8, np.int32(8)), [4, 8, 8]),
        ("network.torso", np.str_("impala"), "impala"),
    ],
)
def test_overrides_may_be_numpy_values_and_tuples(name: str, given: Any, expected: Any) -> None:
    config, _ = load_config("breakout", overrides={name: given})
    section, _, key = name.partition(".")
    value = getattr(getattr(config, section), key)
    assert (value, type(value)) == (expected, type(expected))
    assert read_config_of(config) == config


def read_config_of(config: Config) -> Config:
    """Returns the settings after writing them to JSON and reading them back."""
    return Config.model_validate(json.loads(config.model_dump_json()))


def test_keyword_arguments_may_be_numpy_values() -> None:
    kwargs = {"goal_velocity": np.float64(0.5)}
    config, _ = load_config("MountainCar-v0", overrides={"environment.kwargs": kwargs})
    assert repr(config.environment.kwargs) == "{'goal_velocity': 0.5}"


def test_recipe_and_protocol_may_be_paths(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("[agent]\ngamma = 0.5\n")
    (tmp_path / "protocol.toml").write_text("[evaluation]\nepisodes = 7\n")
    config, _ = load_config(
        "breakout", recipe=tmp_path / "recipe.toml", protocol=tmp_path / "protocol.toml"
    )
    assert (config.agent.gamma, config.evaluation.episodes) == (0.5, 7)
    assert (config.recipe, config.protocol) == ("recipe", "protocol")
    with pytest.raises(UserError, match=r"unknown recipe 'missing\.toml'"):
        load_config("breakout", recipe=Path("missing.toml"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"episodes": 0}, "episodes = 0: must be a whole number of at least 1"),
        ({"episodes": -3}, "episodes = -3: must be a whole number of at least 1"),
        ({"episodes": 2.5}, "episodes = 2.5: must be a whole number"),
        ({"seed": -1}, "seed = -1: must be a whole number of at least 0"),
        ({"seed": None}, "seed = None: must be a whole number"),
        ({"seed": 1.5}, "seed = 1.5: must be a whole number"),
        ({"seed": "1"}, "seed = '1': must be a whole number"),
        ({"epsilon": 2}, "epsilon = 2: must be a probability from 0 to 1"),
        ({"epsilon": -0.1}, "epsilon = -0.1: must be a probability"),
        ({"epsilon": float("nan")}, "epsilon = nan: must be a probability"),
        ({"epsilon": "often"}, "epsilon = 'often': must be a probability"),
    ],
)
def test_arguments_of_an_evaluation_out_of_range_are_refused(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        evaluate(ones, cartpole(), **{"seed": 1, "episodes": 1} | arguments)


def test_arguments_of_an_evaluation_may_be_numpy_numbers() -> None:
    plain = evaluate(ones, cartpole(), seed=3, episodes=2, epsilon=0.5)
    numbers: dict[str, Any] = {
        "seed": np.int64(3),
        "episodes": np.int32(2),
        "epsilon": np.float32(0.5),
    }
    result = evaluate(ones, cartpole(), **numbers)
    assert json.dumps(result.to_json()) == json.dumps(plain.to_json())
    assert evaluate(ones, cartpole(), seed=2**40, episodes=1).seed == 2**40


@pytest.mark.parametrize(
    "policy",
    [
        lambda seen: [1] * len(seen),
        lambda seen: np.ones(len(seen), np.int64),
        lambda seen: np.ones(len(seen), np.uint8),
    ],
)
def test_a_policy_may_return_a_list_or_integers_of_any_type(policy: Any) -> None:
    expected = evaluate(ones, cartpole(), seed=1, episodes=2, epsilon=0.2)
    assert (
        evaluate(policy, cartpole(), seed=1, episodes=2, epsilon=0.2).to_json()
        == expected.to_json()
    )


@pytest.mark.timeout(60)
@pytest.mark.parametrize("game", ["CartPole-v1", "breakout"])
@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (lambda seen: np.full(len(seen), 17), "no action 17: actions go from"),
        (lambda seen: np.full(len(seen), -1), "no action -1: actions go from"),
        (lambda seen: np.full(len(seen), 0.7), "type float64; expected 1 whole numbers"),
        (lambda seen: 1, r"actions of shape \(\)"),
    ],
)
def test_a_policy_that_returns_invalid_actions_is_refused(
    game: str, policy: Any, message: str
) -> None:
    config, _ = load_config(game)
    with pytest.raises(UserError, match=message):
        evaluate(policy, config, seed=1, episodes=1, epsilon=0.5)


def test_running_a_complete_training_again_changes_nothing(tmp_path: Path) -> None:
    training = Training(cartpole(), tmp_path / "run", tmp_path / "videos")
    assert training.run()
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert training.run()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files
    assert training.steps == 240
