"""TD targets and losses, as pure functions of float32 tensors.

``B`` is the batch size, ``A`` the number of actions, and ``K`` the number of outputs for each
action: one Q-value, or the atoms or quantiles of a distribution of returns.
"""

from atari_dqn.backend.tensorflow_backend import tf


def huber(error: tf.Tensor, delta: float) -> tf.Tensor:
    """Returns the Huber loss of each error.

    It is e^2 / 2 where |e| <= delta, and delta (|e| - delta / 2) elsewhere.
    Its gradient is the error clipped to plus or minus delta, which is what Mnih et al. 2015
    (Methods, Training algorithm) mean by clipping the error term.

    >>> huber(tf.constant([0.5, -3.0]), delta=1.0).numpy().tolist()
    [0.125, 2.5]
    """
    magnitude = tf.abs(error)
    quadratic = tf.minimum(magnitude, delta)
    return 0.5 * tf.square(quadratic) + delta * (magnitude - quadratic)


def squared(error: tf.Tensor) -> tf.Tensor:
    """Returns half the square of each error, whose gradient is the error.

    Sutton and Barto 2018, equation 9.4.

    >>> squared(tf.constant([0.5, -3.0])).numpy().tolist()
    [0.125, 4.5]
    """
    return 0.5 * tf.square(error)


def select(outputs: tf.Tensor, action: tf.Tensor) -> tf.Tensor:
    """Returns the outputs (B, ...) of the actions (B,) that were taken, out of (B, A, ...).

    This is a one-hot sum, because the gradient of ``tf.gather`` is slow under op determinism.

    >>> select(tf.constant([[1.0, 2.0], [3.0, 4.0]]), tf.constant([1, 0])).numpy().tolist()
    [2.0, 3.0]
    >>> select(tf.constant([[[1.0, 2.0], [3.0, 4.0]]]), tf.constant([1])).numpy().tolist()
    [[3.0, 4.0]]
    """
    chosen = tf.one_hot(action, outputs.shape[1], dtype=outputs.dtype)
    return tf.einsum("ba,ba...->b...", chosen, outputs)


def greedy_policy(values: tf.Tensor) -> tf.Tensor:
    """Returns the probabilities (B, A) of the policy that is greedy in Q-values (B, A).

    >>> greedy_policy(tf.constant([[5.0, 9.0, 7.0]])).numpy().tolist()
    [[0.0, 1.0, 0.0]]
    """
    return tf.one_hot(tf.argmax(values, axis=-1), values.shape[-1])


def scaled_log_policy(values: tf.Tensor, temperature: float) -> tf.Tensor:
    """Returns temperature * log softmax(values / temperature), (B, A), without overflow.

    Vieillard et al. 2020, "Munchausen Reinforcement Learning", section 3.

    >>> scaled_log_policy(tf.constant([[1.0, 1.0], [100.0, 0.0]]), temperature=0.5).numpy().round(4)
    array([[  -0.3466,   -0.3466], [   0.    , -100.    ]], dtype=float32)
    """
    return temperature * tf.nn.log_softmax(values / temperature, axis=-1)


def munchausen_reward(
    reward: tf.Tensor, log_policy: tf.Tensor, action: tf.Tensor, alpha: float, lowest: float
) -> tf.Tensor:
    """Returns the reward plus a bonus for actions that the policy prefers, (B,).

    The bonus is alpha * temperature * log pi(a|s), which is clipped from below (Vieillard et al.
    2020, equation 2; section 4 for the clipping).

    Args:
        reward: (B,) rewards.
        log_policy: (B, A) temperature * log pi in the state where the action was taken.
        action: (B,) actions that were taken.
        alpha: weight of the bonus.
        lowest: lower bound of temperature * log pi.

    >>> log_policy = tf.constant([[-0.2, -5.0]] * 2)
    >>> action = tf.constant([0, 1])
    >>> munchausen_reward(tf.ones(2), log_policy, action, alpha=0.9, lowest=-1.0).numpy().round(4)
    array([0.82, 0.1 ], dtype=float32)
    """
    return reward + alpha * tf.clip_by_value(select(log_policy, action), lowest, 0.0)


def returns(
    reward: tf.Tensor, discount: tf.Tensor, next_outputs: tf.Tensor, bonus: tf.Tensor
) -> tf.Tensor:
    """Returns samples r + discount * (z(s', a) + bonus(a)) of the return for each next action.

    Args:
        reward: (B,) rewards; n-step rewards are already summed.
        discount: (B,) gamma^n, or 0 where the target does not bootstrap.
        next_outputs: (B, A, K) or (1, 1, K) samples of the return of each next action.
        bonus: (B, A) bonus of each next action: 0, or for a soft policy its entropy term
            -temperature * log pi(a|s').

    Returns:
        (B, A, K) samples.

    >>> next_outputs = tf.constant([[[4.0], [8.0]]])
    >>> no_bonus = tf.zeros((1, 2))
    >>> returns(tf.constant([1.0]), tf.constant([0.5]), next_outputs, no_bonus).numpy().tolist()
    [[[3.0], [5.0]]]
    """
    return reward[:, None, None] + discount[:, None, None] * (next_outputs + bonus[:, :, None])


