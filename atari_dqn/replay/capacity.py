"""Checks that a replay memory fits into the free memory, and chooses its storage."""

import shutil
from pathlib import Path
from typing import Literal

from atari_dqn.backend.machine import memory_left
from atari_dqn.errors import UserError
from atari_dqn.replay.frames import RingLayout, Storage
from atari_dqn.typed_commands import argument

# Compressed frames took less than this share of uncompressed frames in every measured game
# (docs/design/reliability.md).
PACKED_SHARE = 1 / 8
# Bytes per row: action 4, reward 4, discount 4, last 1, age 1.
ROW_BYTES = 14
# Memory left for the network, TensorFlow's buffers and the emulators.
RESERVE = 500_000_000


def memory_needed(storage: Storage, layout: RingLayout) -> int:
    """Returns the number of bytes that a replay memory takes in memory.

    It counts the frames, and 14 bytes per row for actions, rewards and flags. Frames on disk take
    no memory, and compressed frames are estimated at an eighth of their size.
    """
    share: dict[Storage, float] = {"memory": 1, "compressed": PACKED_SHARE, "disk": 0}
    return int(_raw_bytes(layout) * share[storage]) + layout.capacity * ROW_BYTES


def choose_storage(
    setting: Storage | Literal["auto"], layout: RingLayout, directory: Path
) -> Storage:
    """Returns the storage for the frames, after checking that they fit.

    With ``auto``, frames are stored uncompressed if the memory then takes at most half of the free
    memory, and compressed otherwise.

    Args:
        setting: value of ``replay.storage``.
        layout: the layout of the rings.
        directory: directory for a file of frames, with the storage ``disk``.

    Raises:
        UserError: the frames do not fit. The message names a capacity that fits.
    """
    free = memory_left() - RESERVE
    storage = setting if setting != "auto" else _automatic_storage(layout, free)
    needed = memory_needed(storage, layout)
    if needed > free:
        where = f"only {free / 1e9:.2f} GB of memory are free"
        raise UserError(_too_large(layout.capacity, needed, free, where))
    if storage == "disk":
        _check_disk(layout, directory)
    return storage


def _raw_bytes(layout: RingLayout) -> int:
    """Returns the size of all uncompressed frames in bytes.

    It includes the frames that ``RawFrames`` stores twice.
    """
    return (layout.capacity + layout.num_envs * (layout.window - 1)) * layout.frame_bytes


def _automatic_storage(layout: RingLayout, free: int) -> Storage:
    return "memory" if memory_needed("memory", layout) <= free / 2 else "compressed"


def _check_disk(layout: RingLayout, directory: Path) -> None:
    """Raises a UserError if a directory's disk has too little space for the frames."""
    directory.mkdir(parents=True, exist_ok=True)
    needed = memory_needed("memory", layout)
    free = shutil.disk_usage(directory).free - RESERVE
    if needed > free:
        where = f"only {free / 1e9:.2f} GB are free on the disk of '{directory}'"
        raise UserError(_too_large(layout.capacity, needed, free, where))


def _too_large(capacity: int, needed: int, free: int, where: str) -> str:
    fits = int(capacity * free / needed) // 1000 * 1000
    advice = f"a capacity of {fits} fits ({argument('replay.capacity', fits)})"
    if fits <= 0:
        advice = f"{RESERVE / 1e9:g} GB must stay free, so no capacity fits"
    return f"replay.capacity = {capacity} needs {needed / 1e9:.2f} GB, but {where}: {advice}"
