"""Records a run's settings, and the command, package versions and machine of each of its starts."""

import json
import os
import platform
import re
import subprocess
import sys
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from atari_dqn.backend.machine import usable_cores
from atari_dqn.config.schema import Config
from atari_dqn.errors import UserError
from atari_dqn.files.atomic_write import check_no_link, write_whole
from atari_dqn.files.reading import read_json
from atari_dqn.runs.directory import CONFIG

CIRCUMSTANCES = "run.json"
PACKAGES = (
    "atari-dqn",
    "ale-py",
    "gymnasium",
    "imageio",
    "keras",
    "lz4",
    "numpy",
    "opencv-python",
    "tensorflow",
)


def write_circumstances(
    run_directory: Path, config: Config, plan: dict[str, Any] | None = None
) -> list[str]:
    """Writes the resolved settings, and adds this start to ``run.json``.

    ``run.json`` lists the time, the command, package versions, the commit and the machine of each
    start. A file that cannot be read is replaced.

    Args:
        run_directory: The run directory, which is created.
        config: The settings.
        plan: The requested hours and the measured speeds, for a run that was planned by time.

    Returns:
        Notes for the user.
    """
    run_directory.mkdir(parents=True, exist_ok=True)
    _replace(run_directory / CONFIG, config.to_toml())
    path = run_directory / CIRCUMSTANCES
    notes = []
    check_no_link(path)
    starts: list[dict[str, Any]] = []
    if path.exists():
        try:
            starts = read_starts(path)
        except UserError as error:
            notes.append(f"{error}; a new file replaces it")
    starts.append(
        {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "command": sys.argv,
            "commit": _commit(),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "machine": _machine(),
            "packages": {name: _version(name) for name in PACKAGES},
            **({"plan": plan} if plan else {}),
        }
    )
    _replace(path, json.dumps({"starts": starts}, indent=1) + "\n")
    return notes


def read_starts(path: Path) -> list[dict[str, Any]]:
    """Returns the starts of a run, as ``run.json`` lists them.

    Raises:
        UserError: The file cannot be read, or has other content.
    """
    document = read_json(path)
    starts = document.get("starts") if isinstance(document, dict) else None
    if not isinstance(starts, list) or not all(isinstance(start, dict) for start in starts):
        raise UserError(f"'{path}' does not list the starts of a run")
    return starts


def _replace(path: Path, text: str) -> None:
    """Writes a file atomically; raises a UserError if that fails."""
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise UserError(f"'{path}' could not be written: {error.strerror}") from error


def _machine() -> str:
    """Returns the name of the processor, the number of cores and the memory in GiB, as text."""
    names: list[str] = []
    with suppress(OSError):
        cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        names = re.findall(r"^model name\s*: (.*)$", cpuinfo, re.MULTILINE)
    name = names[0] if names else platform.processor() or platform.machine()
    cores = os.cpu_count() or 1
    usable = usable_cores()
    counted = f"{cores} cores" if usable == cores else f"{usable} of {cores} cores"
    return f"{name}, {counted}, {psutil.virtual_memory().total / 2**30:.0f} GiB"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Returns the commit of the source code, or None outside a Git checkout.

    It ends in ``-dirty`` if the code has uncommitted changes. A package installed into the
    environment of another project is in that project's folder, but not one of its files.
    """
    here = Path(__file__)
    try:
        _git("ls-files", "--error-unmatch", here.name, folder=here.parent)
        commit = _git(
            "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*", folder=here.parent
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit


def _git(*arguments: str, folder: Path) -> str:
    """Returns what a command of Git prints in a folder."""
    answer = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout.strip()
