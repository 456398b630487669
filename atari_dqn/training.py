"""The training loop: act, send, learn, receive, remember; and what happens every so many steps."""

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from atari_dqn import checkpoint
from atari_dqn.agent import Agent, UpdateMetrics
from atari_dqn.environments import Environments, Step, VectorGame, make_games
from atari_dqn.errors import UserError
from atari_dqn.evaluation import evaluate
from atari_dqn.exploration import epsilon_greedy, linear_schedule
from atari_dqn.interruption import StopOnSignals
from atari_dqn.metrics import EpisodeTracker, RunLogs, cut_logs
from atari_dqn.random_state import generator_from_array, generator_to_array
from atari_dqn.recording import write_recording
from atari_dqn.replay import FrameFiles, ReplayMemory
from atari_dqn.settings import Config


class Training:
    """Deep Q-learning with several environments (Mnih et al. 2015, Algorithm 1).

    The emulators step in their own threads while the agent learns. The order is fixed, so that timing decides nothing:
    actions are sent, the updates that are due see the memory as it was before, then the answers are received and stored.

    Args:
        config: all settings.
        run_directory: where checkpoints and logs go.
        video_directory: where recordings go.
        games: the emulators, or None for those that the settings name.
    """

    def __init__(self, config: Config, run_directory: Path, video_directory: Path, games: VectorGame | None = None) -> None:
        self.config, self.run_directory, self.video_directory = config, run_directory, video_directory
        settings = config.training
        count, threads = settings.environments, config.machine.environment_threads
        games = games or make_games(config.spec, config.environment, count, config.environment.frame_cap, threads)
        self.environments = Environments(games, config.environment, config.machine.seed)
        stack, *frame_shape = games.observation_shape
        self.memory = ReplayMemory(
            config.replay.capacity,
            games.num_envs,
            tuple(frame_shape),
            stack=stack,
            n_step=config.agent.n_step,
            gamma=config.agent.gamma,
            seed=config.machine.seed,
            storage=config.replay.storage,
            directory=run_directory,
        )
        self.agent = Agent(config, games.observation_shape, games.action_names)
        self.random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([config.machine.seed, *b"exploration"])))
        self.episodes = EpisodeTracker(games.num_envs)
        self.steps = self.frames = self.steps_owed = 0
        self.wall_seconds = 0.0
        self.recent: list[UpdateMetrics] = []
        self.evaluated_at, self.evaluation = -1, float("nan")
        self.frame_files = FrameFiles(run_directory)
        self.observation: NDArray[np.uint8] | None = None
        self.periodic: list[tuple[int, Callable[[], None]]] = [
            (settings.log_period, self.log),
            (settings.evaluation_period, self.evaluate),
            (settings.checkpoint_period, self.save),
        ]

    def run(self) -> bool:
        """Trains until the settings' total of agent steps, or until Ctrl-C or SIGTERM, and leaves a checkpoint either way.

        Returns:
            Whether the run is complete.
        """
        total = self.config.training.total_steps
        self.logs = RunLogs(self.run_directory, self.steps, total)
        self.clock_start = time.monotonic() - self.wall_seconds
        self.last_log = (time.monotonic(), self.steps)
        with closing(self.logs), StopOnSignals() as stop:
            if self.observation is None:
                self.observation = self.environments.reset()
                self.memory.start(self.observation[:, -1])
            while self.steps < total and not stop.requested:
                self.observation = self.step(self.observation)
                for period, task in self.periodic:
                    if self.due(period):
                        task()
            if self.config.training.evaluation_period and not stop.requested and self.evaluated_at != self.steps:
                self.evaluate()
            self.save()
        return self.steps >= total

    def due(self, period: int) -> bool:
        """Whether the last step completed a period of so many agent steps; 0 never comes due."""
        return period > 0 and self.steps // period > (self.steps - self.environments.count) // period

    def step(self, observation: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """One agent step in every environment, and the updates that are due; returns what to act on next."""
        executed = self.environments.send(self.act(observation))
        self.learn()
        step = self.environments.recv()
        clip = self.config.agent.reward_clip or np.inf
        reward = np.clip(step.reward, -clip, clip)
        self.memory.add(executed, reward, step.discount, step.observation[:, -1], step.ended, step.current[:, -1])
        self.count(step)
        return step.current

    def act(self, observation: NDArray[np.uint8]) -> NDArray[np.int32]:
        """Epsilon-greedy actions, uniformly random ones during the warm-up."""
        warming_up = self.steps < self.config.training.warmup_steps
        greedy = np.zeros(len(observation), np.int32) if warming_up else self.agent.act(observation)
        return epsilon_greedy(greedy, 1.0 if warming_up else self.epsilon, self.agent.num_actions, self.random)

    def learn(self) -> None:
        """One update for every ``update_period`` agent steps since learning began, whatever the number of environments."""
        settings = self.config.training
        if self.steps < settings.warmup_steps or not self.memory.can_sample():
            return
        self.steps_owed += self.environments.count
        while self.steps_owed >= settings.update_period:
            self.steps_owed -= settings.update_period
            self.recent.append(self.agent.update(self.memory.sample(self.config.agent.batch_size)))

    @property
    def epsilon(self) -> float:
        """Probability of a random action now."""
        settings = self.config.exploration
        begin = self.config.training.warmup_steps
        return linear_schedule(self.steps, settings.epsilon_start, settings.epsilon_end, begin, settings.decay_steps)

    def count(self, step: Step) -> None:
        """Advances the counters, and logs the episodes that ended."""
        self.steps += self.environments.count
        self.frames += int(step.frames.sum())
        self.logs.progress.advance(self.environments.count)
        for row in self.episodes.add(self.steps, step.reward, step.frames, step.ended, step.seed):
            self.logs.episode(row)

    def log(self) -> None:
        """Writes a row of metrics everywhere."""
        self.check_finite()
        now = time.monotonic()
        steps_per_second = (self.steps - self.last_log[1]) / (now - self.last_log[0])
        self.last_log = (now, self.steps)
        learnt = np.array(self.recent or [UpdateMetrics.none()], np.float64).mean(axis=0)
        self.recent.clear()
        row = {
            "steps": self.steps,
            "frames": self.frames,
            "updates": self.agent.updates,
            "episodes": self.episodes.count,
            "epsilon": self.epsilon,
            "score": self.episodes.mean_score,
            "length": self.episodes.mean_length,
            **dict(zip(UpdateMetrics._fields, learnt.tolist(), strict=True)),
            "steps_per_second": steps_per_second,
            "resident_memory_mb": psutil.Process().memory_info().rss / 1e6,
            "replay_fill": len(self.memory) / self.config.replay.capacity,
            "wall_seconds": now - self.clock_start,
        }
        self.logs.metrics(self.steps, row)

    def check_finite(self) -> None:
        """Raises a UserError where the loss is no number any more: that is not worth saving."""
        if not np.isfinite(np.array(self.recent, np.float64)).all():
            rate = self.config.optimizer.learning_rate
            raise UserError(f"the loss is no number any more, near step {self.steps}; a learning rate below {rate:g} may help")

    def evaluate(self) -> None:
        """A short evaluation under the protocol, and a recording of its median episode."""
        seed = self.config.machine.seed + self.steps
        result = evaluate(self.agent.act, self.config, seed=seed, episodes=self.config.training.evaluation_episodes)
        episode, numbers = result.representative(), result.statistics()
        path = self.video_directory / f"step-{self.steps:09d}-score-{episode.score:g}.gif"
        write_recording(path, self.config, episode)
        note = f"step {self.steps}: evaluation mean {numbers['mean']:.2f} over {numbers['episodes']} episodes; recorded {path}"
        self.logs.evaluation(self.steps, {name: numbers[name] for name in ("mean", "median", "min", "max")}, note)
        self.evaluated_at, self.evaluation = self.steps, numbers["mean"]

    def save(self) -> None:
        """Writes a checkpoint and deletes the oldest beyond those to keep."""
        self.check_finite()
        self.wall_seconds = time.monotonic() - self.clock_start
        self.frame_files.write(f"{self.steps:09d}.npz", self.memory)
        notes = {
            "keep": self.due(self.config.training.keep_period),
            "evaluation": self.evaluation if self.evaluated_at == self.steps else None,
            "logs": self.logs.positions(),
            "wall_seconds": self.wall_seconds,
            "observation_shape": self.environments.observation_shape,
            "actions": self.environments.action_names,
        }
        files: dict[str, Callable[[Path], Any]] = {
            "network.keras": self.agent.online.save,
            "config.toml": lambda path: path.write_text(self.config.to_toml(), encoding="utf-8"),
        }
        checkpoint.save(self.run_directory, self.steps, self.arrays(), files, notes, self.frame_files.entries)
        checkpoint.prune(self.run_directory, self.config.training.keep_checkpoints)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that the rest of the run depends on, but the full blocks of frames."""
        parts = ("agent", "episodes", "environments", "memory")
        arrays = {f"{part}/{name}": array for part in parts for name, array in getattr(self, part).arrays().items()}
        return arrays | {
            "counters": np.array([self.steps, self.frames, self.steps_owed, self.evaluated_at]),
            "evaluation": np.array(self.evaluation),
            "frame_files": self.frame_files.ends(),
            "recent": np.array(self.recent, np.float64).reshape(-1, len(UpdateMetrics._fields)),
            "random": generator_to_array(self.random),
        }

    def restore(self, stored: checkpoint.Checkpoint) -> bool:
        """Goes on where a checkpoint of the same settings was written.

        Returns:
            Whether the running episodes, played again, came to where they were, as they do in every Atari game.
        """
        arrays, notes = stored.arrays, stored.notes
        of, here = (tuple(notes["observation_shape"]), tuple(notes["actions"])), self.environments
        if of != (here.observation_shape, here.action_names):
            raise UserError(f"'{stored.path}' is of another environment: observations and actions {of}")
        self.agent.restore(checkpoint.part(arrays, "agent"))
        self.episodes.restore(checkpoint.part(arrays, "episodes"))
        self.frame_files.restore(stored.shared, arrays["frame_files"])
        self.memory.restore(checkpoint.part(arrays, "memory"), self.frame_files.read())
        self.steps, self.frames, self.steps_owed, self.evaluated_at = (int(number) for number in arrays["counters"])
        self.evaluation = float(arrays["evaluation"])
        self.recent = [UpdateMetrics(*row) for row in arrays["recent"].tolist()]
        generator_from_array(self.random, arrays["random"])
        self.observation = self.environments.restore(checkpoint.part(arrays, "environments"))
        self.wall_seconds = notes["wall_seconds"]
        cut_logs(self.run_directory, notes["logs"])
        return bool((self.observation[:, -1] == self.memory.newest_frames()).all())
