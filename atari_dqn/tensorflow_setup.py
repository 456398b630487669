"""Starting TensorFlow: quietly, with the thread counts of the run, and with operations that add up in a fixed order."""

import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from numpy.typing import NDArray


def resolve_precision(setting: str) -> str:
    """The precision of computation that ``machine.precision`` means here: for "auto", bfloat16 where the processor has it."""
    if setting != "auto":
        return setting
    with suppress(OSError):  # only Linux says so in a file
        if {"amx_bf16", "avx512_bf16"} & set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split()):
            return "bfloat16"
    return "float32"


def start(intra_op_threads: int = 0, inter_op_threads: int = 0) -> None:
    """Imports TensorFlow and sets its thread counts (0: one for each core), before its first operation.

    What it prints while it is imported is held back, because it does so before its own log level counts; it is shown if the
    import fails.
    """
    # What goes wrong in there reaches us as an exception too; the rest is chatter about missing GPUs and slower kernels.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.threading.set_intra_op_parallelism_threads(intra_op_threads)
            tf.config.threading.set_inter_op_parallelism_threads(inter_op_threads)
            tf.config.experimental.enable_op_determinism()
            tf.config.list_logical_devices()
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def as_tensor(array: NDArray[Any]) -> Any:
    """A tensor of an array, which shares its memory where that begins at a multiple of 64 bytes, and must then not change."""
    import tensorflow as tf

    if array.ctypes.data % 64 == 0 and array.flags.c_contiguous:
        return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
    return tf.constant(array)
