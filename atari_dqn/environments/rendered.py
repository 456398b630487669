"""Converts the pictures that environments render to RGB pictures of one size."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from atari_dqn.environments.game import Image
from atari_dqn.environments.preprocessing import resize

GRAY_AXES = 2  # (rows, columns)
COLOR_AXES = 3  # (rows, columns, channels)


class Screens:
    """Converts the pictures that an environment renders in one episode to RGB of one size."""

    def __init__(self) -> None:
        self._size: tuple[int, int] | None = None
        self._white = 1.0  # white in float pictures: 1, or 255 once a value above 1 has occurred

    def as_rgb(self, rendered: Any) -> Image | None:
        """Returns a rendered picture as bytes (rows, columns, 3), or None if it is not a picture.

        Args:
            rendered: (rows, columns) or (rows, columns, 1, 3 or 4) numbers of any dtype, or a list
                of such pictures, of which the last one is used.
        """
        is_list = isinstance(rendered, list | tuple) and len(rendered) > 0
        if is_list and isinstance(rendered[-1], np.ndarray):
            rendered = rendered[-1]
        try:
            picture = np.asarray(rendered)
        except ValueError:  # nested lists of different lengths
            return None
        if picture.dtype.kind not in "biuf" or not picture.size:
            return None
        if picture.ndim == GRAY_AXES:
            picture = picture[:, :, np.newaxis]
        if picture.ndim != COLOR_AXES or picture.shape[2] not in (1, 3, 4):
            return None
        return _rgb(self._as_bytes(picture[:, :, :3]))

    def of_one_size(self, picture: Image) -> Image:
        """Returns a copy of a picture (rows, columns, 3) in the size of the first picture."""
        picture = _rgb(picture.reshape(*picture.shape[:2], -1))
        if self._size is None:
            self._size = (picture.shape[0], picture.shape[1])
        if picture.shape[:2] == self._size:
            return picture.copy()  # an environment may draw into the same array again
        return resize(picture, *self._size)

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
