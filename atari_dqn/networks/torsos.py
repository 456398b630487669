"""What sees: from observations to features."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from atari_dqn.backend.keras_backend import keras
from atari_dqn.config.learning_schema import TORSO_NAMES, NetworkSettings

# From observations (B, ..., stack) and a stream of seeds for initializers to features (B, n).
Torso = Callable[[keras.KerasTensor, Iterator[int]], keras.KerasTensor]

PIXELS = 1 / 255
SQUARINGS = 6


class StridedConvolution(keras.layers.Conv2D):  # type: ignore[misc]
    """A convolution that takes the pixels of a stride as channels of one, where strides divide
    widths of kernel and features.

    They are the same numbers in the same order, so nothing is moved, and the units that multiply
    matrices are better filled.
    """

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Makes kernel and bias for features of a shape (B, height, width, channels)."""
        super().build(shape)
        across = self.strides[1]
        divides = self.padding == "valid" and not (
            self.kernel_size[1] % across or shape[2] % across
        )
        self.joined = across if divides else 1  # pixels that are one

    def call(self, features: Any) -> Any:
        """From features (B, height, width, channels) to features (B, rows, columns, filters)."""
        return self.activated(self.convolved(features, self.kernel), self.bias)

    def convolved(self, features: Any, kernel: Any) -> Any:
        """With this kernel, without a bias."""
        (rows, columns), (height, width, channels), joined = (
            self.kernel_size,
            features.shape[1:],
            self.joined,
        )
        kernel = keras.ops.reshape(
            kernel, (rows, columns // joined, channels * joined, self.filters)
        )
        features = keras.ops.reshape(features, (-1, height, width // joined, channels * joined))
        return keras.ops.conv(
            features, kernel, (self.strides[0], self.strides[1] // joined), self.padding
        )

    def activated(self, features: Any, bias: Any) -> Any:
        """With this bias, and the activation."""
        return self.activation(
            keras.ops.add(features, bias)
        )  # whose gradient, unlike that of +, needs no pass of its own


class ByteConvolution(StridedConvolution):
    """A convolution of bytes as if they had been scaled: it is the kernel that is scaled, which has
    fewer numbers.

    Args:
        arguments: of a convolution.
        white: what 255 is scaled to; 0 stays 0.
        centered: as if the mean picture had been taken off each frame, too: it is the bias that its
            features are taken off. It is 0 until it is set.
        options: of a convolution.
    """

    def __init__(
        self, *arguments: Any, white: float = 1.0, centered: bool = False, **options: Any
    ) -> None:
        # The kernel is scaled before it is rounded to the precision of the computation.
        self._precision = keras.config.dtype_policy().compute_dtype
        self.mean: Any = None
        self.scale = white * PIXELS
        self._centered = centered
        super().__init__(*arguments, **{**options, "dtype": "float32"})

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Makes kernel and bias, and the mean picture (1, height, width, 1)."""
        super().build(shape)
        if self._centered:
            self.mean = self.add_weight(
                shape=(1, *shape[1:3], 1), initializer="zeros", trainable=False, name="mean"
            )

    def call(self, frames: Any) -> Any:
        """From bytes (B, height, width, channels) to features (B, rows, columns, filters)."""
        kernel, bias = self.kernel * self.scale, self.bias
        if self.mean is not None:
            of_all_frames = keras.ops.sum(kernel, axis=2, keepdims=True)
            bias = bias - keras.ops.conv(self.mean, of_all_frames, self.strides, self.padding)
        frames, kernel, bias = (
            keras.ops.cast(part, self._precision) for part in (frames, kernel, bias)
        )
        return self.activated(self.convolved(frames, kernel), bias)


class SpectralConvolution(keras.layers.Conv2D):  # type: ignore[misc]
    """A convolution whose kernel, as a matrix (inputs, filters), is divided by its largest singular
    value.

    Miyato et al. 2018, "Spectral Normalization for Generative Adversarial Networks", section 2.1.
    They remember the singular vector from one step to the next; here it is found anew each time, so
    that the layer has no state but its weights.
    """

    def call(self, features: Any) -> Any:
        """From features (B, height, width, channels) to features (B, rows, columns, filters)."""
        kernel = keras.ops.cast(self.normalized_kernel(), self.compute_dtype)
        return self.activation(
            keras.ops.add(keras.ops.conv(features, kernel, self.strides, self.padding), self.bias)
        )

    def normalized_kernel(self) -> Any:
        """The kernel that is computed with, float32."""
        kernel = keras.ops.cast(self.kernel, "float32")
        matrix = keras.ops.reshape(kernel, (-1, self.filters))
        power = keras.ops.stop_gradient(keras.ops.matmul(keras.ops.transpose(matrix), matrix))
        for _ in range(SQUARINGS):  # power iteration, 64 steps at once
            power = keras.ops.matmul(power, power)
            power = power / keras.ops.trace(power)
        singular = keras.ops.matmul(power, keras.ops.ones((self.filters, 1), "float32"))
        return kernel / keras.ops.norm(
            keras.ops.matmul(matrix, singular / keras.ops.norm(singular))
        )


def nature_torso(
    frames: keras.KerasTensor, seeds: Iterator[int], settings: NetworkSettings
) -> keras.KerasTensor:
    """The convolutions of Mnih et al. 2015, Methods, Model architecture, on bytes scaled to 0..1
    times the contrast.
    """
    layer_norm, features = settings.layer_norm, frames
    layers = zip(settings.nature_channels, [(8, 4), (4, 2), (3, 1)], strict=True)
    for index, (filters, (kernel, stride)) in enumerate(layers, start=1):
        kind, name = (
            _first_kind(settings) if index == 1 else StridedConvolution,
            f"convolution_{index}",
        )
        activation, scale = None if layer_norm else "relu", initializer(seeds)
        features = kind(
            filters, kernel, stride, activation=activation, kernel_initializer=scale, name=name
        )(features)
        features = normalized(features, name) if layer_norm else features
    return keras.layers.Flatten(name="features")(features)


def impala_torso(
    frames: keras.KerasTensor, seeds: Iterator[int], settings: NetworkSettings
) -> keras.KerasTensor:
    """The residual network of Espeholt et al. 2018, "IMPALA", figure 3 (right), on bytes scaled to
    0..1 times the contrast.

    A first convolution with a stride sees a smaller picture: its kernel is twice as wide as the
    stride, or 3 where that is 1. With spectral norm the residual blocks' convolutions have it:
    Gogianu et al. 2021, "Spectral Normalisation for Deep Reinforcement Learning".
    """
    features, inner = frames, SpectralConvolution if settings.spectral_norm else keras.layers.Conv2D
    kind, stride = _first_kind(settings), settings.impala_stride
    for section, base in enumerate(settings.impala_channels, start=1):
        channels, name = base * settings.impala_width, f"section_{section}"
        features = _same(kind, channels, seeds, name, stride)(features)
        kind, stride = keras.layers.Conv2D, 1
        features = keras.layers.MaxPooling2D(3, 2, "same", name=f"{name}_pool")(features)
        for block in range(1, settings.impala_blocks + 1):
            features = _residual(inner, features, seeds, f"{name}_block_{block}")
    return keras.layers.Flatten(name="features")(keras.layers.ReLU(name="relu")(features))


def mlp_torso(
    observations: keras.KerasTensor, seeds: Iterator[int], settings: NetworkSettings
) -> keras.KerasTensor:
    """Dense layers of the widths that the settings give, on observations as they are or, bytes,
    scaled to 0..1.
    """
    bytes_in = observations.dtype == "uint8"
    features = (
        keras.layers.Rescaling(PIXELS, name="scale")(observations) if bytes_in else observations
    )
    features = keras.layers.Flatten(name="flat")(features)
    activation, penalty = (
        settings.mlp_activation,
        keras.regularizers.L2(settings.mlp_l2) if settings.mlp_l2 else None,
    )
    for index, units in enumerate(settings.mlp_layers, start=1):
        options = {
            "kernel_initializer": initializer(seeds),
            "kernel_regularizer": penalty,
            "name": f"dense_{index}",
        }
        features = keras.layers.Dense(units, activation, **options)(features)
    return features


CUSTOM: dict[str, Torso] = {}


def register_torso(name: str, torso: Torso) -> None:
    """Makes a torso of your own known as ``network.torso = NAME``, in every process that trains or
    loads such an agent.

    Args:
        name: what settings call it.
        torso: a function from frames (B, height, width, stack), bytes, and an endless stream of
            seeds to features (B, n), built of Keras's own layers; the frames are best scaled by a
            ``Rescaling`` layer first.

    Raises:
        ValueError: the name is taken.
    """
    if name in TORSO_NAMES:
        raise ValueError(f"there is a torso '{name}' already")
    CUSTOM[name] = torso
    TORSO_NAMES.append(name)


def make_torso(settings: NetworkSettings) -> Torso:
    """The torso that the settings name."""
    if settings.torso == "impala":
        return partial(impala_torso, settings=settings)
    if settings.torso == "mlp":
        return partial(mlp_torso, settings=settings)
    if settings.torso == "nature":
        return partial(nature_torso, settings=settings)
    return CUSTOM[settings.torso]


def initializer(seeds: Iterator[int]) -> keras.initializers.Initializer:
    """The next layer's initializer: He et al. 2015, for layers followed by ReLU.

    With it the signal of a ball two pixels wide reaches the last layer undiminished.
    """
    return keras.initializers.HeUniform(seed=next(seeds))


def normalized(features: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """ReLU of features with mean 0 and deviation 1 over their last axis: Ba et al. 2016, "Layer
    Normalization".
    """
    features = keras.layers.LayerNormalization(name=f"{name}_norm", dtype="float32")(features)
    return keras.layers.ReLU(name=f"{name}_relu")(features)


def _first_kind(settings: NetworkSettings) -> Callable[..., keras.layers.Layer]:
    return partial(ByteConvolution, white=settings.contrast, centered=settings.center)


def _residual(
    kind: Callable[..., keras.layers.Layer],
    features: keras.KerasTensor,
    seeds: Iterator[int],
    name: str,
) -> keras.KerasTensor:
    """What a block of two convolutions computes, added to its features."""
    inside, channels = features, features.shape[-1]
    for part in (1, 2):
        inside = keras.layers.ReLU(name=f"{name}_relu_{part}")(inside)
        inside = _same(kind, channels, seeds, f"{name}_convolution_{part}")(inside)
    return keras.layers.Add(name=name)([features, inside])


def _same(
    kind: Callable[..., keras.layers.Layer],
    channels: int,
    seeds: Iterator[int],
    name: str,
    stride: int = 1,
) -> keras.layers.Layer:
    """A 3x3 convolution that keeps height and width, or one twice as wide as its stride, which
    divides them by it.

    Its weights are such that residual sums do not grow by much.
    """
    scale = keras.initializers.LecunNormal(seed=next(seeds))
    return kind(
        channels,
        3 if stride == 1 else 2 * stride,
        stride,
        padding="same",
        kernel_initializer=scale,
        name=name,
    )
