"""Starts TensorFlow quietly, with the run's thread counts and deterministic operations."""

import ctypes
import gc
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from atari_dqn.console import STANDARD_ERROR, waiting

# Paths that exist with a GPU driver: on Linux, in a container that hides the first path, in WSL 2.
GPU_DRIVERS = [Path("/proc/driver/nvidia"), Path("/dev/nvidiactl"), Path("/dev/dxg")]
FAST_BFLOAT16 = {"amx_bf16", "avx512_bf16"}  # flags of processors with bfloat16 units
X86 = ("x86_64", "AMD64")
# Keras imports these packages where they are installed, which takes a second. It needs them only
# for features that no command uses.
UNUSED_BY_COMMANDS = ("IPython", "matplotlib", "pandas")


def resolve_precision(setting: str, pictures: bool = True) -> str:
    """Returns the precision that a value of ``machine.precision`` means on this machine.

    "auto" means bfloat16 for networks on pictures, on a processor with bfloat16 units (AMX or
    AVX512-BF16) and without a GPU. Otherwise it means float32, because bfloat16 speeds up neither
    networks on vectors nor GPUs with batches of this size. See docs/design/performance.md.

    Args:
        setting: "auto", "float32" or "bfloat16".
        pictures: Whether observations are pictures.
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


def resolve_compile(setting: str | bool, pictures: bool = True) -> bool:
    """Returns whether a value of ``machine.compile`` means that XLA compiles graphs here.

    "auto" means so for networks on vectors, because they are so small that starting each operation
    takes longer than computing it, and for all networks on a GPU, for the same reason. On a
    processor, compiled convolutions take longer. See docs/design/performance.md.

    Args:
        setting: "auto", True or False.
        pictures: Whether observations are pictures.
    """
    if isinstance(setting, bool):
        return setting
    return not pictures or bool(_gpus())


def start(intra_op_threads: int = 0, inter_op_threads: int = 0) -> None:
    """Imports TensorFlow and configures it for a command. Call this before its first operation.

    GPU memory is allocated on demand instead of all at once. On x86 TensorFlow uses oneDNN, unless
    the environment variable ``TF_ENABLE_ONEDNN_OPTS`` is 0.

    Args:
        intra_op_threads: Threads inside an operation. 0 means one for each core.
        inter_op_threads: Operations that run in parallel. 0 means one for each core.
    """
    # By default TensorFlow uses oneDNN only on processors with AVX512-VNNI.
    if platform.machine() in X86:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    with _held_back():
        with _hidden(UNUSED_BY_COMMANDS):
            import_tensorflow()
        import tensorflow as tf

        for gpu in _gpus():
            tf.config.experimental.set_memory_growth(gpu, True)
        tf.config.threading.set_intra_op_parallelism_threads(intra_op_threads)
        tf.config.threading.set_inter_op_parallelism_threads(inter_op_threads)
        tf.config.experimental.enable_op_determinism()
        tf.config.list_logical_devices()


def import_tensorflow() -> None:
    """Imports TensorFlow without its output, and changes nothing else."""
    if "tensorflow" not in sys.modules:
        with _held_back(), _uncollected():
            import tensorflow  # noqa: F401


def _gpus() -> list[Any]:
    """Returns the GPUs that TensorFlow can use."""
    if not any(driver.exists() for driver in GPU_DRIVERS):
        return []  # avoids an import that takes seconds
    with _held_back():
        import tensorflow as tf

        # TensorFlow 2.21 finds NVIDIA's libraries in the packages installed beside it, except this
        # one. It uses no GPU if a library is missing.
        for library in Path(tf.__file__).parents[1].glob("nvidia/cusolver/lib/libcusolver.so.*"):
            with suppress(OSError):
                ctypes.CDLL(str(library))
        return list(tf.config.list_physical_devices("GPU"))


@contextmanager
def _hidden(packages: Sequence[str]) -> Iterator[None]:
    """Context in which packages that are not imported yet seem not to be installed."""
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None fails an import
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextmanager
def _uncollected() -> Iterator[None]:
    """Context without garbage collection, for an import that creates only objects that remain.

    Collections would examine all of them again and again, which takes a quarter of the import.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def _held_back() -> Iterator[None]:
    """Context that suppresses TensorFlow's output during its import, but prints it on an error."""
    # The log level takes effect only after the import. Errors also raise exceptions; the other
    # messages are about missing GPUs and slower kernels.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        standard_error = os.dup(2)
    except OSError:  # standard error is closed, so there is nothing to suppress
        yield
        return
    if sys.stderr is not None:
        sys.stderr.flush()
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            with STANDARD_ERROR.continued_on(standard_error), waiting("loading TensorFlow"):
                yield
        except Exception:
            messages.seek(0)
            os.write(standard_error, messages.read())
            raise
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)
