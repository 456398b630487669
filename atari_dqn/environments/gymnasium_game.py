"""Gymnasium environments with discrete actions, behind the interface of a game."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from atari_dqn.backend.arrays import is_picture, observation_dtype
from atari_dqn.config.schema import EnvironmentSettings
from atari_dqn.environments import rendered
from atari_dqn.environments.game import Image, Outcome
from atari_dqn.environments.preprocessing import grayscale, push, resize
from atari_dqn.errors import UserError, describe_failure
from atari_dqn.games import gymnasium_tasks
from atari_dqn.games.ids import AS_IT_IS

# Recorded episodes store an action in one byte.
MOST_ACTIONS = 256
USUAL_SCREENS_PER_SECOND = 30.0
LARGEST_REWARD = float(np.finfo(np.float32).max)
LARGEST_BYTE = 255
RGB_CHANNELS = 3


class GymnasiumGame:
    """A Gymnasium environment whose observations are stacks of gray pictures or of vectors.

    Observations must be pictures of bytes, (rows, columns) or (rows, columns, 1 or 3), or belong to
    a space that Gymnasium can flatten to a vector. The action space must be ``Discrete``. The
    number of lives is read from ``info["lives"]`` if present.

    Args:
        name: id registered with Gymnasium.
        settings: environment settings, of which the observations' size and stack, their optional
            rescaling and time feature, and the keyword arguments apply. Frame skip, sticky actions,
            no-ops and FIRE must be turned off.
        frame_cap: number of steps after which an episode is truncated.
        render: whether ``screen`` returns what the environment renders, if it can render.
            Otherwise ``screen`` returns the observation, with a bar for each number of a vector.
        index: index of this copy in error messages.

    Raises:
        UserError: the environment or a setting is not supported.
    """

    def __init__(
        self,
        name: str,
        settings: EnvironmentSettings,
        frame_cap: int,
        render: bool = False,
        index: int = 0,
    ) -> None:
        for setting, value in AS_IT_IS.items():
            if (requested := getattr(settings, setting)) != value:
                reason = f"is only for Atari games; {name} is stepped without changes"
                raise UserError(f"environment.{setting} = {requested} {reason}")
        self._name = name
        self._index = index
        self._env: Any = gymnasium_tasks.make(name, settings.kwargs)
        if render and "rgb_array" in (_metadata(self._env).get("render_modes") or ()):
            gymnasium_tasks.close(self._env)
            self._env = gymnasium_tasks.make(name, settings.kwargs, render=True)
        self._renders = self._env.render_mode is not None
        self.screens_per_second = _screens_per_second(self._env)
        actions = gymnasium_tasks.action_space(self._env, name)
        if not isinstance(actions, gymnasium.spaces.Discrete):
            raise UserError(
                f"{name} takes {actions}; Q-learning needs a fixed set of actions: Discrete(n)"
            )
        if actions.n > MOST_ACTIONS:
            raise UserError(f"{name} has {actions.n} actions; at most {MOST_ACTIONS} are supported")
        self._first_action = int(actions.start)
        self.action_names = _action_names(self._env, int(actions.n))
        self._settings = settings
        self._frame_cap = frame_cap
        self._see, shape = self._make_observer(name)
        self.observation_shape = (settings.stack, *shape)

    def _make_observer(self, name: str) -> tuple[Callable[[Any], NDArray[Any]], tuple[int, ...]]:
        """Returns a function that maps a raw observation to a frame or vector, and its shape."""
        space = gymnasium_tasks.observation_space(self._env, name)
        if gymnasium_tasks.shows_pictures(space):
            for setting in ("time_feature", "rescale"):
                if getattr(self._settings, setting):
                    raise UserError(
                        f"environment.{setting} = true is only for vectors; {name} shows pictures"
                    )
            return self._see_picture, (self._settings.height, self._settings.width)
        if not gymnasium_tasks.is_vector(space):
            expected = "a vector, or a picture of bytes, (rows, columns) or (rows, columns, 3)"
            raise UserError(f"{name} shows {space}; expected {expected}")
        if self._settings.time_feature:
            self._add_time_feature(name)
        size = gymnasium.spaces.flatdim(self._env.observation_space)
        if size == 0:
            raise UserError(f"{name} shows {space}, which has no numbers to learn from")
        return self._make_vector_observer(size), (size,)

    def _add_time_feature(self, name: str) -> None:
        if self._env.spec.max_episode_steps is None:
            raise UserError(
                f"environment.time_feature = true: the episodes of {name} have no time limit"
            )
        self._env = gymnasium.wrappers.TimeAwareObservation(
            self._env, flatten=True, normalize_time=True
        )

    def _make_vector_observer(self, size: int) -> Callable[[Any], NDArray[np.float32]]:
        """Returns a function that maps a raw observation to a vector (size,)."""
        space: Any = self._env.observation_space
        middle: Any = np.float32(0)
        half: Any = np.float32(1)
        if self._settings.rescale:
            middle, half = gymnasium_tasks.bounds(space)

        def see(observed: Any) -> NDArray[np.float32]:
            numbers: Any = gymnasium.spaces.flatten(space, observed)
            if numbers.shape != (size,):
                raise self._fault(
                    f"the observation has {numbers.size} numbers; its space has {size}"
                )
            vector = np.asarray((numbers - middle) / half, np.float32)
            if not np.isfinite(vector).all():
                raise self._fault("the observation contains NaN or an infinite number")
            return vector

        return see

    def reset(self, seed: int) -> tuple[NDArray[Any], int]:
        """See ``Game``."""
        self._elapsed = 0
        try:
            self._observed, info = self._env.reset(seed=seed)
            dtype = observation_dtype(self.observation_shape)
            self._stack = np.zeros(self.observation_shape, dtype)
            self._screens = rendered.Screens()
            return self._observe(), _lives(info)
        except UserError:
            raise
        except (Exception, SystemExit) as error:  # custom environments may raise anything
            raise self._fault(describe_failure(error)) from error

    def step(self, action: int) -> Outcome:
        """See ``Game``."""
        self._elapsed += 1
        try:
            return self._step(action)
        except UserError:
            raise
        except (Exception, SystemExit) as error:  # custom environments may raise anything
            raise self._fault(describe_failure(error)) from error

    def _step(self, action: int) -> Outcome:
        step = self._env.step(self._first_action + action)
        self._observed, reward, terminated, truncated, info = step
        reward = float(reward if isinstance(reward, float) else np.asarray(reward).item())
        if not abs(reward) <= LARGEST_REWARD:
            raise self._fault(
                f"the reward is {reward}; expected a number that float32 can represent"
            )
        truncated = (truncated or self._elapsed >= self._frame_cap) and not terminated
        return Outcome(self._observe(), reward, bool(terminated), bool(truncated), _lives(info), 1)

    def screen(self) -> Image:
        """See ``Game``."""
        picture = self._render() if self._renders else None
        if picture is None and is_picture(self.observation_shape):
            picture = self._picture
        if picture is None:
            picture = bars(self._stack[-1])
        return self._screens.of_one_size(picture)

    def _render(self) -> Image | None:
        try:
            picture = self._env.render()
        except (Exception, SystemExit):  # the episode can still be shown by its observations
            self._renders = False
            return None
        return self._screens.as_rgb(picture)

    def _observe(self) -> NDArray[Any]:
        self._stack = push(self._stack, self._see(self._observed))
        return self._stack

    def _see_picture(self, observed: Any) -> Image:
        self._picture = self._as_bytes(np.asarray(observed))
        is_rgb = self._picture.shape[2] == RGB_CHANNELS
        gray = grayscale(self._picture) if is_rgb else self._picture[:, :, 0]
        return resize(gray, self._settings.height, self._settings.width)

    def _as_bytes(self, observed: NDArray[Any]) -> Image:
        """Returns a raw picture as bytes (rows, columns, 1 or 3), after checking it."""
        shape = observed.shape
        if observed.ndim not in (2, 3) or shape[2:] not in ((), (1,), (3,)) or not observed.size:
            promised = f"its space has {self._env.observation_space.shape}"
            raise self._fault(f"the observation has shape {shape}; {promised}")
        picture = observed.reshape(*shape[:2], -1)
        if observed.dtype == np.uint8:
            return picture
        if observed.dtype.kind not in "biuf":
            kind = f"of type {observed.dtype}"
            raise self._fault(f"the observation is {kind}; expected bytes 0..255")
        promised = "its space promises bytes 0..255"
        low = float(observed.min())
        high = float(observed.max())
        if not (low >= 0 and high <= LARGEST_BYTE):  # this also catches NaN
            numbers = f"numbers from {low:g} to {high:g}"
            raise self._fault(f"the observation contains {numbers}; {promised}")
        if observed.dtype.kind == "f":
            rounded = np.rint(picture)
            if high <= 1 and (rounded != picture).any():
                raise self._fault(f"the observation contains fractions from 0 to 1; {promised}")
            picture = rounded
        return picture.astype(np.uint8)

    def _fault(self, what: str) -> UserError:
        return UserError(
            f"{self._name}, environment {self._index}, step {self._elapsed} of its episode: {what}"
        )


def _metadata(env: Any) -> Mapping[str, Any]:
    metadata = env.metadata
    return metadata if isinstance(metadata, Mapping) else {}


def _screens_per_second(env: Any) -> float:
    """Returns the frame rate from an environment's metadata, or 30 if that is invalid."""
    try:
        rate = float(_metadata(env).get("render_fps"))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return USUAL_SCREENS_PER_SECOND
    return rate if math.isfinite(rate) and rate > 0 else USUAL_SCREENS_PER_SECOND


