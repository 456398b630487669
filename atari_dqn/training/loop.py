"""The training loop: act, send, learn, receive, remember; and what happens every so many steps."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from atari_dqn.agent.agent import Agent
from atari_dqn.agent.exploration import Explorer
from atari_dqn.agent.export import save_network
from atari_dqn.agent.update_metrics import UpdateMetrics
from atari_dqn.backend.profiler import Trace
from atari_dqn.config.schema import Config
from atari_dqn.environments.environments import Environments, Step, make_games
from atari_dqn.environments.vector import VectorGame
from atari_dqn.errors import UserError
from atari_dqn.recording.episode_file import Origin
from atari_dqn.replay.factory import make_memory
from atari_dqn.replay.frame_files import FrameFiles
from atari_dqn.runs import checkpoint
from atari_dqn.runs.random_state import generator_from_array, generator_to_array
from atari_dqn.runs.signals import StopOnSignals, Stopped
from atari_dqn.training.episodes import EpisodeTracker
from atari_dqn.training.learner import Learning, Surprise
from atari_dqn.training.logs import RunLogs, cut_logs
from atari_dqn.training.periodic_evaluation import evaluate_shortly
from atari_dqn.training.stopwatch import Stopwatch

PARTS = ("act", "environment", "sample", "update", "log", "checkpoint", "evaluation")


class Training:
    """Deep Q-learning with several environments (Mnih et al. 2015, Algorithm 1).

    The emulators step in their own threads, the agent learns in another, and batches are drawn in a
    third. Timing decides
    nothing: the updates that are due see the memory as it was when the actions were chosen, their
    surprise counts from the draw after the next on, and an action waits for them only where they
    change the network that acts.

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
        self.config, self.run_directory, self.video_directory = (
            config,
            Path(run_directory),
            Path(video_directory),
        )
        self.show_progress = show_progress
        # Only here: one that is deleted while the run goes on is not made again.
        self.run_directory.mkdir(parents=True, exist_ok=True)
        settings, machine, count = config.training, config.machine, config.training.environments
        if games is None:
            cap, threads = config.environment.frame_cap, machine.environment_threads
            games = make_games(config.spec, config.environment, count, cap, threads)
        self.environments = Environments(
            games, config.environment, config.machine.seed, games.seed_steps
        )
        self.memory = make_memory(config, count, games.observation_shape, self.run_directory)
        self.agent = Agent(config, games.observation_shape, games.action_names)
        self.explorer = Explorer(
            config.exploration, settings.warmup_steps, count, self.agent.num_actions, machine.seed
        )
        self.steps, self.frames, self.advance = 0, 0, count  # the last: of one step
        self.reward_clip = config.agent.reward_clip or np.inf
        self.episodes, self.stopwatch = EpisodeTracker(count), Stopwatch(PARTS)
        self.trace, self.frame_files = (
            Trace(self.run_directory, machine.trace_updates),
            FrameFiles(self.run_directory),
        )
        self.stop = StopOnSignals()
        parts = (self.agent, self.memory, self.trace, self.stopwatch)
        self.learning = Learning(config, *parts, stopping=lambda: self.stop.requested)
        self.evaluated_at, self.evaluation = -1, float("nan")
        self.saved_at = -1
        self.observation: NDArray[Any] | None = None
        self.ran_to_the_end = False
        self.broken = False
        self.periodic: list[tuple[int, str, Callable[[], None]]] = [
            (settings.log_period, "log", self.log),
            # Before the evaluation, so that nothing that goes wrong with that costs what was
            # learned.
            (settings.checkpoint_period, "checkpoint", self.save),
            (settings.evaluation_period, "evaluation", self.evaluate),
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
        with closing(self.logs), closing(self.trace), closing(self.learning), self.stop:
            if self.observation is None:
                self.observation = self.environments.reset()
                self.memory.start(self.observation[:, -1])
            with suppress(Stopped):
                self.prepare(total)
                self.learning.go_on()
            with self.noticing_failures():
                while self.steps < total and self.learning.ready():
                    self.observation = self.step(self.observation)
                    for period, part, task in self.periodic:
                        if self.due(period):
                            self.learning.finish()
                            with self.stopwatch.part(part):
                                task()
                self.learning.leave()
            if self.saved_at != self.steps:
                with self.stopwatch.part("checkpoint"):
                    self.save()
            if self.config.training.evaluation_period and self.evaluated_at != self.steps:
                with self.stopwatch.part("evaluation"):
                    self.evaluate()
        evaluated = self.evaluated_at == self.steps or not self.config.training.evaluation_period
        self.ran_to_the_end = self.steps >= total and evaluated
        return self.ran_to_the_end

    @contextmanager
    def noticing_failures(self) -> Iterator[None]:
        """Context after whose failure this object cannot go on; the traceback of another error is
        kept.
        """
        try:
            yield
        except BaseException as error:
            self.broken = True
            if isinstance(error, UserError) and error.__cause__ is not None:
                self.logs.keep_traceback(f"step {self.steps}", error)
            raise

    def prepare(self, total: int) -> None:
        """Builds the graphs of updates, and makes up for an evaluation that a stop has cut short.

        Raises:
            Stopped: a stop was requested meanwhile.
        """
        learning_steps = total - max(self.steps, self.config.training.warmup_steps)
        if learning_steps > 0:
            with self.stopwatch.part("update"):
                self.learning.build_graphs(learning_steps, self.advance, self.stop)
        due = self.saved_at == self.steps and self.due(self.config.training.evaluation_period)
        if due and self.evaluated_at != self.steps:
            with self.stopwatch.part("evaluation"):
                self.evaluate()

    def due(self, period: int) -> bool:
        """Whether the last step completed a period of so many agent steps; 0 never comes due."""
        before = max(self.steps - self.advance, 0)
        return period > 0 and self.steps // period > before // period

    def step(self, observation: NDArray[Any]) -> NDArray[Any]:
        """One agent step in every environment, and the updates that are due; returns what to act on
        next.
        """
        if self.learning.changes_acting:
            self.learning.finish()
        count, draw = self.learning.draw(self.steps, self.advance)
        with self.stopwatch.part("act"):
            executed = self.environments.send(
                self.explorer.choose(self.agent, observation, self.steps, self.episodes.count)
            )
        self.learning.finish()
        self.learning.begin(count, draw)
        with self.stopwatch.part("environment"):
            step = self.environments.recv()
        with self.stopwatch.part("sample"):
            reward = np.clip(step.reward, -self.reward_clip, self.reward_clip)
            self.memory.add(
                executed,
                reward,
                step.discount,
                step.observation[:, -1],
                step.ended,
                step.current[:, -1],
            )
        if step.ended.any() and not self.config.agent.target_period_updates:
            self.learning.finish()
            self.agent.sync_target()
        with self.stopwatch.part("log"):
            self.count(step)
        return step.current

    def count(self, step: Step) -> None:
        """Advances the counters, and logs the episodes that ended."""
        self.steps += self.advance
        self.frames += int(step.frames.sum())
        self.logs.advance(self.advance)
        for row in self.episodes.add(self.steps, step.reward, step.frames, step.ended, step.seed):
            self.logs.episode(row)

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
            **UpdateMetrics.joined(self.learning.recent).means(),
            "resident_memory_mb": psutil.Process().memory_info().rss / 1e6,
            "replay_fill": len(self.memory) / self.config.replay.capacity,
            "wall_seconds": self.stopwatch.wall,
            **self.stopwatch.lap(self.steps),
            **self.more_metrics(),
        }
        self.learning.recent.clear()
        self.logs.metrics(self.steps, row)

    def more_metrics(self) -> dict[str, float]:
        """What other kinds of training have to say in a row of metrics."""
        return {}

    def check_finite(self) -> None:
        """Raises a UserError where the loss is no number any more: that is not worth saving."""
        if not np.isfinite(UpdateMetrics.joined(self.learning.recent)).all():
            wanted = f"a learning rate below {self.config.optimizer.learning_rate:g} may help"
            raise UserError(f"the loss is no number any more, near step {self.steps}; {wanted}")

    def evaluate(self) -> None:
        """A short evaluation under the protocol, and a recording of its median episode.

        What goes wrong with it is noted, and training goes on. A request to stop leaves it at once;
        it is made up for when the run is continued.
        """
        origin = Origin("training", self.run_directory.name, self.config.recipe, None, self.steps)
        try:
            self.evaluation = evaluate_shortly(
                self.agent, self.config, origin, self.video_directory, self.logs, self.stop
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
        checkpoint.save(
            self.run_directory, self.steps, self.arrays(), files, notes, self.frame_files.entries
        )
        checkpoint.prune(self.run_directory, self.config.training.keep_checkpoints)
        self.saved_at = self.steps

    def changing_notes(self) -> dict[str, Any]:
        """What a checkpoint notes that an evaluation at its step adds to."""
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
        """Everything that the rest of the run depends on, but the full blocks of frames."""
        parts = ("agent", "episodes", "environments", "memory", "learning")
        arrays = {
            f"{part}/{name}": array
            for part in parts
            for name, array in getattr(self, part).arrays().items()
        }
        return arrays | {
            "counters": np.array(
                [self.steps, self.frames, self.learning.steps_owed, self.evaluated_at]
            ),
            "evaluation": np.array(self.evaluation),
            "frame_files": self.frame_files.ends(),
            "recent": np.stack(UpdateMetrics.joined(self.learning.recent), axis=1),
            "random": generator_to_array(self.explorer.random),
            **{
                f"surprise/{name}": array
                for name, array in self.learning.surprise._asdict().items()
            },
        }

    def restore(self, stored: checkpoint.Checkpoint) -> bool:
        """Goes on where a checkpoint of the same settings was written.

        Returns:
            Whether the running episodes, played again, came to where they were, as they do in every
            Atari game.

        Raises:
            UserError: the checkpoint is of another environment, or is damaged.
        """
        with checkpoint.restoring(stored.path):
            positions = stored.notes["logs"]
            episodes = self.take_over_state(stored)
        # What goes wrong in here is the environment's fault, and not the checkpoint's.
        self.observation = self.environments.restore(episodes)
        cut_logs(self.run_directory, positions)
        return bool((self.observation[:, -1] == self.memory.newest_frames()).all())

    def take_over_state(self, stored: checkpoint.Checkpoint) -> dict[str, NDArray[Any]]:
        """Takes over all of a checkpoint but the running episodes, which are returned."""
        arrays, notes = stored.arrays, stored.notes
        of, here = (tuple(notes["observation_shape"]), tuple(notes["actions"])), self.environments
        if of != (here.observation_shape, here.action_names):
            raise UserError(
                f"'{stored.path}' is of another environment: observations and actions {of}"
            )
        episodes = here.checked(checkpoint.part(arrays, "environments"))
        shape = _of_files(stored, self.memory.num_envs)
        files = checkpoint.array(arrays, checkpoint.FRAME_FILES, shape, np.int64)
        counters = checkpoint.array(arrays, "counters", (4,), np.int64)
        recent = checkpoint.array(arrays, "recent", (None, len(UpdateMetrics._fields)), np.float64)
        place = checkpoint.array(arrays, "surprise/place", (None,), np.int64)
        size = checkpoint.array(arrays, "surprise/size", (len(place),), np.float32)
        self.evaluation = float(checkpoint.array(arrays, "evaluation", (), np.float64))
        self.agent.restore(checkpoint.part(arrays, "agent"))
        self.episodes.restore(checkpoint.part(arrays, "episodes"))
        self.frame_files.restore(stored.shared, files)
        self.memory.restore(checkpoint.part(arrays, "memory"), self.frame_files.read())
        self.steps, self.frames, self.learning.steps_owed, self.evaluated_at = counters.tolist()
        if notes["evaluation"] is not None:  # it was made after the arrays were written
            self.evaluation, self.evaluated_at = float(notes["evaluation"]), self.steps
        self.saved_at = self.steps
        self.learning.recent = [UpdateMetrics(*recent.T)]
        self.learning.surprise = Surprise(place, size)
        self.learning.restore(checkpoint.part(arrays, "learning"))
        generator_from_array(self.explorer.random, arrays["random"])
        self.stopwatch.restore(notes["time"])
        return episodes


def _of_files(stored: checkpoint.Checkpoint, num_envs: int) -> tuple[int, ...]:
    """The shape of the ends of a checkpoint's files of frames."""
    return (len(stored.shared), num_envs) if stored.shared else (0,)
