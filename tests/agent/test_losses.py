"""Compares targets and losses with formulas, plain loops and values computed by hand."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from atari_dqn.agent.losses import (
    categorical_target,
    divergence,
    expected_target,
    greedy_policy,
    huber,
    munchausen_reward,
    project,
    quantile_huber,
    returns,
    scaled_log_policy,
    select,
)

errors = st.floats(-100, 100, width=32)


@settings(max_examples=100)
@given(error=errors, delta=st.floats(0.125, 10, width=32))
def test_huber_loss_matches_its_formula_and_its_gradient_is_the_clipped_error(
    error: float, delta: float
) -> None:
    with tf.GradientTape() as tape:
        variable = tf.constant(error, tf.float32)
        tape.watch(variable)
        loss = huber(variable, delta)
    expected = error**2 / 2 if abs(error) <= delta else delta * (abs(error) - delta / 2)
    assert float(loss) == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert float(tape.gradient(loss, variable)) == pytest.approx(
        np.clip(error, -delta, delta), rel=1e-5, abs=1e-6
    )


def scalar_target(
    reward: tf.Tensor, discount: tf.Tensor, next_values: tf.Tensor, selector: tf.Tensor
) -> tf.Tensor:
    samples = returns(reward, discount, next_values[:, :, None], tf.zeros_like(next_values))
    return expected_target(greedy_policy(selector), samples)[:, 0]


def test_q_learning_and_double_q_targets_match_values_computed_by_hand() -> None:
    """The batch has an ordinary, a terminal, and a truncated 2-step transition with gamma 0.9."""
    reward = tf.constant([1.0, -1.0, 0.5])
    discount = tf.constant([0.9, 0.0, 0.81])
    target_network = tf.constant([[1.0, 2.0], [50.0, 60.0], [3.0, 10.0]])
    online_network = tf.constant([[5.0, 4.0], [1.0, 0.0], [0.0, 1.0]])
    q_learning = scalar_target(reward, discount, target_network, target_network)
    double = scalar_target(reward, discount, target_network, online_network)
    np.testing.assert_allclose(q_learning, [1 + 0.9 * 2, -1, 0.5 + 0.81 * 10], rtol=1e-6)
    np.testing.assert_allclose(double, [1 + 0.9 * 1, -1, 0.5 + 0.81 * 10], rtol=1e-6)


def test_no_gradient_flows_through_the_target() -> None:
    values = tf.Variable([[1.0, 2.0]])
    support = tf.constant([0.0, 1.0])
    with tf.GradientTape() as tape:
        scalar = tf.reduce_sum(
            scalar_target(tf.constant([1.0]), tf.constant([0.9]), values, values)
        )
        samples = returns(tf.constant([1.0]), tf.constant([0.9]), support[None, None], values)
        likely = tf.nn.softmax(tf.stack([values, 2 * values], axis=2))
        spread = tf.reduce_sum(
            categorical_target(tf.nn.softmax(values), samples, likely, support) ** 2
        )
        total = scalar + spread
    assert tape.gradient(total, values) is None


def test_select_takes_one_value_of_each_row() -> None:
    values = np.random.default_rng(0).normal(size=(64, 18)).astype(np.float32)
    action = np.random.default_rng(1).integers(18, size=64)
    np.testing.assert_array_equal(
        select(tf.constant(values), tf.constant(action)), values[np.arange(64), action]
    )


def test_a_munchausen_target_matches_the_formula_of_the_paper() -> None:
    """The expected values follow equation 2 of Vieillard et al. 2020, in float64 with loops."""
    random = np.random.default_rng(0)
    reward = random.normal(size=8)
    discount = random.choice([0.0, 0.97], size=8)
    values = random.normal(size=(8, 5))
    next_values = random.normal(size=(8, 5))
    action = random.integers(5, size=8)
    alpha = 0.9
    temperature = 0.3
    lowest = -1.0
    expected = []
    for b in range(8):
        policy = np.exp(values[b] / temperature) / np.exp(values[b] / temperature).sum()
        after = np.exp(next_values[b] / temperature) / np.exp(next_values[b] / temperature).sum()
        soft = sum(
            p * (q - temperature * np.log(p)) for p, q in zip(after, next_values[b], strict=True)
        )
        bonus = np.clip(temperature * np.log(policy[action[b]]), lowest, 0)
        expected.append(reward[b] + alpha * bonus + discount[b] * soft)
    real = [tf.constant(array, tf.float32) for array in (reward, discount, values, next_values)]
    log_policy, next_log_policy = (scaled_log_policy(array, temperature) for array in real[2:])
    munchausen = munchausen_reward(real[0], log_policy, tf.constant(action), alpha, lowest)
    samples = returns(munchausen, real[1], real[3][:, :, None], -next_log_policy)
    np.testing.assert_allclose(
        expected_target(tf.exp(next_log_policy / temperature), samples)[:, 0], expected, rtol=1e-4
    )


def test_a_soft_policy_at_low_temperature_is_greedy() -> None:
    values = tf.constant(np.random.default_rng(0).normal(size=(32, 6)), tf.float32)
    cold = tf.exp(scaled_log_policy(values, 1e-3) / 1e-3)
    np.testing.assert_allclose(cold, greedy_policy(values), atol=1e-3)


def naive_projection(
    samples: np.ndarray, probabilities: np.ndarray, support: np.ndarray
) -> np.ndarray:
    """Projects samples onto a support, atom by atom (Bellemare et al. 2017, Algorithm 1)."""
    spacing = support[1] - support[0]
    projected = np.zeros(len(support))
    for sample, probability in zip(samples, probabilities, strict=True):
        position = (np.clip(sample, support[0], support[-1]) - support[0]) / spacing
        low = int(position)
        high = min(low + 1, len(support) - 1)
        projected[low] += probability * (1 - (position - low))
        projected[high] += probability * (position - low)
    return projected


distributions = st.lists(st.tuples(st.floats(-15, 15), st.floats(0.01, 1)), min_size=1, max_size=12)


@settings(max_examples=100)
@given(distribution=distributions, atoms=st.integers(2, 51))
def test_projections_match_the_loop_of_the_paper_and_preserve_mass_and_mean(
    distribution: list[tuple[float, float]], atoms: int
) -> None:
    samples, weights = np.array(distribution).T
    probabilities = weights / weights.sum()
    support = np.linspace(-10, 10, atoms)
    arguments = (
        tf.constant(samples[None], tf.float32),
        tf.constant(probabilities[None], tf.float32),
    )
    projected = project(*arguments, tf.constant(support, tf.float32)).numpy()[0]
    np.testing.assert_allclose(
        projected, naive_projection(samples, probabilities, support), atol=1e-4
    )
    assert projected.sum() == pytest.approx(1, abs=1e-4)
    assert projected @ support == pytest.approx(probabilities @ np.clip(samples, -10, 10), abs=1e-3)


def test_projecting_a_distribution_that_lies_on_the_support_changes_nothing() -> None:
    support = tf.linspace(-10.0, 10.0, 51)
    probabilities = tf.constant(np.random.default_rng(0).dirichlet(np.ones(51), size=4), tf.float32)
    samples = tf.tile(support[None], (4, 1))
    np.testing.assert_allclose(project(samples, probabilities, support), probabilities, atol=1e-5)


def test_a_categorical_target_projects_the_distribution_of_the_greedy_action() -> None:
    random = np.random.default_rng(0)
    support = np.linspace(-10, 10, 21)
    probabilities = random.dirichlet(np.ones(21), size=(6, 3))
    reward = random.normal(size=6)
    discount = random.choice([0.0, 0.99], size=6)
    best = (probabilities @ support).argmax(axis=1)
    real = [tf.constant(array, tf.float32) for array in (reward, discount, probabilities, support)]
    samples = returns(real[0], real[1], real[3][None, None], tf.zeros((6, 3)))
    target = categorical_target(
        greedy_policy(tf.linalg.matvec(real[2], real[3])), samples, real[2], real[3]
    )
    for b in range(6):
        expected = naive_projection(
            reward[b] + discount[b] * support, probabilities[b, best[b]], support
        )
        np.testing.assert_allclose(target[b], expected, atol=1e-4)


def test_the_divergence_and_its_gradient_are_zero_when_prediction_equals_target() -> None:
    target = tf.constant(np.random.default_rng(0).dirichlet(np.ones(11), size=5), tf.float32)
    best = tf.Variable(tf.math.log(target))
    with tf.GradientTape() as tape:
        loss = divergence(best, target)
    np.testing.assert_allclose(loss, 0, atol=1e-6)
    np.testing.assert_allclose(tape.gradient(loss, best), 0, atol=1e-5)


def test_the_divergence_matches_its_definition_when_some_probabilities_are_zero() -> None:
    random = np.random.default_rng(1)
    target = np.array([[0.0, 0.25, 0.75], [1.0, 0.0, 0.0]])
    logits = random.normal(size=(2, 3))
    predicted = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = [
        sum(p * np.log(p / q) for p, q in zip(*rows, strict=True) if p)
        for rows in zip(target, predicted, strict=True)
    ]
    found = divergence(tf.constant(logits, tf.float32), tf.constant(target, tf.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_quantile_loss_matches_the_sum_in_the_paper() -> None:
    random = np.random.default_rng(0)
    quantiles = random.normal(size=(4, 5))
    fractions = random.random((4, 5))
    target = 2 * random.normal(size=(4, 7))
    delta = 0.7
    expected = np.zeros(4)
    for b in range(4):
        for i in range(5):
            for j in range(7):
                u = target[b, j] - quantiles[b, i]
                size = u**2 / 2 if abs(u) <= delta else delta * (abs(u) - delta / 2)
                expected[b] += abs(fractions[b, i] - (u < 0)) * size / delta / 7
    loss = quantile_huber(
        tf.constant(quantiles), tf.constant(fractions), tf.constant(target), delta
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-4)


def test_the_quantile_loss_is_minimal_at_the_quantiles_of_the_target() -> None:
    """A small delta makes it the loss of plain quantile regression."""
    samples = tf.constant(np.random.default_rng(0).exponential(size=(1, 4000)), tf.float32)
    fractions = tf.constant([[0.1, 0.5, 0.9]])
    quantiles = tf.Variable(tf.zeros((1, 3)))
    for step in range(400):
        with tf.GradientTape() as tape:
            loss = quantile_huber(quantiles, fractions, samples, 0.01)
        quantiles.assign_sub(tape.gradient(loss, quantiles) * (1.0 if step < 300 else 0.1))
    np.testing.assert_allclose(quantiles[0], np.quantile(samples, [0.1, 0.5, 0.9]), atol=0.02)
