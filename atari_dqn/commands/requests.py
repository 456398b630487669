"""What a command was asked for: its settings, its directories."""

import argparse
import glob
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from atari_dqn.config.resolve import load_config, parse_value
from atari_dqn.config.schema import Config
from atari_dqn.runs.directory import game_directory


def settings_of(
    options: argparse.Namespace, kwargs: dict[str, Any] | None = None
) -> tuple[Config, list[str], set[str]]:
    """The settings that a command asks for, notes for the user, and the names of what it gave
    itself.

    Args:
        options: of the command.
        kwargs: arguments of the environment, where the command gives none.
    """
    overrides = dict(options.overrides)
    if options.command == "train" and options.total_steps is not None:
        overrides["training.total_steps"] = parse_value(options.total_steps)
    if options.command == "train" and options.seed is not None:
        overrides["machine.seed"] = parse_value(options.seed)
    if options.command == "train" and options.actors is not None:
        overrides["machine.actors"] = parse_value(options.actors)
    usual = {"environment.kwargs": kwargs} if kwargs else {}
    learns = options.command in ("train", "config")
    words = (options.game, options.config, options.protocol)
    config, notes = load_config(*words, usual | overrides, learns=learns)
    given = {
        name
        for name in ("recipe", "protocol")
        if getattr(options, "config" if name == "recipe" else name) is not None
    }
    return config, notes, given | set(overrides)


def paths_of(words: Iterable[str]) -> list[Path]:
    """Returns the paths that words name; each may name several, as make passes on ``RUNS="DIR
    ..."``.

    A word that exists as a path is that path. Any other is split as a shell would split it, and its
    parts may have the wildcards of a shell. A part that matches nothing stays as it is, so that an
    error can name it.
    """
    found: list[Path] = []
    for word in words:
        if _exists(word):
            found.append(Path(word))
            continue
        for part in _parts(word) or [word]:
            name = _from_home(part)
            # Path.glob has no absolute patterns, and matches hidden files, where a shell does not.
            matches = [] if _exists(name) else sorted(glob.glob(name))  # noqa: PTH207
            found += [Path(match) for match in matches or [name]]
    return found


def _parts(word: str) -> list[str]:
    try:
        return shlex.split(word)
    except ValueError:  # a quote that is never closed is an apostrophe
        return word.split()


def _from_home(part: str) -> str:
    try:
        return str(Path(part).expanduser()) if part.startswith("~") else part
    except RuntimeError:  # there is no such user
        return part


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # longer than a name may be, as many names together are
        return False


def start_tensorflow(config: Config) -> None:
    """Starts TensorFlow with the threads of the settings."""
    from atari_dqn.backend.startup import start

    start(config.machine.intra_op_threads, config.machine.inter_op_threads)


def video_directory(options: argparse.Namespace, config: Config, run: str) -> Path:
    """Where the recordings of a run go."""
    return game_directory(Path(options.videos), config.game) / run
