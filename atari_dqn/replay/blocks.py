"""Blocks of consecutive frames, the unit in which frames are packed and written."""

from typing import Any, NamedTuple

import lz4.block
import numpy as np
from numpy.typing import NDArray

# Consecutive frames differ little, so they pack better together; 8 frames unpack in about 6 microseconds.
BLOCK = 8


class Block(NamedTuple):
    """Consecutive frames of one environment, packed."""

    env: int
    number: int  # since the run began, from 0
    packed: bytes


def blocks_in(rows: int) -> int:
    """Blocks of a ring of so many frames; the last may have fewer than the others.

    >>> blocks_in(16), blocks_in(17)
    (2, 3)
    """
    return -(-rows // BLOCK)


def full_blocks(added: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
    """Blocks that were filled by so many frames, laps around the ring included.

    >>> full_blocks(np.array([7, 8, 17, 25]), rows=17)
    array([0, 1, 3, 4])
    """
    return added // rows * blocks_in(rows) + added % rows // BLOCK


def pack(frames: NDArray[Any]) -> bytes:
    """LZ4 of an array's bytes."""
    packed: bytes = lz4.block.compress(np.ascontiguousarray(frames).data)
    return packed


def unpack(packed: bytes) -> bytes:
    """The bytes that were packed."""
    frames: bytes = lz4.block.decompress(packed)
    return frames
