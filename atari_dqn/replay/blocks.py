"""Blocks of consecutive frames, the unit in which frames are compressed and saved."""

from typing import Any, NamedTuple

import lz4.block
import numpy as np
from numpy.typing import NDArray

# Consecutive frames are similar, so they compress better together. Decompressing 8 frames takes
# about 6 microseconds.
BLOCK = 8
SIZE_BYTES = 4
LARGEST_RATIO = 255  # LZ4 cannot compress by a larger factor


class Block(NamedTuple):
    """A compressed block of one environment's consecutive frames."""

    env: int
    number: int  # the environment's blocks are numbered from 0 since the run started
    packed: bytes  # result of ``pack``


def blocks_in(rows: int) -> int:
    """Returns the number of blocks in a ring of ``rows`` frames. The last block may be shorter.

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
    """Returns the number of blocks that each environment has filled since the run started, (N,).

    Args:
        added: (N,) number of frames that each environment has added since then.
        rows: number of rows in each environment's ring.

    >>> full_blocks(np.array([7, 8, 17, 25]), rows=17)
    array([0, 1, 3, 4])
    """
    return added // rows * blocks_in(rows) + added % rows // BLOCK


def pack(frames: NDArray[Any]) -> bytes:
    """Returns an array's bytes, compressed with LZ4."""
    packed: bytes = lz4.block.compress(np.ascontiguousarray(frames).data)
    return packed


def unpack(packed: bytes, size: int | None = None) -> bytes:
    """Returns the decompressed bytes of a block.

    Args:
        packed: result of ``pack``.
        size: expected number of bytes, or None if it is unknown.

    Raises:
        ValueError: this is not a valid block, or its size is wrong. The size is checked before
            memory is allocated.
    """
    # A block begins with its uncompressed size, which may be wrong in a damaged file.
    claimed = int.from_bytes(packed[:SIZE_BYTES], "little")
    too_small = len(packed) <= SIZE_BYTES or claimed > LARGEST_RATIO * len(packed)
    if too_small or size not in (None, claimed):
        expected = "" if size is None else f", expected {size}"
        raise ValueError(f"a block of frames claims {claimed} bytes{expected}")
    try:
        frames: bytes = lz4.block.decompress(packed)
    except lz4.block.LZ4BlockError as error:
        raise ValueError(f"a block of frames cannot be decompressed ({error})") from None
    return frames
