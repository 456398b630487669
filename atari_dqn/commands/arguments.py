"""Defines what the commands share: their common options and types of arguments."""

import argparse
import glob
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from atari_dqn.config.resolve import DEFAULT_PROTOCOL, VECTOR_PROTOCOL
from atari_dqn.errors import UserError, nearest
from atari_dqn.runs.directory import DEFAULT_ROOT, LAST
from atari_dqn.typed_commands import is_started_by_make, option
from atari_dqn.workflows.evaluate import ANNOTATIONS
from atari_dqn.workflows.named import BEST, chooses, named_checkpoint
from atari_dqn.workflows.settings import SettingsRequest

SETTINGS_HELP = (
    "any setting can be given as --section.key VALUE; 'atari-dqn config default' lists them"
)
CHECKPOINT_HELP = (
    "a run's directory, one checkpoint in it, 'last' for the newest run, a game for its newest "
    "run, or 'best' for the checkpoint with the best known score"
)
ROOT = DEFAULT_ROOT.as_posix()
VIDEOS = "videos"
RESULT_COLUMN = 18  # where the values begin in the lines of an evaluation's result
LARGEST_NUMBER = 2**31 - 1
MOST_GPUS = 64
LARGEST_SCALE = 4
MOST_HOURS = 10_000


@dataclass(frozen=True)
class Command:
    """A command of the command line.

    Attributes:
        add_arguments: Adds its arguments to a parser.
        run: Runs it with the parsed arguments, and returns its exit code.
        takes_settings: Whether it accepts ``--section.key VALUE``; the parsed arguments then have
            ``overrides``.
    """

    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    takes_settings: bool = False


