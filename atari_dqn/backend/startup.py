"""Starting TensorFlow: quietly, with the run's thread counts, and deterministically."""

import ctypes
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# Of NVIDIA's driver on Linux, in a container that hides the first, and under WSL 2.
GPU_DRIVERS = [Path("/proc/driver/nvidia"), Path("/dev/nvidiactl"), Path("/dev/dxg")]
FAST_BFLOAT16 = {"amx_bf16", "avx512_bf16"}  # flags of processors with units for it
X86 = ("x86_64", "AMD64")


def resolve_precision(setting: str, pictures: bool = True) -> str:
    """Returns the precision of computation that ``machine.precision`` means on this machine.

    For "auto" that is bfloat16 for networks that see pictures, where a processor with units for it
    computes: AMX or AVX512-BF16. Networks of vectors, and a GPU with batches as small as ours, gain
    nothing from it: docs/design/performance.md.
    """
    if setting != "auto":
        return setting
    if not pictures or _gpus():
        return "float32"
    with suppress(OSError):  # only Linux lists the flags in a file
        words = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
        if not FAST_BFLOAT16.isdisjoint(words):
            return "bfloat16"
    return "float32"


def start(intra_op_threads: int = 0, inter_op_threads: int = 0) -> None:
    """Imports TensorFlow and sets its thread counts (0: one for each core).

    This has to come before its first operation.

    On a GPU it takes memory as it needs it, instead of all that there is. On x86 it computes with
    oneDNN, unless the environment variable ``TF_ENABLE_ONEDNN_OPTS`` is 0.
    """
    # By itself TensorFlow takes oneDNN only from AVX512-VNNI on.
    if platform.machine() in X86:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    with _held_back():
        import tensorflow as tf

        for gpu in _gpus():
            tf.config.experimental.set_memory_growth(gpu, True)
        tf.config.threading.set_intra_op_parallelism_threads(intra_op_threads)
        tf.config.threading.set_inter_op_parallelism_threads(inter_op_threads)
        tf.config.experimental.enable_op_determinism()
        tf.config.list_logical_devices()


def import_tensorflow() -> None:
    """Imports TensorFlow without what it prints meanwhile, and changes nothing else."""
    if "tensorflow" not in sys.modules:
        with _held_back():
            import tensorflow  # noqa: F401


def _gpus() -> list[Any]:
    """Returns the GPUs that TensorFlow can use."""
    if not any(driver.exists() for driver in GPU_DRIVERS):
        return []  # the import alone takes seconds
    with _held_back():
        import tensorflow as tf

        # TensorFlow 2.21 searches the packages beside it for NVIDIA's libraries, except for this
        # one, and takes no GPU where one is missing.
        for library in Path(tf.__file__).parents[1].glob("nvidia/cusolver/lib/libcusolver.so.*"):
            with suppress(OSError):
                ctypes.CDLL(str(library))
        return list(tf.config.list_physical_devices("GPU"))


@contextmanager
def _held_back() -> Iterator[None]:
    """Holds back what TensorFlow prints while it is imported, and prints it if that fails."""
    # Its own log level counts only later. Errors are exceptions too; the rest is chatter about
    # missing GPUs and slower kernels.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        standard_error = os.dup(2)
    except OSError:  # it is closed, and nobody sees what is printed
        yield
        return
    if sys.stderr is not None:
        sys.stderr.flush()
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            yield
        except BaseException:
            messages.seek(0)
            os.write(standard_error, messages.read())
            raise
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)
