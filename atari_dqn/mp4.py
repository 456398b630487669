"""MP4 files (H.264) that are written as they grow, in the form that browsers play."""

from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import imageio.v2
import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

# Colours at half the resolution, as browsers want them; the index at the front, so that they can begin before all is there.
OPTIONS: dict[str, Any] = {
    "codec": "libx264",
    "pixelformat": "yuv420p",
    "macro_block_size": 2,
    "quality": 8,
    "output_params": ["-movflags", "+faststart"],
}


class Mp4File:
    """A film of so many images a second.

    Args:
        path: an existing file is replaced.
        rate: images a second.

    Raises:
        OSError: it cannot be written, which may be noticed only when it is closed.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self._path = path
        self.count = 0
        self._writer = imageio.v2.get_writer(path, fps=rate, **OPTIONS)

    def add(self, image: NDArray[np.uint8], times: int) -> None:
        """Shows an RGB image (rows, columns, 3), the same size each time; odd sizes are extended by a row or a column."""
        rows, columns, _ = image.shape
        image = np.pad(image, ((0, rows % 2), (0, columns % 2), (0, 0)), "edge")
        for _ in range(times):
            self._writer.append_data(image)
            self.count += 1

    def __enter__(self) -> "Mp4File":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._writer.close()
        if kind is not None:
            return
        # The writer does not notice that the encoder failed to finish its file.
        with suppress(RuntimeError):
            if imageio_ffmpeg.count_frames_and_secs(str(self._path))[0] == self.count:
                return
        raise OSError(f"incomplete: {self._path}")
