"""The command that trains: it starts a run or continues one."""

import argparse
from functools import partial
from pathlib import Path

from atari_dqn.bootstrap import INTERRUPTED
from atari_dqn.commands.arguments import (
    Command,
    add_game,
    add_hours,
    add_root,
    add_videos,
)
from atari_dqn.commands.next_steps import after_training
from atari_dqn.config.resolve import DEFAULT_RECIPE, parse_value
from atari_dqn.console import print_result, say
from atari_dqn.errors import UserError
from atari_dqn.typed_commands import option as typed_option
from atari_dqn.workflows.named import named_checkpoint
from atari_dqn.workflows.settings import SettingsRequest
from atari_dqn.workflows.train import RunOutcome, RunRequest, RunState, start_or_continue

# Options that stand for a setting.
SETTINGS_OF_OPTIONS = {
    "total_steps": "training.total_steps",
    "seed": "machine.seed",
    "actors": "machine.actors",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``train``."""
    add_game(parser)
    add_videos(parser)
    parser.add_argument(
        "--config",
        metavar="NAME|FILE",
        help=f"recipe (default: the task's own, or {DEFAULT_RECIPE})",
    )
    parser.add_argument("--total-steps", metavar="N", help="agent steps (default: the recipe's)")
    add_hours(parser, "train this long: the recipe and the agent steps follow from the speed")
    parser.add_argument("--seed", metavar="N", help="random seed (default: 1)")
    parser.add_argument(
        "--run-dir",
        metavar="DIR",
        help="a path, a name under checkpoints/<game>/, or 'last'; an existing run is continued",
    )
    add_root(parser)
    parser.add_argument(
        "--actors", metavar="N", help="actor processes on Ray (default: 0, the learner acts)"
    )
    parser.add_argument(
        "--address",
        metavar="HOST:PORT|auto",
        help="address of the Ray cluster for --actors (default: this machine alone)",
    )
    parser.add_argument(
        "--init-from",
        metavar="CKPT",
        help="start with the weights of another run, of this game or another: a path, 'last', "
        "'best' or a game",
    )
    parser.add_argument(
        "--verbose", action="store_true", help="also print a table of the network's layers"
    )


def run(options: argparse.Namespace) -> int:
    """Starts or continues a run, and prints its outcome."""
    settings = settings_request(options)
    if options.hours is not None and "training.total_steps" in settings.overrides:
        both = f"{typed_option('hours')} and {typed_option('total-steps')}"
        raise UserError(f"{both} both set the length of the run: leave one of them out")
    outcome = start_or_continue(
        RunRequest(
            settings=settings,
            hours=options.hours,
            root=Path(options.root),
            videos=Path(options.videos),
            run=options.run_dir,
            init_from=_init_from(options),
            address=options.address,
            show_progress=True,
            verbose=options.verbose,
        ),
        report=partial(_print_outcome, options),
    )
    return INTERRUPTED if outcome.state is RunState.INTERRUPTED else 0


def _init_from(options: argparse.Namespace) -> Path | None:
    if options.init_from is None:
        return None
    return named_checkpoint(options.init_from, None, Path(options.root), Path(options.videos))


def _print_outcome(options: argparse.Namespace, outcome: RunOutcome) -> None:
    if outcome.state is RunState.INTERRUPTED:
        say(outcome.describe())
    else:
        print_result(outcome.describe())
    say(*after_training(outcome, options.root, options.videos))


def settings_request(options: argparse.Namespace) -> SettingsRequest:
    """Returns the settings that the options of ``train`` request."""
    overrides = dict(options.overrides)
    for option, setting in SETTINGS_OF_OPTIONS.items():
        text = getattr(options, option)
        if text is not None:
            overrides[setting] = parse_value(text)
    return SettingsRequest(options.game, options.config, options.protocol, overrides)


COMMANDS = {"train": Command(add_arguments, run, takes_settings=True)}
