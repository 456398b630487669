"""What commands are made of: their parts, the options that several share, and types of values."""

import argparse
import glob
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from atari_dqn.config.resolve import DEFAULT_PROTOCOL, VECTOR_PROTOCOL
from atari_dqn.runs.directory import LAST, newest_run
from atari_dqn.workflows.settings import SettingsRequest

SETTINGS_HELP = (
    "any setting can be given as --section.key VALUE; 'atari-dqn config default' lists them"
)
CHECKPOINT_HELP = "a run's directory, one checkpoint in it, or 'last': the newest run"
LARGEST_NUMBER = 2**31 - 1
MOST_GPUS = 64
LARGEST_SCALE = 4


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        name: the word that is typed.
        summary: what it does, for ``--help``.
        add_arguments: adds its arguments to a parser.
        run: runs it with the arguments as they were read, and returns its exit code.
        takes_settings: whether it takes ``--section.key VALUE``, which ``overrides`` then holds.
    """

    name: str
    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    takes_settings: bool = False


def add_game(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Adds ``--game`` and ``--protocol``, which begin the settings of a game."""
    parser.epilog = SETTINGS_HELP
    parser.add_argument(
        "--game",
        required=required,
        default="breakout",
        metavar="ID",
        help="environment id or name of a game",
    )
    defaults = f"{DEFAULT_PROTOCOL}; for vectors: {VECTOR_PROTOCOL}"
    parser.add_argument(
        "--protocol", metavar="NAME|FILE", help=f"environment and evaluation (default: {defaults})"
    )


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Adds the checkpoint that a command is about, and ``--root``."""
    parser.add_argument("checkpoint", metavar="CKPT", help=CHECKPOINT_HELP)
    add_root(parser)


def checkpoint_path(options: argparse.Namespace) -> Path:
    """Returns the path that CKPT means: of a run or a checkpoint.

    Raises:
        UserError: it is ``last``, and there is no run.
    """
    if options.checkpoint == LAST:
        return newest_run(Path(options.root), getattr(options, "game", None))
    return Path(options.checkpoint)


def add_other_game(parser: argparse.ArgumentParser) -> None:
    """Adds ``--game`` and ``--protocol`` for a checkpoint that is played elsewhere."""
    parser.add_argument(
        "--game", metavar="ID", help="another id of the same game (default: that of the checkpoint)"
    )
    parser.add_argument(
        "--protocol", metavar="NAME|FILE", help="another protocol (default: that of the checkpoint)"
    )


def add_epsilon(parser: argparse.ArgumentParser) -> None:
    """Adds ``--epsilon``."""
    parser.add_argument("--epsilon", type=probability, metavar="P", help="default: the protocol's")


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Adds ``--seed``."""
    parser.add_argument(
        "--seed", type=whole_number(0), default=1, metavar="N", help="default: %(default)s"
    )


def add_episodes(parser: argparse.ArgumentParser) -> None:
    """Adds ``--episodes`` of an evaluation under a protocol."""
    parser.add_argument(
        "--episodes", type=whole_number(1), metavar="N", help="default: the protocol's"
    )


def add_root(parser: argparse.ArgumentParser) -> None:
    """Adds ``--root``."""
    parser.add_argument(
        "--root",
        default="checkpoints",
        metavar="DIR",
        help="where runs are kept (default: %(default)s)",
    )


def add_videos(parser: argparse.ArgumentParser) -> None:
    """Adds ``--videos``."""
    parser.add_argument(
        "--videos",
        default="videos",
        metavar="DIR",
        help="where recordings go (default: %(default)s)",
    )


def add_scale(parser: argparse.ArgumentParser) -> None:
    """Adds ``--scale`` of a recording."""
    parser.add_argument(
        "--scale",
        type=whole_number(1, LARGEST_SCALE),
        metavar="N",
        help="each pixel of the screen becomes N x N (default: 1, in an MP4 of a small screen 2)",
    )


def requested_settings(options: argparse.Namespace, recipe: str | None = None) -> SettingsRequest:
    """Returns the settings that a command with ``add_game`` requests."""
    return SettingsRequest(options.game, recipe, options.protocol, options.overrides)


def whole_number(smallest: int, largest: int = LARGEST_NUMBER) -> Callable[[str], int]:
    """Returns a type of argument: a whole number in a range.

    It may be written in any way in which a setting may be: 1000000, 1_000_000 or 1e6.
    """

    def read(text: str) -> int:
        try:
            number = Decimal(text)
        except InvalidOperation:
            number = Decimal("NaN")
        # The bounds come first: a number such as 1e999999 would take all memory as an integer.
        is_in_range = number.is_finite() and smallest <= number <= largest
        if not is_in_range or number != int(number):
            allowed = f"whole number from {smallest} to {largest}"
            raise argparse.ArgumentTypeError(f"'{text}' is not a {allowed}")
        return int(number)

    return read


def number_of_gpus(text: str) -> float:
    """A type of argument: a number of GPUs, or a fraction of one."""
    value = _float(text)
    if value is None or not 0 <= value <= MOST_GPUS:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of GPUs from 0 to {MOST_GPUS}")
    return value


def probability(text: str) -> float:
    """A type of argument: a probability."""
    value = _float(text)
    if value is None or not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a probability from 0 to 1")
    return value


def words(text: str) -> list[str]:
    """A type of argument: words with commas between them."""
    return [word.strip() for word in text.split(",") if word.strip()]


def paths_of(patterns: Iterable[str]) -> list[Path]:
    """Returns the paths that words name; each may name several, as make passes ``RUNS="DIR ..."``.

    A word that exists as a path is that path. Any other is split as a shell would split it, and its
    parts may have the wildcards of a shell. A part that matches nothing stays as it is, so that an
    error can name it.
    """
    paths: list[Path] = []
    for word in patterns:
        if _exists(word):
            paths.append(Path(word))
            continue
        for part in _split(word) or [word]:
            name = _expanduser(part)
            # Path.glob has no absolute patterns, and matches hidden files, where a shell does not.
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
    except ValueError:  # a quote that is never closed is an apostrophe
        return word.split()


def _expanduser(part: str) -> str:
    try:
        return str(Path(part).expanduser()) if part.startswith("~") else part
    except RuntimeError:  # there is no such user
        return part


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # longer than a name may be, as many names together are
        return False
