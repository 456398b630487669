"""Tests that Keras settings of other projects do not affect this package."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from atari_dqn.agent.agent import Agent
from atari_dqn.agent.export import save_network
from atari_dqn.backend.keras_backend import keras_defaults
from atari_dqn.config.resolve import load_config
from atari_dqn.replay.batch import Batch

SHAPE = (4, 36, 36)


@pytest.fixture
def unusual_defaults() -> Iterator[None]:
    """Sets Keras defaults that another project might leave in ``keras.json`` or in this process."""
    with keras_defaults():
        keras.config.set_floatx("float64")
        keras.config.set_image_data_format("channels_first")
        keras.config.set_epsilon(0.1)
        keras.config.set_dtype_policy("mixed_bfloat16")
        yield


def q_values(recipe: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns Q-values before and after two updates."""
    small = {"environment.height": 36, "environment.width": 36, "network.hidden_units": 16}
    config, _ = load_config("breakout", recipe, overrides=small | {"agent.batch_size": 8})
    agent = Agent(config, SHAPE, ("a", "b", "c"))
    random = np.random.default_rng(1)
    frames = random.integers(0, 256, (2, 8, 36, 36, 4), np.uint8)
    action = random.integers(0, 3, 8).astype(np.int32)
    ones = np.ones(8, np.float32)
    observations = random.integers(0, 256, (5, *SHAPE), np.uint8)
    before = agent.values(observations)
    for _ in range(2):  # in two calls, because a graph of two updates takes twice as long to build
        agent.update(Batch(frames[0], action, ones, ones, frames[1], ones, np.arange(8)))
    return before, agent.values(observations)


@pytest.mark.parametrize("recipe", ["default", "rainbow", "munchausen-iqn"])
def test_global_keras_defaults_do_not_change_any_result(
    recipe: str, request: pytest.FixtureRequest
) -> None:
    usual = q_values(recipe)
    request.getfixturevalue("unusual_defaults")
    for ours, expected in zip(q_values(recipe), usual, strict=True):
        np.testing.assert_array_equal(ours, expected)
    assert keras.config.floatx() == "float64", "the defaults themselves must be left alone"
    assert keras.config.dtype_policy().name == "mixed_bfloat16"


def test_a_saved_network_does_not_depend_on_global_keras_defaults(
    tmp_path: Path, unusual_defaults: None
) -> None:
    config, _ = load_config("breakout", overrides={"network.hidden_units": 16})
    agent = Agent(config, (4, 84, 84), ("a", "b"))
    save_network(agent, tmp_path / "network.keras")
    frames = np.random.default_rng(1).integers(0, 256, (3, 84, 84, 4), np.uint8)
    with keras_defaults():
        saved = np.asarray(keras.models.load_model(tmp_path / "network.keras")(frames))
    np.testing.assert_allclose(saved, agent.values(np.moveaxis(frames, -1, 1)), atol=1e-5)


@pytest.mark.parametrize("how", ["environment", "file"])
def test_a_keras_backend_configured_by_variable_or_file_is_ignored(
    how: str, tmp_path: Path
) -> None:
    variables = dict(os.environ)
    variables.pop("KERAS_BACKEND", None)
    if how == "environment":
        variables["KERAS_BACKEND"] = "torch"
    else:
        settings = {"backend": "jax", "floatx": "float64", "image_data_format": "channels_first"}
        (tmp_path / "keras.json").write_text(json.dumps(settings))
        variables["KERAS_HOME"] = str(tmp_path)
    code = "from atari_dqn.agent.agent import Agent; import keras; print(keras.backend.backend())"
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "tensorflow"


def test_keras_already_loaded_on_another_backend_is_a_one_line_error(tmp_path: Path) -> None:
    """Importing TensorFlow first loads Keras before this package can choose the backend."""
    (tmp_path / "keras.json").write_text('{"backend": "jax"}')
    variables = os.environ | {"KERAS_HOME": str(tmp_path)}
    variables.pop("KERAS_BACKEND", None)
    code = (
        "import tensorflow\n"
        "from atari_dqn import UserError\n"
        "try:\n"
        "    from atari_dqn import Agent\n"
        "except UserError as error:\n"
        "    print(error)\n"
    )
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    assert answer.stdout.startswith("Keras runs on 'jax' in this process, but atari_dqn needs ")
    assert answer.stdout.count("\n") == 1
