"""Network torsos, which map observations to features."""

from collections.abc import Callable, Iterator
from functools import partial, reduce
from typing import Any

import numpy as np

from atari_dqn.backend.arrays import FrameStatistics
from atari_dqn.backend.keras_backend import keras
from atari_dqn.backend.tensorflow_backend import tf
from atari_dqn.config.learning_schema import TORSO_NAMES, NetworkSettings

# A torso maps observations (B, ..., stack) and an iterator over seeds to features (B, n).
Torso = Callable[[keras.KerasTensor, Iterator[int]], keras.KerasTensor]

BYTE_SCALE = 1 / 255
NATURE_KERNELS = (8, 4, 3)
NATURE_STRIDES = (4, 2, 1)
SQUARINGS = 6
# Least standard deviation of frames, in gray values from 0 to 255. A screen that hardly changes is
# not scaled up further.
LEAST_DEVIATION = 1.0


class StridedConvolution(keras.layers.Conv2D):  # type: ignore[misc]
    """A convolution that treats the pixels of one stride as channels of a single pixel.

    It does so along the width, if there is no padding and the stride divides the widths of the
    kernel and the features. The numbers stay in the same order, so no copy is needed, and the wider
    channels make better use of a processor's matrix units.
    """

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Creates the kernel and the bias for features (B, height, width, channels)."""
        super().build(shape)
        across = self.strides[1]
        divides = self.padding == "valid" and not (
            self.kernel_size[1] % across or shape[2] % across
        )
        self.joined = across if divides else 1  # number of pixels that are treated as one

    def call(self, features: Any) -> Any:
        """Maps features (B, height, width, channels) to features (B, rows, columns, filters)."""
        return self.activated(self.convolved(features, self.kernel), self.bias)

    def convolved(self, features: Any, kernel: Any) -> Any:
        """Returns features convolved with a kernel, without a bias."""
        joined = self.joined
        rows, columns = self.kernel_size
        height, width, channels = features.shape[1:]
        kernel_shape = (rows, columns // joined, channels * joined, self.filters)
        kernel = keras.ops.reshape(kernel, kernel_shape)
        features = keras.ops.reshape(features, (-1, height, width // joined, channels * joined))
        strides = (self.strides[0], self.strides[1] // joined)
        return keras.ops.conv(features, kernel, strides, self.padding)

    def activated(self, features: Any, bias: Any) -> Any:
        """Returns the features after adding a bias and applying the activation function."""
        # Unlike +, the gradient of this addition needs no extra pass.
        return self.activation(keras.ops.add(features, bias))


class ByteConvolution(StridedConvolution):
    """A convolution of bytes that are scaled, and centered or standardized if requested.

    It scales the kernel instead of the input, because the kernel is smaller. The mean frame is
    subtracted from the input before that is rounded to the precision of the computation. Rounding
    first would leave little of the small differences from the mean.

    Args:
        arguments: positional arguments of a convolution.
        contrast: input scale: the value to which a byte of 255 is scaled.
        centered: whether to subtract a mean frame, which is 0 until it is set.
        deviation: standard deviation to which mean-subtracted frames are scaled as soon as the mean
            frame is set; 0 keeps the input scale ``contrast``.
        motion: factor of the difference of each frame of a stack from the stack's mean.
        options: keyword arguments of a convolution.
    """

    def __init__(
        self,
        *arguments: Any,
        contrast: float = 1.0,
        centered: bool = False,
        deviation: float = 0.0,
        motion: float = 1.0,
        **options: Any,
    ) -> None:
        # The kernel is scaled before it is rounded to the precision of the computation.
        self._precision = keras.config.dtype_policy().compute_dtype
        self.mean: Any = None
        self.scale: Any = contrast * BYTE_SCALE
        self._centered = centered
        self._deviation = deviation
        self._motion = motion
        super().__init__(*arguments, **{**options, "dtype": "float32"})

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Creates the kernel, the bias, and the mean frame (1, height, width, 1) if centered."""
        super().build(shape)
        if self._centered:
            mean_shape = (1, *shape[1:3], 1)
            self.mean = self.add_weight(
                shape=mean_shape, initializer="zeros", trainable=False, name="mean"
            )
        if self._deviation:
            initial = keras.initializers.Constant(self.scale)
            self.scale = self.add_weight(
                shape=(), initializer=initial, trainable=False, name="scale"
            )

    def center(self, statistics: FrameStatistics) -> None:
        """Sets the mean frame, and the input scale if frames are scaled to a given deviation."""
        self.mean.assign(statistics.mean[np.newaxis, :, :, np.newaxis])
        if self._deviation:
            self.scale.assign(self._deviation / max(statistics.deviation, LEAST_DEVIATION))

    def call(self, frames: Any) -> Any:
        """Maps bytes (B, height, width, channels) to features (B, rows, columns, filters)."""
        if self.mean is not None:
            # Every frame of a stack has the same mean.
            mean = keras.ops.repeat(self.mean, frames.shape[3], axis=3)
            frames = keras.ops.cast(frames, "float32") - mean
        frames = keras.ops.cast(frames, self._precision)
        kernel = keras.ops.cast(self.input_kernel() * self.scale, self._precision)
        bias = keras.ops.cast(self.bias, self._precision)
        return self.activated(self.convolved(frames, kernel), bias)

    def input_kernel(self) -> Any:
        """Returns the kernel (rows, columns, channels, filters) for frames without ``motion``.

        A convolution is linear and ``motion`` treats all frames of a stack alike, so it can scale
        the differences of the kernel's channels from their mean instead of those of the frames.
        """
        if self._motion == 1:
            return self.kernel
        mean = keras.ops.mean(self.kernel, axis=2, keepdims=True)
        return mean + self._motion * (self.kernel - mean)


