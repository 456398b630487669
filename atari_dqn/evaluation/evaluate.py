"""Scores an agent: whole episodes, a fixed number from each environment, and their protocol."""

import operator
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from atari_dqn.agent.exploration import epsilon_greedy
from atari_dqn.config.schema import Config, EnvironmentSettings
from atari_dqn.environments.environments import Environments, make_games
from atari_dqn.environments.vector import checked_actions
from atari_dqn.errors import UserError
from atari_dqn.games.ids import human_normalised_score

# From observations (N, *observation_shape) to actions (N,).
Policy = Callable[[NDArray[Any]], NDArray[np.integer[Any]] | Sequence[int]]

Rank = Literal["median", "best", "worst"]

OBSERVED_ENVIRONMENTS = 8


class EpisodeNumbers(TypedDict):
    """An episode in plain numbers, ready for JSON, without its actions."""

    seed: int
    environment: int
    score: float
    frames: int
    steps: int
    cut_by_frame_cap: bool


class ScoreStatistics(TypedDict):
    """Statistics of an evaluation's scores, ready for JSON."""

    episodes: int
    mean: float
    standard_error: float | None  # of the mean; None for a single episode
    median: float
    min: float
    max: float
    human_normalised: float | None  # None where no scores of the game are published
    cut_by_frame_cap: int
    mean_length_steps: float


class ProtocolDescription(TypedDict):
    """What a score depends on beside the agent, ready for JSON."""

    name: str
    environment: dict[str, Any]  # settings of the environment by name
    frame_cap: int
    actions: list[str]
    epsilon: float
    seed: int
    environments: int


class EvaluationNumbers(TypedDict):
    """A whole evaluation, ready for JSON."""

    game: str
    rom: str | None
    protocol: ProtocolDescription
    statistics: ScoreStatistics
    episodes: list[EpisodeNumbers]


@dataclass(frozen=True)
class Episode:
    """One episode, complete enough to be played again."""

    seed: int
    actions: NDArray[np.uint8]  # (T,) executed, one for each agent step
    score: float  # sum of raw rewards
    frames: int  # emulator frames
    truncated: bool  # cut by the frame cap
    environment: int

    def to_json(self) -> EpisodeNumbers:
        """Returns the episode in plain numbers, without its actions."""
        return {
            "seed": self.seed,
            "environment": self.environment,
            "score": self.score,
            "frames": self.frames,
            "steps": len(self.actions),
            "cut_by_frame_cap": self.truncated,
        }


@dataclass(frozen=True)
class Evaluation:
    """The episodes of an evaluation and the protocol under which they were played."""

    config: Config
    episodes: list[Episode]
    epsilon: float
    seed: int
    action_names: tuple[str, ...]

    def statistics(self) -> ScoreStatistics:
        """Returns statistics of the scores as plain numbers."""
        scores = [episode.score for episode in self.episodes]
        mean = statistics.fmean(scores)
        standard_error = None
        if len(scores) > 1:
            standard_error = statistics.stdev(scores) / len(scores) ** 0.5
        lengths = [len(episode.actions) for episode in self.episodes]
        return {
            "episodes": len(scores),
            "mean": mean,
            "standard_error": standard_error,
            "median": statistics.median(scores),
            "min": min(scores),
            "max": max(scores),
            "human_normalised": human_normalised_score(self.config.rom, mean),
            "cut_by_frame_cap": sum(episode.truncated for episode in self.episodes),
            "mean_length_steps": statistics.fmean(lengths),
        }

    def protocol(self) -> ProtocolDescription:
        """Returns everything that the score depends on beside the agent."""
        return {
            "name": self.config.protocol,
            "environment": played_environment(self.config.environment),
            "frame_cap": self.config.evaluation.frame_cap,
            "actions": list(self.action_names),
            "epsilon": self.epsilon,
            "seed": self.seed,
            "environments": self.environments,
        }

    def to_json(self) -> EvaluationNumbers:
        """Returns the whole result as plain numbers and texts."""
        return {
            "game": self.config.game,
            "rom": self.config.rom,
            "protocol": self.protocol(),
            "statistics": self.statistics(),
            "episodes": [episode.to_json() for episode in self.episodes],
        }

    @property
    def environments(self) -> int:
        """Number of games that were played side by side."""
        return len({episode.environment for episode in self.episodes})

    def representative(self) -> Episode:
        """Returns the episode of median score (the lower one of two), neither luck nor bad luck."""
        return self.ranked()["median"]

    def ranked(self) -> dict[Rank, Episode]:
        """Returns the episodes of median, best and worst score.

        The best or the worst is missing where it is the median one.
        """
        ordered = sorted(self.episodes, key=lambda episode: episode.score)
        middle = (len(ordered) - 1) // 2
        indices: dict[Rank, int] = {"median": middle, "best": len(ordered) - 1, "worst": 0}
        return {
            rank: ordered[index]
            for rank, index in indices.items()
            if rank == "median" or index != middle
        }


def played_environment(settings: EnvironmentSettings) -> dict[str, Any]:
    """Returns the settings that an evaluation's score depends on, by name.

    The others are of training only: an evaluation has a frame cap of its own.
    """
    return settings.model_dump(exclude={"life_loss_ends_future", "frame_cap"})


def play(
    policy: Policy, environments: Environments, episodes: int, epsilon: float, seed: int
) -> list[Episode]:
    """Plays a fixed quota of whole episodes in each environment.

    Without a quota short episodes would be over-counted.

    Args:
        policy: from observations (N, *observation_shape) to actions (N,), an array or a list of
            whole numbers.
        environments: what to play; they are reset.
        episodes: in all; the first environments play one more where it does not divide.
        epsilon: probability of a random action, independent for each environment.
        seed: of the random actions.

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
            actions[env] = []
            score[env] = 0.0
            frames[env] = 0
        observation = step.current
    return finished


def observe(policy: Policy, config: Config, steps: int, seed: int) -> NDArray[Any]:
    """Returns what a policy sees in 8 environments from their beginning on.

    Args:
        policy: from observations (8, *observation_shape) to actions (8,).
        config: what to play.
        steps: agent steps in each environment.
        seed: of the environments.

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
        policy: from observations (N, *observation_shape) to actions (N,).
        config: what to play and under which protocol.
        seed: of the episodes and of the random actions.
        episodes: how many; None: as many as the protocol has.
        epsilon: probability of a random action; None: the protocol's.

    Raises:
        UserError: one of these numbers is out of range, or the policy returns no actions.
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
