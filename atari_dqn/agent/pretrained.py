"""Agents that others trained: from a checkpoint, and as the beginning of another run."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atari_dqn.agent.agent import Agent
from atari_dqn.config.resolve import read_config
from atari_dqn.errors import UserError
from atari_dqn.networks.heads import OUTPUT_LAYERS
from atari_dqn.runs import checkpoint

# The note of a checkpoint that holds no more than it takes to play.
RELEASED = "released"


def load_agent(path: str | Path) -> Agent:
    """Loads a trained agent, ready to act; ``config`` holds the settings it was trained with.

    Args:
        path: a run's directory (then its newest checkpoint) or one checkpoint in it.

    Raises:
        UserError: there is none, it is damaged, or its weights are not finite.
    """
    stored = checkpoint.load(Path(path), shared=False)
    config = read_config(stored.path / checkpoint.CONFIG)
    arrays = checkpoint.part(stored.arrays, "agent")
    _check_finite(arrays, stored.path)
    with checkpoint.restoring(stored.path):
        agent = Agent(config, tuple(stored.notes["observation_shape"]), stored.notes["actions"])
        agent.restore(_whole(agent, arrays, stored) if stored.notes.get(RELEASED) else arrays)
    return agent


def _check_finite(arrays: checkpoint.Arrays, path: Path) -> None:
    """Raises a UserError for weights that are NaN or infinite, with which no agent can choose."""
    for name, values in arrays.items():
        is_weight = name.startswith(("online/", "target/")) and values.dtype.kind == "f"
        if is_weight and not np.isfinite(values).all():
            what = "NaN" if np.isnan(values).any() else "infinite"
            reason = f"some of its weights are {what}"
            raise UserError(f"'{path}' holds no agent that can play: {reason}")


def compact_arrays(agent: Agent) -> dict[str, NDArray[np.float16]]:
    """The weights that play, rounded to 16 bits: 11 of precision, which is more than networks are
    trained in.
    """
    return {
        f"agent/{name}": np.asarray(weight, np.float16) for name, weight in _playing(agent).items()
    }


def _whole(
    agent: Agent, compact: dict[str, NDArray[Any]], stored: checkpoint.Checkpoint
) -> dict[str, NDArray[Any]]:
    """What an untrained agent of the same settings would be restored from, but for the weights."""
    weights = _playing(agent)
    if compact.keys() != weights.keys():
        raise UserError(f"damaged checkpoint: {stored.path} lacks weights of its network")
    beside = {
        name: array
        for name, array in agent.arrays().items()
        if not name.startswith(("online/", "target/"))
    }
    return {
        **beside,
        **{
            f"{owner}/{name.split('/')[1]}": compact[name]
            for name in weights
            for owner in ("online", "target")
        },
    }


def _playing(agent: Agent) -> dict[str, Any]:
    """The variables of the network that plays, by their number: Keras's names for nameless layers
    differ between processes.
    """
    return {
        f"online/{number:02d}": variable
        for number, variable in enumerate(agent.acting.weights.variables)
    }


def start_from(agent: Agent, other: Agent) -> bool:
    """Gives an untrained agent another agent's weights to begin with.

    Where the actions have other names, the output layers keep their own random weights: what is
    seen is worth knowing in another game too, what it is worth is not.

    Returns:
        Whether the output layers were taken over as well.

    Raises:
        UserError: the networks differ in more than their outputs.
    """
    ours = {"observations": agent.observation_shape, **agent.config.network.model_dump()}
    theirs = {"observations": other.observation_shape, **other.config.network.model_dump()}
    for name, value in ours.items():
        if theirs[name] != value:
            raise UserError(
                f"weights of another network: its {name} is {theirs[name]}, this run's {value}"
            )
    everything = agent.action_names == other.action_names
    for mine, its in zip(agent.online.weights.layers, other.acting.weights.layers, strict=True):
        if everything or mine.name not in OUTPUT_LAYERS:
            mine.set_weights(its.get_weights())
    agent.online.round()
    agent.target.follow(agent.online)
    return everything
