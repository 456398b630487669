"""The Q-network: a torso maps observations to features, and a head maps these to outputs."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atari_dqn.backend.arrays import FrameStatistics
from atari_dqn.backend.keras_backend import keras, keras_defaults
from atari_dqn.config.learning_schema import NetworkSettings
from atari_dqn.networks.heads import Head
from atari_dqn.networks.torsos import ByteConvolution, make_torso


@dataclass(frozen=True)
class Interface:
    """The inputs and outputs of a network.

    Attributes:
        observation_shape: shape of an observation, (height, width, stack) or (n, stack).
        num_actions: A, the number of actions.
        dtype: dtype of an observation.
    """

    observation_shape: tuple[int, ...]
    num_actions: int
    dtype: str = "uint8"


@dataclass(frozen=True)
class Computation:
    """How a network computes.

    Attributes:
        precision: precision of the weights and the computation, "float32" or "bfloat16". The output
            layers are always float32.
        compiled: whether XLA compiles the network.
    """

    precision: str = "float32"
    compiled: bool = False


PLAIN = Computation()


def build_network(
    settings: NetworkSettings,
    interface: Interface,
    seed: int | Sequence[int],
    name: str,
    computation: Computation = PLAIN,
) -> keras.Model:
    """Builds a Q-network as a Keras functional model.

    Its input is a dictionary:

    * ``frames`` (B, *observation_shape);
    * ``fractions`` (B, N) of the distribution of returns, for implicit quantiles only;
    * ``noise``, a random key (2,), for noisy networks only.

    Its float32 output (B, A, K) contains Q-values (K = 1), logits of the atoms of a categorical
    distribution, or quantiles of the return. For implicit quantiles, K is N.

    Args:
        settings: network settings.
        interface: the inputs and outputs.
        seed: seed of the initial weights.
        name: name of the model.
        computation: how it computes.
    """
    # Each layer has its own seed. With a shared seed, layers of the same shape would start with the
    # same weights.
    seeds = (int(part) for part in np.random.SeedSequence(seed).generate_state(1024))
    with keras_defaults():
        frames = keras.Input(interface.observation_shape, dtype=interface.dtype, name="frames")
        inputs = {"frames": frames}
        if settings.returns == "implicit":
            inputs["fractions"] = keras.Input((None,), dtype="float32", name="fractions")
        if settings.noisy:
            inputs["noise"] = keras.Input(batch_shape=(2,), dtype="int32", name="noise")
        with keras_defaults(computation.precision):
            features = make_torso(settings, computation.compiled)(frames, seeds)
            head = Head(settings, interface.num_actions, seeds, inputs.get("noise"))
            outputs = head(features, inputs.get("fractions"))
        return keras.Model(inputs, outputs, name=name)


class QNetwork:
    """A network with float32 weights, and a copy that computes in a lower precision if requested.

    The trained weights stay float32, because small updates would otherwise be lost in rounding
    (Micikevicius et al. 2018, section 3.1).

    Args:
        build: function that builds a network, given a name and a precision.
        name: name of both networks.
        precision: precision of the computation, "float32" or "bfloat16".

    Attributes:
        weights: the network with float32 weights.
        computing: the network that computes, which is the same one if the precision is "float32".
    """

    def __init__(self, build: Callable[[str, str], keras.Model], name: str, precision: str) -> None:
        self.weights = build(name, "float32")
        self.computing = self.weights if precision == "float32" else build(name, precision)
        self.round()

    def __call__(self, inputs: dict[str, Any], training: bool, exact: bool = False) -> Any:
        """Returns the float32 outputs (B, A, K) of the network for inputs as in ``build_network``.

        Args:
            inputs: dictionary of inputs.
            training: whether noisy layers have noise.
            exact: whether to compute in float32, whatever the network's precision is.
        """
        network = self.weights if exact else self.computing
        return network(inputs, training=training)

    def round(self) -> None:
        """Copies the weights to the computing network, rounded to its precision."""
        if self.computing is not self.weights:
            for weight, copy in zip(self.weights.variables, self.computing.variables, strict=True):
                copy.assign(keras.ops.cast(weight, copy.dtype))

    @property
    def centers_frames(self) -> bool:
        """Whether the network subtracts a mean frame from every frame."""
        return bool(self._centered_layers())

    def center(self, statistics: FrameStatistics) -> None:
        """Sets the mean frame that is subtracted from every frame.

        With ``network.deviation`` above 0 it also sets the input scale.
        """
        for layer in self._centered_layers():
            layer.center(statistics)
        self.round()

    def _centered_layers(self) -> list[ByteConvolution]:
        layers = [layer for layer in self.weights.layers if isinstance(layer, ByteConvolution)]
        return [layer for layer in layers if layer.mean is not None]

    def shrink_and_perturb(
        self, fresh: keras.Model, keep: float, reinitialized: Collection[str]
    ) -> None:
        """Replaces each weight by keep * weight + (1 - keep) * fresh weight.

        Ash and Adams 2020, "On Warm-Starting Neural Network Training", section 4.

        Args:
            fresh: a newly initialized network with the same layers.
            keep: the paper's lambda, from 0 to 1.
            reinitialized: names of the layers that take all weights from ``fresh``.
        """
        for layer, new in zip(self.weights.layers, fresh.layers, strict=True):
            share = 0.0 if layer.name in reinitialized else keep
            for weight, value in zip(layer.trainable_weights, new.trainable_weights, strict=True):
                weight.assign(share * weight + (1 - share) * value)
        self.round()

    def follow(self, other: "QNetwork", rate: float = 1.0) -> None:
        """Moves the weights toward those of another network.

        Args:
            other: the network to follow.
            rate: update rate tau, from 0 to 1; 1 copies the weights.
        """
        for own, target in zip(self.weights.variables, other.weights.variables, strict=True):
            own.assign(target if rate == 1 else own + rate * (target - own))
        self.round()
