"""What the learner gets."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Batch(NamedTuple):
    """B transitions; observations have their frames last, as convolutions want them.

    Attributes:
        observation: (B, *frame_shape, stack).
        action: what was executed, (B,).
        reward: discounted sum over the 1 to n steps to the next observation, (B,).
        discount: factor of the next observation's value in the target, (B,).
        next_observation: (B, *frame_shape, stack).
        weight: importance weight of the transition's loss, (B,); 1 under uniform sampling.
        indices: of the transitions in the replay memory, (B,), for ``set_priorities``.
    """

    observation: NDArray[Any]
    action: NDArray[np.int32]
    reward: NDArray[np.float32]
    discount: NDArray[np.float32]
    next_observation: NDArray[Any]
    weight: NDArray[np.float32]
    indices: NDArray[np.int64]
