"""The frame-preprocessing stage, written to be read: what the network sees of the emulator's screen.

One agent step with frame skip 4, max-pooling and a stack of 4 (Mnih et al. 2015, Methods):

    emulator frame   1   2   3   4    5   6   7   8    9  10  11  12   13  14  15  16   17 ...
    action           a1  a1  a1  a1   a2  a2  a2  a2   a3  a3  a3  a3   a4  a4  a4  a4   a5 ...
    grayscale                |   |            |   |            |   |            |   |
    max-pool                 max |            max |            max |            max |
    84x84 area                  f1               f2               f3               f4
    observation      0 0 0 f0   0 0 f0 f1        0 f0 f1 f2       f0 f1 f2 f3      f1 f2 f3 f4

``f0`` is the screen after the reset; a stack begins with zeros (black). Without max-pooling f1 is frame 4 alone. The
step that ends an episode takes no screen of its own: without max-pooling its observation shows
the frame before once more, as in ale-py's C++ path. Nothing is learned from it after a game over.

This path serves the ids that draw their frame skip at random, and is what the tests hold ale-py's C++ path to: with the same
seed and the same actions both give the same bytes.
"""

import math
from typing import Any, NamedTuple, Protocol

import ale_py
import numpy as np
from ale_py import roms
from numpy.typing import DTypeLike, NDArray

from atari_dqn.errors import UserError
from atari_dqn.settings import EnvironmentSettings

try:
    import cv2
except ImportError as missing:
    raise UserError(f"OpenCV does not load ({missing}); 'apt-get install libgl1 libglib2.0-0' mends it on Debian") from missing

Image = NDArray[np.uint8]


def grayscale(rgb: Image) -> Image:
    """Luminance of an RGB image (height, width, 3), rounded to a byte.

    0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), as in the emulator's own table of gray values.

    >>> grayscale(np.array([[[255, 255, 255], [255, 0, 0]]], np.uint8))
    array([[255,  76]], dtype=uint8)
    """
    luminance = rgb @ np.array([0.299, 0.587, 0.114])
    return np.asarray(np.round(luminance), np.uint8)


def max_pool(newer: Image, older: Image) -> Image:
    """Pixel-wise maximum of two frames: sprites that the game draws only in every other frame stay visible.

    >>> max_pool(np.array([[3, 0]], np.uint8), np.array([[1, 2]], np.uint8))
    array([[3, 2]], dtype=uint8)
    """
    return np.maximum(newer, older)


def frames_last(frames: list[NDArray[Any]], out: NDArray[Any]) -> None:
    """Interleaves a stack of frames as convolutions want them: ``out[..., k] = frames[k]``.

    OpenCV does it several times as fast as NumPy or TensorFlow.

    >>> out = np.empty((1, 2, 3), np.uint8)
    >>> frames_last([np.array([[k, 10 + k]], np.uint8) for k in range(3)], out)
    >>> out.tolist()
    [[[0, 1, 2], [10, 11, 12]]]
    """
    if len(frames) == 1:
        out[...] = frames[0][..., np.newaxis]
    else:
        cv2.merge([frame.reshape(-1, 1) for frame in frames], out.reshape(-1, 1, len(frames)))


def stacks_last(observations: NDArray[Any]) -> NDArray[Any]:
    """Interleaves stacks (N, stack, *frame_shape) to (N, *frame_shape, stack)."""
    interleaved = aligned_empty((len(observations), *observations.shape[2:], observations.shape[1]), observations.dtype)
    for frames, out in zip(observations, interleaved, strict=True):
        frames_last(list(frames), out)
    return interleaved


def aligned_empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array whose memory begins at a multiple of 64 bytes, where TensorFlow can read it without copying it first."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + 63, np.uint8)
    begin = -memory.ctypes.data % 64
    return memory[begin : begin + size].view(dtype).reshape(shape)


def resize(frame: Image, height: int, width: int) -> Image:
    """Shrinks a frame by averaging areas (OpenCV's INTER_AREA); a frame of that size already is returned as it is."""
    if frame.shape == (height, width):
        return frame.copy()
    return np.asarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def push(stack: Image, frame: Image) -> Image:
    """Appends a frame to a stack (stack, height, width), newest last, and drops the oldest.

    >>> push(np.array([[[1]], [[2]]], np.uint8), np.array([[3]], np.uint8)).ravel()
    array([2, 3], dtype=uint8)
    """
    return np.concatenate([stack[1:], frame[np.newaxis]])


