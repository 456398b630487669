"""Prioritized replay: transitions are drawn the more often, the more they surprised."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atari_dqn.config.learning_schema import ReplaySettings
from atari_dqn.replay.sum_tree import SumTree
from atari_dqn.runs.checkpoint import array


def priority_schedule(settings: ReplaySettings, steps: int) -> tuple[float, float]:
    """After so many agent steps: of the weights' exponent on its way to 1, and of a batch that goes
    by priorities, 0 to 1 each.

    >>> priority_schedule(ReplaySettings(importance_steps=100, priority_steps=40), 30)
    (0.3, 0.25)
    """
    share = max(1 - steps / settings.priority_steps, 0.0) if settings.priority_steps else 1.0
    return min(steps / settings.importance_steps, 1.0), share


class Priorities:
    """Proportional prioritization: Schaul et al. 2016, "Prioritized Experience Replay", section 3.3
    and Algorithm 1.

    Args:
        size: places for transitions.
        exponent: the paper's alpha; a place of priority p is drawn in proportion to p ** exponent.
        importance_exponent: the paper's beta at first.
    """

    # The paper's epsilon, so that what once held no surprise is drawn again.
    LEAST = 1e-6

    def __init__(self, size: int, exponent: float, importance_exponent: float = 1.0) -> None:
        self.exponent, self.importance_exponent = exponent, importance_exponent
        self._tree = SumTree(size)
        self._largest = 1.0
        self._count = 0  # places that can be drawn

    def replace(self, gone: NDArray[np.int64], new: NDArray[np.int64]) -> None:
        """Places (G,) that must not be drawn any more, and (K,) of new transitions; all of them
        different.

        New ones get the largest priority so far, so that each is soon seen once.
        """
        place = np.concatenate([gone, new])
        self._count += len(new) - int((self._tree.leaves[place] > 0).sum())
        self._tree.set(place, np.repeat([0.0, self._largest**self.exponent], [len(gone), len(new)]))

    def set(self, place: NDArray[np.int64], surprise: NDArray[np.floating[Any]]) -> None:
        """What transitions (B,) turned out to be worth: absolute TD errors, or losses of
        distributions.

        Those that have gone since they were drawn stay so; of one that is named twice, the last
        counts.
        """
        held = self._tree.leaves[place] > 0
        place, surprise = place[held], surprise[held]
        priority = np.abs(surprise).astype(np.float64) + self.LEAST
        self._largest = max(self._largest, float(priority.max(initial=0)))
        self._tree.set(place, priority**self.exponent)

    def draw(
        self, size: int, count: int, progress: float, random: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Places (count, B), in each row one from each of B equal parts of the priorities' sum, and
        their weights (count, B).

        The weights are (N P) ** -beta, N places of probability P, divided by the largest in their
        row: section 3.4.

        Args:
            size: B.
            count: of rows.
            progress: of beta on its way from ``importance_exponent`` to 1, 0 to 1.
            random: generator, advanced by count * B draws.
        """
        beta = self.importance_exponent + progress * (1 - self.importance_exponent)
        position = (np.arange(size) + random.random((count, size))) * (self._tree.total / size)
        place = self._tree.find(position.ravel()).reshape(count, size)
        weight = (self._count * self._tree.leaves[place] / self._tree.total) ** -beta
        return place, (weight / weight.max(axis=1, keepdims=True)).astype(np.float32)

    def any(self) -> bool:
        """Whether there is a place to draw."""
        return self._count > 0

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that there is to know."""
        return {"priorities": self._tree.leaves.copy(), "largest_priority": np.array(self._largest)}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Takes over what ``arrays`` returned.

        Raises:
            KeyError: an array is missing.
            ValueError: an array is none of these priorities.
        """
        priorities = array(arrays, "priorities", (self._tree.size,), np.float64)
        largest = float(array(arrays, "largest_priority", (), np.float64))
        if not (np.isfinite(priorities).all() and (priorities >= 0).all() and np.isfinite(largest)):
            raise ValueError("a priority is no number from 0 on")
        self._tree.set_all(priorities)
        self._largest = largest
        self._count = int((priorities > 0).sum())
