"""The running episodes of training, and the last that ended."""

from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atari_dqn.runs.checkpoint import array


class EpisodeRow(NamedTuple):
    """A finished training episode."""

    episode: int
    steps: int  # agent steps of the whole run when it ended
    score: float
    mean_100: float  # mean score of the last 100 episodes
    length: int  # agent steps
    frames: int  # emulator frames
    environment: int
    seed: int  # that the environment was last given, at the episode's beginning or before


class EpisodeTracker:
    """Adds up the running episodes of N environments and remembers the last 100 that ended."""

    def __init__(self, num_envs: int) -> None:
        self.count = 0
        self.scores: deque[float] = deque(maxlen=100)
        self.lengths: deque[float] = deque(maxlen=100)
        self._score = np.zeros(num_envs)
        self._length = np.zeros(num_envs, np.int64)
        self._frames = np.zeros(num_envs, np.int64)

    def add(
        self,
        steps: int,
        reward: NDArray[np.float32],
        frames: NDArray[np.int64],
        ended: NDArray[np.bool_],
        seed: NDArray[np.int32],
    ) -> list[EpisodeRow]:
        """Adds one step of every environment; returns the episodes that it ended."""
        self._score += reward
        self._length += 1
        self._frames += frames
        rows = []
        for env in np.flatnonzero(ended):
            numbers = float(self._score[env]), int(self._length[env]), int(self._frames[env])
            rows.append(self.ended(steps, *numbers, int(env), int(seed[env])))
            self._score[env] = self._length[env] = self._frames[env] = 0
        return rows

    def ended(
        self, steps: int, score: float, length: int, frames: int, environment: int, seed: int
    ) -> EpisodeRow:
        """Remembers an episode that ended after so many agent steps of the run."""
        self.count += 1
        self.scores.append(score)
        self.lengths.append(length)
        return EpisodeRow(
            self.count, steps, score, self.mean_score, length, frames, environment, seed
        )

    @property
    def mean_score(self) -> float:
        """Mean score of the last 100 episodes, NaN before the first has ended."""
        return float(np.mean(self.scores)) if self.scores else float("nan")

    @property
    def mean_length(self) -> float:
        """Mean length of the last 100 episodes in agent steps, NaN before the first has ended."""
        return float(np.mean(self.lengths)) if self.lengths else float("nan")

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The finished episodes and the sums of the running ones."""
        finished = {
            "count": np.array(self.count),
            "scores": np.array(self.scores),
            "lengths": np.array(self.lengths),
        }
        return finished | {"score": self._score, "length": self._length, "frames": self._frames}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Takes over what ``arrays`` returned.

        Raises:
            KeyError: an array is missing.
            ValueError: an array is none of so many environments.
        """
        self.count = int(array(arrays, "count", (), np.int64))
        self.scores.extend(array(arrays, "scores", (None,), np.float64).tolist())
        # Without an episode NumPy took the empty list for one of floats.
        self.lengths.extend(array(arrays, "lengths", (None,), np.int64).tolist())
        for name in ("score", "length", "frames"):
            mine = getattr(self, f"_{name}")
            mine[...] = array(arrays, name, mine.shape, mine.dtype)
