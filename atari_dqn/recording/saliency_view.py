"""Draws saliency maps over the game's screen, for the state's value and an action's advantage."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from atari_dqn.recording.drawing import COLOR_STEP, FAINT, SMALL, Rgb, Style, text
from atari_dqn.recording.render import Screen
from atari_dqn.recording.saliency import Saliency, SaliencyMaps, on_screen

VALUE_COLOR: Rgb = (250, 40, 200)
ADVANTAGE_COLOR: Rgb = (30, 220, 250)
# Words and color of each map in the legend, from right to left.
LEGEND = (("advantage of the action", ADVANTAGE_COLOR), ("value", VALUE_COLOR))

LEVELS = 5  # steps of a color's strength, because a GIF has few colors
STRONGEST = 0.75  # share of the color where a map has its maximum
# Changes of the output below this share of the range of Q-values are hardly drawn.
SMALLEST_CHANGE = 0.01
# A map's scale follows the maximum of its latest screens: it falls by this factor at each screen.
DECAY = 0.9

# From an observation (stack, height, width) and an action to its maps, or None without maps yet.
Look = Callable[[NDArray[np.uint8], int | None], SaliencyMaps | None]


class SaliencyView:
    """Draws saliency over screens, which must come in order.

    Each map has its own scale, which is the largest saliency of the latest screens.

    Args:
        look: Computes the maps.
        q_range: Returns the width of the range of Q-values. Saliency far below it is not drawn.
    """

    def __init__(self, look: Look, q_range: Callable[[], float]) -> None:
        self._look = look
        self._q_range = q_range
        self._scales = np.zeros(2)

    def draw(self, screen: Screen) -> NDArray[np.uint8]:
        """Returns the image (rows, columns, 3) of a screen with its saliency."""
        maps = self._look(screen.observation, screen.action)
        if maps is None:
            return screen.image
        smallest = (SMALLEST_CHANGE * self._q_range()) ** 2 / 2
        largest = np.array([saliency.max() for saliency in maps])
        self._scales = np.maximum(largest, np.maximum(self._scales * DECAY, smallest))
        rows, columns, _ = screen.image.shape
        height, width = screen.observation.shape[1:]
        shares = []
        for saliency, scale in zip(maps, self._scales, strict=True):
            drawn = on_screen(saliency, (rows, columns), (height, width))
            shares.append(drawn / max(float(scale), 1e-12))
        return tinted(screen.image, shares[0], shares[1])


class LatestMaps:
    """Computes maps in a thread, one state at a time, and returns the newest that are complete.

    A game that is played live does not wait for them. They are a little late.

    Args:
        saliency: Computes the maps.
    """

    def __init__(self, saliency: Saliency) -> None:
        self._saliency = saliency
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="saliency")
        self._pending: Future[SaliencyMaps] | None = None
        self._maps: SaliencyMaps | None = None

    def __call__(
        self, observation: NDArray[np.uint8], action: int | None = None
    ) -> SaliencyMaps | None:
        """Returns the newest maps, or None before the first are complete."""
        if self._pending is None or self._pending.done():
            if self._pending is not None:
                self._maps = self._pending.result()
            self._pending = self._executor.submit(self._saliency, observation.copy(), action)
        return self._maps

    def close(self) -> None:
        """Waits for the thread to end."""
        self._executor.shutdown(cancel_futures=True)


def tinted(
    image: NDArray[np.uint8], value: NDArray[np.float32], advantage: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """Returns an image (rows, columns, 3) with two maps in their colors.

    Pixels at which both maps are 0 keep their exact color.

    Args:
        image: RGB image (rows, columns, 3).
        value: (rows, columns) Saliency for the value, as a share of the largest.
        advantage: (rows, columns) Saliency for the advantage, as a share of the largest.
    """
    shares = np.stack([value, advantage], axis=-1).clip(0, 1)
    strengths = np.rint(shares * LEVELS) / LEVELS * STRONGEST  # (rows, columns, 2)
    total = strengths.sum(axis=-1, keepdims=True)
    is_drawn = total[:, :, 0] > 0
    colors = np.array([VALUE_COLOR, ADVANTAGE_COLOR], np.float32)
    color = strengths[is_drawn] @ colors / total[is_drawn]
    opacity = strengths[is_drawn].max(axis=-1, keepdims=True)
    mixed = image[is_drawn] * (1 - opacity) + color * opacity
    result = image.copy()
    result[is_drawn] = np.rint(mixed / COLOR_STEP) * COLOR_STEP
    return result


def draw_legend(picture: Image.Image, right: int, top: int) -> None:
    """Draws the meaning of the two colors, in one line that ends at ``right``."""
    draw = ImageDraw.Draw(picture)
    for words, color in LEGEND:
        right -= text(picture, (right, top), words, Style(SMALL, FAINT, "rt"))
        draw.rectangle((right - 14, top + 3, right - 5, top + 12), fill=color)
        right -= 28
    text(picture, (right + 8, top), "saliency for the", Style(SMALL, FAINT, "rt"))
