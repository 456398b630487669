"""Compares the optimizers with Keras, the paper and values computed by hand."""

from typing import Literal

import keras
import numpy as np
import pytest
import tensorflow as tf

from atari_dqn.agent.optimizers import clip_by_global_norm, make_optimizer
from atari_dqn.config.learning_schema import OptimizerSettings

STOCK = {
    "adam": keras.optimizers.Adam(0.01, beta_1=0.9, beta_2=0.99, epsilon=1e-3),
    "rmsprop": keras.optimizers.RMSprop(0.01, rho=0.95, epsilon=1e-3, centered=True),
}


@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_fused_kernels_match_the_optimizers_of_keras(name: str) -> None:
    settings = OptimizerSettings.model_validate(
        {"name": name, "learning_rate": 0.01, "epsilon": 1e-3, "beta2": 0.99}
    )
    start = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    fused_variable = keras.Variable(start)
    stock_variable = keras.Variable(start)
    fused = make_optimizer(settings, [fused_variable])
    stock = STOCK[name]
    for step in range(30):
        gradient = tf.constant(np.random.default_rng(step).normal(size=(5, 3)), tf.float32)
        fused.apply([gradient], [fused_variable])
        stock.apply([gradient], [stock_variable])
    np.testing.assert_allclose(fused_variable, stock_variable, rtol=1e-5, atol=1e-6)
    assert not np.allclose(fused_variable, start)


def test_adam_restarts_its_bias_correction_when_its_moments_are_reset() -> None:
    settings = OptimizerSettings(name="adam", learning_rate=0.01)
    weight = keras.Variable(1.0)
    fresh_weight = keras.Variable(1.0)
    restarted = make_optimizer(settings, [weight], restart_period=40)
    for _ in range(40):
        restarted.apply([tf.constant(2.0)], [weight])
    for moment in (restarted._momentums[0], restarted._velocities[0]):
        moment.assign(tf.zeros_like(moment))
    weight.assign(1.0)
    fresh = make_optimizer(settings, [fresh_weight])
    for gradient in (2.0, -1.0, 0.5):
        restarted.apply([tf.constant(gradient)], [weight])
        fresh.apply([tf.constant(gradient)], [fresh_weight])
        assert float(weight.numpy()) == pytest.approx(float(fresh_weight.numpy()), rel=1e-5)


def test_rmsprop_matches_the_update_of_the_nature_paper() -> None:
    """Two updates of one weight are g / sqrt(mean of g^2 - (mean of g)^2 + epsilon); both running
    means decay by 0.95.
    """
    weight = keras.Variable(1.0)
    by_hand = 1.0
    mean = 0.0
    mean_square = 0.0
    optimizer = make_optimizer(
        OptimizerSettings(name="rmsprop", learning_rate=0.1, epsilon=0.01), [weight]
    )
    for gradient in (2.0, -1.0):
        optimizer.apply([tf.constant(gradient)], [weight])
        mean = 0.95 * mean + 0.05 * gradient
        mean_square = 0.95 * mean_square + 0.05 * gradient**2
        by_hand -= 0.1 * gradient / np.sqrt(mean_square - mean**2 + 0.01)
        assert float(weight.numpy()) == pytest.approx(by_hand, rel=1e-5)


def test_gradients_are_clipped_by_their_global_norm() -> None:
    gradients = [tf.constant([3.0]), tf.constant([0.0, 4.0])]
    clipped, norm = clip_by_global_norm(gradients, 1.0)
    assert float(norm) == 5.0
    np.testing.assert_allclose(clipped[0], [0.6])
    np.testing.assert_allclose(clipped[1], [0.0, 0.8])
    for limit in (10.0, 0.0):
        untouched, norm = clip_by_global_norm(gradients, limit)
        assert float(norm) == 5.0
        np.testing.assert_allclose(untouched[1], [0.0, 4.0])


