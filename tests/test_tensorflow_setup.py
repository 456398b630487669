import numpy as np
import pytest
import tensorflow as tf

from atari_dqn.preprocessing import aligned_empty
from atari_dqn.tensorflow_setup import as_tensor


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int32])
def test_a_tensor_shares_memory_that_is_aligned(dtype: type) -> None:
    array = aligned_empty((3, 5), dtype)
    array[...] = 1
    tensor = as_tensor(array)
    array[1, 2] = 7
    assert tensor.dtype == dtype
    assert tensor[1, 2] == 7


@pytest.mark.parametrize("offset", [1, 4, 16, 32])
def test_a_tensor_copies_memory_that_is_not_aligned(offset: int) -> None:
    array = aligned_empty((200,), np.uint8)[offset : offset + 100]
    array[...] = 1
    tensor = as_tensor(array)
    array[...] = 7
    assert int(tf.reduce_sum(tf.cast(tensor, tf.int32))) == 100


def test_a_tensor_copies_what_is_not_contiguous() -> None:
    array = aligned_empty((8, 64), np.uint8)
    array[...] = np.arange(64)
    np.testing.assert_array_equal(as_tensor(array[:, :32]), array[:, :32])
    np.testing.assert_array_equal(as_tensor(array.T), array.T)
