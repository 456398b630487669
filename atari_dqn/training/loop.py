"""The training loop (Mnih et al. 2015, Algorithm 1), and its periodic tasks.

``Training.step`` is one step of the algorithm. ``learner.py`` explains in which order its parts
run.
"""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
from numpy.typing import NDArray

from atari_dqn.agent.agent import Agent
from atari_dqn.agent.exploration import EnvironmentSlice, Explorer
from atari_dqn.agent.export import save_network
from atari_dqn.backend.profiler import Trace
from atari_dqn.config.schema import Config
from atari_dqn.console import waiting
from atari_dqn.environments.environments import Environments, Step, make_environments
from atari_dqn.environments.vector import VectorGame
from atari_dqn.errors import UserError
from atari_dqn.recording.episode_file import Origin
from atari_dqn.replay.factory import make_memory
from atari_dqn.replay.frame_files import FrameFiles
from atari_dqn.runs import checkpoint
from atari_dqn.runs.signals import StopOnSignals, Stopped
from atari_dqn.training.checkpoint_names import from_stored, to_stored
from atari_dqn.training.episodes import EpisodeTracker
from atari_dqn.training.learner import Instruments, Learner
from atari_dqn.training.logs import RunLogs, cut_logs
from atari_dqn.training.periodic_evaluation import evaluate_shortly
from atari_dqn.training.stopwatch import Stopwatch

PARTS = ("act", "environment", "sample", "update", "log", "checkpoint", "evaluation")


class PeriodicTask(NamedTuple):
    """A task that runs once in every period of agent steps."""

    period: int  # agent steps; with 0 the task never runs
    part: str  # the part of the stopwatch to which its time is charged, one of PARTS
    run: Callable[[], None]