def observation_dtype(shape: tuple[int, ...]) -> type[np.generic]:
    """Of the numbers in an observation: bytes of pictures (stack, height, width), float32 of vectors (stack, n)."""
    return np.uint8 if len(shape) == 3 else np.float32


def whole_steps(frame_cap: int, frame_skip: int) -> int:
    """A frame cap rounded up to whole agent steps, so that both paths end after the same step.

    >>> [whole_steps(cap, frame_skip=4) for cap in (3, 8, 10)]
    [4, 8, 12]
    """
    return -(-frame_cap // frame_skip) * frame_skip


class Outcome(NamedTuple):
    """What one agent step did to one game."""

    observation: NDArray[Any]
    reward: float
    terminated: bool
    truncated: bool
    lives: int
    frames: int


class Game(Protocol):
    """One game, preprocessed, that can show its screen."""

    action_names: tuple[str, ...]
    observation_shape: tuple[int, ...]  # (stack, height, width), or of vectors (stack, n)
    screens_per_second: float  # of game time, if every frame is shown

    def reset(self, seed: int) -> tuple[NDArray[Any], int]:
        """Starts the episode of this seed (0 to 2**31 - 1); returns an observation and the number of lives."""
        ...

    def step(self, action: int) -> Outcome:
        """Takes the action of this index."""
        ...

    def screen(self) -> Image:
        """What a player sees, (rows, columns, 3), RGB."""
        ...


class ReferenceGame:
    """One Atari game, preprocessed frame by frame.

    Args:
        rom: snake_case name of the game.
        settings: frame skip, sticky actions and the rest.
        frame_cap: an episode is truncated after so many frames, no-ops not counted; with a fixed
            frame skip rounded up to whole agent steps.

    Attributes:
        raw_frames: None, or a list that gathers every frame of the emulator as an RGB image.
    """

    screens_per_second = 60.0
    raw_frames: list[Image] | None = None

    def __init__(self, rom: str, settings: EnvironmentSettings, frame_cap: int) -> None:
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self._ale = ale_py.ALEInterface()
        self._ale.setFloat("repeat_action_probability", settings.sticky_probability)
        path = roms.get_rom_path(rom)
        if path is None:
            raise ValueError(f"'{rom}' is no game of ale-py")
        self._rom_path = path
        self._ale.loadROM(self._rom_path)
        self._settings = settings
        self._frame_cap = frame_cap
        if isinstance(settings.frame_skip, int):
            self._frame_cap = whole_steps(frame_cap, settings.frame_skip)
        self.observation_shape: tuple[int, ...] = (settings.stack, settings.height, settings.width)
        skip = settings.frame_skip
        self._skip_bounds = (skip[0], skip[1]) if isinstance(skip, list) else (skip, skip)
        self._actions = self._ale.getLegalActionSet() if settings.full_actions else self._ale.getMinimalActionSet()
        self.action_names = tuple(action.name for action in self._actions)

    def reset(self, seed: int) -> tuple[Image, int]:
        """Starts the episode of this seed (0 to 2**31 - 1); returns (stack, height, width) and the number of lives."""
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
        height, width = self._settings.height, self._settings.width
        self._stack = np.zeros((self._settings.stack, height, width), np.uint8)
        return self._observe(), self._ale.lives()

    def step(self, action: int) -> Outcome:
        """Repeats an action (its index) for the frame skip."""
        low, high = self._skip_bounds
        skip = low if low == high else int(self._skips.integers(low, high, endpoint=True))
        reward, frames = 0.0, 0
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
        """The emulator's screen as it is, (rows, 160, 3), in its own colours."""
        screen: Image = self._ale.getScreenRGB()
        return screen

    def _observe(self) -> Image:
        if self._settings.max_pool:
            self._newest = max_pool(self._newest, self._second_newest)
        self._stack = push(self._stack, resize(self._newest, self._settings.height, self._settings.width))
        return self._stack


def _noops(seed: int, noop_max: int) -> int:
    """How many no-ops start the episode of a seed: 0 to noop_max - 1.

    The C++ path draws them with std::mt19937 and libstdc++'s multiply-and-shift, whose rejected draws (one in 10**8 here)
    are not imitated.
    """
    generator = np.random.RandomState(seed)
    return (int(generator.randint(0, 2**32, dtype=np.uint64)) * noop_max) >> 32
