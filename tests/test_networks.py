from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from atari_dqn import networks, settings
from atari_dqn.networks import OUTPUT_LAYERS, build_network, copy_weights, register_torso, save_network
from atari_dqn.settings import NetworkSettings


def frames(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=(count, 84, 84, 4), dtype=np.uint8)


def test_the_nature_network_has_the_papers_size() -> None:
    """Mnih et al. 2015, Methods: 32 8x8/4, 64 4x4/2, 64 3x3/1, dense 512, one output for each action."""
    network = build_network(NetworkSettings(), (84, 84, 4), 4, seed=1, name="online")
    convolutions = 8 * 8 * 4 * 32 + 32 + 4 * 4 * 32 * 64 + 64 + 3 * 3 * 64 * 64 + 64
    dense = 7 * 7 * 64 * 512 + 512 + 512 * 4 + 4
    assert network.count_params() == convolutions + dense
    assert network(frames()).shape == (3, 4)
    assert network(frames()).dtype == tf.float32


def test_the_network_is_the_convolution_arithmetic_that_it_claims() -> None:
    network = build_network(NetworkSettings(hidden_units=8), (36, 36, 1), 2, seed=1, name="online")
    image = np.random.default_rng(0).integers(256, size=(1, 36, 36, 1), dtype=np.uint8)
    features = image[0].astype(np.float64) / 255
    weights = [weight.astype(np.float64) for weight in network.get_weights()]
    for (kernel, bias), stride in zip([weights[0:2], weights[2:4], weights[4:6]], [4, 2, 1], strict=True):
        size, side = kernel.shape[0], (features.shape[0] - kernel.shape[0]) // stride + 1
        out = np.zeros((side, side, kernel.shape[3]))
        for row in range(side):
            for column in range(side):
                patch = features[row * stride : row * stride + size, column * stride : column * stride + size]
                out[row, column] = np.einsum("hwc,hwcf->f", patch, kernel) + bias
        features = np.maximum(out, 0)
    hidden = np.maximum(features.ravel() @ weights[6] + weights[7], 0)
    np.testing.assert_allclose(network(image)[0], hidden @ weights[8] + weights[9], rtol=1e-4, atol=1e-5)


def test_a_dueling_heads_advantages_have_mean_zero() -> None:
    """Wang et al. 2016, equation 9: the mean of the Q-values is the state's value, whatever the advantages are."""
    network = build_network(NetworkSettings(head="dueling"), (84, 84, 4), 6, seed=1, name="online")
    parts = keras.Model(network.inputs, [network.get_layer("value").output, network.output])
    value, q_values = parts(frames())
    np.testing.assert_allclose(np.mean(q_values, axis=1), value[:, 0], atol=1e-5)
    network.get_layer("advantage").bias.assign_add(tf.fill([6], 5.0))
    np.testing.assert_allclose(parts(frames())[1], q_values, atol=1e-5)


@pytest.mark.parametrize("head", ["q", "dueling"])
def test_the_seed_decides_the_weights(head: str) -> None:
    one, same, other = (
        build_network(NetworkSettings.model_validate({"head": head}), (36, 36, 2), 3, seed=seed, name="n") for seed in (1, 1, 2)
    )
    for left, right in zip(one.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)
    assert not np.array_equal(one.get_weights()[0], other.get_weights()[0])
    kernels = [weight for weight in one.get_weights() if weight.ndim > 1]
    assert len({float(kernel.ravel()[0]) for kernel in kernels}) == len(kernels), "layers must not share their draw"


@pytest.mark.parametrize("head", ["q", "dueling"])
def test_bfloat16_is_what_weights_and_layers_are_but_those_of_values(head: str) -> None:
    settings = NetworkSettings.model_validate({"head": head})
    exact, rounded = (build_network(settings, (84, 84, 4), 4, seed=1, name="n", precision=p) for p in ("float32", "bfloat16"))
    copy_weights(exact, rounded)
    for layer in rounded.layers:
        outputs_values = layer.name in OUTPUT_LAYERS or layer.name == "convolution_1"
        for weight in layer.weights:
            assert weight.dtype == ("float32" if outputs_values else "bfloat16"), weight.path
    hidden = [layer for layer in rounded.layers if layer.name.startswith("convolution") or layer.name.endswith("hidden")]
    assert {keras.Model(rounded.inputs, layer.output)(frames()).dtype for layer in hidden} == {tf.bfloat16}
    values, rounded_values = (np.asarray(network(frames(50))) for network in (exact, rounded))
    assert rounded_values.dtype == np.float32
    error = np.abs(rounded_values - values).max() / np.abs(values).max()
    assert 1e-5 < error < 0.02, "bfloat16 keeps 8 bits: each layer is off by 0.4 % at most"
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize("head", ["q", "dueling"])
def test_the_saved_file_opens_with_keras_alone(head: str, tmp_path: Path) -> None:
    """In a process that has never heard of this package, in Keras's safe mode."""
    import subprocess
    import sys

    settings = NetworkSettings.model_validate({"head": head})
    network = build_network(settings, (84, 84, 4), 4, seed=1, name="online")
    save_network(network, tmp_path / "network.keras")
    np.save(tmp_path / "frames.npy", frames())
    script = (
        "import keras, numpy, sys; network = keras.models.load_model('network.keras');"
        "numpy.save('values.npy', network(numpy.load('frames.npy')));"
        "assert not any(name.startswith('atari_dqn') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "values.npy"), network(frames()), rtol=1e-5, atol=1e-6)


def test_a_torso_of_ones_own_is_a_name_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "TORSOS", dict(networks.TORSOS))
    monkeypatch.setattr(settings, "TORSO_NAMES", names := [*settings.TORSO_NAMES])
    monkeypatch.setattr(networks, "TORSO_NAMES", names)
    with pytest.raises(ValueError, match="torso = 'flat': one of nature"):
        NetworkSettings(torso="flat")
    register_torso("flat", lambda frames, seeds: keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(frames)))
    network = build_network(NetworkSettings(torso="flat", hidden_units=8), (36, 36, 1), 2, seed=1, name="online")
    assert network.count_params() == 36 * 36 * 8 + 8 + 8 * 2 + 2
    with pytest.raises(ValueError, match="there is a torso 'flat' already"):
        register_torso("flat", networks.nature_torso)
