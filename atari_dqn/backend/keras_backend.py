"""Imports Keras on TensorFlow and with Keras's own defaults; no other module imports it directly.

Keras reads its backend from the environment variable ``KERAS_BACKEND`` or from a file in the user's
home directory. That file also sets the default dtype and the order of an image's axes. Other
projects may have changed them, so all modules of this package import ``keras`` from here.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from atari_dqn.backend.startup import import_tensorflow
from atari_dqn.errors import UserError


def check_backend(loaded: Any) -> None:
    """Raises a UserError if Keras was loaded on another backend before this package.

    Args:
        loaded: The module with Keras's settings, or None if Keras is not loaded.
    """
    if loaded is not None and loaded.backend() != "tensorflow":
        raise UserError(
            f"Keras runs on '{loaded.backend()}' in this process, but atari_dqn needs "
            "'tensorflow': import atari_dqn first, or set KERAS_BACKEND=tensorflow"
        )


check_backend(sys.modules.get("keras.src.backend.config"))
import_tensorflow()  # imported here first, because Keras would not suppress its output

import keras  # noqa: E402

__all__ = ["keras", "keras_defaults"]


@contextmanager
def keras_defaults(precision: str = "float32") -> Iterator[None]:
    """Context in which Keras has its own defaults, and new layers compute in a given precision.

    Args:
        precision: "float32" or "bfloat16".
    """
    number_type = keras.config.floatx()
    data_format = keras.config.image_data_format()
    epsilon = keras.config.epsilon()
    policy = keras.config.dtype_policy()
    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")
    keras.config.set_epsilon(1e-7)
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_floatx(number_type)
        keras.config.set_image_data_format(data_format)
        keras.config.set_epsilon(epsilon)
        keras.config.set_dtype_policy(policy)
