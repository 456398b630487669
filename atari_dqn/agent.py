"""The agent: an online network that acts and learns, a target network that it learns from, and their optimizer."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from atari_dqn import checkpoint
from atari_dqn.checkpoint import Checkpoint
from atari_dqn.config import read_config
from atari_dqn.losses import huber, q_learning_target, select
from atari_dqn.networks import build_network
from atari_dqn.optimizers import clip_by_global_norm, make_optimizer
from atari_dqn.replay import Batch
from atari_dqn.settings import Config


class UpdateMetrics(NamedTuple):
    """What one update measured, each a scalar."""

    loss: Any  # mean Huber loss of the batch
    mean_max_q: Any  # mean over the batch of max_a Q(s, a)
    td_error: Any  # mean absolute TD error
    gradient_norm: Any  # global norm before clipping

    @classmethod
    def none(cls) -> "UpdateMetrics":
        """What is measured where nothing was learnt."""
        return cls(*[float("nan")] * len(cls._fields))


class Agent:
    """Deep Q-learning (Mnih et al. 2015, Algorithm 1), with Double DQN as a setting.

    Args:
        config: the agent, network and optimizer settings, and the seed of the initial weights.
        observation_shape: (stack, height, width).
        num_actions: actions to choose from.
    """

    def __init__(self, config: Config, observation_shape: tuple[int, ...], num_actions: int) -> None:
        self.settings = config.agent
        self.num_actions = num_actions
        self.stack = observation_shape[0]
        self.window = self.stack + config.agent.n_step
        self._clip_norm = config.optimizer.clip_norm
        frames_last = (*observation_shape[1:], self.stack)
        self.online = build_network(config.network, frames_last, num_actions, config.machine.seed, name="online")
        self.target = build_network(config.network, frames_last, num_actions, config.machine.seed, name="target")
        self.optimizer = make_optimizer(config.optimizer)
        self.optimizer.build(self.online.trainable_variables)
        self.updates = 0
        observations = tf.TensorSpec([None, *observation_shape], tf.uint8)
        window = tf.TensorSpec([config.agent.batch_size, self.window, *observation_shape[1:]], tf.uint8)
        whole, real = (tf.TensorSpec([config.agent.batch_size], dtype) for dtype in (tf.int32, tf.float32))
        self._values = tf.function(self._compute_values, input_signature=[observations])
        self._learn = tf.function(self._compute_update, input_signature=[window, whole, whole, real, real])

    def values(self, observations: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Q-values (N, actions) of observations (N, stack, height, width)."""
        values: NDArray[np.float32] = self._values(observations).numpy()
        return values

    def act(self, observations: NDArray[np.uint8]) -> NDArray[np.int32]:
        """Action of highest Q-value (N,) for each observation (N, stack, height, width)."""
        best: NDArray[np.int32] = np.argmax(self.values(observations), axis=-1).astype(np.int32)
        return best

    def update(self, batch: Batch) -> UpdateMetrics:
        """Takes one gradient step on a batch, and copies the online network to the target when it is due."""
        metrics = UpdateMetrics(*self._learn(*batch))
        self.updates += 1
        if self.updates % self.settings.target_period_updates == 0:
            self.sync_target()
        return metrics

    def sync_target(self) -> None:
        """Copies the online network into the target network."""
        for target, online in zip(self.target.variables, self.online.variables, strict=True):
            target.assign(online)

    def _compute_values(self, observations: tf.Tensor) -> tf.Tensor:
        return self.online(_frames_last(observations))

    def _compute_update(
        self, frames: tf.Tensor, offset: tf.Tensor, action: tf.Tensor, reward: tf.Tensor, discount: tf.Tensor
    ) -> UpdateMetrics:
        observation = _frames_last(frames[:, : self.stack])
        following = tf.gather(frames, offset[:, tf.newaxis] + tf.range(self.stack), batch_dims=1)
        next_observation = _frames_last(following)
        next_values = self.target(next_observation)
        selector_values = self.online(next_observation) if self.settings.double else next_values
        target = q_learning_target(reward, discount, next_values, selector_values)
        with tf.GradientTape() as tape:
            values = self.online(observation, training=True)
            td_error = target - select(values, action)
            loss = tf.reduce_mean(huber(td_error, self.settings.huber_delta))
        gradients = tape.gradient(loss, self.online.trainable_variables)
        gradients, norm = clip_by_global_norm(gradients, self._clip_norm)
        self.optimizer.apply(gradients, self.online.trainable_variables)
        mean_max_q = tf.reduce_mean(tf.reduce_max(values, axis=-1))
        return UpdateMetrics(loss, mean_max_q, tf.reduce_mean(tf.abs(td_error)), norm)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that the next update depends on, by name."""
        named = {"target": self.target.variables, "optimizer": self.optimizer.variables, "online": self.online.variables}
        arrays: dict[str, NDArray[Any]] = {
            f"{owner}/{index:02d}/{variable.path}": np.asarray(variable)
            for owner, variables in named.items()
            for index, variable in enumerate(variables)
        }
        return arrays | {"updates": np.array(self.updates)}

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Takes over what ``arrays`` returned of an agent with the same settings."""
        for owner, variables in (
            ("target", self.target.variables),
            ("optimizer", self.optimizer.variables),
            ("online", self.online.variables),
        ):
            for index, variable in enumerate(variables):
                variable.assign(arrays[f"{owner}/{index:02d}/{variable.path}"])
        self.updates = int(arrays["updates"])


def load_agent(path: Path) -> tuple[Agent, Config, Checkpoint]:
    """Loads a trained agent, the settings it was trained with, and the checkpoint that holds both.

    Args:
        path: a run's directory (then its newest checkpoint) or one checkpoint in it.

    Raises:
        UserError: there is none, or it is damaged.
    """
    stored = checkpoint.load(path)
    config = read_config(stored.path / "config.toml")
    agent = Agent(config, tuple(stored.notes["observation_shape"]), len(stored.notes["actions"]))
    agent.restore(checkpoint.part(stored.arrays, "agent"))
    return agent, config, stored


def _frames_last(frames: tf.Tensor) -> tf.Tensor:
    """From (B, stack, height, width), as frames are stored, to (B, height, width, stack), as convolutions want them."""
    return tf.transpose(frames, [0, 2, 3, 1])
