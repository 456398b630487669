"""Temporal-difference targets and losses: pure functions of tensors, in float32.

``B`` is the batch size, ``A`` the number of actions, ``K`` the number of outputs for each action:
one Q-value, or the atoms or quantiles of a distribution of returns.
"""

import tensorflow as tf


def huber(error: tf.Tensor, delta: float) -> tf.Tensor:
    """Huber loss of each error: e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2).

    Its gradient is the error clipped to plus or minus delta, which is what Mnih et al. 2015
    (Methods, Training algorithm) mean by clipping the error term.

    >>> huber(tf.constant([0.5, -3.0]), delta=1.0).numpy().tolist()
    [0.125, 2.5]
    """
    magnitude = tf.abs(error)
    quadratic = tf.minimum(magnitude, delta)
    return 0.5 * tf.square(quadratic) + delta * (magnitude - quadratic)


def squared(error: tf.Tensor) -> tf.Tensor:
    """Half the square of each error, whose gradient is the error: Sutton and Barto 2018, equation
    9.4.

    >>> squared(tf.constant([0.5, -3.0])).numpy().tolist()
    [0.125, 4.5]
    """
    return 0.5 * tf.square(error)


def select(outputs: tf.Tensor, action: tf.Tensor) -> tf.Tensor:
    """Outputs (B, A, ...) of the actions (B,), as a one-hot sum: the gradient of a gather is slow
    where order must be fixed.

    >>> select(tf.constant([[1.0, 2.0], [3.0, 4.0]]), tf.constant([1, 0])).numpy().tolist()
    [2.0, 3.0]
    >>> select(tf.constant([[[1.0, 2.0], [3.0, 4.0]]]), tf.constant([1])).numpy().tolist()
    [[3.0, 4.0]]
    """
    chosen = tf.one_hot(action, outputs.shape[1], dtype=outputs.dtype)
    return tf.einsum("ba,ba...->b...", chosen, outputs)


def greedy_policy(values: tf.Tensor) -> tf.Tensor:
    """Probability (B, A) of each action under the policy that takes the best of the values (B, A).

    >>> greedy_policy(tf.constant([[5.0, 9.0, 7.0]])).numpy().tolist()
    [[0.0, 1.0, 0.0]]
    """
    return tf.one_hot(tf.argmax(values, axis=-1), values.shape[-1])


def scaled_log_policy(values: tf.Tensor, temperature: float) -> tf.Tensor:
    """Logarithm of the policy softmax(values / temperature), times the temperature: (B, A), without
    overflow.

    Vieillard et al. 2020, "Munchausen Reinforcement Learning", section 3.

    >>> scaled_log_policy(tf.constant([[1.0, 1.0], [100.0, 0.0]]), temperature=0.5).numpy().round(4)
    array([[  -0.3466,   -0.3466], [   0.    , -100.    ]], dtype=float32)
    """
    return temperature * tf.nn.log_softmax(values / temperature, axis=-1)


def munchausen_reward(
    reward: tf.Tensor, log_policy: tf.Tensor, action: tf.Tensor, alpha: float, lowest: float
) -> tf.Tensor:
    """Reward plus alpha * temperature * log pi(a|s), which is cut off below: a bonus for what the
    policy prefers already.

    Vieillard et al. 2020, equation 2, and section 4 for the cut.

    Args:
        reward: (B,).
        log_policy: (B, A) temperature * log pi of the observation acted on.
        action: (B,) taken.
        alpha: weight of the bonus.
        lowest: below which it is cut off.

    >>> log_policy = tf.constant([[-0.2, -5.0]] * 2)
    >>> munchausen_reward(tf.ones(2), log_policy, tf.constant([0, 1]), alpha=0.9, lowest=-1.0).numpy().round(4)
    array([0.82, 0.1 ], dtype=float32)
    """
    return reward + alpha * tf.clip_by_value(select(log_policy, action), lowest, 0.0)


def returns(
    reward: tf.Tensor, discount: tf.Tensor, next_outputs: tf.Tensor, bonus: tf.Tensor
) -> tf.Tensor:
    """Samples r + discount * (z(s', a) + bonus(a)) of the return (B, A, K), for each action that
    may be next.

    Args:
        reward: (B,) rewards, for n steps already summed.
        discount: (B,) gamma, gamma^n, or 0 where the future is worth nothing.
        next_outputs: (B, A, K) or (1, 1, K) what each next action may return.
        bonus: (B, A) what choosing it is worth by itself: 0, or the entropy of a soft policy,
            -temperature * log pi(a|s').

    >>> returns(tf.constant([1.0]), tf.constant([0.5]), tf.constant([[[4.0], [8.0]]]), tf.zeros((1, 2))).numpy().tolist()
    [[[3.0], [5.0]]]
    """
    return reward[:, None, None] + discount[:, None, None] * (next_outputs + bonus[:, :, None])


