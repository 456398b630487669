"""Batches of transitions."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Batch(NamedTuple):
    """A batch of B transitions. The stack is the last axis, as convolutions expect it.

    Attributes:
        observation: (B, *frame_shape, stack) observations.
        action: (B,) actions that were executed.
        reward: (B,) n-step rewards: discounted sums of the rewards up to the next observation.
        discount: (B,) factors of the next observation's value in the TD target: gamma^m after m
            steps, or 0 without bootstrapping.
        next_observation: (B, *frame_shape, stack) next observations.
        weight: (B,) importance weights of the losses; 1 for uniform sampling.
        indices: (B,) indices of the transitions in the replay memory, for ``set_priorities``.
    """

    observation: NDArray[Any]
    action: NDArray[np.int32]
    reward: NDArray[np.float32]
    discount: NDArray[np.float32]
    next_observation: NDArray[Any]
    weight: NDArray[np.float32]
    indices: NDArray[np.int64]
