"""The Q-network: a torso that sees, and a head that values actions."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from atari_dqn.backend.keras_backend import keras, keras_defaults
from atari_dqn.config.learning_schema import NetworkSettings
from atari_dqn.networks.heads import Head
from atari_dqn.networks.torsos import ByteConvolution, make_torso


def build_network(
    settings: NetworkSettings,
    observation_shape: tuple[int, ...],
    num_actions: int,
    seed: int | Sequence[int],
    name: str,
    precision: str = "float32",
    dtype: str = "uint8",
) -> keras.Model:
    """Builds a Keras functional model.

    Its input is a dictionary: ``frames`` (B, *observation_shape); ``fractions`` (B, N), where it
    says what the return is at given fractions of its distribution; ``noise``, a key (2,), where its
    layers have noise in training. Its output is (B, A, K), float32: Q-values (K = 1), logits of the
    atoms of a categorical distribution, or quantiles of the return.

    Args:
        settings: torso, width, head, and what it says about returns.
        observation_shape: (height, width, stack).
        num_actions: A.
        seed: of the initial weights.
        name: shown in the summary.
        precision: of weights and computation, "float32" or "bfloat16"; the layers that output
            values are always float32.
        dtype: of an observation.
    """
    # A seed of its own for each layer: with a shared one, layers of one shape would start out as
    # copies.
    seeds = (int(part) for part in np.random.SeedSequence(seed).generate_state(1024))
    with keras_defaults():
        inputs = {"frames": keras.Input(observation_shape, dtype=dtype, name="frames")}
        if settings.returns == "implicit":
            inputs["fractions"] = keras.Input((None,), dtype="float32", name="fractions")
        if settings.noisy:
            inputs["noise"] = keras.Input(batch_shape=(2,), dtype="int32", name="noise")
        with keras_defaults(precision):
            features = make_torso(settings)(inputs["frames"], seeds)
            head = Head(settings, num_actions, seeds, inputs.get("noise"))
            outputs = head(features, inputs.get("fractions"))
        return keras.Model(inputs, outputs, name=name)


class QNetwork:
    """A network's weights in float32, and the network that computes, with a rounded copy of them
    where it computes in less.

    The weights that learn stay float32, or steps below their rounding would be lost: Micikevicius
    et al. 2018, section 3.1.

    Args:
        precision: of the computation.
        build: makes a network of a name in a precision.
        name: of both.
    """

    def __init__(self, build: Callable[[str, str], keras.Model], name: str, precision: str) -> None:
        self.weights = build(name, "float32")
        self.computing = self.weights if precision == "float32" else build(name, precision)
        self.round()

    def __call__(self, inputs: dict[str, Any], training: bool, exact: bool = False) -> Any:
        """Outputs (B, A, K) in float32; exact: computed in it too."""
        return (self.weights if exact else self.computing)(inputs, training=training)

    def round(self) -> None:
        """Takes the weights over into the network that computes."""
        if self.computing is not self.weights:
            for weight, copy in zip(self.weights.variables, self.computing.variables, strict=True):
                copy.assign(keras.ops.cast(weight, copy.dtype))

    @property
    def wants_center(self) -> bool:
        """Whether frames are to be centred."""
        return bool(self._means())

    def center(self, mean: Any) -> None:
        """Takes the mean picture (height, width) off every frame from now on."""
        for variable in self._means():
            variable.assign(mean[np.newaxis, :, :, np.newaxis])
        self.round()

    def _means(self) -> list[keras.Variable]:
        layers = [layer for layer in self.weights.layers if isinstance(layer, ByteConvolution)]
        return [layer.mean for layer in layers if layer.mean is not None]

    def mix(self, fresh: keras.Model, keep: float, forgotten: Collection[str]) -> None:
        """Keeps so much of the weights and takes the rest from new ones; of the layers named
        ``forgotten`` it keeps nothing.
        """
        for layer, new in zip(self.weights.layers, fresh.layers, strict=True):
            kept = 0.0 if layer.name in forgotten else keep
            for weight, value in zip(layer.trainable_weights, new.trainable_weights, strict=True):
                weight.assign(kept * weight + (1 - kept) * value)
        self.round()

    def follow(self, other: "QNetwork", rate: float = 1.0) -> None:
        """Moves the weights towards those of another network of the same layers; 1: copies them."""
        for mine, its in zip(self.weights.variables, other.weights.variables, strict=True):
            mine.assign(its if rate == 1 else mine + rate * (its - mine))
        self.round()
