"""Frame preprocessing, from the emulator's screen to the observation. It is written to be read.

One agent step with frame skip 4, max-pooling and a stack of 4 (Mnih et al. 2015, Methods):

    emulator frame   1   2   3   4    5   6   7   8    9  10  11  12   13  14  15  16   17 ...
    action           a1  a1  a1  a1   a2  a2  a2  a2   a3  a3  a3  a3   a4  a4  a4  a4   a5 ...
    grayscale                |   |            |   |            |   |            |   |
    max-pool                 max |            max |            max |            max |
    84x84 area                  f1               f2               f3               f4
    observation      0 0 0 f0   0 0 f0 f1        0 f0 f1 f2       f0 f1 f2 f3      f1 f2 f3 f4

``f0`` is the screen after the reset. A stack is initially filled with zeros (black). Without
max-pooling, f1 is frame 4 alone.

The step that ends an episode takes no new screen, as in ale-py's C++ path. Without max-pooling, its
observation repeats the previous frame. The learner does not use this observation after a game over.
"""

import numpy as np

from atari_dqn.backend.opencv import cv2
from atari_dqn.environments.game import Image


def grayscale(rgb: Image) -> Image:
    """Returns the luminance of an RGB image (height, width, 3), rounded to a byte.

    It is 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), as in the emulator's table of gray values.

    >>> grayscale(np.array([[[255, 255, 255], [255, 0, 0]]], np.uint8))
    array([[255,  76]], dtype=uint8)
    """
    luminance = rgb @ np.array([0.299, 0.587, 0.114])
    return np.asarray(np.round(luminance), np.uint8)


def max_pool(newer: Image, older: Image) -> Image:
    """Returns the pixel-wise maximum of two frames.

    It keeps sprites visible that the game draws only in every other frame.

    >>> max_pool(np.array([[3, 0]], np.uint8), np.array([[1, 2]], np.uint8))
    array([[3, 2]], dtype=uint8)
    """
    return np.maximum(newer, older)


def resize(frame: Image, height: int, width: int) -> Image:
    """Returns a frame resized by area averaging (INTER_AREA), or a copy if the size is the same."""
    if frame.shape == (height, width):
        return frame.copy()
    resized = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, dtype=np.uint8)


def push(stack: Image, frame: Image) -> Image:
    """Returns a stack (stack, *frame_shape) with a new frame at the end and without the oldest.

    >>> push(np.array([[[1]], [[2]]], np.uint8), np.array([[3]], np.uint8)).ravel()
    array([2, 3], dtype=uint8)
    """
    return np.concatenate([stack[1:], frame[np.newaxis]])


def whole_steps(frame_cap: int, frame_skip: int) -> int:
    """Returns a frame cap rounded up to whole agent steps.

    The C++ path and ``ReferenceGame`` then truncate an episode after the same step.

    >>> [whole_steps(cap, frame_skip=4) for cap in (3, 8, 10)]
    [4, 8, 12]
    """
    return -(-frame_cap // frame_skip) * frame_skip
