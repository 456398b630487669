"""Copies of a game stepped side by side behind one interface: ale-py's C++ vector environment, or
single games in turn.
"""

from typing import Any, NamedTuple, Protocol

import numpy as np
from ale_py.vector_env import AtariVectorEnv
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from atari_dqn.backend.arrays import observation_dtype
from atari_dqn.backend.machine import usable_cores
from atari_dqn.config.schema import EnvironmentSettings
from atari_dqn.environments.game import Game
from atari_dqn.environments.preprocessing import whole_steps
from atari_dqn.errors import UserError


class Transitions(NamedTuple):
    """One step of N games, as the emulators answer. Arrays have N rows."""

    observation: NDArray[Any]  # (N, *observation_shape); of an ended episode: its last
    reward: NDArray[np.float32]  # raw, unclipped
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    lives: NDArray[np.int32]  # left; 0 where the episode ended
    frames: NDArray[np.int64]  # emulator frames that the step took


class VectorGame(Protocol):
    """N copies of a game."""

    @property
    def num_envs(self) -> int:
        """N."""
        ...

    @property
    def action_names(self) -> tuple[str, ...]:
        """Name of each action, by its index."""
        ...

    @property
    def observation_shape(self) -> tuple[int, ...]:
        """(stack, height, width), or of vectors (stack, n)."""
        ...

    @property
    def seed_steps(self) -> int:
        """Agent steps for which one seed should serve in training, where seeding takes long; 0: an
        episode.
        """
        ...

    def reset(
        self, mask: NDArray[np.bool_], seeds: NDArray[np.int32]
    ) -> tuple[NDArray[Any], NDArray[np.int32]]:
        """Starts new episodes where the mask is set (everywhere at first), one seed for each.

        A seed of -1 goes on with the random numbers of the last one, which only games with
        ``seed_steps`` are asked to do, and only where an episode has just ended. Returns the
        observations and lives of all N.
        """
        ...

    def send(self, actions: NDArray[np.int32]) -> None:
        """Starts a step and returns at once; unknown actions raise a UserError."""
        ...

    def recv(self) -> Transitions:
        """Waits for the step that was sent."""
        ...


def checked_actions(actions: Any, count: int, num_actions: int) -> NDArray[np.int32]:
    """Returns the actions of N games as int32 (N,).

    Raises:
        UserError: they are not N whole numbers from 0 to ``num_actions`` - 1. The C++ threads would
            wait for ever for a game that was given another.
    """
    given = np.asarray(actions)
    if given.shape != (count,) or given.dtype.kind not in "iu":
        wanted = f"wanted are {count} whole numbers, shape ({count},)"
        raise UserError(f"actions of shape {given.shape} and type {given.dtype}; {wanted}")
    if given.min() < 0 or given.max() >= num_actions:
        wrong = given[(given < 0) | (given >= num_actions)][0]
        raise UserError(f"there is no action {wrong}: there are {num_actions}, counted from 0")
    return given.astype(np.int32, copy=False)


