"""Tests the GIF writer: colors, merged frames and delays."""

from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from atari_dqn.recording.gif import GifFile, gif_delay


def write(path: Path, images: list[NDArray[np.uint8]], delays: list[int]) -> None:
    with GifFile(path) as gif:
        for image, delay in zip(images, delays, strict=True):
            gif.add(image, delay)


def read(path: Path) -> list[tuple[int, NDArray[np.uint8]]]:
    """Returns the delay, in hundredths of a second, and the pixels of each frame."""
    with Image.open(path) as gif:
        return [
            (frame.info["duration"] // 10, np.asarray(frame.convert("RGB")))
            for frame in ImageSequence.Iterator(gif)
        ]


def noise(colors: int, frames: int, seed: int = 0) -> list[NDArray[np.uint8]]:
    random = np.random.default_rng(seed)
    palette = random.integers(256, size=(colors, 3), dtype=np.uint8)
    return [palette[random.integers(colors, size=(30, 41))] for _ in range(frames)]


@pytest.mark.parametrize("colors", [1, 2, 128, 255])
def test_up_to_255_colors_are_stored_exactly_in_one_palette(colors: int, tmp_path: Path) -> None:
    images = noise(colors, frames=5)
    write(tmp_path / "noise.gif", images, [7] * 5)
    shown = read(tmp_path / "noise.gif")
    assert sum(delay for delay, _ in shown) == 35
    for (_, pixels), image in zip(shown, images if colors > 1 else images[:1], strict=True):
        np.testing.assert_array_equal(pixels, image)


def test_frames_with_new_colors_get_their_own_palettes(tmp_path: Path) -> None:
    """The ten frames have 255 colors each, and 2,550 together."""
    images = [image for seed in range(10) for image in noise(255, frames=1, seed=seed)]
    write(tmp_path / "noise.gif", images, [5] * 10)
    for (_, pixels), image in zip(read(tmp_path / "noise.gif"), images, strict=True):
        np.testing.assert_array_equal(pixels, image)


def test_a_frame_with_too_many_colors_is_approximated(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:64, :64].astype(np.uint8)
    gradient = np.stack([rows * 4, columns * 4, np.full_like(rows, 50)], axis=-1)
    write(tmp_path / "gradient.gif", [np.zeros_like(gradient), gradient], [5, 5])
    (_, _), (_, pixels) = read(tmp_path / "gradient.gif")
    assert np.abs(pixels.astype(int) - gradient).mean() < 6


def test_equal_frames_are_merged_and_a_small_change_takes_few_bytes(tmp_path: Path) -> None:
    first = noise(100, frames=1)[0]
    second = first.copy()
    second[3, 4] = first[0, 0]
    write(tmp_path / "one.gif", [first], [4])
    write(tmp_path / "two.gif", [first, first, second, second, second], [4] * 5)
    assert [delay for delay, _ in read(tmp_path / "two.gif")] == [8, 12]
    assert (tmp_path / "two.gif").stat().st_size - (tmp_path / "one.gif").stat().st_size < 40


def test_a_frame_too_short_for_browsers_is_merged_into_the_next(tmp_path: Path) -> None:
    images = noise(10, frames=6)
    write(tmp_path / "fast.gif", images, [2, 1, 2, 2, 1, 2])
    shown = read(tmp_path / "fast.gif")
    assert [delay for delay, _ in shown] == [2, 3, 2, 3]
    for (_, pixels), number in zip(shown, [0, 2, 3, 5], strict=True):
        np.testing.assert_array_equal(pixels, images[number])


def test_a_gif_loops_forever_and_stays_unfinished_after_an_error(tmp_path: Path) -> None:
    write(tmp_path / "two.gif", noise(3, frames=2), [4, 4])
    with Image.open(tmp_path / "two.gif") as gif:
        assert gif.info["loop"] == 0
    with suppress(ZeroDivisionError), GifFile(tmp_path / "half.gif") as half:
        half.add(noise(3, frames=1)[0], 4)
        raise ZeroDivisionError
    assert not (tmp_path / "half.gif").read_bytes().endswith(b";")


@pytest.mark.parametrize("frames", [[4] * 900, [3] * 901, [2, 3, 4] * 100, [1] * 50])
def test_rounded_delays_add_up_to_the_total_time(frames: list[int]) -> None:
    moments = [0.0, *(np.cumsum(frames) / 60).tolist()]
    delays = [gif_delay(begin, end) for begin, end in pairwise(moments)]
    assert min(delays) > 0
    assert sum(delays) == pytest.approx(sum(frames) * 100 / 60, abs=0.5)
