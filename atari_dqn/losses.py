"""Temporal-difference targets and losses: pure functions of tensors, in float32.

``B`` is the batch size, ``A`` the number of actions.
"""

import tensorflow as tf


def huber(error: tf.Tensor, delta: float) -> tf.Tensor:
    """Huber loss of each error: e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2).

    Its gradient is the error clipped to plus or minus delta, which is what Mnih et al. 2015 (Methods, Training algorithm)
    mean by clipping the error term.

    >>> huber(tf.constant([0.5, -3.0]), delta=1.0).numpy().tolist()
    [0.125, 2.5]
    """
    magnitude = tf.abs(error)
    quadratic = tf.minimum(magnitude, delta)
    return 0.5 * tf.square(quadratic) + delta * (magnitude - quadratic)


def select(values: tf.Tensor, action: tf.Tensor) -> tf.Tensor:
    """Values (B, A) of the actions (B,), as a one-hot sum: the gradient of a gather is slow where order must be fixed.

    >>> select(tf.constant([[1.0, 2.0], [3.0, 4.0]]), tf.constant([1, 0])).numpy().tolist()
    [2.0, 3.0]
    """
    return tf.reduce_sum(values * tf.one_hot(action, values.shape[-1], dtype=values.dtype), axis=-1)


def q_learning_target(reward: tf.Tensor, discount: tf.Tensor, next_values: tf.Tensor, selector_values: tf.Tensor) -> tf.Tensor:
    """Target r + discount * Q(s', argmax_a S(s', a)), through which no gradient flows.

    With S = Q, both of the target network, this is Q-learning (Mnih et al. 2015, Methods, Algorithm 1); with S of the online
    network, Double DQN (van Hasselt et al. 2016, equation 4).

    Args:
        reward: (B,) rewards, for n steps already summed.
        discount: (B,) gamma, gamma^n, or 0 where the future is worth nothing.
        next_values: (B, A) Q of the next observation.
        selector_values: (B, A) S of the next observation.

    The online network prefers action 0, which the target network values at 5; its own maximum, 9, is not taken:

    >>> q_learning_target(tf.constant([1.0]), tf.constant([0.5]), tf.constant([[5.0, 9.0]]), tf.constant([[2.0, 1.0]])).numpy()
    array([3.5], dtype=float32)
    """
    best = tf.argmax(selector_values, axis=-1, output_type=tf.int32)
    return tf.stop_gradient(reward + discount * select(next_values, best))
