"""One gradient step: the TD target, the loss and the gradient (Mnih et al. 2015, Algorithm 1).

``GradientStep.__call__`` is the algorithm. The methods below it are its steps, in order.
``B`` is the batch size, ``A`` the number of actions, ``K`` the number of outputs for each action.
"""

from enum import Enum, IntEnum
from typing import NamedTuple

from atari_dqn.agent.augmentation import random_shift
from atari_dqn.agent.losses import greedy_policy, munchausen_reward, scaled_log_policy, select
from atari_dqn.agent.optimizers import clip_by_global_norm
from atari_dqn.agent.return_models import fixed_fractions, make_return_model
from atari_dqn.agent.update_metrics import UpdateMetrics
from atari_dqn.backend.keras_backend import keras
from atari_dqn.backend.tensorflow_backend import tf
from atari_dqn.config.schema import Config
from atari_dqn.networks.q_network import QNetwork
from atari_dqn.replay.batch import Batch


class RandomStream(IntEnum):
    """Streams of random numbers, named after their purpose.

    A key combines the seed, the stream and a count. Each pass through a network therefore has its
    own random numbers, and checkpoints need no state for them.
    """

    ACTING = 0
    ONLINE = 1
    TARGET = 2
    SECOND_PASS = 3  # online network in Double DQN, target network in Munchausen DQN
    SHIFT = 4
    NEXT_SHIFT = 5


class TargetSync(Enum):
    """The times at which the target network is updated from the online network."""

    EVERY_EPISODE = "at the end of each episode"
    EVERY_UPDATE = "after each update"
    PERIODICALLY = "after a number of updates"

    @classmethod
    def of(cls, period: int) -> "TargetSync":
        """Returns what a value of ``agent.target_period_updates`` means.

        >>> TargetSync.of(0).name, TargetSync.of(1).name, TargetSync.of(2000).name
        ('EVERY_EPISODE', 'EVERY_UPDATE', 'PERIODICALLY')
        """
        if period == 0:
            return cls.EVERY_EPISODE
        return cls.EVERY_UPDATE if period == 1 else cls.PERIODICALLY


class TargetTerms(NamedTuple):
    """What the TD target takes from a policy: its probabilities, its reward and its bonus."""

    policy: tf.Tensor  # (B, A) probability of each action in the next state
    reward: tf.Tensor  # (B,) n-step return of the transition, with any Munchausen reward
    bonus: tf.Tensor  # (B, A) bonus that is added to the return of each next action


