"""Gymnasium's own tasks beside Atari: which version an id means today, and what a task shows."""

import re
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from atari_dqn.errors import UserError

_VERSIONED = re.compile(r"(?P<name>.+)-v(?P<version>\d+)")


def current(task: str) -> str:
    """Today's id of a task that Gymnasium brings along, for an older one; anything else is returned as it is.

    >>> current("CartPole-v0"), current("LunarLander-v2"), current("MountainCar-v0")
    ('CartPole-v1', 'LunarLander-v3', 'MountainCar-v0')
    """
    asked = _VERSIONED.fullmatch(task)
    if asked is None:
        return task
    newest = max((_version(task_id) for task_id in gymnasium.registry if _is_version_of(task_id, asked["name"])), default=-1)
    return f"{asked['name']}-v{newest}" if int(asked["version"]) < newest else task


def is_task(task: str) -> bool:
    """Whether an id is registered with Gymnasium and is no Atari game."""
    return task in gymnasium.registry and not str(gymnasium.registry[task].entry_point).startswith("ale_py")


def recipe_name(task: str) -> str:
    """What a recipe for a task is called.

    >>> recipe_name("MountainCar-v0"), recipe_name("ALE/Pong-v5")
    ('mountaincar', 'pong')
    """
    return re.sub(r"-v\d+$", "", task.split("/")[-1]).lower()


def make(task: str, kwargs: Mapping[str, Any], render_mode: str | None = None) -> Any:
    """A task as Gymnasium makes it.

    Raises:
        UserError: it lacks a package, or does not take these keyword arguments.
    """
    try:
        return gymnasium.make(task, render_mode=render_mode, disable_env_checker=True, **kwargs)
    except gymnasium.error.DependencyNotInstalled as error:
        help_ = f"; 'make train GAME={task}' installs it by itself" if "Box2D" in str(error) else ""
        raise UserError(f"{task}: {str(error).split(',')[0]}{help_}") from error
    except (TypeError, gymnasium.error.Error) as error:
        raise UserError(f"{task} cannot be made with environment.kwargs = {dict(kwargs)}: {error}") from error


def shows_pictures(observations: Any) -> bool:
    """Whether a space is of bytes, (rows, columns) or (rows, columns, 1 or 3)."""
    shape = observations.shape or ()
    return observations.dtype == np.uint8 and len(shape) in (2, 3) and shape[2:] in ((), (1,), (3,))


def shows_vectors(task: str) -> bool:
    """Whether a task's observations are numbers in a row, or can be written so, rather than pictures."""
    env = make(task, {})
    env.close()
    return is_vector(env.observation_space)


def is_vector(observations: Any) -> bool:
    """Whether a space's elements can be written as numbers in a row; arrays of two and more dimensions are no vectors."""
    return bool(observations.is_np_flattenable) and len(observations.shape or ()) < 2


def bounds(observations: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Middle and half width (n,) between the bounds of each number of a space's elements; 0 and 1 where it has none.

    >>> bounds(gymnasium.spaces.Box(np.float32([-1.5, 0.0]), np.float32([0.5, np.inf])))
    (array([-0.5,  0. ], dtype=float32), array([1., 1.], dtype=float32))
    """
    flat: Any = gymnasium.spaces.flatten_space(observations)
    bounded = np.isfinite(flat.low) & np.isfinite(flat.high) & (flat.low < flat.high)
    low, high = np.where(bounded, flat.low, -1), np.where(bounded, flat.high, 1)
    return ((low + high) / 2).astype(np.float32), ((high - low) / 2).astype(np.float32)


def _is_version_of(task_id: str, name: str) -> bool:
    entry_point = str(gymnasium.registry[task_id].entry_point)
    return entry_point.startswith("gymnasium.envs.") and task_id.startswith(f"{name}-v") and _version(task_id) >= 0


def _version(task_id: str) -> int:
    match = _VERSIONED.fullmatch(task_id)
    return int(match["version"]) if match else -1
