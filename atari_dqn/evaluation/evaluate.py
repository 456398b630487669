"""Scoring an agent: whole episodes, a fixed number from each environment, and everything that the
score depends on.
"""

import operator
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from atari_dqn.agent.exploration import epsilon_greedy
from atari_dqn.config.schema import Config
from atari_dqn.environments.environments import Environments, make_games
from atari_dqn.environments.vector import checked_actions
from atari_dqn.errors import UserError
from atari_dqn.games.ids import human_normalised_score

Policy = Callable[[NDArray[Any]], NDArray[np.integer[Any]] | Sequence[int]]


Rank = Literal["median", "best", "worst"]


@dataclass(frozen=True)
class Episode:
    """One episode, complete enough to be played again."""

    seed: int
    actions: NDArray[np.uint8]  # executed, one for each agent step
    score: float  # sum of raw rewards
    frames: int  # emulator frames
    truncated: bool  # cut by the frame cap
    environment: int

    def to_json(self) -> dict[str, Any]:
        """The episode in plain numbers, without its actions."""
        names = {
            "seed": self.seed,
            "environment": self.environment,
            "score": self.score,
            "frames": self.frames,
        }
        return names | {"steps": len(self.actions), "cut_by_frame_cap": self.truncated}


@dataclass(frozen=True)
class Evaluation:
    """The episodes of an evaluation and the protocol under which they were played."""

    config: Config
    episodes: list[Episode]
    epsilon: float
    seed: int
    action_names: tuple[str, ...]

    def statistics(self) -> dict[str, Any]:
        """Score statistics as plain numbers, ready for JSON."""
        scores = [episode.score for episode in self.episodes]
        mean = statistics.fmean(scores)
        return {
            "episodes": len(scores),
            "mean": mean,
            "standard_error": statistics.stdev(scores) / len(scores) ** 0.5
            if len(scores) > 1
            else None,
            "median": statistics.median(scores),
            "min": min(scores),
            "max": max(scores),
            "human_normalised": human_normalised_score(self.config.rom, mean),
            "cut_by_frame_cap": sum(episode.truncated for episode in self.episodes),
            "mean_length_steps": statistics.fmean(
                len(episode.actions) for episode in self.episodes
            ),
        }

    def protocol(self) -> dict[str, Any]:
        """Everything that the score depends on beside the agent."""
        return {
            "name": self.config.protocol,
            "environment": self.config.environment.model_dump(
                exclude={"life_loss_ends_future", "frame_cap"}
            ),
            "frame_cap": self.config.evaluation.frame_cap,
            "actions": list(self.action_names),
            "epsilon": self.epsilon,
            "seed": self.seed,
            "environments": self.environments,
        }

    def to_json(self) -> dict[str, Any]:
        """The whole result as plain numbers and strings."""
        episodes = [episode.to_json() for episode in self.episodes]
        names = {"game": self.config.game, "rom": self.config.rom}
        return names | {
            "protocol": self.protocol(),
            "statistics": self.statistics(),
            "episodes": episodes,
        }

    @property
    def environments(self) -> int:
        """Games that were played side by side."""
        return len({episode.environment for episode in self.episodes})

    def representative(self) -> Episode:
        """The episode of median score (the lower one of two), which is the one worth showing:
        neither luck nor bad luck.
        """
        return self.ranked()["median"]

    def ranked(self) -> dict[Rank, Episode]:
        """The episode of median score, the best and the worst; without those that are the same
        episode.
        """
        ordered = sorted(self.episodes, key=lambda episode: episode.score)
        middle, last = (len(ordered) - 1) // 2, len(ordered) - 1
        places: dict[Rank, int] = {"median": middle, "best": last, "worst": 0}
        return {
            rank: ordered[place]
            for rank, place in places.items()
            if rank == "median" or place != middle
        }


def play(
    policy: Policy, environments: Environments, episodes: int, epsilon: float, seed: int
) -> list[Episode]:
    """Plays a fixed quota of whole episodes in each environment, so that short episodes are not
    over-counted.

    Args:
        policy: from observations (N, *observation_shape) to actions (N,), an array or a list of
            whole numbers.
        environments: what to play; started anew.
        episodes: in all; the first environments play one more where it does not divide.
        epsilon: probability of a random action, independent for each environment.
        seed: of the random actions.
    """
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *b"evaluation"])))
    count, num_actions = environments.count, len(environments.action_names)
    left = np.full(count, episodes // count) + (np.arange(count) < episodes % count)
    actions: list[list[int]] = [[] for _ in range(count)]
    score, frames = np.zeros(count), np.zeros(count, np.int64)
    finished: list[Episode] = []
    observation = environments.reset()
    while left.any():
        greedy = np.zeros(count, np.int32)
        if epsilon < 1:
            greedy = checked_actions(policy(observation), count, num_actions)
        executed = environments.send(epsilon_greedy(greedy, epsilon, num_actions, random))
        step = environments.recv()
        score += step.reward
        frames += step.frames
        for env in np.flatnonzero(left):
            actions[env].append(int(executed[env]))
        for env in np.flatnonzero(step.ended):
            if left[env]:
                taken = np.array(actions[env], np.uint8)
                ending = (float(score[env]), int(frames[env]), bool(step.truncated[env]), int(env))
                finished.append(Episode(int(step.seed[env]), taken, *ending))
                left[env] -= 1
            actions[env], score[env], frames[env] = [], 0.0, 0
        observation = step.current
    return finished


def observe(policy: Policy, config: Config, steps: int, seed: int) -> NDArray[Any]:
    """What the policy sees in 8 environments from their beginning on: observations (8 * (steps +
    1), *observation_shape).
    """
    games = make_games(config.spec, config.environment, 8, config.evaluation.frame_cap)
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
    """Scores a policy under the protocol of the settings; ``episodes`` and ``epsilon`` override it.

    Raises:
        UserError: one of these numbers is out of range, or the policy returns no actions.
    """
    seed = _whole_number("seed", seed, least=0)
    episodes = _whole_number(
        "episodes", config.evaluation.episodes if episodes is None else episodes, least=1
    )
    epsilon = _probability("epsilon", config.evaluation.epsilon if epsilon is None else epsilon)
    count = min(config.evaluation.environments, episodes)
    threads = config.machine.environment_threads
    games = make_games(config.spec, config.environment, count, config.evaluation.frame_cap, threads)
    environments = Environments(games, config.environment, seed)
    return Evaluation(
        config,
        play(policy, environments, episodes, epsilon, seed),
        epsilon,
        seed,
        environments.action_names,
    )


def _whole_number(name: str, value: Any, least: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise UserError(f"{name} = {value!r}: wanted is a whole number of at least {least}")
    return number


def _probability(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number <= 1:
        raise UserError(f"{name} = {value!r}: wanted is a probability from 0 to 1")
    return number
