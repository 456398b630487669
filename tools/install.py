"""Builds .venv, or adds an extra's packages to it, and shows in a terminal what is going on.

``make`` runs this script. It needs nothing but Python, because no package is installed yet.

    python3 tools/install.py            # builds .venv with this package
    .venv/bin/python tools/install.py gallery

pip's own output would fill several screens, and pip is silent while it unpacks packages. One line
that counts packages replaces it. If pip fails, everything that it has reported is printed.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections import deque
from collections.abc import Sequence
from pathlib import Path

ENVIRONMENT = Path(".venv")
# The packages of each extra, in words, and how long they usually take on two cores with a fast
# connection. The empty name stands for this package and all that it needs.
EXTRAS = {
    "": ("TensorFlow and 50 other packages", "1 to 3 minutes"),
    "bench": ("PyTorch and Stable-Baselines3", "1 to 3 minutes"),
    "box2d": ("the physics of this game", "10 seconds"),
    "dev": ("packages for developers", "1 to 3 minutes"),
    "distributed": ("Ray for many processes", "1 minute"),
    "docs": ("packages that build the documents", "20 seconds"),
    "gallery": ("packages for pages with charts", "20 seconds"),
    "gpu": ("2.8 GB of NVIDIA's libraries", "some minutes"),
    "onnx": ("packages that write ONNX files", "20 seconds"),
    "plot": ("packages that draw curves", "20 seconds"),
}
SECONDS_BETWEEN_REDRAWS = 0.5
# The lines before an error that are printed with it.
LINES_OF_CONTEXT = 10
PACKAGE = re.compile(r"\s*(?:Collecting|Processing) (?:\S*/)?([A-Za-z0-9._]+)")
DOWNLOAD = re.compile(r"\s*Downloading ([A-Za-z0-9._]+)-\S*\.whl (\([^)]*\))")
UNPACKING = re.compile(r"Installing collected packages: (.*)")


class Output:
    """The standard output of a command, and in a few words what the command is doing.

    Attributes:
        last_lines: The last lines of the output.
    """

    def __init__(self, doing: str) -> None:
        """Args: doing: What the command does at first."""
        self.last_lines: deque[str] = deque(maxlen=LINES_OF_CONTEXT)
        self._doing = doing
        self._found = 0
        self._unpacking = 0
        self._installed_before = 0

    def read(self, line: str) -> None:
        """Takes one line of the output."""
        self.last_lines.append(line.rstrip())
        if package := PACKAGE.match(line):
            self._found += 1
            self._doing = f"fetching packages: {self._found}, now {package[1]}"
        elif download := DOWNLOAD.match(line):
            self._doing = f"fetching packages: {self._found}, now {download[1]} {download[2]}"
        elif unpacking := UNPACKING.match(line):
            self._unpacking = len(unpacking[1].split(","))
            self._installed_before = _installed()

    def summary(self) -> str:
        """Returns what the command is doing."""
        if not self._unpacking:
            return self._doing
        done = min(max(_installed() - self._installed_before, 0), self._unpacking)
        return f"unpacking packages: {done} of {self._unpacking}"


def main(arguments: Sequence[str]) -> int:
    """Installs this package, or an extra of it, and returns the exit code.

    Args:
        arguments: The name of the extra, or nothing for the package itself.
    """
    extra = arguments[0] if arguments else ""
    what, usual_time = EXTRAS[extra]
    say(f"Installing {what} into {ENVIRONMENT} (once, {usual_time})")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started = time.monotonic()
    try:
        if not extra:
            creating = [sys.executable, "-m", "venv", str(ENVIRONMENT)]
            run(creating, f"creating {ENVIRONMENT}", started)
        run([*_pip_install(), *requirements(extra)], "looking for packages", started)
    except subprocess.CalledProcessError as error:
        say(error.output, "error: the installation failed; the same command tries again")
        return 2
    except KeyboardInterrupt:
        say("The installation was interrupted. The same command starts it again.")
        return 128 + signal.SIGINT
    say(f"Installed in {time.monotonic() - started:.0f} s.")
    return 0


def requirements(extra: str) -> list[str]:
    """Returns the arguments for pip that stand for this package or for an extra of it.

    An extra is given by its requirements. ``-e .[extra]`` would also remove this package and
    install it again, and an interruption could leave .venv without it.
    """
    if not extra:
        return ["-e", "."]
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = []
    for requirement in project["optional-dependencies"][extra]:
        others = re.fullmatch(rf"{project['name']}\[(.*)\]", requirement)
        if others is None:
            found.append(requirement)
        else:
            found += [text for other in others[1].split(",") for text in requirements(other)]
    return found


def run(command: Sequence[str], doing: str, started: float) -> None:
    """Runs a command. In a terminal, one line shows meanwhile what the command is doing.

    Args:
        command: The program and its arguments.
        doing: What the command does at first.
        started: When the installation started, by ``time.monotonic``.

    Raises:
        subprocess.CalledProcessError: It failed. ``output`` is the text to print: the last lines of
            its standard output, and its whole standard error.
    """
    output = Output(doing)
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            errors="replace",
        )
        try:
            reader = threading.Thread(target=_read, args=(process, output), daemon=True)
            reader.start()
            while reader.is_alive():
                _draw(f"{output.summary()} ... {_clock(started)}")
                reader.join(SECONDS_BETWEEN_REDRAWS)
            process.wait()
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise
        finally:
            _draw("")
        if process.returncode:
            errors.seek(0)
            text = "\n".join([*output.last_lines, errors.read().rstrip()])
            raise subprocess.CalledProcessError(process.returncode, command, output=text)


def say(*lines: str) -> None:
    """Prints lines on standard error, because standard output is for results."""
    for line in lines:
        print(line, file=sys.stderr, flush=True)


def _read(process: "subprocess.Popen[str]", output: Output) -> None:
    """Reads the standard output of a process to its end."""
    for line in process.stdout or ():
        output.read(line)


def _draw(line: str) -> None:
    """Replaces the line that shows the progress. Only a terminal has such a line."""
    if sys.stderr.isatty():
        columns = os.get_terminal_size(sys.stderr.fileno()).columns or 80
        print(f"\r\x1b[K{line[: columns - 1]}", end="", file=sys.stderr, flush=True)


def _clock(started: float) -> str:
    """Returns the time since the start, as minutes and seconds."""
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    return f"{minutes:02d}:{seconds:02d}"


def _pip_install() -> list[str]:
    python = str(ENVIRONMENT / "bin" / "python")
    options = ["--disable-pip-version-check", "--no-input", "--no-color", "--progress-bar", "off"]
    return [python, "-m", "pip", "install", *options, "-c", "requirements.lock"]


def _installed() -> int:
    """Returns the number of packages in the environment."""
    return sum(1 for _ in ENVIRONMENT.glob("lib/python*/site-packages/*.dist-info"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
