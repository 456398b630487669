"""What must be settled before anything large is imported: Ctrl-C, and the backend of Keras."""

import os
import signal
import sys
from types import FrameType

COMMAND = "atari-dqn"
INTERRUPTED = 130  # the exit code of a command that Ctrl-C ended: 128 and the number of the signal


def choose_keras_backend() -> None:
    """Has Keras run on TensorFlow, whatever other projects have set, unless it is loaded already.

    Importing TensorFlow loads Keras, so this comes before that.
    """
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "tensorflow"


def answer_ctrl_c_while_importing() -> None:
    """Ends this process with one line on Ctrl-C, if it was started for a command of this package.

    Nothing has been done yet that would have to be put in order. ``cli.main`` takes over from here.
    In any other process nothing is changed.
    """
    # While Python looks for a module that it is to run with -m, the name of the program is "-m".
    program = sys.argv[0].rpartition(os.sep)[2] if sys.argv else ""
    if program not in (COMMAND, "-m"):
        return
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)
