"""Runs commands for the acceptance tests.

A command can run in a new process, as a user starts it. It is faster to fork a process that has
already imported TensorFlow, and fastest to stay in this process.
"""

import contextlib
import io
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from unittest import mock

from atari_dqn import cli
from atari_dqn.backend import startup
from tests import forked

GAME = "BreakoutDeterministic-v4"
SMALL = [
    *("--training.warmup_steps", "400", "--training.log_period", "200"),
    *("--training.evaluation_period", "0", "--training.evaluation_episodes", "2"),
    *("--training.environments", "8"),
    *("--replay.capacity", "5000", "--agent.batch_size", "8", "--network.hidden_units", "32"),
]


def run(
    *arguments: str,
    cwd: Path,
    expect: int = 0,
    env: Mapping[str, str] | None = None,
    largest_file: int | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs a command in a process that has already imported TensorFlow.

    Args:
        arguments: The command line without the program.
        cwd: The working directory.
        expect: The expected exit code.
        env: The environment variables. None means those of this process.
        largest_file: Bytes beyond which no file may grow, or None for no limit.
    """
    process = forked.Process(arguments, cwd, env=env, largest_file=largest_file)
    out, errors = process.communicate()
    return _checked(arguments, process.wait(), out, errors, expect)


def run_anew(
    *arguments: str, cwd: Path, expect: int = 0, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a command in a new process of Python, as a user does; otherwise like ``run``."""
    command = [sys.executable, "-m", "atari_dqn.cli", *arguments]
    answer = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=env, check=False)
    return _checked(arguments, answer.returncode, answer.stdout, answer.stderr, expect)


def _checked(
    arguments: Sequence[str], code: int, out: str, errors: str, expect: int
) -> subprocess.CompletedProcess[str]:
    assert code == expect, errors
    assert "Traceback" not in errors
    return subprocess.CompletedProcess(arguments, code, out, errors)


def run_in_process(*arguments: str, cwd: Path, expect: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs a command in this process, which has already loaded TensorFlow; otherwise like ``run``.

    An unexpected exception propagates to the test.
    """
    out = io.StringIO()
    errors = io.StringIO()
    started = mock.patch.object(startup, "start")
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(errors),
        started,
    ):
        code = cli.main(list(arguments))
    assert code == expect, errors.getvalue()
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), errors.getvalue())
