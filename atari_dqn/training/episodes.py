"""Statistics of training episodes: those in progress, and the last 100 that ended."""

from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atari_dqn.runs.checkpoint import array

# Scores and lengths are means over this many finished episodes.
WINDOW = 100


class FinishedEpisode(NamedTuple):
    """An episode that ended."""

    score: float  # sum of raw rewards
    length: int  # agent steps
    frames: int  # emulator frames
    environment: int  # index of the environment
    seed: int  # the environment's most recent seed, set when this or an earlier episode began


class EpisodeRow(NamedTuple):
    """A row of ``episodes.csv``: one finished training episode."""

    episode: int  # from 1
    steps: int  # agent steps of the whole run when it ended
    score: float  # sum of raw rewards
    mean_100: float  # mean score of the last 100 episodes
    length: int  # agent steps
    frames: int  # emulator frames
    environment: int  # index of the environment
    seed: int  # the environment's most recent seed, set when this or an earlier episode began


class EpisodeTracker:
    """The statistics of the episodes in progress in N environments, and of finished episodes.

    Args:
        num_envs: N, the number of environments.

    Attributes:
        count: number of finished episodes.
        scores: scores of the last 100 finished episodes.
        lengths: lengths of the last 100 finished episodes, in agent steps.
    """

    def __init__(self, num_envs: int) -> None:
        self.count = 0
        self.scores: deque[float] = deque(maxlen=WINDOW)
        self.lengths: deque[float] = deque(maxlen=WINDOW)
        self._score = np.zeros(num_envs)
        self._length = np.zeros(num_envs, np.int64)
        self._frames = np.zeros(num_envs, np.int64)

    def add(
        self,
        reward: NDArray[np.float32],
        frames: NDArray[np.int64],
        ended: NDArray[np.bool_],
        seed: NDArray[np.int32],
    ) -> list[FinishedEpisode]:
        """Adds one step of every environment, and returns the episodes that it ended.

        Args:
            reward: (N,) Rewards before clipping.
            frames: (N,) Emulator frames of the step.
            ended: (N,) Whether the episode ended.
            seed: (N,) The environments' most recent seeds.
        """
        self._score += reward
        self._length += 1
        self._frames += frames
        finished = []
        for env in np.flatnonzero(ended):
            episode = FinishedEpisode(
                score=float(self._score[env]),
                length=int(self._length[env]),
                frames=int(self._frames[env]),
                environment=int(env),
                seed=int(seed[env]),
            )
            finished.append(episode)
            self._score[env] = 0
            self._length[env] = 0
            self._frames[env] = 0
        return finished

    def finish(self, steps: int, episode: FinishedEpisode) -> EpisodeRow:
        """Counts a finished episode, and returns its row of ``episodes.csv``.

        Args:
            steps: Agent steps of the run when the episode ended.
            episode: The finished episode.
        """
        self.count += 1
        self.scores.append(episode.score)
        self.lengths.append(episode.length)
        return EpisodeRow(
            episode=self.count,
            steps=steps,
            score=episode.score,
            mean_100=self.mean_score,
            length=episode.length,
            frames=episode.frames,
            environment=episode.environment,
            seed=episode.seed,
        )

    @property
    def mean_score(self) -> float:
        """Mean score of the last 100 episodes; NaN before the first one has ended."""
        return float(np.mean(self.scores)) if self.scores else float("nan")

    @property
    def mean_length(self) -> float:
        """Mean length of the last 100 episodes in agent steps; NaN before the first has ended."""
        return float(np.mean(self.lengths)) if self.lengths else float("nan")

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns the state for ``restore``."""
        return {
            "count": np.array(self.count),
            "scores": np.array(self.scores),
            "lengths": np.array(self.lengths),
            "score": self._score,
            "length": self._length,
            "frames": self._frames,
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Restores the state that ``arrays`` returned.

        Raises:
            KeyError: An array is missing.
            ValueError: An array is for a different number of environments.
        """
        self.count = int(array(arrays, "count", (), np.int64))
        self.scores.extend(array(arrays, "scores", (None,), np.float64).tolist())
        # NumPy stores an empty list as float64. ``array`` accepts an empty array of any dtype.
        self.lengths.extend(array(arrays, "lengths", (None,), np.int64).tolist())
        for name in ("score", "length", "frames"):
            running = getattr(self, f"_{name}")
            running[...] = array(arrays, name, running.shape, running.dtype)
