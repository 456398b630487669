"""The commands that show games, settings, checkpoints and frames."""

import argparse
import math
from pathlib import Path

from atari_dqn.commands.arguments import (
    Command,
    add_checkpoint,
    add_game,
    add_seed,
    checkpoint_path,
    requested_settings,
    whole_number,
)
from atari_dqn.config.document import as_markdown, as_toml
from atari_dqn.config.resolve import DEFAULT_RECIPE
from atari_dqn.console import print_result, say_notes, waiting
from atari_dqn.games import ids as games
from atari_dqn.runs import checkpoint
from atari_dqn.runs.directory import check_writable
from atari_dqn.workflows.train import check_resumable

MOST_FRAME_STEPS = 8
IDS_COLUMN = 19  # where the ids in the list of games begin


def add_no_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds nothing: ``games`` takes no arguments."""


def list_games(options: argparse.Namespace) -> int:
    """Lists every game with its ids."""
    for rom in games.single_player_roms():
        print_result(f"{rom:<18} {'  '.join(games.ids_of(rom))}", hanging=" " * IDS_COLUMN)
    return 0


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``config``."""
    add_game(parser, required=False)
    parser.add_argument(
        "config",
        nargs="?",
        metavar="NAME|FILE",
        help=f"a recipe (default: the game's own, or {DEFAULT_RECIPE})",
    )
    parser.add_argument(
        "--markdown",
        action="store_true",
        help="print the settings as Markdown (docs/reference/settings.md)",
    )


def show_config(options: argparse.Namespace) -> int:
    """Prints every setting of a recipe, as TOML or Markdown."""
    config = requested_settings(options, recipe=options.config).resolve().config
    print(as_markdown(config) if options.markdown else as_toml(config), end="")
    return 0


def digest(options: argparse.Namespace) -> int:
    """Prints the digest of a checkpoint."""
    import numpy as np

    from atari_dqn.replay.frame_files import FrameFiles

    stored = checkpoint.load(checkpoint_path(options))
    check_resumable(stored)
    # How frames are split into files depends on when checkpoints were written, so the digest covers
    # the frames instead.
    arrays = {name: array for name, array in stored.arrays.items() if name != "frame_files"}
    files = FrameFiles(stored.path.parent)
    with checkpoint.restoring(stored.path), waiting("reading the replay memory"):
        added = checkpoint.array(arrays, "memory/added", (None,), np.int64)
        actions = checkpoint.array(arrays, "memory/action", (len(added), None), np.int32)
        tail = arrays["memory/tail"]
        frame_bytes = math.prod(tail.shape[1:]) * tail.itemsize
        files.restore(stored.shared, stored.arrays[checkpoint.FRAME_FILES])
        arrays["memory/frames"] = files.digest(added, actions.shape[1], frame_bytes)
    print(checkpoint.digest(arrays))
    return 0


def add_frames_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``frames``."""
    add_game(parser)
    add_seed(parser)
    parser.add_argument("--out", required=True, metavar="FILE.png", help="file to write")
    parser.add_argument(
        "--steps",
        type=whole_number(1, MOST_FRAME_STEPS),
        default=2,
        metavar="N",
        help="agent steps to show (default: %(default)s)",
    )
    parser.add_argument(
        "--after",
        type=whole_number(0),
        default=20,
        metavar="N",
        help="agent steps to play first (default: %(default)s)",
    )


def draw_frames(options: argparse.Namespace) -> int:
    """Draws raw frames above the network's input."""
    from atari_dqn.recording import preprocessing_figure

    out = Path(options.out)
    check_writable(out.parent)
    settings = requested_settings(options).resolve(learns=False)
    say_notes(settings.notes)
    preprocessing_figure.draw_frames(
        out, settings.config, options.steps, options.after, options.seed
    )
    print(out)
    return 0


COMMANDS = {
    "frames": Command(add_frames_arguments, draw_frames, takes_settings=True),
    "games": Command(add_no_arguments, list_games),
    "config": Command(add_config_arguments, show_config, takes_settings=True),
    "digest": Command(add_checkpoint, digest),
}
