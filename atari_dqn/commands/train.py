"""What the commands that train and list do. TensorFlow is imported only by those that need it."""

import argparse
import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from atari_dqn.bootstrap import INTERRUPTED
from atari_dqn.commands.requests import paths_of, settings_of, start_tensorflow, video_directory
from atari_dqn.config.document import as_markdown, as_toml
from atari_dqn.config.schema import Config
from atari_dqn.console import say, say_notes
from atari_dqn.errors import UserError
from atari_dqn.games import ids as games
from atari_dqn.runs import checkpoint
from atari_dqn.runs.circumstances import write_circumstances
from atari_dqn.runs.continuation import for_this_machine, merge, notes_on_speed, own_config
from atari_dqn.runs.directory import check_writable, choose, claimed, stored_arguments, unfinished
from atari_dqn.runs.lock import held
from atari_dqn.training.stopwatch import shares

if TYPE_CHECKING:
    from atari_dqn.training.loop import Training


def train(options: argparse.Namespace) -> int:
    """Starts a run, or continues one."""
    kwargs = stored_arguments(Path(options.root), games.identify(options.game).id, options.run_dir)
    config, notes, given = settings_of(options, kwargs)
    config = for_this_machine(config)
    if options.address and not config.machine.actors:
        raise UserError("--address is of the Ray cluster that actors run on: it wants --actors N")
    chosen = choose(Path(options.root), config, options.run_dir)
    new_or_named = claimed(chosen) if options.run_dir is None else nullcontext(chosen)
    with new_or_named as directory, held(directory):
        videos = video_directory(options, config, directory.name)
        check_writable(videos)
        stored = _newest_sound(checkpoint.in_run(directory))
        if stored is not None:
            if options.init_from:
                raise UserError(
                    f"'{directory}' has begun already, so --init-from comes too late; choose another run directory"
                )
            own, differing = own_config(directory, stored.path)
            notes += differing
            config = merge(own, config, given)
            evaluated = (
                stored.notes.get("evaluation") is not None or not config.training.evaluation_period
            )
            if stored.step >= config.training.total_steps and evaluated:
                print(
                    f"{directory} is complete: {stored.step} agent steps; a larger number of steps extends it"
                )
                return 0
        elif options.run_dir is None and (others := unfinished(directory.parent)):
            notes.append(
                f"this is a new run; {others[-1]} is unfinished, and RUN={others[-1].name} (--run-dir) continues it"
            )
        origin = checkpoint.find(Path(options.init_from)) if options.init_from else None
        notes += notes_on_speed(config)
        say_notes(notes)
        say(_describe_game(config), f"run directory: {directory}")
        with _games_elsewhere(config, options.address):
            return _train(config, directory, videos, stored, origin)


@contextmanager
def _games_elsewhere(config: Config, address: str | None) -> Iterator[None]:
    """Ray, where a run has actors."""
    if not config.machine.actors:
        yield
        return
    from atari_dqn.distributed.ray_cluster import connect

    ray = connect(address, "training with actors", config.machine.actors)
    try:
        yield
    finally:
        ray.shutdown()


def _newest_sound(saved: list[Path]) -> checkpoint.Checkpoint | None:
    """The newest of a run's checkpoints from which it can go on; None if there are none at all.

    Raises:
        UserError: all are damaged or hold no more than an agent.
    """
    for path in reversed(saved):
        try:
            stored = checkpoint.load(path)
            _check_whole(stored)
            return stored
        except UserError as error:
            if path == saved[0]:
                raise
            say_notes([f"{error}; the checkpoint before it is used"])
    return None


def _check_whole(stored: checkpoint.Checkpoint) -> None:
    """Raises a UserError for a checkpoint that holds only an agent."""
    if stored.agent_only or "counters" not in stored.arrays:
        wanted = "INIT_FROM= (--init-from) begins another run with its weights"
        raise UserError(
            f"'{stored.path}' holds an agent and nothing to continue its run with; {wanted}"
        )


