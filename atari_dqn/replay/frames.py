"""Storage of the replay memory's frames: in memory, in a file, or compressed in memory.

Each kind holds a ring of ``rows`` frames for each environment. All kinds return the same windows of
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
    """The size of a replay memory's rings and of the frames in them.

    Attributes:
        capacity: number of frames, summed over all environments.
        num_envs: N, the number of environments, each of which gets an equal share.
        window: number of consecutive frames in a sample.
        frame_shape: shape of a frame.
        dtype: dtype of a frame.
    """

    capacity: int
    num_envs: int
    window: int
    frame_shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def rows(self) -> int:
        """Number of frames in each environment's ring."""
        return self.capacity // self.num_envs

    @property
    def frame_bytes(self) -> int:
        """Size of an uncompressed frame in bytes."""
        return math.prod(self.frame_shape) * self.dtype.itemsize


class Frames(Protocol):
    """A ring of frames for each of N environments."""

    def append(
        self, envs: NDArray[np.int64], rows: NDArray[np.int64], frames: NDArray[Any]
    ) -> None:
        """Stores the next frame of each of E environments.

        Args:
            envs: (E,) environments.
            rows: (E,) row of each frame in its environment's ring.
            frames: (E, *frame_shape) frames.
        """
        ...

    def window(self, env: int, first: int) -> list[NDArray[Any]]:
        """Returns the frames of the window that starts at a row.

        They are valid until the next ``append``.
        """
        ...

    def gather(self, envs: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[Any]:
        """Returns frames (*S, *frame_shape) of environments and rows, both of any shape S."""
        ...

    def unfinished(self, env: int, count: int) -> NDArray[Any]:
        """Returns the ``count`` newest frames, (count, *frame_shape), of an unfinished block."""
        ...

    def block(self, env: int, number: int) -> bytes:
        """Returns the compressed block that starts at row ``number * BLOCK``."""
        ...

    def set_block(self, env: int, number: int, packed: bytes) -> None:
        """Stores a block that ``block`` returned.

        Raises:
            ValueError: this is not a block of this ring.
        """
        ...


class RawFrames:
    """Uncompressed frames, in memory or in a memory-mapped file.

    Args:
        layout: the layout of the rings.
        directory: directory of the file, or None to store the frames in memory. The file has no
            name and disappears with the process.
    """

    def __init__(self, layout: RingLayout, directory: Path | None = None) -> None:
        # The first rows are repeated after the last, so that every window is one contiguous slice.
        shape = (layout.num_envs, layout.rows + layout.window - 1, *layout.frame_shape)
        self._frames: NDArray[Any]
        if directory is None:
            self._frames = np.zeros(shape, layout.dtype)
        else:
            with tempfile.TemporaryFile(dir=directory) as file:
                # The space is reserved now. If the disk filled up later, writing a frame would kill
                # the process.
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
        first = number * BLOCK
        end = first + len(frames)
        # Slices are copied at twice the speed of ``append``, which matters for a million frames.
        self._frames[env, first:end] = frames
        mirrored = max(min(end, self._window - 1) - first, 0)
        self._frames[env, self._rows + first : self._rows + first + mirrored] = frames[:mirrored]
        self._newest[env] = end - 1


class PackedFrames:
    """Frames in blocks of ``BLOCK``, which are compressed without loss (LZ4) once they are full.

    Args:
        layout: the layout of the rings.
    """

    def __init__(self, layout: RingLayout) -> None:
        count = blocks_in(layout.rows)
        self._blocks: list[list[bytes | None]] = [[None] * count for _ in range(layout.num_envs)]
        # Each environment's unfinished block. The old block that it replaces stays readable until
        # the new one is full.
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
        self._unpacked(number, packed)  # checks the block now instead of when it is sampled
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
    """The starts of B windows of consecutive frames.

    Attributes:
        env: (B,) environment of each window.
        first: (B,) row of each window's first frame.
        blank: (B,) number of frames at the start of each window that precede the episode, which
            are replaced by 0.
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
    """Fills stacks of vectors without a Python loop, which would take longer than the copying.

    Args:
        frames: the stored frames.
        rows: number of rows in a ring.
        starts: the starts of the windows.
        offset: number of frames from the start of each window to the start of its stack, (B,) or
            one number.
        out: (B, n, stack) stacks to fill.
    """
    stack = out.shape[-1]
    step = np.broadcast_to(np.reshape(offset, (-1, 1)) + np.arange(stack), (len(out), stack))
    env = np.broadcast_to(starts.env[:, np.newaxis], step.shape)
    vectors = frames.gather(env, (starts.first[:, np.newaxis] + step) % rows)
    is_blank = step < starts.blank[:, np.newaxis]
    out[...] = np.where(is_blank[..., np.newaxis], 0, vectors).swapaxes(1, 2)


def make_frames(storage: Storage, layout: RingLayout, directory: Path) -> Frames:
    """Returns empty storage for the frames of a replay memory.

    Args:
        storage: the kind of storage.
        layout: the layout of the rings.
        directory: directory for a file of frames, which only ``disk`` uses.
    """
    if storage == "compressed":
        return PackedFrames(layout)
    return RawFrames(layout, directory if storage == "disk" else None)
