"""Writes a run's event file for TensorBoard: scalars, histograms, text and animated recordings."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Row = Mapping[str, float | int]


class TensorBoardFile:
    """An event file that TensorBoard displays, with agent steps on the horizontal axis.

    Args:
        directory: The run directory.

    Attributes:
        error: The exception that writing raises if the disk is full.
    """

    def __init__(self, directory: Path) -> None:
        import tensorflow as tf

        self.error = tf.errors.OpError
        self._summary = tf.summary
        self._proto = tf.compat.v1.Summary
        self._writer = tf.summary.create_file_writer(os.fsencode(directory))

    def write(self, group: str, step: int, row: Row) -> None:
        """Writes each value of a row as the scalar ``group/name``."""
        with self._writer.as_default():
            for name, value in row.items():
                self._summary.scalar(f"{group}/{name}", value, step=step)

    def histograms(self, group: str, step: int, samples: Mapping[str, NDArray[np.float32]]) -> None:
        """Writes the distribution of each array as the histogram ``group/name``."""
        with self._writer.as_default():
            for name, array in samples.items():
                self._summary.histogram(f"{group}/{name}", array, step=step)

    def text(self, name: str, step: int, toml: str) -> None:
        """Writes a TOML document as text."""
        with self._writer.as_default():
            self._summary.text(name, f"```toml\n{toml}```", step=step)

    def gif(self, name: str, step: int, path: Path) -> None:
        """Writes a GIF file as an image. It stays animated, as its bytes are not re-encoded."""
        with Image.open(path) as image:
            columns, rows = image.size
        animation = self._proto.Image(
            height=rows, width=columns, colorspace=3, encoded_image_string=path.read_bytes()
        )
        summary = self._proto(value=[self._proto.Value(tag=name, image=animation)])
        with self._writer.as_default():
            self._summary.experimental.write_raw_pb(summary.SerializeToString(), step=step)

    def flush(self) -> None:
        """Writes buffered data to the file."""
        self._writer.flush()

    def close(self) -> None:
        """Closes the file."""
        self._writer.close()
