"""The reference implementation of an Atari game, written to be read.

It is used for ids with a random frame skip, and wherever the screen is shown or recorded. Tests
compare ale-py's C++ path with it: both return the same bytes for the same seed and actions.
"""

import ale_py
import numpy as np
from ale_py import roms

from atari_dqn.config.schema import EnvironmentSettings
from atari_dqn.environments.game import Image, Outcome
from atari_dqn.environments.preprocessing import max_pool, push, resize, whole_steps


class ReferenceGame:
    """One Atari game, preprocessed frame by frame.

    Args:
        rom: ale-py's snake_case name of the game.
        settings: environment settings, such as frame skip and sticky actions.
        frame_cap: number of emulator frames after which an episode is truncated, not counting the
            no-ops at its start. A fixed frame skip rounds it up to whole agent steps.

    Attributes:
        raw_frames: a list to which every frame of the emulator is appended as an RGB image
            (rows, 160, 3), or None.
    """

    screens_per_second = 60.0
    raw_frames: list[Image] | None = None

    def __init__(self, rom: str, settings: EnvironmentSettings, frame_cap: int) -> None:
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self._ale = ale_py.ALEInterface()
        self._ale.setFloat("repeat_action_probability", settings.sticky_probability)
        path = roms.get_rom_path(rom)
        if path is None:
            raise ValueError(f"ale-py has no game '{rom}'")
        self._rom_path = path
        self._ale.loadROM(self._rom_path)
        self._settings = settings
        self._frame_cap = frame_cap
        if isinstance(settings.frame_skip, int):
            self._frame_cap = whole_steps(frame_cap, settings.frame_skip)
        self.observation_shape: tuple[int, ...] = (settings.stack, settings.height, settings.width)
        skip = settings.frame_skip
        self._skip_bounds = (skip[0], skip[1]) if isinstance(skip, list) else (skip, skip)
        self._actions = self._ale.getMinimalActionSet()
        if settings.full_actions:
            self._actions = self._ale.getLegalActionSet()
        self.action_names = tuple(action.name for action in self._actions)

    def reset(self, seed: int) -> tuple[Image, int]:
        """Starts an episode from a seed (0 to 2**31 - 1); returns the observation and the lives."""
        self._ale.setInt("random_seed", seed)
        self._ale.loadROM(self._rom_path)
        self._ale.reset_game()
        self._skips = np.random.Generator(np.random.PCG64(seed))
        press_fire = self._settings.fire_at_reset and ale_py.Action.FIRE in self._actions
        if press_fire:
            self._ale.act(ale_py.Action.FIRE)
        for _ in range(_noops(seed, self._settings.noop_max) - press_fire):
            self._ale.act(ale_py.Action.NOOP)
            if self._ale.game_over():
                self._ale.reset_game()
        self._elapsed = 0
        self._newest = self._ale.getScreenGrayscale()
        self._second_newest = np.zeros_like(self._newest)
        self._stack = np.zeros(self.observation_shape, np.uint8)
        return self._observe(), self._ale.lives()

    def step(self, action: int) -> Outcome:
        """Executes the action with this index for the frames of one step; returns the outcome."""
        low, high = self._skip_bounds
        skip = low if low == high else int(self._skips.integers(low, high, endpoint=True))
        reward = 0.0
        frames = 0
        for remaining in range(skip - 1, -1, -1):
            reward += self._ale.act(self._actions[action])
            frames += 1
            if self.raw_frames is not None:
                self.raw_frames.append(self.screen())
            if self._ale.game_over() or self._elapsed + frames >= self._frame_cap:
                break
            if remaining == 1:
                self._second_newest = self._ale.getScreenGrayscale()
            elif remaining == 0:
                self._newest = self._ale.getScreenGrayscale()
        self._elapsed += frames
        terminated = self._ale.game_over()
        truncated = self._elapsed >= self._frame_cap and not terminated
        return Outcome(self._observe(), reward, terminated, truncated, self._ale.lives(), frames)

    def screen(self) -> Image:
        """Returns the emulator's screen as an RGB image (rows, 160, 3)."""
        screen: Image = self._ale.getScreenRGB()
        return screen

    def _observe(self) -> Image:
        if self._settings.max_pool:
            self._newest = max_pool(self._newest, self._second_newest)
        frame = resize(self._newest, self._settings.height, self._settings.width)
        self._stack = push(self._stack, frame)
        return self._stack


def _noops(seed: int, noop_max: int) -> int:
    """Returns the number of no-ops at the start of an episode, from 0 to noop_max - 1.

    The C++ path uses std::mt19937 and the multiply-and-shift method of libstdc++. That method
    rejects about one number in 10**8, which is not imitated here.
    """
    generator = np.random.RandomState(seed)
    return (int(generator.randint(0, 2**32, dtype=np.uint64)) * noop_max) >> 32
