"""A ring of single frames, from which stacks and n-step returns are built as they are sampled.

A frame is stored once, not once in each of the stacks and next-stacks that it belongs to: 7,056
bytes a transition instead of 28,224 or 56,448.

One ring for each environment, rows in order of time:

    row        0     1     2     3     4     5     6
    frame      f0    f1    f2    f3    g0    g1    ...      f3 ended the episode, g0 starts the next
    action     a0    a1    a2    -     b0    b1             taken on seeing the frame; none on an episode's last
    reward     r1    r2    r3    -     r1    r2             what the action earned
    discount   1     1     0|1   -     1     1              0 where the future was worth nothing

An episode of T steps takes T + 1 rows, so a truncated episode has the frame it bootstraps from.
"""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from atari_dqn.backend.arrays import aligned_empty, frames_last
from atari_dqn.errors import UserError
from atari_dqn.replay.batch import Batch
from atari_dqn.replay.blocks import BLOCK, Block, blocks_in, full_blocks
from atari_dqn.replay.capacity import choose_storage
from atari_dqn.replay.frames import Storage, gather_stacks, make_frames
from atari_dqn.replay.priorities import Priorities
from atari_dqn.runs.checkpoint import array
from atari_dqn.runs.random_state import generator_from_array, generator_to_array

# Rows of each environment that are looked at first for one that may be sampled.
FIRST_CANDIDATES = 4


