"""The Q-network: a torso that sees, and a head that values actions."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from atari_dqn.settings import TORSO_NAMES, NetworkSettings

# From frames (B, height, width, stack), bytes, and a stream of seeds for its initializers, to features (B, n).
Torso = Callable[[keras.KerasTensor, Iterator[int]], keras.KerasTensor]

# The layers whose outputs are values; everything below them describes what is seen.
OUTPUT_LAYERS = ("q_values", "value", "advantage")


def build_network(
    settings: NetworkSettings,
    observation_shape: tuple[int, ...],
    num_actions: int,
    seed: int,
    name: str,
    precision: str = "float32",
) -> keras.Model:
    """Builds a Keras functional model from frames (B, height, width, stack), uint8, to Q-values (B, actions), float32.

    Args:
        settings: torso, width and head.
        observation_shape: (height, width, stack).
        num_actions: number of Q-values.
        seed: of the initial weights.
        name: shown in the summary.
        precision: of weights and computation, "float32" or "bfloat16"; the layers that output values are always float32.
    """
    # A seed of its own for each layer: with a shared one, layers of one shape would start out as copies.
    seeds = (int(part) for part in np.random.SeedSequence(seed).generate_state(1024))
    frames = keras.Input(observation_shape, dtype="uint8", name="frames")
    with _computing_in(precision):
        features = TORSOS[settings.torso](frames, seeds)
        if settings.head == "dueling":
            values = dueling_head(features, num_actions, settings.hidden_units, seeds)
        else:
            hidden = _dense(settings.hidden_units, seeds, activation="relu", name="hidden")(features)
            values = _dense(num_actions, seeds, name="q_values", dtype="float32")(hidden)
    return keras.Model(frames, values, name=name)


def save_network(network: keras.Model, path: Path) -> None:
    """Writes a network as a ``.keras`` file of stock layers, which Keras opens without this package."""

    def stock(layer: Any) -> Any:
        kind = keras.layers.Conv2D if isinstance(layer, ByteConvolution) else type(layer)
        return kind.from_config(layer.get_config())

    frames = keras.Input(network.input_shape[1:], dtype="uint8", name="frames")
    bytes_in = any(isinstance(layer, ByteConvolution) for layer in network.layers)
    seen = keras.layers.Rescaling(1 / 255, name="scale")(frames) if bytes_in else frames
    plain = keras.models.clone_model(network, input_tensors=keras.Input(seen.shape[1:], dtype=seen.dtype), clone_function=stock)
    plain.set_weights(network.get_weights())
    keras.Model(frames, plain(seen), name=network.name).save(path)


def copy_weights(source: keras.Model, destination: keras.Model) -> None:
    """Copies the weights of a network into one of the same layers, rounded where that one computes in less."""
    for weight, copy in zip(source.variables, destination.variables, strict=True):
        copy.assign(keras.ops.cast(weight, copy.dtype))


class ByteConvolution(keras.layers.Conv2D):
    """A convolution of bytes as if they had been scaled to 0..1: it is the kernel that is scaled, which has fewer numbers."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        # The kernel is scaled before it is rounded to the precision of the computation.
        self._precision = keras.config.dtype_policy().compute_dtype
        super().__init__(*arguments, dtype="float32", **options)

    def call(self, frames: Any) -> Any:
        """From bytes (B, height, width, channels) to features (B, rows, columns, filters)."""
        kernel, bias = (keras.ops.cast(part, self._precision) for part in (self.kernel * (1 / 255), self.bias))
        features = keras.ops.conv(keras.ops.cast(frames, self._precision), kernel, self.strides)
        return self.activation(keras.ops.add(features, bias))  # whose gradient, unlike that of +, needs no pass of its own


def nature_torso(frames: keras.KerasTensor, seeds: Iterator[int]) -> keras.KerasTensor:
    """The convolutions of Mnih et al. 2015, Methods, Model architecture, on bytes scaled to 0..1."""
    features = frames
    for index, (filters, kernel, stride) in enumerate([(32, 8, 4), (64, 4, 2), (64, 3, 1)], start=1):
        layer = ByteConvolution if index == 1 else keras.layers.Conv2D
        features = layer(
            filters,
            kernel,
            stride,
            activation="relu",
            kernel_initializer=_initializer(seeds),
            name=f"convolution_{index}",
        )(features)
    return keras.layers.Flatten(name="features")(features)


TORSOS: dict[str, Torso] = {"nature": nature_torso}


def register_torso(name: str, torso: Torso) -> None:
    """Makes a torso of your own known as ``network.torso = NAME``, in every process that trains or loads such an agent.

    Args:
        name: what settings call it.
        torso: a function from frames (B, height, width, stack), bytes, and an endless stream of seeds to features (B, n),
            built of Keras's own layers; the frames are best scaled by a ``Rescaling`` layer first.

    Raises:
        ValueError: the name is taken.
    """
    if name in TORSOS:
        raise ValueError(f"there is a torso '{name}' already")
    TORSOS[name] = torso
    TORSO_NAMES.append(name)


def dueling_head(features: keras.KerasTensor, num_actions: int, hidden_units: int, seeds: Iterator[int]) -> keras.KerasTensor:
    """Q(s, a) = V(s) + A(s, a) - mean_a A(s, a): Wang et al. 2016, equation 9."""
    value = _dense(hidden_units, seeds, activation="relu", name="value_hidden")(features)
    value = _dense(1, seeds, name="value", dtype="float32")(value)
    advantage = _dense(hidden_units, seeds, activation="relu", name="advantage_hidden")(features)
    advantage = _dense(num_actions, seeds, name="advantage", dtype="float32")(advantage)
    mean = keras.ops.mean(advantage, axis=-1, keepdims=True)
    centred = keras.layers.Subtract(name="centred_advantage", dtype="float32")([advantage, mean])
    return keras.layers.Add(name="q_values", dtype="float32")([value, centred])


def _dense(units: int, seeds: Iterator[int], **options: Any) -> keras.layers.Dense:
    return keras.layers.Dense(units, kernel_initializer=_initializer(seeds), **options)


@contextmanager
def _computing_in(precision: str) -> Iterator[None]:
    """Layers made inside compute in this precision, unless they are told otherwise."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _initializer(seeds: Iterator[int]) -> keras.initializers.Initializer:
    # He et al. 2015, for layers followed by ReLU: the signal of a ball two pixels wide reaches the last layer undiminished.
    return keras.initializers.HeUniform(seed=next(seeds))
