"""Scores an agent under a protocol, on a fixed number of whole episodes per environment."""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atari_dqn.agent.exploration import epsilon_greedy
from atari_dqn.config.schema import Config
from atari_dqn.console import waiting
from atari_dqn.environments.environments import Environments, make_games
from atari_dqn.environments.vector import checked_actions
from atari_dqn.errors import UserError
from atari_dqn.evaluation.results import Episode, Evaluation

# From observations (N, *observation_shape) to actions (N,).
Policy = Callable[[NDArray[Any]], NDArray[np.integer[Any]] | Sequence[int]]


OBSERVED_ENVIRONMENTS = 8


def play(
    policy: Policy, environments: Environments, episodes: int, epsilon: float, seed: int
) -> list[Episode]:
    """Plays a fixed number of whole episodes in each environment.

    Without this quota, short episodes would be over-represented.

    Args:
        policy: Function from observations (N, *observation_shape) to actions (N,), an array or a
            list of integers.
        environments: The environments to play in. They are reset first.
        episodes: Total number of episodes. If it is not a multiple of the number of environments,
            the first environments play one more.
        epsilon: Probability of a random action, independently in each environment.
        seed: Seed of the random actions.

    Returns:
        The episodes in the order in which they ended.
    """
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *b"evaluation"])))
    count = environments.count
    num_actions = len(environments.action_names)
    remaining = np.full(count, episodes // count) + (np.arange(count) < episodes % count)
    actions: list[list[int]] = [[] for _ in range(count)]
    score = np.zeros(count)
    frames = np.zeros(count, np.int64)
    finished: list[Episode] = []
    what = f"evaluating {episodes} episode{'' if episodes == 1 else 's'}"
    with waiting(what, episodes) as advance:
        observation = environments.reset()
        while remaining.any():
            greedy = np.zeros(count, np.int32)
            if epsilon < 1:
                greedy = checked_actions(policy(observation), count, num_actions)
            executed = environments.send(epsilon_greedy(greedy, epsilon, num_actions, random))
            step = environments.recv()
            score += step.reward
            frames += step.frames
            for env in np.flatnonzero(remaining):
                actions[env].append(int(executed[env]))
            for env in np.flatnonzero(step.ended):
                if remaining[env]:
                    episode = Episode(
                        seed=int(step.seed[env]),
                        actions=np.array(actions[env], np.uint8),
                        score=float(score[env]),
                        frames=int(frames[env]),
                        truncated=bool(step.truncated[env]),
                        environment=int(env),
                    )
                    finished.append(episode)
                    remaining[env] -= 1
                    advance(1)
                actions[env] = []
                score[env] = 0.0
                frames[env] = 0
            observation = step.current
    return finished


def observe(policy: Policy, config: Config, steps: int, seed: int) -> NDArray[Any]:
    """Plays with a policy in 8 environments and returns all observations.

    Args:
        policy: Function from observations (8, *observation_shape) to actions (8,).
        config: Settings with the game to play.
        steps: Agent steps in each environment.
        seed: Seed of the environments.

    Returns:
        Observations (8 * (steps + 1), *observation_shape).
    """
    cap = config.evaluation.frame_cap
    games = make_games(config.spec, config.environment, OBSERVED_ENVIRONMENTS, cap)
    environments = Environments(games, config.environment, seed)
    seen = [environments.reset()]
    for _ in range(steps):
        environments.send(policy(seen[-1]))
        seen.append(environments.recv().current)
    return np.concatenate(seen)


def evaluate(
    policy: Policy,
    config: Config,
    *,
    seed: int,
    episodes: int | None = None,
    epsilon: float | None = None,
) -> Evaluation:
    """Scores a policy under the protocol of the settings.

    Args:
        policy: Function from observations (N, *observation_shape) to actions (N,).
        config: Settings with the game to play and the protocol.
        seed: Seed of the episodes and of the random actions.
        episodes: Number of episodes. None means the protocol's number.
        epsilon: Probability of a random action. None means the protocol's probability.

    Returns:
        The episodes, and the protocol under which they were played.

    Raises:
        UserError: A number is out of range, or the policy does not return valid actions.
    """
    seed = _whole_number("seed", seed, least=0)
    episodes = config.evaluation.episodes if episodes is None else episodes
    episodes = _whole_number("episodes", episodes, least=1)
    epsilon = config.evaluation.epsilon if epsilon is None else epsilon
    epsilon = _probability("epsilon", epsilon)
    count = min(config.evaluation.environments, episodes)
    threads = config.machine.environment_threads
    games = make_games(config.spec, config.environment, count, config.evaluation.frame_cap, threads)
    environments = Environments(games, config.environment, seed)
    played = play(policy, environments, episodes, epsilon, seed)
    return Evaluation(config, played, epsilon, seed, environments.action_names)


def _whole_number(name: str, value: Any, least: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise UserError(f"{name} = {value!r}: must be a whole number of at least {least}")
    return number


def _probability(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number <= 1:
        raise UserError(f"{name} = {value!r}: must be a probability from 0 to 1")
    return number
