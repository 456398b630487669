"""Draws text and axes on annotated pictures, with few colors and one font."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from atari_dqn.backend.opencv import cv2

Rgb = tuple[int, int, int]

# Red, green and blue are multiples of this, which leaves 52 grays. Together with the 128 colors of
# an Atari screen, they fit into the palette of a GIF. To the eye, they look like 256 grays. Text is
# white or gray on gray, so that its smooth edges are gray too.
COLOR_STEP = 5
BACKGROUND: Rgb = (20, 20, 20)
TRACK: Rgb = (40, 40, 40)
LINE: Rgb = (80, 80, 80)
BAR: Rgb = (115, 115, 115)
FAINT: Rgb = (150, 150, 150)
WHITE: Rgb = (240, 240, 240)
BLUE: Rgb = (75, 150, 250)
ORANGE: Rgb = (250, 150, 50)
GREEN: Rgb = (70, 200, 110)
RED: Rgb = (240, 80, 80)

# Font sizes in pixels.
SMALL = 12
MEDIUM = 14
LARGE = 20
# Decimal places of numbers below a limit. Larger numbers have none.
DECIMALS = {10: 3, 100: 2}
FINER = 4  # text is drawn this many times larger, then reduced, which places letters exactly


class Style(NamedTuple):
    """The style of a text: size, color and anchor.

    The anchor says which point of the text is placed at the given point of the picture: l, m or r
    (left, middle, right), then t, m or b (top, middle, bottom).
    """

    size: int
    color: Rgb
    anchor: str = "lt"


class Box(NamedTuple):
    """A rectangle in pixels, without its right column and bottom row."""

    left: int
    top: int
    right: int
    bottom: int


class Axis(NamedTuple):
    """A range of numbers, and the range of pixels on which it is drawn."""

    low: float
    high: float
    first: int
    last: int

    @classmethod
    def around(cls, low: float, high: float, first: int, last: int) -> "Axis":
        """Returns an axis for the numbers from low to high, with a margin on both sides."""
        room = 0.05 * (high - low) or 0.5
        return cls(low - room, high + room, first, last)

    def pixel(self, value: float) -> int:
        """Returns the pixel of a number. Numbers outside of the range are drawn at its ends.

        >>> [Axis(-1.0, 1.0, 100, 0).pixel(value) for value in (-1, 0, 7)]
        [100, 50, 0]
        """
        share = min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)
        return round(self.first + share * (self.last - self.first))


def text(picture: Image.Image, point: tuple[int, int], words: str, style: Style) -> int:
    """Draws text at a point of a picture, and returns its width in pixels."""
    letters = _letters(words, style.size)
    x, y = point
    left = x - letters.width * "lmr".index(style.anchor[0]) // 2
    top = y - letters.height * "tmb".index(style.anchor[1]) // 2
    picture.paste(style.color, (left, top), letters)
    return letters.width


def width(words: str, size: int) -> int:
    """Returns the width of a text in pixels."""
    return _letters(words, size).width


@lru_cache(maxsize=4096)
def _letters(words: str, size: int) -> Image.Image:
    """Returns a text in Pillow's default font as a grayscale mask."""
    large = ImageFont.load_default(size * FINER)
    wide = -(-round(large.getlength(words)) // FINER)
    image = Image.new("L", (max(wide, 1) * FINER, round(size * 1.3) * FINER))
    ImageDraw.Draw(image).text((0, size * FINER), words, fill=255, font=large, anchor="ls")
    return image.reduce(FINER)


def number(value: float) -> str:
    """Returns a number in at most six characters.

    >>> number(0.12345), number(-12.345), number(1234.5)
    ('0.123', '-12.35', '1234')
    """
    for limit, decimals in DECIMALS.items():
        if abs(value) < limit:
            return f"{value:.{decimals}f}"
    return f"{value:.0f}"


def with_few_colors(picture: Image.Image) -> NDArray[np.uint8]:
    """Returns a picture as an array (rows, columns, 3) of multiples of ``COLOR_STEP``."""
    steps = np.arange(256) / COLOR_STEP
    table = (np.rint(steps) * COLOR_STEP).astype(np.uint8)
    return np.asarray(cv2.LUT(np.asarray(picture), table), np.uint8)
