"""How much memory is free, in a container too."""

from pathlib import Path

import psutil

CGROUP = Path("/sys/fs/cgroup")
CGROUP_FILES = (
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)


def free_memory() -> int:
    """Bytes that this process may still take: the machine's free memory, or what its container has left."""
    free = psutil.virtual_memory().available
    for limit, used, statistics in CGROUP_FILES:
        try:
            left = int((CGROUP / limit).read_text()) - int((CGROUP / used).read_text())
            # Cached files count as used, and give way when something else is needed.
            named = dict(line.split() for line in (CGROUP / statistics).read_text().splitlines())
            free = min(free, left + int(named.get("inactive_file", 0)))
        except (OSError, ValueError):
            continue
    return max(free, 0)
