"""Handles Ctrl-C and chooses the backend of Keras, before any large package is imported."""

import os
import signal
import sys
from types import FrameType

COMMAND = "atari-dqn"
INTERRUPTED = 130  # exit code after Ctrl-C: 128 plus the number of the signal


def choose_keras_backend() -> None:
    """Selects TensorFlow as the backend of Keras, unless Keras is already loaded.

    This overrides the user's own choice (``KERAS_BACKEND`` or Keras's configuration file), which
    may be meant for other projects. Call it before TensorFlow is imported, because that loads
    Keras.
    """
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "tensorflow"


def answer_ctrl_c_while_importing() -> None:
    """Makes Ctrl-C end a command of this package with one line while it is still importing.

    At this point there is nothing to clean up. ``cli.command`` installs its own handlers later.
    Other programs that import this package keep their handlers.
    """
    # While Python looks for the module of ``python -m``, the name of the program is "-m".
    program = sys.argv[0].rpartition(os.sep)[2] if sys.argv else ""
    if program not in (COMMAND, "-m"):
        return
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)
