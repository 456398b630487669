"""The one door to TensorFlow, which prints while it is imported: none of that is seen."""

from atari_dqn.backend.startup import import_tensorflow

import_tensorflow()

import tensorflow as tf  # noqa: E402

__all__ = ["tf"]
