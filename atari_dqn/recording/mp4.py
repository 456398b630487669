"""MP4 files (H.264) that are written frame by frame, in the form that browsers play."""

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

# Colours at half the resolution, as browsers want them; the index at the front, so that they can
# begin before all is there.
OPTIONS: dict[str, Any] = {
    "codec": "libx264",
    "pixelformat": "yuv420p",
    "macro_block_size": 2,
    "quality": 8,
    "output_params": ["-movflags", "+faststart"],
}


class Mp4File:
    """A film.

    Args:
        path: of the file; an existing one is replaced.
        rate: images per second.

    Attributes:
        count: images so far.

    Raises:
        OSError: it cannot be written, which may be noticed only when it is closed.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self._path = path
        self.count = 0
        try:
            with without_standard_input():  # the encoder is started once, to see that it runs
                self._encoder = imageio_ffmpeg.get_ffmpeg_exe()
        except RuntimeError:
            raise OSError(0, "there is no ffmpeg to encode it", str(path)) from None
        self._writer = imageio.v2.get_writer(path, fps=rate, **OPTIONS)

    def add(self, image: NDArray[np.uint8], times: int) -> None:
        """Appends an RGB image (rows, columns, 3), the same size each time.

        Odd sizes are extended by a row or a column.

        Args:
            image: what to show.
            times: for how many images it stands.
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
        # The writer does not notice that the encoder failed to finish its file.
        if self._frames_written() != self.count:
            raise OSError(f"incomplete: {self._path}")

    def _frames_written(self) -> int:
        """Returns how many images the file holds; 0 if it is not a film."""
        command = [self._encoder, "-nostdin", "-v", "error", "-progress", "-", "-i", self._path]
        command += ["-map", "0:v:0", "-c", "copy", "-f", "null", "-"]
        with suppress(OSError):
            answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
            counts = re.findall(rb"^frame=(\d+)$", answer.stdout, re.MULTILINE)
            return int(counts[-1]) if counts else 0
        return 0
