"""The command line: which commands there are, what they take, and how their errors are answered."""

import argparse
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

from atari_dqn.bootstrap import COMMAND, INTERRUPTED
from atari_dqn.commands import gallery, report
from atari_dqn.commands import play as playing
from atari_dqn.commands import sweep as sweeping
from atari_dqn.commands import train as commands
from atari_dqn.config.learning_schema import MOST_STEPS
from atari_dqn.config.resolve import DEFAULT_PROTOCOL, DEFAULT_RECIPE, VECTOR_PROTOCOL, parse_value
from atari_dqn.console import STANDARD_ERROR, own_process, say
from atari_dqn.errors import UserError, nearest, one_line
from atari_dqn.runs.signals import interrupt

SETTINGS_HELP = (
    "any setting can be given as --section.key VALUE; 'atari-dqn config default' lists them"
)

# What the disk or its owner forbids is no fault of the program.
OUTSIDE_CAUSES = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
)


def command() -> NoReturn:
    """Runs the command that this process was started for, and ends the process."""
    try:
        if sys.stdout is None:
            print("error: standard output is closed; /dev/null would do", file=sys.stderr)
            code = 2
        else:
            own_process()
            signal.signal(signal.SIGINT, interrupt)
            for number in (signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) is signal.SIG_DFL:
                    signal.signal(number, interrupt)
            code = main()
    except KeyboardInterrupt:  # between the lines of ``main``
        say("interrupted")
        code = INTERRUPTED
    STANDARD_ERROR.flush()
    if any(not thread.daemon for thread in threading.enumerate()[1:]):
        # TensorFlow's compiler is busy in a thread, where it hears no signal. Python would wait.
        os._exit(code)
    sys.exit(code)


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns its exit code.

    0: done; 1: nobody read the results to their end; 2: bad input; 130: interrupted, in training
    after the run was saved.
    """
    typed = sys.argv[1:] if arguments is None else arguments
    try:
        words, given = _settings_apart(typed)
        options, unknown = _parser().parse_known_args(words)
        options.overrides = _overrides(given, unknown, options)
        _check_not_empty(options)
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except UserError as error:
        say(f"error: {one_line(str(error), typed)}")
        return 2
    except BrokenPipeError:  # whoever reads us, such as head, has seen enough
        _forget_output()
        return 1
    except OSError as error:
        if error.errno not in OUTSIDE_CAUSES:
            raise
        where = f" '{error.filename}'" if error.filename else ""
        say(one_line(f"error: {error.strerror}{where}", typed))
        _forget_output()
        return 2
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED


def _forget_output() -> None:
    """Has what is left to print go nowhere, or Python would fail with it once more as it ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _check_not_empty(options: argparse.Namespace) -> None:
    """Raises a UserError for an option that was given an empty text."""
    for name, value in vars(options).items():
        texts = value if isinstance(value, list) else [value]
        if any(isinstance(text, str) and not text.strip() for text in texts):
            shown = name.replace("_", "-")
            raise UserError(f"{shown} is empty: leave it out, or give it a value")


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} ('{self.prog} --help' shows how it is used)")