def _train(
    config: Config,
    directory: Path,
    videos: Path,
    stored: checkpoint.Checkpoint | None,
    origin: Path | None,
) -> int:
    """Trains from a run's own checkpoint, from the weights of another's, or from nothing."""
    start_tensorflow(config)
    from atari_dqn.agent.pretrained import load_agent, start_from
    from atari_dqn.training.logs import cut_logs
    from atari_dqn.training.loop import Training

    training = (
        _with_actors(config, directory, videos)
        if config.machine.actors
        else Training(config, directory, videos)
    )
    if origin is not None:
        everything = start_from(training.agent, load_agent(origin))
        say(
            f"weights from {origin}"
            + ("" if everything else "; the output layers start anew: the actions differ")
        )
    say_notes(write_circumstances(directory, config))
    kept = {"memory": "raw in memory", "compressed": "packed in memory", "disk": "raw in a file"}[
        training.memory.storage
    ]
    say(f"replay memory: {config.replay.capacity} frames, {kept}")
    if stored is not None:
        exact = training.restore(stored)
        say(f"continuing at step {training.steps}")
        if not exact:
            say_notes(
                [
                    "the running episodes could not be repeated exactly; they go on from where they came to"
                ]
            )
    else:
        cut_logs(directory, {})
    training.agent.online.weights.summary(print_fn=say, line_length=90)
    complete = training.run()
    run = directory.as_posix() if len(directory.parts) > 1 else f"./{directory}"
    if not complete:
        say(
            f"interrupted at step {training.steps} of {config.training.total_steps} and saved; to continue:"
        )
        say(
            f"  make train GAME={config.game} RUN={run}",
            f"  atari-dqn train --game {config.game} --run-dir {run}",
        )
        return INTERRUPTED
    score, seconds = training.episodes.mean_score, training.stopwatch.wall
    scored = (
        f"mean score of the last 100 episodes {score:.2f}"
        if training.episodes.count
        else "no episode has ended yet"
    )
    print(f"complete: {training.steps} agent steps in {seconds:.0f} s, {scored}")
    spent = shares(training.stopwatch.seconds, seconds)
    print("time:", ", ".join(f"{name} {share:.1%}" for name, share in spent.items()))
    print(f"checkpoint: {checkpoint.find(directory)}")
    return 0


def _with_actors(config: Config, directory: Path, videos: Path) -> "Training":
    from atari_dqn.distributed.learner import DistributedTraining

    return DistributedTraining(config, directory, videos)


def list_games(options: argparse.Namespace) -> int:
    """Lists every game and the ids it answers to."""
    for rom in games.single_player_roms():
        print(f"{rom:<18} {'  '.join(games.ids_of(rom))}")
    return 0


def show_config(options: argparse.Namespace) -> int:
    """Prints every setting of a recipe with its value, meaning, unit and source."""
    config, _, _ = settings_of(options)
    print(as_markdown(config) if options.markdown else as_toml(config), end="")
    return 0


def plot(options: argparse.Namespace) -> int:
    """Draws the learning curves of runs."""
    from atari_dqn.report.learning_curves import plot_runs

    check_writable(Path(options.out).parent)
    for path in plot_runs(paths_of(options.runs), Path(options.out)):
        print(path)
    return 0


def digest(options: argparse.Namespace) -> int:
    """Prints a SHA-256 over everything that a continued run depends on."""
    import numpy as np

    from atari_dqn.replay.frame_files import FrameFiles

    stored = checkpoint.load(Path(options.checkpoint))
    _check_whole(stored)
    # How frames are spread over files depends on when checkpoints were written; nothing else does.
    arrays = {name: array for name, array in stored.arrays.items() if name != "frame_files"}
    files = FrameFiles(stored.path.parent)
    with checkpoint.restoring(stored.path):
        added = checkpoint.array(arrays, "memory/added", (None,), np.int64)
        actions = checkpoint.array(arrays, "memory/action", (len(added), None), np.int32)
        tail = arrays["memory/tail"]
        frame_bytes = math.prod(tail.shape[1:]) * tail.itemsize
        files.restore(stored.shared, stored.arrays[checkpoint.FRAME_FILES])
        arrays["memory/frames"] = files.digest(added, actions.shape[1], frame_bytes)
    print(checkpoint.digest(arrays))
    return 0


def _describe_game(config: Config) -> str:
    from atari_dqn.evaluation.describe import describe_environment

    rom = f" (rom {config.rom})" if config.rom else ""
    return f"game: {config.game}{rom}; protocol {config.protocol}: {describe_environment(config)}"