class SpectralConvolution(keras.layers.Conv2D):  # type: ignore[misc]
    """A convolution whose kernel is divided by its largest singular value.

    The kernel is reshaped to a matrix (inputs, filters) for this. Miyato et al. 2018, "Spectral
    Normalization for Generative Adversarial Networks", section 2.1. They keep the singular vector
    between steps. Here it is computed each time, so that the layer has no state except its weights.
    """

    def call(self, features: Any) -> Any:
        """Maps features (B, height, width, channels) to features (B, rows, columns, filters)."""
        kernel = keras.ops.cast(self.normalized_kernel(), self.compute_dtype)
        convolved = keras.ops.conv(features, kernel, self.strides, self.padding)
        return self.activation(keras.ops.add(convolved, self.bias))

    def normalized_kernel(self) -> Any:
        """Returns the normalized kernel (rows, columns, channels, filters) in float32."""
        kernel = keras.ops.cast(self.kernel, "float32")
        matrix = keras.ops.reshape(kernel, (-1, self.filters))
        power = keras.ops.stop_gradient(keras.ops.matmul(keras.ops.transpose(matrix), matrix))
        for _ in range(SQUARINGS):  # 64 steps of power iteration at once
            power = keras.ops.matmul(power, power)
            power = power / keras.ops.trace(power)
        singular = keras.ops.matmul(power, keras.ops.ones((self.filters, 1), "float32"))
        singular = singular / keras.ops.norm(singular)
        return kernel / keras.ops.norm(keras.ops.matmul(matrix, singular))


