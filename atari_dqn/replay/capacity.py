"""Whether a replay memory fits into the memory that is free."""

import shutil
from pathlib import Path
from typing import Literal

from atari_dqn.backend.machine import memory_left
from atari_dqn.errors import UserError
from atari_dqn.replay.frames import Storage

# Packed frames take less than this share of raw ones in every game that was measured
# (docs/reliability.md).
PACKED_SHARE = 1 / 8
# The network, TensorFlow's buffers and the emulators want something too.
RESERVE = 500_000_000


def memory_needed(
    storage: Storage, capacity: int, num_envs: int, frame_bytes: int, window: int
) -> int:
    """Bytes of memory: the frames (raw, the mirrored ones too), and 14 bytes a row of actions,
    rewards and marks.
    """
    raw = (capacity + num_envs * (window - 1)) * frame_bytes
    share: dict[Storage, float] = {"memory": 1, "compressed": PACKED_SHARE, "disk": 0}
    return int(raw * share[storage]) + capacity * 14


def choose_storage(
    wanted: Storage | Literal["auto"],
    capacity: int,
    num_envs: int,
    frame_bytes: int,
    window: int,
    directory: Path,
) -> Storage:
    """Where the frames go: where the settings say, or raw in memory if that takes at most half of
    what is free, else packed.

    Args:
        wanted: the setting.
        capacity: frames over all environments.
        num_envs: environments.
        frame_bytes: bytes of a raw frame.
        window: consecutive frames in a sample.
        directory: where a file would lie.

    Raises:
        UserError: they do not fit; a capacity that does is named.
    """
    free = memory_left() - RESERVE

    def needed(storage: Storage) -> int:
        return memory_needed(storage, capacity, num_envs, frame_bytes, window)

    storage: Storage = (
        wanted if wanted != "auto" else "memory" if needed("memory") <= free / 2 else "compressed"
    )
    if needed(storage) > free:
        raise UserError(
            _too_large(capacity, needed(storage), free, f"{free / 1e9:.2f} GB of memory are free")
        )
    if storage == "disk":
        directory.mkdir(parents=True, exist_ok=True)
        raw, disk = needed("memory"), shutil.disk_usage(directory).free - RESERVE
        if raw > disk:
            raise UserError(
                _too_large(
                    capacity,
                    raw,
                    disk,
                    f"{disk / 1e9:.2f} GB are free on the disk of '{directory}'",
                )
            )
    return storage


def _too_large(capacity: int, needed: int, free: int, where: str) -> str:
    fits = max(int(capacity * free / needed) // 1000 * 1000, 0)
    return (
        f"replay.capacity = {capacity} needs {needed / 1e9:.2f} GB, and {where}: "
        f"a capacity of {fits} fits (--replay.capacity {fits})"
    )
