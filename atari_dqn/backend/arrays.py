"""Arrays that TensorFlow can read without copying them, and frames in the order of its
convolutions.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from atari_dqn.backend.opencv import cv2


def frames_last(frames: list[NDArray[Any]], out: NDArray[Any]) -> None:
    """Interleaves a stack of frames as convolutions want them: ``out[..., k] = frames[k]``.

    OpenCV does it several times as fast as NumPy or TensorFlow.

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
    """Interleaves stacks (N, stack, *frame_shape) to (N, *frame_shape, stack)."""
    interleaved = aligned_empty(
        (len(observations), *observations.shape[2:], observations.shape[1]), observations.dtype
    )
    for frames, out in zip(observations, interleaved, strict=True):
        frames_last(list(frames), out)
    return interleaved


def aligned_empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array whose memory begins at a multiple of 64 bytes, where TensorFlow can read it without
    copying it first.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + 63, np.uint8)
    begin = -memory.ctypes.data % 64
    return memory[begin : begin + size].view(dtype).reshape(shape)


def observation_dtype(shape: tuple[int, ...]) -> type[np.generic]:
    """Of the numbers in an observation: bytes of pictures (stack, height, width), float32 of
    vectors (stack, n).
    """
    return np.uint8 if len(shape) == 3 else np.float32


def as_tensor(array: NDArray[Any]) -> Any:
    """A tensor of an array, which shares its memory where that begins at a multiple of 64 bytes,
    and must then not change.
    """
    import tensorflow as tf

    if array.ctypes.data % 64 == 0 and array.flags.c_contiguous:
        return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
    return tf.constant(array)
