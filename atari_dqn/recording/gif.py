"""GIF files that are written as they grow, and show exactly the colours they are given."""

from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import GifImagePlugin, Image

from atari_dqn.backend.opencv import cv2

COLOURS = 255  # of a palette; the index behind them means that a pixel stays as it is
TRANSPARENT = COLOURS
# Browsers take a shorter delay for a mistake and show such a frame for a tenth of a second.
SHORTEST_DELAY = 2
LONGEST_DELAY = 65_535
PALETTE_AT = 13  # behind the signature, the size of the screen, and what is said about it
LOOP_FOREVER = b"!\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"


class _Waiting(NamedTuple):
    colours: NDArray[np.uint32]  # (rows, columns), a number for each colour
    delay: int


class GifFile:
    """A GIF that loops for ever, written frame by frame; delays are in hundredths of a second, as
    GIF has them.

    Only pixels that changed are written. Frames share one palette, which gathers their colours and
    is written when the file is closed. An Atari screen has at most 128 colours, so nothing of it is
    lost. Where more than 255 appear (Gymnasium draws with smooth edges), the pixels of a frame that
    changed have a palette of their own, still exact; only if they alone have more than 255 colours
    are these reduced to 255 by median cut. A frame like the one before prolongs it.

    A frame with a delay below ``SHORTEST_DELAY`` gives its time to the next one.

    Args:
        path: of a file that does not exist yet.

    Raises:
        OSError: it cannot be written, or exists.
    """

    def __init__(self, path: Path) -> None:
        self._stream = path.open("xb")
        self._index = np.zeros(
            2**24, np.uint16
        )  # of each colour in the palette, from 1; 0: it is not there
        self._palette: list[int] = []
        self._waiting: _Waiting | None = None
        self._written: NDArray[np.uint32] | None = None

    def add(self, image: NDArray[np.uint8], delay: int) -> None:
        """Appends an RGB image (rows, columns, 3), the same size each time."""
        colours, waiting = _as_numbers(image), self._waiting
        if (
            waiting is not None
            and waiting.delay + delay <= LONGEST_DELAY
            and np.array_equal(colours, waiting.colours)
        ):
            self._waiting = _Waiting(waiting.colours, waiting.delay + delay)
            return
        if waiting is not None and waiting.delay < SHORTEST_DELAY:
            delay += waiting.delay
        elif waiting is not None:
            self._write(*waiting)
        self._waiting = _Waiting(colours, delay)

    def close(self) -> None:
        """Writes the last frame and the palette."""
        with self._stream:
            if self._waiting is not None:
                self._write(*self._waiting)
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
        self._stream.close() if error else self.close()

    def _write(self, colours: NDArray[np.uint32], delay: int) -> None:
        if self._written is None:
            rows, columns = colours.shape
            size = columns.to_bytes(2, "little") + rows.to_bytes(2, "little")
            self._stream.write(
                b"GIF89a" + size + b"\xf7\x00\x00" + bytes(3 * (COLOURS + 1)) + LOOP_FOREVER
            )
            changed = np.ones_like(colours, np.bool_)
        else:
            changed = colours != self._written
        self._written = colours
        top, left, bottom, right = _bounds(changed)
        changed = changed[top:bottom, left:right]
        indices = np.full(changed.shape, TRANSPARENT, np.uint8)
        new = colours[top:bottom, left:right][changed]
        chosen, own_palette = self._indices(new), None
        if chosen is None:
            chosen, own_palette = _own_palette(new)
        indices[changed] = chosen
        image = Image.fromarray(indices)
        if own_palette is not None:
            image.putpalette(own_palette)
        own = {"include_color_table": own_palette is not None}
        said = {"duration": 10 * delay, "disposal": 1, "transparency": TRANSPARENT, **own}
        for block in GifImagePlugin.getdata(image, (left, top), **said):
            self._stream.write(block)

    def _indices(self, colours: NDArray[np.uint32]) -> NDArray[np.uint8] | None:
        """Places (n,) in the common palette, which takes up new colours; None if it has no room for
        them.
        """
        indices = self._index[colours]
        if not indices.all():
            new = np.unique(colours[indices == 0])
            if len(self._palette) + len(new) > COLOURS:
                return None
            self._index[new] = np.arange(len(self._palette) + 1, len(self._palette) + 1 + len(new))
            self._palette += new.tolist()
            indices = self._index[colours]
        return (indices - 1).astype(np.uint8)


def gif_delay(start: float, end: float) -> int:
    """Hundredths of a second between two moments of a timeline in seconds, each rounded by itself,
    so that no time is lost.

    >>> [gif_delay(step / 15, (step + 1) / 15) for step in range(3)]
    [7, 6, 7]
    """
    return round(end * 100) - round(start * 100)


def _as_numbers(image: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """One number (rows, columns) for each colour: red + 256 green + 65536 blue."""
    numbers: NDArray[np.uint32] = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA).view("<u4")[:, :, 0]
    return np.bitwise_and(numbers, 0xFFFFFF, dtype=np.uint32)


def _bounds(changed: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Top, left, bottom and right of the rectangle that holds every pixel that changed; one pixel
    if none did.
    """
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    if not len(rows):
        return 0, 0, 1, 1
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _own_palette(colours: NDArray[np.uint32]) -> tuple[NDArray[np.uint8], bytes]:
    """Places (n,) in a palette for these colours (n,) alone, and the palette."""
    palette, indices = np.unique(colours, return_inverse=True)
    if len(palette) <= COLOURS:
        return indices.astype(np.uint8), _full(_palette_bytes(palette))
    row = Image.fromarray(np.frombuffer(_palette_bytes(colours), np.uint8).reshape(1, -1, 3))
    reduced = row.quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    return np.asarray(reduced)[0], _full(bytes(reduced.getpalette() or []))


def _palette_bytes(colours: NDArray[np.uint32]) -> bytes:
    """Red, green and blue of each colour."""
    return colours.astype("<u4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()


def _full(palette: bytes) -> bytes:
    """A palette with a place for the index that stands for nothing."""
    return palette.ljust(3 * (COLOURS + 1), b"\0")