def expected_target(policy: tf.Tensor, samples: tf.Tensor) -> tf.Tensor:
    """Target (B, K): the samples (B, A, K) of ``returns`` averaged over the next action, through
    which no gradient flows.

    With the greedy policy of the target network's values this is Q-learning (Mnih et al. 2015,
    Methods, Algorithm 1), with that of the online network Double DQN (van Hasselt et al. 2016,
    equation 4), with a soft policy and its entropy as bonus Munchausen DQN (Vieillard et al. 2020,
    equation 2).

    The online network prefers action 0, which the target network values at 5; its own maximum, 9,
    is not taken:

    >>> samples = returns(tf.constant([1.0]), tf.constant([0.5]), tf.constant([[[5.0], [9.0]]]), tf.zeros((1, 2)))
    >>> expected_target(greedy_policy(tf.constant([[2.0, 1.0]])), samples).numpy().tolist()
    [[3.5]]
    """
    return tf.stop_gradient(tf.einsum("ba,bak->bk", policy, samples))


def project(samples: tf.Tensor, probabilities: tf.Tensor, support: tf.Tensor) -> tf.Tensor:
    """Moves a distribution onto the atoms of a support, each sample's probability to its two
    neighbours.

    Bellemare et al. 2017, "A Distributional Perspective on Reinforcement Learning", equation 7 and
    Algorithm 1. Samples outside count for the nearest atom. The mean is kept where all samples lie
    inside.

    Args:
        samples: (B, M) returns.
        probabilities: (B, M) of the samples.
        support: (K,) returns, equally spaced.

    A quarter of the way from 0 to 1, and beyond the end:

    >>> project(tf.constant([[0.25, 7.0]]), tf.constant([[0.5, 0.5]]), tf.constant([0.0, 1.0, 2.0])).numpy().tolist()
    [[0.375, 0.125, 0.5]]
    """
    spacing = support[1] - support[0]
    inside = tf.clip_by_value(samples, support[0], support[-1])
    distance = tf.abs(inside[:, :, None] - support) / spacing
    return tf.einsum("bm,bmk->bk", probabilities, tf.nn.relu(1.0 - distance))


def categorical_target(
    policy: tf.Tensor, samples: tf.Tensor, probabilities: tf.Tensor, support: tf.Tensor
) -> tf.Tensor:
    """Target distribution (B, K) over a support: the mixture over the next action, projected; no
    gradient flows through it.

    Bellemare et al. 2017, Algorithm 1, where the policy is greedy.

    Args:
        policy: (B, A) of the next action.
        samples: (B, A, K) of ``returns``, made of the support.
        probabilities: (B, A, K) of the support's atoms for each next action.
        support: (K,).

    >>> support = tf.constant([0.0, 1.0, 2.0])
    >>> samples = returns(tf.constant([1.0]), tf.constant([0.5]), support[None, None, :], tf.zeros((1, 2)))
    >>> likely = tf.constant([[[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]])
    >>> categorical_target(tf.constant([[0.0, 1.0]]), samples, likely, support).numpy().tolist()
    [[0.0, 0.5, 0.5]]
    """
    weights = policy[:, :, None] * probabilities
    flat = (tf.shape(weights)[0], -1)
    return tf.stop_gradient(project(tf.reshape(samples, flat), tf.reshape(weights, flat), support))


def divergence(logits: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Kullback-Leibler divergence (B,) of predicted logits (B, K) from a target distribution (B,
    K).

    Bellemare et al. 2017, section 4. Its gradient is that of the cross-entropy in their Algorithm
    1, but it is 0 where the
    prediction is right, so that it tells a surprise from a return that is uncertain: Hessel et al.
    2018, section 4.

    >>> divergence(tf.constant([[0.0, 0.0]] * 2), tf.constant([[0.25, 0.75], [0.5, 0.5]])).numpy().round(4)
    array([0.1308, 0.    ], dtype=float32)
    """
    log_target = tf.math.log(tf.where(target > 0, target, 1.0))
    return tf.reduce_sum(target * (log_target - tf.nn.log_softmax(logits, axis=-1)), axis=-1)


def quantile_huber(
    quantiles: tf.Tensor, fractions: tf.Tensor, target: tf.Tensor, delta: float
) -> tf.Tensor:
    """Quantile Huber loss (B,): summed over the predicted quantiles, averaged over the target's
    samples.

    The loss of each u = target - quantile is |fraction - 1{u < 0}| * huber(u) / delta: Dabney et
    al. 2018, "Distributional Reinforcement Learning with Quantile Regression", equation 10 and
    Algorithm 1, and "Implicit Quantile Networks for Distributional Reinforcement Learning",
    equation 3, which divides by delta.

    Args:
        quantiles: (B, N) predictions.
        fractions: (B, N) or (1, N) their fractions, in 0..1.
        target: (B, M) samples of the target.
        delta: the papers' kappa.

    A prediction 1 above the target costs the quantile at 0.9 a tenth of its Huber loss, and that at
    0.1 nine tenths:

    >>> for fraction in (0.9, 0.1):
    ...     print(quantile_huber(tf.constant([[3.0]]), tf.constant([[fraction]]), tf.constant([[2.0]]), 1.0).numpy().round(4))
    [0.05]
    [0.45]
    """
    error = target[:, None, :] - quantiles[:, :, None]
    weight = tf.abs(fractions[:, :, None] - tf.cast(error < 0, error.dtype))
    return tf.reduce_sum(tf.reduce_mean(weight * huber(error, delta) / delta, axis=2), axis=1)
