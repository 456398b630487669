"""Writes GIF files frame by frame, with exact colors."""

from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import GifImagePlugin, Image

from atari_dqn.backend.opencv import cv2

COLORS = 255  # size of a palette; the index after the last color marks an unchanged pixel
TRANSPARENT = COLORS
# Browsers show a frame with a shorter delay for a tenth of a second instead.
SHORTEST_DELAY = 2
LONGEST_DELAY = 65_535
PALETTE_AT = 13  # byte position of the palette, after the signature and the screen descriptor
LOOP_FOREVER = b"!\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"


class _Frame(NamedTuple):
    colors: NDArray[np.uint32]  # (rows, columns), one number per color
    delay: int  # hundredths of a second


class _Bounds(NamedTuple):
    """A rectangle in pixels, without its right column and bottom row."""

    top: int
    left: int
    bottom: int
    right: int


class GifFile:
    """A GIF that loops forever, written frame by frame.

    Only changed pixels are written. All frames share one palette, which collects their colors and
    is written when the file is closed. An Atari screen has at most 128 colors, so they are exact.

    Gymnasium draws with smooth edges, which may exceed the 255 colors of the palette. The changed
    pixels of a frame then get their own palette and are still exact. Only if these pixels alone
    have more than 255 colors, median cut reduces them to 255.

    A frame equal to the previous one extends its delay. A frame with a delay below
    ``SHORTEST_DELAY`` is dropped, and its delay is added to the next frame. Delays are in
    hundredths of a second.

    Args:
        path: The file, which must not exist yet.

    Raises:
        OSError: The file exists, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._stream = path.open("xb")
        # For each color: its position in the palette, counted from 1. 0 means that it is missing.
        self._index = np.zeros(2**24, np.uint16)
        self._palette: list[int] = []
        self._waiting: _Frame | None = None
        self._written: NDArray[np.uint32] | None = None

    def add(self, image: NDArray[np.uint8], delay: int) -> None:
        """Appends an RGB image. All images must have the same size.

        Args:
            image: The image (rows, columns, 3).
            delay: How long to show it, in hundredths of a second.
        """
        colors = _as_numbers(image)
        waiting = self._waiting
        if waiting is not None:
            total = waiting.delay + delay
            if total <= LONGEST_DELAY and np.array_equal(colors, waiting.colors):
                self._waiting = waiting._replace(delay=total)
                return
            if waiting.delay < SHORTEST_DELAY:
                delay = total
            else:
                self._write(waiting)
        self._waiting = _Frame(colors, delay)

    def close(self) -> None:
        """Writes the last frame and the palette."""
        with self._stream:
            if self._waiting is not None:
                self._write(self._waiting)
            self._stream.write(b";")
            self._stream.seek(PALETTE_AT)
            self._stream.write(_full(_palette_bytes(np.array(self._palette, np.uint32))))

    def __enter__(self) -> "GifFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error:
            self._stream.close()
        else:
            self.close()

    def _write(self, frame: _Frame) -> None:
        """Writes the pixels of a frame that differ from the previous frame."""
        if self._written is None:
            self._write_header(*frame.colors.shape)
            changed = np.ones_like(frame.colors, np.bool_)
        else:
            changed = frame.colors != self._written
        self._written = frame.colors
        bounds = _bounds_of(changed)
        changed = changed[bounds.top : bounds.bottom, bounds.left : bounds.right]
        new = frame.colors[bounds.top : bounds.bottom, bounds.left : bounds.right][changed]
        indices = self._indices(new)
        own_palette = None
        if indices is None:
            indices, own_palette = _own_palette(new)
        pixels = np.full(changed.shape, TRANSPARENT, np.uint8)
        pixels[changed] = indices
        image = Image.fromarray(pixels)
        if own_palette is not None:
            image.putpalette(own_palette)
        blocks = GifImagePlugin.getdata(
            image,
            (bounds.left, bounds.top),
            duration=10 * frame.delay,
            disposal=1,
            transparency=TRANSPARENT,
            include_color_table=own_palette is not None,
        )
        for block in blocks:
            self._stream.write(block)

    def _write_header(self, rows: int, columns: int) -> None:
        """Writes the header of a GIF, with room for the palette."""
        size = columns.to_bytes(2, "little") + rows.to_bytes(2, "little")
        palette = bytes(3 * (COLORS + 1))
        self._stream.write(b"GIF89a" + size + b"\xf7\x00\x00" + palette + LOOP_FOREVER)

    def _indices(self, colors: NDArray[np.uint32]) -> NDArray[np.uint8] | None:
        """Adds new colors to the common palette, and returns indices (n,) in it.

        Returns None if the palette has no room for them.
        """
        indices = self._index[colors]
        if not indices.all():
            new = np.unique(colors[indices == 0])
            if len(self._palette) + len(new) > COLORS:
                return None
            first = len(self._palette) + 1
            self._index[new] = np.arange(first, first + len(new))
            self._palette += new.tolist()
            indices = self._index[colors]
        return (indices - 1).astype(np.uint8)


def gif_delay(start: float, end: float) -> int:
    """Returns the delay in hundredths of a second between two times in seconds.

    Both times are rounded, not the difference, so that rounding errors do not add up.

    >>> [gif_delay(step / 15, (step + 1) / 15) for step in range(3)]
    [7, 6, 7]
    """
    return round(end * 100) - round(start * 100)


def _as_numbers(image: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Returns colors as numbers (rows, columns): red + 256 green + 65536 blue."""
    numbers: NDArray[np.uint32] = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA).view("<u4")[:, :, 0]
    return np.bitwise_and(numbers, 0xFFFFFF, dtype=np.uint32)


def _bounds_of(changed: NDArray[np.bool_]) -> _Bounds:
    """Returns the smallest rectangle with all changed pixels, or one pixel if none changed."""
    rows = np.flatnonzero(changed.any(axis=1))
    columns = np.flatnonzero(changed.any(axis=0))
    if not len(rows):
        return _Bounds(0, 0, 1, 1)
    return _Bounds(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


def _own_palette(colors: NDArray[np.uint32]) -> tuple[NDArray[np.uint8], bytes]:
    """Returns indices (n,) in a palette for only these colors (n,), and the palette."""
    palette, indices = np.unique(colors, return_inverse=True)
    if len(palette) <= COLORS:
        return indices.astype(np.uint8), _full(_palette_bytes(palette))
    row = Image.fromarray(np.frombuffer(_palette_bytes(colors), np.uint8).reshape(1, -1, 3))
    reduced = row.quantize(COLORS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    return np.asarray(reduced)[0], _full(bytes(reduced.getpalette() or []))


def _palette_bytes(colors: NDArray[np.uint32]) -> bytes:
    """Returns the bytes red, green and blue of each color."""
    return colors.astype("<u4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()


def _full(palette: bytes) -> bytes:
    """Returns a palette padded to full size, including the index for unchanged pixels."""
    return palette.ljust(3 * (COLORS + 1), b"\0")
