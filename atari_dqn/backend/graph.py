"""Functions of tensors as graphs that are called many times a second."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from atari_dqn.backend.keras_backend import keras_defaults
from atari_dqn.backend.tensorflow_backend import tf


class Built(NamedTuple):
    """A graph, and the variables that it captured."""

    call: Callable[..., list[tf.Tensor]]
    captured: list[tf.Tensor]


class Graph:
    """A function as a graph, made once for each number of rows and each constant.

    ``tf.function`` compares its arguments with those it has seen and binds the variables again at
    every call. For a network of vectors that takes several times as long as computing.

    Args:
        function: of a tensor or a structure of tensors, and of integers.
        compiled: fuse its operations (XLA).
        signature: of the tensors, where one graph serves any number of rows.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        compiled: bool = False,
        signature: Sequence[Any] | None = None,
    ) -> None:
        # Branches depend on settings alone, never on tensors: AutoGraph would only slow the start.
        self._function = tf.function(
            function, autograph=False, jit_compile=compiled, input_signature=signature
        )
        self._built: dict[tuple[int, ...], Built] = {}

    def __call__(self, tensors: Any, *constants: int) -> list[tf.Tensor]:
        """Returns what the function returns, flattened."""
        flat = tf.nest.flatten(tensors)
        key = (len(flat[0]), *constants)
        if key not in self._built:
            with keras_defaults():
                concrete = self._function.get_concrete_function(tensors, *constants)
            self._built[key] = Built(concrete.inference_fn.call_flat, concrete.captured_inputs)
        built = self._built[key]
        return built.call(*flat, *built.captured)
