"""Makes arrays that TensorFlow reads without a copy, in the axis order of its convolutions."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from atari_dqn.backend.opencv import cv2

ALIGNMENT = 64  # bytes
PICTURE_AXES = 3  # (stack, height, width)


class FrameStatistics(NamedTuple):
    """Statistics of many frames."""

    mean: NDArray[np.float32]  # (height, width) mean frame
    deviation: float  # standard deviation of all pixels from the mean frame


def frames_last(frames: list[NDArray[Any]], out: NDArray[Any]) -> None:
    """Writes a stack of frames with the stack as the last axis: ``out[..., k] = frames[k]``.

    OpenCV is several times faster at this than NumPy or TensorFlow.

    Args:
        frames: K frames (*frame_shape), the oldest first.
        out: Array (*frame_shape, K) to write to, with the dtype of the frames.

    >>> out = np.empty((1, 2, 3), np.uint8)
    >>> frames_last([np.array([[k, 10 + k]], np.uint8) for k in range(3)], out)
    >>> out.tolist()
    [[[0, 1, 2], [10, 11, 12]]]
    """
    if len(frames) == 1:
        out[...] = frames[0][..., np.newaxis]
    else:
        cv2.merge([frame.reshape(-1, 1) for frame in frames], out.reshape(-1, 1, len(frames)))


def stacks_last(observations: NDArray[Any]) -> NDArray[Any]:
    """Returns stacks (N, stack, *frame_shape) as an aligned array (N, *frame_shape, stack)."""
    count, stack, *frame_shape = observations.shape
    interleaved = aligned_empty((count, *frame_shape, stack), observations.dtype)
    for frames, out in zip(observations, interleaved, strict=True):
        frames_last(list(frames), out)
    return interleaved


def aligned_empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Returns an uninitialized array at an address that is a multiple of 64 bytes.

    TensorFlow can read such an array without a copy.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + ALIGNMENT - 1, np.uint8)
    begin = -memory.ctypes.data % ALIGNMENT
    return memory[begin : begin + size].view(dtype).reshape(shape)


def is_picture(shape: tuple[int, ...]) -> bool:
    """Returns whether observations of a shape are pictures (stack, height, width).

    Otherwise they are vectors (stack, n).
    """
    return len(shape) == PICTURE_AXES


def observation_dtype(shape: tuple[int, ...]) -> type[np.generic]:
    """Returns the dtype of observations: uint8 for pictures, float32 for vectors."""
    return np.uint8 if is_picture(shape) else np.float32


def as_tensor(array: NDArray[Any]) -> Any:
    """Returns an array as a tensor.

    The tensor shares the memory of an array from ``aligned_empty``, which must not change while the
    tensor is in use. Other arrays are copied.
    """
    import tensorflow as tf

    if array.ctypes.data % ALIGNMENT == 0 and array.flags.c_contiguous:
        return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
    return tf.constant(array)
