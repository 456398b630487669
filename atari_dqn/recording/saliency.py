"""Computes where an agent looks: how much its predictions change if a place is blurred.

Greydanus et al. 2018, "Visualizing and Understanding Atari Agents", section 3. A place of the
observation is blended with its Gaussian blur, in all frames of the stack. The saliency of the place
is half the squared change of the network's output.

The output is split as in dueling networks (Wang et al. 2016, equation 9): the value of a state is
the mean of its Q-values, and the advantage of an action is its Q-value minus this mean. The highest
Q-value would not do as the value, since the advantage of the best action would always be 0.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from atari_dqn.backend.arrays import is_picture
from atari_dqn.backend.opencv import cv2
from atari_dqn.errors import UserError

# In pixels of the observation. The paper has the same three numbers.
STRIDE = 5  # distance between two places of the grid
MASK_DEVIATION = 5.0  # standard deviation of the Gaussian mask around a place
BLUR_DEVIATION = 3.0  # standard deviation of the blur
# Farther than this from a place, on either axis, a byte changes by less than a half, which is
# rounded to no change.
REACH = int(np.sqrt(2 * MASK_DEVIATION**2 * np.log(2 * 255)))

# From observations (N, stack, height, width) to Q-values (N, A).
Values = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


class SaliencyMaps(NamedTuple):
    """The saliency of each place of the grid, in squared units of the Q-values."""

    value: NDArray[np.float32]  # (rows, columns) of the grid, for the state's value
    advantage: NDArray[np.float32]  # (rows, columns) of the grid, for an action's advantage


class Perturbed(NamedTuple):
    """An observation that is blurred at places of the grid."""

    observations: NDArray[np.uint8]  # (N, stack, height, width), one for each place
    places: NDArray[np.intp]  # (N,) indices of the places in the flattened grid


class Saliency:
    """Computes saliency maps, with one batch of observations for each state.

    An observation of 84x84 pixels has a grid of 17x17 places. Places where blurring changes no byte
    have saliency 0, and are left out of the batch.

    Args:
        values: Function from observations (N, *observation_shape) to Q-values (N, A).
        observation_shape: (stack, height, width).

    Raises:
        UserError: Observations are vectors.
    """

    def __init__(self, values: Values, observation_shape: tuple[int, ...]) -> None:
        check_pictures(observation_shape)
        self._values = values
        _, height, width = observation_shape
        self._rows = grid_of(height)
        self._columns = grid_of(width)
        distance = np.arange(-REACH, REACH + 1, dtype=np.float32)
        profile = np.exp(-(distance**2) / (2 * MASK_DEVIATION**2))
        self._mask = np.outer(profile, profile)

    def __call__(self, observation: NDArray[np.uint8], action: int | None = None) -> SaliencyMaps:
        """Returns the maps of a state.

        Args:
            observation: (stack, height, width).
            action: Index of the action whose advantage is meant. None means the best one.
        """
        perturbed = self.perturbed(observation)
        batch = np.concatenate([observation[np.newaxis], perturbed.observations])
        values = self._values(batch)
        if action is None:
            action = int(values[0].argmax())
        state_values = values.mean(axis=1)
        advantages = values[:, action] - state_values
        return SaliencyMaps(
            value=self._map(state_values, perturbed.places),
            advantage=self._map(advantages, perturbed.places),
        )

    def perturbed(self, observation: NDArray[np.uint8]) -> Perturbed:
        """Returns an observation blurred at each place where blurring changes it."""
        frames = observation.astype(np.float32)
        change = np.stack([blurred(frame) for frame in frames]) - frames
        places = []
        copies = []
        for place, (row, column) in enumerate(np.ndindex(len(self._rows), len(self._columns))):
            rows, mask_rows = _around(int(self._rows[row]), observation.shape[1])
            columns, mask_columns = _around(int(self._columns[column]), observation.shape[2])
            window = (slice(None), rows, columns)
            blended = frames[window] + self._mask[mask_rows, mask_columns] * change[window]
            patch = np.rint(blended).astype(np.uint8)
            if np.array_equal(patch, observation[window]):
                continue
            copy = observation.copy()
            copy[window] = patch
            copies.append(copy)
            places.append(place)
        observations = np.array(copies, np.uint8).reshape(-1, *observation.shape)
        return Perturbed(observations, np.array(places, np.intp))

    def _map(self, outputs: NDArray[np.float32], places: NDArray[np.intp]) -> NDArray[np.float32]:
        """Returns a map from the outputs (1 + N,) of the observation and of its N perturbations."""
        saliency = np.zeros((len(self._rows), len(self._columns)), np.float32)
        saliency.ravel()[places] = (outputs[1:] - outputs[0]) ** 2 / 2
        return saliency


def check_pictures(observation_shape: tuple[int, ...]) -> None:
    """Raises a UserError unless observations are pictures."""
    if not is_picture(observation_shape):
        raise UserError("saliency needs pictures as observations, but this agent sees vectors")


def grid_of(size: int) -> NDArray[np.intp]:
    """Returns the pixels of an axis at which the grid has places.

    >>> grid_of(36).tolist()
    [2, 7, 12, 17, 22, 27, 32]
    """
    return np.arange(STRIDE // 2, size, STRIDE, dtype=np.intp)


def blurred(frame: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns a frame (height, width), blurred with standard deviation ``BLUR_DEVIATION``."""
    return np.asarray(cv2.GaussianBlur(frame, (0, 0), BLUR_DEVIATION), np.float32)


def on_screen(
    saliency: NDArray[np.float32], screen: tuple[int, int], observation: tuple[int, int]
) -> NDArray[np.float32]:
    """Returns a map for each pixel of the screen, interpolated between the places of the grid.

    Observations show the whole screen, resized without keeping the ratio of its sides.

    Args:
        saliency: Map (rows, columns) of the grid.
        screen: Height and width of the screen.
        observation: Height and width of the observation.
    """
    positions = []
    for length, size in zip(screen, observation, strict=True):
        pixels = (np.arange(length, dtype=np.float32) + 0.5) * size / length - 0.5
        positions.append((pixels - STRIDE // 2) / STRIDE)
    rows, columns = np.meshgrid(*positions, indexing="ij")
    interpolated = cv2.remap(
        saliency, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(interpolated, np.float32)


def _around(center: int, size: int) -> tuple[slice, slice]:
    """Returns the pixels within ``REACH`` of a center, and their part of the mask."""
    first = max(center - REACH, 0)
    end = min(center + REACH + 1, size)
    begin = center - REACH
    return slice(first, end), slice(first - begin, end - begin)
