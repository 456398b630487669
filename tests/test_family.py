"""Every variant in combination with every other: it builds, learns a small problem, and can be
stored and gone on with.
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
    "target": ("plain", "double", "munchausen"),
    "agent__loss": ("huber", "squared"),
    "agent__n_step": (1, 3),
    "replay__priority_exponent": (0.0, 0.5),
    "machine__precision": ("float32", "bfloat16"),
    "network__torso": ("nature", "mlp", "impala"),
    "network__layer_norm": (False, True),
    "network__center": (False, True),
    "agent__random_shift": (0, 2),
    "optimizer__name": ("adam", "rmsprop"),
    "optimizer__weight_decay": (0.0, 0.01),
    "agent__target_rate": (1.0, 0.1),
}
TARGETS: dict[str, Combination] = {
    "plain": {"agent__double": False},
    "double": {"agent__double": True},
    "munchausen": {"agent__double": False, "agent__munchausen": 0.9},
}


def pairwise_cover() -> list[Combination]:
    """Few combinations in which any two values of different variants meet: greedily, the most new
    pairs each time.
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
    settings = {name: value for name, value in combination.items() if name != "target"}
    learning = {
        "optimizer__learning_rate": 1e-3,
        "agent__samples": 8,
        "agent__target_samples": 8,
        "replay__capacity": 200,
    }
    return Agent(config(**learning, **TARGETS[combination["target"]], **settings), SHAPE, ACTIONS)


def sampled(agent: Agent) -> Batch:
    """Eight transitions out of the replay memory that the settings describe, after 50 steps of two
    environments of noise.
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


def improves_and_repeats(combination: Combination, updates: int) -> None:
    """The loss of a few transitions into the end shrinks; and after any transitions, what was
    stored goes on as it would.
    """
    agent = agent_of(combination)
    data = sampled(agent)
    losses = []
    for _ in range(updates):
        metrics, surprise = agent.update(data._replace(discount=np.zeros(8, np.float32)))
        assert np.isfinite(np.array(metrics, np.float64)).all()
        assert np.shape(surprise) == (8,)
        losses.append(metrics.loss.item())
    first = np.mean(losses[:3])
    last = np.mean(losses[-3:])
    assert last < 0.8 * first, f"{first} to {last}"
    stored = agent.arrays()
    observations = np.moveaxis(data.observation, -1, 1)
    futures: list[list[float]] = []
    for _ in range(2):
        agent.restore(stored)
        learnt = [field.item() for _ in range(2) for field in agent.update(data)[0]]
        futures.append([*learnt, *agent.explore(observations), *agent.values(observations).ravel()])
    np.testing.assert_allclose(futures[0], futures[1], rtol=1e-2, atol=1e-3)


COVER = pairwise_cover()


def test_the_cover_has_every_pair() -> None:
    for one, other in [("network__returns", "target"), ("network__noisy", "network__torso")]:
        assert {(c[one], c[other]) for c in COVER} == set(product(VARIANTS[one], VARIANTS[other]))
    assert len(COVER) < 20


@pytest.mark.parametrize("number", range(len(COVER)))
def test_a_pairwise_cover_of_the_family_learns(number: int) -> None:
    improves_and_repeats(COVER[number], updates=40)


@pytest.mark.slow
@pytest.mark.parametrize("returns", VARIANTS["network__returns"])
@pytest.mark.parametrize("torso", VARIANTS["network__torso"])
@pytest.mark.parametrize("precision", VARIANTS["machine__precision"])
def test_the_whole_family_learns(returns: str, torso: str, precision: str) -> None:
    """Every combination of what is said about returns with head, noise, target, number of steps,
    loss and precision.
    """
    fixed = {name: values[0] for name, values in VARIANTS.items()}
    fixed |= {"network__returns": returns, "network__torso": torso, "machine__precision": precision}
    varied = ("network__head", "network__noisy", "target", "agent__n_step")
    losses = VARIANTS["agent__loss"] if returns == "mean" else ("huber",)
    for *values, loss in product(*(VARIANTS[name] for name in varied), losses):
        improves_and_repeats(
            {**fixed, **dict(zip(varied, values, strict=True)), "agent__loss": loss}, updates=120
        )