def add_game(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Adds ``--game`` and ``--protocol`` to a command that accepts settings."""
    parser.epilog = SETTINGS_HELP
    parser.add_argument(
        "--game",
        required=required,
        default="breakout",
        metavar="ID",
        help="environment id or name of a game",
    )
    defaults = f"{DEFAULT_PROTOCOL}; {VECTOR_PROTOCOL} for vector observations"
    parser.add_argument(
        "--protocol",
        metavar="NAME|FILE",
        help=f"rules of environment and evaluation (default: {defaults})",
    )


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Adds the argument ``CKPT``, ``--root``, and the ``--game`` of ``last`` and ``best``."""
    parser.add_argument("checkpoint", metavar="CKPT", help=CHECKPOINT_HELP)
    add_root(parser)
    parser.add_argument(
        "--game",
        dest="game_of_run",
        metavar="ID",
        help="the game of 'last' or 'best' (default: any game)",
    )


def add_played_checkpoint(parser: argparse.ArgumentParser, others: str = "") -> None:
    """Adds the argument ``CKPT``, which may be left out, and ``--root``.

    Args:
        parser: Parser of the command.
        others: What ``CKPT`` may be besides a checkpoint, for the help.
    """
    parser.add_argument(
        "checkpoint", nargs="?", metavar="CKPT", help=f"{CHECKPOINT_HELP}{others} (default: last)"
    )
    add_root(parser)


def checkpoint_path(options: argparse.Namespace) -> Path:
    """Returns the path of the run or checkpoint that ``CKPT`` names.

    Raises:
        UserError: It names none.
    """
    name = options.checkpoint
    game = getattr(options, "game_of_run", None)
    if game is not None and not chooses(name):
        reason = f"chooses between runs, so it needs {option('checkpoint')}"
        raise UserError(f"{option('game')} {reason} '{LAST}' or '{BEST}'")
    return named_checkpoint(
        name,
        game or getattr(options, "game", None),
        Path(options.root),
        Path(getattr(options, "videos", VIDEOS)),
    )


def add_other_game(parser: argparse.ArgumentParser) -> None:
    """Adds ``--game`` and ``--protocol``, which replace those of a checkpoint."""
    parser.add_argument(
        "--game", metavar="ID", help="another id of the same game (default: the checkpoint's)"
    )
    parser.add_argument(
        "--protocol", metavar="NAME|FILE", help="another protocol (default: the checkpoint's)"
    )


def add_epsilon(parser: argparse.ArgumentParser) -> None:
    """Adds ``--epsilon``."""
    parser.add_argument(
        "--epsilon",
        type=probability,
        metavar="P",
        help="probability of a random action (default: the protocol's)",
    )


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Adds ``--seed``."""
    parser.add_argument(
        "--seed",
        type=whole_number(0),
        default=1,
        metavar="N",
        help="random seed (default: %(default)s)",
    )


def add_episodes(parser: argparse.ArgumentParser) -> None:
    """Adds ``--episodes``, whose default is the protocol's number."""
    parser.add_argument(
        "--episodes",
        type=whole_number(1),
        metavar="N",
        help="number of episodes (default: the protocol's)",
    )


def add_root(parser: argparse.ArgumentParser) -> None:
    """Adds ``--root``."""
    parser.add_argument(
        "--root",
        default=ROOT,
        metavar="DIR",
        help="directory of all runs (default: %(default)s)",
    )


def add_videos(parser: argparse.ArgumentParser) -> None:
    """Adds ``--videos``."""
    parser.add_argument(
        "--videos",
        default=VIDEOS,
        metavar="DIR",
        help="directory of all recordings (default: %(default)s)",
    )


def add_hours(parser: argparse.ArgumentParser, what: str) -> None:
    """Adds ``--hours``."""
    parser.add_argument("--hours", type=number_of_hours, metavar="H", help=what)


def add_scale(parser: argparse.ArgumentParser) -> None:
    """Adds ``--scale``, which enlarges a recording."""
    parser.add_argument(
        "--scale",
        type=whole_number(1, LARGEST_SCALE),
        metavar="N",
        help="draw each screen pixel N x N large (default: 1; 2 for an MP4 of a small screen)",
    )


def add_annotated(parser: argparse.ArgumentParser, what: str) -> None:
    """Adds ``--annotated``.

    Args:
        parser: The parser of a command.
        what: What is annotated, for the help.
    """
    parser.add_argument(
        "--annotated",
        nargs="?",
        type=_annotation,
        const="values",
        metavar="saliency",
        help=f"{what} with the network's input and action values; 'saliency' also draws "
        "where the network looks",
    )


def requested_settings(options: argparse.Namespace, recipe: str | None = None) -> SettingsRequest:
    """Returns the settings that the arguments of a command request."""
    return SettingsRequest(options.game, recipe, options.protocol, options.overrides)


def whole_number(smallest: int, largest: int = LARGEST_NUMBER) -> Callable[[str], int]:
    """Returns a parser for arguments that are whole numbers in a range.

    It accepts the notations that settings accept: 1000000, 1_000_000 and 1e6.
    """

    def read(text: str) -> int:
        try:
            number = Decimal(text)
        except InvalidOperation:
            number = Decimal("NaN")
        # The bounds come first: int() of a number such as 1e999999 would exhaust the memory.
        is_in_range = number.is_finite() and smallest <= number <= largest
        if not is_in_range or number != int(number):
            allowed = f"whole number from {smallest} to {largest}"
            raise argparse.ArgumentTypeError(f"'{text}' is not a {allowed}")
        return int(number)

    return read


def number_of_gpus(text: str) -> float:
    """Parses a number of GPUs, which may be a fraction."""
    value = _float(text)
    if value is None or not 0 <= value <= MOST_GPUS:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of GPUs from 0 to {MOST_GPUS}")
    return value


def number_of_hours(text: str) -> float:
    """Parses a number of hours, which may be a fraction."""
    value = _float(text)
    if value is None or not 0 < value <= MOST_HOURS:
        allowed = f"number of hours above 0 and up to {MOST_HOURS:g}, such as 0.5"
        raise argparse.ArgumentTypeError(f"'{text}' is not a {allowed}")
    return value


def probability(text: str) -> float:
    """Parses a probability."""
    value = _float(text)
    if value is None or not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a probability from 0 to 1")
    return value


def _annotation(text: str) -> str:
    """Parses the value of ``--annotated``."""
    if text in ANNOTATIONS:
        return text
    # argparse takes the word after --annotated as its value.
    advice = "" if is_started_by_make() else "; without a value it comes after CKPT"
    reason = nearest(text, ANNOTATIONS) or advice
    raise argparse.ArgumentTypeError(f"'{text}' is not one of {', '.join(ANNOTATIONS)}{reason}")


def words(text: str) -> list[str]:
    """Parses words that are separated by commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def paths_of(patterns: Iterable[str]) -> list[Path]:
    """Returns the paths that patterns match.

    A pattern may name several paths, because make passes ``RUNS="DIR ..."`` as one word. A pattern
    that exists as a path is that path. Any other is split like a shell command, and its parts may
    contain wildcards. A part that matches nothing is kept, so that an error can name it.
    """
    paths: list[Path] = []
    for word in patterns:
        if _exists(word):
            paths.append(Path(word))
            continue
        for part in _split(word) or [word]:
            name = _expanduser(part)
            # Path.glob rejects absolute patterns and, unlike a shell, matches hidden files.
            matches = [] if _exists(name) else sorted(glob.glob(name))  # noqa: PTH207
            paths += [Path(match) for match in matches or [name]]
    return paths


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _split(word: str) -> list[str]:
    try:
        return shlex.split(word)
    except ValueError:  # an unclosed quote is an apostrophe
        return word.split()


def _expanduser(part: str) -> str:
    try:
        return str(Path(part).expanduser()) if part.startswith("~") else part
    except RuntimeError:  # no such user
        return part


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # too long for one file name, so the word contains several
        return False
