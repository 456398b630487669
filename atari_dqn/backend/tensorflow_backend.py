"""The only import of TensorFlow at module level. It suppresses what TensorFlow prints."""

from atari_dqn.backend.startup import import_tensorflow

import_tensorflow()

import tensorflow as tf  # noqa: E402

__all__ = ["tf"]