def _parser() -> argparse.ArgumentParser:
    parser = _OneLineParser(
        prog=COMMAND, description="Deep Q-learning on Atari games from pixels.", allow_abbrev=False
    )
    subparsers = parser.add_subparsers(dest="command", metavar="command", required=True)

    def command(name: str, run: Callable[..., int], *parents: Any) -> argparse.ArgumentParser:
        epilog = SETTINGS_HELP if parents and parents[0] in (game, any_game) else None
        about: dict[str, Any] = {"help": run.__doc__, "description": run.__doc__, "epilog": epilog}
        sub: argparse.ArgumentParser = subparsers.add_parser(
            name, parents=parents, allow_abbrev=False, **about
        )
        sub.set_defaults(run=run, takes_settings=epilog is not None)
        return sub

    game, any_game = _game_options(required=True), _game_options(required=False)
    elsewhere = argparse.ArgumentParser(add_help=False)
    elsewhere.add_argument(
        "--game", metavar="ID", help="another id of the same game (default: that of the checkpoint)"
    )
    elsewhere.add_argument(
        "--protocol", metavar="NAME|FILE", help="another protocol (default: that of the checkpoint)"
    )
    checkpoint, epsilon, seed, videos, picture = (
        argparse.ArgumentParser(add_help=False) for _ in range(5)
    )
    checkpoint.add_argument(
        "checkpoint", metavar="CKPT", help="a run's directory, or one checkpoint in it"
    )
    epsilon.add_argument(
        "--epsilon", type=_probability, metavar="P", help="default: the protocol's"
    )
    seed.add_argument(
        "--seed",
        type=lambda text: _whole_number(text, 0),
        default=1,
        metavar="N",
        help="default: %(default)s",
    )
    videos.add_argument(
        "--videos",
        default="videos",
        metavar="DIR",
        help="where recordings go (default: %(default)s)",
    )

    pixels = "each pixel of the screen becomes N x N (default: 1, in an MP4 of a small screen 2)"
    picture.add_argument(
        "--scale", type=lambda text: _whole_number(text, 1, 4), metavar="N", help=pixels
    )

    sub = command("train", commands.train, game, videos)
    sub.add_argument(
        "--config",
        metavar="NAME|FILE",
        help=f"recipe (default: the task's own, or {DEFAULT_RECIPE})",
    )
    sub.add_argument("--total-steps", metavar="N", help="agent steps (default: the recipe's)")
    sub.add_argument("--seed", metavar="N", help="of the run (default: 1)")
    where = "a path, a name under checkpoints/<game>/, or 'last'; an existing run is continued"
    sub.add_argument("--run-dir", metavar="DIR", help=where)
    sub.add_argument(
        "--root",
        default="checkpoints",
        metavar="DIR",
        help="where runs are kept (default: %(default)s)",
    )
    sub.add_argument(
        "--actors", metavar="N", help="processes that act, on Ray (default: 0, the learner)"
    )
    sub.add_argument(
        "--address",
        metavar="HOST:PORT|auto",
        help="of the Ray cluster of --actors (default: this machine alone)",
    )
    sub.add_argument(
        "--init-from",
        metavar="CKPT",
        help="begin with the weights of another run, of this game or another",
    )
    sub = command("eval", playing.evaluate, checkpoint, elsewhere, epsilon, seed, videos, picture)
    sub.add_argument("--episodes", type=_positive, metavar="N", help="default: the protocol's")
    sub.add_argument(
        "--annotated",
        action="store_true",
        help="show the median episode with the agent's values, too",
    )
    sub = command("record", playing.record, elsewhere, epsilon, picture)
    sub.add_argument(
        "checkpoint", nargs="?", metavar="CKPT", help="a run's directory, or one checkpoint in it"
    )
    sub.add_argument(
        "--out",
        required=True,
        metavar="FILE.gif|FILE.mp4",
        help="what to write; a JSON is written beside it",
    )
    sub.add_argument(
        "--replay",
        metavar="FILE.json",
        help="instead of CKPT: the episode that the JSON of a recording describes",
    )
    sub.add_argument(
        "--annotated",
        action="store_true",
        help="show what the network sees, and what it expects of each action",
    )
    sub.add_argument(
        "--seed", type=lambda text: _whole_number(text, 0), metavar="N", help="default: 1"
    )
    sub = command("watch", playing.watch, elsewhere, epsilon, seed)
    sub.add_argument(
        "checkpoint",
        metavar="CKPT|random",
        help="a run's directory, one checkpoint in it, or random actions",
    )
    sub.add_argument(
        "--episodes", type=_positive, default=3, metavar="N", help="default: %(default)s"
    )
    sub = command("random", playing.random, game, seed, videos, picture)
    sub.add_argument(
        "--episodes", type=_positive, default=10, metavar="N", help="default: %(default)s"
    )
    sub.set_defaults(config=None)
    sub = command("frames", playing.frames, game, seed)
    sub.add_argument("--out", required=True, metavar="FILE.png", help="what to write")
    sub.add_argument(
        "--steps",
        type=lambda text: _whole_number(text, 1, 8),
        default=2,
        metavar="N",
        help="agent steps to show",
    )
    sub.add_argument(
        "--after",
        type=lambda text: _whole_number(text, 0),
        default=20,
        metavar="N",
        help="steps before them",
    )
    sub.set_defaults(config=None)
    command("games", commands.list_games)
    sub = command("config", commands.show_config, any_game)
    sub.add_argument(
        "config",
        nargs="?",
        metavar="NAME|FILE",
        help=f"a recipe (default: the game's own, or {DEFAULT_RECIPE})",
    )
    sub.add_argument(
        "--markdown", action="store_true", help="print the page of all settings, docs/settings.md"
    )
    sub = command("plot", commands.plot)
    sub.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="run directories; those of one game and recipe become one curve",
    )
    sub.add_argument(
        "--out",
        default="curves",
        metavar="STEM",
        help="STEM.png and STEM.svg are written (default: %(default)s)",
    )
    sub = command("gallery", gallery.gallery, videos)
    sub.add_argument(
        "--root",
        default="checkpoints",
        metavar="DIR",
        help="where runs are kept (default: %(default)s)",
    )
    sub.add_argument(
        "--live",
        action="store_true",
        help="serve the page on this machine and follow runs as they go on",
    )
    sub.add_argument(
        "--port",
        type=lambda text: _whole_number(text, 0),
        metavar="N",
        help=f"of --live (default: {gallery.PORT})",
    )
    sub = command("report", report.report, videos)
    sub.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="runs, evaluations (JSON), or directories with such in them",
    )
    sub.add_argument("--out", metavar="STEM", help="also write STEM.html and STEM.json")
    _sweep_options(command("sweep", sweeping.sweep))
    sub = command("export", playing.export, checkpoint)
    sub.add_argument(
        "--out",
        required=True,
        metavar="NAME[.keras|.onnx]",
        help="without an ending: a TensorFlow SavedModel",
    )
    sub.set_defaults(game=None, protocol=None)
    sub = command("release", playing.release, checkpoint, seed, videos)
    sub.add_argument(
        "--out", required=True, metavar="DIR", help="to make, such as checkpoints/released/pong"
    )
    sub.add_argument("--episodes", type=_positive, metavar="N", help="default: the protocol's")
    command("digest", commands.digest, checkpoint)
    return parser


def _sweep_options(sub: argparse.ArgumentParser) -> None:
    groups = ", ".join(sweeping.GROUPS)
    sub.set_defaults(takes_settings=True)
    sub.add_argument(
        "--plan",
        metavar="FILE.toml",
        help="the same in a file (default: what --out was begun with)",
    )
    sub.add_argument(
        "--games",
        type=_words,
        metavar="ID,...",
        help=f"environment ids, names of games, or {groups}",
    )
    sub.add_argument("--seeds", type=_seeds, metavar="N|N,N", help="so many, or these (default: 1)")
    sub.add_argument(
        "--config",
        dest="configs",
        type=_words,
        metavar="NAME|FILE,...",
        help="recipes (default: the game's own)",
    )
    sub.add_argument(
        "--protocol", metavar="NAME|FILE", help="environment and evaluation of all runs"
    )
    steps = "agent steps of each run (default: the recipe's)"
    sub.add_argument(
        "--total-steps",
        type=lambda text: _whole_number(text, 1, MOST_STEPS),
        metavar="N",
        help=steps,
    )
    sub.add_argument(
        "--set",
        action="append",
        metavar="section.key=V,V",
        help="values to try, each with each of the others",
    )
    candidates = "candidates to draw, of which only the best are finished"
    sub.add_argument(
        "--search",
        type=lambda text: _whole_number(text, 1, sweeping.MOST),
        metavar="N",
        help=candidates,
    )
    sub.add_argument(
        "--episodes",
        type=lambda text: _whole_number(text, 0),
        metavar="N",
        help="to evaluate each run on; 0: none",
    )
    sub.add_argument(
        "--cpus", type=_positive, default=1, metavar="N", help="of each run (default: %(default)s)"
    )
    sub.add_argument(
        "--gpus",
        type=_share,
        default=0.0,
        metavar="X",
        help="of each run, also a part of one (default: 0)",
    )
    sub.add_argument(
        "--address", metavar="HOST:PORT|auto", help="of a Ray cluster (default: this machine alone)"
    )
    sub.add_argument(
        "--out",
        default="checkpoints/sweep",
        metavar="DIR",
        help="the folder of results (default: %(default)s)",
    )


def _game_options(required: bool) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--game",
        required=required,
        default="breakout",
        metavar="ID",
        help="environment id or name of a game",
    )
    usual = f"{DEFAULT_PROTOCOL}; for vectors: {VECTOR_PROTOCOL}"
    parser.add_argument(
        "--protocol", metavar="NAME|FILE", help=f"environment and evaluation (default: {usual})"
    )
    return parser


def _settings_apart(words: list[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Takes each ``--section.key VALUE`` and ``--section.key=VALUE`` out of the words of a command.

    argparse would take a value such as ``[2, 4]`` or ``-1`` for something else, and a command that
    takes a name would take it for the name.

    Returns:
        The other words, and options with their values; a missing value is empty.

    >>> _settings_apart(["config", "--agent.n_step", "5", "nature", "--network.torso=mlp"])
    (['config', 'nature'], [('--agent.n_step', '5'), ('--network.torso', 'mlp')])
    """
    others: list[str] = []
    given: list[tuple[str, str]] = []
    left = list(words)
    while left:
        word = left.pop(0)
        option, equals, value = word.partition("=")
        if word == "--":  # what follows is no option
            return [*others, word, *left], given
        if not option.startswith("--") or "." not in option:
            others.append(word)
            continue
        if not equals and left and not left[0].startswith("--"):
            value = left.pop(0)
        given.append((option, value))
    return others, given


def _overrides(
    given: list[tuple[str, str]],
    unknown: list[str],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Returns the settings of options such as ``--section.key``.

    Raises:
        UserError: a command takes none, a value is missing, or there are words that nobody knows.
    """
    refused = [word.partition("=")[0] for word in unknown]
    if not options.takes_settings:
        refused += [option for option, _ in given]
    if refused:
        known = [f"--{known.replace('_', '-')}" for known in vars(options)]
        raise UserError(f"unknown argument '{refused[0]}'{nearest(refused[0], known)}")
    overrides: dict[str, Any] = {}
    for option, value in given:
        if not value:
            raise UserError(f"{option} wants a value")
        overrides[option.removeprefix("--").replace("-", "_")] = parse_value(value)
    return overrides


def _whole_number(text: str, least: int, most: int = 2**31 - 1) -> int:
    """Reads a whole number in any way in which a setting may be given: 1000000, 1_000_000 or 1e6."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    # The bounds come first: a number such as 1e999999 would take all memory as an integer.
    if not number.is_finite() or not least <= number <= most or number != int(number):
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number from {least} to {most}")
    return int(number)


def _positive(text: str) -> int:
    return _whole_number(text, 1)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _seeds(text: str) -> list[int]:
    """A number of seeds, or several seeds."""
    if "," in text:
        return [_whole_number(word, 0) for word in _words(text)]
    return list(range(1, _whole_number(text, 1, sweeping.MOST) + 1))


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 64:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of GPUs from 0 to 64")
    return value


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no probability from 0 to 1")
    return value


if __name__ == "__main__":
    command()
