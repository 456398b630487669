"""The agent: an online network that acts and learns, a target network that it learns from, and their optimizer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from atari_dqn import checkpoint
from atari_dqn.config import read_config
from atari_dqn.errors import UserError
from atari_dqn.losses import huber, q_learning_target, select
from atari_dqn.networks import OUTPUT_LAYERS, build_network, save_network
from atari_dqn.optimizers import clip_by_global_norm, make_optimizer
from atari_dqn.replay import Batch
from atari_dqn.settings import Config
from atari_dqn.tensorflow_setup import resolve_precision


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
        action_names: of the actions to choose from, by their index.
    """

    def __init__(self, config: Config, observation_shape: tuple[int, ...], action_names: Sequence[str]) -> None:
        self.config = config
        self.settings = config.agent
        self.action_names = tuple(action_names)
        self.num_actions = num_actions = len(action_names)
        self.observation_shape = observation_shape
        self._clip_norm = config.optimizer.clip_norm
        precision = resolve_precision(config.machine.precision)
        frames_last = (*observation_shape[1:], observation_shape[0])
        self.online, self.target = (
            build_network(config.network, frames_last, num_actions, config.machine.seed, name, precision)
            for name in ("online", "target")
        )
        self.optimizer = make_optimizer(config.optimizer)
        self.optimizer.build(self.online.trainable_variables)
        self.updates = 0
        observations = tf.TensorSpec([None, *observation_shape], tf.uint8)
        batch = tf.TensorSpec([config.agent.batch_size, *frames_last], tf.uint8)
        whole, real = (tf.TensorSpec([config.agent.batch_size], dtype) for dtype in (tf.int32, tf.float32))
        self._values = tf.function(self._compute_values, input_signature=[observations])
        self._learn = tf.function(self._compute_update, input_signature=[batch, whole, real, real, batch])

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

    def save_network(self, path: Path) -> None:
        """Writes the online network as a ``.keras`` file for other programs."""
        save_network(self.online, path)

    def _compute_values(self, observations: tf.Tensor) -> tf.Tensor:
        return self.online(tf.transpose(observations, [0, 2, 3, 1]))  # from how frames come to how convolutions want them

    def _compute_update(
        self, observation: tf.Tensor, action: tf.Tensor, reward: tf.Tensor, discount: tf.Tensor, next_observation: tf.Tensor
    ) -> UpdateMetrics:
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
        arrays: dict[str, NDArray[Any]] = {name: np.asarray(variable) for name, variable in self._variables().items()}
        return arrays | {"updates": np.array(self.updates)}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Takes over what ``arrays`` returned of an agent with the same settings.

        Raises:
            UserError: they are of an agent with another network.
        """
        # By owner and number: Keras numbers the names of nameless layers differently in each process.
        stored = {tuple(name.split("/")[:2]): array for name, array in arrays.items()}
        variables = {tuple(name.split("/")[:2]): variable for name, variable in self._variables().items()}
        for place, variable in variables.items():
            shape = stored[place].shape if place in stored else "missing"
            if shape != tuple(variable.shape):
                raise UserError(f"a checkpoint of another network: {variable.path} is {shape}, wanted {tuple(variable.shape)}")
        for place, variable in variables.items():
            variable.assign(stored[place])
        self.updates = int(arrays["updates"])

    def start_from(self, other: "Agent") -> bool:
        """Takes over another agent's weights, as an untrained agent's better beginning.

        Where the actions have other names, the output layers keep their own random weights: what is seen is worth knowing
        in another game too, what it is worth is not.

        Returns:
            Whether the output layers were taken over as well.

        Raises:
            UserError: the networks differ in more than their outputs.
        """
        ours = {"observations": self.observation_shape, **self.config.network.model_dump()}
        theirs = {"observations": other.observation_shape, **other.config.network.model_dump()}
        for name, value in ours.items():
            if theirs[name] != value:
                raise UserError(f"weights of another network: its {name} is {theirs[name]}, this run's {value}")
        everything = self.action_names == other.action_names
        for mine, its in zip(self.online.layers, other.online.layers, strict=True):
            if everything or mine.name not in OUTPUT_LAYERS:
                mine.set_weights(its.get_weights())
        self.sync_target()
        return everything

    def _variables(self) -> dict[str, Any]:
        owners = {"target": self.target.variables, "optimizer": self.optimizer.variables, "online": self.online.variables}
        return {
            f"{owner}/{index:02d}/{variable.path}": variable
            for owner, variables in owners.items()
            for index, variable in enumerate(variables)
        }


def load_agent(path: str | Path) -> Agent:
    """Loads a trained agent, ready to act; ``config`` holds the settings it was trained with.

    Args:
        path: a run's directory (then its newest checkpoint) or one checkpoint in it.

    Raises:
        UserError: there is none, or it is damaged.
    """
    stored = checkpoint.load(Path(path), shared=False)
    config = read_config(stored.path / "config.toml")
    agent = Agent(config, tuple(stored.notes["observation_shape"]), stored.notes["actions"])
    agent.restore(checkpoint.part(stored.arrays, "agent"))
    return agent
