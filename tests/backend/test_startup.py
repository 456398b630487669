"""Tests how TensorFlow is started, shares memory with NumPy, and is profiled."""

import importlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import lz4._version
import numpy as np
import pytest
import tensorflow as tf

from atari_dqn.backend import startup
from atari_dqn.backend.arrays import aligned_empty, as_tensor
from atari_dqn.backend.profiler import Trace
from atari_dqn.backend.startup import resolve_compile, resolve_precision

MAPS = Path("/proc/self/maps")


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int32])
def test_a_tensor_shares_aligned_memory(dtype: type) -> None:
    array = aligned_empty((3, 5), dtype)
    array[...] = 1
    tensor = as_tensor(array)
    array[1, 2] = 7
    assert tensor.dtype == dtype
    assert tensor[1, 2] == 7


@pytest.mark.parametrize("offset", [1, 4, 16, 32])
def test_a_tensor_copies_unaligned_memory(offset: int) -> None:
    array = aligned_empty((200,), np.uint8)[offset : offset + 100]
    array[...] = 1
    tensor = as_tensor(array)
    array[...] = 7
    assert int(tf.reduce_sum(tf.cast(tensor, tf.int32))) == 100


def test_a_tensor_copies_arrays_that_are_not_contiguous() -> None:
    array = aligned_empty((8, 64), np.uint8)
    array[...] = np.arange(64)
    np.testing.assert_array_equal(as_tensor(array[:, :32]), array[:, :32])
    np.testing.assert_array_equal(as_tensor(array.T), array.T)


@pytest.mark.parametrize("gpus", [0, 1])
def test_automatic_precision_is_float32_on_a_gpu(
    gpus: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = resolve_precision("auto")
    monkeypatch.setattr(startup, "GPU_DRIVERS", [tmp_path / "none", tmp_path])
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [f"{kind}:0"] * gpus)
    assert resolve_precision("auto") == ("float32" if gpus else without)
    assert resolve_precision("auto", pictures=False) == resolve_precision("float32") == "float32"
    assert resolve_precision("bfloat16") == "bfloat16"


@pytest.mark.parametrize("gpus", [0, 1])
def test_pictures_are_compiled_on_a_gpu_and_vectors_everywhere(
    gpus: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(startup, "GPU_DRIVERS", [tmp_path])
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [f"{kind}:0"] * gpus)
    assert resolve_compile("auto") == bool(gpus)
    assert resolve_compile("auto", pictures=False)
    for pictures in (True, False):
        assert resolve_compile(True, pictures)
        assert not resolve_compile(False, pictures)


@pytest.mark.skipif(not MAPS.exists(), reason="only Linux lists the loaded libraries")
def test_a_gpu_library_that_tensorflow_does_not_find_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "nvidia" / "cusolver" / "lib" / "libcusolver.so.11"
    library.parent.mkdir(parents=True)
    shutil.copy(lz4._version.__file__, library)
    library.with_suffix(".12").write_bytes(b"damaged")
    monkeypatch.setattr(startup, "GPU_DRIVERS", [tmp_path])
    monkeypatch.setattr(tf, "__file__", str(tmp_path / "tensorflow" / "__init__.py"))
    resolve_precision("auto")
    assert str(library) in MAPS.read_text()


@pytest.mark.skipif(platform.machine() not in startup.X86, reason="applies to x86 processors")
@pytest.mark.parametrize(("variable", "expected"), [(None, "True"), ("0", "False")])
def test_onednn_is_used_unless_it_is_turned_off(variable: str | None, expected: str) -> None:
    others = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    environment = others if variable is None else others | {"TF_ENABLE_ONEDNN_OPTS": variable}
    probe = "from tensorflow.python.framework.test_util import IsMklEnabled; print(IsMklEnabled())"
    command = [
        sys.executable,
        "-c",
        f"from atari_dqn.backend import startup; startup.start(); {probe}",
    ]
    assert (
        subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout.strip()
        == expected
    )


def test_a_package_is_hidden_only_while_tensorflow_is_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    with startup._hidden(("wave", "shutil")):
        assert importlib.import_module("shutil") is shutil, "it was imported before"
        with pytest.raises(ImportError):
            importlib.import_module("wave")
    assert importlib.import_module("wave")


def traced(directory: Path) -> list[bytes]:
    return [path.read_bytes() for path in directory.rglob("*.xplane.pb")]


def square(name: str) -> None:
    tf.function(lambda matrix: tf.matmul(matrix, matrix, name=name))(tf.ones((8, 8)))


def test_a_trace_contains_exactly_the_requested_updates(tmp_path: Path) -> None:
    trace = Trace(tmp_path, updates=2, after=3)
    for number in range(1, 9):
        trace.advance(1)
        square("early_square" if number < 3 else "wanted_square" if number < 5 else "late_square")
    (content,) = traced(tmp_path)
    # A trace also contains the compiled graphs of this process, in which "late" may occur.
    assert b"wanted_square" in content
    assert b"late_square" not in content
    assert b"early_square" not in content


def test_a_trace_that_is_closed_early_is_still_written(tmp_path: Path) -> None:
    trace = Trace(tmp_path, updates=10, after=0)
    trace.advance(4)
    trace.close()
    trace.advance(4)
    trace.close()
    assert len(traced(tmp_path)) == 1


def test_no_trace_is_written_by_default(tmp_path: Path) -> None:
    trace = Trace(tmp_path, updates=0)
    trace.advance(1000)
    trace.close()
    assert traced(tmp_path) == []
