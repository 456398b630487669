"""What actors send to the learner: steps of several environments, each frame once, packed."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atari_dqn.replay.blocks import pack, unpack
from atari_dqn.replay.memory import ReplayMemory
from atari_dqn.training.episodes import FinishedEpisode


class StoredStep(NamedTuple):
    """What ``ReplayMemory.add`` is given of one step of E environments, in its order."""

    action: NDArray[np.int32]  # (E,) what was executed
    reward: NDArray[np.float32]  # (E,) clipped
    discount: NDArray[np.float32]  # (E,)
    frame: NDArray[Any]  # (E, *frame_shape) where the action led
    ended: NDArray[np.bool_]  # (E,)
    first_frame: NDArray[Any]  # (E, *frame_shape) of the next episode, where one ended


class Experience(NamedTuple):
    """K steps of E environments. Frames are packed."""

    action: NDArray[np.int32]  # (K, E) what was executed
    reward: NDArray[np.float32]  # (K, E) clipped as the learner wants it
    discount: NDArray[np.float32]  # (K, E) 0 where the future is worth nothing, else 1
    ended: NDArray[np.bool_]  # (K, E)
    frames: bytes  # (E, K, *frame_shape) where the actions led
    first_frames: bytes  # (M, *frame_shape) of the M episodes that began after others ended
    # (E, *frame_shape) first frames of a new actor's episodes; empty if it has gone on with its own
    start: bytes
    # For each environment those of the transitions that became complete, oldest first.
    priorities: list[NDArray[np.float32]]
    episodes: list[FinishedEpisode]
    emulator_frames: int

    @property
    def steps(self) -> int:
        """Agent steps in it."""
        return self.action.size

    @property
    def nbytes(self) -> int:
        """Bytes of everything that grows with the number of steps."""
        arrays = (self.action, self.reward, self.discount, self.ended, *self.priorities)
        packed = len(self.frames) + len(self.first_frames) + len(self.start)
        return packed + sum(array.nbytes for array in arrays)


def pack_experience(
    steps: Sequence[StoredStep],
    start: NDArray[Any] | None,
    priorities: list[NDArray[np.float32]],
    episodes: list[FinishedEpisode],
    emulator_frames: int,
) -> Experience:
    """Packs what an actor has done.

    Args:
        steps: K steps of E environments.
        start: (E, *frame_shape) first frames, if the actor is new.
        priorities: as in ``Experience``.
        episodes: as in ``Experience``.
        emulator_frames: emulator frames that the steps took.
    """
    joined = StoredStep(*(np.stack(part) for part in zip(*steps, strict=True)))
    return Experience(
        action=joined.action,
        reward=joined.reward,
        discount=joined.discount,
        ended=joined.ended,
        # An environment's frames one after another: they differ little, so they pack well.
        frames=pack(joined.frame.swapaxes(0, 1)),
        first_frames=pack(joined.first_frame[joined.ended]),
        start=b"" if start is None else pack(start),
        priorities=priorities,
        episodes=episodes,
        emulator_frames=emulator_frames,
    )


def insert(memory: ReplayMemory, envs: NDArray[np.int64], experience: Experience) -> None:
    """Adds the experience of the environments ``envs`` (E,) of a memory, with its priorities.

    What an actor that died has left unfinished ends here as if it had been truncated.
    """
    shape = memory.frame_shape
    dtype = memory.dtype
    before = memory.added(envs)
    if experience.start:
        memory.start(_frames(experience.start, shape, dtype), envs)
    frames = _frames(experience.frames, shape, dtype).reshape(len(envs), -1, *shape).swapaxes(0, 1)
    first_frames = iter(_frames(experience.first_frames, shape, dtype))
    first = np.zeros((len(envs), *shape), dtype)
    rows = (experience.action, experience.reward, experience.discount, frames, experience.ended)
    for action, reward, discount, frame, ended in zip(*rows, strict=True):
        for env in np.flatnonzero(ended):
            first[env] = next(first_frames)
        memory.add(action, reward, discount, frame, ended, first, envs)
    if memory.priorities is not None:
        completed = memory.completed(envs, before)
        for indices, priorities in zip(completed, experience.priorities, strict=True):
            # The last transitions of an actor that died become complete with the first frames of
            # its successor.
            known = indices[len(indices) - len(priorities) :]
            if len(known):
                memory.priorities.set(known, priorities)


def _frames(packed: bytes, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    return np.frombuffer(unpack(packed), dtype).reshape(-1, *shape)
