"""Starts commands in processes that have already imported TensorFlow, which takes seconds.

A server process imports the package once and forks for each command. TensorFlow has not started in
it: it has neither devices nor threads. So a command still chooses its own threads, and has its own
descriptors, environment, working directory and signal handlers. Tests of what a command imports and
how it begins need a new process of Python instead, and so do tests in which two processes must not
share the seed of Python's hashes.
"""

import fcntl
import functools
import gc
import json
import os
import platform
import pty
import resource
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

ROOT = Path(__file__).parent.parent
SERVER = "import sys; from tests import forked; forked.serve(int(sys.argv[1]))"
COMMAND = "from atari_dqn import cli; cli.command()"
LARGEST_REQUEST = 2**18


class Process:
    """A command in a forked process; a part of what ``subprocess.Popen`` offers.

    Args:
        arguments: The command line without the program.
        cwd: The working directory.
        env: The environment variables. None means those of this process.
        stdout: Descriptor of standard output, or None for a pipe.
        stderr: Descriptor of standard error, or None for a pipe.
        largest_file: Bytes beyond which no file may grow, or None for no limit.
        terminal: Descriptor of a terminal that becomes the process's own, instead of pipes.
        program: The text of the program, if it is not the command itself.

    Attributes:
        pid: The number of the process.
        returncode: The exit code, or minus the number of the signal that ended the process. None
            while it runs.
        stdout: The text that the process prints, or None without a pipe.
        stderr: Its text on standard error, or None without a pipe.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        cwd: Path,
        *,
        env: Mapping[str, str] | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        largest_file: int | None = None,
        terminal: int | None = None,
        program: str = COMMAND,
    ) -> None:
        request = {
            "arguments": list(arguments),
            "cwd": str(cwd),
            "program": program,
            "environment": dict(os.environ if env is None else env),
            "largest_file": largest_file,
            "has_terminal": terminal is not None,
        }
        own_ends: list[int] = []
        self.stdout: IO[str] | None = None
        self.stderr: IO[str] | None = None
        if terminal is not None:
            streams = [terminal] * 3
        else:
            own_ends.append(os.open(os.devnull, os.O_RDONLY))
            streams = [own_ends[0], stdout or 0, stderr or 0]
            if stdout is None:
                self.stdout, streams[1] = _pipe()
                own_ends.append(streams[1])
            if stderr is None:
                self.stderr, streams[2] = _pipe()
                own_ends.append(streams[2])
        self._status, status = _pipe()
        own_ends.append(status)
        socket.send_fds(_server(), [json.dumps(request).encode()], [*streams, status])
        for descriptor in own_ends:
            os.close(descriptor)
        self.pid = int(self._status.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Returns the exit code, or None while the process runs."""
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Returns the exit code when the process has ended.

        Raises:
            TimeoutError: It has not ended within the given seconds.
        """
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise TimeoutError(f"process {self.pid} still runs after {timeout} s")
            self.returncode = int(self._status.readline())
            self._status.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Sends a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kills the process, unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Waits for the end of the process, and returns what it printed to its pipes.

        Raises:
            TimeoutError: It has not ended within the given seconds.
        """
        printed = {"stdout": "", "stderr": ""}

        def read(name: str, stream: IO[str]) -> None:
            with stream:
                printed[name] = stream.read()

        threads = [
            threading.Thread(target=read, args=(name, stream), daemon=True)
            for name, stream in (("stdout", self.stdout), ("stderr", self.stderr))
            if stream is not None
        ]
        for thread in threads:
            thread.start()
        self.wait(timeout)
        for thread in threads:
            thread.join(timeout)
        return printed["stdout"], printed["stderr"]


def start_in_terminal(arguments: Sequence[str], cwd: Path, size: bytes) -> tuple[Process, int]:
    """Starts a command in a new terminal; returns the process and the terminal's other side.

    Args:
        arguments: The command line without the program.
        cwd: The working directory.
        size: The size of the terminal, as the system call expects it.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
    process = Process(arguments, cwd, terminal=theirs)
    os.close(theirs)
    return process, ours


def _pipe() -> tuple[IO[str], int]:
    """Returns the reading end of a pipe as a text stream, and the writing end."""
    reader, writer = os.pipe()
    return os.fdopen(reader, encoding="utf-8"), writer


@functools.cache
def _server() -> socket.socket:
    """Starts the server of this process; returns the socket of its requests.

    The server ends when the socket is closed, at the latest with this process.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-c", SERVER, str(theirs.fileno())]
    subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    theirs.close()
    return ours


def serve(descriptor: int) -> NoReturn:
    """Imports the package, and forks for each request on a socket until it is closed.

    Args:
        descriptor: The descriptor of the socket.
    """
    set_by_imports = _import_everything()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system forgets those that have ended
    requests = socket.socket(fileno=descriptor)
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, LARGEST_REQUEST, 4)
        if not message:
            os._exit(0)
        if os.fork() == 0:
            requests.close()
            request = json.loads(message)
            request["environment"] = set_by_imports | request["environment"]
            _supervise(request, descriptors[:3], descriptors[3])
        for one in descriptors:
            os.close(one)


def _import_everything() -> dict[str, str]:
    """Imports what commands need; returns the environment variables that this sets."""
    before = dict(os.environ)
    from atari_dqn.backend import startup

    # ``startup.start`` would set this variable before TensorFlow is imported.
    if platform.machine() in startup.X86:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    startup.import_tensorflow()
    from atari_dqn import cli  # noqa: F401
    from atari_dqn.agent import pretrained  # noqa: F401
    from atari_dqn.training import loop  # noqa: F401
    from atari_dqn.workflows import evaluate, train  # noqa: F401

    gc.collect()
    gc.freeze()
    return {name: value for name, value in os.environ.items() if before.get(name) != value}


def _supervise(request: dict[str, Any], streams: list[int], status: int) -> NoReturn:
    """Forks again, and reports the number and the exit code of that process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        os.close(status)
        _run(request, streams)
    for one in streams:
        os.close(one)
    os.write(status, f"{child}\n".encode())
    _, code = os.waitpid(child, 0)
    os.write(status, f"{os.waitstatus_to_exitcode(code)}\n".encode())
    os._exit(0)


def _run(request: dict[str, Any], streams: list[int]) -> NoReturn:
    """Turns this process into that of a command, and runs it."""
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
    for descriptor in streams:
        os.close(descriptor)
    if request["has_terminal"]:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    if request["largest_file"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["largest_file"],) * 2)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", 1 if os.isatty(1) else -1, closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
    sys.path[0] = request["cwd"]
    from atari_dqn import cli

    sys.argv = [str(cli.__file__), *request["arguments"]]
    code = 0
    try:
        exec(request["program"], {"__name__": "__main__"})
    except SystemExit as end:  # argparse ends "--help" so
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    os._exit(code)
