"""Runs commands in a new terminal instead of with pipes, and reads what it shows."""

import fcntl
import io
import os
import pty
import re
import select
import struct
import sys
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.forked import start_in_terminal

STOPPED_BY_TERMINAL = 99
ROWS = 24
# The control characters that move the cursor, erase, or select a color.
CONTROLS = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|[\r\n\x08]")
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
    command: Sequence[str],
    cwd: Path,
    *,
    background: bool = False,
    forked: bool = False,
    columns: int = 0,
    ctrl_c_when: Callable[[], bool] = lambda: False,
    seconds: float = 300,
) -> Answer:
    """Runs a command in a new terminal until it ends, or kills it after a time limit.

    Args:
        command: program and arguments.
        cwd: working directory.
        background: whether to run it in a process group in the background of the terminal.
        forked: whether to run a command of this package, which begins with ``python -m atari_dqn``,
            in a process that has already imported TensorFlow.
        ctrl_c_when: function that returns whether to press Ctrl-C, which happens only once.
        columns: width of the terminal, or 0 for a terminal that does not know its size.
        seconds: time limit.
    """
    words = [sys.executable, "-c", BACKGROUND, *command] if background else list(command)
    size = struct.pack("HHHH", ROWS if columns else 0, columns, 0, 0)
    if forked:
        child, terminal = start_in_terminal(words[3:], cwd, size)
        process = child.pid
    else:
        child = None
        process, terminal = pty.fork()
        if process == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, size)
            os.chdir(cwd)
            os.execvp(words[0], words)
    screen = b""
    deadline = time.monotonic() + seconds
    pressed = False
    while time.monotonic() < deadline:
        if not pressed and ctrl_c_when():
            pressed = True
            os.write(terminal, b"\x03")
        if not select.select([terminal], [], [], 0.1)[0]:
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
    code = child.wait() if child else os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    os.close(terminal)
    return Answer(code, screen.decode(errors="replace"))


class Screen:
    """A terminal of endless height, which shows what a command prints.

    Attributes:
        lines: the lines on the screen, without spaces at their ends.
        seen: every line that was ever on the screen when the cursor left it or went back.
    """

    def __init__(self, text: str) -> None:
        self._rows: list[list[str]] = [[]]
        self._row = 0
        self._column = 0
        self.seen: list[str] = []
        end = 0
        for control in CONTROLS.finditer(text):
            self._type(text[end : control.start()])
            self._obey(control[0], control[1] or "", control[2])
            end = control.end()
        self._type(text[end:])

    @property
    def lines(self) -> list[str]:
        return ["".join(row).rstrip() for row in self._rows]

    def _type(self, text: str) -> None:
        row = self._rows[self._row]
        row += " " * (self._column - len(row))
        row[self._column : self._column + len(text)] = text
        self._column += len(text)
        if text:
            self.seen.append("".join(row).rstrip())

    def _obey(self, control: str, numbers: str, letter: str) -> None:
        count = int(numbers) if numbers.isdigit() else 1
        if control == "\r":
            self._column = 0
        elif control == "\n":
            self._row += 1
            self._rows += [[]] * 0 if self._row < len(self._rows) else [[]]
        elif control == "\x08":
            self._column = max(self._column - 1, 0)
        elif letter == "A":
            self._row = max(self._row - count, 0)
        elif letter == "K":
            keeps_left = numbers in ("", "0")
            self._rows[self._row] = self._rows[self._row][: self._column] if keeps_left else []


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError("this terminal has no descriptor")
