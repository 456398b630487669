"""Computes an agent's Q-values and return distributions at each step of an episode."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atari_dqn.agent.agent import Agent
from atari_dqn.backend.arrays import as_tensor, observation_dtype, stacks_last
from atari_dqn.backend.tensorflow_backend import tf
from atari_dqn.console import waiting
from atari_dqn.environments.game import Game
from atari_dqn.evaluation.results import Episode

GROUP_SIZE = 32  # observations that are passed to the network in one batch
# Probability that is cut off at either end of a distribution to get its range.
OUTSIDE = 0.01


class Explanation(NamedTuple):
    """An agent's predictions for N observations. K is 1 if it predicts only mean returns."""

    values: NDArray[np.float32]  # (N, A) Q-values
    returns: NDArray[np.float32]  # (N, A, K) possible returns
    probabilities: NDArray[np.float32]  # (N, A, K) their probabilities


class Survey(NamedTuple):
    """An agent's Q-values during an episode of T steps."""

    values: NDArray[np.float32]  # (T + 1, A) Q-values
    low: float  # lower end of the range of all values or distributions
    high: float  # upper end of that range


class Explainer:
    """Computes an agent's predictions, without exploration noise."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.distributional = agent.config.network.returns != "mean"
        dtype = observation_dtype(agent.observation_shape)
        stack, *frame_shape = agent.observation_shape
        signature = [tf.TensorSpec([None, *frame_shape, stack], tf.as_dtype(dtype))]
        self._compute = tf.function(self._explain, autograph=False, input_signature=signature)

    def __call__(self, observations: NDArray[Any]) -> Explanation:
        """Returns the predictions for observations (N, *observation_shape)."""
        parts = self._compute(as_tensor(stacks_last(observations)))
        return Explanation(*(part.numpy() for part in parts))

    def survey(self, game: Game, episode: Episode) -> Survey:
        """Replays an episode and returns the predictions for all of its steps."""
        values = []
        lows = []
        highs = []
        steps = len(episode.actions) + 1
        with waiting("computing the Q-values", total=steps) as advance:
            for observations in observation_groups(game, episode):
                explained = self(observations)
                low, high = range_of(explained.returns, explained.probabilities)
                values.append(explained.values)
                lows.append(low)
                highs.append(high)
                advance(len(observations))
        return Survey(np.concatenate(values), min(lows), max(highs))

    def _explain(self, observations: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        outputs = self.agent.acting_outputs(observations)
        returns, probabilities = self.agent.return_model.distribution(outputs)
        return self.agent.return_model.values(outputs), returns, probabilities


def episode_values(
    values: Callable[[NDArray[Any]], NDArray[np.float32]],
    game: Game,
    episode: Episode,
    at_most: int,
) -> NDArray[np.float32]:
    """Replays an episode and returns the Q-values of its first observations.

    All batches have the same size, because networks that see vectors are compiled for each size.

    Args:
        values: Function from observations (N, *observation_shape) to Q-values (N, A).
        game: The game of the episode.
        episode: An episode of T steps.
        at_most: Largest number of observations.

    Returns:
        Q-values (min(T + 1, at_most), A).
    """
    parts = []
    for observations in observation_groups(game, episode, at_most):
        count = len(observations)
        padding = np.repeat(observations[-1:], GROUP_SIZE - count, axis=0)
        parts.append(values(np.concatenate([observations, padding]))[:count])
    return np.concatenate(parts)


def observation_groups(
    game: Game, episode: Episode, at_most: int | None = None
) -> Iterator[NDArray[Any]]:
    """Replays an episode and yields its observations in groups.

    Args:
        game: The game of the episode.
        episode: An episode of T steps.
        at_most: Largest number of observations. None means all T + 1.

    Yields:
        Observations (N, *observation_shape). N is ``GROUP_SIZE``, or less in the last group.
    """
    observations = islice(_observations_of(game, episode), at_most)
    while group := list(islice(observations, GROUP_SIZE)):
        yield np.stack(group)


def _observations_of(game: Game, episode: Episode) -> Iterator[NDArray[Any]]:
    """Yields the T + 1 observations of an episode."""
    yield game.reset(episode.seed)[0]
    for action in episode.actions.tolist():
        yield game.step(action).observation


def range_of(
    returns: NDArray[np.float32], probabilities: NDArray[np.float32]
) -> tuple[float, float]:
    """Returns the lowest and the highest return in distributions (..., K).

    The outermost ``OUTSIDE`` of the probability at either end of each distribution is ignored.

    >>> returns = np.arange(5, dtype=np.float32)[None]
    >>> range_of(returns, np.array([[0.005, 0.2, 0.6, 0.19, 0.005]], np.float32))
    (1.0, 3.0)
    """
    order = np.argsort(returns, axis=-1)
    ordered = np.take_along_axis(returns, order, axis=-1)
    cumulative = np.take_along_axis(probabilities, order, axis=-1).cumsum(axis=-1)
    low = _quantile(ordered, cumulative, OUTSIDE).min()
    high = _quantile(ordered, cumulative, 1 - OUTSIDE).max()
    return float(low), float(high)


def _quantile(
    ordered: NDArray[np.float32], cumulative: NDArray[np.float32], level: float
) -> NDArray[np.float32]:
    """Returns a quantile (..., 1) of ascending returns (..., K) with cumulative probabilities."""
    index = (cumulative <= level).sum(axis=-1, keepdims=True)
    return np.take_along_axis(ordered, index.clip(0, ordered.shape[-1] - 1), axis=-1)
