"""Tests saliency maps, on functions and networks whose answers are known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from atari_dqn.errors import UserError
from atari_dqn.recording.saliency import (
    MASK_DEVIATION,
    REACH,
    Saliency,
    blurred,
    grid_of,
    on_screen,
)

SHAPE = (4, 84, 84)
PATCH = (slice(40, 48), slice(20, 28))  # rows and columns
Q_VALUES = NDArray[np.float32]


def picture(seed: int = 1) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(256, size=SHAPE, dtype=np.uint8)


def patch_sum(observations: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns the sum of an 8x8 patch of the newest frame, for each observation."""
    patches = observations[(slice(None), -1, *PATCH)].astype(np.float32)
    return np.asarray(patches.sum(axis=(1, 2)) / 1000, np.float32)


def blurs_the_patch(row: int, column: int) -> bool:
    """Returns whether blurring around a pixel of the observation can change the patch."""
    rows, columns = PATCH
    return (rows.start - REACH <= row < rows.stop + REACH) and (
        columns.start - REACH <= column < columns.stop + REACH
    )


def test_saliency_is_highest_in_the_patch_that_is_read_and_zero_where_blurring_misses_it() -> None:
    def values(observations: NDArray[np.uint8]) -> Q_VALUES:
        read = patch_sum(observations)
        return np.stack([read, 3 * read], axis=1)

    observation = np.zeros(SHAPE, np.uint8)
    observation[:, 20:70, 5:60] = 40
    observation[:, 42:46, 22:26] = 250  # a ball, in the middle of the patch
    maps = Saliency(values, SHAPE)(observation, action=1)
    for saliency in maps:
        row, column = np.unravel_index(saliency.argmax(), saliency.shape)
        assert PATCH[0].start <= grid_of(84)[row] < PATCH[0].stop
        assert PATCH[1].start <= grid_of(84)[column] < PATCH[1].stop
        assert saliency.max() > 0
        for (i, j), amount in np.ndenumerate(saliency):
            if not blurs_the_patch(int(grid_of(84)[i]), int(grid_of(84)[j])):
                assert amount == 0


def test_frames_that_are_not_read_do_not_matter() -> None:
    observation = picture()
    maps = Saliency(lambda shown: np.stack([patch_sum(shown)] * 2, axis=1), SHAPE)
    other = observation.copy()
    other[:-1] = 7
    np.testing.assert_array_equal(maps(observation).value, maps(other).value)


def test_value_and_advantage_are_told_apart() -> None:
    read = patch_sum

    def only_value(observations: NDArray[np.uint8]) -> Q_VALUES:
        return np.stack([read(observations), read(observations)], axis=1)

    def only_advantage(observations: NDArray[np.uint8]) -> Q_VALUES:
        return np.stack([read(observations), -read(observations)], axis=1)

    value, advantage = Saliency(only_value, SHAPE)(picture(), action=0)
    assert value.max() > 0
    assert advantage.max() == 0
    value, advantage = Saliency(only_advantage, SHAPE)(picture(), action=1)
    assert value.max() == pytest.approx(0, abs=1e-9)
    assert advantage.max() > 0


def test_the_saliency_of_a_linear_function_has_its_closed_form() -> None:
    """If Q is linear with weights w, the saliency is (w . (mask * (blur - frame)))^2 / 2."""
    weights = np.random.default_rng(2).normal(size=(2, *SHAPE)).astype(np.float32)

    def linear(observations: NDArray[np.uint8]) -> Q_VALUES:
        return np.tensordot(observations.astype(np.float32), weights, axes=([1, 2, 3], [1, 2, 3]))

    observation = picture()
    value, advantage = Saliency(linear, SHAPE)(observation, action=1)
    frames = observation.astype(np.float32)
    change = np.stack([blurred(frame) for frame in frames]) - frames
    rows, columns = np.mgrid[:84, :84]
    for i, j in [(0, 0), (3, 11), (8, 8), (16, 16)]:
        row, column = grid_of(84)[[i, j]]
        mask = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * MASK_DEVIATION**2))
        # Inputs of the network are bytes.
        rounded = np.rint(frames + mask * change) - frames
        difference = (weights * rounded).sum(axis=(1, 2, 3))
        assert value[i, j] == pytest.approx(difference.mean() ** 2 / 2, rel=1e-2)
        expected = (difference[1] - difference.mean()) ** 2 / 2
        assert advantage[i, j] == pytest.approx(expected, rel=1e-2)


def test_a_batch_gives_the_same_as_one_observation_at_a_time() -> None:
    def values(observations: NDArray[np.uint8]) -> Q_VALUES:
        return np.stack([patch_sum(observations), observations.mean(axis=(1, 2, 3))], axis=1)

    def one_by_one(observations: NDArray[np.uint8]) -> Q_VALUES:
        return np.concatenate([values(one[np.newaxis]) for one in observations])

    batch = Saliency(values, SHAPE)(picture(), 0)
    singles = Saliency(one_by_one, SHAPE)(picture(), 0)
    np.testing.assert_allclose(batch.value, singles.value, rtol=1e-5)
    np.testing.assert_allclose(batch.advantage, singles.advantage, rtol=1e-5)


def test_places_that_blurring_does_not_change_are_not_computed() -> None:
    sizes = []

    def values(observations: NDArray[np.uint8]) -> Q_VALUES:
        sizes.append(len(observations))
        return np.stack([observations.mean(axis=(1, 2, 3))] * 2, axis=1)

    saliency = Saliency(values, SHAPE)
    assert saliency(np.full(SHAPE, 100, np.uint8)).value.max() == 0
    saliency(picture())
    assert sizes == [1, 1 + 17 * 17]


def test_the_best_action_is_meant_if_none_is_given() -> None:
    def values(observations: NDArray[np.uint8]) -> Q_VALUES:
        read = patch_sum(observations)
        return np.stack([0 * read, 2 * read, -read], axis=1)

    saliency = Saliency(values, SHAPE)
    np.testing.assert_array_equal(
        saliency(picture()).advantage, saliency(picture(), action=1).advantage
    )


def test_a_place_of_the_grid_is_drawn_where_its_pixel_lies_on_the_screen() -> None:
    saliency = np.zeros((17, 17), np.float32)
    saliency[4, 12] = 1
    drawn = on_screen(saliency, (210, 160), (84, 84))
    assert drawn.shape == (210, 160)
    row, column = np.unravel_index(drawn.argmax(), drawn.shape)
    assert row == pytest.approx((grid_of(84)[4] + 0.5) * 210 / 84, abs=1.5)
    assert column == pytest.approx((grid_of(84)[12] + 0.5) * 160 / 84, abs=1.5)
    assert np.count_nonzero(drawn) < drawn.size / 10


def test_vectors_have_no_saliency() -> None:
    with pytest.raises(UserError, match="saliency needs pictures"):
        Saliency(lambda shown: np.zeros((len(shown), 2), np.float32), (4, 6))
