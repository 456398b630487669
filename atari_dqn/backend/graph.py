"""Calls TensorFlow graphs with little overhead, for functions that run many times a second."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from atari_dqn.backend.keras_backend import keras_defaults
from atari_dqn.backend.tensorflow_backend import tf


class Built(NamedTuple):
    """A built graph, and the variables that it captured."""

    call: Callable[..., list[tf.Tensor]]
    captured: list[tf.Tensor]


class Graph:
    """A function whose graph is built once for each batch size and each choice of constants.

    ``tf.function`` itself checks its arguments and binds the variables at every call. For a network
    on vectors, this takes several times as long as the computation.

    Args:
        function: Function of a tensor or a structure of tensors, and of integer constants.
        compiled: Whether to compile the graph with XLA.
        signature: TensorSpecs of the arguments, for a graph that serves every batch size. None
            traces the function again for each batch size.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        compiled: bool = False,
        signature: Sequence[Any] | None = None,
    ) -> None:
        # Branches depend only on settings, never on tensors, so AutoGraph would only cost time.
        self._function = tf.function(
            function, autograph=False, jit_compile=compiled, input_signature=signature
        )
        self._built: dict[tuple[int, ...], Built] = {}

    def __call__(self, tensors: Any, *constants: int) -> list[tf.Tensor]:
        """Returns the function's result as a flat list of tensors.

        Args:
            tensors: Tensor or structure of tensors. The first axis of the first one is the batch.
            constants: Integers that are built into the graph.
        """
        flat = tf.nest.flatten(tensors)
        key = (len(flat[0]), *constants)
        if key not in self._built:
            with keras_defaults():
                concrete = self._function.get_concrete_function(tensors, *constants)
            self._built[key] = Built(concrete.inference_fn.call_flat, concrete.captured_inputs)
        built = self._built[key]
        return built.call(*flat, *built.captured)