class CompiledMaxPooling(keras.layers.MaxPooling2D):  # type: ignore[misc]
    """Max pooling whose gradient XLA adds up in a fixed order.

    It takes the maximum of shifted slices. XLA's own gradient adds up in any order on a GPU, so
    runs would not repeat. Without XLA, slices take much longer. The pools are square.
    """

    def call(self, features: Any) -> Any:
        """Maps features (B, height, width, channels) to maxima (B, rows, columns, channels)."""
        for axis in (1, 2):
            features = self.along(axis, features)
        return features

    def along(self, axis: int, features: Any) -> Any:
        """Returns the maxima along one axis, padded as evenly as possible ("same" in Keras)."""
        size = self.pool_size[0]
        stride = self.strides[0]
        length = features.shape[axis]
        outputs = -(-length // stride)
        missing = max((outputs - 1) * stride + size - length, 0)
        padding = [(0, 0)] * 4
        padding[axis] = (missing // 2, missing - missing // 2)
        lowest = float(tf.as_dtype(features.dtype).min)
        features = keras.ops.pad(features, padding, constant_values=lowest)
        end = (outputs - 1) * stride + 1
        shifted = [
            features[(slice(None),) * axis + (slice(offset, offset + end, stride),)]
            for offset in range(size)
        ]
        return reduce(keras.ops.maximum, shifted)


def nature_torso(
    frames: keras.KerasTensor, seeds: Iterator[int], settings: NetworkSettings
) -> keras.KerasTensor:
    """Builds the convolutions of Mnih et al. 2015, Methods; returns features (B, n).

    Bytes are multiplied by ``contrast`` / 255, until ``center`` sets another input scale.
    """
    features = frames
    kind = _first_kind(settings)
    sizes = zip(settings.nature_channels, NATURE_KERNELS, NATURE_STRIDES, strict=True)
    for index, (filters, kernel, stride) in enumerate(sizes, start=1):
        name = f"convolution_{index}"
        layer = kind(
            filters,
            kernel,
            stride,
            activation=None if settings.layer_norm else "relu",
            kernel_initializer=initializer(seeds),
            name=name,
        )
        features = layer(features)
        if settings.layer_norm:
            features = normalized(features, name)
        kind = StridedConvolution
    return keras.layers.Flatten(name="features")(features)


def impala_torso(
    frames: keras.KerasTensor,
    seeds: Iterator[int],
    settings: NetworkSettings,
    compiled: bool = False,
) -> keras.KerasTensor:
    """Builds the residual network of Espeholt et al. 2018, figure 3 (right); returns features.

    Bytes are multiplied by ``contrast`` / 255, until ``center`` sets another input scale. If the
    first convolution has a stride above 1, its kernel is twice as wide as the stride. Spectral
    normalization applies to the residual blocks (Gogianu et al. 2021, "Spectral Normalisation for
    Deep Reinforcement Learning").
    """
    features = frames
    inner = SpectralConvolution if settings.spectral_norm else keras.layers.Conv2D
    pooling = CompiledMaxPooling if compiled else keras.layers.MaxPooling2D
    kind = _first_kind(settings)
    stride = settings.impala_stride
    for section, base in enumerate(settings.impala_channels, start=1):
        name = f"section_{section}"
        features = _same(kind, base * settings.impala_width, seeds, name, stride)(features)
        kind = keras.layers.Conv2D
        stride = 1
        features = pooling(3, 2, "same", name=f"{name}_pool")(features)
        for block in range(1, settings.impala_blocks + 1):
            features = _residual(inner, features, seeds, f"{name}_block_{block}")
    return keras.layers.Flatten(name="features")(keras.layers.ReLU(name="relu")(features))


def mlp_torso(
    observations: keras.KerasTensor, seeds: Iterator[int], settings: NetworkSettings
) -> keras.KerasTensor:
    """Builds dense layers on flattened observations, and returns features (B, n).

    Bytes are scaled to 0..1 first.
    """
    features = observations
    if observations.dtype == "uint8":
        features = keras.layers.Rescaling(BYTE_SCALE, name="scale")(features)
    features = keras.layers.Flatten(name="flat")(features)
    penalty = keras.regularizers.L2(settings.mlp_l2) if settings.mlp_l2 else None
    for index, units in enumerate(settings.mlp_layers, start=1):
        layer = keras.layers.Dense(
            units,
            settings.mlp_activation,
            kernel_initializer=initializer(seeds),
            kernel_regularizer=penalty,
            name=f"dense_{index}",
        )
        features = layer(features)
    return features


BUILT_IN: dict[str, Callable[..., keras.KerasTensor]] = {
    "nature": nature_torso,
    "impala": impala_torso,
    "mlp": mlp_torso,
}
CUSTOM: dict[str, Torso] = {}


def register_torso(name: str, torso: Torso) -> None:
    """Registers a custom torso, which ``network.torso = NAME`` then selects.

    Call this in every process that trains or loads an agent with the torso.

    Args:
        name: value of the setting ``network.torso``.
        torso: a function that maps frames (B, height, width, stack) of uint8 and an iterator over
            seeds to features (B, n). It should begin with a ``Rescaling`` layer and use Keras's own
            layers only.

    Raises:
        ValueError: the name is already taken.
    """
    if name in TORSO_NAMES:
        raise ValueError(f"a torso named '{name}' already exists")
    CUSTOM[name] = torso
    TORSO_NAMES.append(name)


def make_torso(settings: NetworkSettings, compiled: bool = False) -> Torso:
    """Returns the torso that the settings select.

    Args:
        settings: network settings.
        compiled: whether XLA compiles the network.
    """
    if settings.torso == "impala":
        return partial(impala_torso, settings=settings, compiled=compiled)
    if settings.torso in BUILT_IN:
        return partial(BUILT_IN[settings.torso], settings=settings)
    return CUSTOM[settings.torso]


def initializer(seeds: Iterator[int]) -> keras.initializers.Initializer:
    """Returns the initializer of He et al. 2015 for the next layer.

    It preserves the scale of activations from layer to layer where ReLU follows, so that even a
    ball two pixels wide affects the outputs. The output layers and other activations use it, too.
    """
    return keras.initializers.HeUniform(seed=next(seeds))


def normalized(features: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Builds layer normalization followed by ReLU (Ba et al. 2016); returns features."""
    features = keras.layers.LayerNormalization(name=f"{name}_norm", dtype="float32")(features)
    return keras.layers.ReLU(name=f"{name}_relu")(features)


def _first_kind(settings: NetworkSettings) -> Callable[..., keras.layers.Layer]:
    return partial(
        ByteConvolution,
        contrast=settings.contrast,
        centered=settings.center,
        deviation=settings.deviation,
        motion=settings.motion,
    )


def _residual(
    kind: Callable[..., keras.layers.Layer],
    features: keras.KerasTensor,
    seeds: Iterator[int],
    name: str,
) -> keras.KerasTensor:
    """Builds a residual block of two convolutions; returns features of the same shape."""
    inside = features
    channels = features.shape[-1]
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
    """Returns a convolution that preserves height and width, or divides them by its stride.

    The kernel is 3x3, or twice as wide as the stride if that is above 1. LeCun's initializer keeps
    the sums of residual blocks from growing much.
    """
    return kind(
        channels,
        3 if stride == 1 else 2 * stride,
        stride,
        padding="same",
        kernel_initializer=keras.initializers.LecunNormal(seed=next(seeds)),
        name=name,
    )
