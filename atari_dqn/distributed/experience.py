"""The experience that actors send to the learner, in which each frame occurs once, compressed."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atari_dqn.replay.blocks import pack, unpack
from atari_dqn.replay.memory import ReplayMemory
from atari_dqn.training.episodes import FinishedEpisode


class StoredStep(NamedTuple):
    """One step of E environments: the arguments of ``ReplayMemory.add``, in order."""

    action: NDArray[np.int32]  # (E,) executed actions
    reward: NDArray[np.float32]  # (E,) clipped rewards
    discount: NDArray[np.float32]  # (E,) 0 after termination or a lost life, otherwise 1
    frame: NDArray[Any]  # (E, *frame_shape) newest frame after the action
    ended: NDArray[np.bool_]  # (E,) whether the episode ended
    first_frame: NDArray[Any]  # (E, *frame_shape) first frame of the next episode, where one ended


class Experience(NamedTuple):
    """K steps of E environments, with compressed frames."""

    action: NDArray[np.int32]  # (K, E) executed actions
    reward: NDArray[np.float32]  # (K, E) clipped rewards
    discount: NDArray[np.float32]  # (K, E) 0 after termination or a lost life, otherwise 1
    ended: NDArray[np.bool_]  # (K, E) whether the episode ended
    frames: bytes  # (E, K, *frame_shape) newest frame after each action
    first_frames: bytes  # (M, *frame_shape) first frames of the M episodes that began after others
    # (E, *frame_shape) first frames of a new actor's episodes; empty if the actor is not new
    start: bytes
    # For each environment: priorities of the transitions that became complete, oldest first.
    priorities: list[NDArray[np.float32]]
    episodes: list[FinishedEpisode]
    emulator_frames: int

    @property
    def steps(self) -> int:
        """Number of agent steps, in all environments together."""
        return self.action.size

    @property
    def nbytes(self) -> int:
        """Size in bytes of arrays and frames. The list of episodes is small and not counted."""
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
    """Returns an actor's steps as ``Experience``.

    Args:
        steps: K steps of E environments.
        start: (E, *frame_shape) First frames if the actor is new, otherwise None.
        priorities: As in ``Experience``.
        episodes: As in ``Experience``.
        emulator_frames: Emulator frames in the steps.
    """
    joined = StoredStep(*(np.stack(part) for part in zip(*steps, strict=True)))
    return Experience(
        action=joined.action,
        reward=joined.reward,
        discount=joined.discount,
        ended=joined.ended,
        # Successive frames of one environment are similar, so they compress well side by side.
        frames=pack(joined.frame.swapaxes(0, 1)),
        first_frames=pack(joined.first_frame[joined.ended]),
        start=b"" if start is None else pack(start),
        priorities=priorities,
        episodes=episodes,
        emulator_frames=emulator_frames,
    )


def insert(memory: ReplayMemory, envs: NDArray[np.int64], experience: Experience) -> None:
    """Adds experience and its priorities to a memory.

    If an actor has replaced a dead one, its first frames truncate the unfinished episodes of the
    dead actor.

    Args:
        memory: The replay memory.
        envs: (E,) Indices of the memory's environments to which the experience belongs.
        experience: The experience.
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
            # The first frames of a new actor also complete transitions of the dead actor that it
            # replaces. There are no priorities for these.
            known = indices[len(indices) - len(priorities) :]
            if len(known):
                memory.priorities.set(known, priorities)


def _frames(packed: bytes, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    return np.frombuffer(unpack(packed), dtype).reshape(-1, *shape)
