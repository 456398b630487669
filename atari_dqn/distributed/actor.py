"""An actor, which plays in its own environments with a copy of the learner's network.

Horgan et al. 2018, "Distributed Prioritized Experience Replay", section 3.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atari_dqn.agent.agent import Agent
from atari_dqn.agent.exploration import EnvironmentSlice, Explorer
from atari_dqn.backend.tensorflow_backend import tf
from atari_dqn.config.schema import Config
from atari_dqn.distributed.experience import Experience, StoredStep, pack_experience
from atari_dqn.environments.environments import Environments, make_games, seed_of
from atari_dqn.replay.batch import Batch
from atari_dqn.replay.factory import make_memory
from atari_dqn.replay.memory import ReplayMemory
from atari_dqn.training.episodes import EpisodeTracker

# Number of agent steps in one message to the learner, in all environments of the actor together.
STEPS_AT_A_TIME = 64
Weights = Sequence[NDArray[Any]]


def steps_per_call(num_envs: int) -> int:
    """Returns the number of steps that an actor makes in each environment for one message."""
    return max(STEPS_AT_A_TIME // num_envs, 1)


class Actor:
    """An actor, which steps some of a run's environments in a process of its own.

    Args:
        config: Settings of the run.
        index: Index of this actor, from 0.
        generation: Number of earlier actors with this index, all of which have died.
        threads: Number of emulator threads.
    """

    def __init__(self, config: Config, index: int, generation: int, threads: int) -> None:
        count = config.training.environments // config.machine.actors
        seed = seed_of(config.machine.seed, index, generation)
        cap = config.environment.frame_cap
        games = make_games(config.spec, config.environment, count, cap, threads)
        self._environments = Environments(games, config.environment, seed, games.seed_steps)
        # The learner sends the weights. The seed determines only this actor's exploration noise.
        machine = config.machine.model_copy(update={"seed": seed})
        own_config = config.model_copy(update={"machine": machine})
        self._agent = Agent(own_config, games.observation_shape, games.action_names)
        self._explorer = Explorer(
            config.exploration,
            config.training.warmup_steps,
            EnvironmentSlice(index * count, count, config.training.environments),
            self._agent.num_actions,
            seed,
        )
        self._steps_per_call = steps_per_call(count)
        self._memory = self._recent_memory(config, count, games.observation_shape)
        self._episodes = EpisodeTracker(count)
        self._priorities_of = tf.function(
            self._agent.gradient_step.priorities, autograph=False, reduce_retracing=True
        )
        self._reward_clip = config.agent.reward_clip or np.inf
        self._envs = np.arange(count)
        self._observation: NDArray[Any] | None = None

    def _recent_memory(
        self, config: Config, count: int, observation_shape: tuple[int, ...]
    ) -> ReplayMemory:
        """Returns a memory of recent steps, from which initial priorities are computed."""
        window = observation_shape[0] + config.agent.n_step
        capacity = count * 4 * (self._steps_per_call + window)
        replay = config.replay.model_copy(update={"capacity": capacity, "storage": "memory"})
        recent = config.model_copy(update={"replay": replay})
        return make_memory(recent, count, observation_shape, None)

    def work(self, weights: Weights | None, steps: int, episodes: int) -> Experience:
        """Makes a few steps in each environment, and returns them as experience.

        Args:
            weights: New weights of the learner's acting network, or None to keep the current ones.
            steps: Agent steps of the run so far.
            episodes: Finished episodes of the run so far.
        """
        if weights is not None:
            self._load_weights(weights)
        before = self._memory.added(self._envs)
        start = None
        if self._observation is None:
            self._observation = self._environments.reset()
            start = self._observation[:, -1].copy()
            self._memory.start(start)
        stored = []
        finished = []
        emulator_frames = 0
        for _ in range(self._steps_per_call):
            actions = self._explorer.choose(self._agent, self._observation, steps, episodes)
            executed = self._environments.send(actions)
            step = self._environments.recv()
            row = StoredStep(
                action=executed,
                reward=np.clip(step.reward, -self._reward_clip, self._reward_clip),
                discount=step.discount,
                frame=step.observation[:, -1].copy(),
                ended=step.ended,
                first_frame=step.current[:, -1].copy(),
            )
            self._memory.add(*row)
            stored.append(row)
            finished += self._episodes.add(step.reward, step.frames, step.ended, step.seed)
            emulator_frames += int(step.frames.sum())
            self._observation = step.current
        priorities = self._priorities(before)
        return pack_experience(stored, start, priorities, finished, emulator_frames)

    def _priorities(self, before: NDArray[np.int64]) -> list[NDArray[np.float32]]:
        """Returns the priorities of newly completed transitions, for each environment.

        Args:
            before: (N,) Number of frames that each environment had added before the steps.
        """
        if self._memory.priorities is None:
            return []
        complete = self._memory.completed(self._envs, before)
        indices = np.concatenate(complete)
        if not len(indices):
            return [np.zeros(0, np.float32) for _ in complete]
        batch = self._memory.gather(*np.divmod(indices, self._memory.rows))
        priorities = self._priorities_of(Batch(*(tf.constant(field) for field in batch))).numpy()
        ends = np.cumsum([len(part) for part in complete])
        return np.split(priorities, ends[:-1])

    def _load_weights(self, weights: Weights) -> None:
        for variable, value in zip(self._agent.online.weights.variables, weights, strict=True):
            variable.assign(value)
        self._agent.online.round()
        self._agent.target.follow(self._agent.online)
