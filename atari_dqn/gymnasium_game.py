"""Any Gymnasium environment with a number of actions, behind the interface of an Atari game."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from atari_dqn import tasks
from atari_dqn.errors import UserError
from atari_dqn.games import AS_IT_IS
from atari_dqn.preprocessing import Image, Outcome, grayscale, observation_dtype, push, resize
from atari_dqn.settings import EnvironmentSettings


class GymnasiumGame:
    """A registered environment: its pictures made gray and resized, or its numbers in a row; both stacked.

    Args:
        name: the id, as registered with Gymnasium. Observations must be bytes, (rows, columns) or (rows, columns, 1 or 3), or
            of a space that Gymnasium can write as numbers in a row, and actions ``Discrete``. ``info["lives"]`` is read
            where it is given.
        settings: size and stack of the observations, and the environment's keyword arguments. The environment itself is
            stepped as it is, so frame skip, sticky actions, no-ops and FIRE belong into it.
        frame_cap: an episode is truncated after so many steps.
        render: whether ``screen`` shows what the environment renders, where it can; otherwise it shows what is observed, a
            vector as a bar for each number.

    Raises:
        UserError: the environment or the settings are of another kind.
    """

    def __init__(self, name: str, settings: EnvironmentSettings, frame_cap: int, render: bool = False) -> None:
        for setting, value in AS_IT_IS.items():
            if (given := getattr(settings, setting)) != value:
                raise UserError(f"environment.{setting} = {given} is for Atari games; {name} is stepped as it is")
        self._env: Any = tasks.make(name, settings.kwargs)
        if render and "rgb_array" in self._env.metadata.get("render_modes", []):
            self._env.close()
            self._env = tasks.make(name, settings.kwargs, render_mode="rgb_array")
        self.screens_per_second = float(self._env.metadata.get("render_fps", 30))
        actions = self._env.action_space
        if not isinstance(actions, gymnasium.spaces.Discrete):
            raise UserError(f"{name} takes {actions}; Q-learning chooses among a number of actions: Discrete(n)")
        self._first_action = int(actions.start)
        meanings = getattr(self._env.unwrapped, "get_action_meanings", None)
        self.action_names = tuple(meanings() if meanings else (str(action) for action in range(int(actions.n))))
        self._settings, self._frame_cap = settings, frame_cap
        self._see, shape = self._observing(name)
        self.observation_shape = (settings.stack, *shape)

    def _observing(self, name: str) -> tuple[Callable[[Any], NDArray[Any]], tuple[int, ...]]:
        """How the newest part of an observation is made of what the environment shows, and its shape."""
        shown, settings = self._env.observation_space, self._settings
        if tasks.shows_pictures(shown):
            for setting in ("time_feature", "rescale"):
                if getattr(settings, setting):
                    raise UserError(f"environment.{setting} = true is for vectors; {name} shows pictures")
            return self._picture, (settings.height, settings.width)
        if not tasks.is_vector(shown):
            wanted = "numbers in a row, or pictures: bytes, (rows, columns) or (rows, columns, 3)"
            raise UserError(f"{name} shows {shown}; wanted are {wanted}")
        if settings.time_feature:
            if self._env.spec.max_episode_steps is None:
                raise UserError(f"environment.time_feature = true: the episodes of {name} have no limit")
            self._env = gymnasium.wrappers.TimeAwareObservation(self._env, flatten=True, normalize_time=True)
        space: Any = self._env.observation_space
        middle, half = tasks.bounds(space) if settings.rescale else (np.float32(0), np.float32(1))

        def see(shown: Any) -> NDArray[np.float32]:
            numbers: Any = gymnasium.spaces.flatten(space, shown)
            return np.asarray((numbers - middle) / half, np.float32)

        return see, (gymnasium.spaces.flatdim(space),)

    def reset(self, seed: int) -> tuple[NDArray[Any], int]:
        """See ``Game``."""
        self._shown, info = self._env.reset(seed=seed)
        self._elapsed = 0
        self._stack = np.zeros(self.observation_shape, observation_dtype(self.observation_shape))
        return self._observe(), int(info.get("lives", 0))

    def step(self, action: int) -> Outcome:
        """See ``Game``."""
        self._shown, reward, terminated, truncated, info = self._env.step(self._first_action + action)
        self._elapsed += 1
        truncated = (truncated or self._elapsed >= self._frame_cap) and not terminated
        return Outcome(self._observe(), float(reward), bool(terminated), bool(truncated), int(info.get("lives", 0)), 1)

    def screen(self) -> Image:
        """See ``Game``."""
        if self._env.render_mode is not None:
            picture = self._env.render()
        else:
            picture = self._shown if len(self.observation_shape) == 3 else bars(self._stack[-1])
        picture = picture.reshape(*picture.shape[:2], -1)
        return np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else np.asarray(picture, np.uint8)

    def _observe(self) -> NDArray[Any]:
        self._stack = push(self._stack, self._see(self._shown))
        return self._stack

    def _picture(self, shown: Image) -> Image:
        picture = shown.reshape(*shown.shape[:2], -1)
        gray = grayscale(picture) if picture.shape[2] == 3 else picture[:, :, 0]
        return resize(gray, self._settings.height, self._settings.width)


def bars(vector: NDArray[np.float32]) -> Image:
    """A vector (n,) as a picture (32, 16 n) of bars, the brighter the larger its number: black far below 0, white far above.

    >>> bars(np.array([-9.0, 0.0, 9.0], np.float32))[0, ::16].tolist()
    [0, 127, 255]
    """
    brightness = (127.5 * (1 + np.tanh(vector))).astype(np.uint8)
    return np.tile(brightness.repeat(16), (32, 1))