def _action_names(env: Any, count: int) -> tuple[str, ...]:
    """Returns the environment's names of its actions, or numbers if the names do not fit.

    A wrapper that removes actions may still return all names, and a custom environment may return
    anything.
    """
    numbers = tuple(str(action) for action in range(count))
    try:
        meanings = env.get_wrapper_attr("get_action_meanings")()
    except Exception:  # AttributeError without names; custom environments may raise anything
        return numbers
    if not isinstance(meanings, list | tuple | np.ndarray):
        return numbers
    names = tuple(str(name) for name in meanings)
    printable = all(name.isprintable() and name for name in names)
    return names if printable and len(names) == len(set(names)) == count else numbers


def _lives(info: Any) -> int:
    """Returns the number of lives left from an environment's info, or 0 if it has none."""
    if not isinstance(info, Mapping):
        return 0
    try:
        return int(info.get("lives") or 0)
    except (TypeError, ValueError):
        return 0


def bars(vector: NDArray[np.float32]) -> Image:
    """Returns a picture (32, 16 n) that shows each number of a vector (n,) as a gray bar.

    A bar is black for large negative numbers and white for large positive ones.

    >>> bars(np.array([-9.0, 0.0, 9.0], np.float32))[0, ::16].tolist()
    [0, 127, 255]
    """
    brightness = (127.5 * (1 + np.tanh(vector))).astype(np.uint8)
    return np.tile(brightness.repeat(16), (32, 1))
