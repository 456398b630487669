"""The Ape-X learner, which has the memory and the networks, and receives experience from actors.

Horgan et al. 2018, "Distributed Prioritized Experience Replay", section 3.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atari_dqn.config.schema import Config
from atari_dqn.console import waiting
from atari_dqn.distributed.actor import STEPS_AT_A_TIME, steps_per_call
from atari_dqn.distributed.actors import Actors
from atari_dqn.distributed.experience import Experience, insert
from atari_dqn.environments.environments import make_games
from atari_dqn.runs import checkpoint
from atari_dqn.training.loop import Training

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 1.0


class DistributedTraining(Training):
    """A training run in which Ray actors step the environments, each with a copy of the network.

    The actors share the environments equally. Experience arrives in an order that depends on
    timing, so a run is not exactly reproducible. A continued run starts new episodes. Everything
    else is as in ``Training``.

    Args:
        config: All settings. ``machine.actors`` is the number of actors.
        run_directory: Directory for checkpoints and logs.
        video_directory: Directory for recordings.
        cpus: CPUs that Ray reserves for each actor.
        show_progress: As for ``Training``.
    """

    def __init__(
        self,
        config: Config,
        run_directory: str | Path,
        video_directory: str | Path,
        cpus: float = 1.0,
        show_progress: bool = False,
    ) -> None:
        # This game only provides the shapes and actions. The actors create their own games.
        one = make_games(config.spec, config.environment, 1, config.environment.frame_cap)
        super().__init__(config, run_directory, video_directory, one, show_progress)
        self.actors = Actors(config, cpus, self.agent)
        self._envs_per_actor = config.training.environments // config.machine.actors
        self.usual_advance = steps_per_call(self._envs_per_actor) * self._envs_per_actor
        self.advance = self.usual_advance
        # Nothing acts on this observation. Without it, ``run`` would add first frames to the
        # memory, but the actors send these.
        self.observation = self.environments.reset()

    def run(self) -> bool:
        """Trains as ``Training.run`` does. The actors exist for the duration of the call."""
        if self.ran_to_the_end:
            return True
        self.begun_at = self.steps, self.agent.updates
        with waiting("starting the actors"):
            self.actors.start(self.steps, self.episodes.count)
        try:
            return super().run()
        finally:
            self.actors.stop()

    def prepare(self, total: int) -> None:
        """Builds the update graphs as ``Training.prepare`` does, before any actor gets weights."""
        super().prepare(total)
        self.learner.wait_for_graphs(self.stop)

    def restore(self, stored: checkpoint.Checkpoint) -> bool:
        """Restores a checkpoint as ``Training.restore`` does, but the actors begin new episodes."""
        super().restore(stored)
        logger.warning("the actors begin new episodes")
        return True

    def step(self, observation: NDArray[Any]) -> NDArray[Any]:
        """Stores the experience of one actor, and makes the updates that are due.

        Args:
            observation: Returned unchanged, because the actors keep the observations.
        """
        with self.stopwatch.part("environment"):
            done = self.actors.next(SECONDS_BETWEEN_LOOKS, self.steps, self.episodes.count)
        self.advance = 0 if done is None else done[1].steps
        if done is not None:
            index, experience = done
            self.insert_experience(index, experience)
            due = self.learner.prefetch(self.steps, self.advance)
            self.learner.start(due)
            self.learner.finish()
            # They are stored now, because the next experience may overwrite these transitions.
            self.learner.store_priorities()
        return observation

    def insert_experience(self, index: int, experience: Experience) -> None:
        """Stores, counts and logs the experience of the actor ``index``."""
        count = self._envs_per_actor
        with self.stopwatch.part("sample"):
            insert(self.memory, index * count + np.arange(count), experience)
        with self.stopwatch.part("log"):
            self.steps += experience.steps
            self.frames += experience.emulator_frames
            self.logs.advance(experience.steps)
            for episode in experience.episodes:
                environment = index * count + episode.environment
                finished = episode._replace(environment=environment)
                self.logs.episode(self.episodes.finish(self.steps, finished))
        if experience.episodes:
            self.learner.end_of_episode()

    def more_metrics(self) -> dict[str, float]:
        """Returns metrics of the actors since this process started.

        ``steps_lost`` is an upper bound: each death loses at most ``STEPS_AT_A_TIME`` steps.
        """
        steps = max(self.steps - self.begun_at[0], 1)
        trained = (self.agent.updates - self.begun_at[1]) * self.config.agent.batch_size
        learning = max(self.steps - max(self.begun_at[0], self.config.training.warmup_steps), 1)
        return {
            "actor_deaths": self.actors.deaths,
            "steps_lost": self.actors.deaths * STEPS_AT_A_TIME,
            "bytes_received_per_step": self.actors.bytes_received / steps,
            "bytes_sent_per_step": self.actors.bytes_sent / steps,
            "samples_per_step": trained / learning,
        }
