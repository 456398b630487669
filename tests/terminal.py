"""Runs commands in a new terminal instead of with pipes."""

import os
import pty
import select
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

STOPPED_BY_TERMINAL = 99
# Starts a command like ``command &`` in a shell with job control. Waits until it ends, or until the
# terminal stops it because it reads input, which only the foreground may do.
BACKGROUND = f"""
import os, subprocess, sys
job = subprocess.Popen(sys.argv[1:], process_group=0)
_, status = os.waitpid(job.pid, os.WUNTRACED)
if os.WIFSTOPPED(status):
    job.kill()
    sys.exit({STOPPED_BY_TERMINAL})
sys.exit(os.waitstatus_to_exitcode(status))
"""


class Answer(NamedTuple):
    """How a command in a terminal ended."""

    code: int  # exit code, or minus the number of the signal that ended the command
    screen: str  # everything that the command printed


def run_in_terminal(
    command: Sequence[str], cwd: Path, *, background: bool = False, seconds: float = 300
) -> Answer:
    """Runs a command in a new terminal until it ends, or kills it after a time limit.

    Args:
        command: program and arguments.
        cwd: working directory.
        background: whether to run it in a process group in the background of the terminal.
        seconds: time limit.
    """
    words = [sys.executable, "-c", BACKGROUND, *command] if background else list(command)
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(cwd)
        os.execvp(words[0], words)
    screen = b""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1.0)[0]:
            continue
        try:
            part = os.read(terminal, 65536)
        except OSError:  # no process has the terminal open any more
            break
        if not part:
            break
        screen += part
    else:
        os.kill(process, 9)
    _, status = os.waitpid(process, 0)
    os.close(terminal)
    return Answer(os.waitstatus_to_exitcode(status), screen.decode(errors="replace"))
