"""The interface of one game, whatever plays it."""

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


class Outcome(NamedTuple):
    """What one agent step did to one game."""

    observation: NDArray[Any]
    reward: float
    terminated: bool
    truncated: bool
    lives: int
    frames: int


class Game(Protocol):
    """One game, preprocessed, that can show its screen."""

    action_names: tuple[str, ...]
    observation_shape: tuple[int, ...]  # (stack, height, width), or of vectors (stack, n)
    screens_per_second: float  # of game time, if every frame is shown

    def reset(self, seed: int) -> tuple[NDArray[Any], int]:
        """Starts the episode of this seed (0 to 2**31 - 1); returns an observation and the number
        of lives.
        """
        ...

    def step(self, action: int) -> Outcome:
        """Takes the action of this index."""
        ...

    def screen(self) -> Image:
        """What a player sees, (rows, columns, 3), RGB."""
        ...
