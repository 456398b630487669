"""The one import of Keras: on TensorFlow and with its own defaults, whatever it was set up for.

Keras takes its backend from the environment variable ``KERAS_BACKEND`` or a file in the user's home
directory, and the type of numbers and the order of a picture's axes from that file, too. Other
projects leave all of these behind. Modules of this package import ``keras`` from here.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from atari_dqn.backend.startup import import_tensorflow
from atari_dqn.errors import UserError


def check_backend(loaded: Any) -> None:
    """Raises a UserError where Keras was loaded on another backend before this package.

    Args:
        loaded: the module that holds Keras's settings; None: it is not loaded.
    """
    if loaded is not None and loaded.backend() != "tensorflow":
        raise UserError(
            f"Keras runs on '{loaded.backend()}' in this process, and atari_dqn needs it on "
            "'tensorflow': import atari_dqn first, or set KERAS_BACKEND=tensorflow"
        )


check_backend(sys.modules.get("keras.src.backend.config"))
import_tensorflow()  # which Keras would import with all that it prints

import keras  # noqa: E402

__all__ = ["keras", "keras_defaults"]


@contextmanager
def keras_defaults(precision: str = "float32") -> Iterator[None]:
    """Context in which Keras has its own defaults, and layers that are made compute in a precision.

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
