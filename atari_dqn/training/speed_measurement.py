"""Measures the speeds of a recipe on this machine, by training with it for some seconds.

The measurement uses the same loop, network and environments as a run. Its files are temporary, and
its random streams are its own, so a run that follows is the same as without it.
"""

import gc
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np

from atari_dqn.config.schema import Config
from atari_dqn.environments.environments import Environments, make_games
from atari_dqn.environments.game import Game
from atari_dqn.evaluation.results import Episode
from atari_dqn.recording import render
from atari_dqn.recording.episode_file import ENDINGS
from atari_dqn.recording.render import Rendering, Screen, write_recordings
from atari_dqn.training.logs import RunLogs
from atari_dqn.training.loop import Training
from atari_dqn.training.run_time import Speeds

# Shares of the time of a measurement; the rest is for the updates.
ACTING_SHARE = 0.2
EVALUATION_SHARE = 0.1
# The first steps with updates are slower, and are not measured.
FIRST_STEPS = 5
FIRST_SHARE = 0.1
# A file of all frames would be written for nothing, so that of the measurement is small.
FRAMES_ON_DISK = 20_000
SHORT_RECORDING = 10  # agent steps
LONG_RECORDING = 100


def measure_speeds(config: Config, seconds: float) -> Speeds:
    """Trains with a recipe for some seconds, and returns its speeds on this machine.

    Args:
        config: Settings of the run that is planned, with numbers of threads.
        seconds: How long to measure. Building the graphs takes more time before that.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="atari-dqn-")))
        speeds = _measure(_settings(config), folder, seconds, stack)
    gc.collect()  # the run that follows needs the memory
    return speeds


def _settings(config: Config) -> Config:
    """Returns settings that train like a run after its exploration, without periodic tasks."""
    training = {"evaluation_period": 0, "checkpoint_period": 0}
    exploration = {"epsilon_start": config.exploration.epsilon_end}
    replay: dict[str, Any] = {}
    if config.replay.storage == "disk":
        replay["capacity"] = min(config.replay.capacity, _frames_on_disk(config))
    return config.model_copy(
        update={
            "training": config.training.model_copy(update=training),
            "exploration": config.exploration.model_copy(update=exploration),
            "replay": config.replay.model_copy(update=replay),
            "machine": config.machine.model_copy(update={"trace_updates": 0}),
        }
    )


def _frames_on_disk(config: Config) -> int:
    """Returns a small capacity that leaves each environment the rows that a memory needs."""
    window = config.environment.stack + config.agent.n_step
    return max(FRAMES_ON_DISK, 2 * window * config.training.environments)


def _measure(config: Config, folder: Path, seconds: float, stack: ExitStack) -> Speeds:
    began = time.monotonic()
    training = Training(config, folder / "run", folder / "videos")
    stack.enter_context(closing(training.learner))
    total = config.training.total_steps
    training.logs = stack.enter_context(closing(RunLogs(training.run_directory, 0, total)))
    training.observation = training.environments.reset()
    training.memory.start(training.observation[:, -1])
    training.prepare(total)
    training.learner.wait_for_graphs(training.stop)
    start = _since(began)

    training.save()  # the first checkpoint imports packages
    acting = _acting_speed(training, seconds * ACTING_SHARE)
    frames = len(training.memory)
    with_frames = _save_seconds(training)
    # Learning begins here, even if the warm-up would take longer.
    training.steps = max(training.steps, config.training.warmup_steps)
    for _ in range(FIRST_STEPS):
        _step(training)
    _learning_speed(training, seconds * FIRST_SHARE)
    shares = ACTING_SHARE + EVALUATION_SHARE + FIRST_SHARE
    learning = _learning_speed(training, seconds * (1 - shares))
    training.learner.finish()
    training.save()
    _step(training)  # a checkpoint needs a step of its own
    training.learner.finish()
    checkpoint = _save_seconds(training)
    evaluation_start, evaluation_step = _evaluation_speed(training, seconds * EVALUATION_SHARE)
    recording_start, recording_step = _recording_speed(config, folder)
    return Speeds(
        start=start,
        acting=acting,
        learning=learning,
        evaluation_start=evaluation_start,
        evaluation_step=evaluation_step,
        recording_start=recording_start,
        recording_step=recording_step,
        checkpoint=checkpoint,
        checkpoint_step=max(with_frames - checkpoint, 0.0) / frames,
    )


def _step(training: Training) -> None:
    assert training.observation is not None
    training.learner.wait_to_act()
    training.observation = training.step(training.observation)
    training.run_tasks_due()


def _acting_speed(training: Training, seconds: float) -> float:
    """Returns the agent steps a second of the warm-up."""
    began = time.monotonic()
    _step(training)
    while training.steps < training.config.training.warmup_steps and _since(began) < seconds:
        _step(training)
    return training.steps / _since(began)


def _learning_speed(training: Training, seconds: float) -> float:
    """Returns the agent steps a second with updates."""
    before = training.steps
    began = time.monotonic()
    _step(training)
    while _since(began) < seconds:
        _step(training)
    return (training.steps - before) / _since(began)


def _save_seconds(training: Training) -> float:
    """Saves a checkpoint, and returns the seconds that it takes."""
    began = time.monotonic()
    training.save()
    return _since(began)


def _evaluation_speed(training: Training, seconds: float) -> tuple[float, float]:
    """Returns the seconds to create the environments of an evaluation, and those of a step."""
    config = training.config
    count = min(config.evaluation.environments, config.training.evaluation_episodes)
    began = time.monotonic()
    cap = config.evaluation.frame_cap
    threads = config.machine.environment_threads
    games = make_games(config.spec, config.environment, count, cap, threads)
    environments = Environments(games, config.environment, config.machine.seed)
    observation = environments.reset()
    start = _since(began)
    training.agent.act(observation)  # the first call builds a graph
    steps = 0
    began = time.monotonic()
    while not steps or _since(began) < seconds:
        environments.send(training.agent.act(observation))
        observation = environments.recv().current
        steps += 1
    return start, _since(began) / steps


def _recording_speed(config: Config, folder: Path) -> tuple[float, float]:
    """Returns the seconds to open the files of a recording, and those of an agent step in it.

    Both are 0 for an environment that cannot be recorded. Its run reports that.
    """
    render.logger.disabled = True  # a file that cannot be written is reported by the run, too
    try:
        _record(config, folder, 1)  # the first recording imports packages
        short = _record(config, folder, SHORT_RECORDING)
        long = _record(config, folder, LONG_RECORDING)
    except (Exception, SystemExit):  # the user's own environment may raise anything
        return 0.0, 0.0
    finally:
        render.logger.disabled = False
    step = max(long - short, 0.0) / (LONG_RECORDING - SHORT_RECORDING)
    return max(short - SHORT_RECORDING * step, 0.0), step


def _record(config: Config, folder: Path, steps: int) -> float:
    """Records random play, in as many episodes as needed, and returns the seconds that it takes."""
    random = np.random.default_rng(config.machine.seed)

    def show(game: Game, episode: Episode) -> Iterator[Screen]:
        """Yields the screens of random play."""
        observation, lives = game.reset(episode.seed)
        for _ in range(steps):
            outcome = game.step(int(random.integers(len(game.action_names))))
            yield Screen(game.screen(), outcome.frames, observation, None, 0.0, 0.0, lives)
            observation, lives = outcome.observation, outcome.lives
            if outcome.terminated or outcome.truncated:
                observation, lives = game.reset(episode.seed)

    episode = Episode(config.machine.seed, np.zeros(steps, np.uint8), 0.0, steps, False, 0)
    paths = {ending: folder / f"{steps}.{ending}" for ending in ENDINGS}
    began = time.monotonic()
    write_recordings(paths, config, episode, Rendering(show=show))
    return _since(began)


def _since(began: float) -> float:
    return time.monotonic() - began
