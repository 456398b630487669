"""What pictures with words are drawn with: few colours, one font, and axes that stay where they
are.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from atari_dqn.backend.opencv import cv2

Rgb = tuple[int, int, int]

# Every part of a colour is a multiple of this, which leaves 52 grays: with the 128 colours of an
# Atari screen they fit into the palette of a GIF, and no eye tells them from 256. Words are white
# or gray on gray, so that their edges are gray too.
COLOUR_STEP = 5
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

SMALL, MEDIUM, LARGE = 12, 14, 20
FINER = 4  # times, before letters are reduced: so they stand where they should


class Box(NamedTuple):
    """A rectangle in pixels; right and bottom are outside of it."""

    left: int
    top: int
    right: int
    bottom: int


class Axis(NamedTuple):
    """A range of numbers and the pixels that it is drawn on."""

    low: float
    high: float
    first: int
    last: int

    @classmethod
    def around(cls, low: float, high: float, first: int, last: int) -> "Axis":
        """An axis with a little room on both sides of what it has to show."""
        room = 0.05 * (high - low) or 0.5
        return cls(low - room, high + room, first, last)

    def place(self, value: float) -> int:
        """Pixel of a number; numbers beyond the ends are drawn at the ends.

        >>> [Axis(-1.0, 1.0, 100, 0).place(value) for value in (-1, 0, 7)]
        [100, 50, 0]
        """
        part = min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)
        return round(self.first + part * (self.last - self.first))


def text(
    picture: Image.Image,
    place: tuple[int, int],
    words: str,
    size: int,
    colour: Rgb,
    anchor: str = "lt",
) -> int:
    """Writes words and returns how wide they are.

    Args:
        picture: to write on.
        place: a point of it.
        words: what to write.
        size: of the letters in pixels.
        colour: of the letters.
        anchor: which point of the words comes to the place: l, m or r (left, middle, right), then
            t, m or b (top, ...).
    """
    letters = _letters(words, size)
    left = place[0] - letters.width * "lmr".index(anchor[0]) // 2
    top = place[1] - letters.height * "tmb".index(anchor[1]) // 2
    picture.paste(colour, (left, top), letters)
    return letters.width


def width(words: str, size: int) -> int:
    """Pixels that words take."""
    return _letters(words, size).width


@lru_cache(maxsize=4096)
def _letters(words: str, size: int) -> Image.Image:
    """How much of each pixel is covered by words in the font that Pillow brings along, drawn large
    and reduced.
    """
    large = ImageFont.load_default(size * FINER)
    wide = -(-round(large.getlength(words)) // FINER)
    image = Image.new("L", (max(wide, 1) * FINER, round(size * 1.3) * FINER))
    ImageDraw.Draw(image).text((0, size * FINER), words, fill=255, font=large, anchor="ls")
    return image.reduce(FINER)


def number(value: float) -> str:
    """A number in at most six characters.

    >>> number(0.12345), number(-12.345), number(1234.5)
    ('0.123', '-12.35', '1234')
    """
    return (
        f"{value:.3f}"
        if abs(value) < 10
        else f"{value:.2f}"
        if abs(value) < 100
        else f"{value:.0f}"
    )


def with_few_colours(picture: Image.Image) -> NDArray[np.uint8]:
    """A picture as an array (rows, columns, 3) whose numbers are multiples of ``COLOUR_STEP``."""
    steps = np.arange(256) / COLOUR_STEP
    table = (np.rint(steps) * COLOUR_STEP).astype(np.uint8)
    return np.asarray(cv2.LUT(np.asarray(picture), table), np.uint8)
