"""Imports TensorFlow without its output; no other module imports it at the top level."""

from atari_dqn.backend.startup import import_tensorflow

import_tensorflow()

import tensorflow as tf  # noqa: E402

__all__ = ["tf"]
