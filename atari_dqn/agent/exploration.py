"""Exploration: schedules of epsilon, and policies that choose actions in training."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from atari_dqn.config.learning_schema import ExplorationSettings
from atari_dqn.runs.random_state import generator_from_array, generator_to_array


def linear_schedule(step: int, start: float, end: float, duration: int) -> float:
    """Returns the value of a linear schedule at a step.

    Args:
        step: the current step, from 0.
        start: value at step 0.
        end: value from step ``duration`` on.
        duration: number of steps of the schedule.

    >>> [linear_schedule(step, 1.0, 0.5, duration=100) for step in (0, 50, 100, 1000)]
    [1.0, 0.75, 0.5, 0.5]
    """
    if duration == 0:
        return end
    return start + min(step / duration, 1.0) * (end - start)


def epsilon_at(settings: ExplorationSettings, steps: int, episodes: int) -> float:
    """Returns epsilon, the probability of a random action.

    Args:
        settings: the exploration settings.
        steps: agent steps since the warm-up.
        episodes: finished episodes in the run, including those of the warm-up.

    >>> settings = ExplorationSettings(schedule="episodes", epsilon_end=0.01, episode_factor=0.5)
    >>> [epsilon_at(settings, steps=0, episodes=count) for count in (0, 1, 2, 100)]
    [1.0, 0.5, 0.25, 0.01]
    """
    start = settings.epsilon_start
    end = settings.epsilon_end
    if settings.schedule == "episodes":
        return max(start * settings.episode_factor**episodes, end)
    if settings.schedule == "exponential":
        remaining = math.exp(-steps / settings.decay_steps) if settings.decay_steps else 0.0
        return end + (start - end) * remaining
    return linear_schedule(steps, start, end, settings.decay_steps)


def spread(epsilon: float, count: int, exponent: float) -> NDArray[np.float64]:
    """Returns an epsilon for each environment, (N,), which decreases from the first to the last.

    Horgan et al. 2018, section 4.

    Args:
        epsilon: epsilon of the first environment.
        count: N, the number of environments.
        exponent: the paper's alpha; the last environment has ``epsilon ** (1 + exponent)``.

    >>> spread(0.1, count=3, exponent=2.0).round(4).tolist()
    [0.1, 0.01, 0.001]
    """
    return epsilon ** (1 + exponent * np.arange(count) / max(count - 1, 1))


def boltzmann(
    values: NDArray[np.float32], temperature: float, random: np.random.Generator
) -> NDArray[np.int32]:
    """Returns actions (N,) sampled with probabilities in proportion to exp(value / temperature).

    Sutton and Barto 2018, equation 2.11.

    Args:
        values: (N, actions) Q-values.
        temperature: temperature above 0; as it approaches 0, the policy becomes greedy.
        random: random generator, which is advanced by N numbers.
    """
    weights = np.exp((values - values.max(axis=1, keepdims=True)).astype(np.float64) / temperature)
    bounds = np.cumsum(weights, axis=1)
    position = random.random(len(values)) * bounds[:, -1]
    actions: NDArray[np.int32] = (position[:, np.newaxis] >= bounds).sum(axis=1).astype(np.int32)
    return actions


def epsilon_greedy(
    greedy: NDArray[np.int32],
    epsilon: float | NDArray[np.float64],
    num_actions: int,
    random: np.random.Generator,
) -> NDArray[np.int32]:
    """Returns actions (N,), each of which is replaced by a random one with probability epsilon.

    Mnih et al. 2015, Algorithm 1. The generator advances by the same amount for any epsilon and any
    actions.

    Args:
        greedy: (N,) preferred actions, usually those of highest Q-value.
        epsilon: probability of a random action, from 0 to 1; one number, or (N,) for each
            environment.
        num_actions: number of actions.
        random: random generator, which is advanced by N floats and N integers.
    """
    explore = random.random(len(greedy)) < epsilon
    uniform = random.integers(num_actions, size=len(greedy), dtype=np.int32)
    return np.where(explore, uniform, greedy).astype(np.int32)


class ActionValues(Protocol):
    """The part of an agent that exploration uses."""

    def values_with_noise(self, observations: NDArray[Any]) -> NDArray[np.float32]:
        """Returns Q-values (N, actions), with new noise in each call if the network is noisy."""


@dataclass(frozen=True)
class EnvironmentSlice:
    """A range of consecutive environments among all environments of a run.

    Attributes:
        first: index of the first environment in the range.
        count: number of environments in the range.
        total: number of all environments of the run.
    """

    first: int
    count: int
    total: int

    @classmethod
    def all(cls, count: int) -> "EnvironmentSlice":
        """Returns the slice that contains all ``count`` environments of a run."""
        return cls(0, count, count)


class Explorer:
    """Chooses the actions of several environments in training.

    Args:
        settings: the policy and the schedule of epsilon.
        warmup_steps: agent steps at the start of the run with uniformly random actions.
        environments: the environments to choose actions for.
        num_actions: number of actions.
        seed: seed of the random numbers.
    """

    def __init__(
        self,
        settings: ExplorationSettings,
        warmup_steps: int,
        environments: EnvironmentSlice,
        num_actions: int,
        seed: int,
    ) -> None:
        self.settings = settings
        self.warmup_steps = warmup_steps
        self.environments = environments
        self.num_actions = num_actions
        sequence = np.random.SeedSequence([seed, *b"exploration"])
        self._random = np.random.Generator(np.random.PCG64(sequence))

    def choose(
        self, agent: ActionValues, observation: NDArray[Any], steps: int, episodes: int
    ) -> NDArray[np.int32]:
        """Returns actions (N,) for the observations (N, *observation_shape) of N environments.

        Args:
            agent: the agent that supplies Q-values.
            observation: the current observations.
            steps: agent steps in the run so far.
            episodes: finished episodes in the run so far.
        """
        count = self.environments.count
        if steps < self.warmup_steps:
            everywhere = np.ones(count)
            return self._explore(np.zeros(count, np.int32), everywhere)
        first = self.environments.first
        epsilons = spread(
            self.epsilon(steps, episodes), self.environments.total, self.settings.spread
        )
        values = agent.values_with_noise(observation)
        if self.settings.policy == "boltzmann":
            preferred = boltzmann(values, self.settings.temperature, self._random)
        else:
            preferred = np.argmax(values, axis=-1).astype(np.int32)
        return self._explore(preferred, epsilons[first : first + count])

    def _explore(
        self, preferred: NDArray[np.int32], epsilon: NDArray[np.float64]
    ) -> NDArray[np.int32]:
        return epsilon_greedy(preferred, epsilon, self.num_actions, self._random)

    def epsilon(self, steps: int, episodes: int) -> float:
        """Returns the probability of a random action in the first environment.

        Args:
            steps: agent steps in the run so far.
            episodes: finished episodes in the run so far.
        """
        return epsilon_at(self.settings, max(steps - self.warmup_steps, 0), episodes)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns the state of the random generator."""
        return {"random": generator_to_array(self._random)}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Restores the state that ``arrays`` returned.

        Raises:
            KeyError: an array is missing.
            ValueError: an array is not a valid state of the generator.
        """
        generator_from_array(self._random, arrays["random"])
