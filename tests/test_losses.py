import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from atari_dqn.losses import huber, q_learning_target, select

errors = st.floats(-100, 100, width=32)


@settings(max_examples=100, deadline=None)
@given(error=errors, delta=st.floats(0.125, 10, width=32))
def test_huber_is_the_textbook_formula_and_its_gradient_the_clipped_error(error: float, delta: float) -> None:
    with tf.GradientTape() as tape:
        variable = tf.constant(error, tf.float32)
        tape.watch(variable)
        loss = huber(variable, delta)
    expected = error**2 / 2 if abs(error) <= delta else delta * (abs(error) - delta / 2)
    assert float(loss) == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert float(tape.gradient(loss, variable)) == pytest.approx(np.clip(error, -delta, delta), rel=1e-5, abs=1e-6)


def test_targets_by_hand() -> None:
    """Three transitions: an ordinary one, a terminal one, and a truncated 2-step one with gamma 0.9."""
    reward = tf.constant([1.0, -1.0, 0.5])
    discount = tf.constant([0.9, 0.0, 0.81])
    target_network = tf.constant([[1.0, 2.0], [50.0, 60.0], [3.0, 10.0]])
    online_network = tf.constant([[5.0, 4.0], [1.0, 0.0], [0.0, 1.0]])
    q_learning = q_learning_target(reward, discount, target_network, target_network)
    double = q_learning_target(reward, discount, target_network, online_network)
    np.testing.assert_allclose(q_learning, [1 + 0.9 * 2, -1, 0.5 + 0.81 * 10], rtol=1e-6)
    np.testing.assert_allclose(double, [1 + 0.9 * 1, -1, 0.5 + 0.81 * 10], rtol=1e-6)


def test_no_gradient_flows_through_the_target() -> None:
    values = tf.Variable([[1.0, 2.0]])
    with tf.GradientTape() as tape:
        target = tf.reduce_sum(q_learning_target(tf.constant([1.0]), tf.constant([0.9]), values, values))
    assert tape.gradient(target, values) is None


def test_select_takes_one_value_of_each_row() -> None:
    values = np.random.default_rng(0).normal(size=(64, 18)).astype(np.float32)
    action = np.random.default_rng(1).integers(18, size=64)
    np.testing.assert_array_equal(select(tf.constant(values), tf.constant(action)), values[np.arange(64), action])
