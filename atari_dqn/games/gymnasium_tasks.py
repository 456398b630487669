"""Gymnasium environments other than Atari games: their ids and their observations."""

import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec, load_env_creator
from numpy.typing import NDArray

from atari_dqn.console import keep_messages
from atari_dqn.errors import UserError

LARGEST_BYTE = 255
_VERSIONED = re.compile(r"(?P<name>.+)-v(?P<version>\d+)")


def current(task: str) -> str:
    """Returns the current id for an old version of one of Gymnasium's own tasks.

    Registered ids, and ids without a newer version, are returned unchanged.

    >>> current("LunarLander-v2"), current("CartPole-v0"), current("MountainCar-v0")
    ('LunarLander-v3', 'CartPole-v0', 'MountainCar-v0')
    """
    parts = _VERSIONED.fullmatch(task)
    if parts is None or task in gymnasium.registry:
        return task
    name = parts["name"]
    versions = [
        _version(task_id) for task_id in gymnasium.registry if _is_version_of(task_id, name)
    ]
    # The next version is chosen, because the user may have registered a later one.
    later = [version for version in versions if version > int(parts["version"])]
    return f"{name}-v{min(later)}" if later else task


def newest_of(name: str) -> str | None:
    """Returns the newest id of one of Gymnasium's own tasks from its name in any spelling.

    None means that there is no such task. Ids with a namespace have no bare name.

    >>> newest_of("cartpole"), newest_of("lunar_lander"), newest_of("CartPole-v1")
    ('CartPole-v1', 'LunarLander-v3', None)
    """
    versions: dict[str, int] = {}
    wanted = _squeezed(name)
    for task in gymnasium.registry:
        parts = _VERSIONED.fullmatch(task)
        if parts and _squeezed(parts["name"]) == wanted:
            own_name = parts["name"]
            if _is_version_of(task, own_name):
                versions[own_name] = max(int(parts["version"]), versions.get(own_name, 0))
    if len(versions) != 1:
        return None
    ((own_name, version),) = versions.items()
    return f"{own_name}-v{version}"


def _squeezed(name: str) -> str:
    return re.sub(r"[ _-]", "", name).lower()


def recipe_name(task: str) -> str:
    """Returns the name that a recipe for a task has.

    >>> recipe_name("MountainCar-v0"), recipe_name("ALE/Pong-v5")
    ('mountaincar', 'pong')
    """
    return re.sub(r"-v\d+$", "", task.split("/")[-1]).lower()


def make(task: str, kwargs: Mapping[str, Any], render: bool = False) -> Any:
    """Returns a new environment of a registered id.

    Args:
        task: id registered with Gymnasium.
        kwargs: keyword arguments of the environment.
        render: whether to enable rendering, if the environment supports it.

    Raises:
        UserError: a package is missing, or the constructor fails with these keyword arguments.
    """
    _leave_signals_and_displays_alone()
    if render:
        with suppress(UserError):
            return make(task, {**kwargs, "render_mode": "rgb_array"})
    try:
        return _create(gymnasium.registry[task], kwargs)
    except gymnasium.error.DependencyNotInstalled as error:
        reason = _first_line(error).split(",")[0]
        if "Box2D" in str(error):
            reason += f"; 'make train GAME={task}' installs it automatically"
        raise UserError(f"{task}: {reason}") from error
    except ImportError as error:
        reason = _type_and_first_line(error)
        raise UserError(f"{task} needs a package that does not load: {reason}") from error
    except Exception as error:  # custom environments may raise anything
        arguments = f"environment.kwargs = {dict(kwargs)}"
        reason = _type_and_first_line(error)
        raise UserError(f"{task} cannot be made with {arguments}: {reason}") from error
    finally:
        keep_messages()  # the environment's module may have changed the logging configuration


def _leave_signals_and_displays_alone() -> None:
    """Keeps SDL, which renders Gymnasium's tasks, from handling signals and opening a display.

    Otherwise SDL would handle SIGTERM, and print errors if there is no display.
    """
    os.environ.setdefault("SDL_NO_SIGNAL_HANDLERS", "1")
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ):
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")


