"""Prioritized replay: the larger a transition's TD error, the more often it is sampled."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atari_dqn.config.learning_schema import ReplaySettings
from atari_dqn.replay.sum_tree import SumTree
from atari_dqn.runs.checkpoint import array


class PrioritySchedule(NamedTuple):
    """What changes in prioritized replay while a run goes on.

    Attributes:
        progress: of the weights' exponent beta on its way to 1, 0 to 1.
        share: of a batch that is sampled by priority, 0 to 1.
    """

    progress: float
    share: float


def priority_schedule(settings: ReplaySettings, steps: int) -> PrioritySchedule:
    """Returns how far prioritized replay has come after some agent steps.

    >>> priority_schedule(ReplaySettings(importance_steps=100, priority_steps=40), 30)
    PrioritySchedule(progress=0.3, share=0.25)
    """
    share = max(1 - steps / settings.priority_steps, 0.0) if settings.priority_steps else 1.0
    return PrioritySchedule(min(steps / settings.importance_steps, 1.0), share)


class Priorities:
    """Proportional prioritization of transitions, each with an index.

    Schaul et al. 2016, "Prioritized Experience Replay", section 3.3 and Algorithm 1.

    Args:
        size: number of indices.
        exponent: the paper's alpha; a transition of priority p is sampled in proportion to
            p ** exponent.
        importance_exponent: the paper's beta at first.
    """

    # The paper's epsilon: a transition whose TD error was 0 once is sampled again.
    LEAST = 1e-6

    def __init__(self, size: int, exponent: float, importance_exponent: float = 1.0) -> None:
        self.exponent = exponent
        self.importance_exponent = importance_exponent
        self._tree = SumTree(size)
        self._largest = 1.0
        self._count = 0  # indices that can be sampled

    def replace(self, removed: NDArray[np.int64], new: NDArray[np.int64]) -> None:
        """Removes indices (G,) and adds those of new transitions (K,); all of them different.

        New ones get the largest priority so far, so that each is soon sampled once.
        """
        indices = np.concatenate([removed, new])
        self._count += len(new) - int((self._tree.leaves[indices] > 0).sum())
        leaves = np.zeros(len(indices))
        leaves[len(removed) :] = self._largest**self.exponent
        self._tree.set(indices, leaves)

    def set(self, indices: NDArray[np.int64], td_errors: NDArray[np.floating[Any]]) -> None:
        """Sets priorities by TD errors (B,), or by the losses of distributions.

        Indices (B,) that were removed since they were sampled stay so; of one that is named twice,
        the last counts.
        """
        held = self._tree.leaves[indices] > 0
        priority = np.abs(td_errors[held]).astype(np.float64) + self.LEAST
        self._largest = max(self._largest, float(priority.max(initial=0)))
        self._tree.set(indices[held], priority**self.exponent)

    def sample(
        self, size: int, count: int, progress: float, random: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Returns indices (count, B) and their importance weights (count, B).

        Each row has one index from each of B equal parts of the priorities' sum. The weights are
        (N P) ** -beta, N indices of probability P, divided by the largest in their row: section
        3.4.

        Args:
            size: B.
            count: of rows.
            progress: of beta on its way from ``importance_exponent`` to 1, 0 to 1.
            random: generator, advanced by count * B numbers.
        """
        beta = self.importance_exponent + progress * (1 - self.importance_exponent)
        position = (np.arange(size) + random.random((count, size))) * (self._tree.total / size)
        indices = self._tree.find(position.ravel()).reshape(count, size)
        weight = (self._count * self._tree.leaves[indices] / self._tree.total) ** -beta
        return indices, (weight / weight.max(axis=1, keepdims=True)).astype(np.float32)

    def any(self) -> bool:
        """Returns whether there is an index to sample."""
        return self._count > 0

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns the state, as ``restore`` takes it."""
        return {"priorities": self._tree.leaves.copy(), "largest_priority": np.array(self._largest)}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Takes over what ``arrays`` returned.

        Raises:
            KeyError: an array is missing.
            ValueError: an array does not fit these priorities.
        """
        priorities = array(arrays, "priorities", (self._tree.size,), np.float64)
        largest = float(array(arrays, "largest_priority", (), np.float64))
        if not (np.isfinite(priorities).all() and (priorities >= 0).all() and np.isfinite(largest)):
            raise ValueError("a priority is not a number from 0 on")
        self._tree.set_all(priorities)
        self._largest = largest
        self._count = int((priorities > 0).sum())
