"""Tests how saliency is drawn over the game's screen."""

import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from atari_dqn.recording.render import Screen
from atari_dqn.recording.saliency import Saliency, SaliencyMaps
from atari_dqn.recording.saliency_view import (
    ADVANTAGE_COLOR,
    VALUE_COLOR,
    LatestMaps,
    SaliencyView,
    tinted,
)

OBSERVATION = np.random.default_rng(1).integers(256, size=(4, 84, 84), dtype=np.uint8)
GRID = (17, 17)


def screen() -> Screen:
    image = np.full((210, 160, 3), 37, np.uint8)
    return Screen(image, 4, OBSERVATION, 1, 0.0, 0.0, 3)


def maps_at(place: tuple[int, int], value: float, advantage: float) -> SaliencyMaps:
    maps = SaliencyMaps(np.zeros(GRID, np.float32), np.zeros(GRID, np.float32))
    maps.value[place] = value
    maps.advantage[place] = advantage
    return maps


def test_pixels_without_saliency_keep_their_color_and_the_strongest_has_the_maps_color() -> None:
    image = screen().image
    value = np.zeros((210, 160), np.float32)
    advantage = np.zeros((210, 160), np.float32)
    value[10, 20] = 1
    advantage[100, 30] = 1
    drawn = tinted(image, value, advantage)
    changed = (drawn != image).any(axis=-1)
    assert np.argwhere(changed).tolist() == [[10, 20], [100, 30]]
    for pixel, color in (((10, 20), VALUE_COLOR), ((100, 30), ADVANTAGE_COLOR)):
        distance = np.abs(drawn[pixel].astype(int) - color).max()
        assert distance < np.abs(image[pixel].astype(int) - color).max() / 3
    assert not (drawn[changed] % 5).any()


def test_a_place_of_high_saliency_is_drawn_and_changes_below_a_hundredth_are_not() -> None:
    place = (8, 8)
    strong = SaliencyView(lambda *_: maps_at(place, 2.0, 0.0), lambda: 2.0).draw(screen())
    rows, columns = np.nonzero((strong != screen().image).any(axis=-1))
    assert abs(rows.mean() - 106) < 3
    assert abs(columns.mean() - 81) < 3
    faint = 0.05 * (0.01 * 2.0) ** 2 / 2
    weak = SaliencyView(lambda *_: maps_at(place, faint, 0.0), lambda: 2.0).draw(screen())
    np.testing.assert_array_equal(weak, screen().image)


def test_the_scale_falls_slowly_after_a_maximum() -> None:
    saliencies = iter([1.0, 0.05, *[0.3] * 40])
    view = SaliencyView(lambda *_: maps_at((8, 8), next(saliencies), 0.0), lambda: 0.1)
    drawn = [view.draw(screen()) for _ in range(42)]
    np.testing.assert_array_equal(drawn[1], screen().image)
    weaker = np.abs(drawn[2].astype(int) - 37).sum()
    stronger = np.abs(drawn[-1].astype(int) - 37).sum()
    assert 0 < weaker < stronger


def test_live_maps_are_computed_aside_and_the_newest_are_shown() -> None:
    may_end = threading.Event()
    calls = []

    def values(observations: NDArray[np.uint8]) -> NDArray[np.float32]:
        calls.append(observations[0, 0, 0, 0])
        may_end.wait(30)
        return np.stack([observations.mean(axis=(1, 2, 3), dtype=np.float32)] * 2, axis=1)

    latest = LatestMaps(Saliency(values, OBSERVATION.shape))
    try:
        assert latest(OBSERVATION, 0) is None
        assert latest(OBSERVATION, 0) is None, "the first maps are not complete"
        view = SaliencyView(latest, lambda: 1.0)
        np.testing.assert_array_equal(view.draw(screen()), screen().image)
        may_end.set()
        while (maps := latest(OBSERVATION, 0)) is None:
            pass
        expected = Saliency(values, OBSERVATION.shape)(OBSERVATION, 0)
        np.testing.assert_allclose(maps.value, expected.value)
    finally:
        may_end.set()
        latest.close()


def test_an_error_in_the_thread_is_raised_at_the_next_screen() -> None:
    def values(observations: NDArray[np.uint8]) -> NDArray[np.float32]:
        raise RuntimeError("the network failed")

    latest = LatestMaps(Saliency(values, OBSERVATION.shape))
    latest(OBSERVATION, 0)
    latest.close()
    with pytest.raises(RuntimeError, match="the network failed"):
        latest(OBSERVATION, 0)
