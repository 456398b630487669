"""Return models: how a network's outputs represent returns, and the loss that trains them.

There is one model for each value of ``network.returns``; ``quantile`` and ``implicit`` share one.
``B`` is the batch size, ``A`` the number of actions, ``K`` the number of outputs for each action.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from atari_dqn.agent import losses
from atari_dqn.backend.tensorflow_backend import tf
from atari_dqn.config.schema import Config


class ReturnModel(Protocol):
    """The meaning of a network's outputs (B, A, K), and their targets and losses."""

    def values(self, outputs: tf.Tensor) -> tf.Tensor:
        """Returns the Q-values (B, A) of outputs (B, A, K)."""

    def distribution(self, outputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns possible returns and their probabilities, both (B, A, K)."""

    def target(
        self,
        policy: tf.Tensor,
        reward: tf.Tensor,
        discount: tf.Tensor,
        next_outputs: tf.Tensor,
        bonus: tf.Tensor,
    ) -> tf.Tensor:
        """Returns samples of y = r + discount * sum_a policy(a) * (z(s', a) + bonus(a)), (B, M).

        The categorical model returns the distribution of y instead, projected onto the atoms,
        (B, K).

        Args:
            policy: (B, A) probabilities of the next action.
            reward: (B,) rewards; n-step rewards are already summed.
            discount: (B,) gamma^n, or 0 where the target does not bootstrap.
            next_outputs: (B, A, M) outputs z of the target network for the next state.
            bonus: (B, A) bonus of each next action, such as the entropy of a soft policy.
        """

    def mean(self, target: tf.Tensor) -> tf.Tensor:
        """Returns the mean (B,) of a target (B, M)."""

    def loss(self, outputs: tf.Tensor, fractions: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        """Returns the loss (B,) of the outputs (B, K) for the actions that were taken.

        Args:
            outputs: (B, K) outputs.
            fractions: (B, K) or (1, K) fractions of the distribution at which the outputs are
                quantiles; other models ignore them.
            target: (B, M) target.
        """


@dataclass(frozen=True)
class _Samples:
    """A base class for outputs that are equally likely samples of the return.

    The Q-value is their mean.
    """

    def values(self, outputs: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(outputs, axis=-1)

    def distribution(self, outputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        count = tf.cast(tf.shape(outputs)[-1], tf.float32)
        return outputs, tf.ones_like(outputs) / count

    def target(
        self,
        policy: tf.Tensor,
        reward: tf.Tensor,
        discount: tf.Tensor,
        next_outputs: tf.Tensor,
        bonus: tf.Tensor,
    ) -> tf.Tensor:
        samples = losses.returns(reward, discount, next_outputs, bonus)
        return losses.expected_target(policy, samples)

    def mean(self, target: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(target, axis=-1)


@dataclass(frozen=True)
class MeanModel(_Samples):
    """A return model with one output for each action, its Q-value (Mnih et al. 2015).

    Attributes:
        error_loss: maps TD errors (B,) to losses (B,): the Huber loss or half the square.
    """

    error_loss: Callable[[tf.Tensor], tf.Tensor]

    def loss(self, outputs: tf.Tensor, fractions: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        """Returns the loss (B,) of the TD error; ``fractions`` is not used."""
        return self.error_loss((target - outputs)[:, 0])


@dataclass(frozen=True)
class QuantileModel(_Samples):
    """A return model with K quantiles of the return for each action (Dabney et al. 2018).

    The quantiles are at fixed or at sampled fractions.

    Attributes:
        delta: error above which the Huber loss grows linearly.
    """

    delta: float

    def loss(self, outputs: tf.Tensor, fractions: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        """Returns the quantile Huber loss (B,)."""
        return losses.quantile_huber(outputs, fractions, target, self.delta)


@dataclass(frozen=True)
class CategoricalModel:
    """A return model with a categorical distribution over K atoms (Bellemare et al. 2017).

    Attributes:
        support: (K,) returns at the atoms.
    """

    support: tf.Tensor

    def values(self, outputs: tf.Tensor) -> tf.Tensor:
        """Returns the means (B, A) of the distributions."""
        return tf.linalg.matvec(tf.nn.softmax(outputs), self.support)

    def distribution(self, outputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the atoms and their probabilities, both (B, A, K)."""
        return tf.broadcast_to(self.support, tf.shape(outputs)), tf.nn.softmax(outputs)

    def target(
        self,
        policy: tf.Tensor,
        reward: tf.Tensor,
        discount: tf.Tensor,
        next_outputs: tf.Tensor,
        bonus: tf.Tensor,
    ) -> tf.Tensor:
        """Returns the target distribution (B, K), projected onto the atoms."""
        samples = losses.returns(reward, discount, self.support[None, None, :], bonus)
        next_probabilities = tf.nn.softmax(next_outputs)
        return losses.categorical_target(policy, samples, next_probabilities, self.support)

    def mean(self, target: tf.Tensor) -> tf.Tensor:
        """Returns the mean (B,) of a target distribution (B, K)."""
        return tf.linalg.matvec(target, self.support)

    def loss(self, outputs: tf.Tensor, fractions: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        """Returns the divergence (B,) from the target distribution; ``fractions`` is not used."""
        return losses.divergence(outputs, target)


def make_return_model(config: Config) -> ReturnModel:
    """Returns the model that ``network.returns`` selects, with the loss from the settings."""
    delta = config.agent.huber_delta
    if config.network.returns == "categorical":
        return CategoricalModel(support(config))
    if config.network.returns != "mean":
        return QuantileModel(delta)
    if config.agent.loss == "huber":
        return MeanModel(partial(losses.huber, delta=delta))
    return MeanModel(losses.squared)


def support(config: Config) -> tf.Tensor:
    """Returns the atoms (K,) of the categorical distribution (Bellemare et al. 2017, section 4)."""
    lowest = config.agent.lowest_return
    return tf.linspace(lowest, config.agent.highest_return, config.network.atoms)


def fixed_fractions(count: int) -> tf.Tensor:
    """Returns the midpoints (1, N) of N equal parts of 0..1 (Dabney et al. 2018, lemma 2).

    >>> fixed_fractions(4).numpy().tolist()
    [[0.125, 0.375, 0.625, 0.875]]
    """
    return ((tf.range(count, dtype=tf.float32) + 0.5) / count)[None]
