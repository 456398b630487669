"""The interface of one game, whatever plays it."""

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


class Outcome(NamedTuple):
    """What one agent step did to one game.

    Attributes:
        observation: where the action led; of an ended episode: its last.
        reward: raw, unclipped.
        terminated: whether the game ended the episode.
        truncated: whether the frame cap ended it.
        lives: that remain.
        frames: emulator frames that the step took.
    """

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
        """Starts the episode of a seed (0 to 2**31 - 1); returns an observation and the lives."""
        ...

    def step(self, action: int) -> Outcome:
        """Takes the action of this index."""
        ...

    def screen(self) -> Image:
        """Returns what a player sees, (rows, columns, 3), RGB."""
        ...
