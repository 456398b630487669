"""Where the replay memory keeps its frames: raw in memory, raw in a file, or packed in memory.

All three hold a ring of ``rows`` frames for each environment and give the same windows of
consecutive frames.
"""

import math
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from atari_dqn.replay.blocks import BLOCK, block_length, blocks_in, pack, unpack

Storage = Literal["memory", "compressed", "disk"]


class Frames(Protocol):
    """A ring of frames for each of N environments."""

    def append(
        self, envs: NDArray[np.int64], rows: NDArray[np.int64], frames: NDArray[Any]
    ) -> None:
        """Stores one frame for each of some environments, (len(envs), *frame_shape), each after the
        one before it.
        """
        ...

    def window(self, env: int, first: int) -> list[NDArray[Any]]:
        """Consecutive frames from a row on, to be read before the next frame is stored."""
        ...

    def gather(self, envs: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[Any]:
        """The frames (*S, *frame_shape) in these rows of these environments, each of shape S."""
        ...

    def unfinished(self, env: int, count: int) -> NDArray[Any]:
        """The newest ``count`` frames, (count, *frame_shape), which have not filled a block yet."""
        ...

    def block(self, env: int, number: int) -> bytes:
        """The ``BLOCK`` frames from row ``number * BLOCK`` on, packed; the ring's last block may
        have fewer.
        """
        ...

    def set_block(self, env: int, number: int, packed: bytes) -> None:
        """Stores what ``block`` returned.

        Raises:
            ValueError: it is no block of this ring.
        """
        ...


class RawFrames:
    """Frames as they are, in memory or in a file that is mapped into it.

    Args:
        num_envs: N.
        rows: frames kept of each environment.
        window: consecutive frames in a sample.
        frame_shape: of one frame.
        dtype: of a frame.
        directory: where the file lies that holds the frames; None keeps them in memory. The file
            has no name and goes with the process.
    """

    def __init__(
        self,
        num_envs: int,
        rows: int,
        window: int,
        frame_shape: tuple[int, ...],
        dtype: DTypeLike,
        directory: Path | None = None,
    ) -> None:
        # The first rows stand once more behind the last, so that every window is one contiguous
        # slice.
        shape = (num_envs, rows + window - 1, *frame_shape)
        self._frames: NDArray[Any]
        if directory is None:
            self._frames = np.zeros(shape, dtype)
        else:
            with tempfile.TemporaryFile(dir=directory) as file:
                # A disk that fills up later would end the process at the first frame that it has no
                # room for.
                os.posix_fallocate(file.fileno(), 0, math.prod(shape) * np.dtype(dtype).itemsize)
                self._frames = np.memmap(file, dtype, "r+", shape=shape)
        self._newest = np.full(num_envs, -1)
        self._rows, self._window = rows, window

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
    """Frames in blocks of ``BLOCK`` consecutive ones, packed without loss (LZ4) as soon as a block
    is full.

    Args:
        num_envs: N.
        rows: frames kept of each environment.
        window: consecutive frames in a sample.
        frame_shape: of one frame.
        dtype: of a frame.
    """

    def __init__(
        self, num_envs: int, rows: int, window: int, frame_shape: tuple[int, ...], dtype: DTypeLike
    ) -> None:
        self._blocks: list[list[bytes | None]] = [[None] * blocks_in(rows) for _ in range(num_envs)]
        # The block that is being filled; what it will replace in the ring can be read until then.
        self._filling = np.zeros((num_envs, BLOCK, *frame_shape), dtype)
        self._newest = np.full(num_envs, -1)
        self._rows, self._window = rows, window

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


def gather_stacks(
    frames: Frames,
    rows: int,
    env: NDArray[np.int64],
    first: NDArray[np.int64],
    blank: NDArray[np.int64],
    wanted: Iterable[tuple[NDArray[np.int32], NDArray[Any]]],
) -> None:
    """Fills stacks with vectors, all at once: they are so small that a loop would take longer than
    the copying.

    Args:
        frames: where they are.
        rows: of a ring.
        env: ring of each stack (B,).
        first: row that each is counted from (B,).
        blank: how many vectors from there on lie before the episode's beginning, and stay 0 (B,).
        wanted: rows from there to a stack's first (B,), and the stacks (B, n, stack) that are
            filled.
    """
    for ahead, stacks in wanted:
        place = np.arange(stacks.shape[-1]) + ahead[:, np.newaxis]
        seen = frames.gather(
            np.broadcast_to(env[:, np.newaxis], place.shape), (first[:, np.newaxis] + place) % rows
        )
        stacks[...] = np.where((place < blank[:, np.newaxis])[..., np.newaxis], 0, seen).swapaxes(
            1, 2
        )


def make_frames(
    storage: Storage,
    num_envs: int,
    rows: int,
    window: int,
    frame_shape: tuple[int, ...],
    dtype: DTypeLike,
    directory: Path,
) -> Frames:
    """The frames of a replay memory; ``directory`` is for the storage ``disk``."""
    if storage == "compressed":
        return PackedFrames(num_envs, rows, window, frame_shape, dtype)
    return RawFrames(
        num_envs, rows, window, frame_shape, dtype, directory if storage == "disk" else None
    )
