"""The result of an evaluation: its episodes, statistics of their scores, and the protocol."""

import statistics
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from atari_dqn.config.schema import Config, EnvironmentSettings
from atari_dqn.games.ids import human_normalised_score

Rank = Literal["median", "best", "worst"]


class EpisodeNumbers(TypedDict):
    """An episode without its actions, as JSON values."""

    seed: int
    environment: int
    score: float
    frames: int
    steps: int
    cut_by_frame_cap: bool


class ScoreStatistics(TypedDict):
    """Statistics of an evaluation's scores, as JSON values."""

    episodes: int
    mean: float
    standard_error: float | None  # standard error of the mean; None for a single episode
    median: float
    min: float
    max: float
    human_normalised: float | None  # None if no scores for the game are published
    cut_by_frame_cap: int
    mean_length_steps: float


class ProtocolDescription(TypedDict):
    """Everything besides the agent that a score depends on, as JSON values."""

    name: str
    environment: dict[str, Any]  # settings of the environment, by name
    frame_cap: int
    actions: list[str]
    epsilon: float
    seed: int
    environments: int


class EvaluationNumbers(TypedDict):
    """A whole evaluation, as JSON values."""

    game: str
    rom: str | None
    protocol: ProtocolDescription
    statistics: ScoreStatistics
    episodes: list[EpisodeNumbers]


@dataclass(frozen=True)
class Episode:
    """One episode, with the data to replay it exactly."""

    seed: int
    actions: NDArray[np.uint8]  # (T,) executed actions, one for each agent step
    score: float  # sum of raw rewards
    frames: int  # emulator frames
    truncated: bool  # whether the frame cap or the task's own limit ended it
    environment: int  # index of the environment

    def to_json(self) -> EpisodeNumbers:
        """Returns the episode without its actions, as JSON values."""
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
    """The episodes of an evaluation, and the protocol under which they were played."""

    config: Config
    episodes: list[Episode]
    epsilon: float
    seed: int
    action_names: tuple[str, ...]

    def statistics(self) -> ScoreStatistics:
        """Returns statistics of the scores, as JSON values."""
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
        """Returns everything besides the agent that the score depends on."""
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
        """Returns the whole result as JSON values."""
        return {
            "game": self.config.game,
            "rom": self.config.rom,
            "protocol": self.protocol(),
            "statistics": self.statistics(),
            "episodes": [episode.to_json() for episode in self.episodes],
        }

    def at_own_limit(self) -> int:
        """Returns the number of episodes that the task's own limit ended, not the frame cap.

        Atari games have no limit of their own.
        """
        if self.config.rom is not None:
            return 0
        cap = self.config.evaluation.frame_cap
        return sum(episode.truncated and episode.frames < cap for episode in self.episodes)

    @property
    def environments(self) -> int:
        """Number of environments that were played in parallel."""
        return len({episode.environment for episode in self.episodes})

    def representative(self) -> Episode:
        """Returns the episode with the median score, which shows neither good nor bad luck.

        If the number of episodes is even, this is the lower of the two middle scores.
        """
        return self.ranked()["median"]

    def ranked(self) -> dict[Rank, Episode]:
        """Returns the episodes with the median, best and worst score.

        The best or the worst is omitted if it is also the median.
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
    """Returns the environment settings that an evaluation's score depends on, by name.

    The others apply to training only. An evaluation has its own frame cap.
    """
    return settings.model_dump(exclude={"life_loss_ends_future", "frame_cap"})
