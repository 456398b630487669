"""Writes MP4 files (H.264) frame by frame, in a form that browsers play."""

import re
import subprocess
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import imageio.v2
import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from atari_dqn.console import without_standard_input

# Browsers need yuv420p, which stores color at half the resolution. With "faststart" the index comes
# first, so that browsers can play a file while they still load it.
OPTIONS: dict[str, Any] = {
    "codec": "libx264",
    "pixelformat": "yuv420p",
    "macro_block_size": 2,
    "quality": 8,
    "output_params": ["-movflags", "+faststart"],
}


class Mp4File:
    """An MP4 file that is written image by image.

    Args:
        path: The file. An existing one is replaced.
        rate: Images per second.

    Attributes:
        count: Number of images so far.

    Raises:
        OSError: The file cannot be written. Some errors are detected only when it is closed.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self._path = path
        self.count = 0
        try:
            with without_standard_input():  # this starts the encoder once, to test it
                self._encoder = imageio_ffmpeg.get_ffmpeg_exe()
        except RuntimeError:
            raise OSError(0, "ffmpeg is missing", str(path)) from None
        self._writer = imageio.v2.get_writer(path, fps=rate, **OPTIONS)

    def add(self, image: NDArray[np.uint8], times: int) -> None:
        """Appends an RGB image. All images must have the same size.

        An odd number of rows or columns is extended by one.

        Args:
            image: The image (rows, columns, 3).
            times: How many times to append it.
        """
        rows, columns, _ = image.shape
        image = np.pad(image, ((0, rows % 2), (0, columns % 2), (0, 0)), "edge")
        for _ in range(times):
            self._writer.append_data(image)
            self.count += 1

    def __enter__(self) -> "Mp4File":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()
        if kind is not None:
            return
        # The writer does not report an encoder that failed to finish its file.
        if self._frames_written() != self.count:
            raise OSError(f"incomplete: {self._path}")

    def _frames_written(self) -> int:
        """Returns the number of images in the file, or 0 if it is not a video."""
        command = [self._encoder, "-nostdin", "-v", "error", "-progress", "-", "-i", self._path]
        command += ["-map", "0:v:0", "-c", "copy", "-f", "null", "-"]
        with suppress(OSError):
            answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
            counts = re.findall(rb"^frame=(\d+)$", answer.stdout, re.MULTILINE)
            return int(counts[-1]) if counts else 0
        return 0
