"""The replay memory: rings of single frames.

Stacks and n-step returns are built when a batch is sampled. Each frame is therefore stored only
once, which takes 7,056 bytes per transition instead of 56,448 for two stacks.

Each environment has its own ring, with rows in order of time:

    row        0     1     2     3     4     5     6
    frame      f0    f1    f2    f3    g0    g1    ...      f3 ends an episode, g0 starts the next
    action     a0    a1    a2    -     b0    b1             action after the frame; none at the end
    reward     r1    r2    r3    -     r1    r2             reward of that action
    discount   1     1     0|1   -     1     1              0 after termination or a lost life

An episode of T steps takes T + 1 rows. A truncated episode therefore keeps the frame from which it
bootstraps.
"""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from atari_dqn.backend.arrays import FrameStatistics, aligned_empty, frames_last
from atari_dqn.errors import UserError
from atari_dqn.replay.batch import Batch
from atari_dqn.replay.blocks import BLOCK, Block, blocks_in, full_blocks
from atari_dqn.replay.capacity import choose_storage
from atari_dqn.replay.frames import (
    RingLayout,
    StackStarts,
    Storage,
    gather_vector_stacks,
    make_frames,
)
from atari_dqn.replay.priorities import Priorities
from atari_dqn.runs.checkpoint import array
from atari_dqn.runs.random_state import generator_from_array, generator_to_array

# ``can_sample`` checks this many rows of each environment before it checks all of them.
FIRST_CANDIDATES = 4
# Rows since the start of an episode are counted in a byte, and only up to this number. A stack is
# always shorter.
LARGEST_AGE = 255
# Approximate number of frames from which the mean frame is computed.
MEAN_FRAMES = 2_000
# Names of the arrays in a checkpoint that hold the rows of all rings.
RING_ARRAYS = ("action", "reward", "discount", "last", "age", "added")