class Training:
    """A training run of deep Q-learning with several environments.

    The emulators step in their own threads, while another thread makes updates and one more samples
    batches. The result does not depend on timing; ``learner.py`` explains why.

    Args:
        config: All settings.
        run_directory: Directory for checkpoints and logs. It is created.
        video_directory: Directory for recordings.
        games: ``training.environments`` games, or environments of them, or None to create the games
            that the settings select.
        show_progress: Whether to show the progress, in log lines if there is no terminal.

    Attributes:
        steps: Agent steps so far, in all environments together.
        frames: Emulator frames so far, in all environments together.
        evaluation: Mean score of the last evaluation, or NaN without one.
        ran_to_the_end: Whether ``run`` has completed the run.
        broken: Whether a step failed halfway, after which this object cannot go on.
    """

    def __init__(
        self,
        config: Config,
        run_directory: str | Path,
        video_directory: str | Path,
        games: VectorGame | Environments | None = None,
        show_progress: bool = False,
    ) -> None:
        self.config = config
        self.run_directory = Path(run_directory)
        self.video_directory = Path(video_directory)
        self.show_progress = show_progress
        # Nothing else creates the directory, so that deleting it during the run is an error.
        self.run_directory.mkdir(parents=True, exist_ok=True)
        count = config.training.environments
        seed = config.machine.seed
        if not isinstance(games, Environments):
            games = make_environments(config, games)
        self.environments = games
        shape = games.observation_shape
        self.memory = make_memory(config, count, shape, self.run_directory)
        self.agent = Agent(config, shape, games.action_names)
        self.explorer = Explorer(
            config.exploration,
            config.training.warmup_steps,
            EnvironmentSlice.all(count),
            self.agent.num_actions,
            seed,
        )
        self.stop = StopOnSignals()
        self.stopwatch = Stopwatch(PARTS)
        self.trace = Trace(self.run_directory, config.machine.trace_updates)
        self.learner = Learner(
            config,
            self.agent,
            self.memory,
            Instruments(self.stopwatch, self.trace),
            stopping=lambda: self.stop.requested,
        )
        self.episodes = EpisodeTracker(count)
        self.frame_files = FrameFiles(self.run_directory)
        self.reward_clip = config.agent.reward_clip or np.inf
        self.observation: NDArray[Any] | None = None
        self.steps = 0
        self.frames = 0
        self.advance = count  # agent steps made by the last call of ``step``
        self.usual_advance = count  # agent steps made by most calls of ``step``
        self.evaluation = float("nan")
        self.logged_at = 0  # agent steps at the last row of metrics
        self.evaluated_at = -1  # agent steps at the last evaluation
        self.saved_at = -1  # agent steps at the last checkpoint
        self.ran_to_the_end = False
        self.broken = False
        self.periodic_tasks = [
            PeriodicTask(config.training.log_period, "log", self.log),
            # Saving comes before evaluating, so that a failed evaluation loses nothing.
            PeriodicTask(config.training.checkpoint_period, "checkpoint", self.save),
            PeriodicTask(config.training.evaluation_period, "evaluation", self.evaluate),
        ]

    def run(self) -> bool:
        """Trains until the run is complete or a stop is requested, and saves a checkpoint.

        Ctrl-C, SIGTERM, SIGHUP and a closed standard error request a stop.

        Returns:
            Whether the run is complete.

        Raises:
            UserError: An earlier call failed in the middle of a step, the loss is not finite, or a
                file cannot be written.
        """
        if self.ran_to_the_end:
            return True
        if self.broken:
            advice = "make a new Training and restore the newest checkpoint"
            raise UserError(f"this training was interrupted in the middle of a step: {advice}")
        total = self.config.training.total_steps
        warmup = self.config.training.warmup_steps
        self.logs = RunLogs(
            self.run_directory, self.steps, total, warmup, show_progress=self.show_progress
        )
        self.logs.settings(self.steps, self.config.to_toml())
        self.logged_at = self.steps  # of steps before that, nothing is left to log
        with (
            self.stopwatch.running(self.steps),
            closing(self.logs),
            closing(self.trace),
            closing(self.learner),
            self.stop,
        ):
            with suppress(Stopped):
                self.prepare(total)
                self.learner.resume()
            if self.observation is None:
                with waiting("starting the games"):
                    self.observation = self.environments.reset()
                self.memory.start(self.observation[:, -1])
            with self.noticing_failures():
                while self.steps < total and self.wait_to_step():
                    self.observation = self.step(self.observation)
                    self.run_tasks_due()
                if self.steps < total:
                    self.learner.wait()
                else:  # a complete run has made all of its updates
                    self.learner.finish()
            complete = self.finish()
        self.ran_to_the_end = complete  # set only after all files are written and closed
        return complete

    def wait_to_step(self) -> bool:
        """Waits for the graphs of the network, unless the next step is one of the warm-up.

        Returns:
            Whether to go on; False if a stop was requested.
        """
        if self.steps >= self.config.training.warmup_steps:
            with suppress(Stopped):
                self.learner.wait_for_graphs(self.stop)
        return self.learner.wait_to_act()

    def step(self, observation: NDArray[Any]) -> NDArray[Any]:
        """Makes one agent step in every environment, and starts the updates that are due.

        Args:
            observation: Current observations (N, *observation_shape).

        Returns:
            Next observations (N, *observation_shape).
        """
        due = self.learner.prefetch(self.steps, self.advance)  # sampled in the background
        with self.stopwatch.part("act"):
            actions = self.explorer.choose(self.agent, observation, self.steps, self.episodes.count)
            executed = self.environments.send(actions)  # the emulators step ...
        self.learner.start(due)  # ... while the network learns
        with self.stopwatch.part("environment"):
            step = self.environments.recv()
        self.store(executed, step)
        if step.ended.any():
            self.learner.end_of_episode()
        self.count_step(step)
        return step.current

    def store(self, action: NDArray[np.int32], step: Step) -> None:
        """Stores a step and its executed actions (N,) in the replay memory."""
        with self.stopwatch.part("sample"):
            clipped_reward = np.clip(step.reward, -self.reward_clip, self.reward_clip)
            frame = step.observation[:, -1]
            first_frame = step.current[:, -1]
            self.memory.add(action, clipped_reward, step.discount, frame, step.ended, first_frame)

    def count_step(self, step: Step) -> None:
        """Advances the counters, and logs the episodes that ended."""
        with self.stopwatch.part("log"):
            self.steps += self.advance
            self.frames += int(step.frames.sum())
            self.logs.advance(self.advance)
            for episode in self.episodes.add(step.reward, step.frames, step.ended, step.seed):
                self.logs.episode(self.episodes.finish(self.steps, episode))

    def run_tasks_due(self) -> None:
        """Runs each periodic task whose period the last step completed."""
        for task in self.periodic_tasks:
            if self.due(task.period):
                with suppress(Stopped):
                    self.learner.wait_for_graphs(self.stop)
                self.learner.finish()
                with self.stopwatch.part(task.part):
                    task.run()

    def due(self, period: int) -> bool:
        """Returns whether the last step completed a period of agent steps; False for period 0."""
        before = max(self.steps - self.advance, 0)
        return period > 0 and self.steps // period > before // period

    def prepare(self, total: int) -> None:
        """Starts building the update graphs, and repeats an evaluation that a stop interrupted.

        The steps of the warm-up do not wait for the graphs, because their actions are random.

        Args:
            total: Agent steps of the whole run.

        Raises:
            Stopped: A stop was requested meanwhile.
        """
        learning_steps = total - max(self.steps, self.config.training.warmup_steps)
        if learning_steps > 0:
            self.learner.build_graphs(learning_steps, self.usual_advance, self.stop)
            if self.steps >= self.config.training.warmup_steps:
                self.learner.wait_for_graphs(self.stop)
        due = self.saved_at == self.steps and self.due(self.config.training.evaluation_period)
        if due and self.evaluated_at != self.steps:
            self.learner.wait_for_graphs(self.stop)
            with self.stopwatch.part("evaluation"):
                self.evaluate()

    def finish(self) -> bool:
        """Saves and evaluates after the last step, unless the periodic tasks have already done so.

        A complete run also logs the steps since its last row. That row comes after the checkpoint,
        so a longer run that continues from there does not have it.

        Returns:
            Whether the run is complete.
        """
        if self.saved_at != self.steps:
            with self.stopwatch.part("checkpoint"):
                self.save()
        evaluates = self.config.training.evaluation_period > 0
        if evaluates and self.evaluated_at != self.steps:
            with self.stopwatch.part("evaluation"):
                self.evaluate()
        evaluated = self.evaluated_at == self.steps or not evaluates
        complete = self.steps >= self.config.training.total_steps and evaluated
        if complete and self.logged_at != self.steps:
            with self.stopwatch.part("log"):
                self.log()
        return complete

    @contextmanager
    def noticing_failures(self) -> Iterator[None]:
        """Context that marks this training as broken if an exception is raised in it.

        If the exception is a UserError with a cause, its traceback goes to ``errors.log``.
        """
        try:
            yield
        except BaseException as error:
            self.broken = True
            if isinstance(error, UserError) and error.__cause__ is not None:
                self.logs.keep_traceback(f"step {self.steps:,}", error)
            raise

    def log(self) -> None:
        """Writes a row of metrics to all logs."""
        self.check_finite()
        row = {
            "steps": self.steps,
            "frames": self.frames,
            "updates": self.agent.updates,
            "episodes": self.episodes.count,
            "epsilon": self.explorer.epsilon(self.steps, self.episodes.count),
            "score": self.episodes.mean_score,
            "length": self.episodes.mean_length,
            **self.learner.metrics().means(),
            "resident_memory_mb": psutil.Process().memory_info().rss / 1e6,
            "replay_fill": len(self.memory) / self.config.replay.capacity,
            "wall_seconds": self.stopwatch.wall,
            **self.stopwatch.lap(self.steps),
            **self.more_metrics(),
        }
        self.learner.forget_metrics()
        self.logs.metrics(self.steps, row)
        self.logged_at = self.steps

    def more_metrics(self) -> dict[str, float]:
        """Returns the metrics that a subclass adds to each row."""
        return {}

    def check_finite(self) -> None:
        """Raises a UserError if the loss is no longer finite, so that no checkpoint is saved."""
        if not np.isfinite(self.learner.metrics()).all():
            rate = self.config.optimizer.learning_rate
            advice = f"a learning rate below {rate:g} may help"
            raise UserError(
                f"the loss is no longer a finite number, near step {self.steps:,}; {advice}"
            )

    def evaluate(self) -> None:
        """Runs a short evaluation under the protocol, and records the median episode.

        An error is logged, and training continues. A stop request ends the evaluation at once; it
        is repeated when the run is continued.
        """
        origin = Origin(
            "training", self.run_directory.name, self.config.versioned_recipe, None, self.steps
        )
        try:
            self.evaluation = evaluate_shortly(
                self.agent, origin, self.video_directory, self.logs, self.stop
            )
        except Stopped:
            return
        except (Exception, SystemExit) as error:  # the user's own environment may raise anything
            self.evaluation = float("nan")
            self.logs.failure(f"step {self.steps:,}: no evaluation", error)
        self.evaluated_at = self.steps
        if self.saved_at == self.steps:
            try:
                self.note_evaluation()
            except UserError as error:
                self.logs.failure(
                    f"step {self.steps:,}: the checkpoint lacks the evaluation's score", error
                )

    def save(self) -> None:
        """Writes a checkpoint, and deletes old ones beyond ``training.keep_checkpoints``."""
        self.check_finite()
        with waiting("saving a checkpoint"):
            self._save()

    def _save(self) -> None:
        self.frame_files.write(f"{self.steps:09d}.npz", self.memory)
        notes = {
            "keep": self.due(self.config.training.keep_period),
            "observation_shape": self.environments.observation_shape,
            "actions": self.environments.action_names,
            **self.changing_notes(),
        }
        files: dict[str, Callable[[Path], Any]] = {
            "network.keras": lambda path: save_network(self.agent, path),
            "config.toml": lambda path: path.write_text(self.config.to_toml(), encoding="utf-8"),
        }
        contents = checkpoint.Contents(self.arrays(), files, notes, self.frame_files.entries)
        checkpoint.save(self.run_directory, self.steps, contents)
        checkpoint.prune(self.run_directory, self.config.training.keep_checkpoints)
        self.saved_at = self.steps

    def changing_notes(self) -> dict[str, Any]:
        """Returns those notes of a checkpoint that change after an evaluation at the same step."""
        known = self.evaluated_at == self.steps and np.isfinite(self.evaluation)
        return {
            "evaluation": self.evaluation if known else None,
            "logs": self.logs.positions(),
            "time": self.stopwatch.state(),
        }

    def note_evaluation(self) -> None:
        """Adds the evaluation at the current step to the notes of this step's checkpoint."""
        path = checkpoint.directory_of(self.run_directory, self.steps)
        checkpoint.add_notes(path, self.changing_notes())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns the state that a checkpoint stores in ``arrays.npz``, by stored name.

        It excludes full blocks of frames, which are in separate files.
        """
        own = {
            "steps": np.array(self.steps),
            "frames": np.array(self.frames),
            "evaluated_at": np.array(self.evaluated_at),
            "evaluation": np.array(self.evaluation),
        }
        stored = to_stored(
            {
                "agent": self.agent.arrays(),
                "episodes": self.episodes.arrays(),
                "environments": self.environments.arrays(),
                "memory": self.memory.arrays(),
                "learner": self.learner.arrays(),
                "explorer": self.explorer.arrays(),
                "loop": own,
            }
        )
        return stored | {checkpoint.FRAME_FILES: self.frame_files.ends()}

    def restore(self, stored: checkpoint.Checkpoint) -> bool:
        """Restores the state of a checkpoint that was written with the same settings.

        Returns:
            Whether replaying the episodes in progress reproduced their last frames. This is so for
            every Atari game.

        Raises:
            UserError: The checkpoint belongs to another environment, or is damaged.
        """
        with checkpoint.restoring(stored.path):
            positions = stored.notes["logs"]
            episodes = self._restore_state(stored)
        # Later errors come from the environment, so they are not reported as a damaged checkpoint.
        self.observation = self.environments.restore(episodes)
        cut_logs(self.run_directory, positions)
        return bool((self.observation[:, -1] == self.memory.newest_frames()).all())

    def _restore_state(self, stored: checkpoint.Checkpoint) -> dict[str, NDArray[Any]]:
        """Restores everything except the episodes in progress, and returns their arrays."""
        notes = stored.notes
        environment = (tuple(notes["observation_shape"]), tuple(notes["actions"]))
        if environment != (self.environments.observation_shape, self.environments.action_names):
            what = f"observations and actions {environment}"
            raise UserError(f"'{stored.path}' belongs to another environment: {what}")
        arrays = from_stored(stored.arrays)
        episodes = self.environments.validated(checkpoint.part(arrays, "environments"))
        ends_shape = (len(stored.shared), self.memory.num_envs) if stored.shared else (0,)
        ends = checkpoint.array(arrays, checkpoint.FRAME_FILES, ends_shape, np.int64)
        evaluation = float(checkpoint.array(arrays, "loop/evaluation", (), np.float64))
        self.learner.restore(checkpoint.part(arrays, "learner"))
        self.agent.restore(checkpoint.part(arrays, "agent"))
        self.episodes.restore(checkpoint.part(arrays, "episodes"))
        self.frame_files.restore(stored.shared, ends)
        files = len(self.frame_files.entries)
        with waiting("reading the replay memory", files) as advance:
            self.memory.restore(checkpoint.part(arrays, "memory"), self.frame_files.read(advance))
        self.explorer.restore(checkpoint.part(arrays, "explorer"))
        self.stopwatch.restore(notes["time"])
        self.steps = int(arrays["loop/steps"])
        self.frames = int(arrays["loop/frames"])
        self.evaluated_at = int(arrays["loop/evaluated_at"])
        self.evaluation = evaluation
        if notes["evaluation"] is not None:  # this evaluation ran after the arrays were written
            self.evaluation = float(notes["evaluation"])
            self.evaluated_at = self.steps
        self.saved_at = self.steps
        return episodes
