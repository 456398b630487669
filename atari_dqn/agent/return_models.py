"""What a network's outputs say about returns, and how they are learnt: one rule for each value of
``network.returns``.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import tensorflow as tf

from atari_dqn.agent import losses
from atari_dqn.config.schema import Config


class Rule(NamedTuple):
    """How to read and to learn outputs (B, A, K)."""

    values: Callable[[tf.Tensor], tf.Tensor]
    """From outputs (B, A, K) to Q-values (B, A)."""

    distribution: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
    """From outputs (B, A, K) to returns and their probabilities, both (B, A, K)."""

    target: Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]
    """From policy (B, A), reward (B,), discount (B,), next outputs (B, A, K) and bonus (B, A) to a
    target (B, K).
    """

    mean: Callable[[tf.Tensor], tf.Tensor]
    """From a target (B, K) to its mean (B,)."""

    loss: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]
    """From the action's outputs (B, K), their fractions (B, K) or (1, K), and a target, to the loss
    (B,).
    """


def make_rule(config: Config) -> Rule:
    """The rule that the settings name."""
    delta = config.agent.huber_delta
    if config.network.returns == "categorical":
        atoms = support(config)
        return Rule(
            values=lambda outputs: tf.linalg.matvec(tf.nn.softmax(outputs), atoms),
            distribution=lambda outputs: (
                tf.broadcast_to(atoms, tf.shape(outputs)),
                tf.nn.softmax(outputs),
            ),
            target=partial(_categorical_target, atoms),
            mean=lambda target: tf.linalg.matvec(target, atoms),
            loss=lambda chosen, fractions, target: losses.divergence(chosen, target),
        )
    if config.network.returns == "mean":
        loss = (
            partial(losses.huber, delta=delta) if config.agent.loss == "huber" else losses.squared
        )
    else:
        loss = None
    return Rule(
        values=partial(tf.reduce_mean, axis=-1),
        distribution=lambda outputs: (
            outputs,
            tf.ones_like(outputs) / tf.cast(tf.shape(outputs)[-1], tf.float32),
        ),
        target=_sampled_target,
        mean=partial(tf.reduce_mean, axis=-1),
        loss=partial(losses.quantile_huber, delta=delta)
        if loss is None
        else partial(_scalar_loss, loss),
    )


def support(config: Config) -> tf.Tensor:
    """Returns (K,) that a categorical distribution gives probabilities to: Bellemare et al. 2017,
    section 4.
    """
    return tf.linspace(
        config.agent.lowest_return, config.agent.highest_return, config.network.atoms
    )


def fixed_fractions(count: int) -> tf.Tensor:
    """Midpoints (1, N) of equal parts of 0..1: Dabney et al. 2018, lemma 2.

    >>> fixed_fractions(4).numpy().tolist()
    [[0.125, 0.375, 0.625, 0.875]]
    """
    return ((tf.range(count, dtype=tf.float32) + 0.5) / count)[None]


def _sampled_target(
    policy: tf.Tensor,
    reward: tf.Tensor,
    discount: tf.Tensor,
    next_outputs: tf.Tensor,
    bonus: tf.Tensor,
) -> tf.Tensor:
    return losses.expected_target(policy, losses.returns(reward, discount, next_outputs, bonus))


def _categorical_target(
    support: tf.Tensor,
    policy: tf.Tensor,
    reward: tf.Tensor,
    discount: tf.Tensor,
    next_outputs: tf.Tensor,
    bonus: tf.Tensor,
) -> tf.Tensor:
    samples = losses.returns(reward, discount, support[None, None, :], bonus)
    return losses.categorical_target(policy, samples, tf.nn.softmax(next_outputs), support)


def _scalar_loss(
    loss: Callable[[tf.Tensor], tf.Tensor],
    chosen: tf.Tensor,
    fractions: tf.Tensor,
    target: tf.Tensor,
) -> tf.Tensor:
    return loss((target - chosen)[:, 0])
