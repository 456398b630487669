"""An actor: environments of its own, and a copy of the learner's network that acts in them (Horgan
et al. 2018, section 3).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from atari_dqn.agent.agent import Agent
from atari_dqn.agent.exploration import Explorer
from atari_dqn.agent.losses import select
from atari_dqn.config.schema import Config
from atari_dqn.distributed.experience import Ended, Experience, pack_experience
from atari_dqn.environments.environments import Environments, make_games, seed_of
from atari_dqn.replay.batch import Batch
from atari_dqn.replay.factory import make_memory
from atari_dqn.training.episodes import EpisodeTracker

# Agent steps that are sent at once.
STEPS_AT_A_TIME = 64
Weights = Sequence[NDArray[Any]]


class Actor:
    """Some of a run's environments, in a process of their own; the code that acts is that of
    ``Training``.

    Args:
        config: of the run.
        index: of this actor, from 0.
        generation: how many before it have died.
        threads: of the emulators.
    """

    def __init__(self, config: Config, index: int, generation: int, threads: int) -> None:
        count = config.training.environments // config.machine.actors
        seed = seed_of(config.machine.seed, index, generation)
        games = make_games(
            config.spec, config.environment, count, config.environment.frame_cap, threads
        )
        self._environments = Environments(games, config.environment, seed, games.seed_steps)
        self._agent = Agent(config, games.observation_shape, games.action_names)
        self._explorer = Explorer(
            config.exploration,
            config.training.warmup_steps,
            count,
            self._agent.num_actions,
            seed,
            first=index * count,
            of=config.training.environments,
        )
        self._rounds = max(STEPS_AT_A_TIME // count, 1)
        window = games.observation_shape[0] + config.agent.n_step
        replay = config.replay.model_copy(
            update={"capacity": count * 4 * (self._rounds + window), "storage": "memory"}
        )
        self._memory = make_memory(
            config.model_copy(update={"replay": replay}), count, games.observation_shape, None
        )
        self._episodes, self._compute_surprise = EpisodeTracker(count), surprise_of(self._agent)
        self._reward_clip = config.agent.reward_clip or np.inf
        self._envs = np.arange(count)
        self._observation: NDArray[Any] | None = None

    def work(self, weights: Weights | None, steps: int, episodes: int) -> Experience:
        """Acts for a while.

        Args:
            weights: newer ones of the online network; None: those that it has.
            steps: agent steps of the run so far.
            episodes: finished episodes of the run so far.
        """
        if weights is not None:
            self._take_over(weights)
        before, start = self._memory.added(self._envs), None
        if self._observation is None:
            self._observation = self._environments.reset()
            start = self._observation[:, -1].copy()
            self._memory.start(start)
        done, ended, frames = [], [], 0
        for _ in range(self._rounds):
            chosen = self._explorer.choose(self._agent, self._observation, steps, episodes)
            executed = self._environments.send(chosen)
            step = self._environments.recv()
            reward = np.clip(step.reward, -self._reward_clip, self._reward_clip)
            row = (
                executed,
                reward,
                step.discount,
                step.observation[:, -1].copy(),
                step.ended,
                step.current[:, -1].copy(),
            )
            self._memory.add(*row)
            done.append(row)
            for episode in self._episodes.add(0, step.reward, step.frames, step.ended, step.seed):
                ended.append(
                    Ended(
                        episode.score,
                        episode.length,
                        episode.frames,
                        episode.environment,
                        episode.seed,
                    )
                )
            frames += int(step.frames.sum())
            self._observation = step.current
        return pack_experience(done, start, self._surprise(before), ended, frames)

    def _surprise(self, before: NDArray[np.int64]) -> list[NDArray[np.float32]]:
        """How much the transitions that became complete surprise this actor's network, for each
        environment.
        """
        if self._memory.priorities is None:
            return []
        complete = self._memory.completed(self._envs, before)
        places = np.concatenate(complete)
        if not len(places):
            return [np.zeros(0, np.float32) for _ in complete]
        batch = self._memory.gather(*np.divmod(places, self._memory.rows))
        surprise = self._compute_surprise(Batch(*(tf.constant(field) for field in batch))).numpy()
        return np.split(surprise, np.cumsum([len(part) for part in complete])[:-1])

    def _take_over(self, weights: Weights) -> None:
        for variable, value in zip(self._agent.online.weights.variables, weights, strict=True):
            variable.assign(value)
        self._agent.online.round()
        self._agent.target.follow(self._agent.online)


def surprise_of(agent: Agent) -> Callable[[Batch], tf.Tensor]:
    """A function of B transitions: what an update of them would report as their surprise (B,), in
    the network as it is.
    """

    def compute(batch: Batch) -> tf.Tensor:
        target = agent.compute_target(batch)
        outputs, fractions = agent.outputs(
            agent.online, batch.observation, agent.update_key(1), agent.settings.samples
        )
        if agent.config.network.returns == "mean":
            return tf.abs(
                agent.rule.mean(target) - select(agent.rule.values(outputs), batch.action)
            )
        return agent.rule.loss(select(outputs, batch.action), fractions, target)

    function: Callable[[Batch], tf.Tensor] = tf.function(
        compute, autograph=False, reduce_retracing=True
    )
    return function