def _create(spec: EnvSpec, kwargs: Mapping[str, Any]) -> Any:
    arguments: dict[str, Any] = {"disable_env_checker": True, **kwargs}
    try:
        # With a specification instead of an id, Gymnasium does not warn about old versions.
        return gymnasium.make(spec, **arguments)
    except gymnasium.error.InvalidMetadata:
        # Gymnasium looks for metadata in the creator of the environment, and rejects None.
        creator: Any = spec.entry_point
        creator = creator if callable(creator) else load_env_creator(creator)
        return gymnasium.make(replace(spec, entry_point=partial(creator)), **arguments)


def _type_and_first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {_first_line(error)}".removesuffix(": ")


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")


class Kind(NamedTuple):
    """Properties of an environment that are known after it is created.

    Attributes:
        vectors: whether its observations can be flattened to vectors.
        limit: number of steps after which its episodes are truncated, or None without a limit.
    """

    vectors: bool
    limit: int | None


# The key contains the id() of a specification. The value holds the specification, so that no other
# object can get the same id().
_kinds: dict[tuple[int, str], tuple[EnvSpec, Kind]] = {}


def kind(task: str, kwargs: Mapping[str, Any]) -> Kind:
    """Returns the properties of an environment with these keyword arguments.

    The environment is created once, and the result is kept.

    Raises:
        UserError: the environment cannot be created.
    """
    spec = gymnasium.registry[task]
    key = id(spec), repr(kwargs)
    if key not in _kinds:
        env = make(task, kwargs)
        close(env)
        limit = None if env.spec is None else env.spec.max_episode_steps
        observations = observation_space(env, task)
        _kinds[key] = spec, Kind(is_vector(observations), limit)
    return _kinds[key][1]


def close(env: Any) -> None:
    """Closes an environment that is no longer needed, and ignores errors."""
    with suppress(Exception):
        env.close()


def observation_space(env: Any, task: str) -> Any:
    """Returns the observation space of an environment.

    Raises:
        UserError: the environment has no valid observation space.
    """
    return _space(env, "observation_space", task)


def action_space(env: Any, task: str) -> Any:
    """Returns the action space of an environment.

    Raises:
        UserError: the environment has no valid action space.
    """
    return _space(env, "action_space", task)


def _space(env: Any, name: str, task: str) -> Any:
    space = getattr(env, name, None)
    if not isinstance(space, gymnasium.spaces.Space):
        raise UserError(f"{task} has no valid Gymnasium {name}: {space!r}")
    return space


def shows_pictures(observations: Any) -> bool:
    """Returns whether a space contains pictures.

    These are bytes of shape (rows, columns) or (rows, columns, 1 or 3). Other numbers count as
    bytes if their bounds are 0 and 255 everywhere.
    """
    if not isinstance(observations, gymnasium.spaces.Box):
        return False
    shape = observations.shape
    has_picture_shape = len(shape) in (2, 3) and shape[2:] in ((), (1,), (3,))
    if not has_picture_shape or observations.dtype.kind not in "iuf":
        return False
    if observations.dtype == np.uint8:
        return True
    return bool((observations.low == 0).all() and (observations.high == LARGEST_BYTE).all())


def is_vector(observations: Any) -> bool:
    """Returns whether a space's elements can be flattened to vectors.

    Arrays with two or more dimensions do not count as vectors.
    """
    return bool(observations.is_np_flattenable) and len(observations.shape or ()) <= 1


def bounds(observations: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns the center and half the width of a vector's bounds, both (n,).

    They are 0 and 1 for numbers without bounds.

    >>> bounds(gymnasium.spaces.Box(np.float32([-1.5, 0.0]), np.float32([0.5, np.inf])))
    (array([-0.5,  0. ], dtype=float32), array([1., 1.], dtype=float32))
    """
    flat: Any = gymnasium.spaces.flatten_space(observations)
    bounded = np.isfinite(flat.low) & np.isfinite(flat.high) & (flat.low < flat.high)
    low = np.where(bounded, flat.low, -1)
    high = np.where(bounded, flat.high, 1)
    return ((low + high) / 2).astype(np.float32), ((high - low) / 2).astype(np.float32)


def _is_version_of(task_id: str, name: str) -> bool:
    entry_point = str(gymnasium.registry[task_id].entry_point)
    return (
        entry_point.startswith("gymnasium.envs.")
        and task_id.startswith(f"{name}-v")
        and _version(task_id) >= 0
    )


def _version(task_id: str) -> int:
    match = _VERSIONED.fullmatch(task_id)
    return int(match["version"]) if match else -1
