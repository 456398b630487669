"""What actors send to the learner: steps of several environments, each frame once, packed."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atari_dqn.replay.blocks import pack, unpack
from atari_dqn.replay.memory import ReplayMemory


class Ended(NamedTuple):
    """An episode that ended."""

    score: float
    length: int  # agent steps
    frames: int  # emulator frames
    environment: int  # of the actor's
    seed: int  # that it was begun with, or another before it


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
    surprise: list[
        NDArray[np.float32]
    ]  # of each environment's transitions that became complete, oldest first
    episodes: list[Ended]
    emulator_frames: int

    @property
    def steps(self) -> int:
        """Agent steps in it."""
        return self.action.size

    @property
    def nbytes(self) -> int:
        """Bytes of everything that grows with the number of steps."""
        arrays = (self.action, self.reward, self.discount, self.ended, *self.surprise)
        return sum(array.nbytes for array in arrays) + sum(
            map(len, (self.frames, self.first_frames, self.start))
        )


def pack_experience(
    steps: Sequence[tuple[NDArray[Any], ...]],
    start: NDArray[Any] | None,
    surprise: list[NDArray[np.float32]],
    episodes: list[Ended],
    emulator_frames: int,
) -> Experience:
    """Experience from what ``ReplayMemory.add`` is given at each step.

    Args:
        steps: action, reward, discount, frame, ended and first frame of each.
        start: first frames, if the actor is new.
        surprise: see ``Experience``.
        episodes: see ``Experience``.
        emulator_frames: that the steps took.
    """
    action, reward, discount, frame, ended, first = (
        np.stack(part) for part in zip(*steps, strict=True)
    )
    # An environment's frames one after another: they differ little, so they pack well.
    packed = pack(frame.swapaxes(0, 1)), pack(first[ended]), b"" if start is None else pack(start)
    return Experience(action, reward, discount, ended, *packed, surprise, episodes, emulator_frames)


def insert(memory: ReplayMemory, envs: NDArray[np.int64], experience: Experience) -> None:
    """Adds the experience of the environments ``envs`` (E,) of a memory, with its priorities.

    What an actor that died has left unfinished ends here as if it had been truncated.
    """
    shape, dtype = memory.frame_shape, memory.dtype
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
        for complete, surprise in zip(
            memory.completed(envs, before), experience.surprise, strict=True
        ):
            # The last transitions of an actor that died become complete with the first frames of
            # its successor.
            known = complete[len(complete) - len(surprise) :]
            if len(known):
                memory.priorities.set(known, surprise)


def _frames(packed: bytes, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    return np.frombuffer(unpack(packed), dtype).reshape(-1, *shape)
