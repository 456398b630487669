"""Blocks of consecutive frames, the unit in which frames are packed and written."""

from typing import Any, NamedTuple

import lz4.block
import numpy as np
from numpy.typing import NDArray

# Consecutive frames differ little, so they pack better together; 8 frames unpack in about 6
# microseconds.
BLOCK = 8
SIZE_BYTES = 4
LARGEST_RATIO = 255  # of LZ4: no byte of a packed block stands for more


class Block(NamedTuple):
    """Consecutive frames of one environment, packed."""

    env: int
    number: int  # since the run began, from 0
    packed: bytes


def blocks_in(rows: int) -> int:
    """Returns the number of blocks in a ring of ``rows`` frames; the last may have fewer.

    >>> blocks_in(16), blocks_in(17)
    (2, 3)
    """
    return -(-rows // BLOCK)


def block_length(number: int, rows: int) -> int:
    """Returns the number of frames in a block of a ring of ``rows`` frames.

    >>> block_length(1, 17), block_length(2, 17)
    (8, 1)
    """
    return min(BLOCK, rows - number * BLOCK)


def full_blocks(added: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
    """Returns the number of blocks that ``added`` frames filled, laps around the ring included.

    >>> full_blocks(np.array([7, 8, 17, 25]), rows=17)
    array([0, 1, 3, 4])
    """
    return added // rows * blocks_in(rows) + added % rows // BLOCK


def pack(frames: NDArray[Any]) -> bytes:
    """Returns an array's bytes, packed by LZ4."""
    packed: bytes = lz4.block.compress(np.ascontiguousarray(frames).data)
    return packed


def unpack(packed: bytes, size: int | None = None) -> bytes:
    """Returns the bytes that were packed.

    Args:
        packed: what ``pack`` returned.
        size: of the bytes; None where it is not known.

    Raises:
        ValueError: it is not such a block, or of another size. Nothing larger is ever allocated.
    """
    # A block begins with its size, which anybody could have written.
    claimed = int.from_bytes(packed[:SIZE_BYTES], "little")
    too_small = len(packed) <= SIZE_BYTES or claimed > LARGEST_RATIO * len(packed)
    if too_small or size not in (None, claimed):
        expected = "" if size is None else f", and has to have {size}"
        raise ValueError(f"a block of frames claims {claimed} bytes{expected}")
    try:
        frames: bytes = lz4.block.decompress(packed)
    except lz4.block.LZ4BlockError as error:
        raise ValueError(f"a block of frames cannot be unpacked ({error})") from None
    return frames
