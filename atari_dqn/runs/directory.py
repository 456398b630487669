"""Finds, names and creates run directories."""

import itertools
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from atari_dqn.config.resolve import read_config
from atari_dqn.config.schema import Config
from atari_dqn.errors import UserError
from atari_dqn.games.ids import GameSpec, identify
from atari_dqn.runs import checkpoint
from atari_dqn.typed_commands import command

DEFAULT_ROOT = Path("checkpoints")  # directory of all runs
CONFIG = "config.toml"
LAST = "last"
# The directory below ``root`` that contains released agents instead of runs.
RELEASED = "released"


def game_directory(root: Path, game: str) -> Path:
    """Returns the directory of a game's runs or recordings below ``root``.

    >>> game_directory(Path("checkpoints"), "ALE/Pong-v5").as_posix()
    'checkpoints/ALE-Pong-v5'
    """
    return root / game.replace("/", "-")


def choose(root: Path, config: Config, name: str | None) -> Path:
    """Returns the run directory that a user's choice refers to.

    Args:
        root: Directory of all runs, usually ``checkpoints``.
        config: Settings of the run.
        name: None for a new run, ``last`` for the game's newest run, the name of a run of the game,
            or a path (anything with a slash).

    Raises:
        UserError: The name is ``last``, and the game has no run yet.
    """
    if name is None:
        started = time.strftime("%Y%m%d-%H%M%S")
        new = f"{config.recipe}-seed{config.machine.seed}-{started}"
        return game_directory(root, config.game) / new
    return _named(root, config.game, name)


def stored_arguments(root: Path, game: str, name: str | None) -> dict[str, Any]:
    """Returns the keyword arguments of an existing run's environment, or an empty dictionary.

    Args:
        root: Directory of all runs.
        game: Environment id.
        name: The run, as for ``choose``.
    """
    if name is None:
        return {}
    try:
        return read_config(_named(root, game, name) / CONFIG).environment.kwargs
    except UserError:  # continuing the run will report it
        return {}


def _named(root: Path, game: str, name: str) -> Path:
    directory = game_directory(root, game)
    if name == LAST:
        runs = existing(directory)
        if not runs:
            raise UserError(f"there is no run in '{directory}' to continue")
        return runs[-1]
    return Path(name) if "/" in name or "\\" in name else directory / name


def existing(directory: Path) -> list[Path]:
    """Returns the runs in a game's directory, sorted by modification time, newest last."""
    runs = [path.parent for path in directory.glob(f"*/{CONFIG}")]
    return sorted(runs, key=lambda run: run.stat().st_mtime)


def newest_run(root: Path, game: str | None = None) -> Path:
    """Returns the most recently modified run that has a checkpoint.

    Args:
        root: Directory of all runs, usually ``checkpoints``.
        game: As for ``trained_runs``.

    Raises:
        UserError: There is no such run.
    """
    return trained_runs(root, game)[-1]


def trained_runs(root: Path, game: str | None = None) -> list[Path]:
    """Returns the runs that have a checkpoint, sorted by modification time, newest last.

    Args:
        root: Directory of all runs, usually ``checkpoints``.
        game: Environment id or name of the game, or None for runs of any game. An id that no run
            has means the runs of the game's other ids.

    Raises:
        UserError: There is no such run.
    """
    runs = [run for run in all_runs(root) if checkpoint.in_run(run)]
    if game is not None:
        spec = identify(game)
        configs = runs_of_game(runs, spec)
        of_id = [run for run, config in configs.items() if config.game == spec.id]
        runs = of_id or list(configs)
    if not runs:
        of_game = f" of {game}" if game is not None else ""
        advice = f"'{command('train', game=game or 'breakout')}' begins one"
        raise UserError(f"there is no run{of_game} with a checkpoint in '{root}': {advice}")
    return runs


def all_runs(root: Path) -> list[Path]:
    """Returns the runs below ``root``, sorted by modification time, newest last.

    They are in the directories of games, of which a sweep has its own.
    """
    games = [path for path in (*root.glob("*"), *root.glob("*/*")) if path.name != RELEASED]
    runs = [run for directory in games for run in existing(directory)]
    runs = [run for run in runs if not checkpoint.CHECKPOINT_NAME.fullmatch(run.name)]
    return sorted(runs, key=lambda run: run.stat().st_mtime)


def runs_of_game(runs: Iterable[Path], spec: GameSpec) -> dict[Path, Config]:
    """Returns the runs of a game, under any of its ids, with their settings."""
    found: dict[Path, Config] = {}
    for run in runs:
        with suppress(UserError):  # the settings cannot be read
            config = read_config(run / CONFIG)
            if config.game == spec.id or (spec.rom is not None and config.rom == spec.rom):
                found[run] = config
    return found


def unfinished(directory: Path) -> list[Path]:
    """Returns the runs in a game's directory that can be continued and are not complete."""
    return [run for run in existing(directory) if _is_unfinished(run)]


def _is_unfinished(run_directory: Path) -> bool:
    saved = checkpoint.to_continue_from(run_directory)
    try:
        total = read_config(run_directory / CONFIG).training.total_steps
        return saved is not None and checkpoint.step_of(saved) < total
    except UserError:  # the settings or the checkpoint cannot be read
        return False


def check_writable(directory: Path) -> None:
    """Raises a UserError if a directory cannot be created or written to.

    Callers check this first, so that a run does not fail after hours.
    """
    candidates = (directory, *directory.parents)
    existing_path = next((path for path in candidates if path.exists()), directory)
    if not existing_path.is_dir():
        raise UserError(f"cannot write to '{directory}': '{existing_path}' is not a directory")
    if not os.access(existing_path, os.W_OK | os.X_OK):
        reason = f"no permission to write in '{existing_path}'"
        raise UserError(f"cannot write to '{directory}': {reason}")


@contextmanager
def claimed(run_directory: Path) -> Iterator[Path]:
    """Context that creates the directory of a new run, and yields its path.

    Runs that start in the same second would get the same name. If NAME exists, the first free name
    of NAME-2, NAME-3 and so on is used. If the directory is empty at the end, it is deleted.

    Raises:
        UserError: The directory cannot be created.
    """
    check_writable(run_directory.parent)
    missing = [path for path in run_directory.parents if not path.exists()]
    try:
        directory = _make_first_free(run_directory)
    except OSError as error:
        raise UserError(f"cannot write to '{run_directory}': {error.strerror}") from None
    try:
        yield directory
    finally:
        with suppress(OSError):
            for path in (directory, *missing):
                path.rmdir()


def _make_first_free(path: Path) -> Path:
    for number in itertools.count(1):
        directory = path if number == 1 else path.with_name(f"{path.name}-{number}")
        # Two processes could both find that a name is free, but mkdir succeeds in only one of them.
        with suppress(FileExistsError):
            directory.mkdir(parents=True)
            return directory
    raise AssertionError("numbers never end")
