"""How actions are chosen while learning: schedules and the epsilon-greedy policy."""

import numpy as np
from numpy.typing import NDArray


def linear_schedule(step: int, start: float, end: float, begin: int, duration: int) -> float:
    """Value of a schedule that goes from ``start`` at step ``begin`` to ``end`` at ``begin + duration`` and stays there.

    >>> [linear_schedule(step, 1.0, 0.5, begin=10, duration=100) for step in (0, 10, 60, 110, 1000)]
    [1.0, 1.0, 0.75, 0.5, 0.5]
    """
    if duration == 0:
        return start if step < begin else end
    progress = min(max((step - begin) / duration, 0.0), 1.0)
    return start + progress * (end - start)


def epsilon_greedy(
    greedy: NDArray[np.int32], epsilon: float, num_actions: int, random: np.random.Generator
) -> NDArray[np.int32]:
    """Replaces each greedy action, independently of the others, by a uniformly random one with probability epsilon.

    Mnih et al. 2015, Algorithm 1. The random numbers drawn do not depend on epsilon or on the greedy actions.

    Args:
        greedy: (N,) action of highest value in each environment.
        epsilon: probability of a random action, 0 to 1.
        num_actions: actions to draw from.
        random: generator, advanced by N draws of each kind.
    """
    explore = random.random(len(greedy)) < epsilon
    uniform = random.integers(num_actions, size=len(greedy), dtype=np.int32)
    return np.where(explore, uniform, greedy).astype(np.int32)
