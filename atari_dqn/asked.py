"""What a command was asked for: its settings, its directories, and what it tells the user beside its result."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from atari_dqn import runs
from atari_dqn.config import load_config, parse_value
from atari_dqn.errors import one_line
from atari_dqn.settings import Config


def settings_of(options: argparse.Namespace) -> tuple[Config, list[str], set[str]]:
    """The settings that a command asks for, notes for the user, and the names of what it gave itself."""
    overrides = dict(options.overrides)
    if options.command == "train" and options.total_steps is not None:
        overrides["training.total_steps"] = parse_value(options.total_steps)
    if options.command == "train" and options.seed is not None:
        overrides["machine.seed"] = parse_value(options.seed)
    if options.command == "train" and options.actors is not None:
        overrides["machine.actors"] = parse_value(options.actors)
    config, notes = load_config(options.game, options.config, options.protocol, overrides)
    given = {name for name in ("recipe", "protocol") if getattr(options, "config" if name == "recipe" else name) is not None}
    return config, notes, given | set(overrides)


def say(*lines: str) -> None:
    """Tells the user on standard error; results go to standard output."""
    for line in lines:
        print(line, file=sys.stderr)


def say_notes(notes: Iterable[str]) -> None:
    """Prints notes on standard error, each on one line."""
    say(*(f"note: {one_line(note)}" for note in notes))


def start_tensorflow(config: Config) -> None:
    """Starts TensorFlow with the threads of the settings."""
    from atari_dqn.tensorflow_setup import start

    start(config.machine.intra_op_threads, config.machine.inter_op_threads)


def video_directory(options: argparse.Namespace, config: Config, run: str) -> Path:
    """Where the recordings of a run go."""
    return runs.game_directory(Path(options.videos), config.game) / run
