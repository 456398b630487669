"""The short evaluations of a training run: a score, a recording, and what the agent thinks while it
plays.
"""

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atari_dqn.agent.agent import Agent
from atari_dqn.config.schema import Config
from atari_dqn.environments.environments import make_game
from atari_dqn.environments.game import Game
from atari_dqn.errors import describe_failure
from atari_dqn.evaluation.describe import describe_first_values
from atari_dqn.evaluation.evaluate import Episode, Evaluation, evaluate
from atari_dqn.recording.episode_file import Origin
from atari_dqn.recording.explanation import observations_of
from atari_dqn.recording.render import record_ranked
from atari_dqn.runs.signals import StopOnSignals
from atari_dqn.training.logs import RunLogs

# Agent steps of the recorded episode whose values are shown as histograms.
MOST_STEPS = 512
TOGETHER = 32
LOGGED = ("mean", "median", "min", "max", "episodes")


def evaluate_shortly(
    agent: Agent,
    config: Config,
    origin: Origin,
    videos: Path,
    logs: RunLogs,
    stop: StopOnSignals | None = None,
) -> float:
    """Scores an agent in training under the protocol and records the median episode.

    What goes wrong with the recording is a note; the score counts all the same.

    Args:
        agent: as it is now.
        config: of the run.
        origin: of the recording.
        videos: where it goes.
        logs: get statistics, recording and Q-values.
        stop: a request to stop leaves the evaluation at once, and nothing is logged.

    Returns:
        The mean score.

    Raises:
        Stopped: a stop was requested.
    """
    stop = stop or StopOnSignals()
    seed = config.machine.seed + origin.steps
    episodes = config.training.evaluation_episodes
    with stop.may_be_left():
        result = evaluate(agent.act, config, seed=seed, episodes=episodes)
        numbers = result.statistics()
        note = (
            f"step {origin.steps}: evaluation mean {numbers['mean']:.2f} over {episodes} episodes"
        )
        shown: Shown | None = None
        try:
            shown = _show(agent, config, origin, videos, result)
            note += (
                f"; recorded {shown.recorded}\nQ-values of the first state: {shown.first_values}"
            )
        except (Exception, SystemExit) as error:  # what shows it must not end the training
            note += f"; not recorded: {describe_failure(error)}"
    logs.evaluation(origin.steps, {name: numbers[name] for name in LOGGED}, note)
    if shown is not None and shown.recorded.suffix == ".gif":
        values = dict(zip(result.action_names, shown.values.T, strict=True))
        logs.recording(origin.steps, shown.recorded, values)
    return float(numbers["mean"])


class Shown(NamedTuple):
    """What there is to see of an evaluation."""

    recorded: Path  # of the median episode, the GIF if there is one
    first_values: str  # Q-values of the first state, in words
    values: NDArray[np.float32]  # (steps, actions) Q-values throughout the median episode


def _show(agent: Agent, config: Config, origin: Origin, videos: Path, result: Evaluation) -> Shown:
    _, paths = record_ranked(videos, result, origin, "median", "training")
    first_values = describe_first_values(agent.values, config)
    game = make_game(config.spec, config.environment, config.evaluation.frame_cap)
    values = values_of_episode(agent.values, game, result.representative())
    return Shown(next(iter(paths.values())), first_values, values)


def values_of_episode(
    values: Callable[[NDArray[Any]], NDArray[np.float32]], game: Game, episode: Episode
) -> NDArray[np.float32]:
    """Q-values (steps, actions) in the first ``MOST_STEPS`` moments of an episode, which is played
    again.

    They are asked for in groups of one size, because networks of vectors are compiled for each
    size.
    """
    observations = np.stack(list(islice(observations_of(game, episode), MOST_STEPS)))
    count = len(observations)
    padded = np.concatenate([observations, np.repeat(observations[-1:], -count % TOGETHER, axis=0)])
    groups = [values(padded[begin : begin + TOGETHER]) for begin in range(0, len(padded), TOGETHER)]
    return np.concatenate(groups)[:count]
