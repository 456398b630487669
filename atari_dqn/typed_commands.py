"""The commands and options in messages, in the form in which the user typed theirs.

Whoever typed ``make train GAME=pong`` reads ``make train GAME=pong RUN=last``, and whoever typed
``atari-dqn train --game pong`` reads ``atari-dqn train --game pong --run-dir last``. The Makefile
sets the environment variable ``ATARI_DQN_STARTED_BY`` to ``make``.
"""

import os
import shlex
from pathlib import Path
from typing import TypeAlias

STARTED_BY = "ATARI_DQN_STARTED_BY"
# Options of the command line, and the make variables that stand for them.
MAKE_VARIABLES = {
    "checkpoint": "CKPT",
    "runs": "RUNS",
    "game": "GAME",
    "config": "CONFIG",
    "protocol": "PROTOCOL",
    "total-steps": "STEPS",
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
    "live": "LIVE",
}
# Arguments that the command line takes without the name of an option.
POSITIONAL = ("checkpoint", "runs")

Value: TypeAlias = str | Path | int | float | bool


def is_started_by_make() -> bool:
    """Returns whether a make target started this process."""
    return os.environ.get(STARTED_BY) == "make"


def command(name: str, **options: Value) -> str:
    """Returns a command that the user can paste.

    Args:
        name: The command, which is also the name of the make target.
        options: Its options, such as ``total_steps=1000``. True stands for an option without a
            value.

    >>> command("train", game="pong", run_dir="last")
    'atari-dqn train --game pong --run-dir last'
    """
    if is_started_by_make():
        return _make_command(name, options)
    words = ["atari-dqn", name]
    for key, value in options.items():
        option = key.replace("_", "-")
        if option not in POSITIONAL:
            words.append(f"--{option}")
        if value is not True:
            words.append(shlex.quote(str(value)))
    return " ".join(words)


def option(name: str) -> str:
    """Returns an option of the command line, or the make variable that stands for it.

    >>> option("run-dir")
    '--run-dir'
    """
    variable = MAKE_VARIABLES.get(name)
    return f"{variable}=" if is_started_by_make() and variable else f"--{name}"


def _make_command(name: str, options: dict[str, Value]) -> str:
    words = ["make", name]
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
        words.append(f"ARGS={shlex.quote(' '.join(arguments))}")
    return " ".join(words)
