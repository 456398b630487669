"""What an environment renders, whatever that is, as pictures of one type and size."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from atari_dqn.environments.game import Image
from atari_dqn.environments.preprocessing import resize


class Screens:
    """Makes RGB pictures of one size out of those that an environment renders in an episode."""

    def __init__(self) -> None:
        self._size: tuple[int, int] | None = None
        self._white = 1.0  # of floats: 1, until a larger one shows that they go to 255

    def as_rgb(self, shown: Any) -> Image | None:
        """What was rendered as bytes (rows, columns, 3), or None where that is no picture.

        Args:
            shown: (rows, columns) or (rows, columns, 1, 3 or 4) of any numbers, or a list of such,
                of which the last counts.
        """
        if isinstance(shown, list | tuple) and shown and isinstance(shown[-1], np.ndarray):
            shown = shown[-1]
        try:
            picture = np.asarray(shown)
        except ValueError:  # lists in a list, of different lengths
            return None
        if picture.dtype.kind not in "biuf" or not picture.size:
            return None
        if picture.ndim == 2:
            picture = picture[:, :, np.newaxis]
        if picture.ndim != 3 or picture.shape[2] not in (1, 3, 4):
            return None
        return _rgb(self._as_bytes(picture[:, :, :3]))

    def of_one_size(self, picture: Image) -> Image:
        """A picture with or without channels as a new one (rows, columns, 3) of the first's size."""
        picture = _rgb(picture.reshape(*picture.shape[:2], -1))
        self._size = self._size or (picture.shape[0], picture.shape[1])
        # An environment may draw into the same array again, so it is always a copy.
        return resize(picture, *self._size) if picture.shape[:2] != self._size else picture.copy()

    def _as_bytes(self, picture: NDArray[Any]) -> Image:
        if picture.dtype == np.uint8:
            return picture
        if picture.dtype.kind == "b":
            return picture.astype(np.uint8) * np.uint8(255)
        if picture.dtype.kind == "f":
            finite = np.nan_to_num(picture.astype(np.float64), nan=0.0)
            if finite.max() > 1:
                self._white = 255.0
            picture = np.rint(finite * (255.0 / self._white))
        return np.asarray(np.clip(picture, 0, 255), np.uint8)


def _rgb(picture: Image) -> Image:
    return np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture
