"""The command line: the list of commands, and how their errors are reported."""

import argparse
import atexit
import errno
import os
import re
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from atari_dqn.bootstrap import COMMAND, INTERRUPTED
from atari_dqn.console import STANDARD_ERROR, log_to_standard_error, own_process, say
from atari_dqn.errors import UserError, nearest, one_line
from atari_dqn.runs.signals import interrupt
from atari_dqn.typed_commands import ARGUMENTS, in_typed_form, is_started_by_make, option

if TYPE_CHECKING:
    from atari_dqn.commands.arguments import Command


@dataclass(frozen=True)
class Entry:
    """A command in the list that ``--help`` prints.

    Attributes:
        module: The module of ``atari_dqn/commands/`` that defines it. Only the module of the
            command that was typed is imported, so that short commands answer at once.
        summary: What the command does.
    """

    module: str
    summary: str


COMMANDS = {
    "train": Entry("train", "Trains an agent: starts a run or continues one."),
    "plan": Entry(
        "plan", "Prints which recipe and how many agent steps fit into some times on this machine."
    ),
    "eval": Entry("play", "Scores a checkpoint and records its median, best and worst episode."),
    "record": Entry(
        "play",
        "Records one episode, or renders one again from the JSON file beside its recording.",
    ),
    "watch": Entry("play", "Shows an agent in a window; q or Escape closes it."),
    "random": Entry("play", "Scores and records an agent that acts at random."),
    "frames": Entry(
        "inspect", "Draws the raw frames of a few agent steps above the network's input."
    ),
    "games": Entry("inspect", "Lists every game with its ids."),
    "config": Entry(
        "inspect", "Prints every setting of a recipe with its value, meaning, unit and source."
    ),
    "plot": Entry("review", "Draws the learning curves of runs."),
    "gallery": Entry(
        "review",
        "Writes a page for reviewing runs and recordings, or serves it and keeps it up to date.",
    ),
    "report": Entry("review", "Compares runs with each other and with published scores."),
    "sweep": Entry(
        "sweep",
        "Trains many runs on one machine or a cluster: all combinations of games, recipes, "
        "settings and seeds, or a search over settings.",
    ),
    "export": Entry(
        "publish",
        "Exports a checkpoint's network for other programs and checks it against the agent.",
    ),
    "release": Entry(
        "publish",
        "Writes an agent to share: weights, score, recording and model card, but no training "
        "state.",
    ),
    "digest": Entry(
        "inspect", "Prints a SHA-256 digest of everything that a continued run depends on."
    ),
}
# Disk and permission errors, which are not bugs and need no traceback.
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
    """Runs the command of this process and exits with its exit code."""
    try:
        if sys.stdout is None:
            print("error: standard output is closed; redirect it to /dev/null", file=sys.stderr)
            code = 2
        else:
            own_process()
            signal.signal(signal.SIGINT, interrupt)
            for number in (signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) is signal.SIG_DFL:
                    signal.signal(number, interrupt)
            code = main()
    except KeyboardInterrupt:  # just before or after ``main``
        say("interrupted")
        code = INTERRUPTED
    STANDARD_ERROR.flush()
    if any(not thread.daemon for thread in threading.enumerate()[1:]):
        # TensorFlow still compiles in a thread that no signal reaches; sys.exit would wait for it.
        os._exit(code)
    # sys.exit would search TensorFlow's objects for garbage for seconds, while nothing is shown.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    atexit._run_exitfuncs()
    if sys.stdout is not None:
        with suppress(OSError, ValueError):  # the reader of the output has exited
            sys.stdout.flush()
    os._exit(code)


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    Args:
        arguments: The command line without the program. None means that of this process.

    Returns:
        0 if the command is done. 1 if the reader of its output has exited, or if a run of a sweep
        failed. 2 if the input is invalid, or after a disk or permission error. 130 if the command
        was interrupted; training saves the run first.
    """
    typed = sys.argv[1:] if arguments is None else arguments
    try:
        with log_to_standard_error():
            code = _run(typed)
        sys.stdout.flush()
        return code
    except UserError as error:
        say(f"error: {one_line(str(error), typed)}")
        return 2
    except BrokenPipeError:  # the reader of the output, such as head, has exited
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


def _run(typed: list[str]) -> int:
    """Parses a command line and runs its command.

    Raises:
        UserError: An argument is unknown, or a value is missing or not allowed.
    """
    words, settings = _split_off_settings(typed)
    options, unknown = _parser(words).parse_known_args(words)
    chosen = load_command(options.command)
    _check_known(chosen, unknown, settings)
    options.overrides = _overrides(settings)
    _check_not_empty(options)
    return chosen.run(options)


def _forget_output() -> None:
    """Discards output that is still buffered; writing it at exit would fail a second time."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _OneLineParser(argparse.ArgumentParser):
    """A parser that raises a UserError instead of printing its usage and exiting."""

    def error(self, message: str) -> NoReturn:
        usage = "make help" if is_started_by_make() else f"{self.prog} --help"
        raise UserError(f"{in_typed_form(message)} ('{usage}' shows how it is used)")