class GradientStep:
    """A gradient step of the online network on a batch.

    Args:
        config: the agent, network and optimizer settings, and the seed.
        online: the online network, which is trained.
        target: the target network, which evaluates the next state.
        optimizer: the optimizer of the online network's weights.
    """

    def __init__(
        self,
        config: Config,
        online: QNetwork,
        target: QNetwork,
        optimizer: keras.optimizers.Optimizer,
    ) -> None:
        self.config = config
        self.settings = config.agent
        self.online = online
        self.target = target
        self.optimizer = optimizer
        self.return_model = make_return_model(config)
        self.target_sync = TargetSync.of(self.settings.target_period_updates)
        greedy = self.online_greedy_policy if self.settings.double else self.target_greedy_policy
        self.policy_before_munchausen = greedy
        self.next_policy = self.munchausen_policy if self.settings.munchausen else greedy

    def __call__(self, batch: Batch) -> tuple[UpdateMetrics, tf.Tensor]:
        """Makes one gradient step, and updates the target network if that is due every update.

        Args:
            batch: B transitions as tensors.

        Returns:
            The metrics of the step, as scalars, and the priorities (B,) of the transitions.
        """
        batch = self.augment(batch)
        target = self.td_target(batch)
        with tf.GradientTape() as tape:
            outputs, losses = self.transition_losses(batch, target)
            penalties = self.online.computing.losses
            loss = tf.add_n([tf.reduce_mean(batch.weight * losses), *penalties])
        gradient = tape.gradient(loss, self.online.computing.trainable_variables)
        gradient, norm = self.clip(gradient)
        values = self.return_model.values(outputs)
        td_error = self.td_error(values, batch, target)
        self.optimizer.apply(gradient, self.online.weights.trainable_variables)
        self.online.round()
        if self.target_sync is TargetSync.EVERY_UPDATE:
            self.target.follow(self.online, self.settings.target_rate)
        mean_max_q = tf.reduce_mean(tf.reduce_max(values, axis=-1))
        metrics = UpdateMetrics(loss, mean_max_q, tf.reduce_mean(td_error), norm)
        return metrics, self.priority(td_error, losses)

    def augment(self, batch: Batch) -> Batch:
        """Returns the batch, with its pictures shifted if ``agent.random_shift`` is above 0."""
        pixels = self.settings.random_shift
        if not pixels:
            return batch
        key = self.key(RandomStream.SHIFT)
        next_key = self.key(RandomStream.NEXT_SHIFT)
        return batch._replace(
            observation=random_shift(batch.observation, pixels, key),
            next_observation=random_shift(batch.next_observation, pixels, next_key),
        )

    def td_target(self, batch: Batch) -> tf.Tensor:
        """Returns y = r + discount * sum_a policy(a) * (z_target(s', a) + bonus(a)), (B, M).

        M is ``agent.target_samples`` if ``network.returns`` is "implicit", else K. If it is
        "categorical", this is instead the distribution of y over the K atoms.
        """
        next_outputs = self.target_outputs(batch.next_observation, RandomStream.TARGET)
        policy, reward, bonus = self.next_policy(batch, self.return_model.values(next_outputs))
        return self.return_model.target(policy, reward, batch.discount, next_outputs, bonus)

    def target_greedy_policy(self, batch: Batch, next_values: tf.Tensor) -> TargetTerms:
        """Returns the policy that is greedy in the target network's Q-values (B, A).

        Mnih et al. 2015, Algorithm 1.
        """
        return TargetTerms(greedy_policy(next_values), batch.reward, tf.zeros_like(next_values))

    def online_greedy_policy(self, batch: Batch, next_values: tf.Tensor) -> TargetTerms:
        """Returns the policy that is greedy in the online network's Q-values.

        van Hasselt et al. 2016, equation 4.
        """
        samples = self.settings.target_samples
        key = self.key(RandomStream.SECOND_PASS)
        outputs, _ = self.outputs(self.online, batch.next_observation, key, samples)
        policy = greedy_policy(self.return_model.values(outputs))
        return TargetTerms(policy, batch.reward, tf.zeros_like(next_values))

    def munchausen_policy(self, batch: Batch, next_values: tf.Tensor) -> TargetTerms:
        """Returns the soft policy of the target network, with the Munchausen reward.

        Vieillard et al. 2020, equation 2. The first ``agent.munchausen_after_updates`` updates use
        a greedy policy instead.
        """
        first = self.settings.munchausen_after_updates
        if not first:
            return self.soft_policy(batch, next_values)
        policy: TargetTerms = tf.cond(
            self.optimizer.iterations < first,
            lambda: self.policy_before_munchausen(batch, next_values),
            lambda: self.soft_policy(batch, next_values),
        )
        return policy

    def soft_policy(self, batch: Batch, next_values: tf.Tensor) -> TargetTerms:
        """Returns the soft policy and the Munchausen reward of Vieillard et al. 2020, equation 2.

        Args:
            batch: the transitions.
            next_values: (B, A) Q-values of the target network for the next states.
        """
        settings = self.settings
        outputs = self.target_outputs(batch.observation, RandomStream.SECOND_PASS)
        log_policy = scaled_log_policy(self.return_model.values(outputs), settings.temperature)
        next_log_policy = scaled_log_policy(next_values, settings.temperature)
        reward = munchausen_reward(
            batch.reward, log_policy, batch.action, settings.munchausen, settings.lowest_bonus
        )
        return TargetTerms(
            policy=tf.exp(next_log_policy / settings.temperature),
            reward=reward,
            bonus=-next_log_policy,
        )

    def transition_losses(self, batch: Batch, target: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the online network's outputs (B, A, K), and the loss (B,) of each transition."""
        key = self.key(RandomStream.ONLINE)
        outputs, fractions = self.outputs(
            self.online, batch.observation, key, self.settings.samples
        )
        return outputs, self.return_model.loss(select(outputs, batch.action), fractions, target)

    def clip(self, gradient: list[tf.Tensor]) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Returns the gradient in float32, clipped, and its norm before clipping."""
        gradient = [tf.cast(part, tf.float32) for part in gradient]
        return clip_by_global_norm(gradient, self.config.optimizer.clip_norm)

    def td_error(self, values: tf.Tensor, batch: Batch, target: tf.Tensor) -> tf.Tensor:
        """Returns |y - Q(s, a)| (B,), where both are means if the network predicts distributions.

        Args:
            values: (B, A) Q-values of the online network.
            batch: the transitions.
            target: (B, M) result of ``td_target``.
        """
        return tf.abs(self.return_model.mean(target) - select(values, batch.action))

    def priority(self, td_error: tf.Tensor, losses: tf.Tensor) -> tf.Tensor:
        """Returns the priorities (B,) for prioritized replay, before the exponent is applied.

        The priority is the TD error (Schaul et al. 2016, section 3.3). If the network predicts a
        distribution of returns, it is the loss (Hessel et al. 2018, section 4).
        """
        return td_error if self.config.network.returns == "mean" else losses

    def priorities(self, batch: Batch) -> tf.Tensor:
        """Returns the priorities (B,) of a batch without augmentation, and changes no weights."""
        target = self.td_target(batch)
        outputs, losses = self.transition_losses(batch, target)
        td_error = self.td_error(self.return_model.values(outputs), batch, target)
        return self.priority(td_error, losses)

    def target_outputs(self, observation: tf.Tensor, stream: RandomStream) -> tf.Tensor:
        """Returns the target network's outputs (B, A, M) for (B, *frame_shape, stack)."""
        samples = self.settings.target_samples
        outputs, _ = self.outputs(self.target, observation, self.key(stream), samples)
        return outputs

    def outputs(
        self,
        network: QNetwork,
        observation: tf.Tensor,
        key: tf.Tensor | None,
        samples: int,
        exact: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns a network's outputs, and the fractions of the return's distribution they are at.

        Args:
            network: the online or the target network.
            observation: (B, *frame_shape, stack).
            key: (2,) random key of the noise and the fractions in this pass. Without a key there is
                no noise, and the fractions are evenly spaced.
            samples: number of fractions K if ``network.returns`` is "implicit"; otherwise ignored.
            exact: whether to compute in float32 instead of the network's own precision.

        Returns:
            Outputs (B, A, K) and fractions (B, K) or (1, K).
        """
        settings = self.config.network
        implicit = settings.returns == "implicit"
        inputs = {"frames": observation}
        fractions = fixed_fractions(samples if implicit else settings.atoms)
        if implicit:
            shape = (tf.shape(observation)[0], samples)
            if key is None:
                fractions = tf.broadcast_to(fractions, shape)
            else:
                fractions = tf.random.stateless_uniform(shape, key)
            inputs["fractions"] = fractions
        if settings.noisy:
            inputs["noise"] = tf.zeros(2, tf.int32) if key is None else key
        return network(inputs, training=key is not None, exact=exact), fractions

    def key(self, stream: RandomStream, count: tf.Tensor | None = None) -> tf.Tensor:
        """Returns a random key (2,), which differs for each stream and count.

        Args:
            stream: the purpose of the random numbers.
            count: number of earlier uses of the stream; by default, the number of updates so far.
        """
        if count is None:
            count = tf.cast(self.optimizer.iterations, tf.int32)
        seed = tf.constant([self.config.machine.seed, int(stream)])
        return tf.random.experimental.stateless_fold_in(seed, count)
