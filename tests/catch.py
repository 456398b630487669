"""A small pixel game: a ball falls, and a paddle has to be under it."""

import numpy as np
from numpy.typing import NDArray

from atari_dqn.environments.vector import Transitions

CELLS = 9
CELL_PIXELS = 4


class CatchGames:
    """N games of catch with the interface of ``VectorGame``.

    A caught ball gives reward 1 and a missed one -1. The best possible mean score is 1, and a
    random policy scores about -0.7.
    """

    action_names = ("LEFT", "STAY", "RIGHT")
    seed_steps = 0
    observation_shape = (2, CELLS * CELL_PIXELS, CELLS * CELL_PIXELS)

    def __init__(self, num_envs: int, truncate_after: int | None = None) -> None:
        self.num_envs = num_envs
        self._truncate_after = truncate_after or CELLS
        self._row = np.zeros(num_envs, np.int64)
        self._column = np.zeros(num_envs, np.int64)
        self._paddle = np.zeros(num_envs, np.int64)
        self._stack = np.zeros((num_envs, *self.observation_shape), np.uint8)
        self._actions = np.zeros(num_envs, np.int32)

    def reset(
        self, mask: NDArray[np.bool_], seeds: NDArray[np.int32]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        for env, seed in zip(np.flatnonzero(mask), seeds, strict=True):
            self._row[env] = 0
            self._paddle[env] = CELLS // 2
            self._column[env] = np.random.default_rng(int(seed)).integers(CELLS)
        self._stack[mask] = 0
        return self._push(mask), np.ones(self.num_envs, np.int32)

    def send(self, actions: NDArray[np.int32]) -> None:
        self._actions = actions

    def recv(self) -> Transitions:
        self._paddle = np.clip(self._paddle + self._actions - 1, 0, CELLS - 1)
        self._row += 1
        landed = self._row == CELLS - 1
        truncated = (self._row == self._truncate_after) & ~landed
        reward = np.where(landed, np.where(self._paddle == self._column, 1.0, -1.0), 0.0).astype(
            np.float32
        )
        everywhere = np.ones(self.num_envs, np.bool_)
        observation = self._push(everywhere)
        lives = np.ones(self.num_envs, np.int32)
        return Transitions(
            observation, reward, landed, truncated, lives, np.ones(self.num_envs, np.int64)
        )

    def _push(self, mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
        cells = np.zeros((self.num_envs, CELLS, CELLS), np.uint8)
        every = np.arange(self.num_envs)
        cells[every, self._row, self._column] = 255
        cells[every, CELLS - 1, self._paddle] = 128
        frame = cells.repeat(CELL_PIXELS, axis=1).repeat(CELL_PIXELS, axis=2)
        self._stack[mask] = np.concatenate([self._stack[mask, 1:], frame[mask, np.newaxis]], axis=1)
        return self._stack.copy()
