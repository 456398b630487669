"""Combines every variant of the agent with every other variant.

Each combination has to build, to learn a small problem, and to continue after being restored.
"""

from itertools import product
from typing import Any

import numpy as np
import pytest

from atari_dqn.agent.agent import Agent
from atari_dqn.replay.batch import Batch
from atari_dqn.replay.factory import make_memory
from tests.agent.test_agent import ACTIONS, SHAPE, config

Combination = dict[str, Any]

VARIANTS: dict[str, tuple[Any, ...]] = {
    "network__returns": ("mean", "categorical", "quantile", "implicit"),
    "network__head": ("q", "dueling"),
    "network__noisy": (False, True),
    "target": ("plain", "double", "munchausen", "munchausen later"),
    "agent__loss": ("huber", "squared"),
    "agent__n_step": (1, 3),
    "replay__priority_exponent": (0.0, 0.5),
    "machine__precision": ("float32", "bfloat16"),
    "network__torso": ("nature", "mlp", "impala"),
    "network__layer_norm": (False, True),
    "input": ("plain", "centered", "standardized"),
    "agent__random_shift": (0, 2),
    "optimizer__name": ("adam", "rmsprop"),
    "optimizer__weight_decay": (0.0, 0.01),
    "agent__target_rate": (1.0, 0.1),
}
TARGETS: dict[str, Combination] = {
    "plain": {"agent__double": False},
    "double": {"agent__double": True},
    "munchausen": {"agent__double": False, "agent__munchausen": 0.9},
    "munchausen later": {"agent__munchausen": 0.9, "agent__munchausen_after_updates": 20},
}
INPUTS: dict[str, Combination] = {
    "plain": {"network__center": False},
    "centered": {"network__center": True},
    "standardized": {
        "network__center": True,
        "network__deviation": 0.04,
        "network__motion": 3.0,
    },
}


def pairwise_cover() -> list[Combination]:
    """Returns a small set of combinations in which any two values of different variants occur.

    It is built greedily: each combination covers as many new pairs as possible.
    """
    names = list(VARIANTS)
    open_pairs = {
        (one, x, other, y)
        for i, one in enumerate(names)
        for other in names[i + 1 :]
        for x, y in product(VARIANTS[one], VARIANTS[other])
    }
    cover = []
    while open_pairs:
        one, x, other, y = min(open_pairs, key=str)
        combination: Combination = {one: x, other: y}
        for name in names:
            if name not in combination:
                gains = [
                    len(pairs_of({**combination, name: value}, names) & open_pairs)
                    for value in VARIANTS[name]
                ]
                combination[name] = VARIANTS[name][int(np.argmax(gains))]
        open_pairs -= pairs_of(combination, names)
        cover.append({name: combination[name] for name in names})
    return cover


def pairs_of(combination: Combination, names: list[str]) -> set[tuple[str, Any, str, Any]]:
    known = [name for name in names if name in combination]
    return {
        (one, combination[one], other, combination[other])
        for i, one in enumerate(known)
        for other in known[i + 1 :]
    }


def agent_of(combination: Combination) -> Agent:
    groups = ("target", "input")
    settings = {name: value for name, value in combination.items() if name not in groups}
    learning = {
        "optimizer__learning_rate": 1e-3,
        "agent__samples": 8,
        "agent__target_samples": 8,
        "replay__capacity": 200,
    }
    return Agent(
        config(
            **learning, **TARGETS[combination["target"]], **INPUTS[combination["input"]], **settings
        ),
        SHAPE,
        ACTIONS,
    )


def sample_batch(agent: Agent) -> Batch:
    """Returns eight transitions from a replay memory with the agent's settings.

    The memory holds 50 steps of two environments with random frames.
    """
    random = np.random.default_rng(0)
    memory = make_memory(agent.config, 2, SHAPE, None)
    frames = random.integers(256, size=(51, 2, *SHAPE[1:]), dtype=np.uint8)
    memory.start(frames[0])
    for frame in frames[1:]:
        action = random.integers(len(ACTIONS), size=2).astype(np.int32)
        reward = random.normal(size=2).astype(np.float32)
        ended = random.random(2) < 0.1
        memory.add(
            action, reward, np.where(ended, np.float32(0), np.float32(1)), frame, ended, frame[::-1]
        )
    if memory.priorities is not None:
        memory.set_priorities(memory.sample(8).indices, random.random(8, np.float32))
    return memory.sample(8)


def assert_learns_and_restores(combination: Combination, updates: int) -> None:
    """Checks that the loss on terminal transitions falls and that a restored agent continues."""
    agent = agent_of(combination)
    data = sample_batch(agent)
    losses = []
    for _ in range(updates):
        metrics, td_errors = agent.update(data._replace(discount=np.zeros(8, np.float32)))
        assert np.isfinite(np.array(metrics, np.float64)).all()
        assert np.shape(td_errors) == (8,)
        losses.append(metrics.loss.item())
    first = np.mean(losses[:3])
    last = np.mean(losses[-3:])
    assert last < 0.8 * first, f"the loss only changed from {first} to {last}"
    stored = agent.arrays()
    observations = np.moveaxis(data.observation, -1, 1)
    futures: list[list[float]] = []
    for _ in range(2):
        agent.restore(stored)
        metrics_after = [field.item() for _ in range(2) for field in agent.update(data)[0]]
        values = (agent.values_with_noise(observations), agent.values(observations))
        futures.append([*metrics_after, *np.ravel(values)])
    np.testing.assert_allclose(futures[0], futures[1], rtol=1e-2, atol=1e-3)


COVER = pairwise_cover()


def test_the_pairwise_cover_contains_every_pair() -> None:
    for one, other in [("network__returns", "target"), ("network__noisy", "network__torso")]:
        assert {(c[one], c[other]) for c in COVER} == set(product(VARIANTS[one], VARIANTS[other]))
    assert len(COVER) < 20


@pytest.mark.parametrize("number", range(len(COVER)))
def test_a_pairwise_cover_of_all_variants_learns_and_can_be_restored(number: int) -> None:
    assert_learns_and_restores(COVER[number], updates=80)


@pytest.mark.slow
@pytest.mark.parametrize("returns", VARIANTS["network__returns"])
@pytest.mark.parametrize("torso", VARIANTS["network__torso"])
@pytest.mark.parametrize("precision", VARIANTS["machine__precision"])
def test_every_combination_of_the_main_variants_learns_and_can_be_restored(
    returns: str, torso: str, precision: str
) -> None:
    """The main variants are returns, torso, precision, head, noise, target, n-step and loss."""
    fixed = {name: values[0] for name, values in VARIANTS.items()}
    fixed |= {"network__returns": returns, "network__torso": torso, "machine__precision": precision}
    varied = ("network__head", "network__noisy", "target", "agent__n_step")
    losses = VARIANTS["agent__loss"] if returns == "mean" else ("huber",)
    for *values, loss in product(*(VARIANTS[name] for name in varied), losses):
        assert_learns_and_restores(
            {**fixed, **dict(zip(varied, values, strict=True)), "agent__loss": loss}, updates=120
        )
