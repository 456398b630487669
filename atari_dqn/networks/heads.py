"""Network heads, which map features to K outputs for each action."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from atari_dqn.backend.keras_backend import keras
from atari_dqn.backend.tensorflow_backend import tf
from atari_dqn.config.learning_schema import NetworkSettings
from atari_dqn.networks.torsos import initializer, normalized

# The layers that output Q-values, values or advantages.
OUTPUT_LAYERS = ("q_values", "value", "advantage")

# All layers after the torso.
HEAD_LAYERS = ("fraction_embedding", "hidden", "value_hidden", "advantage_hidden", *OUTPUT_LAYERS)

# Dabney et al. 2018, "Implicit Quantile Networks for Distributional Reinforcement Learning",
# equation 4.
COSINES = 64


class NoisyDense(keras.layers.Layer):  # type: ignore[misc]
    """A dense layer with factorized Gaussian noise on its weights.

    The noise depends only on a key, and is the same for the whole batch. If it is not called with
    ``training``, the layer is an ordinary dense layer with the mean weights. Fortunato et al. 2018,
    "Noisy Networks for Exploration", equations 9 to 11, with the initialization of section 3.2.

    Args:
        units: number of outputs.
        sigma: the paper's sigma_0, from which the initial scale of the noise follows.
        number: number of this layer in the network, which gives each layer its own noise.
        seed: seed of the initial weights.
        activation: name of the activation function, or None.
        options: other keyword arguments of a Keras layer.
    """

    def __init__(
        self,
        units: int,
        sigma: float,
        number: int,
        seed: int,
        activation: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.units = units
        self.sigma = sigma
        self.number = number
        self.seed = seed
        self.activation = keras.activations.get(activation)

    def build(self, shapes: list[tuple[int | None, ...]]) -> None:
        """Creates the means and the noise scales of the kernel and the bias."""
        inputs = int(shapes[0][-1] or 0)
        bound = inputs**-0.5
        kernel_means = keras.initializers.RandomUniform(-bound, bound, self.seed)
        bias_means = keras.initializers.RandomUniform(-bound, bound, self.seed + 1)
        scale = keras.initializers.Constant(self.sigma * bound)
        shape = (inputs, self.units)
        self.kernel = self.add_weight(shape=shape, initializer=kernel_means, name="kernel")
        self.bias = self.add_weight(shape=(self.units,), initializer=bias_means, name="bias")
        self.kernel_scale = self.add_weight(shape=shape, initializer=scale, name="kernel_scale")
        self.bias_scale = self.add_weight(shape=(self.units,), initializer=scale, name="bias_scale")

    def call(self, inputs: tuple[Any, Any], training: bool = False) -> Any:
        """Maps features (..., n) and a key (2,) to outputs (..., units)."""
        features, key = inputs
        outputs = keras.ops.matmul(features, self.kernel) + self.bias
        if training:
            # The kernel's noise is an outer product of two vectors. It can therefore be applied by
            # multiplying the inputs by one vector and the outputs by the other.
            inputs_noise = self._noise(key, 0, self.kernel.shape[0])
            outputs_noise = self._noise(key, 1, self.kernel.shape[1])
            scaled = keras.ops.matmul(features * inputs_noise, self.kernel_scale) + self.bias_scale
            outputs += outputs_noise * scaled
        return self.activation(outputs)

    def _noise(self, key: Any, side: int, size: int) -> Any:
        """Returns noise (size,) for the inputs (side 0) or the outputs (side 1), equation 10."""
        own_key = tf.random.experimental.stateless_fold_in(key, 2 * self.number + side)
        normal = tf.random.stateless_normal((size,), own_key)
        noise = keras.ops.sign(normal) * keras.ops.sqrt(keras.ops.abs(normal))
        return keras.ops.cast(noise, self.compute_dtype)


class FractionEmbedding(keras.layers.Layer):  # type: ignore[misc]
    """Multiplies features by an embedding of a fraction f of the distribution of returns.

    The embedding is phi_j(f) = relu(sum_i cos(pi i f) w_ij + b_j), where i goes from 1 to 64 as in
    Dopamine. It goes from 0 to 63 in the paper (Dabney et al. 2018, "Implicit Quantile Networks",
    equation 4); i = 0 gives a constant, like the bias.

    Args:
        seed: seed of the initial weights.
        options: other keyword arguments of a Keras layer.
    """

    def __init__(self, seed: int, **options: Any) -> None:
        # No automatic cast to bfloat16: it would change a fraction by up to 1/512, and the argument
        # of the last cosine by up to 0.4.
        super().__init__(autocast=False, **options)
        self.seed = seed

    def build(self, shapes: list[tuple[int | None, ...]]) -> None:
        """Creates the dense layer that maps the cosines to the embedding."""
        self.embed = keras.layers.Dense(
            int(shapes[0][-1] or 0),
            "relu",
            kernel_initializer=keras.initializers.HeUniform(self.seed),
            dtype=self.dtype_policy,
            name="cosines",
        )
        self.embed.build((None, None, COSINES))

    def call(self, inputs: tuple[Any, Any]) -> Any:
        """Maps features (B, n) and fractions (B, N) to features (B, N, n)."""
        features, fractions = inputs
        return features[:, None, :] * self.weights_of(fractions)

    def weights_of(self, fractions: Any) -> Any:
        """Maps fractions (B, N) to embeddings (B, N, n), by which the features are multiplied."""
        frequencies = np.pi * np.arange(1, COSINES + 1, dtype=np.float32)
        angles = frequencies * keras.ops.cast(fractions, "float32")[:, :, None]
        return self.embed(keras.ops.cast(keras.ops.cos(angles), self.compute_dtype))


class Head:
    """A network head, which builds the layers after the torso.

    Args:
        settings: network settings.
        num_actions: A, the number of actions.
        seeds: an iterator over seeds for the initializers.
        noise: input (2,) for the random key of the noise, or None for layers without noise.
    """

    def __init__(
        self,
        settings: NetworkSettings,
        num_actions: int,
        seeds: Iterator[int],
        noise: keras.KerasTensor | None,
    ) -> None:
        self.settings = settings
        self.num_actions = num_actions
        self.seeds = seeds
        self.noise = noise
        self._noisy_layers = 0

    def __call__(
        self, features: keras.KerasTensor, fractions: keras.KerasTensor | None
    ) -> keras.KerasTensor:
        """Builds the head on features (B, n), and returns its float32 outputs (B, A, K).

        Args:
            features: (B, n) outputs of the torso.
            fractions: (B, K) input for fractions of the return's distribution if
                ``network.returns`` is "implicit", otherwise None.
        """
        if fractions is not None:
            embedding = FractionEmbedding(next(self.seeds), name="fraction_embedding")
            features = embedding([features, fractions])
        if self.settings.head == "q":
            return self._stream(features, self.num_actions, "hidden", "q_values")
        value = self._stream(features, 1, "value_hidden", "value")
        advantage = self._stream(features, self.num_actions, "advantage_hidden", "advantage")
        # Wang et al. 2016, equation 9, applied to each atom or quantile separately (Hessel et al.
        # 2018, section 3).
        mean = keras.ops.mean(advantage, axis=1, keepdims=True)
        subtract = keras.layers.Subtract(name="centred_advantage", dtype="float32")
        centered = subtract([advantage, mean])
        return keras.layers.Add(name="q_values", dtype="float32")([value, centered])

    def _stream(
        self, features: keras.KerasTensor, rows: int, hidden: str, output: str
    ) -> keras.KerasTensor:
        """Builds a hidden layer, if it has units, and an output layer; returns (B, rows, K)."""
        settings = self.settings
        if settings.hidden_units:
            activation = None if settings.layer_norm else "relu"
            features = self._dense(
                settings.hidden_units, features, name=hidden, activation=activation
            )
            if settings.layer_norm:
                features = normalized(features, hidden)
        options = {"name": f"{output}_by_action", "dtype": "float32"}
        if settings.returns == "implicit":  # K is the number of fractions in this pass
            outputs = self._dense(rows, features, name=output, dtype="float32")
            return keras.layers.Permute((2, 1), **options)(outputs)
        atoms = 1 if settings.returns == "mean" else settings.atoms
        outputs = self._dense(rows * atoms, features, name=output, dtype="float32")
        return keras.layers.Reshape((rows, atoms), **options)(outputs)

    def _dense(self, units: int, features: keras.KerasTensor, **options: Any) -> keras.KerasTensor:
        if self.noise is None:
            weights = initializer(self.seeds)
            return keras.layers.Dense(units, kernel_initializer=weights, **options)(features)
        self._noisy_layers += 1
        layer = NoisyDense(
            units, self.settings.noisy_sigma, self._noisy_layers, next(self.seeds), **options
        )
        return layer([features, self.noise])
