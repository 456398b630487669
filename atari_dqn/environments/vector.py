"""Copies of a game behind one interface: ale-py's C++ vector environment, or single games."""

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
    """The result of one step of N games.

    Attributes:
        observation: (N, *observation_shape) observations after the step. Where an episode has
            ended, this is its last observation.
        reward: (N,) unclipped rewards.
        terminated: (N,) whether the game ended the episode.
        truncated: (N,) whether the frame cap or the environment's time limit ended it.
        lives: (N,) number of lives left; 0 where the episode has ended.
        frames: (N,) number of emulator frames in the step.
    """

    observation: NDArray[Any]
    reward: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    lives: NDArray[np.int32]
    frames: NDArray[np.int64]


class VectorGame(Protocol):
    """N copies of a game."""

    @property
    def num_envs(self) -> int:
        """The number of copies, N."""
        ...

    @property
    def action_names(self) -> tuple[str, ...]:
        """The name of each action, by index."""
        ...

    @property
    def observation_shape(self) -> tuple[int, ...]:
        """The shape of an observation: (stack, height, width), or (stack, n) for vectors."""
        ...

    @property
    def seed_steps(self) -> int:
        """The number of an environment's steps after which training reseeds it.

        It is 0 if seeding is fast. Each episode then gets a seed of its own.
        """
        ...

    def reset(
        self, mask: NDArray[np.bool_], seeds: NDArray[np.int32]
    ) -> tuple[NDArray[Any], NDArray[np.int32]]:
        """Starts new episodes in some of the games.

        Args:
            mask: (N,) whether to start a new episode. The first call must set it everywhere.
            seeds: one seed for each new episode. A seed of -1 continues the previous random
                numbers. It is allowed only if ``seed_steps`` is above 0 and the episode has just
                ended.

        Returns:
            The observations (N, *observation_shape) and the lives (N,) of all games.
        """
        ...

    def send(self, actions: NDArray[np.int32]) -> None:
        """Starts a step with actions (N,), and returns without waiting for its result.

        Raises:
            UserError: an action is invalid.
        """
        ...

    def recv(self) -> Transitions:
        """Waits for the step and returns its result."""
        ...


def checked_actions(actions: Any, count: int, num_actions: int) -> NDArray[np.int32]:
    """Returns the actions of N games as int32 (N,), after checking them.

    Args:
        actions: any array or sequence of numbers.
        count: N, the number of games.
        num_actions: number of actions of each game.

    Raises:
        UserError: ``actions`` is not N whole numbers from 0 to ``num_actions`` - 1. With other
            numbers, the C++ threads would wait forever.
    """
    array = np.asarray(actions)
    if array.shape != (count,) or array.dtype.kind not in "iu":
        expected = f"expected {count} whole numbers, shape ({count},)"
        raise UserError(f"actions of shape {array.shape} and type {array.dtype}; {expected}")
    if array.min() < 0 or array.max() >= num_actions:
        wrong = array[(array < 0) | (array >= num_actions)][0]
        raise UserError(f"there is no action {wrong}: actions go from 0 to {num_actions - 1}")
    return array.astype(np.int32, copy=False)


