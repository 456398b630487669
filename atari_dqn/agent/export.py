"""Exports trained networks for other programs, with built-in Keras layers only."""

import logging
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atari_dqn.agent.agent import EVALUATION_SAMPLES, Agent
from atari_dqn.agent.return_models import fixed_fractions, support
from atari_dqn.backend.arrays import stacks_last
from atari_dqn.backend.keras_backend import keras, keras_defaults
from atari_dqn.backend.tensorflow_backend import tf
from atari_dqn.networks.heads import FractionEmbedding, NoisyDense
from atari_dqn.networks.torsos import (
    ByteConvolution,
    CompiledMaxPooling,
    SpectralConvolution,
    StridedConvolution,
)

# Largest tolerated difference between Q-values, relative to the largest Q-value. Other programs may
# compute in another order, which rounds differently.
ROUNDING = 1e-3


def export_network(agent: Agent, out: str | Path, observations: NDArray[Any]) -> float:
    """Writes the acting network for other programs, and checks the Q-values of the result.

    The network maps ``frames`` (B, height, width, stack) of uint8 to float32 Q-values (B, actions).
    For environments with vectors, its input is (B, n, stack) of float32.

    Args:
        agent: the agent whose network is written.
        out: path of a Keras file (``.keras``), an ONNX file (``.onnx``), or a TensorFlow SavedModel
            directory (no suffix).
        observations: (N, *observation_shape) observations for the check.

    Returns:
        The largest difference between the Q-values of the file and of the agent.

    Raises:
        RuntimeError: rounding cannot explain the difference. Nothing is written in this case.
    """
    out = Path(out)
    frames = stacks_last(observations)
    expected = agent.values(observations)
    out.parent.mkdir(parents=True, exist_ok=True)
    with keras_defaults(), TemporaryDirectory(dir=out.parent, prefix=".writing-") as directory:
        made = Path(directory) / out.name
        if out.suffix == ".keras":
            save_network(agent, made)
            answers = np.asarray(keras.models.load_model(made)(frames))
        elif out.suffix == ".onnx":
            answers = _save_onnx(agent, made, frames)
        else:
            stock_network(agent).export(made, format="tf_saved_model", verbose=False)
            loaded = tf.saved_model.load(made)  # ``serve`` alone does not keep the weights alive
            answers = loaded.serve(frames).numpy()
        difference = float(np.abs(answers - expected).max())
        if not difference <= ROUNDING * max(float(np.abs(expected).max()), 1.0):
            what = f"the network exported to '{out}'"
            raise RuntimeError(f"{what} differs from the agent by {difference:g}")
        made.replace(out)
    return difference


def _save_onnx(agent: Agent, path: Path, frames: NDArray[Any]) -> NDArray[Any]:
    import onnx
    import onnxruntime

    network = stock_network(agent)
    network(frames[:1])  # Keras cannot export a network that was never called
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    network.export(path, format="onnx", verbose=False)
    model = onnx.load(path)
    (output,) = model.graph.output
    for node in model.graph.node:
        node.output[:] = ["values" if name == output.name else name for name in node.output]
    output.name = "values"
    for array in (*model.graph.input, output):
        array.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["values"], {session.get_inputs()[0].name: frames})[0])


def save_network(agent: Agent, path: Path) -> None:
    """Writes the acting network as a ``.keras`` file, which Keras opens without this package.

    Its inputs and outputs are those of ``export_network``.
    """
    with keras_defaults(), _zip_dates():
        stock_network(agent).save(path)


@contextmanager
def _zip_dates() -> Iterator[None]:
    """Context in which members of zip files are dated 1980 at the earliest.

    Zip files cannot store earlier dates, which a machine has if its clock was never set.
    """
    make = zipfile.ZipInfo.__init__
    first = (1980, 1, 1, 0, 0, 0)

    def make_dated(info: zipfile.ZipInfo, filename: str = "NoName", date_time: Any = first) -> None:
        make(info, filename, max(tuple(date_time), first))

    zipfile.ZipInfo.__init__ = make_dated  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        zipfile.ZipInfo.__init__ = make  # type: ignore[method-assign]