class CppGames:
    """ale-py's C++ vector environment: emulation and preprocessing in its own threads."""

    def __init__(
        self,
        rom: str,
        settings: EnvironmentSettings,
        num_envs: int,
        frame_cap: int,
        threads: int = 0,
    ) -> None:
        if not isinstance(settings.frame_skip, int):
            raise ValueError("the C++ path has no random frame skip")
        self._games = AtariVectorEnv(
            rom,
            num_envs,
            num_threads=min(num_envs, threads or usable_cores()),
            max_num_frames_per_episode=whole_steps(frame_cap, settings.frame_skip),
            repeat_action_probability=settings.sticky_probability,
            full_action_space=settings.full_actions,
            img_height=settings.height,
            img_width=settings.width,
            stack_num=settings.stack,
            frameskip=settings.frame_skip,
            maxpool=settings.max_pool,
            noop_max=settings.noop_max,
            use_fire_reset=settings.fire_at_reset,
            # Episodic life would reset the whole game at each lost life; rewards are clipped where
            # they are learnt from.
            episodic_life=False,
            reward_clipping=False,
            # So the next episode begins in the thread that ended one, beside the steps of the
            # others.
            autoreset_mode=AutoresetMode.SAME_STEP,
        )
        self.num_envs = num_envs
        # Seeding loads the ROM again, which takes as long as 400 steps; but a continued run plays
        # all since the seeds again.
        self.seed_steps = int(np.clip(64_000 // num_envs, 4_000, 16_000))
        self.action_names = tuple(action.name for action in self._games.ale.get_action_set())
        self.observation_shape = (settings.stack, settings.height, settings.width)
        self._current = np.zeros((num_envs, *self.observation_shape), np.uint8)
        self._info: dict[str, NDArray[Any]] = {}

    def reset(
        self, mask: NDArray[np.bool_], seeds: NDArray[np.int32]
    ) -> tuple[NDArray[Any], NDArray[np.int32]]:
        """See ``VectorGame``."""
        seeded = seeds >= 0
        if seeded.any():
            chosen = mask.copy()
            chosen[mask] = seeded
            self._current, self._info = self._games.reset(
                seed=seeds[seeded], options={"reset_mask": chosen}
            )
        return self._current, self._info["lives"]

    def send(self, actions: NDArray[np.int32]) -> None:
        """See ``VectorGame``."""
        self._games.send(checked_actions(actions, self.num_envs, len(self.action_names)))

    def recv(self) -> Transitions:
        """See ``VectorGame``."""
        frames_before = self._info["frame_number"].astype(np.int64)
        self._current, reward, terminated, truncated, self._info = self._games.recv()
        observation, lives, frames = (
            self._current,
            self._info["lives"],
            self._info["frame_number"] - frames_before,
        )
        ended = terminated | truncated
        if ended.any():
            observation, lives = observation.copy(), np.where(ended, np.int32(0), lives)
            observation[ended] = self._info["final_obs"][ended]
            frames -= np.where(
                ended, self._info["episode_frame_number"], 0
            )  # those that began the next episode
        return Transitions(
            observation, reward.astype(np.float32), terminated, truncated, lives, frames
        )


class SerialGames:
    """Single games behind the same interface, stepped one after another."""

    seed_steps = 0

    def __init__(self, games: list[Game]) -> None:
        self._games = games
        self.num_envs = len(games)
        self.action_names, self.observation_shape = (
            games[0].action_names,
            games[0].observation_shape,
        )
        for number, game in enumerate(games):
            alike = (game.action_names, game.observation_shape) == (
                self.action_names,
                self.observation_shape,
            )
            if not alike:
                raise UserError(
                    f"environment {number} has other actions or observations than environment 0"
                )
        self._observation = np.zeros(
            (self.num_envs, *self.observation_shape), observation_dtype(self.observation_shape)
        )
        self._lives = np.zeros(self.num_envs, np.int32)
        self._actions = np.zeros(self.num_envs, np.int32)

    def reset(
        self, mask: NDArray[np.bool_], seeds: NDArray[np.int32]
    ) -> tuple[NDArray[Any], NDArray[np.int32]]:
        """See ``VectorGame``."""
        self._observation, self._lives = self._observation.copy(), self._lives.copy()
        for env, seed in zip(np.flatnonzero(mask), seeds, strict=True):
            self._observation[env], self._lives[env] = self._games[env].reset(int(seed))
        return self._observation, self._lives

    def send(self, actions: NDArray[np.int32]) -> None:
        """See ``VectorGame``."""
        self._actions = checked_actions(actions, self.num_envs, len(self.action_names))

    def recv(self) -> Transitions:
        """See ``VectorGame``."""
        outcomes = [
            game.step(int(action)) for game, action in zip(self._games, self._actions, strict=True)
        ]
        self._observation = np.stack([outcome.observation for outcome in outcomes])
        self._lives = np.array([outcome.lives for outcome in outcomes], np.int32)
        ended = np.array(
            [outcome.terminated or outcome.truncated for outcome in outcomes], np.bool_
        )
        return Transitions(
            self._observation,
            np.array([outcome.reward for outcome in outcomes], np.float32),
            np.array([outcome.terminated for outcome in outcomes], np.bool_),
            np.array([outcome.truncated for outcome in outcomes], np.bool_),
            np.where(ended, np.int32(0), self._lives),
            np.array([outcome.frames for outcome in outcomes], np.int64),
        )
