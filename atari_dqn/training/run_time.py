"""Estimates how long a run takes on a machine, and how many agent steps fit into a time.

``speed_measurement.py`` measures the speeds.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from atari_dqn.config.learning_schema import MOST_STEPS
from atari_dqn.config.schema import Config
from atari_dqn.games import gymnasium_tasks

# Agent steps of an episode of an Atari game: of an agent that has hardly learned, and of one that
# has learned for a while. Pong takes 1,800 to 2,600 then. Caps allow 27,000, which are rare.
SHORT_EPISODE = 500
LONG_EPISODE = 2_000
LONG_AFTER = 300_000  # agent steps of training


@dataclass(frozen=True)
class Speeds:
    """The measured speeds of a recipe on a machine.

    Attributes:
        start: Seconds to create the environments, the network and the graphs.
        acting: Agent steps a second in the warm-up, with random actions.
        learning: Agent steps a second with updates.
        evaluation_start: Seconds to create the environments of an evaluation.
        evaluation_step: Seconds of one step in all environments of an evaluation.
        recording_start: Seconds to open the files of a recording.
        recording_step: Seconds to record an agent step.
        checkpoint: Seconds to write a checkpoint without frames.
        checkpoint_step: Seconds to write the frame of an agent step to a checkpoint.
    """

    start: float
    acting: float
    learning: float
    evaluation_start: float
    evaluation_step: float
    recording_start: float
    recording_step: float
    checkpoint: float
    checkpoint_step: float


def run_seconds(config: Config, speeds: Speeds, done: int = 0) -> float:
    """Returns the estimated seconds of a run, or of the rest of a run.

    It includes the periodic evaluations and checkpoints, and those after the last step.

    Args:
        config: Settings of the run.
        speeds: Speeds of its recipe on this machine.
        done: Agent steps that the run has already made.
    """
    training = config.training
    steps = training.total_steps
    warmup = max(min(training.warmup_steps, steps) - done, 0)
    learning = max(steps - done - warmup, 0)
    evaluations = _times(training.evaluation_period, done, steps)
    # A run also saves a checkpoint at its end.
    checkpoints = max(_times(training.checkpoint_period, done, steps), 1)
    return (
        speeds.start
        + warmup / speeds.acting
        + learning / speeds.learning
        + (steps - done) * speeds.checkpoint_step
        + checkpoints * speeds.checkpoint
        + evaluations * evaluation_seconds(config, speeds)
    )


def _times(period: int, done: int, steps: int) -> int:
    """Returns how often a run does something in every period and at its end.

    >>> _times(100, 0, 250), _times(100, 100, 200), _times(0, 0, 100)
    (3, 1, 0)
    """
    return math.ceil(steps / period) - done // period if period else 0


def evaluation_seconds(config: Config, speeds: Speeds) -> float:
    """Returns the estimated seconds of an evaluation near the end of a run, with its recording."""
    episodes = config.training.evaluation_episodes
    rounds = math.ceil(episodes / min(config.evaluation.environments, episodes))
    length = _episode_length(config)
    playing = speeds.evaluation_start + rounds * length * speeds.evaluation_step
    return playing + speeds.recording_start + length * speeds.recording_step


def _episode_length(config: Config) -> int:
    """Returns the likely length of an episode near the end of a run, in agent steps.

    Episodes usually become longer as an agent learns. Where the environment has a time limit, it is
    the limit.
    """
    cap = config.evaluation.frame_cap
    if config.rom is None:
        limit = gymnasium_tasks.kind(config.game, config.environment.kwargs).limit
        return min(cap, limit or LONG_EPISODE)
    skip = config.environment.frame_skip
    cap = math.ceil(cap / (min(skip) if isinstance(skip, list) else skip))
    learned = min(config.training.total_steps / LONG_AFTER, 1.0)
    return min(cap, int(SHORT_EPISODE + learned * (LONG_EPISODE - SHORT_EPISODE)))


def most_steps(seconds_of: Callable[[int], float], seconds: float) -> int:
    """Returns the largest number of agent steps that take at most some seconds, or 0.

    Args:
        seconds_of: Function from agent steps to seconds, which increases.
        seconds: The time.

    >>> most_steps(lambda steps: 10 + steps / 50, seconds=20)
    500
    """
    fits = 0
    too_many = 1
    while too_many < MOST_STEPS and seconds_of(too_many) <= seconds:
        fits = too_many
        too_many = min(2 * too_many, MOST_STEPS)
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if seconds_of(middle) <= seconds:
            fits = middle
        else:
            too_many = middle
    return fits
