"""Any Gymnasium environment that shows pictures, behind the interface of an Atari game."""

from typing import Any

import gymnasium
import numpy as np

from atari_dqn.errors import UserError
from atari_dqn.games import AS_IT_IS
from atari_dqn.preprocessing import Image, Outcome, grayscale, push, resize
from atari_dqn.settings import EnvironmentSettings


class GymnasiumGame:
    """A registered environment, its pictures made gray, resized and stacked.

    Args:
        name: the id, as registered with Gymnasium. Observations must be bytes, (rows, columns) or (rows, columns, 1 or 3),
            and actions ``Discrete``. ``info["lives"]`` is read where it is given.
        settings: size and stack of the observations; the environment itself is stepped as it is, so frame skip, sticky
            actions, no-ops and FIRE belong into the environment.
        frame_cap: an episode is truncated after so many steps.
        render: whether ``screen`` shows what the environment renders, where it can; otherwise it shows the observations.

    Raises:
        UserError: the environment or the settings are of another kind.
    """

    def __init__(self, name: str, settings: EnvironmentSettings, frame_cap: int, render: bool = False) -> None:
        for setting, value in AS_IT_IS.items():
            if (given := getattr(settings, setting)) != value:
                raise UserError(f"environment.{setting} = {given} is for Atari games; {name} is stepped as it is")
        self._env: Any = gymnasium.make(name)
        if render and "rgb_array" in self._env.metadata.get("render_modes", []):
            self._env.close()
            self._env = gymnasium.make(name, render_mode="rgb_array")
        self.screens_per_second = float(self._env.metadata.get("render_fps", 30))
        observations, actions = self._env.observation_space, self._env.action_space
        shape = observations.shape or ()
        if observations.dtype != np.uint8 or len(shape) not in (2, 3) or shape[2:] not in ((), (1,), (3,)):
            raise UserError(f"{name} shows {observations}; wanted are pictures: bytes, (rows, columns) or (rows, columns, 3)")
        if not isinstance(actions, gymnasium.spaces.Discrete):
            raise UserError(f"{name} takes {actions}; Q-learning chooses among a number of actions: Discrete(n)")
        self._first_action = int(actions.start)
        meanings = getattr(self._env.unwrapped, "get_action_meanings", None)
        self.action_names = tuple(meanings() if meanings else (str(action) for action in range(int(actions.n))))
        self._settings, self._frame_cap = settings, frame_cap

    def reset(self, seed: int) -> tuple[Image, int]:
        """See ``Game``."""
        self._picture, info = self._env.reset(seed=seed)
        self._elapsed = 0
        self._stack = np.zeros((self._settings.stack, self._settings.height, self._settings.width), np.uint8)
        return self._observe(), int(info.get("lives", 0))

    def step(self, action: int) -> Outcome:
        """See ``Game``."""
        self._picture, reward, terminated, truncated, info = self._env.step(self._first_action + action)
        self._elapsed += 1
        truncated = (truncated or self._elapsed >= self._frame_cap) and not terminated
        return Outcome(self._observe(), float(reward), bool(terminated), bool(truncated), int(info.get("lives", 0)), 1)

    def screen(self) -> Image:
        """See ``Game``."""
        picture = self._picture if self._env.render_mode is None else self._env.render()
        picture = picture.reshape(*picture.shape[:2], -1)
        return np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else np.asarray(picture, np.uint8)

    def _observe(self) -> Image:
        picture = self._picture.reshape(*self._picture.shape[:2], -1)
        gray = grayscale(picture) if picture.shape[2] == 3 else picture[:, :, 0]
        self._stack = push(self._stack, resize(gray, self._settings.height, self._settings.width))
        return self._stack