def expected_target(policy: tf.Tensor, samples: tf.Tensor) -> tf.Tensor:
    """Returns the target (B, K), the mean of ``returns`` over next actions, without a gradient.

    The policy decides which algorithm this is:

    * greedy in the target network's values: Q-learning (Mnih et al. 2015, Algorithm 1);
    * greedy in the online network's values: Double DQN (van Hasselt et al. 2016, equation 4);
    * soft, with its entropy as a bonus: Munchausen DQN (Vieillard et al. 2020, equation 2).

    Args:
        policy: (B, A) probabilities of the next action.
        samples: (B, A, K) result of ``returns``.

    In this example of Double DQN the online network prefers action 0. The target network gives it
    the value 5, so the target network's maximum of 9 is not used:

    >>> values = tf.constant([[[5.0], [9.0]]])
    >>> samples = returns(tf.constant([1.0]), tf.constant([0.5]), values, tf.zeros((1, 2)))
    >>> expected_target(greedy_policy(tf.constant([[2.0, 1.0]])), samples).numpy().tolist()
    [[3.5]]
    """
    return tf.stop_gradient(tf.einsum("ba,bak->bk", policy, samples))


def project(samples: tf.Tensor, probabilities: tf.Tensor, support: tf.Tensor) -> tf.Tensor:
    """Returns a distribution projected onto the atoms of a support, (B, K).

    The probability of each sample is divided between the two adjacent atoms. Samples outside the
    support go to its nearest end. The mean is preserved if all samples lie inside. Bellemare et al.
    2017, "A Distributional Perspective on Reinforcement Learning", equation 7 and Algorithm 1.

    Args:
        samples: (B, M) returns.
        probabilities: (B, M) probabilities of the samples.
        support: (K,) returns at the atoms, equally spaced.

    One sample lies a quarter of the way from 0 to 1, the other beyond the end:

    >>> probabilities = tf.constant([[0.5, 0.5]])
    >>> support = tf.constant([0.0, 1.0, 2.0])
    >>> project(tf.constant([[0.25, 7.0]]), probabilities, support).numpy().tolist()
    [[0.375, 0.125, 0.5]]
    """
    spacing = support[1] - support[0]
    inside = tf.clip_by_value(samples, support[0], support[-1])
    distance = tf.abs(inside[:, :, None] - support) / spacing
    return tf.einsum("bm,bmk->bk", probabilities, tf.nn.relu(1.0 - distance))


def categorical_target(
    policy: tf.Tensor, samples: tf.Tensor, probabilities: tf.Tensor, support: tf.Tensor
) -> tf.Tensor:
    """Returns the target distribution (B, K) over a support, without a gradient.

    It is the mixture over next actions, projected onto the support. The policy in Bellemare et al.
    2017, Algorithm 1, is greedy.

    Args:
        policy: (B, A) probabilities of the next action.
        samples: (B, A, K) result of ``returns`` for the support.
        probabilities: (B, A, K) probabilities of the atoms for each next action.
        support: (K,) returns at the atoms.

    >>> support = tf.constant([0.0, 1.0, 2.0])
    >>> next_returns = support[None, None, :]
    >>> samples = returns(tf.constant([1.0]), tf.constant([0.5]), next_returns, tf.zeros((1, 2)))
    >>> probabilities = tf.constant([[[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]])
    >>> policy = tf.constant([[0.0, 1.0]])
    >>> categorical_target(policy, samples, probabilities, support).numpy().tolist()
    [[0.0, 0.5, 0.5]]
    """
    weights = policy[:, :, None] * probabilities
    flat = (tf.shape(weights)[0], -1)
    return tf.stop_gradient(project(tf.reshape(samples, flat), tf.reshape(weights, flat), support))


def divergence(logits: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Returns the Kullback-Leibler divergence (B,) from a target distribution (B, K).

    Its gradient equals that of the cross-entropy in Bellemare et al. 2017, Algorithm 1. Unlike the
    cross-entropy, it is 0 for a correct prediction even if the return is uncertain. It can
    therefore be used as a priority (Hessel et al. 2018, section 4).

    Args:
        logits: (B, K) predicted logits.
        target: (B, K) target probabilities.

    >>> target = tf.constant([[0.25, 0.75], [0.5, 0.5]])
    >>> divergence(tf.constant([[0.0, 0.0]] * 2), target).numpy().round(4)
    array([0.1308, 0.    ], dtype=float32)
    """
    log_target = tf.math.log(tf.where(target > 0, target, 1.0))
    return tf.reduce_sum(target * (log_target - tf.nn.log_softmax(logits, axis=-1)), axis=-1)


def quantile_huber(
    quantiles: tf.Tensor, fractions: tf.Tensor, target: tf.Tensor, delta: float
) -> tf.Tensor:
    """Returns the quantile Huber loss (B,).

    It is summed over the predicted quantiles and averaged over the target's samples. Each error
    u = target - quantile has the loss |fraction - 1{u < 0}| * huber(u) / delta. Dabney et al. 2018,
    "Distributional Reinforcement Learning with Quantile Regression", equation 10 and Algorithm 1.
    The division by delta is from Dabney et al. 2018, "Implicit Quantile Networks for Distributional
    Reinforcement Learning", equation 3.

    Args:
        quantiles: (B, N) predictions.
        fractions: (B, N) or (1, N) fractions of the quantiles, from 0 to 1.
        target: (B, M) samples of the target.
        delta: the papers' kappa, the error above which the Huber loss grows linearly.

    If the prediction is too high by 1, the quantile at 0.9 has a tenth of the Huber loss, and the
    quantile at 0.1 has nine tenths:

    >>> prediction = tf.constant([[3.0]])
    >>> target = tf.constant([[2.0]])
    >>> for fraction in (0.9, 0.1):
    ...     loss = quantile_huber(prediction, tf.constant([[fraction]]), target, delta=1.0)
    ...     print(loss.numpy().round(4))
    [0.05]
    [0.45]
    """
    error = target[:, None, :] - quantiles[:, :, None]
    weight = tf.abs(fractions[:, :, None] - tf.cast(error < 0, error.dtype))
    return tf.reduce_sum(tf.reduce_mean(weight * huber(error, delta) / delta, axis=2), axis=1)
