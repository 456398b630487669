"""Batches of transitions."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Batch(NamedTuple):
    """A batch of B transitions, with the stack as the last axis for convolutions.

    Attributes:
        observation: (B, *frame_shape, stack) observations.
        action: (B,) actions that were executed.
        reward: (B,) discounted sums of the rewards in the 1 to n steps to the next observation.
        discount: (B,) factors of the next observation's value in the TD target.
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
