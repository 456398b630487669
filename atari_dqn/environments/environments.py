"""Environments that step several games in parallel, with the methods reset, send and recv.

An environment is reset in the step that ends its episode. There are therefore no filler rows, and
no observation spans two episodes. Each seed is a function of the run's seed, the environment's
index and a counter. Any episode can be replayed from the environment's last seed and the actions
since that seed.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from ale_py import Action
from numpy.typing import NDArray

from atari_dqn.config.schema import Config, EnvironmentSettings
from atari_dqn.console import waiting
from atari_dqn.environments.atari_game import ReferenceGame
from atari_dqn.environments.game import Game
from atari_dqn.environments.gymnasium_game import GymnasiumGame
from atari_dqn.environments.vector import CppGames, SerialGames, VectorGame, checked_actions
from atari_dqn.games.ids import GameSpec
from atari_dqn.runs.checkpoint import array


def make_game(spec: GameSpec, settings: EnvironmentSettings, frame_cap: int) -> Game:
    """Returns a game that behaves like those of ``make_games``, and can also show its screen.

    Args:
        spec: the game.
        settings: environment settings, such as frame skip and sticky actions.
        frame_cap: number of emulator frames after which an episode is truncated; for environments
            other than Atari games, number of steps.
    """
    if spec.rom is None:
        return GymnasiumGame(spec.id, settings, frame_cap, render=True)
    return ReferenceGame(spec.rom, settings, frame_cap)


def make_games(
    spec: GameSpec, settings: EnvironmentSettings, num_envs: int, frame_cap: int, threads: int = 0
) -> VectorGame:
    """Returns copies of a game, on the fastest path that supports the settings.

    Args:
        spec: the game.
        settings: environment settings, such as frame skip and sticky actions.
        num_envs: number of copies.
        frame_cap: as for ``make_game``.
        threads: number of emulator threads; 0 means one per core.
    """
    if spec.rom is None:
        return SerialGames(
            [GymnasiumGame(spec.id, settings, frame_cap, index=index) for index in range(num_envs)]
        )
    if isinstance(settings.frame_skip, int):
        return CppGames(spec.rom, settings, num_envs, frame_cap, threads)
    return SerialGames([ReferenceGame(spec.rom, settings, frame_cap) for _ in range(num_envs)])


class Step(NamedTuple):
    """The result of one step of N environments.

    Attributes:
        observation: (N, *observation_shape) observations after the step. Where an episode has
            ended, this is its last observation.
        reward: (N,) unclipped rewards.
        discount: (N,) 0 after termination, and after a lost life if the settings say so; otherwise
            1, even after truncation.
        ended: (N,) whether the episode has ended.
        truncated: (N,) whether the frame cap or the environment's time limit has ended it.
        frames: (N,) number of emulator frames in the step.
        seed: (N,) most recent seed of the environment, set when this or an earlier episode began.
        current: (N, *observation_shape) observations to act on next. Where an episode has ended,
            this is the first observation of the next one.
    """

    observation: NDArray[Any]
    reward: NDArray[np.float32]
    discount: NDArray[np.float32]
    ended: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    frames: NDArray[np.int64]
    seed: NDArray[np.int32]
    current: NDArray[Any]


class Environments:
    """N games with reproducible episodes, which follow the protocol's rules for lives and FIRE.

    Args:
        games: the emulators.
        settings: environment settings: what a lost life means, and whether FIRE is pressed after
            it.
        seed: seed of the run, from which all other seeds follow.
        seed_steps: number of an environment's steps after which it is reseeded, when an episode
            ends; 0 reseeds it at every end of an episode.
    """

    def __init__(
        self, games: VectorGame, settings: EnvironmentSettings, seed: int, seed_steps: int = 0
    ) -> None:
        self._games = games
        self._settings = settings
        self._seed = seed
        self._seed_steps = seed_steps
        self._fire: int | None = None
        if Action.FIRE.name in games.action_names:
            self._fire = games.action_names.index(Action.FIRE.name)
        self.count = games.num_envs
        self.action_names = games.action_names
        self.observation_shape = games.observation_shape
        self.seeds = np.zeros(self.count, np.int32)
        self._seed_numbers = np.zeros(self.count, np.int64)  # number of seeds used so far
        self._lives = np.zeros(self.count, np.int32)
        self._life_lost = np.zeros(self.count, np.bool_)
        # Each environment's actions since its last seed.
        self._actions: list[list[int]] = [[] for _ in range(self.count)]
        self._beginning: Future[NDArray[Any]] | None = None

    @property
    def lives(self) -> NDArray[np.int32]:
        """The lives (N,) left in the current episodes; 0 in a game that reports none."""
        return self._lives

    def begin_reset(self) -> None:
        """Begins a reset in a thread. Call ``reset`` next, which waits for it."""
        with_one_thread = ThreadPoolExecutor(1)
        everywhere = np.ones(self.count, np.bool_)
        self._beginning = with_one_thread.submit(self._start_episodes, everywhere, reseeded=True)
        with_one_thread.shutdown(wait=False)

    def reset(self) -> NDArray[Any]:
        """Starts new episodes in all environments; returns observations (N, *observation_shape)."""
        if self._beginning is None:
            return self._start_episodes(np.ones(self.count, np.bool_), reseeded=True)
        begun = self._beginning
        self._beginning = None
        return begun.result()

    def send(self, actions: NDArray[np.integer[Any]] | Sequence[int]) -> NDArray[np.int32]:
        """Starts a step, and returns the executed actions (N,) without waiting for its result.

        They differ from ``actions`` where FIRE is pressed after a lost life.

        Args:
            actions: (N,) indices of ``action_names``.

        Raises:
            UserError: ``actions`` is not one index of ``action_names`` for each environment.
        """
        executed = checked_actions(actions, self.count, len(self.action_names))
        if self._settings.fire_after_life_loss and self._fire is not None:
            executed = np.where(self._life_lost, np.int32(self._fire), executed)
        self._games.send(executed)
        for actions_since_seed, action in zip(self._actions, executed.tolist(), strict=True):
            actions_since_seed.append(action)
        return executed

    def recv(self) -> Step:
        """Waits for the step and returns its result, with a new episode wherever one has ended."""
        observation, reward, terminated, truncated, lives, frames = self._games.recv()
        ended = terminated | truncated
        self._life_lost = (lives < self._lives) & ~ended
        self._lives = lives
        no_future = terminated
        if self._settings.life_loss_ends_future:
            no_future = terminated | self._life_lost
        discount = (~no_future).astype(np.float32)
        seeds = self.seeds.copy()
        current = self._start_episodes(ended) if ended.any() else observation
        return Step(observation, reward, discount, ended, truncated, frames, seeds, current)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns the state for ``restore``: seeds, actions since then, and lives just lost."""
        return {
            "seeds": self.seeds,
            "seedings": self._seed_numbers,
            "life_lost": self._life_lost,
            "lengths": np.array([len(actions) for actions in self._actions]),
            "actions": np.concatenate([np.array(actions, np.uint8) for actions in self._actions]),
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Replays all actions since the seeds; returns the observations to act on next.

        All games step together. A game with fewer actions than others is seeded later. Its steps
        before that do not count.

        Raises:
            KeyError: an array is missing.
            ValueError: an array does not fit these environments.
        """
        arrays = self.validated(arrays)
        lengths = arrays["lengths"]
        total = int(lengths.max())
        self.seeds[...] = arrays["seeds"]
        self._seed_numbers[...] = arrays["seedings"]
        recorded = np.split(arrays["actions"].astype(np.int32), np.cumsum(lengths)[:-1])
        self._actions = [actions.tolist() for actions in recorded]
        observation, lives = self._games.reset(np.ones(self.count, np.bool_), self.seeds)
        with waiting("playing the episodes in progress again", total) as advance:
            for remaining in range(total, 0, -1):
                starting = lengths == remaining
                if remaining < total and starting.any():
                    self._games.reset(starting, self.seeds[starting])
                self._games.send(_actions_before_the_end(recorded, remaining))
                step = self._games.recv()
                observation = step.observation
                lives = step.lives
                ended = step.terminated | step.truncated
                replayed = ended & (lengths >= remaining)
                if self._seed_steps and replayed.any():
                    same_seeds = np.full(replayed.sum(), -1, np.int32)
                    observation, lives = self._games.reset(replayed, same_seeds)
                if not self._seed_steps and ended.any():
                    # Either the game is seeded later, or its seed does not determine when it ends.
                    observation, lives = self._games.reset(ended, self.seeds[ended])
                    for env in np.flatnonzero(replayed):
                        first = len(recorded[env]) - remaining + 1
                        self._actions[env] = recorded[env][first:].tolist()
                advance(1)
        not_stepped = lengths == 0
        if total and not_stepped.any():
            observation, lives = self._games.reset(not_stepped, self.seeds[not_stepped])
        self._lives = lives.copy()
        self._life_lost = arrays["life_lost"].copy()
        return observation

    def validated(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Returns the arrays for ``restore`` after checking them, before any game is played.

        Raises:
            KeyError: an array is missing.
            ValueError: an array does not fit these environments.
        """
        count = self.count
        valid = {
            "seeds": array(arrays, "seeds", (count,), np.int32),
            "seedings": array(arrays, "seedings", (count,), np.int64),
            "life_lost": array(arrays, "life_lost", (count,), np.bool_),
            "lengths": array(arrays, "lengths", (count,), np.int64),
            "actions": array(arrays, "actions", (None,), np.uint8),
        }
        lengths = valid["lengths"]
        actions = valid["actions"]
        if (lengths < 0).any() or (lengths > len(actions)).any() or lengths.sum() != len(actions):
            raise ValueError("the lengths of the episodes differ from their actions")
        if (actions >= len(self.action_names)).any() or (valid["seedings"] < 0).any():
            raise ValueError("an action or a number of seeds is out of range")
        return valid

    def _start_episodes(self, mask: NDArray[np.bool_], reseeded: bool = False) -> NDArray[Any]:
        """Starts episodes where ``mask`` (N,) says so; returns observations of all environments.

        Games keep their random numbers, unless they are due for a new seed or ``reseeded``. Only
        the latter may end an episode.
        """
        steps = np.array([len(actions) for actions in self._actions])
        seeded = mask & (reseeded | (steps == 0) | (steps >= self._seed_steps))
        for env in np.flatnonzero(seeded):
            self.seeds[env] = seed_of(self._seed, int(env), int(self._seed_numbers[env]))
            self._seed_numbers[env] += 1
            self._actions[env].clear()
        observation, lives = self._games.reset(mask, np.where(seeded, self.seeds, -1)[mask])
        self._lives = lives.copy()
        return observation


def make_environments(config: Config, games: VectorGame | None = None) -> Environments:
    """Returns the environments of a run.

    Args:
        config: settings of the run.
        games: ``training.environments`` games, or None to create those that the settings select.
    """
    if games is None:
        games = make_games(
            config.spec,
            config.environment,
            config.training.environments,
            config.environment.frame_cap,
            config.machine.environment_threads,
        )
    return Environments(games, config.environment, config.machine.seed, games.seed_steps)


def _actions_before_the_end(
    recorded: Sequence[NDArray[np.int32]], remaining: int
) -> NDArray[np.int32]:
    """Returns the action of each environment, (N,), when ``remaining`` of its actions are left.

    It is 0 for an environment with fewer actions.
    """
    return np.array(
        [actions[-remaining] if remaining <= len(actions) else 0 for actions in recorded], np.int32
    )


def seed_of(run_seed: int, environment: int, number: int) -> int:
    """Returns a seed for an environment, from 0 to 2**31 - 1, which the emulator can represent.

    Args:
        run_seed: seed of the run.
        environment: index of the environment.
        number: number of seeds that the environment has used before.

    >>> seed_of(1, 0, 0) == seed_of(1, 0, 0) != seed_of(1, 0, 1)
    True
    """
    return int(np.random.SeedSequence([run_seed, environment, number]).generate_state(1)[0] >> 1)
