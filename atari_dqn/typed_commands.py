"""The commands and options in messages, in the form in which the user typed theirs.

Whoever typed ``make train GAME=pong`` reads ``make train GAME=pong RUN=last``, and whoever typed
``atari-dqn train --game pong`` reads ``atari-dqn train --game pong --run-dir last``. The Makefile
sets the environment variable ``ATARI_DQN_STARTED_BY`` to ``make``.
"""

import os
import re
import shlex
from pathlib import Path
from typing import TypeAlias

STARTED_BY = "ATARI_DQN_STARTED_BY"
# The make variable of all options without a variable of their own.
ARGUMENTS = "ARGS="
# Options of the command line, and the make variables that stand for them.
MAKE_VARIABLES = {
    "checkpoint": "CKPT",
    "runs": "RUNS",
    "game": "GAME",
    "config": "CONFIG",
    "protocol": "PROTOCOL",
    "total-steps": "STEPS",
    "steps": "STEPS",
    "hours": "HOURS",
    "seed": "SEED",
    "run-dir": "RUN",
    "init-from": "INIT_FROM",
    "episodes": "EPISODES",
    "out": "OUT",
    "replay": "REPLAY",
    "actors": "ACTORS",
    "address": "ADDRESS",
    "games": "GAMES",
    "seeds": "SEEDS",
    "search": "SEARCH",
    "port": "PORT",
    "annotated": "ANNOTATED",
    "highlights": "HIGHLIGHTS",
    "live": "LIVE",
}
# GPU=0 of make hides the GPU from the program. These targets would install its libraries again.
HIDDEN_GPU = "CUDA_VISIBLE_DEVICES"
TARGETS_WITH_GPU = ("train", "eval", "release", "sweep")
# Arguments that the command line takes without the name of an option.
POSITIONAL = ("checkpoint", "runs")
# Commands without a make target.
WITHOUT_TARGET = ("config", "digest")

Value: TypeAlias = str | Path | int | float | bool


def is_started_by_make() -> bool:
    """Returns whether a make target started this process."""
    return os.environ.get(STARTED_BY) == "make"


def command(name: str, **options: Value) -> str:
    """Returns a command that the user can paste.

    Args:
        name: The command, which is also the name of the make target. Words may follow it.
        options: Its options, such as ``total_steps=1000``. True stands for an option without a
            value.

    >>> command("train", game="pong", run_dir="last")
    'atari-dqn train --game pong --run-dir last'
    """
    has_target = name.split()[0] not in WITHOUT_TARGET
    if is_started_by_make() and has_target:
        return _make_command(name, options)
    words = [".venv/bin/atari-dqn" if is_started_by_make() else "atari-dqn", name]
    for key, value in options.items():
        option = key.replace("_", "-")
        if option not in POSITIONAL:
            words.append(f"--{option}")
        if value is not True:
            words.append(shlex.quote(str(value)))
    return " ".join(words)


def option(name: str) -> str:
    """Returns an option of the command line, or the make variable that stands for it.

    >>> option("run-dir"), option("checkpoint")
    ('--run-dir', 'CKPT')
    """
    variable = MAKE_VARIABLES.get(name)
    if variable is not None and is_started_by_make():
        return f"{variable}="
    return MAKE_VARIABLES[name] if name in POSITIONAL else f"--{name}"


def argument(name: str, value: Value) -> str:
    """Returns an option with its value, in a form that the user can paste.

    Args:
        name: An option, or a setting such as ``agent.n_step``.
        value: Its value. True stands for an option without a value.

    >>> argument("agent.n_step", 3)
    '--agent.n_step 3'
    """
    if is_started_by_make() and name in MAKE_VARIABLES:
        return f"{option(name)}{shlex.quote('1' if value is True else str(value))}"
    typed = f"--{name}" if value is True else f"--{name} {shlex.quote(str(value))}"
    return f"{ARGUMENTS}{shlex.quote(typed)}" if is_started_by_make() else typed


def in_typed_form(message: str) -> str:
    """Returns a message of argparse in which options are the make variables that were typed.

    >>> in_typed_form("argument --total-steps: 'x' is not a number")
    "argument --total-steps: 'x' is not a number"
    """
    if not is_started_by_make():
        return message
    head, colon, rest = message.partition(": ")
    if head.startswith("argument "):  # what follows quotes the value
        return f"{_with_variables(head)}{colon}{rest}"
    return _with_variables(message)


def _with_variables(text: str) -> str:
    return re.sub(r"--([a-z][a-z-]*)", lambda match: option(match[1]), text)


def _make_command(name: str, options: dict[str, Value]) -> str:
    words = ["make", name]
    if name in TARGETS_WITH_GPU and os.environ.get(HIDDEN_GPU) == "":
        words.append("GPU=0")
    arguments = []  # options without a variable of their own
    for key, value in options.items():
        option_name = key.replace("_", "-")
        variable = MAKE_VARIABLES.get(option_name)
        if variable is not None:
            words.append(f"{variable}={shlex.quote('1' if value is True else str(value))}")
        else:
            arguments.append(f"--{option_name}")
            if value is not True:
                arguments.append(shlex.quote(str(value)))
    if arguments:
        words.append(f"{ARGUMENTS}{shlex.quote(' '.join(arguments))}")
    return " ".join(words)
