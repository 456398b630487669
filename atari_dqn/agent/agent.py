"""The agent: an online network, a target network and an optimizer.

``update.py`` contains the gradient step.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atari_dqn.agent.optimizers import make_optimizer
from atari_dqn.agent.update import GradientStep, RandomStream, TargetSync
from atari_dqn.agent.update_metrics import UpdateMetrics
from atari_dqn.backend.arrays import (
    FrameStatistics,
    aligned_empty,
    as_tensor,
    is_picture,
    observation_dtype,
    stacks_last,
)
from atari_dqn.backend.graph import Graph
from atari_dqn.backend.keras_backend import keras
from atari_dqn.backend.startup import resolve_compile, resolve_precision
from atari_dqn.backend.tensorflow_backend import tf
from atari_dqn.config.schema import Config
from atari_dqn.errors import UserError
from atari_dqn.networks.heads import HEAD_LAYERS
from atari_dqn.networks.q_network import Computation, Interface, QNetwork, build_network
from atari_dqn.replay.batch import Batch
from atari_dqn.runs.checkpoint import array

# Most updates in one call of the graph. They share the overhead of the call, and parts of them run
# in parallel. The graph grows with their number.
UPDATES_TOGETHER = 8

# Dabney et al. 2018 (IQN) act on the mean of 32 random quantiles. Here they are evenly spaced, so
# that the agent's actions are reproducible.
EVALUATION_SAMPLES = 32


class Agent:
    """A DQN agent (Mnih et al. 2015, Algorithm 1). Its settings select variants such as Double DQN.

    Args:
        config: all settings, of which the agent, network, optimizer and machine sections are used.
        observation_shape: (stack, height, width) of pictures, or (stack, n) of vectors.
        action_names: names of the available actions, by index.

    Attributes:
        online: the online network, which is trained.
        target: the target network, which evaluates the next state.
        acting: the acting network, which is one of these two.
        updates: number of gradient steps so far.
    """

    def __init__(
        self, config: Config, observation_shape: tuple[int, ...], action_names: Sequence[str]
    ) -> None:
        self.config = config
        self.settings = config.agent
        self.observation_shape = observation_shape
        self.action_names = tuple(action_names)
        self.num_actions = len(action_names)
        pictures = is_picture(observation_shape)
        precision = resolve_precision(config.machine.precision, pictures)
        self._compiled = resolve_compile(config.machine.compile, pictures)
        self.online = QNetwork(self._build, "online", precision)
        self.target = QNetwork(self._build, "target", precision)
        self.acting = self.target if self.settings.act_with_target else self.online
        self.optimizer = make_optimizer(
            config.optimizer,
            self.online.weights.trainable_variables,
            self.settings.reset_period_updates,
        )
        self.gradient_step = GradientStep(config, self.online, self.target, self.optimizer)
        self.return_model = self.gradient_step.return_model
        self.updates = 0
        self._noisy_passes = 0  # calls of ``explore`` so far with a noisy network
        self._state_before_building: dict[str, NDArray[Any]] | None = None
        self._make_graphs()

    def _build(self, name: str, precision: str, *seeds: int) -> keras.Model:
        """Builds a network from the settings; its initial weights depend on all given seeds."""
        shape = (*self.observation_shape[1:], self.observation_shape[0])
        all_seeds = (self.config.machine.seed, *seeds)
        dtype = observation_dtype(self.observation_shape).__name__
        interface = Interface(shape, self.num_actions, dtype)
        computation = Computation(precision, self._compiled)
        return build_network(self.config.network, interface, all_seeds, name, computation)

    def _make_graphs(self) -> None:
        shape = [None, *self.observation_shape[1:], self.observation_shape[0]]
        observations = tf.TensorSpec(shape, observation_dtype(self.observation_shape).__name__)
        count = tf.TensorSpec([], tf.int32)
        self._values = Graph(self._compute_values, self._compiled, [observations])
        noisy = Graph(lambda inputs: self._compute_values(*inputs), False, [(observations, count)])
        self._noisy_values = noisy
        self._take_steps = Graph(self._compute_steps, self._compiled)
        self._follow = tf.function(
            lambda: self.target.follow(self.online, self.settings.target_rate), autograph=False
        )

    def values(self, observations: NDArray[Any]) -> NDArray[np.float32]:
        """Returns Q-values (N, actions) of observations (N, *observation_shape).

        Pictures must have dtype uint8. Vectors may have any integer or float dtype.

        Raises:
            UserError: the observations have the wrong shape or type.
        """
        checked = self._checked(observations)
        if not len(checked):
            return np.zeros((0, self.num_actions), np.float32)
        return np.asarray(self._values(as_tensor(stacks_last(checked)))[0])

    def act(self, observations: NDArray[Any]) -> NDArray[np.int32]:
        """Returns the greedy actions (N,) for observations (N, *observation_shape)."""
        return np.asarray(np.argmax(self.values(observations), axis=-1), np.int32)

    def values_with_noise(self, observations: NDArray[Any]) -> NDArray[np.float32]:
        """Returns Q-values (N, actions), with new noise in each call if the network is noisy.

        Without a noisy network, this is the same as ``values``. Fortunato et al. 2018, section 3.1.
        """
        checked = self._checked(observations)
        if not self.config.network.noisy or not len(checked):
            return self.values(checked)
        self._noisy_passes += 1
        inputs = (as_tensor(stacks_last(checked)), tf.constant(self._noisy_passes))
        return np.asarray(self._noisy_values(inputs)[0])

    def _checked(self, observations: Any) -> NDArray[Any]:
        """Returns the observations in the type that the network expects.

        Raises:
            UserError: they have the wrong shape or type; the message names the right one.
        """
        given = np.asarray(observations)
        shape = self.observation_shape
        dtype: type[np.generic] = observation_dtype(shape)
        vectors = not is_picture(shape)
        right_type = given.dtype == dtype or (vectors and given.dtype.kind in "iuf")
        if right_type and given.shape[1:] == shape and given.ndim:
            if vectors and np.isnan(given).any():
                raise UserError("observations contain NaN, for which the Q-values are undefined")
            return given.astype(dtype, copy=False)
        expected = ", ".join(["N", *map(str, shape)])
        hint = ""
        if given.shape == shape:
            hint = "; a single observation needs a batch axis: observations[np.newaxis]"
        elif not vectors and given.shape[-3:] == (*shape[1:], shape[0]):
            hint = "; the stack axis comes before the rows: np.moveaxis(observations, -1, -3)"
        elif not right_type and not vectors:
            hint = "; pictures are bytes from 0 to 255, as the environments return them"
        numbers = "numbers" if vectors else dtype.__name__
        found = f"observations of shape {given.shape} and type {given.dtype}"
        raise UserError(f"{found}; expected: ({expected}), {numbers}{hint}")

    def center(self, statistics: FrameStatistics) -> None:
        """Sets what the networks subtract from every frame, and their input scale.

        The input scale is set if ``network.deviation`` is above 0.
        """
        for network in (self.online, self.target):
            network.center(statistics)

    def update(self, batch: Batch, count: int = 1) -> tuple[UpdateMetrics, NDArray[np.float32]]:
        """Makes gradient steps. Also updates the target network and resets weights when due.

        Args:
            batch: count * B transitions, B consecutive ones for each step.
            count: number of gradient steps.

        Returns:
            The metrics of each step, and the priorities (count * B,) of the transitions.
        """
        size = len(batch.action) // count
        done = 0
        metrics = []
        priorities = []
        for together in list(self.calls(self.updates, count)):
            rows = slice(done * size, (done + together) * size)
            tensors = Batch(*(as_tensor(field[rows]) for field in batch))
            step_metrics, step_priorities = self._take_steps(tensors, together)
            metrics.append(UpdateMetrics(*step_metrics.numpy()))
            priorities.append(step_priorities.numpy())
            done += together
            self.updates += together
            if self._is_due(self.settings.reset_period_updates):
                self.reset()
            if self._is_due(self._period_of_sync):
                self.sync_target()
        return UpdateMetrics.joined(metrics), np.concatenate(priorities)

    def _compute_steps(self, batches: Batch, count: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Makes ``count`` gradient steps; returns metrics (fields, count) and priorities."""
        fields = [tf.split(field, count) for field in batches]
        steps = [self.gradient_step(Batch(*batch)) for batch in zip(*fields, strict=True)]
        metrics = tf.stack([step_metrics for step_metrics, _ in steps], axis=1)
        return metrics, tf.concat([priorities for _, priorities in steps], axis=0)

    def _compute_values(
        self, observations: tf.Tensor, noisy_passes: tf.Tensor | None = None
    ) -> tf.Tensor:
        key = None
        if noisy_passes is not None:
            key = self.gradient_step.key(RandomStream.ACTING, noisy_passes)
        return self.return_model.values(self.acting_outputs(observations, key))

    def acting_outputs(self, observations: tf.Tensor, key: tf.Tensor | None = None) -> tf.Tensor:
        """Returns the outputs (B, A, K) of the acting network.

        Args:
            observations: (B, *frame_shape, stack).
            key: (2,) random key of the noise in a noisy network. Without a key there is no noise.
        """
        # In float32, because the Q-values of the two best actions often round to the same bfloat16.
        outputs, _ = self.gradient_step.outputs(
            self.acting, observations, key, EVALUATION_SAMPLES, exact=True
        )
        return outputs

    @property
    def target_sync(self) -> TargetSync:
        """When the target network is updated from the online network."""
        return self.gradient_step.target_sync

    @property
    def _period_of_sync(self) -> int:
        """Gradient steps between updates of the target network; 0 unless ``PERIODICALLY``."""
        periodic = self.target_sync is TargetSync.PERIODICALLY
        return self.settings.target_period_updates if periodic else 0

    @property
    def _periods_between_calls(self) -> list[int]:
        """Periods, in updates, after which weights change outside the graph, so a call must end."""
        periods = (self._period_of_sync, self.settings.reset_period_updates)
        return [period for period in periods if period > 0]

    def _is_due(self, period: int) -> bool:
        """Returns whether a period of updates has just ended; a period of 0 never ends."""
        return period > 0 and self.updates % period == 0

    def calls(self, updates: int, count: int) -> Iterator[int]:
        """Divides updates among calls of the graph, and yields the number in each call.

        A call ends where the target network is updated or weights are reset.

        Args:
            updates: number of updates made before.
            count: number of updates to divide.
        """
        periods = self._periods_between_calls
        end = updates + count
        while updates < end:
            until_due = [period - updates % period for period in periods]
            together = min([UPDATES_TOGETHER, end - updates, *until_due])
            updates += together
            yield together

    def changes_acting(self, count: int) -> bool:
        """Returns whether the next ``count`` updates change the acting network."""
        if self.acting is self.online or self.target_sync is TargetSync.EVERY_UPDATE:
            return True
        periods = self._periods_between_calls
        return any(self.updates % period + count >= period for period in periods)

    def graph_builder(self, counts: Sequence[int]) -> Callable[[], None]:
        """Returns a function that builds the graphs by making updates and undoing them.

        The function may run in another thread. Until it has returned, ``arrays`` and
        ``acting_model`` return the state at the time of this call.

        Args:
            counts: numbers of updates per call of the graph. Each number needs its own graph.
        """
        state = {name: np.array(values) for name, values in self.arrays().items()}
        self._state_before_building = state

        def build() -> None:
            try:
                for count in counts:
                    self._take_steps(self._blank_batch(count * self.settings.batch_size), count)
            finally:
                self.restore(state)
                self._state_before_building = None

        return build

    def acting_model(self) -> keras.Model:
        """Returns the acting network as a Keras model, or a copy while graphs are being built."""
        state = self._state_before_building
        if state is None:
            return self.acting.weights
        name = self.acting.weights.name
        model = self._build(name, "float32")
        weights = {_owner_and_number(key): values for key, values in state.items()}
        for number, variable in enumerate(model.variables):
            variable.assign(weights[name, f"{number:02d}"])
        return model

    def _blank_batch(self, rows: int) -> Batch:
        shape = (rows, *self.observation_shape[1:], self.observation_shape[0])
        frames = aligned_empty(shape, observation_dtype(self.observation_shape))
        frames[...] = 0
        zeros = np.zeros(rows, np.float32)
        actions = np.zeros(rows, np.int32)
        indices = np.zeros(rows, np.int64)
        batch = Batch(frames, actions, zeros, zeros, frames, zeros, indices)
        return Batch(*(as_tensor(field) for field in batch))

    def sync_target(self) -> None:
        """Moves the target network toward the online network at the update rate tau."""
        self._follow()

    def reset(self) -> None:
        """Re-initializes the head, and shrinks and perturbs the torso.

        The target network becomes a copy, and the optimizer's moments become 0. Schwarzer et al.
        2023, "BBF", section 3.
        """
        fresh = self._build("fresh", "float32", self.updates)
        self.online.shrink_and_perturb(fresh, self.settings.reset_keep, HEAD_LAYERS)
        self.target.follow(self.online)
        for variable in self.optimizer.variables:
            if len(variable.shape):  # the moments; counters and rates are scalars
                variable.assign(tf.zeros_like(variable))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns the agent's state. This is safe while graphs are being built."""
        state = self._state_before_building
        if state is not None:
            return dict(state)
        arrays: dict[str, NDArray[Any]] = {
            name: np.asarray(variable) for name, variable in self._variables().items()
        }
        arrays["updates"] = np.array(self.updates)
        arrays["explorations"] = np.array(self._noisy_passes)
        return arrays

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Restores the state that ``arrays`` returned for an agent with the same settings.

        Raises:
            UserError: the arrays belong to a different network.
            KeyError: a counter is missing.
            ValueError: an array has a different type than its variable.
        """
        # Arrays are matched by owner and number, because the names that Keras generates for layers
        # differ between processes.
        stored = {_owner_and_number(name): values for name, values in arrays.items()}
        variables = {_owner_and_number(name): item for name, item in self._variables().items()}
        for key, variable in variables.items():
            shape = stored[key].shape if key in stored else "missing"
            expected = tuple(variable.shape)
            if shape != expected:
                reason = f"{variable.path} is {shape}, expected {expected}"
                raise UserError(f"the checkpoint is of a different network: {reason}")
            dtype = np.asarray(variable).dtype
            array({variable.path: stored[key]}, variable.path, expected, dtype)
        updates = int(array(arrays, "updates", (), np.int64))
        noisy_passes = int(array(arrays, "explorations", (), np.int64))
        for key, variable in variables.items():
            variable.assign(stored[key])
        self.online.round()
        self.target.round()
        self.updates = updates
        self._noisy_passes = noisy_passes

    def _variables(self) -> dict[str, Any]:
        owners = {
            "target": self.target.weights.variables,
            "online": self.online.weights.variables,
            "optimizer": self.optimizer.variables,
        }
        return {
            f"{owner}/{index:02d}/{variable.path}": variable
            for owner, variables in owners.items()
            for index, variable in enumerate(variables)
        }


def _owner_and_number(name: str) -> tuple[str, ...]:
    """Returns the parts of an array's name that are the same in every process."""
    return tuple(name.split("/")[:2])
