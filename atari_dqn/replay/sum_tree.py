"""A sum tree, which samples by priority and updates priorities in logarithmic time."""

import numpy as np
from numpy.typing import NDArray


class SumTree:
    """A binary tree over non-negative numbers, in which each node is the sum of its children.

    Every node is computed as left + right, and never updated by a difference. A tree that is
    rebuilt from its leaves is therefore identical to the last bit. Schaul et al. 2016, "Prioritized
    Experience Replay", appendix B.2.1.

    >>> tree = SumTree(4)
    >>> tree.set(np.array([0, 2]), np.array([1.0, 3.0]))
    >>> tree.total, tree.find(np.array([0.5, 1.0, 3.9])).tolist()
    (4.0, [0, 2, 2])

    Args:
        size: number of leaves. They are initially 0.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._leaves = 1 << max(size - 1, 0).bit_length()
        self._levels = self._leaves.bit_length() - 1  # number of levels above the leaves
        # Node k has the children 2 k and 2 k + 1; the root is 1.
        self._nodes = np.zeros(2 * self._leaves, np.float64)
        self._children = self._nodes.reshape(-1, 2)

    @property
    def total(self) -> float:
        """The sum of all leaves."""
        return float(self._nodes[1])

    @property
    def leaves(self) -> NDArray[np.float64]:
        """All leaves (size,), which must not be modified."""
        return self._nodes[self._leaves : self._leaves + self.size]

    def set(self, index: NDArray[np.int64], value: NDArray[np.float64] | float) -> None:
        """Sets the leaves at indices (K,) to values (K,).

        If an index occurs twice, its last value counts.
        """
        nodes = index + self._leaves
        self._nodes[nodes] = value
        for _ in range(self._levels):
            nodes >>= 1
            children = self._children.take(nodes, axis=0)
            self._nodes[nodes] = children[:, 0] + children[:, 1]

    def set_all(self, values: NDArray[np.float64]) -> None:
        """Sets all leaves to values (size,)."""
        self._nodes[self._leaves : self._leaves + self.size] = values
        level = self._leaves // 2
        while level:
            children = self._nodes[2 * level : 4 * level]
            self._nodes[level : 2 * level] = children[0::2] + children[1::2]
            level //= 2

    def find(self, position: NDArray[np.float64]) -> NDArray[np.int64]:
        """Returns the indices (K,) of the leaves at positions (K,), where 0 <= position < total.

        Each leaf covers an interval whose length is its value. A leaf of 0 is found only if all
        leaves are 0.
        """
        position = position.copy()
        nodes = np.ones(len(position), np.int64)
        for _ in range(self._levels):
            children = self._children.take(nodes, axis=0)
            left = children[:, 0]
            # Because of rounding, a position may be slightly beyond the sum of all positive leaves.
            goes_right = (position >= left) & (children[:, 1] > 0)
            position -= left * goes_right
            nodes += nodes + goes_right
        return nodes - self._leaves
