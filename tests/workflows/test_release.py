"""Released agents: their rounded weights, and the training command on their model card."""

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atari_dqn.agent.agent import Agent
from atari_dqn.agent.pretrained import RELEASED, compact_arrays, load_agent
from atari_dqn.backend.arrays import FrameStatistics
from atari_dqn.config.resolve import load_config, parse_value
from atari_dqn.config.schema import Config
from atari_dqn.errors import UserError
from atari_dqn.runs import checkpoint
from atari_dqn.workflows.release import training_command
from tests.agent.test_agent import ACTIONS, SHAPE, config


@pytest.mark.parametrize(
    ("overrides", "arguments"),
    [
        ({}, ""),
        ({"machine.seed": 3, "training.total_steps": 50}, ""),
        (
            {
                "network.nature_channels": [4, 8, 8],
                "agent.loss": "squared",
                "agent.gamma": 0.5,
                "optimizer.epsilon": 1e-6,
            },
            "--agent.gamma 0.5 --agent.loss squared --network.nature_channels [4,8,8] "
            "--optimizer.epsilon 1e-06",
        ),
    ],
)
def test_the_command_on_a_card_trains_with_the_same_settings(
    overrides: dict[str, Any], arguments: str
) -> None:
    expected, _ = load_config("breakout", overrides=overrides)
    _check_command(expected, arguments)


@pytest.mark.parametrize("recipe", ["default", "breakout-tutorial"])
@pytest.mark.parametrize(
    ("game", "protocol"),
    [
        ("pong", None),
        ("pong", "dopamine"),
        ("ALE/Pong-v5", None),
        ("ALE/Pong-v5", "dopamine"),
        ("Pong-v0", None),
        ("PongNoFrameskip-v4", None),
        ("PongDeterministic-v4", "tutorial"),
        ("SpaceInvadersDeterministic-v4", None),
    ],
)
def test_the_command_on_a_card_suits_every_id(game: str, protocol: str | None, recipe: str) -> None:
    _check_command(load_config(game, recipe, protocol)[0])


def _check_command(expected: Config, arguments: str | None = None) -> None:
    """Checks that the command's settings are the expected ones, and its ARGS if they are given."""
    make, target, *words = shlex.split(training_command(expected))
    given = dict(word.split("=", 1) for word in words)
    found = given.pop("ARGS", "")
    assert (make, target, found) == ("make", "train", found if arguments is None else arguments)
    pairs = zip(found.split()[::2], found.split()[1::2], strict=True)
    requested = {name.removeprefix("--"): parse_value(value) for name, value in pairs}
    requested |= {
        "machine.seed": int(given.pop("SEED")),
        "training.total_steps": int(given.pop("STEPS")),
    }
    names = (given.pop("GAME"), given.pop("CONFIG"), given.pop("PROTOCOL", None))
    assert load_config(*names, requested)[0] == expected
    assert not given


def test_thread_counts_are_not_part_of_the_command_on_a_card() -> None:
    assert "ARGS" not in training_command(
        load_config("breakout", overrides={"machine.intra_op_threads": 7})[0]
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"network__head": "q", "network__center": True},
        {"network__head": "dueling", "network__returns": "categorical", "network__noisy": True},
        {
            "network__head": "q",
            "network__torso": "impala",
            "network__spectral_norm": True,
            "agent__act_with_target": True,
        },
    ],
)
def test_a_released_agent_equals_the_trained_one_with_rounded_weights(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    observations = np.random.default_rng(0).integers(256, size=(5, *SHAPE), dtype=np.uint8)
    agent = Agent(config(**settings), SHAPE, ACTIONS)
    for variable in agent.online.weights.trainable_variables:  # so that the two networks differ
        variable.assign(0.9 * variable)
    if agent.online.centers_frames:
        agent.center(FrameStatistics(observations[0, 0] / np.float32(3), 20.0))
    written = _released(agent, tmp_path)
    for variable in agent.acting.weights.variables:
        variable.assign(np.float16(variable.numpy()).astype(np.float32))
    np.testing.assert_array_equal(
        load_agent(written).values(observations), agent.values(observations)
    )
    assert (
        written / checkpoint.ARRAYS
    ).stat().st_size < 2.2 * agent.online.weights.count_params() + 20_000


def test_a_released_agent_with_a_missing_weight_is_refused(tmp_path: Path) -> None:
    agent = Agent(config(), SHAPE, ACTIONS)
    with pytest.raises(UserError, match="lacks weights"):
        load_agent(_released(agent, tmp_path, without="agent/online/01"))


def _released(agent: Agent, directory: Path, without: str = "") -> Path:
    arrays = {name: array for name, array in compact_arrays(agent).items() if name != without}
    notes = {"observation_shape": SHAPE, "actions": ACTIONS, RELEASED: True}
    files = {"config.toml": lambda path: path.write_text(agent.config.to_toml(), encoding="utf-8")}
    return checkpoint.save(directory, 0, checkpoint.Contents(arrays, files, notes))
