"""Why an agent does what it does: the values, and distributions of returns, that it sees in each
moment of an episode.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from atari_dqn.agent.agent import Agent
from atari_dqn.backend.arrays import as_tensor, observation_dtype, stacks_last
from atari_dqn.environments.game import Game
from atari_dqn.evaluation.evaluate import Episode

TOGETHER = 32
# Of a distribution's probability this much lies outside of its range on either side.
OUTSIDE = 0.01


class Explanation(NamedTuple):
    """What an agent says about N observations; K is 1 where it says no more than the mean."""

    values: NDArray[np.float32]  # (N, A)
    returns: NDArray[np.float32]  # (N, A, K)
    probabilities: NDArray[np.float32]  # (N, A, K)


class Survey(NamedTuple):
    """An agent's values throughout an episode of T steps."""

    values: NDArray[np.float32]  # (T + 1, A)
    low: float  # of all values, or of the range of the distributions
    high: float


class Explainer:
    """Asks an agent what it thinks, without noise."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.distributional = agent.config.network.returns != "mean"
        dtype = tf.as_dtype(observation_dtype(agent.observation_shape))
        shape = [None, *agent.observation_shape[1:], agent.observation_shape[0]]
        self._compute = tf.function(
            self._explain, autograph=False, input_signature=[tf.TensorSpec(shape, dtype)]
        )

    def __call__(self, observations: NDArray[Any]) -> Explanation:
        """Explains observations (N, *observation_shape)."""
        return Explanation(
            *(part.numpy() for part in self._compute(as_tensor(stacks_last(observations))))
        )

    def survey(self, game: Game, episode: Episode, at_most: int | None = None) -> Survey:
        """Plays an episode again, or its first so many steps, and asks about every moment."""
        values, lows, highs = [], [], []
        observations = islice(observations_of(game, episode), at_most)
        while together := list(islice(observations, TOGETHER)):
            explained = self(np.stack(together))
            low, high = _ranges(explained.returns, explained.probabilities)
            values.append(explained.values)
            lows.append(low)
            highs.append(high)
        return Survey(np.concatenate(values), min(lows), max(highs))

    def _explain(self, observations: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        outputs = self.agent.acting_outputs(observations)
        returns, probabilities = self.agent.returns.distribution(outputs)
        return self.agent.returns.values(outputs), returns, probabilities


def observations_of(game: Game, episode: Episode) -> Iterator[NDArray[Any]]:
    """The T + 1 observations of an episode."""
    yield game.reset(episode.seed)[0]
    for action in episode.actions.tolist():
        yield game.step(action).observation


def _ranges(
    returns: NDArray[np.float32], probabilities: NDArray[np.float32]
) -> tuple[float, float]:
    """Lowest and highest return of any distribution (..., K), but for ``OUTSIDE`` of its
    probability.

    >>> returns = np.arange(5, dtype=np.float32)[None]
    >>> _ranges(returns, np.array([[0.005, 0.2, 0.6, 0.19, 0.005]], np.float32))
    (1.0, 3.0)
    """
    order = np.argsort(returns, axis=-1)
    ordered = np.take_along_axis(returns, order, axis=-1)
    below = np.take_along_axis(probabilities, order, axis=-1).cumsum(axis=-1)
    count = returns.shape[-1] - 1
    first, last = (
        (below <= part).sum(axis=-1, keepdims=True).clip(0, count)
        for part in (OUTSIDE, 1 - OUTSIDE)
    )
    return float(np.take_along_axis(ordered, first, -1).min()), float(
        np.take_along_axis(ordered, last, -1).max()
    )
