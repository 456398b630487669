"""The Q-network: a torso from observations to features, and a head from these to values."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atari_dqn.backend.keras_backend import keras, keras_defaults
from atari_dqn.config.learning_schema import NetworkSettings
from atari_dqn.networks.heads import Head
from atari_dqn.networks.torsos import ByteConvolution, make_torso


@dataclass(frozen=True)
class Interface:
    """What a network is given, and for how many actions it answers.

    Attributes:
        observation_shape: of one observation, frames last, (height, width, stack) or (n, stack).
        num_actions: A.
        dtype: of an observation.
    """

    observation_shape: tuple[int, ...]
    num_actions: int
    dtype: str = "uint8"


def build_network(
    settings: NetworkSettings,
    interface: Interface,
    seed: int | Sequence[int],
    name: str,
    precision: str = "float32",
) -> keras.Model:
    """Builds a Keras functional model.

    Its input is a dictionary: ``frames`` (B, *observation_shape); ``fractions`` (B, N), where it
    estimates the return at given fractions of its distribution; ``noise``, a key (2,), where its
    layers have noise in training. Its output is (B, A, K), float32: Q-values (K = 1), logits of the
    atoms of a categorical distribution, or quantiles of the return.

    Args:
        settings: torso, width, head, and how returns are represented.
        interface: observations and actions.
        seed: of the initial weights.
        name: shown in the summary.
        precision: of weights and computation, "float32" or "bfloat16"; the layers that output
            values are always float32.
    """
    # A seed of its own for each layer: with a shared one, layers of one shape would start out as
    # copies.
    seeds = (int(part) for part in np.random.SeedSequence(seed).generate_state(1024))
    with keras_defaults():
        frames = keras.Input(interface.observation_shape, dtype=interface.dtype, name="frames")
        inputs = {"frames": frames}
        if settings.returns == "implicit":
            inputs["fractions"] = keras.Input((None,), dtype="float32", name="fractions")
        if settings.noisy:
            inputs["noise"] = keras.Input(batch_shape=(2,), dtype="int32", name="noise")
        with keras_defaults(precision):
            features = make_torso(settings)(frames, seeds)
            head = Head(settings, interface.num_actions, seeds, inputs.get("noise"))
            outputs = head(features, inputs.get("fractions"))
        return keras.Model(inputs, outputs, name=name)


class QNetwork:
    """A network's weights in float32, and the network that computes with them, perhaps rounded.

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
        """Returns outputs (B, A, K) in float32; with ``exact`` they are computed in it, too."""
        network = self.weights if exact else self.computing
        return network(inputs, training=training)

    def round(self) -> None:
        """Copies the weights, rounded, into the network that computes."""
        if self.computing is not self.weights:
            for weight, copy in zip(self.weights.variables, self.computing.variables, strict=True):
                copy.assign(keras.ops.cast(weight, copy.dtype))

    @property
    def centers_frames(self) -> bool:
        """Whether the mean picture is subtracted from every frame."""
        return bool(self._means())

    def center(self, mean: Any) -> None:
        """Sets the mean picture (height, width) that is subtracted from every frame."""
        for variable in self._means():
            variable.assign(mean[np.newaxis, :, :, np.newaxis])
        self.round()

    def _means(self) -> list[keras.Variable]:
        layers = [layer for layer in self.weights.layers if isinstance(layer, ByteConvolution)]
        return [layer.mean for layer in layers if layer.mean is not None]

    def shrink_and_perturb(
        self, fresh: keras.Model, keep: float, reinitialized: Collection[str]
    ) -> None:
        """Replaces the weights by keep * weight + (1 - keep) * fresh weight.

        Ash and Adams 2020, "On Warm-Starting Neural Network Training", section 4.

        Args:
            fresh: a network of the same layers, just initialized.
            keep: the paper's lambda, 0 to 1.
            reinitialized: names of layers that take all of their weights from ``fresh``.
        """
        for layer, new in zip(self.weights.layers, fresh.layers, strict=True):
            share = 0.0 if layer.name in reinitialized else keep
            for weight, value in zip(layer.trainable_weights, new.trainable_weights, strict=True):
                weight.assign(share * weight + (1 - share) * value)
        self.round()

    def follow(self, other: "QNetwork", rate: float = 1.0) -> None:
        """Moves the weights towards another network's at an update rate (tau); 1 copies them."""
        for own, target in zip(self.weights.variables, other.weights.variables, strict=True):
            own.assign(target if rate == 1 else own + rate * (target - own))
        self.round()
