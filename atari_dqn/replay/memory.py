"""A ring of single frames, from which stacks and n-step returns are built as they are sampled.

A frame is stored once, not once in each of the stacks and next-stacks that it belongs to: 7,056 bytes a transition instead of
28,224 or 56,448.

One ring for each environment, rows in order of time:

    row        0     1     2     3     4     5     6
    frame      f0    f1    f2    f3    g0    g1    ...      f3 ended the episode, g0 starts the next
    action     a0    a1    a2    -     b0    b1             taken on seeing the frame; none on an episode's last
    reward     r1    r2    r3    -     r1    r2             what the action earned
    discount   1     1     0|1   -     1     1              0 where the future was worth nothing

An episode of T steps takes T + 1 rows, so a truncated episode has the frame it bootstraps from.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
from numpy.typing import DTypeLike, NDArray

from atari_dqn.errors import UserError

CGROUP = Path("/sys/fs/cgroup")
CGROUP_FILES = (
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)


class Batch(NamedTuple):
    """B transitions. ``frames[b, :stack]`` is the observation, ``frames[b, offset[b]:offset[b] + stack]`` the next one."""

    frames: NDArray[Any]  # (B, stack + n, *frame_shape)
    offset: NDArray[np.int32]  # (B,) agent steps to the next observation, 1 to n
    action: NDArray[np.int32]  # (B,)
    reward: NDArray[np.float32]  # (B,) discounted sum over those steps
    discount: NDArray[np.float32]  # (B,) what the value of the next observation is worth


class ReplayMemory:
    """Replay memory of several environments.

    Which rows may be sampled: those that were acted on, have n rows after them, and, once the ring is full, have the stack
    before them, which the oldest stack - 1 rows have partly lost. Rows near an episode's end are sampled too: there the
    window stops at the last frame, with a discount of 0 after termination and gamma^m after m steps to a truncation.

    Args:
        capacity: frames kept over all environments.
        num_envs: environments, each with an equal share.
        frame_shape: of one frame.
        dtype: of a frame.
        stack: frames in an observation.
        n_step: rewards summed before bootstrapping (Sutton 1988).
        gamma: discount of one step.
        seed: of the sampling.

    Raises:
        UserError: the share of an environment is shorter than one sample, or it does not fit into free memory.
    """

    def __init__(
        self,
        capacity: int,
        num_envs: int,
        frame_shape: tuple[int, ...],
        *,
        stack: int,
        n_step: int,
        gamma: float,
        seed: int,
        dtype: DTypeLike = np.uint8,
    ) -> None:
        self.num_envs, self.stack, self.n_step, self.gamma = num_envs, stack, n_step, gamma
        self.rows = capacity // num_envs
        self._window = stack + n_step
        if self.rows < 2 * self._window:
            raise UserError(
                f"replay.capacity = {capacity} leaves {self.rows} frames to each of {num_envs} environments; "
                f"stacks of {stack} and {n_step}-step returns need at least {2 * self._window}"
            )
        _check_memory(capacity, num_envs, frame_shape, np.dtype(dtype), self._window)
        # The first rows stand once more behind the last, so that every window is one contiguous slice.
        self._frames = np.zeros((num_envs, self.rows + self._window - 1, *frame_shape), dtype)
        self._action = np.zeros((num_envs, self.rows), np.int32)
        self._reward = np.zeros((num_envs, self.rows), np.float32)
        self._discount = np.zeros((num_envs, self.rows), np.float32)
        self._last = np.zeros((num_envs, self.rows), np.bool_)
        self._age = np.zeros((num_envs, self.rows), np.uint8)  # rows since the episode's first, at most 255
        self._newest = np.full(num_envs, -1)
        self._size = np.zeros(num_envs, np.int64)
        self.random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *b"replay"])))
        frame_bytes = self._frames.strides[1]
        self._windows = np.lib.stride_tricks.as_strided(
            self._frames.view(np.uint8).reshape(num_envs, -1),
            shape=(num_envs, self.rows, self._window * frame_bytes),
            strides=(self._frames.strides[0], frame_bytes, 1),
            writeable=False,
        )

    def __len__(self) -> int:
        """Number of frames held."""
        return int(self._size.sum())

    def start(self, frames: NDArray[Any]) -> None:
        """Adds the first frame (num_envs, *frame_shape) of a new episode in every environment."""
        self._append(np.ones(self.num_envs, np.bool_), frames, age=np.zeros(self.num_envs, np.uint8))

    def add(
        self,
        action: NDArray[np.int32],
        reward: NDArray[np.float32],
        discount: NDArray[np.float32],
        frame: NDArray[Any],
        ended: NDArray[np.bool_],
        first_frame: NDArray[Any],
    ) -> None:
        """Adds one step of every environment; arrays have num_envs rows.

        Args:
            action: what was executed.
            reward: what it earned, clipped or not as the learner wants it.
            discount: 0 where the future is worth nothing, else 1.
            frame: the frame it led to.
            ended: whether that was the episode's last.
            first_frame: where it was, the first frame of the next episode; other rows are not read.
        """
        every = np.arange(self.num_envs)
        self._action[every, self._newest] = action
        self._reward[every, self._newest] = reward
        self._discount[every, self._newest] = discount
        age = self._age[every, self._newest]
        self._append(np.ones(self.num_envs, np.bool_), frame, age=np.where(age < 255, age + 1, age).astype(np.uint8))
        if ended.any():
            self._last[every, self._newest] = ended
            self._append(ended, first_frame, age=np.zeros(self.num_envs, np.uint8))

    def can_sample(self) -> bool:
        """Whether at least one transition is complete."""
        return bool((self._sampleable() > 0).any())

    def sample(self, size: int) -> Batch:
        """Draws transitions uniformly, with replacement."""
        env, row = self._draw(size)
        return self.gather(env, row)

    def gather(self, env: NDArray[np.int64], row: NDArray[np.int64]) -> Batch:
        """Builds the transitions that start at the given rows."""
        reward = np.zeros(len(env), np.float32)
        discount = np.ones(len(env), np.float32)
        offset = np.zeros(len(env), np.int32)
        going = np.ones(len(env), np.bool_)
        for step in range(self.n_step):
            at = (row + step) % self.rows
            going &= ~self._last[env, at]
            reward += np.where(going, discount * self._reward[env, at], np.float32(0))
            discount *= np.where(going, np.float32(self.gamma) * self._discount[env, at], np.float32(1))
            offset += going
        return Batch(self._stacks(env, row), offset, self._action[env, row], reward, discount)

    def _stacks(self, env: NDArray[np.int64], row: NDArray[np.int64]) -> NDArray[Any]:
        first = (row - (self.stack - 1)) % self.rows
        frames = self._windows[env, first].view(self._frames.dtype)
        frames = frames.reshape(len(env), self._window, *self._frames.shape[2:])
        missing = self.stack - 1 - self._age[env, row].astype(np.int64)
        for index in np.flatnonzero(missing > 0):
            frames[index, : missing[index]] = 0
        return frames

    def _draw(self, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        ends = np.cumsum(self._sampleable())
        oldest = np.where(self._size == self.rows, self._newest + self.stack, 0)
        env = np.empty(size, np.int64)
        row = np.empty(size, np.int64)
        redraw = np.arange(size)
        while len(redraw):
            flat = self.random.integers(ends[-1], size=len(redraw))
            env[redraw] = np.searchsorted(ends, flat, side="right")
            within = flat - np.concatenate([[0], ends])[env[redraw]]
            row[redraw] = (oldest[env[redraw]] + within) % self.rows
            redraw = redraw[self._last[env[redraw], row[redraw]]]
        return env, row

    def _sampleable(self) -> NDArray[np.int64]:
        """How many rows of each environment may be drawn, episodes' last rows among them."""
        lost = np.where(self._size == self.rows, self.stack - 1, 0)
        return np.maximum(self._size - lost - self.n_step, 0)

    def _append(self, mask: NDArray[np.bool_], frames: NDArray[Any], age: NDArray[np.uint8]) -> None:
        envs = np.flatnonzero(mask)
        self._newest[envs] = (self._newest[envs] + 1) % self.rows
        self._size[envs] = np.minimum(self._size[envs] + 1, self.rows)
        rows = self._newest[envs]
        self._frames[envs, rows] = frames[envs]
        mirrored = rows < self._window - 1
        self._frames[envs[mirrored], rows[mirrored] + self.rows] = frames[envs[mirrored]]
        self._last[envs, rows] = False
        self._age[envs, rows] = age[envs]


def memory_needed(capacity: int, num_envs: int, frame_bytes: int, window: int) -> int:
    """Bytes of a memory: its frames, the mirrored ones, and 14 bytes a row of actions, rewards and marks."""
    return (capacity + num_envs * (window - 1)) * frame_bytes + capacity * 14


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


def _check_memory(capacity: int, num_envs: int, frame_shape: tuple[int, ...], dtype: np.dtype[Any], window: int) -> None:
    frame_bytes = int(np.prod(frame_shape)) * dtype.itemsize
    needed, free = memory_needed(capacity, num_envs, frame_bytes, window), free_memory()
    # The network, TensorFlow's buffers and the emulators want something too.
    usable = free - 500_000_000
    if needed > usable:
        fits = max(int(usable / (frame_bytes + 14)) // 1000 * 1000, 0)
        raise UserError(
            f"replay.capacity = {capacity} needs {needed / 1e9:.2f} GB, and {free / 1e9:.2f} GB are free: "
            f"a capacity of {fits} fits (--replay.capacity {fits})"
        )
