"""Whether a replay memory fits into the memory that is free."""

import shutil
from pathlib import Path
from typing import Literal

from atari_dqn.backend.machine import memory_left
from atari_dqn.errors import UserError
from atari_dqn.replay.frames import RingLayout, Storage

# Packed frames take less than this share of raw ones in every game that was measured
# (docs/design/reliability.md).
PACKED_SHARE = 1 / 8
# Of a row: action 4, reward 4, discount 4, last 1, age 1.
ROW_BYTES = 14
# The network, TensorFlow's buffers and the emulators need memory too.
RESERVE = 500_000_000


def memory_needed(storage: Storage, layout: RingLayout) -> int:
    """Returns the bytes of memory that a replay memory takes.

    These are the frames (raw, the mirrored ones too), and 14 bytes a row of actions, rewards and
    marks.
    """
    share: dict[Storage, float] = {"memory": 1, "compressed": PACKED_SHARE, "disk": 0}
    return int(_raw_bytes(layout) * share[storage]) + layout.capacity * ROW_BYTES


def choose_storage(
    setting: Storage | Literal["auto"], layout: RingLayout, directory: Path
) -> Storage:
    """Returns where the frames are stored.

    With ``auto`` they are raw in memory if that takes at most half of what is free, else packed.

    Args:
        setting: ``replay.storage``.
        layout: of the rings.
        directory: where a file would lie.

    Raises:
        UserError: they do not fit; a capacity that does is named.
    """
    free = memory_left() - RESERVE
    storage = setting if setting != "auto" else _automatic_storage(layout, free)
    needed = memory_needed(storage, layout)
    if needed > free:
        where = f"{free / 1e9:.2f} GB of memory are free"
        raise UserError(_too_large(layout.capacity, needed, free, where))
    if storage == "disk":
        _check_disk(layout, directory)
    return storage


def _raw_bytes(layout: RingLayout) -> int:
    """Returns the bytes of all raw frames, the mirrored ones too."""
    return (layout.capacity + layout.num_envs * (layout.window - 1)) * layout.frame_bytes


def _automatic_storage(layout: RingLayout, free: int) -> Storage:
    return "memory" if memory_needed("memory", layout) <= free / 2 else "compressed"


def _check_disk(layout: RingLayout, directory: Path) -> None:
    """Raises a UserError where the disk of a directory has no room for the raw frames."""
    directory.mkdir(parents=True, exist_ok=True)
    needed = memory_needed("memory", layout)
    free = shutil.disk_usage(directory).free - RESERVE
    if needed > free:
        where = f"{free / 1e9:.2f} GB are free on the disk of '{directory}'"
        raise UserError(_too_large(layout.capacity, needed, free, where))


def _too_large(capacity: int, needed: int, free: int, where: str) -> str:
    fits = max(int(capacity * free / needed) // 1000 * 1000, 0)
    return (
        f"replay.capacity = {capacity} needs {needed / 1e9:.2f} GB, and {where}: "
        f"a capacity of {fits} fits (--replay.capacity {fits})"
    )