@pytest.mark.parametrize(
    ("shape", "steps"),
    # 0.2 + 0.8 (1 + cos(pi t / 4)) / 2
    [
        ("linear", [1.0, 0.8, 0.6, 0.4, 0.2, 0.2]),
        ("cosine", [1.0, 0.882843, 0.6, 0.317157, 0.2, 0.2]),
    ],
)
def test_the_learning_rate_decays_to_its_end_value(
    shape: Literal["linear", "cosine"], steps: list[float]
) -> None:
    """Under a constant gradient, each of Adam's first steps has the size of the learning rate."""
    settings = OptimizerSettings(
        learning_rate=1.0, learning_rate_end=0.2, decay_updates=4, decay_shape=shape
    )
    weight = keras.Variable(np.zeros(1, np.float32))
    optimizer = make_optimizer(settings, [weight])
    positions = [0.0]
    for _ in range(6):
        optimizer.apply([tf.ones(1)], [weight])
        positions.append(float(weight.numpy()[0]))
    np.testing.assert_allclose(-np.diff(positions), steps, rtol=1e-5)


def test_weight_decay_decays_to_its_end_value() -> None:
    """It follows the same shape as the learning rate and is multiplied by it."""
    settings = OptimizerSettings(
        learning_rate=0.5,
        learning_rate_end=0.5,
        weight_decay=0.8,
        weight_decay_end=0.2,
        decay_updates=2,
        decay_shape="cosine",
    )
    weight = keras.Variable(np.ones(1, np.float32))
    optimizer = make_optimizer(settings, [weight])
    weights = [1.0]
    for _ in range(4):
        optimizer.apply([tf.zeros(1)], [weight])
        weights.append(float(weight.numpy()[0]))
    np.testing.assert_allclose(
        1 - np.divide(weights[1:], weights[:-1]), [0.4, 0.25, 0.1, 0.1], rtol=1e-5
    )


def test_weight_decay_can_begin_at_zero() -> None:
    settings = OptimizerSettings(
        learning_rate=0.5, learning_rate_end=0.5, weight_decay_end=0.8, decay_updates=2
    )
    layer = keras.layers.Dense(1, kernel_initializer="ones", bias_initializer="ones")
    layer.build((None, 1))
    optimizer = make_optimizer(settings, layer.trainable_variables)
    weights = [1.0]
    for _ in range(4):
        optimizer.apply([tf.zeros((1, 1)), tf.zeros(1)], layer.trainable_variables)
        weights.append(float(layer.kernel.numpy()[0, 0]))
    shares = 1 - np.divide(weights[1:], weights[:-1])
    np.testing.assert_allclose(shares, [0.0, 0.2, 0.4, 0.4], rtol=1e-5)
    assert layer.bias.numpy().tolist() == [1.0]


def test_half_a_cosine_from_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="half a cosine cannot start at weight_decay = 0"):
        OptimizerSettings(weight_decay_end=0.8, decay_updates=2, decay_shape="cosine")


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_weight_decay_shrinks_kernels_and_nothing_else(name: str, first: bool) -> None:
    """Each update shrinks them by learning rate times decay, independent of the gradient
    (Loshchilov and Hutter 2019).
    """
    settings = {
        "name": name,
        "learning_rate": 0.1,
        "weight_decay": 0.5,
        "weight_decay_first": first,
    }
    layers = [
        keras.layers.Dense(2, bias_initializer="ones"),
        keras.layers.LayerNormalization(),
        keras.layers.Dense(2),
    ]
    keras.Sequential(layers)(tf.ones((1, 3)))
    variables = [variable for layer in layers for variable in layer.trainable_variables]
    before = [np.asarray(variable) for variable in variables]
    optimizer = make_optimizer(OptimizerSettings.model_validate(settings), variables)
    optimizer.apply([tf.zeros(variable.shape) for variable in variables], variables)
    shrunk = [
        np.allclose(variable, 0.95 * was) and was.any()
        for variable, was in zip(variables, before, strict=True)
    ]
    kept = [np.array_equal(variable, was) for variable, was in zip(variables, before, strict=True)]
    assert shrunk == [first, False, False, False, True, False]
    assert kept == [not was_shrunk for was_shrunk in shrunk]
