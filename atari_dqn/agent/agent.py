"""The agent: an online network that acts and learns, a target network that it learns from, and
their optimizer.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from atari_dqn.agent.augmentation import random_shift
from atari_dqn.agent.losses import greedy_policy, munchausen_reward, scaled_log_policy, select
from atari_dqn.agent.optimizers import clip_by_global_norm, make_optimizer
from atari_dqn.agent.return_models import fixed_fractions, make_rule
from atari_dqn.agent.update_metrics import UpdateMetrics
from atari_dqn.backend.arrays import (
    aligned_empty,
    as_tensor,
    is_picture,
    observation_dtype,
    stacks_last,
)
from atari_dqn.backend.graph import Graph
from atari_dqn.backend.startup import resolve_precision
from atari_dqn.config.schema import Config
from atari_dqn.errors import UserError
from atari_dqn.networks.heads import HEAD_LAYERS
from atari_dqn.networks.q_network import Interface, QNetwork, build_network
from atari_dqn.replay.batch import Batch
from atari_dqn.runs.checkpoint import array

# Several updates in one call of the graph overlap where they can, and start only once; the graph
# grows with their number.
UPDATES_TOGETHER = 8

# Dabney et al. 2018 (IQN) act on the mean of 32 random quantiles; evenly spaced ones make an
# agent's choice repeatable.
EVALUATION_SAMPLES = 32


class Agent:
    """Deep Q-learning (Mnih et al. 2015, Algorithm 1), with Double DQN as a setting.

    Args:
        config: the agent, network and optimizer settings, and the seed of the initial weights.
        observation_shape: (stack, height, width), or of vectors (stack, n).
        action_names: of the actions to choose from, by their index.
    """

    def __init__(
        self, config: Config, observation_shape: tuple[int, ...], action_names: Sequence[str]
    ) -> None:
        self.config, self.settings = config, config.agent
        self.action_names, self.num_actions = tuple(action_names), len(action_names)
        self.observation_shape = observation_shape
        self._clip_norm = config.optimizer.clip_norm
        self._periods = self.settings.target_period_updates, self.settings.reset_period_updates
        self.rule = make_rule(config)
        frames_last, dtype = (
            (*observation_shape[1:], observation_shape[0]),
            observation_dtype(observation_shape).__name__,
        )

        def build(name: str, precision: str = "float32", *seeds: int) -> Any:
            all_seeds = (config.machine.seed, *seeds)
            return build_network(
                config.network,
                Interface(frames_last, self.num_actions, dtype),
                all_seeds,
                name,
                precision,
            )

        pictures = is_picture(observation_shape)
        self._build, precision = build, resolve_precision(config.machine.precision, pictures)
        self.online, self.target = (
            QNetwork(build, name, precision) for name in ("online", "target")
        )
        self.acting = self.target if self.settings.act_with_target else self.online
        self.optimizer = make_optimizer(config.optimizer, self.online.weights.trainable_variables)
        self.updates = self.explorations = 0
        self._before_building: dict[str, NDArray[Any]] = {}
        observations, count = (
            tf.TensorSpec([None, *frames_last], dtype),
            tf.TensorSpec([], tf.int32),
        )
        # Networks of vectors are so small that starting each operation would take longer than
        # computing it: they are compiled.
        self._values = Graph(self._compute_values, not pictures, [observations])
        self._noisy_values = Graph(
            lambda inputs: self._compute_values(*inputs), False, [(observations, count)]
        )
        self._follow = tf.function(
            lambda: self.target.follow(self.online, self.settings.target_rate), autograph=False
        )
        self._learn = Graph(self._compute_updates, not pictures)

    def values(self, observations: NDArray[Any]) -> NDArray[np.float32]:
        """Q-values (N, actions) of observations (N, *observation_shape).

        Pictures are bytes, vectors numbers of any type.

        Raises:
            UserError: they have another shape or type.
        """
        checked = self._checked(observations)
        if not len(checked):
            return np.zeros((0, self.num_actions), np.float32)
        return np.asarray(self._values(as_tensor(stacks_last(checked)))[0])

    def act(self, observations: NDArray[Any]) -> NDArray[np.int32]:
        """Action of highest Q-value (N,) for each observation (N, *observation_shape)."""
        return np.asarray(np.argmax(self.values(observations), axis=-1), np.int32)

    def explore(self, observations: NDArray[Any]) -> NDArray[np.int32]:
        """As ``act``, but where the network has noise with new noise each time: Fortunato et al.
        2018, section 3.1.
        """
        checked = self._checked(observations)
        if not self.config.network.noisy or not len(checked):
            return self.act(checked)
        self.explorations += 1
        values = self._noisy_values(
            (as_tensor(stacks_last(checked)), tf.constant(self.explorations))
        )[0].numpy()
        return np.asarray(np.argmax(values, axis=-1), np.int32)

    def _checked(self, observations: Any) -> NDArray[Any]:
        """Observations as the network takes them; a UserError names what they should have been."""
        given, shape = np.asarray(observations), self.observation_shape
        dtype: type[np.generic] = observation_dtype(shape)
        vectors = len(shape) == 2
        right_type = given.dtype == dtype or (vectors and given.dtype.kind in "iuf")
        if right_type and given.shape[1:] == shape and given.ndim:
            if vectors and np.isnan(given).any():
                raise UserError("observations hold NaN, for which no action has a value")
            return given.astype(dtype, copy=False)
        wanted = ", ".join(["N", *map(str, shape)])
        hint = ""
        if given.shape == shape:
            hint = "; a single observation needs a batch axis: observations[np.newaxis]"
        elif not vectors and given.shape[-3:] == (*shape[1:], shape[0]):
            hint = "; the stack comes before the rows: np.moveaxis(observations, -1, -3)"
        elif not right_type and not vectors:
            hint = "; pictures are bytes from 0 to 255, as the environments show them"
        type_ = "numbers" if vectors else dtype.__name__
        raise UserError(
            f"observations of shape {given.shape} and type {given.dtype}; wanted: ({wanted}), {type_}{hint}"
        )

    def center(self, mean: NDArray[np.float32]) -> None:
        """Takes the mean picture (height, width) off every frame from now on."""
        for network in (self.online, self.target):
            network.center(mean)

    def update(self, batch: Batch, count: int = 1) -> tuple[UpdateMetrics, NDArray[np.float32]]:
        """Takes gradient steps; syncs the target network, and resets, when that is due.

        Args:
            batch: count times B transitions, B for each step.
            count: of steps.

        Returns:
            What each step measured, and how much each transition surprised, (count * B,).
        """
        (sync, reset), size, done = self._periods, len(batch.action) // count, 0
        metrics, surprise = [], []
        for together in list(self.calls(self.updates, count)):
            now = Batch(
                *(as_tensor(array[done * size : (done + together) * size]) for array in batch)
            )
            measured, surprising = self._learn(now, together)
            metrics.append(UpdateMetrics(*measured.numpy()))
            surprise.append(surprising.numpy())
            done, self.updates = done + together, self.updates + together
            if reset and self.updates % reset == 0:
                self.reset()
            if sync > 1 and self.updates % sync == 0:
                self.sync_target()
        return UpdateMetrics.joined(metrics), np.concatenate(surprise)

    def calls(self, updates: int, count: int) -> Iterator[int]:
        """Into how many updates for each call of the graph ``count`` are divided, after so many.

        A call ends where the target network is copied or weights are reset.
        """
        end = updates + count
        while updates < end:
            until = [period - updates % period for period in self._periods if period > 1]
            together = min([UPDATES_TOGETHER, end - updates, *until])
            updates += together
            yield together

    def build_graphs(self, counts: Sequence[int]) -> None:
        """Builds the graphs of so many updates at a time, by making some whose outcome is undone.

        Args:
            counts: of updates in a call of the graph.
        """
        self._before_building = {name: np.array(values) for name, values in self.arrays().items()}
        for count in counts:
            rows = count * self.settings.batch_size
            shape = (rows, *self.observation_shape[1:], self.observation_shape[0])
            frames = aligned_empty(shape, observation_dtype(self.observation_shape))
            frames[...] = 0
            zeros = np.zeros(rows, np.float32)
            actions, places = np.zeros(rows, np.int32), np.zeros(rows, np.int64)
            batch = Batch(frames, actions, zeros, zeros, frames, zeros, places)
            self._learn(Batch(*(as_tensor(array) for array in batch)), count)
        self.restore(self._before_building)
        self._before_building = {}

    def changes_acting(self, count: int) -> bool:
        """Whether the next updates, so many, change the network that acts."""
        return self.acting is self.online or any(
            p and self.updates % p + count >= p for p in self._periods
        )

    def sync_target(self) -> None:
        """Moves the target network to the online network, or part of the way."""
        self._follow()

    def reset(self) -> None:
        """Draws the head's weights anew, and mixes new ones into the torso's (Schwarzer et al.
        2023, "BBF", section 3).
        """
        self.online.shrink_and_perturb(
            self._build("fresh", "float32", self.updates), self.settings.reset_keep, HEAD_LAYERS
        )
        self.target.follow(self.online)
        for variable in self.optimizer.variables:
            if len(variable.shape):  # the moments; its counters and rates have none
                variable.assign(tf.zeros_like(variable))

    def outputs(
        self,
        network: QNetwork,
        observation: tf.Tensor,
        key: tf.Tensor | None,
        samples: int,
        exact: bool = False,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Outputs (B, A, K), and the fractions of the return's distribution (B, K) or (1, K) that
        they stand for.

        Args:
            network: whose.
            observation: (B, *frame_shape, stack).
            key: of this pass's noise and fractions; None: no noise, and fractions that divide 0..1
                evenly.
            samples: K, for implicit quantiles.
            exact: compute in float32.
        """
        settings, inputs = self.config.network, {"frames": observation}
        fractions = fixed_fractions(samples if settings.returns == "implicit" else settings.atoms)
        if settings.returns == "implicit":
            shape = (tf.shape(observation)[0], samples)
            fractions = (
                tf.broadcast_to(fractions, shape)
                if key is None
                else tf.random.stateless_uniform(shape, key)
            )
            inputs["fractions"] = fractions
        if settings.noisy:
            inputs["noise"] = tf.zeros(2, tf.int32) if key is None else key
        return network(inputs, training=key is not None, exact=exact), fractions

    def _key(self, purpose: int, count: tf.Tensor) -> tf.Tensor:
        """A key (2,) for random numbers, different for each purpose and count."""
        return tf.random.experimental.stateless_fold_in(
            tf.constant([self.config.machine.seed, purpose]), count
        )

    def _compute_values(self, observations: tf.Tensor, count: tf.Tensor | None = None) -> tf.Tensor:
        key = None if count is None else self._key(0, count)
        # In float32: the best two actions often differ by less than bfloat16 can tell.
        return self.rule.values(
            self.outputs(self.acting, observations, key, EVALUATION_SAMPLES, exact=True)[0]
        )

    def _compute_updates(self, batches: Batch, count: int) -> tuple[tf.Tensor, tf.Tensor]:
        """What ``count`` steps measured (metrics, count), and how much each transition surprised."""
        each = zip(*(tf.split(field, count) for field in batches), strict=True)
        metrics, surprise = zip(
            *[self._compute_update(Batch(*fields)) for fields in each], strict=True
        )
        return tf.stack(metrics, axis=1), tf.concat(surprise, axis=0)

    def _compute_update(self, batch: Batch) -> tuple[UpdateMetrics, tf.Tensor]:
        if self.settings.random_shift:
            views = ((batch.observation, 4), (batch.next_observation, 5))
            seen, after = (
                random_shift(frames, self.settings.random_shift, self.update_key(key))
                for frames, key in views
            )
            batch = batch._replace(observation=seen, next_observation=after)
        target = self.compute_target(batch)
        with tf.GradientTape() as tape:
            outputs, fractions = self.outputs(
                self.online, batch.observation, self.update_key(1), self.settings.samples
            )
            losses = self.rule.loss(select(outputs, batch.action), fractions, target)
            loss = tf.add_n([tf.reduce_mean(batch.weight * losses), *self.online.computing.losses])
        gradients = tape.gradient(loss, self.online.computing.trainable_variables)
        gradients = [tf.cast(gradient, tf.float32) for gradient in gradients]
        gradients, norm = clip_by_global_norm(gradients, self._clip_norm)
        values = self.rule.values(outputs)
        td_error = tf.abs(self.rule.mean(target) - select(values, batch.action))
        self.optimizer.apply(gradients, self.online.weights.trainable_variables)
        self.online.round()
        if self.settings.target_period_updates == 1:
            self.target.follow(self.online, self.settings.target_rate)
        metrics = UpdateMetrics(
            loss, tf.reduce_mean(tf.reduce_max(values, axis=-1)), tf.reduce_mean(td_error), norm
        )
        # Schaul et al. 2016, section 3.3: the TD error; Hessel et al. 2018, section 4: of a
        # distribution, the loss.
        return metrics, td_error if self.config.network.returns == "mean" else losses

    def compute_target(self, batch: Batch) -> tf.Tensor:
        """What the outputs (B, K) for the actions of B transitions should have been."""
        settings, rule, reward, next_observation = (
            self.settings,
            self.rule,
            batch.reward,
            batch.next_observation,
        )
        next_outputs, _ = self.outputs(
            self.target, next_observation, self.update_key(2), settings.target_samples
        )
        next_values = rule.values(next_outputs)
        if settings.munchausen:
            now, _ = self.outputs(
                self.target, batch.observation, self.update_key(3), settings.target_samples
            )
            preferred, next_preferred = (
                scaled_log_policy(v, settings.temperature) for v in (rule.values(now), next_values)
            )
            reward = munchausen_reward(
                reward, preferred, batch.action, settings.munchausen, settings.lowest_bonus
            )
            policy, bonus = tf.exp(next_preferred / settings.temperature), -next_preferred
        elif settings.double:
            selecting, _ = self.outputs(
                self.online, next_observation, self.update_key(3), settings.target_samples
            )
            policy, bonus = greedy_policy(rule.values(selecting)), tf.zeros_like(next_values)
        else:
            policy, bonus = greedy_policy(next_values), tf.zeros_like(next_values)
        return rule.target(policy, reward, batch.discount, next_outputs, bonus)

    def update_key(self, purpose: int) -> tf.Tensor:
        """A key (2,) for one pass of the next update."""
        return self._key(purpose, tf.cast(self.optimizer.iterations, tf.int32))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that the next update depends on, by name; also while graphs are being built."""
        if self._before_building:
            return dict(self._before_building)
        arrays: dict[str, NDArray[Any]] = {
            name: np.asarray(variable) for name, variable in self._variables().items()
        }
        return arrays | {
            "updates": np.array(self.updates),
            "explorations": np.array(self.explorations),
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Takes over what ``arrays`` returned of an agent with the same settings.

        Raises:
            UserError: they are of an agent with another network.
            KeyError: a counter is missing.
            ValueError: an array is of another kind than its variable.
        """
        # By owner and number: Keras numbers the names of nameless layers differently in each
        # process.
        stored = {tuple(name.split("/")[:2]): values for name, values in arrays.items()}
        variables = {
            tuple(name.split("/")[:2]): variable for name, variable in self._variables().items()
        }
        for place, variable in variables.items():
            shape = stored[place].shape if place in stored else "missing"
            if shape != tuple(variable.shape):
                raise UserError(
                    f"a checkpoint of another network: {variable.path} is {shape}, wanted {tuple(variable.shape)}"
                )
            array({variable.path: stored[place]}, variable.path, shape, np.asarray(variable).dtype)
        updates = int(array(arrays, "updates", (), np.int64))
        explorations = int(array(arrays, "explorations", (), np.int64))
        for place, variable in variables.items():
            variable.assign(stored[place])
        self.online.round()
        self.target.round()
        self.updates, self.explorations = updates, explorations

    def _variables(self) -> dict[str, Any]:
        networks = {
            "target": self.target.weights.variables,
            "online": self.online.weights.variables,
        }
        owners = networks | {"optimizer": self.optimizer.variables}
        return {
            f"{owner}/{index:02d}/{variable.path}": variable
            for owner, variables in owners.items()
            for index, variable in enumerate(variables)
        }
