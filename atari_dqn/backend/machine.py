"""Finds the cores and memory that this process may use in its container or batch job."""

import math
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import psutil

# Folder of the files in which the kernel lists this process's control groups and their mounts.
PROC = Path("/proc/self")
# The two versions of control groups.
V1 = 1
V2 = 2
# For each version: the file with the limit, the file with the memory in use, and the statistic for
# cached files of the group and its descendants. Cached files count as memory in use, although the
# kernel frees them on demand (Linux, Documentation/admin-guide/cgroup-v1/memory.rst and
# cgroup-v2.rst).
MEMORY_FILES = {
    V1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    V2: ("memory.max", "memory.current", "inactive_file"),
}


class Mount(NamedTuple):
    """A hierarchy of control groups.

    Attributes:
        version: 1 or 2. Each hierarchy of version 1 has some of the controllers. The single
            hierarchy of version 2 has all others.
        root: The group that is mounted at the directory.
        directory: Directory at which the hierarchy is mounted.
        controllers: Controllers of a hierarchy of version 1.
    """

    version: int
    root: PurePosixPath
    directory: Path
    controllers: frozenset[str]


class Level(NamedTuple):
    """A group that contains this process, and the version of its hierarchy."""

    version: int
    directory: Path


def usable_cores() -> int:
    """Returns the number of cores that this process may use, at least 1.

    This is the number of cores in its CPU affinity, or its CPU quota, rounded up, if that is less.
    """
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    for level in _levels("cpu"):
        quota = _quota(level)
        if quota is not None:
            cores = min(cores, math.ceil(quota))
    return max(cores, 1)


def memory_left() -> int:
    """Returns the number of bytes that this process may still allocate.

    This is the machine's free memory, or what is left in a control group if that is less.
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
    """Returns a group's CPU quota in cores, or None if it has no limit."""
    if level.version == V2:
        words = _text(level.directory / "cpu.max").split()
    else:
        words = [_text(level.directory / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
    try:
        quota, period = (int(word) for word in words)
    except ValueError:  # "max", or no such file
        return None
    return quota / period if quota > 0 and period > 0 else None  # in version 1, -1 means no limit


def _levels(controller: str) -> Iterator[Level]:
    """Yields the groups in which a controller may limit this process, the innermost first."""
    groups = _groups()
    for mount in _mounts():
        if mount.version == V1 and controller not in mount.controllers:
            continue
        group = groups.get(controller if mount.version == V1 else "")
        if group is None:
            continue
        own = mount.directory
        # In a container, the path may be that on the host. Then only the root is visible.
        if group.is_relative_to(mount.root) and ".." not in group.parts:
            own /= group.relative_to(mount.root)
        for directory in (own, *own.parents):
            yield Level(mount.version, directory)
            if directory == mount.directory:
                break


def _groups() -> dict[str, PurePosixPath]:
    """Returns this process's group for each controller (version 1) and for "" (version 2)."""
    groups: dict[str, PurePosixPath] = {}
    for line in _text(PROC / "cgroup").splitlines():
        _, separator, controllers_and_path = line.partition(":")
        controllers, separator, path = controllers_and_path.partition(":")
        if separator:
            groups |= dict.fromkeys(controllers.split(","), PurePosixPath(path))
    return groups


def _mounts() -> list[Mount]:
    """Returns the mounted hierarchies; ``man 5 proc`` describes the format of mountinfo."""
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
    r"""Decodes octal escapes such as ``\040``, as the kernel writes spaces and backslashes."""
    return re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), word)


def _text(path: Path) -> str:
    """Returns the text of a kernel file, or an empty text if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
