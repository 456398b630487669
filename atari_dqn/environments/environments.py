"""Games stepped side by side behind one interface: reset, send, recv.

Seeds are a function of the run's seed, the environment and a number that counts up, set by
resetting that one environment right after its terminal step. So no filler row exists, no
observation crosses an episode's end, and any episode can be played again from a seed and the
actions since.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from ale_py import Action
from numpy.typing import NDArray

from atari_dqn.config.schema import EnvironmentSettings
from atari_dqn.environments.atari_game import ReferenceGame
from atari_dqn.environments.game import Game
from atari_dqn.environments.gymnasium_game import GymnasiumGame
from atari_dqn.environments.vector import CppGames, SerialGames, VectorGame, checked_actions
from atari_dqn.games.ids import GameSpec
from atari_dqn.runs.checkpoint import array


def make_game(spec: GameSpec, settings: EnvironmentSettings, frame_cap: int) -> Game:
    """One game that can show its screen, for recordings and for watching; it plays as those of
    ``make_games`` do.

    Args:
        spec: which game.
        settings: frame skip, sticky actions and the rest.
        frame_cap: episodes are truncated after so many emulator frames (an environment that is no
            Atari game: steps).
    """
    if spec.rom is None:
        return GymnasiumGame(spec.id, settings, frame_cap, render=True)
    return ReferenceGame(spec.rom, settings, frame_cap)


def make_games(
    spec: GameSpec, settings: EnvironmentSettings, num_envs: int, frame_cap: int, threads: int = 0
) -> VectorGame:
    """Copies of a game, on the fastest path that can serve these settings.

    Args:
        spec: which game.
        settings: frame skip, sticky actions and the rest.
        num_envs: number of copies.
        frame_cap: as for ``make_game``.
        threads: emulator threads; 0 is one for each core.
    """
    if spec.rom is None:
        return SerialGames(
            [GymnasiumGame(spec.id, settings, frame_cap, index=index) for index in range(num_envs)]
        )
    if isinstance(settings.frame_skip, int):
        return CppGames(spec.rom, settings, num_envs, frame_cap, threads)
    return SerialGames([ReferenceGame(spec.rom, settings, frame_cap) for _ in range(num_envs)])


class Step(NamedTuple):
    """What N environments answer to one action each. Arrays have N rows."""

    observation: NDArray[
        Any
    ]  # (N, *observation_shape): where the action led; of an ended episode: its last
    reward: NDArray[np.float32]  # raw, unclipped
    discount: NDArray[
        np.float32
    ]  # 0 where the future is worth nothing, else 1; truncation leaves 1
    ended: NDArray[np.bool_]  # the episode is over
    truncated: NDArray[np.bool_]  # it is over because of the frame cap
    frames: NDArray[np.int64]  # emulator frames that the step took
    seed: NDArray[np.int32]  # that the episode was begun with, or another before it
    current: NDArray[
        Any
    ]  # (N, *observation_shape): what to act on next; the new episode's first where one ended


class Environments:
    """N games with seeded episodes, lost lives as discounts, and FIRE where the protocol presses
    it.

    Args:
        games: the emulators.
        settings: what a lost life means and whether FIRE is pressed after it.
        seed: of the run; with the environment's index and a number that counts up it gives the
            seeds of the episodes.
        seed_steps: an environment is seeded anew at the first end of an episode after so many agent
            steps; 0: at every end.
    """

    def __init__(
        self, games: VectorGame, settings: EnvironmentSettings, seed: int, seed_steps: int = 0
    ) -> None:
        self._games = games
        self._settings = settings
        self._seed, self._seed_steps = seed, seed_steps
        self._fire = (
            games.action_names.index(Action.FIRE.name)
            if Action.FIRE.name in games.action_names
            else None
        )
        self.count = games.num_envs
        self.action_names = games.action_names
        self.observation_shape = games.observation_shape
        self.seeds = np.zeros(self.count, np.int32)
        self._seedings = np.zeros(self.count, np.int64)
        self._lives = np.zeros(self.count, np.int32)
        self._life_lost = np.zeros(self.count, np.bool_)
        self._actions: list[list[int]] = [[] for _ in range(self.count)]  # since the seed

    def reset(self) -> NDArray[Any]:
        """Starts a new episode everywhere; returns the observations (N, *observation_shape)."""
        return self._start_episodes(np.ones(self.count, np.bool_))

    def send(self, actions: NDArray[np.integer[Any]] | Sequence[int]) -> NDArray[np.int32]:
        """Starts a step and returns at once with the actions that are really executed.

        Raises:
            UserError: they are not one index of ``action_names`` for each environment.
        """
        executed = checked_actions(actions, self.count, len(self.action_names))
        if self._settings.fire_after_life_loss and self._fire is not None:
            executed = np.where(self._life_lost, np.int32(self._fire), executed)
        self._games.send(executed)
        for taken, action in zip(self._actions, executed.tolist(), strict=True):
            taken.append(action)
        return executed

    def recv(self) -> Step:
        """Waits for the step that was sent, then starts a new episode wherever one ended."""
        observation, reward, terminated, truncated, lives, frames = self._games.recv()
        ended = terminated | truncated
        self._life_lost = (lives < self._lives) & ~ended
        self._lives = lives
        no_future = (
            terminated | self._life_lost if self._settings.life_loss_ends_future else terminated
        )
        discount, seeds = (~no_future).astype(np.float32), self.seeds.copy()
        current = self._start_episodes(ended) if ended.any() else observation
        return Step(observation, reward, discount, ended, truncated, frames, seeds, current)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The seeds, what was done since, and what a lost life still has to bring about."""
        return {
            "seeds": self.seeds,
            "seedings": self._seedings,
            "life_lost": self._life_lost,
            "lengths": np.array([len(taken) for taken in self._actions]),
            "actions": np.concatenate([np.array(taken, np.uint8) for taken in self._actions]),
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """Plays everything since the seeds again; returns the observations to act on next.

        All games step at once, so those with fewer steps begin later: what they do before is
            forgotten when they are seeded.

        Raises:
            KeyError: an array is missing.
            ValueError: an array is none of these environments.
        """
        arrays = self.checked(arrays)
        lengths, total = arrays["lengths"], int(arrays["lengths"].max())
        self.seeds[...], self._seedings[...] = arrays["seeds"], arrays["seedings"]
        recorded = np.split(arrays["actions"].astype(np.int32), np.cumsum(lengths)[:-1])
        self._actions = [taken.tolist() for taken in recorded]
        observation, lives = self._games.reset(np.ones(self.count, np.bool_), self.seeds)
        for left in range(total, 0, -1):
            starting = lengths == left
            if left < total and starting.any():
                self._games.reset(starting, self.seeds[starting])
            actions = [taken[-left] if left <= len(taken) else 0 for taken in recorded]
            self._games.send(np.array(actions, np.int32))
            answer = self._games.recv()
            observation, lives = answer.observation, answer.lives
            over = answer.terminated | answer.truncated
            ended = over & (lengths >= left)
            if self._seed_steps and ended.any():
                observation, lives = self._games.reset(ended, np.full(ended.sum(), -1, np.int32))
            if not self._seed_steps and over.any():
                # Either its turn comes later, or its seed does not decide when it ends.
                observation, lives = self._games.reset(over, self.seeds[over])
                for env in np.flatnonzero(ended):
                    self._actions[env] = recorded[env][len(recorded[env]) - left + 1 :].tolist()
        untouched = lengths == 0
        if total and untouched.any():
            observation, lives = self._games.reset(untouched, self.seeds[untouched])
        self._lives, self._life_lost = lives.copy(), arrays["life_lost"].copy()
        return observation

    def checked(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Returns arrays that ``restore`` can take over, before anything is played.

        Raises:
            KeyError: an array is missing.
            ValueError: an array is none of these environments.
        """
        count = self.count
        found = {
            "seeds": array(arrays, "seeds", (count,), np.int32),
            "seedings": array(arrays, "seedings", (count,), np.int64),
            "life_lost": array(arrays, "life_lost", (count,), np.bool_),
            "lengths": array(arrays, "lengths", (count,), np.int64),
            "actions": array(arrays, "actions", (None,), np.uint8),
        }
        lengths, actions = found["lengths"], found["actions"]
        if (lengths < 0).any() or (lengths > len(actions)).any() or lengths.sum() != len(actions):
            raise ValueError("the episodes are not as long as their actions")
        if (actions >= len(self.action_names)).any() or (found["seedings"] < 0).any():
            raise ValueError("an action or a seed is none of the game's")
        return found

    def _start_episodes(self, mask: NDArray[np.bool_]) -> NDArray[Any]:
        steps = np.array([len(taken) for taken in self._actions])
        seeded = mask & ((steps == 0) | (steps >= self._seed_steps))
        for env in np.flatnonzero(seeded):
            self.seeds[env] = seed_of(self._seed, int(env), int(self._seedings[env]))
            self._seedings[env] += 1
            self._actions[env].clear()
        observation, lives = self._games.reset(mask, np.where(seeded, self.seeds, -1)[mask])
        self._lives = lives.copy()
        return observation


def seed_of(run_seed: int, environment: int, number: int) -> int:
    """One of an environment's seeds, 0 to 2**31 - 1 (the emulator's seeds are signed 32-bit
    numbers).

    >>> seed_of(1, 0, 0) == seed_of(1, 0, 0) != seed_of(1, 0, 1)
    True
    """
    return int(np.random.SeedSequence([run_seed, environment, number]).generate_state(1)[0] >> 1)