class CppGames:
    """ale-py's C++ vector environment, which emulates and preprocesses in its own threads.

    Args:
        rom: ale-py's snake_case name of the game.
        settings: environment settings with a fixed frame skip.
        num_envs: N, the number of games.
        frame_cap: number of emulator frames after which an episode is truncated, rounded up to
            whole agent steps.
        threads: number of threads, at most one per game; 0 means one per core.

    Raises:
        ValueError: the frame skip is random.
    """

    def __init__(
        self,
        rom: str,
        settings: EnvironmentSettings,
        num_envs: int,
        frame_cap: int,
        threads: int = 0,
    ) -> None:
        if not isinstance(settings.frame_skip, int):
            raise ValueError("the C++ path does not support a random frame skip")
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
            # Episodic life would reset the whole game at each lost life. Rewards are clipped later,
            # before learning.
            episodic_life=False,
            reward_clipping=False,
            # With this mode, the thread that ends an episode also starts the next one, while other
            # games step.
            autoreset_mode=AutoresetMode.SAME_STEP,
        )
        self.num_envs = num_envs
        # Seeding loads the ROM again, which takes as long as 400 steps, so it should be rare. But a
        # resumed run must replay all steps since the seeds, so it cannot be very rare.
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
            reset_mask = mask.copy()
            reset_mask[mask] = seeded
            self._current, self._info = self._games.reset(
                seed=seeds[seeded], options={"reset_mask": reset_mask}
            )
        return self._current, self._info["lives"]

    def send(self, actions: NDArray[np.int32]) -> None:
        """See ``VectorGame``."""
        self._games.send(checked_actions(actions, self.num_envs, len(self.action_names)))

    def recv(self) -> Transitions:
        """See ``VectorGame``."""
        frames_before = self._info["frame_number"].astype(np.int64)
        self._current, reward, terminated, truncated, self._info = self._games.recv()
        observation = self._current
        lives = self._info["lives"]
        frames = self._info["frame_number"] - frames_before
        ended = terminated | truncated
        if ended.any():
            observation = observation.copy()
            observation[ended] = self._info["final_obs"][ended]
            lives = np.where(ended, np.int32(0), lives)
            # The frames at the start of the next episode do not belong to this step.
            frames -= np.where(ended, self._info["episode_frame_number"], 0)
        return Transitions(
            observation, reward.astype(np.float32), terminated, truncated, lives, frames
        )


class SerialGames:
    """Single games that are stepped one after another, behind the interface of ``VectorGame``.

    Args:
        games: at least one game.

    Raises:
        UserError: the games differ in their actions or in the shape of their observations.
    """

    seed_steps = 0

    def __init__(self, games: list[Game]) -> None:
        self._games = games
        self.num_envs = len(games)
        self.action_names = games[0].action_names
        self.observation_shape = games[0].observation_shape
        for number, game in enumerate(games):
            same_actions = game.action_names == self.action_names
            if not same_actions or game.observation_shape != self.observation_shape:
                raise UserError(
                    f"environment {number} has other actions or observations than environment 0"
                )
        shape = (self.num_envs, *self.observation_shape)
        self._observation = np.zeros(shape, observation_dtype(self.observation_shape))
        self._lives = np.zeros(self.num_envs, np.int32)
        self._actions = np.zeros(self.num_envs, np.int32)

    def reset(
        self, mask: NDArray[np.bool_], seeds: NDArray[np.int32]
    ) -> tuple[NDArray[Any], NDArray[np.int32]]:
        """See ``VectorGame``."""
        self._observation = self._observation.copy()
        self._lives = self._lives.copy()
        for env, seed in zip(np.flatnonzero(mask), seeds, strict=True):
            self._observation[env], self._lives[env] = self._games[env].reset(int(seed))
        return self._observation, self._lives

    def send(self, actions: NDArray[np.int32]) -> None:
        """See ``VectorGame``."""
        self._actions = checked_actions(actions, self.num_envs, len(self.action_names))

    def recv(self) -> Transitions:
        """See ``VectorGame``."""
        pairs = zip(self._games, self._actions, strict=True)
        outcomes = [game.step(int(action)) for game, action in pairs]
        self._observation = np.stack([outcome.observation for outcome in outcomes])
        self._lives = np.array([outcome.lives for outcome in outcomes], np.int32)
        terminated = np.array([outcome.terminated for outcome in outcomes], np.bool_)
        truncated = np.array([outcome.truncated for outcome in outcomes], np.bool_)
        return Transitions(
            observation=self._observation,
            reward=np.array([outcome.reward for outcome in outcomes], np.float32),
            terminated=terminated,
            truncated=truncated,
            lives=np.where(terminated | truncated, np.int32(0), self._lives),
            frames=np.array([outcome.frames for outcome in outcomes], np.int64),
        )
