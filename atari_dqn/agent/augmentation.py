"""Data augmentation, which changes observations at random before the network learns from them."""

from atari_dqn.backend.tensorflow_backend import tf


def random_shift(frames: tf.Tensor, pixels: int, key: tf.Tensor) -> tf.Tensor:
    """Returns observations that are shifted vertically and horizontally by random distances.

    All frames of a stack shift together, and edge pixels are repeated. Kostrikov et al. 2021,
    "Image Augmentation Is All You Need", section 3.1, with 4 pixels.

    Args:
        frames: (B, height, width, stack) observations of any dtype.
        pixels: largest shift in each direction, in pixels.
        key: (2,) random key.

    >>> frames = tf.reshape(tf.range(4), (1, 2, 2, 1))
    >>> bool(tf.reduce_all(random_shift(frames, 0, tf.constant([1, 2])) == frames))
    True
    """
    batch = tf.shape(frames)[0]
    shift = tf.random.stateless_uniform((2, batch), key, -pixels, pixels + 1, tf.int32)
    for axis in (1, 2):
        size = tf.shape(frames)[axis]
        source = tf.clip_by_value(tf.range(size)[None, :] + shift[axis - 1][:, None], 0, size - 1)
        frames = tf.gather(frames, source, axis=axis, batch_dims=1)
    return frames
