"""Functions of tensors as graphs that are called many times a second."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from atari_dqn.backend.keras_backend import keras_defaults


class Graph:
    """A function as a graph, made once for each number of rows of its first tensor and each
    constant.

    ``tf.function`` compares its arguments with those it has seen and binds the variables anew at
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
        # Which way is taken depends on settings alone, never on tensors: AutoGraph would only make
        # the start slower.
        self._function = tf.function(
            function, autograph=False, jit_compile=compiled, input_signature=signature
        )
        self._known: dict[
            tuple[int, ...], tuple[Callable[..., list[tf.Tensor]], list[tf.Tensor]]
        ] = {}

    def __call__(self, tensors: Any, *constants: int) -> list[tf.Tensor]:
        """What the function returns, its structure undone."""
        flat = tf.nest.flatten(tensors)
        key = (len(flat[0]), *constants)
        if key not in self._known:
            with keras_defaults():
                concrete = self._function.get_concrete_function(tensors, *constants)
            self._known[key] = concrete.inference_fn.call_flat, concrete.captured_inputs
        call, captured = self._known[key]
        return call(*flat, *captured)
