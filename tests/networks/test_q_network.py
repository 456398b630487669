"""Tests the networks: torsos, heads, precision, noisy layers and implicit quantiles."""

from itertools import count
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from atari_dqn.backend.arrays import FrameStatistics
from atari_dqn.backend.startup import resolve_precision
from atari_dqn.config import learning_schema
from atari_dqn.config.learning_schema import NetworkSettings
from atari_dqn.networks import torsos
from atari_dqn.networks.heads import OUTPUT_LAYERS, FractionEmbedding, NoisyDense
from atari_dqn.networks.q_network import Computation, Interface, QNetwork, build_network
from atari_dqn.networks.torsos import (
    ByteConvolution,
    CompiledMaxPooling,
    SpectralConvolution,
    impala_torso,
    register_torso,
)


def frames(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=(count, 84, 84, 4), dtype=np.uint8)


def test_the_nature_network_has_the_size_given_in_the_paper() -> None:
    """Convolutions of 32 8x8/4, 64 4x4/2 and 64 3x3/1, 512 hidden units, one output for each action
    (Mnih et al. 2015, Methods).
    """
    network = build_network(NetworkSettings(), Interface((84, 84, 4), 4), seed=1, name="online")
    convolutions = 8 * 8 * 4 * 32 + 32 + 4 * 4 * 32 * 64 + 64 + 3 * 3 * 64 * 64 + 64
    dense = 7 * 7 * 64 * 512 + 512 + 512 * 4 + 4
    assert network.count_params() == convolutions + dense
    assert network({"frames": frames()}).shape == (3, 4, 1)
    assert network({"frames": frames()}).dtype == tf.float32


def test_the_network_matches_convolutions_computed_by_hand() -> None:
    network = build_network(
        NetworkSettings(hidden_units=8), Interface((36, 36, 1), 2), seed=1, name="online"
    )
    image = np.random.default_rng(0).integers(256, size=(1, 36, 36, 1), dtype=np.uint8)
    features = image[0].astype(np.float64) / 255
    weights = [weight.astype(np.float64) for weight in network.get_weights()]
    for (kernel, bias), stride in zip(
        [weights[0:2], weights[2:4], weights[4:6]], [4, 2, 1], strict=True
    ):
        size = kernel.shape[0]
        side = (features.shape[0] - kernel.shape[0]) // stride + 1
        out = np.zeros((side, side, kernel.shape[3]))
        for row in range(side):
            for column in range(side):
                patch = features[
                    row * stride : row * stride + size, column * stride : column * stride + size
                ]
                out[row, column] = np.einsum("hwc,hwcf->f", patch, kernel) + bias
        features = np.maximum(out, 0)
    hidden = np.maximum(features.ravel() @ weights[6] + weights[7], 0)
    np.testing.assert_allclose(
        network({"frames": image})[0, :, 0], hidden @ weights[8] + weights[9], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(("returns", "atoms"), [("mean", 1), ("quantile", 7)])
def test_the_advantages_of_a_dueling_head_have_mean_zero(returns: Any, atoms: int) -> None:
    """The mean of the Q-values is the state's value, whatever the advantages (Wang et al. 2016,
    equation 9).

    With quantiles this holds for each of them (Hessel et al. 2018, section 3).
    """
    network = build_network(
        NetworkSettings(head="dueling", returns=returns, atoms=7),
        Interface((84, 84, 4), 6),
        seed=1,
        name="online",
    )
    parts = keras.Model(network.input, [network.get_layer("value").output, network.output])
    value, q_values = parts({"frames": frames()})
    assert q_values.shape == (3, 6, atoms)
    np.testing.assert_allclose(np.mean(q_values, axis=1), value, atol=1e-5)
    network.get_layer("advantage").bias.assign_add(tf.fill([6 * atoms], 5.0))
    np.testing.assert_allclose(parts({"frames": frames()})[1], q_values, atol=1e-5)


@pytest.mark.parametrize("head", ["q", "dueling"])
def test_the_seed_determines_the_initial_weights(head: str) -> None:
    one, same, other = (
        build_network(
            NetworkSettings.model_validate({"head": head}),
            Interface((36, 36, 2), 3),
            seed=seed,
            name="n",
        )
        for seed in (1, 1, 2)
    )
    for left, right in zip(one.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)
    assert not np.array_equal(one.get_weights()[0], other.get_weights()[0])
    kernels = [weight for weight in one.get_weights() if weight.ndim > 1]
    assert len({float(kernel.ravel()[0]) for kernel in kernels}) == len(kernels), (
        "layers must not be initialized from the same random numbers"
    )


@pytest.mark.parametrize("head", ["q", "dueling"])
def test_layers_are_bfloat16_except_the_first_and_those_that_output_values(head: str) -> None:
    settings = NetworkSettings.model_validate({"head": head})
    both = QNetwork(
        lambda name, precision: build_network(
            settings, Interface((84, 84, 4), 4), 1, name, Computation(precision)
        ),
        "n",
        "bfloat16",
    )
    exact = both.weights
    rounded = both.computing
    for layer in rounded.layers:
        outputs_values = layer.name in OUTPUT_LAYERS or layer.name == "convolution_1"
        for weight in layer.weights:
            assert weight.dtype == ("float32" if outputs_values else "bfloat16"), weight.path
    hidden = [
        layer
        for layer in rounded.layers
        if layer.name.startswith("convolution") or layer.name.endswith("hidden")
    ]
    assert {
        keras.Model(rounded.input, layer.output)({"frames": frames()}).dtype for layer in hidden
    } == {tf.bfloat16}
    values, rounded_values = (
        np.asarray(network({"frames": frames(50)})) for network in (exact, rounded)
    )
    assert rounded_values.dtype == np.float32
    error = np.abs(rounded_values - values).max() / np.abs(values).max()
    assert 1e-5 < error < 0.02, "bfloat16 has 8 significant bits: an error of at most 0.4 % a layer"
    assert keras.config.dtype_policy().name == "float32"


def test_a_registered_torso_can_be_selected_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torsos, "CUSTOM", {})
    monkeypatch.setattr(learning_schema, "TORSO_NAMES", names := [*learning_schema.TORSO_NAMES])
    monkeypatch.setattr(torsos, "TORSO_NAMES", names)
    with pytest.raises(ValueError, match="torso = 'flat': one of nature"):
        NetworkSettings(torso="flat")
    register_torso(
        "flat",
        lambda frames, seeds: keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(frames)),
    )
    network = build_network(
        NetworkSettings(torso="flat", hidden_units=8),
        Interface((36, 36, 1), 2),
        seed=1,
        name="online",
    )
    assert network.count_params() == 36 * 36 * 8 + 8 + 8 * 2 + 2
    with pytest.raises(ValueError, match="a torso named 'flat' already exists"):
        register_torso("flat", lambda frames, seeds: frames)


