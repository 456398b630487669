"""Runs commands for the acceptance tests: in their own process, as a user does, or in this one.

Running a command in this process is much faster.
"""

import contextlib
import io
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from atari_dqn import cli
from atari_dqn.backend import startup

GAME = "BreakoutDeterministic-v4"
SMALL = [
    *(
        "--training.warmup_steps",
        "400",
        "--training.log_period",
        "200",
        "--training.evaluation_period",
        "0",
    ),
    *(
        "--training.evaluation_episodes",
        "2",
        "--training.environments",
        "8",
        "--replay.capacity",
        "5000",
    ),
    *("--agent.batch_size", "8", "--network.hidden_units", "32"),
]


def run(
    *arguments: str, cwd: Path, expect: int = 0, **options: Any
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "atari_dqn.cli", *arguments]
    answer = subprocess.run(command, cwd=cwd, capture_output=True, text=True, **options)
    assert answer.returncode == expect, answer.stderr
    assert "Traceback" not in answer.stderr
    return answer


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
