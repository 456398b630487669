"""The actors as the learner sees them: it collects their experience and replaces dead ones."""

import logging
from typing import Any

import numpy as np

from atari_dqn.agent.agent import Agent
from atari_dqn.backend.startup import start
from atari_dqn.config.schema import Config
from atari_dqn.distributed.experience import Experience

logger = logging.getLogger(__name__)

# The run fails when an actor dies this often in a row without delivering experience.
DEATHS_IN_A_ROW = 3
# An actor gets new weights after this many of its own agent steps (Horgan et al. 2018, appendix C:
# 400 frames).
WEIGHTS_PERIOD = 400


class _Actor:
    """An ``Actor`` in a Ray process, which first starts TensorFlow there."""

    def __init__(self, config: Config, index: int, generation: int, threads: int) -> None:
        start(threads, 1)
        from atari_dqn.distributed.actor import Actor

        self._actor = Actor(config, index, generation, threads)

    def work(self, weights: Any, steps: int, episodes: int) -> Experience:
        """See ``Actor.work``."""
        return self._actor.work(weights, steps, episodes)


class Actors:
    """The Ray actors of a run, each of which works on one request at a time.

    An actor gets its next request when the learner takes its experience. The learner first makes
    all updates that are due, so it sets the pace for any number of actors.

    Args:
        config: Settings of the run.
        cpus: CPUs that Ray reserves for each actor.
        agent: The learner's agent.
    """

    def __init__(self, config: Config, cpus: float, agent: Agent) -> None:
        import ray

        self._ray = ray
        self._config = config
        self._agent = agent
        # ObjectLostError: the actor's result was lost together with its machine.
        self._died = (
            ray.exceptions.RayActorError,
            ray.exceptions.NodeDiedError,
            ray.exceptions.ObjectLostError,
        )
        self._class = ray.remote(num_cpus=cpus, max_restarts=0)(_Actor)
        count = config.machine.actors
        self._generation = [0] * count
        self._failures = [0] * count
        self._actors: list[Any] = [None] * count
        self._since_weights = [0] * count  # agent steps of each actor since it received weights
        self._running: dict[Any, int] = {}
        self._published_weights: Any = None
        self._published_after = -1  # number of updates behind the published weights
        variables = agent.online.weights.variables
        self._weight_bytes = sum(np.asarray(variable).nbytes for variable in variables)
        self.deaths = 0
        self.bytes_received = 0
        self.bytes_sent = 0

    def start(self, steps: int, episodes: int) -> None:
        """Starts all actors and sends them their first requests.

        Args:
            steps: Agent steps of the run so far.
            episodes: Finished episodes of the run so far.
        """
        for index in range(len(self._actors)):
            self._begin(index, steps, episodes)

    def next(self, seconds: float, steps: int, episodes: int) -> tuple[int, Experience] | None:
        """Returns the next experience with its actor's index, and sends the actor a new request.

        Args:
            seconds: Longest time to wait, in seconds.
            steps: Agent steps of the run so far.
            episodes: Finished episodes of the run so far.

        Returns:
            The index and the experience, or None if no experience arrived in time.

        Raises:
            RuntimeError: An actor died repeatedly without delivering experience.
        """
        ready, _ = self._ray.wait(list(self._running), timeout=seconds)
        for reference in ready:
            index = self._running.pop(reference)
            try:
                experience: Experience = self._ray.get(reference)
            except self._died as error:
                self._replace(index, steps, episodes, error)
                continue
            self._failures[index] = 0
            self._since_weights[index] += experience.steps
            self.bytes_received += experience.nbytes
            self._order(index, steps, episodes)
            return index, experience
        return None

    def stop(self) -> None:
        """Ends the processes of all actors. Their unfinished work is lost."""
        for actor in self._actors:
            if actor is not None:
                self._ray.kill(actor)
        self._running.clear()

    def _begin(self, index: int, steps: int, episodes: int) -> None:
        self._actors[index] = self._class.remote(self._config, index, self._generation[index], 1)
        self._since_weights[index] = WEIGHTS_PERIOD
        self._order(index, steps, episodes)

    def _order(self, index: int, steps: int, episodes: int) -> None:
        weights = None
        if self._since_weights[index] >= WEIGHTS_PERIOD:
            weights = self._newest_weights()
            self._since_weights[index] = 0
            self.bytes_sent += self._weight_bytes
        self._running[self._actors[index].work.remote(weights, steps, episodes)] = index

    def _newest_weights(self) -> Any:
        if self._published_after != self._agent.updates:
            weights = [variable.numpy() for variable in self._agent.acting.weights.variables]
            self._published_weights = self._ray.put(weights)
            self._published_after = self._agent.updates
        return self._published_weights

    def _replace(self, index: int, steps: int, episodes: int, error: Exception) -> None:
        self.deaths += 1
        self._failures[index] += 1
        self._generation[index] += 1
        if self._failures[index] == DEATHS_IN_A_ROW:
            reason = f"died {DEATHS_IN_A_ROW} times in a row without delivering experience"
            raise RuntimeError(f"actor {index} {reason}") from error
        logger.warning(f"actor {index} died and is replaced; its unfinished work is lost")
        self._ray.kill(self._actors[index])  # it may be alive, and only have been unreachable
        self._begin(index, steps, episodes)