@pytest.mark.parametrize(
    ("torso", "stride", "tolerance"),
    [("nature", 1, 1e-5), ("impala", 1, 1e-4), ("impala", 2, 1e-4)],
)
def test_a_centered_network_equals_an_uncentered_one_on_mean_subtracted_frames(
    torso: str, stride: int, tolerance: float
) -> None:
    """This includes the borders, where mean-subtracted frames are padded with 0."""
    settings = NetworkSettings(torso=torso, hidden_units=8, impala_stride=stride, contrast=2.0)
    network = build_network(
        settings.model_copy(update={"center": True}), Interface((84, 84, 4), 4), 1, "online"
    )
    plain = build_network(settings, Interface((84, 84, 4), 4, "float32"), 1, "online")
    seen = frames()
    mean = np.random.default_rng(5).integers(256, size=(84, 84)).astype(np.float32)
    np.testing.assert_array_equal(
        network({"frames": seen}), plain({"frames": seen.astype(np.float32)})
    )
    (layer,) = [layer for layer in network.layers if isinstance(layer, ByteConvolution)]
    layer.mean.assign(mean[None, :, :, None])
    expected = plain({"frames": seen - mean[None, :, :, None]})
    np.testing.assert_allclose(network({"frames": seen}), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize(
    ("kernel", "strides", "shape", "joined"),
    [
        (8, 4, (84, 84, 4), 4),
        (4, 2, (37, 40, 2), 2),
        (8, 4, (84, 85, 4), 1),
        (3, 2, (20, 20, 4), 1),
        (3, 1, (20, 20, 4), 1),
    ],
)
def test_a_convolution_over_joined_columns_equals_one_over_pixels(
    kernel: int, strides: int, shape: tuple[int, ...], joined: int, centered: bool, precision: str
) -> None:
    """The kernel gradients are equal too; columns are joined only if the stride divides widths."""
    seen = np.random.default_rng(3).integers(256, size=(5, *shape), dtype=np.uint8)
    start = keras.initializers.HeUniform(1)
    layer = ByteConvolution(
        16, kernel, strides, contrast=4.0, centered=centered, kernel_initializer=start
    )
    layer._precision = precision
    layer.build((None, *shape))
    mean = 100.0 if centered else 0.0
    if centered:
        layer.mean.assign(np.full((1, *shape[:2], 1), mean))
    assert layer.joined == joined
    with tf.GradientTape(persistent=True) as tape:
        features = tf.cast(layer(seen), tf.float32)
        expected = tf.nn.conv2d(
            4 * (seen.astype(np.float32) - mean) / 255, layer.kernel, strides, "VALID"
        )
        losses = [
            (tf.reduce_sum(each**2), tf.reduce_sum(each[:1, :1, :1] ** 2))
            for each in (features, expected)
        ]
    every, one = (
        [tape.gradient(loss, layer.kernel) for loss in pair] for pair in zip(*losses, strict=True)
    )
    pairs = [(features, expected), one]
    if (
        resolve_precision("auto") == "bfloat16" or precision == "float32"
    ):  # otherwise sums over many pixels are rounded to bfloat16 as well
        pairs.append(every)
    for found, wanted in pairs:
        error = np.linalg.norm(found - wanted) / np.linalg.norm(wanted)
        assert error < 1e-5 if precision == "float32" else 1e-5 < error < 0.01


@pytest.mark.parametrize("torso", ["nature", "impala"])
def test_standardized_frames_with_motion_equal_those_of_a_plain_network(torso: str) -> None:
    """They have the requested deviation, and differences from the stack's mean are enlarged."""
    settings = NetworkSettings(torso=torso, hidden_units=8)
    standardized = {"center": True, "deviation": 0.3, "motion": 5.0}
    interface = Interface((84, 84, 4), 4)
    network = build_network(settings.model_copy(update=standardized), interface, 1, "online")
    plain = build_network(settings, Interface((84, 84, 4), 4, "float32"), 1, "online")
    (layer,) = [layer for layer in network.layers if isinstance(layer, ByteConvolution)]
    seen = frames()
    mean = seen.mean(axis=(0, 3), dtype=np.float32)
    for deviation, used in ((20.0, 20.0), (0.01, 1.0)):  # a still screen is not scaled up further
        layer.center(FrameStatistics(mean, deviation))
        differences = (seen - mean[None, :, :, None]) * 0.3 / used
        still = differences.mean(axis=3, keepdims=True)
        expected = plain({"frames": 255 * (still + 5 * (differences - still))})
        np.testing.assert_allclose(network({"frames": seen}), expected, rtol=1e-3, atol=1e-3 / used)


def test_a_deviation_needs_a_mean_frame() -> None:
    with pytest.raises(ValueError, match=r"deviation = 0\.04: only with center = true"):
        NetworkSettings(deviation=0.04)
    assert NetworkSettings(deviation=0.04, center=True).deviation == 0.04


@pytest.mark.parametrize("motion", [1.0, 6.0])
def test_small_differences_from_the_mean_frame_survive_bfloat16(motion: float) -> None:
    """Otherwise a ball on a bright background would be lost in rounding, as on Pong."""
    random = np.random.default_rng(3)
    mean = random.uniform(80, 240, (84, 84)).astype(np.float32)
    ball = 15 * (random.random((8, 84, 84, 4)) < 0.01)
    seen = (mean[None, :, :, None] + ball).astype(np.uint8)
    slope = random.normal(size=(8, 20, 20, 16)).astype(np.float32)
    start = keras.initializers.HeUniform(1)
    gradients = []
    for precision in ("float32", "bfloat16"):
        layer = ByteConvolution(
            16, 8, 4, contrast=4.0, centered=True, motion=motion, kernel_initializer=start
        )
        layer._precision = precision
        layer.build((None, 84, 84, 4))
        layer.center(FrameStatistics(mean, 1.0))
        with tf.GradientTape() as tape:
            features = tf.nn.relu(tf.cast(layer(seen), tf.float32))
            loss = tf.reduce_sum(slope * features)
        gradients.append(np.ravel(tape.gradient(loss, layer.kernel)))
    exact, rounded = gradients
    cosine = exact @ rounded / np.linalg.norm(exact) / np.linalg.norm(rounded)
    assert cosine > 0.99


@pytest.mark.parametrize("torso", ["nature", "impala"])
def test_contrast_equals_multiplying_the_frames(torso: str) -> None:
    settings = NetworkSettings(torso=torso, hidden_units=8)
    plain, bright = (
        build_network(
            settings.model_copy(update={"contrast": contrast}),
            Interface((84, 84, 4), 4),
            1,
            "online",
        )
        for contrast in (1.0, 5.0)
    )
    seen = frames() // 5
    np.testing.assert_allclose(
        bright({"frames": seen}), plain({"frames": seen * 5}), rtol=1e-4, atol=1e-5
    )


def test_the_nature_torso_has_the_channels_of_the_paper_or_of_the_settings() -> None:
    for channels in ([32, 64, 64], [16, 32, 48]):
        network = build_network(
            NetworkSettings(nature_channels=channels, hidden_units=8),
            Interface((84, 84, 4), 4),
            1,
            "online",
        )
        convolutions = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
        assert [layer.filters for layer in convolutions] == channels
        assert network.get_layer("features").output.shape == (None, 7 * 7 * channels[-1])


def test_the_impala_torso_has_the_shape_given_in_the_paper() -> None:
    """Three sections halve the image and have two residual blocks each (Espeholt et al. 2018,
    figure 3).
    """
    network = build_network(
        NetworkSettings(torso="impala", impala_width=2),
        Interface((84, 84, 4), 4),
        seed=1,
        name="online",
    )
    convolutions = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [layer.filters for layer in convolutions] == [32] * 5 + [64] * 10
    assert network.get_layer("features").output.shape == (None, 11 * 11 * 64)
    assert network({"frames": frames()}).shape == (3, 4, 1)


@pytest.mark.parametrize(("stride", "kernel", "side"), [(1, 3, 84), (2, 4, 42), (4, 8, 21)])
def test_channels_blocks_and_stride_of_the_impala_torso_can_be_set(
    stride: int, kernel: int, side: int
) -> None:
    settings = NetworkSettings(
        torso="impala", impala_channels=[8, 16], impala_blocks=1, impala_stride=stride
    )
    network = build_network(settings, Interface((84, 84, 4), 4), seed=1, name="online")
    convolutions = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [layer.filters for layer in convolutions] == [8] * 3 + [16] * 3
    assert convolutions[0].kernel_size == (kernel, kernel)
    assert convolutions[0].output.shape == (None, side, side, 8)
    assert network.get_layer("features").output.shape == (None, (-(-side // 4)) ** 2 * 16)


@pytest.mark.parametrize("size", [7, 8, 21, 42])
def test_compiled_max_pooling_and_its_gradient_equal_those_of_keras(size: int) -> None:
    features = tf.constant(np.random.default_rng(0).permutation(size * size * 3) - 50.0, tf.float32)
    features = tf.reshape(features, (1, size, size, 3))
    results = []
    for kind in (CompiledMaxPooling, keras.layers.MaxPooling2D):
        layer = kind(3, 2, "same")
        with tf.GradientTape() as tape:
            tape.watch(features)
            pooled = layer(features)
            loss = tf.reduce_sum(tf.square(pooled))
        results.append((pooled, tape.gradient(loss, features)))
    (pooled, gradient), (expected, expected_gradient) = results
    np.testing.assert_array_equal(pooled, expected)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-6)


def test_a_residual_block_adds_to_its_input() -> None:
    """A block whose weights are all zero returns its input."""
    inputs = keras.Input((36, 36, 1), dtype="uint8")
    features = impala_torso(inputs, count(1), NetworkSettings(torso="impala"))
    network = keras.Model(inputs, features)
    for layer in network.layers:
        if "block" in layer.name:
            layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
    plain = keras.Model(
        inputs,
        [network.get_layer("section_3_pool").output, network.get_layer("section_3_block_2").output],
    )
    before, after = plain(frames()[:, :36, :36, :1])
    np.testing.assert_array_equal(before, after)


def test_the_kernel_of_a_spectral_convolution_has_norm_one() -> None:
    layer = SpectralConvolution(
        6, 3, padding="same", kernel_initializer=keras.initializers.HeUniform(1)
    )
    features = np.random.default_rng(0).normal(size=(2, 5, 5, 4)).astype(np.float32)
    got = layer(features)
    kernel = layer.get_weights()[0]
    largest = np.linalg.svd(kernel.reshape(-1, 6), compute_uv=False)[0]
    np.testing.assert_allclose(layer.normalized_kernel(), kernel / largest, rtol=0.02)
    np.testing.assert_allclose(
        got, tf.nn.conv2d(features, kernel / largest, 1, "SAME"), rtol=0.05, atol=0.02
    )
    with tf.GradientTape() as tape:
        scaled = tf.reduce_sum(layer.normalized_kernel() * np.ones_like(kernel))
    gradient = tape.gradient(scaled, layer.kernel.value)
    assert abs(float(tf.reduce_sum(gradient * kernel))) < 1e-3 * float(
        tf.norm(gradient) * tf.norm(kernel)
    ), "scaling the kernel must not change the normalized kernel"
    with pytest.raises(ValueError, match="spectral_norm = true: only with torso = 'impala'"):
        NetworkSettings(spectral_norm=True)


def test_layer_norm_normalizes_the_features_of_every_layer() -> None:
    network = build_network(
        NetworkSettings(layer_norm=True), Interface((84, 84, 4), 4), seed=1, name="online"
    )
    norms = [
        layer for layer in network.layers if isinstance(layer, keras.layers.LayerNormalization)
    ]
    assert [layer.name for layer in norms] == [
        "convolution_1_norm",
        "convolution_2_norm",
        "convolution_3_norm",
        "hidden_norm",
    ]
    for output in keras.Model(network.input, [layer.output for layer in norms])(
        {"frames": frames()}
    ):
        np.testing.assert_allclose(np.mean(output, axis=-1), 0, atol=1e-4)
        np.testing.assert_allclose(np.std(output, axis=-1), 1, atol=0.1)


def test_the_mlp_torso_accepts_images_and_vectors() -> None:
    settings = NetworkSettings(torso="mlp", mlp_layers=[5, 3], hidden_units=2)
    pixels = build_network(settings, Interface((2, 2, 1), 2), seed=1, name="online")
    numbers = build_network(settings, Interface((4,), 2, "float32"), seed=1, name="online")
    assert [weight.shape for weight in pixels.get_weights()] == [
        (4, 5),
        (5,),
        (5, 3),
        (3,),
        (3, 2),
        (2,),
        (2, 2),
        (2,),
    ]
    image = np.array([[[[0], [51]], [[102], [255]]]], np.uint8)
    np.testing.assert_allclose(
        pixels({"frames": image}),
        numbers({"frames": np.array([[0, 0.2, 0.4, 1]], np.float32)}),
        rtol=1e-5,
    )


def noisy_layer() -> NoisyDense:
    layer = NoisyDense(3, sigma=0.5, number=1, seed=1)
    layer([tf.zeros((1, 4)), tf.constant([0, 0])])
    return layer


def test_noisy_layers_are_initialized_as_in_the_paper() -> None:
    """Means are uniform within 1 / sqrt(p) and scales are sigma_0 / sqrt(p) (Fortunato et al. 2018,
    section 3.2).
    """
    layer = NoisyDense(400, sigma=0.5, number=1, seed=1)
    layer([tf.zeros((1, 100)), tf.constant([0, 0])])
    kernel, bias, kernel_scale, bias_scale = layer.get_weights()
    assert np.abs(kernel).max() <= 0.1
    np.testing.assert_allclose([kernel.std(), bias.std()], 0.1 / np.sqrt(3), rtol=0.1)
    np.testing.assert_allclose(np.concatenate([kernel_scale.ravel(), bias_scale]), 0.05, rtol=1e-6)
    assert not np.array_equal(kernel[0], bias)


def test_noise_is_factorized_and_has_the_moments_given_in_the_paper() -> None:
    """For Gaussian x, f(x) = sgn(x) sqrt(|x|) has mean 0 and variance E|x| = sqrt(2 / pi).

    The product of two such numbers has variance 2 / pi.
    """
    layer = noisy_layer()
    features = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    mean, _, scale, bias_scale = (np.asarray(weight) for weight in layer.weights)
    noisy = tf.function(lambda key: layer([features, key], training=True))
    outputs = np.stack([noisy(tf.constant([7, key])) for key in range(4000)])
    quiet = np.asarray(layer([features, tf.constant([7, 0])]))
    np.testing.assert_allclose(quiet, features @ mean + np.asarray(layer.bias), rtol=1e-5)
    variance = (features**2 @ scale**2) * (2 / np.pi) + bias_scale**2 * np.sqrt(2 / np.pi)
    np.testing.assert_allclose(outputs.mean(axis=0), quiet, atol=0.03)
    np.testing.assert_allclose(outputs.var(axis=0), variance, rtol=0.15)


def test_noise_is_one_outer_product_for_the_whole_batch() -> None:
    """The outputs match a kernel perturbed by equation 9 of Fortunato et al. 2018."""
    layer = noisy_layer()
    key = tf.constant([3, 9])
    features = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    got = np.asarray(layer([features, key], training=True))
    before = np.asarray(layer._noise(key, 0, 4))
    after = np.asarray(layer._noise(key, 1, 3))
    kernel = np.asarray(layer.kernel) + np.asarray(layer.kernel_scale) * np.outer(before, after)
    bias = np.asarray(layer.bias) + np.asarray(layer.bias_scale) * after
    np.testing.assert_allclose(got, features @ kernel + bias, rtol=1e-4, atol=1e-5)
    other = NoisyDense(3, sigma=0.5, number=2, seed=1)
    assert not np.allclose(other._noise(key, 0, 4), before), "layers must not share their noise"


def test_fractions_are_embedded_as_in_the_paper() -> None:
    layer = FractionEmbedding(seed=1)
    features = np.ones((1, 3), np.float32)
    fractions = np.array([[0.0, 0.25, 1.0]], np.float32)
    got = layer([features, fractions])
    kernel, bias = layer.embed.get_weights()
    cosines = np.array(
        [[np.cos(np.pi * i * fraction) for i in range(1, 65)] for fraction in fractions[0]]
    )
    np.testing.assert_allclose(got[0], np.maximum(cosines @ kernel + bias, 0), atol=1e-4)


def test_fractions_are_not_rounded_to_bfloat16() -> None:
    """There is no bfloat16 number between 0.99609375 and 1."""
    exact = FractionEmbedding(seed=1)
    rounded = FractionEmbedding(seed=1, dtype="bfloat16")
    features = np.ones((1, 32), np.float32)
    fractions = np.array([[0.998, 0.502]], np.float32)
    expected = exact([features, fractions])
    rounded.build([features.shape, fractions.shape])
    rounded.embed.set_weights(exact.embed.get_weights())
    got = rounded([keras.ops.cast(features, "bfloat16"), fractions])
    assert got.dtype == tf.bfloat16
    np.testing.assert_allclose(
        np.asarray(keras.ops.cast(got, "float32")), np.asarray(expected), atol=0.03
    )


def test_implicit_quantiles_are_computed_independently_for_each_fraction() -> None:
    network = build_network(
        NetworkSettings(returns="implicit", hidden_units=8),
        Interface((36, 36, 2), 3),
        seed=1,
        name="online",
    )
    seen = frames(2)[:, :36, :36, :2]
    fractions = np.array([[0.1, 0.5], [0.9, 0.3]], np.float32)
    together = network({"frames": seen, "fractions": fractions})
    assert together.shape == (2, 3, 2)
    alone = network({"frames": seen[1:], "fractions": fractions[1:, :1]})
    np.testing.assert_allclose(together[1, :, 0], alone[0, :, 0], rtol=1e-4, atol=1e-6)


def test_a_soft_target_update_moves_the_weights_by_the_rate() -> None:
    def build(name: str, precision: str) -> keras.Model:
        seed = {"one": 1, "other": 2}[name]
        return build_network(
            NetworkSettings(hidden_units=4),
            Interface((36, 36, 1), 2),
            seed,
            name,
            Computation(precision),
        )

    one = QNetwork(build, "one", "bfloat16")
    other = QNetwork(build, "other", "float32")
    before = [np.asarray(weight) for weight in one.weights.variables]
    one.follow(other, rate=0.25)
    for weight, rounded, was, its in zip(
        one.weights.variables, one.computing.variables, before, other.weights.variables, strict=True
    ):
        np.testing.assert_allclose(
            weight, 0.75 * was + 0.25 * np.asarray(its), rtol=1e-5, atol=1e-7
        )
        np.testing.assert_array_equal(tf.cast(weight.value, rounded.dtype), rounded)
