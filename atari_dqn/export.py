"""A trained network for other programs: Keras's own layers alone, from frames to Q-values."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from atari_dqn.agent import EVALUATION_SAMPLES, Agent
from atari_dqn.heads import FractionEmbedding, NoisyDense
from atari_dqn.rules import fixed_fractions, support
from atari_dqn.torsos import PIXELS, ByteConvolution, SpectralConvolution


def save_network(agent: Agent, path: Path) -> None:
    """Writes the online network as a ``.keras`` file, which Keras opens without this package.

    It maps frames (B, height, width, stack), bytes, to the Q-values (B, actions) that ``Agent.values`` returns, in float32.
    """
    with _zip_dates():
        stock_network(agent).save(path)


@contextmanager
def _zip_dates() -> Iterator[None]:
    """Dates what a ``.keras`` file holds 1980 where the clock says less, as one that was never set does: zip knows no older."""
    make, first = zipfile.ZipInfo.__init__, (1980, 1, 1, 0, 0, 0)

    def make_dated(info: zipfile.ZipInfo, filename: str = "NoName", date_time: Any = first) -> None:
        make(info, filename, max(tuple(date_time), first))

    zipfile.ZipInfo.__init__ = make_dated  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        zipfile.ZipInfo.__init__ = make  # type: ignore[method-assign]


def stock_network(agent: Agent) -> keras.Model:
    """The online network, without noise, made of Keras's own layers."""
    made: list[tuple[keras.layers.Layer, list[Any]]] = []

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        made.append(_stock(layer))
        return made[-1][0]

    def call(layer: keras.layers.Layer, *arguments: Any, **options: Any) -> Any:
        if isinstance(layer, keras.Sequential | keras.layers.Dense) and isinstance(arguments[0], list):
            return layer(arguments[0][0])  # beside the features were noise or fractions
        return layer(*arguments, **{name: value for name, value in options.items() if name != "training"})

    network = keras.models.clone_model(agent.online.weights, clone_function=clone, call_function=call)
    outputs, settings = network.output, agent.config.network
    weights = [layer_and_weights for layer_and_weights in made if layer_and_weights[1]]
    if settings.returns == "categorical":
        mean = keras.layers.Dense(1, use_bias=False, name="mean_return")
        outputs = mean(keras.layers.Softmax(name="probabilities")(outputs))
        weights.append((mean, [np.asarray(support(agent.config))[:, np.newaxis]]))
    elif settings.returns != "mean":
        outputs = keras.layers.GlobalAveragePooling1D(name="mean_return")(keras.layers.Permute((2, 1))(outputs))
    values = keras.layers.Reshape((agent.num_actions,), name="values")(outputs)
    for layer, arrays in weights:
        layer.set_weights(arrays)
    return keras.Model(network.input["frames"], values, name=agent.online.weights.name)


def _stock(layer: keras.layers.Layer) -> tuple[keras.layers.Layer, list[Any]]:
    """A layer of Keras's own that computes the same, and its weights."""
    if isinstance(layer, ByteConvolution):
        plain = keras.layers.Conv2D.from_config(layer.get_config())
        scaling, weights = [keras.layers.Rescaling(PIXELS)], [np.asarray(layer.kernel), np.asarray(layer.bias)]
        if layer.mean is not None:
            mean = np.broadcast_to(layer.mean[0], layer.input.shape[1:])
            scaling.insert(0, keras.layers.Normalization(axis=(1, 2, 3), mean=mean, variance=np.ones_like(mean)))
        return keras.Sequential([*scaling, plain], name=layer.name), weights
    if isinstance(layer, SpectralConvolution):
        kernel = np.asarray(layer.normalized_kernel())
        return keras.layers.Conv2D.from_config(layer.get_config()), [kernel, np.asarray(layer.bias)]
    if isinstance(layer, NoisyDense):
        dense = keras.layers.Dense(layer.units, layer.activation, name=layer.name)
        return dense, [np.asarray(layer.kernel), np.asarray(layer.bias)]
    if isinstance(layer, FractionEmbedding):
        # At fixed fractions the embedding is a table, and multiplying by it a convolution of each feature by itself.
        table = np.asarray(layer.weights_of(fixed_fractions(EVALUATION_SAMPLES)))[0]
        fractions, features = table.shape
        each = keras.layers.DepthwiseConv1D(1, depth_multiplier=fractions, use_bias=False)
        shaping = [keras.layers.Reshape((1, features)), each, keras.layers.Reshape((features, fractions))]
        return keras.Sequential([*shaping, keras.layers.Permute((2, 1))], name=layer.name), [table.T[np.newaxis]]
    weights = layer.get_weights() if isinstance(layer, keras.layers.Layer) else []  # a bare operation has none
    return type(layer).from_config(layer.get_config()), weights
