"""Where the replay memory keeps its frames: raw in memory, raw in a file, or packed in memory.

All three hold a ring of ``rows`` frames for each environment and give the same windows of
consecutive frames.
"""

import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from atari_dqn.replay.blocks import BLOCK, block_length, blocks_in, pack, unpack

Storage = Literal["memory", "compressed", "disk"]


@dataclass(frozen=True)
class RingLayout:
    """How many frames of which kind the rings of a replay memory hold.

    Attributes:
        capacity: frames over all environments.
        num_envs: N, each with an equal share.
        window: consecutive frames in a sample.
        frame_shape: of one frame.
        dtype: of a frame.
    """

    capacity: int
    num_envs: int
    window: int
    frame_shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def rows(self) -> int:
        """Frames kept of each environment."""
        return self.capacity // self.num_envs

    @property
    def frame_bytes(self) -> int:
        """Bytes of one raw frame."""
        return math.prod(self.frame_shape) * self.dtype.itemsize


class Frames(Protocol):
    """A ring of frames for each of N environments."""

    def append(
        self, envs: NDArray[np.int64], rows: NDArray[np.int64], frames: NDArray[Any]
    ) -> None:
        """Stores each environment's next frame, (len(envs), *frame_shape), in its row."""
        ...

    def window(self, env: int, first: int) -> list[NDArray[Any]]:
        """Returns consecutive frames from a row on, to be read before the next frame is stored."""
        ...

    def gather(self, envs: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[Any]:
        """Returns the frames (*S, *frame_shape) in rows of environments, both of shape S."""
        ...

    def unfinished(self, env: int, count: int) -> NDArray[Any]:
        """Returns the newest ``count`` frames, (count, *frame_shape), of a block not yet full."""
        ...

    def block(self, env: int, number: int) -> bytes:
        """Returns the packed frames from row ``number * BLOCK`` on; the last block may be short."""
        ...

    def set_block(self, env: int, number: int, packed: bytes) -> None:
        """Stores what ``block`` returned.

        Raises:
            ValueError: it is not a block of this ring.
        """
        ...


class RawFrames:
    """Frames as they are, in memory or in a file that is mapped into it.

    Args:
        layout: of the rings.
        directory: where the file lies that holds the frames; None keeps them in memory. The file
            has no name and goes with the process.
    """

    def __init__(self, layout: RingLayout, directory: Path | None = None) -> None:
        # The first rows are mirrored behind the last: every window is one contiguous slice.
        shape = (layout.num_envs, layout.rows + layout.window - 1, *layout.frame_shape)
        self._frames: NDArray[Any]
        if directory is None:
            self._frames = np.zeros(shape, layout.dtype)
        else:
            with tempfile.TemporaryFile(dir=directory) as file:
                # A disk that fills up later would end the process at the first frame that it has no
                # room for.
                os.posix_fallocate(file.fileno(), 0, math.prod(shape) * layout.dtype.itemsize)
                self._frames = np.memmap(file, layout.dtype, "r+", shape=shape)
        self._newest = np.full(layout.num_envs, -1)
        self._rows = layout.rows
        self._window = layout.window

    def append(
        self, envs: NDArray[np.int64], rows: NDArray[np.int64], frames: NDArray[Any]
    ) -> None:
        """See ``Frames``."""
        self._frames[envs, rows] = frames
        self._newest[envs] = rows
        mirrored = rows < self._window - 1
        self._frames[envs[mirrored], rows[mirrored] + self._rows] = frames[mirrored]

    def window(self, env: int, first: int) -> list[NDArray[Any]]:
        """See ``Frames``."""
        return list(self._frames[env, first : first + self._window])

    def gather(self, envs: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[Any]:
        """See ``Frames``."""
        frames: NDArray[Any] = self._frames[envs, rows]
        return frames

    def unfinished(self, env: int, count: int) -> NDArray[Any]:
        """See ``Frames``."""
        end = int(self._newest[env]) + 1
        frames: NDArray[Any] = self._frames[env, end - count : end]
        return frames

    def block(self, env: int, number: int) -> bytes:
        """See ``Frames``."""
        return pack(self._frames[env, number * BLOCK : min((number + 1) * BLOCK, self._rows)])

    def set_block(self, env: int, number: int, packed: bytes) -> None:
        """See ``Frames``."""
        shape = (block_length(number, self._rows), *self._frames.shape[2:])
        size = math.prod(shape) * self._frames.dtype.itemsize
        frames = np.frombuffer(unpack(packed, size), self._frames.dtype).reshape(shape)
        self.append(np.full(len(frames), env), number * BLOCK + np.arange(len(frames)), frames)


class PackedFrames:
    """Frames in blocks of ``BLOCK`` consecutive ones, packed without loss (LZ4) once full.

    Args:
        layout: of the rings.
    """

    def __init__(self, layout: RingLayout) -> None:
        count = blocks_in(layout.rows)
        self._blocks: list[list[bytes | None]] = [[None] * count for _ in range(layout.num_envs)]
        # The block that is being filled; what it will replace in the ring can be read until then.
        self._filling = np.zeros((layout.num_envs, BLOCK, *layout.frame_shape), layout.dtype)
        self._newest = np.full(layout.num_envs, -1)
        self._rows = layout.rows
        self._window = layout.window

    def append(
        self, envs: NDArray[np.int64], rows: NDArray[np.int64], frames: NDArray[Any]
    ) -> None:
        """See ``Frames``."""
        within = rows % BLOCK
        self._filling[envs, within] = frames
        self._newest[envs] = rows
        for index in np.flatnonzero((within == BLOCK - 1) | (rows == self._rows - 1)):
            env = int(envs[index])
            self._blocks[env][int(rows[index]) // BLOCK] = pack(
                self._filling[env, : within[index] + 1]
            )

    def window(self, env: int, first: int) -> list[NDArray[Any]]:
        """See ``Frames``."""
        frames: list[NDArray[Any]] = []
        while len(frames) < self._window:
            row = (first + len(frames)) % self._rows
            number, within = divmod(row, BLOCK)
            count = min(self._window - len(frames), self._rows - row)
            frames.extend(self._block_frames(env, number, within)[within : within + count])
        return frames

    def gather(self, envs: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[Any]:
        """See ``Frames``."""
        frames = [
            self.window(env, row)[0]
            for env, row in zip(envs.ravel().tolist(), rows.ravel().tolist(), strict=True)
        ]
        return np.reshape(frames, (*rows.shape, *self._filling.shape[2:]))

    def unfinished(self, env: int, count: int) -> NDArray[Any]:
        """See ``Frames``."""
        frames: NDArray[Any] = self._filling[env, :count]
        return frames

    def block(self, env: int, number: int) -> bytes:
        """See ``Frames``."""
        packed = self._blocks[env][number]
        if packed is None:
            raise ValueError(f"block {number} of environment {env} is not full")
        return packed

    def set_block(self, env: int, number: int, packed: bytes) -> None:
        """See ``Frames``."""
        self._unpacked(number, packed)  # what is no block is noticed now, not when it is sampled
        self._blocks[env][number] = packed

    def _block_frames(self, env: int, number: int, within: int) -> NDArray[Any]:
        newest = int(self._newest[env])
        packed = self._blocks[env][number]
        if packed is None or (number == newest // BLOCK and within <= newest % BLOCK):
            filling: NDArray[Any] = self._filling[env]
            return filling
        return self._unpacked(number, packed)

    def _unpacked(self, number: int, packed: bytes) -> NDArray[Any]:
        shape = (block_length(number, self._rows), *self._filling.shape[2:])
        size = math.prod(shape) * self._filling.dtype.itemsize
        return np.frombuffer(unpack(packed, size), self._filling.dtype).reshape(shape)


@dataclass(frozen=True)
class StackStarts:
    """Where B windows of consecutive frames begin.

    Attributes:
        env: ring of each (B,).
        first: row of each window's first frame (B,).
        blank: frames at a window's beginning that lie before the episode's first, and stay 0 (B,).
    """

    env: NDArray[np.int64]
    first: NDArray[np.int64]
    blank: NDArray[np.int64]


def gather_vector_stacks(
    frames: Frames,
    rows: int,
    starts: StackStarts,
    offset: NDArray[np.int32] | int,
    out: NDArray[Any],
) -> None:
    """Fills stacks with vectors, all at once: a loop would take longer than copying so few numbers.

    Args:
        frames: where they are stored.
        rows: of a ring.
        starts: the windows.
        offset: frames from a window's first to its stack's first, (B,) or one number.
        out: the stacks that are filled, (B, n, stack).
    """
    stack = out.shape[-1]
    step = np.broadcast_to(np.reshape(offset, (-1, 1)) + np.arange(stack), (len(out), stack))
    env = np.broadcast_to(starts.env[:, np.newaxis], step.shape)
    vectors = frames.gather(env, (starts.first[:, np.newaxis] + step) % rows)
    is_blank = step < starts.blank[:, np.newaxis]
    out[...] = np.where(is_blank[..., np.newaxis], 0, vectors).swapaxes(1, 2)


def make_frames(storage: Storage, layout: RingLayout, directory: Path) -> Frames:
    """Makes the frames of a replay memory; ``directory`` is for the storage ``disk``."""
    if storage == "compressed":
        return PackedFrames(layout)
    return RawFrames(layout, directory if storage == "disk" else None)
