"""The learner of Ape-X: it owns memory and networks, and actors send it experience.

Horgan et al. 2018, "Distributed Prioritized Experience Replay", section 3.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atari_dqn.config.schema import Config
from atari_dqn.distributed.actor import STEPS_AT_A_TIME, steps_per_call
from atari_dqn.distributed.actors import Actors
from atari_dqn.distributed.experience import Experience, insert
from atari_dqn.environments.environments import make_games
from atari_dqn.runs import checkpoint
from atari_dqn.training.loop import Training

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 1.0


class DistributedTraining(Training):
    """``Training`` whose environments are stepped by Ray actors, each with a copy of the network.

    Each of N actors has the N-th part of the environments. Which experience comes first is decided
    by time, so a run does not repeat exactly, and one that is continued begins new episodes;
    everything else is that of ``Training``.

    Args:
        config: all settings; ``machine.actors`` is N.
        run_directory: where checkpoints and logs go.
        video_directory: where recordings go.
        cpus: CPUs that Ray reserves for each actor.
        show_progress: as for ``Training``.
    """

    def __init__(
        self,
        config: Config,
        run_directory: str | Path,
        video_directory: str | Path,
        cpus: float = 1.0,
        show_progress: bool = False,
    ) -> None:
        # What the actors' games look like; they begin their episodes themselves.
        one = make_games(config.spec, config.environment, 1, config.environment.frame_cap)
        super().__init__(config, run_directory, video_directory, one, show_progress)
        self.actors = Actors(config, cpus, self.agent)
        self._envs_per_actor = config.training.environments // config.machine.actors
        self.usual_advance = steps_per_call(self._envs_per_actor) * self._envs_per_actor
        self.advance = self.usual_advance
        # Never acted on; with it ``run`` adds no first frames to the memory: the actors do.
        self.observation = self.environments.reset()

    def run(self) -> bool:
        """As ``Training.run``."""
        if self.ran_to_the_end:
            return True
        self.begun_at = self.steps, self.agent.updates
        self.actors.start(self.steps, self.episodes.count)
        try:
            return super().run()
        finally:
            self.actors.stop()

    def restore(self, stored: checkpoint.Checkpoint) -> bool:
        """As ``Training.restore``; there are no running episodes to play again."""
        super().restore(stored)
        logger.warning("the actors begin new episodes")
        return True

    def step(self, observation: NDArray[Any]) -> NDArray[Any]:
        """Takes over what one actor has done, and makes the updates that are due."""
        with self.stopwatch.part("environment"):
            done = self.actors.next(SECONDS_BETWEEN_LOOKS, self.steps, self.episodes.count)
        self.advance = 0 if done is None else done[1].steps
        if done is not None:
            index, experience = done
            self.insert_experience(index, experience)
            due = self.learner.prefetch(self.steps, self.advance)
            self.learner.start(due)
            self.learner.finish()
            self.learner.store_priorities()  # before other experience overwrites these transitions
        return observation

    def insert_experience(self, index: int, experience: Experience) -> None:
        """Stores and counts what the actor of an index has done."""
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
        """Returns metrics of the actors since this process began.

        A death loses at most ``STEPS_AT_A_TIME`` steps.
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
