"""What the learner gets."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Batch(NamedTuple):
    """B transitions; observations have their frames last, as convolutions want them."""

    observation: NDArray[Any]  # (B, *frame_shape, stack)
    action: NDArray[np.int32]  # (B,)
    reward: NDArray[
        np.float32
    ]  # (B,) discounted sum over the steps to the next observation, 1 to n
    discount: NDArray[np.float32]  # (B,) what the value of the next observation is worth
    next_observation: NDArray[Any]  # (B, *frame_shape, stack)
    weight: NDArray[
        np.float32
    ]  # (B,) of the transition's loss: 1 where all are drawn equally often
    place: NDArray[np.int64]  # (B,) where it is kept, for set_priorities