def load_command(name: str) -> "Command":
    """Imports the module of a command and returns the command."""
    module = import_module(f"atari_dqn.commands.{COMMANDS[name].module}")
    command: Command = module.COMMANDS[name]
    return command


def _parser(words: list[str]) -> argparse.ArgumentParser:
    """Returns a parser that knows every command, and the arguments of those among the words."""
    parser = _OneLineParser(
        prog=COMMAND, description="Deep Q-learning on Atari games from pixels.", allow_abbrev=False
    )
    subparsers = parser.add_subparsers(dest="command", metavar="command", required=True)
    for name, entry in COMMANDS.items():
        subparser = subparsers.add_parser(
            name, help=entry.summary, description=entry.summary, allow_abbrev=False
        )
        if name in words:
            load_command(name).add_arguments(subparser)
    return parser


def _split_off_settings(words: list[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Separates each ``--section.key VALUE`` or ``--section.key=VALUE`` from the other words.

    argparse cannot do this, because it does not know the names of the settings. It misreads values
    such as ``[2, 4]`` and ``-1``, and would take other values for positional arguments.

    Returns:
        The other words, and each option with its value. A missing value is an empty string.

    >>> _split_off_settings(["config", "--agent.n_step", "5", "nature", "--network.torso=mlp"])
    (['config', 'nature'], [('--agent.n_step', '5'), ('--network.torso', 'mlp')])
    """
    others: list[str] = []
    settings: list[tuple[str, str]] = []
    remaining = list(words)
    while remaining:
        word = remaining.pop(0)
        option, equals, value = word.partition("=")
        if word == "--":  # no word after it is an option
            return [*others, word, *remaining], settings
        if not option.startswith("--") or "." not in option:
            others.append(word)
            continue
        if not equals and remaining and not remaining[0].startswith("--"):
            value = remaining.pop(0)
        settings.append((option, value))
    return others, settings


def _check_known(command: "Command", unknown: list[str], settings: list[tuple[str, str]]) -> None:
    """Raises a UserError for an argument that a command does not accept."""
    refused = [word.partition("=")[0] for word in unknown]
    if not command.takes_settings:
        refused += [option for option, _ in settings]
    if refused:
        parser = argparse.ArgumentParser(add_help=False)
        command.add_arguments(parser)
        usage = parser.format_usage()
        known = sorted(set(re.findall(r"--[a-z-]+", usage)))
        where = f" in {ARGUMENTS}" if is_started_by_make() else ""
        raise UserError(f"unknown argument '{refused[0]}'{where}{nearest(refused[0], known)}")


def _overrides(settings: list[tuple[str, str]]) -> dict[str, Any]:
    """Returns the parsed values of settings, by ``section.key``.

    Raises:
        UserError: A value is missing.
    """
    from atari_dqn.config.resolve import parse_value

    overrides: dict[str, Any] = {}
    for name, text in settings:
        if not text:
            raise UserError(f"{name} needs a value")
        overrides[name.removeprefix("--").replace("-", "_")] = parse_value(text)
    return overrides


def _check_not_empty(options: argparse.Namespace) -> None:
    """Raises a UserError for an option with an empty value."""
    for name, value in vars(options).items():
        texts = value if isinstance(value, list) else [value]
        if any(isinstance(text, str) and not text.strip() for text in texts):
            typed = option(name.replace("_", "-"))
            raise UserError(f"{typed} is empty: leave it out, or give it a value")


if __name__ == "__main__":
    command()
