"""Cores and memory that this process may use, within the limits of a container or a batch job."""

import math
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import psutil

# Where the kernel lists the control groups of this process, and where these are mounted.
PROC = Path("/proc/self")
# Versions of control groups.
V1 = 1
V2 = 2
# Of each version of control groups: the limit, what is used of it, and the cached files of the
# group and all below it. These count as used, and give way when something else is needed (Linux,
# Documentation/admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst).
MEMORY_FILES = {
    V1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    V2: ("memory.max", "memory.current", "inactive_file"),
}


class Mount(NamedTuple):
    """A hierarchy of control groups.

    Attributes:
        version: 1, with some of the controllers, or 2, with all the rest.
        root: the group that is found at its directory.
        directory: where it is mounted.
        controllers: of version 1.
    """

    version: int
    root: PurePosixPath
    directory: Path
    controllers: frozenset[str]


class Level(NamedTuple):
    """A group that the process is in, and the version of its hierarchy."""

    version: int
    directory: Path


def usable_cores() -> int:
    """Returns how many cores this process may use, at least 1.

    These are the cores that it may be scheduled on, or fewer where a CPU quota keeps fewer busy
    (rounded up).
    """
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    for level in _levels("cpu"):
        quota = _quota(level)
        if quota is not None:
            cores = min(cores, math.ceil(quota))
    return max(cores, 1)


def memory_left() -> int:
    """Returns the bytes that this process may still take.

    That is the machine's free memory, or less where a control group has less left.
    """
    available = psutil.virtual_memory().available
    for level in _levels("memory"):
        limit_file, used_file, cached = MEMORY_FILES[level.version]
        try:
            limit = int(_text(level.directory / limit_file))
            used = int(_text(level.directory / used_file))
        except ValueError:  # "max", or no such file
            continue
        statistics = _text(level.directory / "memory.stat")
        line = re.search(rf"^{cached} (\d+)$", statistics, re.MULTILINE)
        reclaimable = int(line[1]) if line else 0
        available = min(available, limit - used + reclaimable)
    return max(available, 0)


def _quota(level: Level) -> float | None:
    """Returns how many cores a group may keep busy; None where it has no limit."""
    if level.version == V2:
        words = _text(level.directory / "cpu.max").split()
    else:
        words = [_text(level.directory / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
    try:
        quota, period = (int(word) for word in words)
    except ValueError:  # "max", or no such file
        return None
    return quota / period if quota > 0 and period > 0 else None  # version 1: a quota of -1 is none


def _levels(controller: str) -> Iterator[Level]:
    """Yields the groups in which a controller may limit this process, its own first."""
    groups = _groups()
    for mount in _mounts():
        if mount.version == V1 and controller not in mount.controllers:
            continue
        group = groups.get(controller if mount.version == V1 else "")
        if group is None:
            continue
        own = mount.directory
        # Inside a container, the path may be that outside of it, of which only the root is mounted.
        if group.is_relative_to(mount.root) and ".." not in group.parts:
            own /= group.relative_to(mount.root)
        for directory in (own, *own.parents):
            yield Level(mount.version, directory)
            if directory == mount.directory:
                break


def _groups() -> dict[str, PurePosixPath]:
    """Returns this process's group by controller (version 1), and by an empty name (version 2)."""
    groups: dict[str, PurePosixPath] = {}
    for line in _text(PROC / "cgroup").splitlines():
        _, separator, controllers_and_path = line.partition(":")
        controllers, separator, path = controllers_and_path.partition(":")
        if separator:
            groups |= dict.fromkeys(controllers.split(","), PurePosixPath(path))
    return groups


def _mounts() -> list[Mount]:
    """Returns the hierarchies that are mounted; ``man 5 proc`` describes the lines of mountinfo."""
    mounts = []
    for line in _text(PROC / "mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.partition(" ")
        if kind not in ("cgroup", "cgroup2"):
            continue
        words = before.split(" ")
        root = _unescaped(words[3])
        directory = _unescaped(words[4])
        controllers = frozenset(options.rpartition(" ")[2].split(","))
        version = V2 if kind == "cgroup2" else V1
        mounts.append(Mount(version, PurePosixPath(root), Path(directory), controllers))
    return mounts


def _unescaped(word: str) -> str:
    r"""Replaces ``\040`` and the like, which the kernel writes for white space and backslashes."""
    return re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), word)


def _text(path: Path) -> str:
    """Returns the text of a file of the kernel, or no text where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
