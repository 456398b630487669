"""The interface of a single game."""

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


class Outcome(NamedTuple):
    """The result of one agent step in one game.

    Attributes:
        observation: observation after the step, which may be the last of the episode.
        reward: unclipped reward.
        terminated: whether the game ended the episode.
        truncated: whether the frame cap or the environment's time limit ended it.
        lives: number of lives left; 0 if the environment does not report any.
        frames: number of emulator frames in the step.
    """

    observation: NDArray[Any]
    reward: float
    terminated: bool
    truncated: bool
    lives: int
    frames: int


class Game(Protocol):
    """A preprocessed game that can show its screen.

    Attributes:
        action_names: names of the actions, by index.
        observation_shape: (stack, height, width) of pictures, or (stack, n) of vectors.
        screens_per_second: rate at which the emulator's frames show the game in real time.
    """

    action_names: tuple[str, ...]
    observation_shape: tuple[int, ...]
    screens_per_second: float

    def reset(self, seed: int) -> tuple[NDArray[Any], int]:
        """Starts an episode from a seed (0 to 2**31 - 1); returns the observation and the lives."""
        ...

    def step(self, action: int) -> Outcome:
        """Executes the action with this index, and returns the outcome."""
        ...

    def screen(self) -> Image:
        """Returns the screen that a player sees, as an RGB image (rows, columns, 3)."""
        ...
