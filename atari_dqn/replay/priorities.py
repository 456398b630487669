"""Prioritized replay, which samples transitions with large TD errors more often."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atari_dqn.config.learning_schema import ReplaySettings
from atari_dqn.replay.sum_tree import SumTree
from atari_dqn.runs.checkpoint import array


class PrioritySchedule(NamedTuple):
    """The values of prioritized replay that change during a run.

    Attributes:
        progress: progress of the exponent beta from its initial value to 1, from 0 to 1.
        share: share of a batch that is sampled by priority, from 0 to 1.
    """

    progress: float
    share: float


def priority_schedule(settings: ReplaySettings, steps: int) -> PrioritySchedule:
    """Returns the values of the schedules after a number of agent steps.

    >>> priority_schedule(ReplaySettings(importance_steps=100, priority_steps=40), 30)
    PrioritySchedule(progress=0.3, share=0.25)
    """
    share = max(1 - steps / settings.priority_steps, 0.0) if settings.priority_steps else 1.0
    return PrioritySchedule(min(steps / settings.importance_steps, 1.0), share)


class Priorities:
    """The priorities of transitions, with proportional sampling.

    Schaul et al. 2016, "Prioritized Experience Replay", section 3.3 and Algorithm 1.

    Args:
        size: number of indices of transitions.
        exponent: the paper's alpha; a transition of priority p is sampled in proportion to
            p ** exponent.
        importance_exponent: initial value of the paper's beta.
    """

    # The paper's epsilon, which lets transitions with a TD error of 0 be sampled again.
    LEAST = 1e-6

    def __init__(self, size: int, exponent: float, importance_exponent: float = 1.0) -> None:
        self.exponent = exponent
        self.importance_exponent = importance_exponent
        self._tree = SumTree(size)
        self._largest = 1.0
        self._count = 0  # number of indices that can be sampled

    def replace(self, removed: NDArray[np.int64], new: NDArray[np.int64]) -> None:
        """Removes transitions, and adds new ones with the largest priority so far.

        Each new transition is therefore likely to be sampled soon.

        Args:
            removed: (G,) indices to remove.
            new: (K,) indices to add. No index may occur twice in ``removed`` and ``new``.
        """
        indices = np.concatenate([removed, new])
        self._count += len(new) - int((self._tree.leaves[indices] > 0).sum())
        leaves = np.zeros(len(indices))
        leaves[len(removed) :] = self._largest**self.exponent
        self._tree.set(indices, leaves)

    def set(self, indices: NDArray[np.int64], td_errors: NDArray[np.floating[Any]]) -> None:
        """Sets the priorities of indices (B,) from TD errors or losses (B,).

        Indices that were removed since they were sampled stay removed. If an index occurs twice,
        its last value counts.
        """
        held = self._tree.leaves[indices] > 0
        priority = np.abs(td_errors[held]).astype(np.float64) + self.LEAST
        self._largest = max(self._largest, float(priority.max(initial=0)))
        self._tree.set(indices[held], priority**self.exponent)

    def sample(
        self, size: int, count: int, progress: float, random: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Returns indices (count, B) and their importance weights (count, B).

        Each row is stratified: the sum of the priorities is divided into B equal parts, and one
        index is sampled from each. An index of probability P among N has the weight (N P) ** -beta,
        divided by the largest weight in its row (section 3.4).

        Args:
            size: B, the number of indices in a row.
            count: number of rows.
            progress: progress of beta from ``importance_exponent`` to 1, from 0 to 1.
            random: random generator, which is advanced by count * B numbers.
        """
        beta = self.importance_exponent + progress * (1 - self.importance_exponent)
        position = (np.arange(size) + random.random((count, size))) * (self._tree.total / size)
        indices = self._tree.find(position.ravel()).reshape(count, size)
        weight = (self._count * self._tree.leaves[indices] / self._tree.total) ** -beta
        return indices, (weight / weight.max(axis=1, keepdims=True)).astype(np.float32)

    def any(self) -> bool:
        """Returns whether any index can be sampled."""
        return self._count > 0

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns the state for ``restore``: the priorities and the largest one so far."""
        return {"priorities": self._tree.leaves.copy(), "largest_priority": np.array(self._largest)}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Restores the state that ``arrays`` returned.

        Raises:
            KeyError: an array is missing.
            ValueError: an array does not fit these priorities.
        """
        priorities = array(arrays, "priorities", (self._tree.size,), np.float64)
        largest = float(array(arrays, "largest_priority", (), np.float64))
        if not (np.isfinite(priorities).all() and (priorities >= 0).all() and np.isfinite(largest)):
            raise ValueError("a priority is negative or not finite")
        self._tree.set_all(priorities)
        self._largest = largest
        self._count = int((priorities > 0).sum())
