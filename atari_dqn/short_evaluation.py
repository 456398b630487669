"""The short evaluations of a training run: a score, a recording, and what the agent thinks while it plays."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atari_dqn.agent import Agent
from atari_dqn.environments import make_game
from atari_dqn.episode_file import Origin
from atari_dqn.evaluation import Episode, describe_first_values, evaluate
from atari_dqn.explaining import observations_of
from atari_dqn.metrics import RunLogs
from atari_dqn.preprocessing import Game
from atari_dqn.recording import record_ranked
from atari_dqn.settings import Config

# Agent steps of the recorded episode whose values are shown as histograms.
MOST_STEPS = 512
TOGETHER = 32
LOGGED = ("mean", "median", "min", "max", "episodes")


def evaluate_shortly(agent: Agent, config: Config, origin: Origin, videos: Path, logs: RunLogs) -> float:
    """Scores an agent in training under the protocol and records the median episode; returns the mean score.

    Args:
        agent: as it is now.
        config: of the run.
        origin: of the recording.
        videos: where it goes.
        logs: get statistics, recording and Q-values.
    """
    seed = config.machine.seed + origin.steps
    result = evaluate(agent.act, config, seed=seed, episodes=config.training.evaluation_episodes)
    _, paths = record_ranked(videos, result, origin, "median", "training")
    numbers = result.statistics()
    note = f"step {origin.steps}: evaluation mean {numbers['mean']:.2f} over {numbers['episodes']} episodes"
    note += f"; recorded {paths['gif']}\nQ-values of the first state: {describe_first_values(agent.values, config)}"
    game = make_game(config.spec, config.environment, config.evaluation.frame_cap)
    values = values_of_episode(agent.values, game, result.representative())
    logs.evaluation(origin.steps, {name: numbers[name] for name in LOGGED}, note)
    logs.recording(origin.steps, paths["gif"], dict(zip(result.action_names, values.T, strict=True)))
    return float(numbers["mean"])


def values_of_episode(
    values: Callable[[NDArray[Any]], NDArray[np.float32]], game: Game, episode: Episode
) -> NDArray[np.float32]:
    """Q-values (steps, actions) in the first ``MOST_STEPS`` moments of an episode, which is played again.

    They are asked for in groups of one size, because networks of vectors are compiled for each size.
    """
    observations = np.stack(list(islice(observations_of(game, episode), MOST_STEPS)))
    count = len(observations)
    padded = np.concatenate([observations, np.repeat(observations[-1:], -count % TOGETHER, axis=0)])
    groups = [values(padded[begin : begin + TOGETHER]) for begin in range(0, len(padded), TOGETHER)]
    return np.concatenate(groups)[:count]
