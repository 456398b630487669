"""The Q-network: a torso that sees, and a head that values actions."""

from collections.abc import Callable, Iterator

import keras
import numpy as np

from atari_dqn.settings import TORSO_NAMES, NetworkSettings

# From frames (B, height, width, stack), bytes, and a stream of seeds for its initializers, to features (B, n).
Torso = Callable[[keras.KerasTensor, Iterator[int]], keras.KerasTensor]

# The layers whose outputs are values; everything below them describes what is seen.
OUTPUT_LAYERS = ("q_values", "value", "advantage")


def build_network(
    settings: NetworkSettings, observation_shape: tuple[int, ...], num_actions: int, seed: int, name: str
) -> keras.Model:
    """Builds a Keras functional model from frames (B, height, width, stack), uint8, to Q-values (B, actions), float32.

    Built of stock layers only, so that its saved file opens with ``keras.models.load_model`` alone.

    Args:
        settings: torso, width and head.
        observation_shape: (height, width, stack).
        num_actions: number of Q-values.
        seed: of the initial weights.
        name: shown in the summary.
    """
    # A seed of its own for each layer: with a shared one, layers of one shape would start out as copies.
    seeds = (int(part) for part in np.random.SeedSequence(seed).generate_state(1024))
    frames = keras.Input(observation_shape, dtype="uint8", name="frames")
    features = TORSOS[settings.torso](frames, seeds)
    if settings.head == "dueling":
        values = dueling_head(features, num_actions, settings.hidden_units, seeds)
    else:
        hidden = _dense(settings.hidden_units, seeds, activation="relu", name="hidden")(features)
        values = _dense(num_actions, seeds, name="q_values")(hidden)
    return keras.Model(frames, values, name=name)


def nature_torso(frames: keras.KerasTensor, seeds: Iterator[int]) -> keras.KerasTensor:
    """The convolutions of Mnih et al. 2015, Methods, Model architecture, on bytes scaled to 0..1."""
    features = keras.layers.Rescaling(1 / 255, name="scale")(frames)
    for index, (filters, kernel, stride) in enumerate([(32, 8, 4), (64, 4, 2), (64, 3, 1)], start=1):
        features = keras.layers.Conv2D(
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
    value = _dense(1, seeds, name="value")(value)
    advantage = _dense(hidden_units, seeds, activation="relu", name="advantage_hidden")(features)
    advantage = _dense(num_actions, seeds, name="advantage")(advantage)
    mean = keras.ops.mean(advantage, axis=-1, keepdims=True)
    centred = keras.layers.Subtract(name="centred_advantage")([advantage, mean])
    return keras.layers.Add(name="q_values")([value, centred])


def _dense(units: int, seeds: Iterator[int], name: str, activation: str | None = None) -> keras.layers.Dense:
    return keras.layers.Dense(units, activation=activation, kernel_initializer=_initializer(seeds), name=name)


def _initializer(seeds: Iterator[int]) -> keras.initializers.Initializer:
    # He et al. 2015, for layers followed by ReLU: the signal of a ball two pixels wide reaches the last layer undiminished.
    return keras.initializers.HeUniform(seed=next(seeds))