@dataclass(eq=False, repr=False)
class ReplayMemory:
    """A replay memory for several environments.

    A row can be sampled if it has an action and n later rows. In a full ring its whole stack must
    also still exist, which is not so for the oldest stack - 1 rows.

    An n-step return stops at the last frame of its episode, after m <= n steps. Its discount is
    then 0 if the episode terminated, and gamma^m if it was truncated.

    Args:
        capacity: number of frames stored, summed over all environments.
        num_envs: number of environments, each of which gets an equal share of the capacity.
        frame_shape: shape of a frame: (height, width), or (n,) for vectors.
        dtype: dtype of a frame.
        stack: number of frames in an observation.
        n_step: number of rewards summed before bootstrapping (Sutton 1988).
        gamma: discount per step.
        seed: seed for sampling.
        priority_exponent: alpha of prioritized replay (Schaul et al. 2016, equation 1); 0 samples
            uniformly.
        importance_exponent: initial beta of the importance weights (Schaul et al. 2016, section
            3.4).
        storage: where frames are stored; ``choose_storage`` resolves "auto".
        directory: directory for a file of frames; by default, the system's temporary directory.

    Raises:
        UserError: an environment's share is too small for sampling, or the frames do not fit into
            the free memory or disk space.
    """

    capacity: int
    num_envs: int
    frame_shape: tuple[int, ...]
    _: KW_ONLY
    stack: int
    n_step: int
    gamma: float
    seed: int
    priority_exponent: float = 0.0
    importance_exponent: float = 1.0
    dtype: DTypeLike = np.uint8
    storage: Storage | Literal["auto"] = "auto"
    directory: str | Path | None = None

    def __post_init__(self) -> None:
        self.rows = self.capacity // self.num_envs
        self._window = self.stack + self.n_step
        self._check_rows()
        self._blank = np.zeros(self.frame_shape, self.dtype)
        self.frame_shape = self._blank.shape
        self.dtype = self._blank.dtype
        layout = RingLayout(
            self.capacity, self.num_envs, self._window, self._blank.shape, self._blank.dtype
        )
        directory = Path(self.directory or tempfile.gettempdir())
        self.storage = choose_storage(self.storage, layout, directory)
        self._frames = make_frames(self.storage, layout, directory)
        shape = (self.num_envs, self.rows)
        self._action = np.zeros(shape, np.int32)
        self._reward = np.zeros(shape, np.float32)
        self._discount = np.zeros(shape, np.float32)
        self._last = np.zeros(shape, np.bool_)
        self._age = np.zeros(shape, np.uint8)  # rows since the start of the episode, at most 255
        # Frames added since the start of the run; the newest is in row (added - 1) % rows.
        self._added = np.zeros(self.num_envs, np.int64)
        self._all_envs = np.arange(self.num_envs)
        seeds = np.random.SeedSequence([self.seed, *b"replay"])
        self.random = np.random.Generator(np.random.PCG64(seeds))
        self.priorities: Priorities | None = None
        if self.priority_exponent:
            self.priorities = Priorities(
                self._last.size, self.priority_exponent, self.importance_exponent
            )

    def _check_rows(self) -> None:
        """Raises a UserError if an environment's share is shorter than two windows of a sample."""
        needed = 2 * self._window
        if self.rows < needed:
            raise UserError(
                f"replay.capacity = {self.capacity} leaves {self.rows} frames for each of "
                f"{self.num_envs} environments; stacks of {self.stack} and {self.n_step}-step "
                f"returns need at least {needed}"
            )

    @property
    def _newest(self) -> NDArray[np.int64]:
        """The row of each environment's newest frame."""
        return (self._added - 1) % self.rows

    @property
    def _size(self) -> NDArray[np.int64]:
        """Number of frames stored for each environment."""
        return np.minimum(self._added, self.rows)

    def __len__(self) -> int:
        """Returns the number of stored frames, summed over all environments."""
        return int(self._size.sum())

    def start(self, frames: NDArray[Any], envs: NDArray[np.int64] | None = None) -> None:
        """Adds the first frames (E, *frame_shape) of new episodes.

        An unfinished episode of the same environment ends here, as if it had been truncated.

        Args:
            frames: one frame for each environment.
            envs: (E,) indices of the environments; by default, all.
        """
        envs = self._all_envs if envs is None else envs
        begun = envs[self._added[envs] > 0]
        self._last[begun, self._newest[begun]] = True
        self._append(envs, frames, age=np.zeros(len(envs), np.uint8))

    def add(  # noqa: PLR0913, PLR0917 - one argument for each array of a step
        self,
        action: NDArray[np.int32],
        reward: NDArray[np.float32],
        discount: NDArray[np.float32],
        frame: NDArray[Any],
        ended: NDArray[np.bool_],
        first_frame: NDArray[Any],
        envs: NDArray[np.int64] | None = None,
    ) -> None:
        """Adds one step of E environments.

        Args:
            action: (E,) actions that were executed.
            reward: (E,) rewards for learning, clipped if the settings say so.
            discount: (E,) 0 after termination or a lost life, else 1.
            frame: (E, *frame_shape) frames after the step.
            ended: (E,) whether the episode has ended.
            first_frame: (E, *frame_shape) first frame of the next episode, where one has ended;
                other rows are not read.
            envs: (E,) indices of the environments; by default, all.
        """
        envs = self._all_envs if envs is None else envs
        newest = (envs, self._newest[envs])
        self._action[newest] = action
        self._reward[newest] = reward
        self._discount[newest] = discount
        age = self._age[newest]
        self._append(envs, frame, age=np.where(age < LARGEST_AGE, age + 1, age).astype(np.uint8))
        if ended.any():
            ended_envs = envs[ended]
            self._last[ended_envs, self._newest[ended_envs]] = True
            self._append(ended_envs, first_frame[ended], age=np.zeros(len(ended_envs), np.uint8))

    def added(self, envs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns the number of frames that environments (E,) have added since the run started."""
        return self._added[envs]

    def completed(
        self, envs: NDArray[np.int64], since: NDArray[np.int64]
    ) -> list[NDArray[np.int64]]:
        """Returns each environment's newly completed transitions by index, oldest first.

        Args:
            envs: (E,) indices of the environments.
            since: (E,) result of ``added`` before the new frames.
        """
        indices = []
        for env, before in zip(envs.tolist(), since.tolist(), strict=True):
            first = max(before - self.n_step, 0)
            end = max(int(self._added[env]) - self.n_step, 0)
            rows = np.arange(first, end) % self.rows
            indices.append(env * self.rows + rows[~self._last[env, rows]])
        return indices

    def can_sample(self) -> bool:
        """Returns whether at least one transition is complete."""
        if self.priorities is not None:
            return self.priorities.any()
        counts = self._sampleable()
        oldest = self._oldest()
        first = np.arange(FIRST_CANDIDATES)
        exists = first < counts[:, np.newaxis]
        rows = (oldest[:, np.newaxis] + first) % self.rows
        is_last = self._last[self._all_envs[:, np.newaxis], rows]
        if (exists & ~is_last).any():
            return True
        # Only several consecutive episodes without steps lead here. This is so rare that checking
        # every row is fast enough.
        candidates = zip(self._last, oldest.tolist(), counts.tolist(), strict=True)
        return any(
            not last[(start + np.arange(count)) % self.rows].all()
            for last, start, count in candidates
        )

    def sample(self, size: int, count: int = 1, progress: float = 0.0, share: float = 1.0) -> Batch:
        """Samples transitions with replacement, uniformly or by priority.

        Args:
            size: B, the number of transitions in a batch.
            count: number of batches, which are returned as one.
            progress: progress of the exponent beta from its initial value to 1, from 0 to 1.
            share: share of each batch that is sampled by priority, from 0 to 1. Without priorities
                it has no effect.

        Returns:
            One batch of count * B transitions.

        Raises:
            ValueError: no transition is complete yet.
        """
        if size * count and not self.can_sample():
            raise ValueError("there is nothing to sample yet: no transition is complete")
        by_priority = round(size * share) if self.priorities else 0
        env, row = self._sample_uniformly((size - by_priority) * count)
        if not (self.priorities and by_priority):
            return self.gather(env, row)
        indices, weight = self.priorities.sample(by_priority, count, progress, self.random)
        uniform = (env * self.rows + row).reshape(count, -1)
        indices = np.concatenate([indices, uniform], axis=1)
        weight = np.concatenate([weight, np.ones(uniform.shape, np.float32)], axis=1)
        return self.gather(*np.divmod(indices.ravel(), self.rows))._replace(weight=weight.ravel())

    def gather(self, env: NDArray[np.int64], row: NDArray[np.int64]) -> Batch:
        """Returns the transitions that start in given environments and rows, with weight 1.

        For row t, the n-step return and the discount of the next state's value are

            R = sum_k gamma^k d_t ... d_(t+k-1) r_(t+k),   discount = gamma^m d_t ... d_(t+m-1)

        where r is the reward and d the discount (0 or 1) of each row, and k = 0 ... m - 1. The
        number of steps m is n, or less if the episode ends earlier (Sutton 1988).

        Args:
            env: (B,) environments.
            row: (B,) rows in the environments' rings.
        """
        steps = np.arange(self.n_step)[:, np.newaxis]
        indices = env * self.rows + (row + steps) % self.rows  # (n, B)
        in_episode = ~np.logical_or.accumulate(self._last.take(indices))
        step_discount = np.float32(self.gamma) * self._discount.take(indices)
        discount = np.where(in_episode, step_discount, np.float32(1)).cumprod(axis=0)
        reward = np.where(in_episode, self._reward.take(indices), np.float32(0))
        reward[1:] *= discount[:-1]
        length = in_episode.sum(axis=0, dtype=np.int32)  # m
        observation, next_observation = self._observations(env, row, length)
        return Batch(
            observation,
            self._action.take(indices[0]),
            reward.sum(axis=0),
            discount[-1],
            next_observation,
            np.ones(len(env), np.float32),
            indices[0],
        )

    def set_priorities(self, indices: NDArray[np.int64], td_errors: NDArray[np.float32]) -> None:
        """Sets the priorities of transitions (B,) from TD errors or losses (B,).

        Without prioritized replay, it does nothing.

        Args:
            indices: (B,) indices as in ``Batch``.
            td_errors: (B,) TD errors or losses, whose absolute values become the priorities.
        """
        if self.priorities is not None:
            self.priorities.set(indices, td_errors)

    def drop_priorities(self) -> None:
        """Discards all priorities and samples uniformly from now on."""
        self.priorities = None

    def frame_statistics(self) -> FrameStatistics:
        """Returns the statistics of about 2,000 evenly spaced frames.

        Actors fill the memory one after another, so an environment may still have no frame.
        """
        envs = np.flatnonzero(self._size)
        count = -(-MEAN_FRAMES // len(envs))
        rows = np.linspace(0, int(self._size[envs].min()) - 1, count).astype(np.int64).tolist()
        frames = [self._frames.window(env, row)[0] for env in envs.tolist() for row in rows]
        mean = np.asarray(np.mean(frames, axis=0, dtype=np.float32))
        squares = [np.mean(np.square(frame - mean), dtype=np.float64) for frame in frames]
        return FrameStatistics(mean, float(np.sqrt(np.mean(squares))))

    def newest_frames(self) -> NDArray[Any]:
        """Returns the newest frame of each environment, (num_envs, *frame_shape)."""
        first = (self._newest - (self._window - 1)) % self.rows
        windows = [self._frames.window(env, start) for env, start in enumerate(first.tolist())]
        return np.stack([window[-1] for window in windows])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns the state for ``restore``, without the full blocks of frames."""
        arrays = {name: getattr(self, f"_{name}") for name in RING_ARRAYS}
        unfinished = enumerate(self._unfinished().tolist())
        arrays["tail"] = np.concatenate(
            [self._frames.unfinished(env, count) for env, count in unfinished]
        )
        arrays["random"] = generator_to_array(self.random)
        if self.priorities is not None:
            arrays |= self.priorities.arrays()
        return arrays

    def restore(self, arrays: Mapping[str, NDArray[Any]], blocks: Iterable[Block]) -> None:
        """Restores the state of a memory with the same settings.

        Args:
            arrays: result of ``arrays``.
            blocks: the full blocks of frames. Blocks that are too old for the ring are ignored.

        Raises:
            KeyError: an array is missing.
            ValueError: an array or a block does not fit this memory.
        """
        for name in RING_ARRAYS:
            own = getattr(self, f"_{name}")
            own[...] = array(arrays, name, own.shape, own.dtype)
        if (self._added < 0).any():
            raise ValueError("a number of frames is negative")
        tail = array(arrays, "tail", (int(self._unfinished().sum()), *self.frame_shape), self.dtype)
        full = self.full_blocks
        for block in blocks:
            self._restore_block(block, full)
        self._restore_tail(tail)
        if "priorities" not in arrays:  # uniform sampling, or ``replay.priority_steps`` have passed
            self.priorities = None
        if self.priorities is not None:
            self.priorities.restore(arrays)
        generator_from_array(self.random, arrays["random"])

    def _restore_block(self, block: Block, full: NDArray[np.int64]) -> None:
        if not (0 <= block.env < self.num_envs and 0 <= block.number < full[block.env]):
            raise ValueError(f"block {block.number} of environment {block.env} cannot exist")
        if block.number >= full[block.env] - self.blocks:
            self._frames.set_block(block.env, block.number % self.blocks, block.packed)

    def _restore_tail(self, tail: NDArray[Any]) -> None:
        """Stores the frames of unfinished blocks, one environment after another."""
        frames = iter(tail)
        for env, count in enumerate(self._unfinished().tolist()):
            end = int(self._newest[env]) + 1
            for row in range(end - count, end):
                self._frames.append(np.array([env]), np.array([row]), next(frames)[np.newaxis])

    @property
    def blocks(self) -> int:
        """Number of blocks in each environment's ring."""
        return blocks_in(self.rows)

    @property
    def full_blocks(self) -> NDArray[np.int64]:
        """Number of blocks (num_envs,) that each environment has filled since the run started."""
        return full_blocks(self._added, self.rows)

    def filled(self, since: NDArray[np.int64]) -> Iterator[Block]:
        """Yields the stored full blocks of each environment, from the number in ``since`` on.

        Args:
            since: (num_envs,) block numbers, counted since the run started.
        """
        full = self.full_blocks
        for env, first in enumerate(np.maximum(since, full - self.blocks).tolist()):
            for number in range(first, int(full[env])):
                yield Block(env, number, self._frames.block(env, number % self.blocks))

    def _unfinished(self) -> NDArray[np.int64]:
        """Returns the number of frames in each environment's unfinished block."""
        return self._added % self.rows % BLOCK

    def _observations(
        self, env: NDArray[np.int64], row: NDArray[np.int64], offset: NDArray[np.int32]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Returns the stacks that end at given rows, and the stacks that end ``offset`` rows later.

        Frames before the start of the episode are 0.

        Args:
            env: (B,) environments.
            row: (B,) rows.
            offset: (B,) numbers of rows.

        Returns:
            Two arrays (B, *frame_shape, stack).
        """
        shape = (len(env), *self._blank.shape, self.stack)
        observation = aligned_empty(shape, self._blank.dtype)
        next_observation = aligned_empty(shape, self._blank.dtype)
        first = (row - (self.stack - 1)) % self.rows
        blank = np.maximum(self.stack - 1 - self._age[env, row].astype(np.int64), 0)
        if self._blank.ndim == 1:
            starts = StackStarts(env, first, blank)
            gather_vector_stacks(self._frames, self.rows, starts, 0, observation)
            gather_vector_stacks(self._frames, self.rows, starts, offset, next_observation)
            return observation, next_observation
        windows = zip(env.tolist(), first.tolist(), blank.tolist(), offset.tolist(), strict=True)
        for index, (ring, start, blanks, ahead) in enumerate(windows):
            frames = self._frames.window(ring, start)
            frames[:blanks] = [self._blank] * blanks
            frames_last(frames[: self.stack], observation[index])
            frames_last(frames[ahead : ahead + self.stack], next_observation[index])
        return observation, next_observation

    def _sample_uniformly(self, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns uniformly sampled environments and rows, both (size,).

        Last rows of episodes have no action. They are sampled again until none is left.
        """
        ends = np.cumsum(self._sampleable())
        starts = np.concatenate([[0], ends])
        oldest = self._oldest()
        env = np.empty(size, np.int64)
        row = np.empty(size, np.int64)
        missing = np.arange(size)
        while len(missing):
            flat = self.random.integers(ends[-1], size=len(missing))
            env[missing] = np.searchsorted(ends, flat, side="right")
            within = flat - starts[env[missing]]
            row[missing] = (oldest[env[missing]] + within) % self.rows
            missing = missing[self._last[env[missing], row[missing]]]
        return env, row

    def _oldest(self) -> NDArray[np.int64]:
        """Returns each environment's oldest row that can be sampled; take it modulo ``rows``."""
        return np.where(self._size == self.rows, self._newest + self.stack, 0)

    def _sampleable(self) -> NDArray[np.int64]:
        """Returns each environment's number of candidates for sampling.

        These rows include the last rows of episodes, which have no action.
        """
        lost = np.where(self._size == self.rows, self.stack - 1, 0)
        return np.maximum(self._size - lost - self.n_step, 0)

    def _append(
        self, envs: NDArray[np.int64], frames: NDArray[Any], age: NDArray[np.uint8]
    ) -> None:
        self._added[envs] += 1
        rows = self._newest[envs]
        self._frames.append(envs, rows, frames)
        self._last[envs, rows] = False
        self._age[envs, rows] = age
        if self.priorities is not None:
            self._update_sampleable(self.priorities, envs, rows)

    def _update_sampleable(
        self, priorities: Priorities, envs: NDArray[np.int64], rows: NDArray[np.int64]
    ) -> None:
        """Adds transitions that new frames complete, and removes those that they overwrite."""
        full = self._added[envs] >= self.rows
        # The oldest rows cannot be sampled any more, as their stacks include the overwritten row.
        reaching = (rows[full] + np.arange(1, self.stack)[:, np.newaxis]) % self.rows
        overwritten = envs * self.rows + rows
        removed = np.concatenate([overwritten, (envs[full] * self.rows + reaching).ravel()])
        complete = (rows - self.n_step) % self.rows
        is_transition = (self._added[envs] > self.n_step) & ~self._last[envs, complete]
        priorities.replace(removed, (envs * self.rows + complete)[is_transition])
