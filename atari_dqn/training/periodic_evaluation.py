"""Short evaluations during training, with a score, a recording and Q-values."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from atari_dqn.agent.agent import Agent
from atari_dqn.environments.environments import make_game
from atari_dqn.errors import describe_failure
from atari_dqn.evaluation.describe import describe_first_values
from atari_dqn.evaluation.evaluate import evaluate
from atari_dqn.evaluation.results import Evaluation
from atari_dqn.recording.episode_file import EvaluatedEpisode, Origin
from atari_dqn.recording.explanation import episode_values
from atari_dqn.recording.render import record_ranked
from atari_dqn.runs.signals import StopOnSignals
from atari_dqn.training.logs import RunLogs

# Number of steps at the start of the recorded episode whose Q-values the histograms show.
MOST_STEPS = 512


class _Presentation(NamedTuple):
    """The recording of an evaluation's median episode, and the agent's Q-values."""

    recorded: Path  # the recording, as a GIF if possible
    first_values: str  # Q-values of the first state, as text
    values: NDArray[np.float32]  # (T, A) Q-values during the median episode


def evaluate_shortly(
    agent: Agent,
    origin: Origin,
    videos: Path,
    logs: RunLogs,
    stop: StopOnSignals | None = None,
) -> float:
    """Evaluates an agent during training under the protocol, and records the median episode.

    If the recording fails, this is logged, and the score still counts.

    Args:
        agent: The agent in its current state.
        origin: The origin of the recording.
        videos: Directory for the recording.
        logs: The logs to which statistics, recording and Q-values are written.
        stop: A stop request ends the evaluation at once, and nothing is logged.

    Returns:
        The mean score.

    Raises:
        Stopped: A stop was requested.
    """
    stop = stop or StopOnSignals()
    config = agent.config
    seed = config.machine.seed + origin.steps
    episodes = config.training.evaluation_episodes
    with stop.may_be_left():
        result = evaluate(agent.act, config, seed=seed, episodes=episodes)
        numbers = result.statistics()
        mean = numbers["mean"]
        note = f"step {origin.steps:,}: evaluation mean {mean:.2f} over {episodes} episodes"
        presentation: _Presentation | None = None
        try:
            presentation = _present(agent, origin, videos, result)
        except (Exception, SystemExit) as error:  # a failed recording must not end the training
            note += f"; not recorded: {describe_failure(error)}"
    if presentation is not None:
        note += f"; the median is recorded in {presentation.recorded.parent}"
        note += f"\nQ-values of the first state: {presentation.first_values}"
    row = {
        "mean": mean,
        "median": numbers["median"],
        "min": numbers["min"],
        "max": numbers["max"],
        "episodes": numbers["episodes"],
    }
    logs.evaluation(origin.steps, row, note)
    if presentation is not None and presentation.recorded.suffix == ".gif":
        values = dict(zip(result.action_names, presentation.values.T, strict=True))
        logs.recording(origin.steps, presentation.recorded, values)
    return mean


def _present(agent: Agent, origin: Origin, videos: Path, result: Evaluation) -> _Presentation:
    """Records the median episode of an evaluation, and computes the agent's Q-values in it."""
    config = agent.config
    median = EvaluatedEpisode.of_rank(result, "median", origin)
    _, paths = record_ranked(videos, median, "training")
    first_values = describe_first_values(agent.values, config)
    game = make_game(config.spec, config.environment, config.evaluation.frame_cap)
    values = episode_values(agent.values, game, median.episode, MOST_STEPS)
    return _Presentation(next(iter(paths.values())), first_values, values)
