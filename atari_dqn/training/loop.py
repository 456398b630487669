"""The training loop (Mnih et al. 2015, Algorithm 1), and what happens at intervals.

``Training.step`` is one step of the algorithm; ``learner.py`` says what waits for what in it.
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
from atari_dqn.environments.environments import Environments, Step, make_games
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
    """Something that is done every so many agent steps."""

    period: int  # agent steps; 0: never
    part: str  # what its time counts as
    run: Callable[[], None]


class Training:
    """Deep Q-learning with several environments.

    The emulators step in their own threads, the agent learns in another, and batches are sampled
    in a third. Timing decides nothing: ``Learner`` says why.

    Args:
        config: all settings.
        run_directory: where checkpoints and logs go; it is made.
        video_directory: where recordings go.
        games: the emulators of ``training.environments`` games, or None for those that the settings
            name.
        show_progress: whether a progress bar, or a line now and then, is shown.
    """

    def __init__(
        self,
        config: Config,
        run_directory: str | Path,
        video_directory: str | Path,
        games: VectorGame | None = None,
        show_progress: bool = False,
    ) -> None:
        self.config = config
        self.run_directory = Path(run_directory)
        self.video_directory = Path(video_directory)
        self.show_progress = show_progress
        # Made only here: a directory deleted during the run must be noticed, not made again.
        self.run_directory.mkdir(parents=True, exist_ok=True)
        count = config.training.environments
        seed = config.machine.seed
        if games is None:
            cap = config.environment.frame_cap
            threads = config.machine.environment_threads
            games = make_games(config.spec, config.environment, count, cap, threads)
        self.environments = Environments(games, config.environment, seed, games.seed_steps)
        self.memory = make_memory(config, count, games.observation_shape, self.run_directory)
        self.agent = Agent(config, games.observation_shape, games.action_names)
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
        self.steps = 0  # agent steps so far
        self.frames = 0  # emulator frames so far
        self.advance = count  # agent steps made by the last call of ``step``
        self.usual_advance = count  # by most of them
        self.evaluation = float("nan")  # mean score of the last evaluation
        self.evaluated_at = -1  # agent steps then
        self.saved_at = -1  # agent steps at the last checkpoint
        self.ran_to_the_end = False
        self.broken = False
        self.periodic_tasks = [
            PeriodicTask(config.training.log_period, "log", self.log),
            # Before the evaluation: one that fails must not cost what was learned.
            PeriodicTask(config.training.checkpoint_period, "checkpoint", self.save),
            PeriodicTask(config.training.evaluation_period, "evaluation", self.evaluate),
        ]

    def run(self) -> bool:
        """Trains to the settings' total, or until a stop is requested, and leaves a checkpoint.

        A stop is requested by Ctrl-C, SIGTERM, SIGHUP, or a reader of standard error that goes
        away.

        Returns:
            Whether the run is complete.
        """
        if self.ran_to_the_end:
            return True
        if self.broken:
            advice = "make a new Training and restore the newest checkpoint"
            raise UserError(f"this training was ended in the middle of a step: {advice}")
        total = self.config.training.total_steps
        self.logs = RunLogs(self.run_directory, self.steps, total, show_progress=self.show_progress)
        self.logs.settings(self.steps, self.config.to_toml())
        self.stopwatch.start(self.steps)
        with closing(self.logs), closing(self.trace), closing(self.learner), self.stop:
            if self.observation is None:
                self.observation = self.environments.reset()
                self.memory.start(self.observation[:, -1])
            with suppress(Stopped):
                self.prepare(total)
                self.learner.resume()
            with self.noticing_failures():
                while self.steps < total and self.learner.wait_to_act():
                    self.observation = self.step(self.observation)
                    self.run_tasks_due()
                if self.steps < total:
                    self.learner.pause()
                else:  # a run that is complete has made all of its updates
                    self.learner.finish()
            complete = self.finish()
        self.ran_to_the_end = complete  # and all of it is written and closed
        return complete

    def step(self, observation: NDArray[Any]) -> NDArray[Any]:
        """Makes one agent step in every environment, and starts the updates that are due.

        Args:
            observation: (N, *observation_shape) what to act on.

        Returns:
            What to act on next, (N, *observation_shape).
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
        """Stores what the actions (N,) led to in the replay memory."""
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
        """Logs, saves and evaluates, each where its period has come to an end."""
        for task in self.periodic_tasks:
            if self.due(task.period):
                self.learner.finish()
                with self.stopwatch.part(task.part):
                    task.run()

    def due(self, period: int) -> bool:
        """Returns whether the last step completed a period of agent steps; 0 never comes due."""
        before = max(self.steps - self.advance, 0)
        return period > 0 and self.steps // period > before // period

    def prepare(self, total: int) -> None:
        """Builds the graphs of updates, and makes up for an evaluation that a stop has cut short.

        Raises:
            Stopped: a stop was requested meanwhile.
        """
        learning_steps = total - max(self.steps, self.config.training.warmup_steps)
        if learning_steps > 0:
            with self.stopwatch.part("update"):
                self.learner.build_graphs(learning_steps, self.usual_advance, self.stop)
        due = self.saved_at == self.steps and self.due(self.config.training.evaluation_period)
        if due and self.evaluated_at != self.steps:
            with self.stopwatch.part("evaluation"):
                self.evaluate()

    def finish(self) -> bool:
        """Saves and evaluates after the last step, unless its periods have just come to an end.

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
        return self.steps >= self.config.training.total_steps and evaluated

    @contextmanager
    def noticing_failures(self) -> Iterator[None]:
        """Marks this training as broken if the block fails, and keeps the cause's traceback."""
        try:
            yield
        except BaseException as error:
            self.broken = True
            if isinstance(error, UserError) and error.__cause__ is not None:
                self.logs.keep_traceback(f"step {self.steps}", error)
            raise

    def log(self) -> None:
        """Writes a row of metrics everywhere."""
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

    def more_metrics(self) -> dict[str, float]:
        """Returns metrics that only another kind of training has."""
        return {}

    def check_finite(self) -> None:
        """Raises a UserError where the loss is not a number any more: that is not worth saving."""
        if not np.isfinite(self.learner.metrics()).all():
            rate = self.config.optimizer.learning_rate
            advice = f"a learning rate below {rate:g} may help"
            raise UserError(f"the loss is no number any more, near step {self.steps}; {advice}")

    def evaluate(self) -> None:
        """Evaluates shortly under the protocol, and records the median episode.

        What goes wrong with it is noted, and training goes on. A request to stop leaves it at once;
        it is made up for when the run is continued.
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
        except (Exception, SystemExit) as error:  # an environment of the user's may do anything
            self.evaluation = float("nan")
            self.logs.failure(f"step {self.steps}: no evaluation", error)
        self.evaluated_at = self.steps
        if self.saved_at == self.steps:
            try:
                self.note_evaluation()
            except UserError as error:
                self.logs.failure(f"step {self.steps}: no note of the evaluation", error)

    def save(self) -> None:
        """Writes a checkpoint and deletes the oldest beyond those to keep."""
        self.check_finite()
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
        """Returns the notes of a checkpoint to which an evaluation at its step adds."""
        known = self.evaluated_at == self.steps and np.isfinite(self.evaluation)
        return {
            "evaluation": self.evaluation if known else None,
            "logs": self.logs.positions(),
            "time": self.stopwatch.state(),
        }

    def note_evaluation(self) -> None:
        """Adds the evaluation to the notes of the checkpoint that was written at this step."""
        path = checkpoint.directory_of(self.run_directory, self.steps)
        checkpoint.add_notes(path, self.changing_notes())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns the state that a checkpoint stores, except full blocks of frames."""
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
        """Goes on where a checkpoint of the same settings was written.

        Returns:
            Whether replaying the running episodes reproduced their last frames, as it does in every
            Atari game.

        Raises:
            UserError: the checkpoint is of another environment, or is damaged.
        """
        with checkpoint.restoring(stored.path):
            positions = stored.notes["logs"]
            episodes = self._restore_state(stored)
        # What goes wrong in here is the environment's fault, and not the checkpoint's.
        self.observation = self.environments.restore(episodes)
        cut_logs(self.run_directory, positions)
        return bool((self.observation[:, -1] == self.memory.newest_frames()).all())

    def _restore_state(self, stored: checkpoint.Checkpoint) -> dict[str, NDArray[Any]]:
        """Restores all of a checkpoint but the running episodes, which are returned."""
        notes = stored.notes
        environment = (tuple(notes["observation_shape"]), tuple(notes["actions"]))
        if environment != (self.environments.observation_shape, self.environments.action_names):
            what = f"observations and actions {environment}"
            raise UserError(f"'{stored.path}' is of another environment: {what}")
        arrays = from_stored(stored.arrays)
        episodes = self.environments.validated(checkpoint.part(arrays, "environments"))
        ends_shape = (len(stored.shared), self.memory.num_envs) if stored.shared else (0,)
        ends = checkpoint.array(arrays, checkpoint.FRAME_FILES, ends_shape, np.int64)
        evaluation = float(checkpoint.array(arrays, "loop/evaluation", (), np.float64))
        self.learner.restore(checkpoint.part(arrays, "learner"))
        self.agent.restore(checkpoint.part(arrays, "agent"))
        self.episodes.restore(checkpoint.part(arrays, "episodes"))
        self.frame_files.restore(stored.shared, ends)
        self.memory.restore(checkpoint.part(arrays, "memory"), self.frame_files.read())
        self.explorer.restore(checkpoint.part(arrays, "explorer"))
        self.stopwatch.restore(notes["time"])
        self.steps = int(arrays["loop/steps"])
        self.frames = int(arrays["loop/frames"])
        self.evaluated_at = int(arrays["loop/evaluated_at"])
        self.evaluation = evaluation
        if notes["evaluation"] is not None:  # it was made after the arrays were written
            self.evaluation = float(notes["evaluation"])
            self.evaluated_at = self.steps
        self.saved_at = self.steps
        return episodes
