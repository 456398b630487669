"""Loading trained agents from checkpoints, and initializing new agents with their weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atari_dqn.agent.agent import Agent
from atari_dqn.config.resolve import read_config
from atari_dqn.errors import UserError
from atari_dqn.networks.heads import OUTPUT_LAYERS
from atari_dqn.runs import checkpoint

# The key of the note that marks a checkpoint that contains only the acting network.
RELEASED = "released"


def load_agent(path: str | Path) -> Agent:
    """Returns the trained agent of a checkpoint. Its ``config`` has the settings of its training.

    Args:
        path: directory of a checkpoint, or of a run for its newest checkpoint.

    Raises:
        UserError: there is no checkpoint, it is damaged, or its weights are not finite.
    """
    stored = checkpoint.load(Path(path), shared=False)
    config = read_config(stored.path / checkpoint.CONFIG)
    arrays = checkpoint.part(stored.arrays, "agent")
    _check_finite(arrays, stored.path)
    with checkpoint.restoring(stored.path):
        agent = Agent(config, tuple(stored.notes["observation_shape"]), stored.notes["actions"])
        if stored.notes.get(RELEASED):
            arrays = _with_untrained_state(agent, arrays, stored)
        agent.restore(arrays)
    return agent


def _check_finite(arrays: checkpoint.Arrays, path: Path) -> None:
    """Raises a UserError if weights are NaN or infinite."""
    for name, values in arrays.items():
        is_weight = name.startswith(("online/", "target/")) and values.dtype.kind == "f"
        if is_weight and not np.isfinite(values).all():
            what = "NaN" if np.isnan(values).any() else "infinite"
            reason = f"some of its weights are {what}"
            raise UserError(f"the agent in '{path}' cannot play: {reason}")


def compact_arrays(agent: Agent) -> dict[str, NDArray[np.float16]]:
    """Returns the weights of the acting network, rounded to float16.

    float16 has 11 bits of precision, more than the 8 of bfloat16, in which networks may compute.
    """
    weights = _acting_weights(agent)
    return {f"agent/{name}": np.asarray(weight, np.float16) for name, weight in weights.items()}


def _with_untrained_state(
    agent: Agent, compact: Mapping[str, NDArray[Any]], stored: checkpoint.Checkpoint
) -> dict[str, NDArray[Any]]:
    """Returns the arrays of an untrained agent, with compact weights in both networks.

    Raises:
        UserError: weights are missing.
    """
    if compact.keys() != _acting_weights(agent).keys():
        raise UserError(f"damaged checkpoint: {stored.path} lacks weights of its network")
    state = agent.arrays()
    arrays = {
        name: values
        for name, values in state.items()
        if not name.startswith(("online/", "target/"))
    }
    for name, weight in compact.items():
        number = name.split("/")[1]
        arrays[f"online/{number}"] = weight
        arrays[f"target/{number}"] = weight
    return arrays


def _acting_weights(agent: Agent) -> dict[str, Any]:
    """Returns the variables of the acting network by number.

    The names that Keras generates for layers differ between processes.
    """
    variables = agent.acting.weights.variables
    return {f"online/{number:02d}": variable for number, variable in enumerate(variables)}


def start_from(agent: Agent, other: Agent) -> bool:
    """Initializes an untrained agent with the weights of another agent.

    If the action names differ, the output layers keep their random weights, because features are
    useful in another game but Q-values are not.

    Returns:
        Whether the output layers were copied too.

    Raises:
        UserError: the networks differ in more than their outputs.
    """
    ours = {"observations": agent.observation_shape, **agent.config.network.model_dump()}
    theirs = {"observations": other.observation_shape, **other.config.network.model_dump()}
    for name, value in ours.items():
        if theirs[name] != value:
            difference = f"its {name} is {theirs[name]}, this run's {value}"
            raise UserError(f"the weights are of a different network: {difference}")
    same_actions = agent.action_names == other.action_names
    layers = zip(agent.online.weights.layers, other.acting.weights.layers, strict=True)
    for layer, trained in layers:
        if same_actions or layer.name not in OUTPUT_LAYERS:
            layer.set_weights(trained.get_weights())
    agent.online.round()
    agent.target.follow(agent.online)
    return same_actions
