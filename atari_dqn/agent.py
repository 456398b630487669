"""The agent: an online network that acts and learns, a target network that it learns from, and their optimizer."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from atari_dqn import checkpoint
from atari_dqn.config import read_config
from atari_dqn.errors import UserError
from atari_dqn.losses import huber, q_learning_target, select
from atari_dqn.networks import OUTPUT_LAYERS, build_network, copy_weights, save_network
from atari_dqn.optimizers import clip_by_global_norm, make_optimizer
from atari_dqn.preprocessing import stacks_last
from atari_dqn.replay import Batch
from atari_dqn.settings import Config
from atari_dqn.tensorflow_setup import as_tensor, resolve_precision

# Several updates in one call of the graph overlap where they can; the graph grows with their number.
UPDATES_TOGETHER = 4


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
        build = partial(build_network, config.network, frames_last, num_actions, config.machine.seed)
        # The weights that learn are float32; a network that computes in less holds a rounded copy of them, made once an update.
        self.weights = build("online", "float32")
        self.online = self.weights if precision == "float32" else build("online", precision)
        self.target = build("target", precision)
        self.optimizer = make_optimizer(config.optimizer)
        self.optimizer.build(self.weights.trainable_variables)
        self._round_weights()
        self.sync_target()
        self.updates = 0
        observations = tf.TensorSpec([None, *frames_last], tf.uint8)
        self._values = tf.function(self.online, input_signature=[observations])
        self._learn = tf.function(lambda batches: [self._compute_update(*batch) for batch in batches])

    def values(self, observations: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Q-values (N, actions) of observations (N, stack, height, width)."""
        values: NDArray[np.float32] = self._values(as_tensor(stacks_last(observations))).numpy()
        return values

    def act(self, observations: NDArray[np.uint8]) -> NDArray[np.int32]:
        """Action of highest Q-value (N,) for each observation (N, stack, height, width)."""
        best: NDArray[np.int32] = np.argmax(self.values(observations), axis=-1).astype(np.int32)
        return best

    def update(self, batches: Sequence[Batch]) -> list[UpdateMetrics]:
        """Takes a gradient step on each batch in turn, and copies the online network to the target when it is due."""
        period, metrics = self.settings.target_period_updates, list[UpdateMetrics]()
        while len(metrics) < len(batches):
            together = min(UPDATES_TOGETHER, period - self.updates % period)
            now = batches[len(metrics) : len(metrics) + together]
            metrics += self._learn([[as_tensor(array) for array in batch] for batch in now])
            self.updates += len(now)
            if self.updates % period == 0:
                self.sync_target()
        return metrics

    def sync_target(self) -> None:
        """Copies the online network into the target network."""
        copy_weights(self.online, self.target)

    def save_network(self, path: Path) -> None:
        """Writes the online network as a ``.keras`` file for other programs."""
        save_network(self.weights, path)

    def _round_weights(self) -> None:
        if self.online is not self.weights:
            copy_weights(self.weights, self.online)

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
        gradients = [tf.cast(gradient, tf.float32) for gradient in gradients]
        gradients, norm = clip_by_global_norm(gradients, self._clip_norm)
        self.optimizer.apply(gradients, self.weights.trainable_variables)
        self._round_weights()
        mean_max_q = tf.reduce_mean(tf.reduce_max(values, axis=-1))
        return UpdateMetrics(loss, mean_max_q, tf.reduce_mean(tf.abs(td_error)), norm)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that the next update depends on, by name."""
        arrays: dict[str, NDArray[Any]] = {
            # NumPy's files know no bfloat16.
            name: np.asarray(variable).astype(np.float32 if variable.dtype == "bfloat16" else variable.dtype, copy=False)
            for name, variable in self._variables().items()
        }
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
        self._round_weights()
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
        for mine, its in zip(self.weights.layers, other.weights.layers, strict=True):
            if everything or mine.name not in OUTPUT_LAYERS:
                mine.set_weights(its.get_weights())
        self._round_weights()
        self.sync_target()
        return everything

    def _variables(self) -> dict[str, Any]:
        owners = {"target": self.target.variables, "optimizer": self.optimizer.variables, "online": self.weights.variables}
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