class ReplayMemory:
    """Replay memory of several environments.

    Which rows may be sampled: those that were acted on, have n rows after them, and, once the ring
    is full, have the stack before them, which the oldest stack - 1 rows have partly lost. Rows near
    an episode's end are sampled too: there the window stops at the last frame, with a discount of 0
    after termination and gamma^m after m steps to a truncation.

    Args:
        capacity: frames kept over all environments.
        num_envs: environments, each with an equal share.
        frame_shape: of one frame.
        dtype: of a frame.
        stack: frames in an observation.
        n_step: rewards summed before bootstrapping (Sutton 1988).
        gamma: discount of one step.
        seed: of the sampling.
        priority_exponent: how much more often surprising transitions are drawn (Schaul et al. 2016,
            equation 1); 0: not.
        importance_exponent: how far weights make up for that at first (Schaul et al. 2016, section
            3.4, beta).

    Raises:
        UserError: the share of an environment is shorter than one sample, or it does not fit into
            free memory.
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
        priority_exponent: float = 0.0,
        importance_exponent: float = 1.0,
        dtype: DTypeLike = np.uint8,
        storage: Storage | Literal["auto"] = "auto",
        directory: str | Path | None = None,
    ) -> None:
        self.num_envs, self.stack, self.n_step, self.gamma = num_envs, stack, n_step, gamma
        self.rows, self._window = capacity // num_envs, stack + n_step
        if self.rows < 2 * self._window:
            raise UserError(
                f"replay.capacity = {capacity} leaves {self.rows} frames to each of {num_envs} environments; "
                f"stacks of {stack} and {n_step}-step returns need at least {2 * self._window}"
            )
        directory = Path(directory or tempfile.gettempdir())
        frame_bytes = int(np.prod(frame_shape)) * np.dtype(dtype).itemsize
        self.storage = choose_storage(
            storage, capacity, num_envs, frame_bytes, self._window, directory
        )
        self._blank, self._all = np.zeros(frame_shape, dtype), np.arange(num_envs)
        self.frame_shape, self.dtype = self._blank.shape, self._blank.dtype
        self._frames = make_frames(
            self.storage, num_envs, self.rows, self._window, frame_shape, dtype, directory
        )
        self._action = np.zeros((num_envs, self.rows), np.int32)
        self._reward, self._discount = (
            np.zeros((num_envs, self.rows), np.float32) for _ in range(2)
        )
        self._last = np.zeros((num_envs, self.rows), np.bool_)
        self._age = np.zeros(
            (num_envs, self.rows), np.uint8
        )  # rows since the episode's first, at most 255
        self._added = np.zeros(
            num_envs, np.int64
        )  # frames since the run began; the newest has row (added - 1) % rows
        self.random = np.random.Generator(
            np.random.PCG64(np.random.SeedSequence([seed, *b"replay"]))
        )
        self.priorities = (
            Priorities(self._last.size, priority_exponent, importance_exponent)
            if priority_exponent
            else None
        )

    @property
    def _newest(self) -> NDArray[np.int64]:
        """Row of the newest frame of each environment."""
        return (self._added - 1) % self.rows

    @property
    def _size(self) -> NDArray[np.int64]:
        """Frames held of each environment."""
        return np.minimum(self._added, self.rows)

    def __len__(self) -> int:
        """Number of frames held."""
        return int(self._size.sum())

    def start(self, frames: NDArray[Any], envs: NDArray[np.int64] | None = None) -> None:
        """Adds the first frame (E, *frame_shape) of a new episode in environments ``envs`` (E,), or
        in all of them.

        An episode that is under way ends there, as if it had been truncated.
        """
        envs = self._all if envs is None else envs
        begun = envs[self._added[envs] > 0]
        self._last[begun, self._newest[begun]] = True
        self._append(envs, frames, age=np.zeros(len(envs), np.uint8))

    def add(
        self,
        action: NDArray[np.int32],
        reward: NDArray[np.float32],
        discount: NDArray[np.float32],
        frame: NDArray[Any],
        ended: NDArray[np.bool_],
        first_frame: NDArray[Any],
        envs: NDArray[np.int64] | None = None,
    ) -> None:
        """Adds one step of environments ``envs`` (E,), or of all; the other arrays have E rows.

        Args:
            action: what was executed.
            reward: what it earned, clipped or not as the learner wants it.
            discount: 0 where the future is worth nothing, else 1.
            frame: the frame it led to.
            ended: whether that was the episode's last.
            first_frame: where it was, the first frame of the next episode; other rows are not read.
            envs: which; None: all.
        """
        envs = self._all if envs is None else envs
        at = envs, self._newest[envs]
        self._action[at], self._reward[at], self._discount[at], age = (
            action,
            reward,
            discount,
            self._age[at],
        )
        self._append(envs, frame, age=np.where(age < 255, age + 1, age).astype(np.uint8))
        if ended.any():
            over = envs[ended]
            self._last[over, self._newest[over]] = True
            self._append(over, first_frame[ended], age=np.zeros(len(over), np.uint8))

    def added(self, envs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Frames of environments (E,) since the run began."""
        return self._added[envs]

    def completed(
        self, envs: NDArray[np.int64], since: NDArray[np.int64]
    ) -> list[NDArray[np.int64]]:
        """Places of the transitions of environments (E,) that became complete since they had so
        many frames, oldest first.
        """
        places = []
        for env, before in zip(envs.tolist(), since.tolist(), strict=True):
            rows = (
                np.arange(max(before - self.n_step, 0), max(int(self._added[env]) - self.n_step, 0))
                % self.rows
            )
            places.append(env * self.rows + rows[~self._last[env, rows]])
        return places

    def can_sample(self) -> bool:
        """Whether at least one transition is complete."""
        if self.priorities is not None:
            return self.priorities.any()
        counts, oldest = self._sampleable(), self._oldest()
        first = np.arange(FIRST_CANDIDATES)
        begun = first < counts[:, np.newaxis]
        ends = self._last[self._all[:, np.newaxis], (oldest[:, np.newaxis] + first) % self.rows]
        if (begun & ~ends).any():
            return True
        # Episodes of no steps, one behind the other: so rare that every row may be looked at.
        candidates = zip(self._last, oldest.tolist(), counts.tolist(), strict=True)
        return any(
            not last[(start + np.arange(count)) % self.rows].all()
            for last, start, count in candidates
        )

    def sample(self, size: int, count: int = 1, progress: float = 0.0, share: float = 1.0) -> Batch:
        """Draws transitions, with replacement, equally often or by their priorities.

        Args:
            size: B.
            count: of batches of B transitions, which are returned as one.
            progress: of the weights' exponent on its way to 1, 0 to 1.
            share: of each batch that goes by priorities, if there are any, 0 to 1.

        Raises:
            ValueError: no transition is complete yet.
        """
        if size * count and not self.can_sample():
            raise ValueError("there is nothing to sample: no transition is complete")
        surprising = round(size * share) if self.priorities else 0
        env, row = self._draw((size - surprising) * count)
        if not (self.priorities and surprising):
            return self.gather(env, row)
        place, weight = self.priorities.draw(surprising, count, progress, self.random)
        place = np.concatenate([place, (env * self.rows + row).reshape(count, -1)], axis=1)
        weight = np.concatenate([weight, np.ones((count, size - surprising), np.float32)], axis=1)
        return self.gather(*np.divmod(place.ravel(), self.rows))._replace(weight=weight.ravel())

    def gather(self, env: NDArray[np.int64], row: NDArray[np.int64]) -> Batch:
        """Builds the transitions that start at the given rows, with weight 1."""
        at = env * self.rows + (row + np.arange(self.n_step)[:, np.newaxis]) % self.rows  # (n, B)
        going = ~np.logical_or.accumulate(self._last.take(at))
        worth = np.where(
            going, np.float32(self.gamma) * self._discount.take(at), np.float32(1)
        ).cumprod(axis=0)
        reward = np.where(going, self._reward.take(at), np.float32(0))
        reward[1:] *= worth[:-1]
        observation, next_observation = self._observations(
            env, row, going.sum(axis=0, dtype=np.int32)
        )
        weight, action = np.ones(len(env), np.float32), self._action.take(at[0])
        return Batch(
            observation, action, reward.sum(axis=0), worth[-1], next_observation, weight, at[0]
        )

    def set_priorities(self, place: NDArray[np.int64], surprise: NDArray[np.float32]) -> None:
        """How much the transitions at ``Batch.place`` (B,) surprised the learner, (B,)."""
        if self.priorities is not None:
            self.priorities.set(place, surprise)

    def drop_priorities(self) -> None:
        """Samples uniformly from now on, and keeps priorities no longer."""
        self.priorities = None

    def mean_frame(self) -> NDArray[np.float32]:
        """The mean (*frame_shape) of 2,000 of the frames held, evenly spaced."""
        rows = (
            np.linspace(0, int(self._size.min()) - 1, -(-2000 // self.num_envs))
            .astype(np.int64)
            .tolist()
        )
        frames = [self._frames.window(env, row)[0] for env in range(self.num_envs) for row in rows]
        return np.asarray(np.mean(frames, axis=0, dtype=np.float32))

    def newest_frames(self) -> NDArray[Any]:
        """The newest frame of each environment, (num_envs, *frame_shape)."""
        first = (self._newest - (self._window - 1)) % self.rows
        return np.stack(
            [self._frames.window(env, start)[-1] for env, start in enumerate(first.tolist())]
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything but the full blocks of frames: what was done and earned, counts, and frames of
        unfinished blocks.
        """
        named = {
            name: getattr(self, f"_{name}")
            for name in ("action", "reward", "discount", "last", "age", "added")
        }
        tails = [
            self._frames.unfinished(env, count)
            for env, count in enumerate(self._unfinished().tolist())
        ]
        priorities = {} if self.priorities is None else self.priorities.arrays()
        return (
            named
            | priorities
            | {"tail": np.concatenate(tails), "random": generator_to_array(self.random)}
        )

    def restore(self, arrays: Mapping[str, NDArray[Any]], blocks: Iterable[Block]) -> None:
        """Takes over the ``arrays`` and blocks of a memory of the same settings.

        Blocks that are too old for the ring are ignored.

        Raises:
            KeyError: an array is missing.
            ValueError: an array or a block is none of such a memory.
        """
        for name in ("action", "reward", "discount", "last", "age", "added"):
            mine = getattr(self, f"_{name}")
            mine[...] = array(arrays, name, mine.shape, mine.dtype)
        if (self._added < 0).any():
            raise ValueError("a number of frames is below 0")
        tail = array(arrays, "tail", (int(self._unfinished().sum()), *self.frame_shape), self.dtype)
        oldest, full = self.full_blocks - self.blocks, self.full_blocks
        for block in blocks:
            if not (0 <= block.env < self.num_envs and 0 <= block.number < full[block.env]):
                raise ValueError(f"there can be no block {block.number} of environment {block.env}")
            if block.number >= oldest[block.env]:
                self._frames.set_block(block.env, block.number % self.blocks, block.packed)
        newest = iter(tail)
        for env, count in enumerate(self._unfinished().tolist()):
            for row in range(int(self._newest[env]) - count + 1, int(self._newest[env]) + 1):
                self._frames.append(np.array([env]), np.array([row]), next(newest)[np.newaxis])
        self.priorities = (
            self.priorities if "priorities" in arrays else None
        )  # where they count no more
        if self.priorities is not None:  # after the tail, which was appended once more
            self.priorities.restore(arrays)
        generator_from_array(self.random, arrays["random"])

    @property
    def blocks(self) -> int:
        """Blocks of an environment's ring."""
        return blocks_in(self.rows)

    @property
    def full_blocks(self) -> NDArray[np.int64]:
        """Number of blocks (num_envs,) that each environment has filled since the run began."""
        return full_blocks(self._added, self.rows)

    def filled(self, since: NDArray[np.int64]) -> Iterator[Block]:
        """The blocks numbered from ``since`` (num_envs,) on that are full and still held."""
        full = self.full_blocks
        for env, first in enumerate(np.maximum(since, full - self.blocks).tolist()):
            for number in range(first, int(full[env])):
                yield Block(env, number, self._frames.block(env, number % self.blocks))

    def _unfinished(self) -> NDArray[np.int64]:
        """Frames in the block that each environment is filling."""
        return self._added % self.rows % BLOCK

    def _observations(
        self, env: NDArray[np.int64], row: NDArray[np.int64], offset: NDArray[np.int32]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Stacks that end at the given rows and so many rows later; frames before an episode's
        first are blank.
        """
        shape = (len(env), *self._blank.shape, self.stack)
        observation, next_observation = (aligned_empty(shape, self._blank.dtype) for _ in range(2))
        first, ages = (row - (self.stack - 1)) % self.rows, self._age[env, row].astype(np.int64)
        missing = np.maximum(self.stack - 1 - ages, 0)
        if self._blank.ndim == 1:
            pairs = ((np.zeros_like(offset), observation), (offset, next_observation))
            gather_stacks(self._frames, self.rows, env, first, missing, pairs)
            return observation, next_observation
        places = zip(env.tolist(), first.tolist(), missing.tolist(), offset.tolist(), strict=True)
        for index, (ring, start, blank, ahead) in enumerate(places):
            frames = self._frames.window(ring, start)
            frames[:blank] = [self._blank] * blank
            frames_last(frames[: self.stack], observation[index])
            frames_last(frames[ahead : ahead + self.stack], next_observation[index])
        return observation, next_observation

    def _draw(self, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        ends = np.cumsum(self._sampleable())
        oldest = self._oldest()
        env, row = (np.empty(size, np.int64) for _ in range(2))
        redraw = np.arange(size)
        while len(redraw):
            flat = self.random.integers(ends[-1], size=len(redraw))
            env[redraw] = np.searchsorted(ends, flat, side="right")
            within = flat - np.concatenate([[0], ends])[env[redraw]]
            row[redraw] = (oldest[env[redraw]] + within) % self.rows
            redraw = redraw[self._last[env[redraw], row[redraw]]]
        return env, row

    def _oldest(self) -> NDArray[np.int64]:
        """The first row of each environment that may be drawn, not yet modulo the ring's rows."""
        return np.where(self._size == self.rows, self._newest + self.stack, 0)

    def _sampleable(self) -> NDArray[np.int64]:
        """How many rows of each environment may be drawn, episodes' last rows among them."""
        lost = np.where(self._size == self.rows, self.stack - 1, 0)
        return np.maximum(self._size - lost - self.n_step, 0)

    def _append(
        self, envs: NDArray[np.int64], frames: NDArray[Any], age: NDArray[np.uint8]
    ) -> None:
        self._added[envs] += 1
        rows = self._newest[envs]
        self._frames.append(envs, rows, frames)
        self._last[envs, rows], self._age[envs, rows] = False, age
        if self.priorities is not None:
            self._prioritize(envs, rows)

    def _prioritize(self, envs: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
        """New frames lie in these rows: some transitions are complete now, others have lost part of
        their stack.
        """
        assert self.priorities is not None
        full = self._added[envs] >= self.rows
        reaching = (
            rows[full] + np.arange(1, self.stack)[:, np.newaxis]
        ) % self.rows  # the oldest, whose stacks reach back
        gone = np.concatenate(
            [envs * self.rows + rows, (envs[full] * self.rows + reaching).ravel()]
        )
        complete = (rows - self.n_step) % self.rows
        ready = (self._added[envs] > self.n_step) & ~self._last[envs, complete]
        self.priorities.replace(gone, (envs * self.rows + complete)[ready])
