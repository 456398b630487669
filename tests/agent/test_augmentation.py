"""Tests the random shifts of images."""

import numpy as np
import tensorflow as tf

from atari_dqn.agent.augmentation import random_shift


def test_a_shifted_image_is_a_window_of_the_edge_padded_image() -> None:
    frames = np.random.default_rng(0).integers(256, size=(200, 7, 9, 2), dtype=np.uint8)
    shifted = random_shift(tf.constant(frames), 2, tf.constant([1, 2])).numpy()
    assert shifted.dtype == np.uint8
    padded = np.pad(frames, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    found = []
    for index, picture in enumerate(shifted):
        windows = {(y, x): padded[index, y : y + 7, x : x + 9] for y in range(5) for x in range(5)}
        found.append(
            [offset for offset, window in windows.items() if np.array_equal(window, picture)]
        )
    assert all(len(offsets) == 1 for offsets in found)
    assert {offsets[0] for offsets in found} == {(y, x) for y in range(5) for x in range(5)}, (
        "every offset occurs"
    )


def test_the_same_key_gives_the_same_shifts() -> None:
    frames = tf.constant(np.random.default_rng(0).integers(256, size=(9, 8, 8, 1), dtype=np.uint8))
    one, same, other = (random_shift(frames, 3, tf.constant([5, key])).numpy() for key in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