def stock_network(agent: Agent) -> keras.Model:
    """Returns the acting network, without noise, rebuilt from built-in Keras layers."""
    made: list[tuple[keras.layers.Layer, list[Any]]] = []

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        made.append(_stock(layer))
        return made[-1][0]

    def call(layer: keras.layers.Layer, *arguments: Any, **options: Any) -> Any:
        replaced = isinstance(layer, keras.Sequential | keras.layers.Dense)
        if replaced and isinstance(arguments[0], list):
            return layer(arguments[0][0])  # the other input was noise or fractions
        options.pop("training", None)
        return layer(*arguments, **options)

    model = agent.acting_model()
    network = keras.models.clone_model(model, clone_function=clone, call_function=call)
    outputs = network.output
    settings = agent.config.network
    weights = [layer_and_weights for layer_and_weights in made if layer_and_weights[1]]
    if settings.returns == "categorical":
        mean = keras.layers.Dense(1, use_bias=False, name="mean_return")
        outputs = mean(keras.layers.Softmax(name="probabilities")(outputs))
        weights.append((mean, [np.asarray(support(agent.config))[:, np.newaxis]]))
    elif settings.returns != "mean":
        quantiles_first = keras.layers.Permute((2, 1))(outputs)
        outputs = keras.layers.GlobalAveragePooling1D(name="mean_return")(quantiles_first)
    values = keras.layers.Reshape((agent.num_actions,), name="values")(outputs)
    for layer, arrays in weights:
        layer.set_weights(arrays)
    return keras.Model(network.input["frames"], values, name=model.name)


def _stock(layer: keras.layers.Layer) -> tuple[keras.layers.Layer, list[Any]]:
    """Returns an equivalent built-in Keras layer and its weights."""
    if isinstance(layer, ByteConvolution):
        plain = keras.layers.Conv2D.from_config(layer.get_config())
        scale = float(layer.scale)
        offset = 0.0 if layer.mean is None else -scale * np.asarray(layer.mean[0])
        scaling = keras.layers.Rescaling(scale, offset)
        weights = [np.asarray(layer.input_kernel()), np.asarray(layer.bias)]
        return keras.Sequential([scaling, plain], name=layer.name), weights
    if isinstance(layer, StridedConvolution | CompiledMaxPooling):
        pools = isinstance(layer, CompiledMaxPooling)
        stock = keras.layers.MaxPooling2D if pools else keras.layers.Conv2D
        return stock.from_config(layer.get_config()), layer.get_weights()
    if isinstance(layer, SpectralConvolution):
        kernel = np.asarray(layer.normalized_kernel())
        return keras.layers.Conv2D.from_config(layer.get_config()), [kernel, np.asarray(layer.bias)]
    if isinstance(layer, NoisyDense):
        dense = keras.layers.Dense(layer.units, layer.activation, name=layer.name)
        return dense, [np.asarray(layer.kernel), np.asarray(layer.bias)]
    if isinstance(layer, FractionEmbedding):
        # At fixed fractions, the embedding is a constant table. A depthwise convolution multiplies
        # the features by it.
        table = np.asarray(layer.weights_of(fixed_fractions(EVALUATION_SAMPLES)))[0]
        fractions, features = table.shape
        steps = [
            keras.layers.Reshape((1, features)),
            keras.layers.DepthwiseConv1D(1, depth_multiplier=fractions, use_bias=False),
            keras.layers.Reshape((features, fractions)),
            keras.layers.Permute((2, 1)),
        ]
        return keras.Sequential(steps, name=layer.name), [table.T[np.newaxis]]
    # A plain Keras operation has no weights.
    weights = layer.get_weights() if isinstance(layer, keras.layers.Layer) else []
    return type(layer).from_config(layer.get_config()), weights
