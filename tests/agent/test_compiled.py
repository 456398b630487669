"""Compares updates that XLA compiles with plain ones, for every recipe."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from atari_dqn.agent.agent import Agent
from atari_dqn.config.resolve import load_config
from atari_dqn.replay.batch import Batch

RECIPES = sorted(path.stem for path in Path("configs").glob("*.toml"))
VECTOR_GAMES = {
    "cartpole": "CartPole-v1",
    "lunarlander": "LunarLander-v3",
    "mountaincar": "MountainCar-v0",
    "mountaincar-boltzmann": "MountainCar-v0",
}
ACTIONS = ("NOOP", "FIRE", "LEFT")
# Smaller networks, which compile sooner, and the precision whose rounding the bounds assume.
SMALL = {
    "machine.precision": "float32",
    "network.hidden_units": 8,
    "network.nature_channels": [2, 3, 4],
    "network.impala_channels": [2, 3],
    "network.atoms": 5,
    "agent.samples": 3,
    "agent.target_samples": 5,
}


def agent(recipe: str, compiled: bool) -> Agent:
    game = VECTOR_GAMES.get(recipe, "breakout")
    config, _ = load_config(game, recipe, overrides={**SMALL, "machine.compile": compiled})
    shape = (1, 4) if recipe in VECTOR_GAMES else (2, 36, 36)
    return Agent(config, shape, ACTIONS)


def batch(shape: tuple[int, ...], size: int = 4) -> Batch:
    random = np.random.default_rng(0)

    def observations() -> np.ndarray:
        if len(shape) == 3:
            return random.integers(256, size=(size, *shape[1:], shape[0]), dtype=np.uint8)
        return random.normal(size=(size, *shape[1:], shape[0])).astype(np.float32)

    return Batch(
        observation=observations(),
        action=random.integers(len(ACTIONS), size=size).astype(np.int32),
        reward=random.normal(size=size).astype(np.float32),
        discount=np.full(size, 0.97, np.float32),
        next_observation=observations(),
        weight=np.ones(size, np.float32),
        indices=np.arange(size),
    )


def stacks_first(observations: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(observations, -1, 1))


def numbers(shape: tf.Tensor, *_: object) -> tf.Tensor:
    """Returns numbers from 0 to 1, in place of random ones: XLA has a generator of its own."""
    count = tf.cast(tf.range(tf.reduce_prod(shape)), tf.float32)
    return tf.reshape(tf.math.floormod(0.618 * count + 0.3, 1.0), shape)


@pytest.mark.parametrize("recipe", RECIPES)
def test_compiled_updates_equal_plain_ones(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = agent(recipe, compiled=False)
    compiled = agent(recipe, compiled=True)
    monkeypatch.setattr(tf.random, "stateless_uniform", numbers)
    monkeypatch.setattr(tf.random, "stateless_normal", numbers)
    transitions = batch(plain.observation_shape)
    for _ in range(2):  # the second update shows whether the first one changed the same weights
        expected, priorities = plain.update(transitions)
        metrics, compiled_priorities = compiled.update(transitions)
        np.testing.assert_allclose(metrics, expected, rtol=1e-4)
        np.testing.assert_allclose(compiled_priorities, priorities, rtol=1e-4, atol=1e-6)
    observations = stacks_first(transitions.observation)
    np.testing.assert_allclose(
        compiled.values(observations), plain.values(observations), rtol=1e-3, atol=1e-5
    )
