"""Draws annotated recordings: the game's screen, the network's input, and its Q-values."""

import logging
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from atari_dqn.agent.agent import Agent
from atari_dqn.backend.opencv import cv2
from atari_dqn.console import waiting
from atari_dqn.environments.game import Game
from atari_dqn.evaluation.results import Episode
from atari_dqn.recording import drawing
from atari_dqn.recording.drawing import (
    BAR,
    BLUE,
    FAINT,
    GREEN,
    LARGE,
    LINE,
    MEDIUM,
    ORANGE,
    RED,
    SMALL,
    TRACK,
    WHITE,
    Axis,
    Box,
    Rgb,
    Style,
    text,
)
from atari_dqn.recording.explanation import Explainer, Explanation, Survey, range_of
from atari_dqn.recording.highlights import Plan
from atari_dqn.recording.render import Screen, Show, replay_screens, scaled, usual_scale
from atari_dqn.recording.saliency import Saliency
from atari_dqn.recording.saliency_view import LatestMaps, Look, SaliencyView, draw_legend

logger = logging.getLogger(__name__)

# In pixels.
MARGIN = 12
PANEL_WIDTH = 356
LEAST_HEIGHT = 420  # smallest height of screen and panel
STRIP_HEIGHT = 100
REWARD_HEIGHT = 18
FRAME_GAP = 6
TALL = 500  # height above which a panel has room for two rows of frames
LOWEST_ROW = 12
HIGHEST_ROW = 54
ROW_OF_MEDIUM = 18  # smallest row height for text of medium size
LABEL_HEIGHT = 18
TICK_HEIGHT = 14
TICK_ROOM = 30  # smallest distance between two tick labels

STRIP_SECONDS = 10
DENSITY_POINTS = 90
MOST_NUMBERS = 12  # numbers of a vector that are drawn
VECTOR_DIMENSIONS = 2  # number of axes of an observation (stack, n)

LABEL = Style(SMALL, FAINT)
TICK = Style(SMALL, FAINT, "mt")
RIGHT_LABEL = Style(SMALL, FAINT, "rm")


class Layout(NamedTuple):
    """The boxes of a picture, and its size in pixels."""

    width: int
    height: int
    screen: Box
    panel: Box
    strip: Box


def annotate(
    agent: Agent, scale: int | None = None, saliency: bool = False, plan: Plan | None = None
) -> Show:
    """Returns a function that draws an episode together with an agent's predictions.

    Args:
        agent: The agent that played.
        scale: Scale of the game's screen. None means ``usual_scale``.
        saliency: Whether to draw where the network looks over the game's screen.
        plan: The highlights to show, or None for the whole episode.

    Raises:
        UserError: Saliency is requested, and observations are vectors.
    """
    explainer = Explainer(agent)
    appearance = Appearance(scale, saliency_of(explainer) if saliency else None)

    def pictures(game: Game, episode: Episode) -> Iterator[tuple[int, Screen]]:
        survey = plan.survey if plan else None
        survey = survey or explainer.survey(game, episode)
        ranges = Ranges.of_survey(survey)
        view: View | None = None
        cost = CostOfSaliency(game.screens_per_second)
        steps = len(survey.values)
        with waiting("drawing the recording", total=steps) as advance:
            for step, screen in enumerate(replay_screens(game, episode)):
                if view is None:
                    view = View(explainer, game, ranges, screen, appearance)
                values = survey.values[step]
                view.add(screen, values)
                if plan is None or plan.shows(step):
                    began = time.perf_counter()
                    image = view.draw(step, screen, values)
                    if appearance.look is not None:
                        cost.add(time.perf_counter() - began, screen.frames)
                    yield step, screen._replace(image=image)
                advance(1)

    def show(game: Game, episode: Episode) -> Iterator[Screen]:
        if plan is not None:
            return plan.assemble(pictures(game, episode))
        return (screen for _, screen in pictures(game, episode))

    return show


class CostOfSaliency:
    """Reports once how long drawing saliency takes, measured on about a second of the recording.

    Args:
        rate: Emulator frames per second.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._spent = 0.0
        self._frames: int | None = None  # None before the first screen, which builds the graph

    def add(self, seconds: float, frames: int) -> None:
        """Adds the time that a screen took, and the emulator frames for which it is shown."""
        if self._frames is None:
            self._frames = 0
            return
        is_measured = self._frames >= self._rate
        self._frames += frames
        self._spent += seconds
        if self._frames >= self._rate and not is_measured:
            cost = self._spent / self._frames * self._rate
            logger.info(f"saliency takes {cost:.1f} s for each second of the recording")


def saliency_of(explainer: Explainer) -> Saliency:
    """Returns the saliency of an agent's Q-values.

    Raises:
        UserError: Observations are vectors.
    """
    return Saliency(
        lambda observations: explainer(observations).values, explainer.agent.observation_shape
    )


class LiveView:
    """Draws annotated screens while an agent plays.

    Axes begin with the first values, and grow when a value lies outside.

    Args:
        agent: The agent that plays.
        game: The game that it plays.
        saliency: Whether to draw where the network looks. A thread computes it, so it is late.

    Raises:
        UserError: Saliency is requested, and observations are vectors.
    """

    def __init__(self, agent: Agent, game: Game, saliency: bool = False) -> None:
        self._explainer = Explainer(agent)
        self._game = game
        self._maps = LatestMaps(saliency_of(self._explainer)) if saliency else None
        self._ranges = Ranges()
        self._view: View | None = None
        self._values = np.zeros(0, np.float32)

    def add(self, step: int, screen: Screen) -> None:
        """Adds the screen of a step, whether or not it is drawn. Step 0 begins an episode."""
        explained = self._explainer(screen.observation[np.newaxis])
        self._values = explained.values[0]
        self._ranges.include(explained)
        if self._view is None or not step:
            appearance = Appearance(look=self._maps)
            self._view = View(self._explainer, self._game, self._ranges, screen, appearance)
        self._view.add(screen, self._values)

    def draw(self, step: int, screen: Screen) -> NDArray[np.uint8]:
        """Returns the picture (rows, columns, 3) of the screen that was added last."""
        assert self._view is not None
        return self._view.draw(step, screen, self._values)

    def close(self) -> None:
        """Ends the thread that computes saliency."""
        if self._maps is not None:
            self._maps.close()


@dataclass
class Ranges:
    """The ranges of the axes.

    Attributes:
        low: Lower end of the range of Q-values or distributions.
        high: Upper end of that range.
        least_value: Smallest highest Q-value of a state.
        greatest_value: Largest highest Q-value of a state.
        last_step: The last step of the episode, or None if it is not known yet.
    """

    low: float = float("inf")
    high: float = float("-inf")
    least_value: float = float("inf")
    greatest_value: float = float("-inf")
    last_step: int | None = None

    @classmethod
    def of_survey(cls, survey: Survey) -> "Ranges":
        """Returns the ranges of a whole episode."""
        highest = survey.values.max(axis=1)
        least = float(highest.min())
        greatest = float(highest.max())
        return cls(survey.low, survey.high, least, greatest, len(survey.values) - 1)

    def include(self, explained: Explanation) -> None:
        """Extends the ranges to predictions."""
        low, high = range_of(explained.returns, explained.probabilities)
        highest = explained.values.max(axis=1)
        self.low = min(self.low, low)
        self.high = max(self.high, high)
        self.least_value = min(self.least_value, float(highest.min()))
        self.greatest_value = max(self.greatest_value, float(highest.max()))

    def width(self) -> float:
        """Returns the width of the range of Q-values or distributions."""
        return self.high - self.low


class Appearance(NamedTuple):
    """What a view draws, and how large."""

    scale: int | None = None  # scale of the screens; None means ``usual_scale``
    look: Look | None = None  # computes saliency maps to draw over the screens


class View:
    """Draws the steps of one episode. The layout is the same throughout.

    It uses fewer than 60 colors besides those of the game, so a GIF of an Atari game has exact
    colors, unless it shows saliency.

    Args:
        explainer: Computes the agent's predictions.
        game: Provides action names and frame rate.
        ranges: The ranges of the axes, which may grow.
        first: The first screen of the episode.
        appearance: What to draw, and how large.
    """

    def __init__(
        self,
        explainer: Explainer,
        game: Game,
        ranges: Ranges,
        first: Screen,
        appearance: Appearance,
    ) -> None:
        rows, columns, _ = first.image.shape
        self._scale = appearance.scale or usual_scale(columns)
        self._layout = lay_out(rows * self._scale, columns * self._scale)
        self._has_lives = first.lives > 0
        self._explainer = explainer
        self._ranges = ranges
        self._names = game.action_names
        self._overlay: SaliencyView | None = None
        if appearance.look is not None:
            self._overlay = SaliencyView(appearance.look, ranges.width)
        self._strip = Strip(ranges, self._layout.strip, game.screens_per_second)

    def add(self, screen: Screen, values: NDArray[np.float32]) -> None:
        """Adds the next screen of the episode, with Q-values (A,), to the past."""
        self._strip.add(screen, float(values.max()))

    def draw(self, step: int, screen: Screen, values: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Returns the picture (rows, columns, 3) of the screen that was added last.

        Args:
            step: Number of the screen in the episode, from 0.
            screen: The screen.
            values: (A,) Q-values.
        """
        picture = Image.new("RGB", (self._layout.width, self._layout.height), drawing.BACKGROUND)
        top = self._draw_header(picture, step, screen, values)
        panel = self._layout.panel._replace(top=top)
        top = _draw_observation(picture, screen.observation, panel)
        self._draw_actions(picture, screen, values, panel._replace(top=top))
        self._strip.draw(picture)
        game = screen.image
        if self._overlay is not None:
            draw_legend(picture, self._layout.strip.right, self._layout.strip.top)
            game = self._overlay.draw(screen)
        image = drawing.with_few_colors(picture)
        left, upper, right, lower = self._layout.screen
        image[upper:lower, left:right] = scaled(game, self._scale)
        return image

    def _draw_header(
        self, picture: Image.Image, step: int, screen: Screen, values: NDArray[np.float32]
    ) -> int:
        """Draws score, lives, step and action, and returns the top of the rest of the panel."""
        left, top, _, _ = self._layout.panel
        last = self._ranges.last_step
        self._draw_figure(picture, left, "score", f"{screen.score:g}")
        label = "step" if last is None else f"step of {last}"
        self._draw_figure(picture, left + 78, label, f"{step}")
        if self._has_lives:
            self._draw_figure(picture, left + 196, "lives", f"{screen.lives}")
        if screen.action is not None:
            is_best = screen.action == int(values.argmax())
            self._draw_action_taken(picture, screen.action, is_best)
        return top + 48

    def _draw_figure(self, picture: Image.Image, left: int, label: str, number: str) -> None:
        """Draws a number of the header below its label."""
        top = self._layout.panel.top
        text(picture, (left, top), label, LABEL)
        text(picture, (left, top + 14), number, Style(LARGE, WHITE))

    def _draw_action_taken(self, picture: Image.Image, action: int, is_best: bool) -> None:
        """Draws the name of an action, and a mark whose color shows whether it is the best one."""
        right = self._layout.panel.right
        top = self._layout.panel.top
        label = "action: the best one" if is_best else "action: not the best"
        text(picture, (right, top), label, Style(SMALL, FAINT, "rt"))
        name = self._names[action]
        wide = text(picture, (right, top + 17), name, Style(MEDIUM, WHITE, "rt"))
        mark = (right - wide - 16, top + 20, right - wide - 8, top + 28)
        ImageDraw.Draw(picture).rectangle(mark, fill=BLUE if is_best else ORANGE)

    def _draw_actions(
        self, picture: Image.Image, screen: Screen, values: NDArray[np.float32], box: Box
    ) -> None:
        """Draws a row for each action: its name, a bar or a distribution, and its Q-value."""
        count = len(self._names)
        label = "Q-value"
        if self._explainer.distributional:
            label = "return distribution and Q-value (its mean)"
        text(picture, (box.left, box.top), f"{label} of each action", LABEL)
        top = box.top + LABEL_HEIGHT
        height = (box.bottom - top - TICK_HEIGHT) // count
        height = min(max(height, LOWEST_ROW), HIGHEST_ROW)
        size = SMALL if height < ROW_OF_MEDIUM else MEDIUM
        name_width = max(drawing.width(name, size) for name in self._names) + 16
        first = box.left + name_width + 8
        axis = Axis.around(self._ranges.low, self._ranges.high, first, box.right - 54)
        densities = self._densities(screen.observation, axis)
        best = int(values.argmax())
        for action, name in enumerate(self._names):
            row = ActionRow(
                box=Box(box.left, top + action * height, box.right, top + (action + 1) * height),
                value=float(values[action]),
                is_best=action == best,
                is_taken=action == screen.action,
            )
            _draw_row_words(picture, row, name, box.left + name_width, size)
            if densities is None:
                _draw_bar(picture, axis, row.box, row.value, row.color)
            else:
                _draw_density(picture, axis, row, densities[action])
        _draw_ticks(picture, axis, top, top + count * height)

    def _densities(self, observation: NDArray[Any], axis: Axis) -> NDArray[np.float32] | None:
        """Returns densities (A, points) along an axis, or None if the agent predicts only means."""
        if not self._explainer.distributional:
            return None
        return densities(self._explainer(observation[np.newaxis]), axis)


class ActionRow(NamedTuple):
    """The row of one action in the panel."""

    box: Box
    value: float  # Q-value
    is_best: bool
    is_taken: bool

    @property
    def color(self) -> Rgb:
        """Color of the bar or the distribution."""
        if self.is_best:
            return BLUE
        return ORANGE if self.is_taken else BAR


class Moment(NamedTuple):
    """The data of one step in the strip."""

    value: float  # the highest Q-value
    reward: float


class Strip:
    """Draws the highest Q-value and the rewards of the last seconds, the newest at the right.

    Args:
        ranges: The ranges of the axes, which may grow.
        box: The area to draw in.
        rate: Screens per second.
    """

    def __init__(self, ranges: Ranges, box: Box, rate: float) -> None:
        self._ranges = ranges
        self._box = box
        self._rate = rate
        self._begin = box.left + 44
        self._past: deque[Moment] = deque()  # the newest last
        self._step_width = 0  # pixels of a step, computed at the first screen
        self._seconds = 0.0  # how long the strip reaches back

    def add(self, screen: Screen, value: float) -> None:
        """Adds the next screen of the episode, with its highest Q-value."""
        room = self._box.right - self._begin
        if not self._step_width:
            steps_shown = STRIP_SECONDS * self._rate / screen.frames
            self._step_width = max(int(room / steps_shown), 1)
        steps = room // self._step_width
        self._past.append(Moment(value, screen.reward))
        if len(self._past) > steps + 1:
            self._past.popleft()
        self._seconds = steps * screen.frames / self._rate

    def draw(self, picture: Image.Image) -> None:
        """Draws the strip at the screen that was added last."""
        lowest = self._box.bottom - REWARD_HEIGHT - 6
        ranges = self._ranges
        top = self._box.top + 26
        axis = Axis.around(ranges.least_value, ranges.greatest_value, lowest, top)
        self._draw_labels(picture, axis)
        self._draw_values(picture, axis)
        self._draw_rewards(picture)

    def _draw_labels(self, picture: Image.Image, axis: Axis) -> None:
        left, top, right, bottom = self._box
        label = f"highest Q-value and rewards of the last {self._seconds:.0f} s"
        text(picture, (left, top), label, LABEL)
        for value, y in ((axis.high, axis.last), (axis.low, axis.first)):
            text(picture, (self._begin - 6, y), drawing.number(value), RIGHT_LABEL)
            ImageDraw.Draw(picture).line((self._begin, y, right - 1, y), fill=TRACK)
        middle = bottom - REWARD_HEIGHT // 2
        text(picture, (self._begin - 6, middle), "reward", RIGHT_LABEL)

    def _draw_values(self, picture: Image.Image, axis: Axis) -> None:
        points = [
            (x, axis.pixel(moment.value))
            for x, moment in zip(self._columns(), self._past, strict=True)
        ]
        ImageDraw.Draw(picture).line(points, fill=WHITE, width=2)

    def _draw_rewards(self, picture: Image.Image) -> None:
        """Draws a line for each reward, and its number if there is room."""
        draw = ImageDraw.Draw(picture)
        bottom = self._box.bottom
        free_from = self._begin
        for x, moment in zip(self._columns(), self._past, strict=True):
            if not moment.reward:
                continue
            color = GREEN if moment.reward > 0 else RED
            draw.line((x, bottom - REWARD_HEIGHT, x, bottom - 1), fill=color, width=2)
            number = f"{moment.reward:+g}"
            if x - 4 - drawing.width(number, SMALL) >= free_from:
                text(picture, (x - 4, bottom - REWARD_HEIGHT // 2), number, RIGHT_LABEL)
            free_from = x + 2

    def _columns(self) -> list[int]:
        """Returns the x coordinate of each past step, the newest at the right."""
        last = self._box.right - 1
        return [last - self._step_width * back for back in reversed(range(len(self._past)))]


def lay_out(rows: int, columns: int) -> Layout:
    """Returns the layout of a screen of this size, a panel to its right, and a strip below.

    Width and height are even, as MP4 requires.
    """
    height = max(rows, LEAST_HEIGHT)
    left = MARGIN
    upper = MARGIN + (height - rows) // 2
    panel_left = 2 * MARGIN + columns
    panel = Box(panel_left, MARGIN, panel_left + PANEL_WIDTH, MARGIN + height)
    strip_top = panel.bottom + MARGIN
    strip = Box(MARGIN, strip_top, panel.right, strip_top + STRIP_HEIGHT)
    return Layout(
        width=_even(panel.right + MARGIN),
        height=_even(strip.bottom + MARGIN),
        screen=Box(left, upper, left + columns, upper + rows),
        panel=panel,
        strip=strip,
    )


def densities(explained: Explanation, axis: Axis) -> NDArray[np.float32]:
    """Returns densities of the first observation's returns along an axis.

    Each return is smoothed with a Gaussian, so that a few samples look like a distribution. Its
    standard deviation is 1/40 of the axis, or 0.7 times the median gap between returns if that is
    larger.

    Args:
        explained: Predictions for at least one observation.
        axis: The range of returns.

    Returns:
        Densities (A, points), scaled to a maximum of 1.
    """
    returns = explained.returns[0]
    probabilities = explained.probabilities[0]
    gaps = np.diff(np.sort(returns, axis=-1), axis=-1)
    deviation = max((axis.high - axis.low) / 40, float(np.median(gaps)) * 0.7)
    points = np.linspace(axis.low, axis.high, DENSITY_POINTS, dtype=np.float32)
    distance = (points - returns[:, :, np.newaxis]) / deviation
    density = (probabilities[:, :, np.newaxis] * np.exp(-(distance**2) / 2)).sum(axis=1)
    return np.asarray(density / max(float(density.max()), 1e-9), np.float32)


def _even(size: int) -> int:
    return size + size % 2


def _draw_observation(picture: Image.Image, observation: NDArray[Any], box: Box) -> int:
    """Draws the observation, and returns the top of the rest of the panel."""
    if observation.ndim == VECTOR_DIMENSIONS:
        return _draw_numbers(picture, observation[-1], box)
    stack, rows, columns = observation.shape
    label = f"what the network sees: {stack} frames of {rows}x{columns}, the newest last"
    text(picture, (box.left, box.top), label, LABEL)
    lines = 2 if stack % 2 == 0 and box.bottom - box.top > TALL else 1
    across = stack // lines
    room = (box.right - box.left - FRAME_GAP * (across - 1)) // across
    width = columns * (room // columns) or room  # an integer scale if there is room
    height = round(width * rows / columns)
    method = cv2.INTER_NEAREST if width >= columns else cv2.INTER_AREA
    for index, frame in enumerate(observation):
        left = box.left + index % across * (room + FRAME_GAP)
        top = box.top + LABEL_HEIGHT + index // across * (height + FRAME_GAP)
        resized = cv2.resize(frame, (width, height), interpolation=method)
        picture.paste(Image.fromarray(resized), (left, top))
    return int(box.top + LABEL_HEIGHT + lines * (height + FRAME_GAP) + 8)


def _draw_numbers(picture: Image.Image, vector: NDArray[np.float32], box: Box) -> int:
    """Draws the numbers of a vector, and returns the top of the rest of the panel.

    Each number has a bar that starts in the middle and points to the right if it is positive.
    """
    numbers = vector[:MOST_NUMBERS]
    draw = ImageDraw.Draw(picture)
    label = "what the network sees: numbers"
    if len(numbers) < len(vector):
        label += f", the first {len(numbers)} of {len(vector)}"
    text(picture, (box.left, box.top), label, LABEL)
    for index, value in enumerate(numbers):
        left = box.left + (index % 2) * 188
        middle = box.top + 26 + (index // 2) * 18
        text(picture, (left, middle), str(index), Style(SMALL, FAINT, "lm"))
        row = Box(left, middle - 7, left + 168, middle + 8)
        axis = Axis(-1, 1, left + 18, left + 110)
        draw.rectangle((axis.first, middle - 4, axis.last, middle + 4), fill=TRACK)
        _draw_bar(picture, axis, row, float(np.tanh(value)), BAR)
        number = drawing.number(float(value))
        text(picture, (row.right, middle), number, Style(SMALL, WHITE, "rm"))
    return box.top + 26 + (len(numbers) + 1) // 2 * 18 + 6


def _draw_row_words(
    picture: Image.Image, row: ActionRow, name: str, name_right: int, size: int
) -> None:
    """Draws an action's name and Q-value, and marks the action that is taken."""
    left, top, right, bottom = row.box
    if row.is_taken:
        draw = ImageDraw.Draw(picture)
        draw.rectangle((left, top, right - 1, bottom - 2), fill=TRACK)
        draw.rectangle((left, top, left + 3, bottom - 2), fill=row.color)
    middle = (top + bottom - 1) // 2
    style = Style(size, WHITE if row.is_taken else FAINT, "rm")
    text(picture, (name_right, middle), name, style)
    text(picture, (right - 4, middle), drawing.number(row.value), style)


def _draw_bar(picture: Image.Image, axis: Axis, box: Box, value: float, color: Rgb) -> None:
    """Draws a bar from 0, or from the nearest end of the axis, to the value."""
    first, last = sorted((axis.pixel(0.0), axis.pixel(value)))
    inset = max((box.bottom - box.top) // 4, 2)
    corners = (first, box.top + inset - 1, last, box.bottom - 1 - inset)
    ImageDraw.Draw(picture).rectangle(corners, fill=color)


def _draw_density(
    picture: Image.Image, axis: Axis, row: ActionRow, density: NDArray[np.float32]
) -> None:
    """Draws a distribution (points,) along the axis, and a line at its mean."""
    base = row.box.bottom - 3
    room = row.box.bottom - row.box.top - 4
    draw = ImageDraw.Draw(picture)
    columns = np.linspace(axis.first, axis.last, len(density)).round().astype(int)
    outline = [
        (int(x), base - round(room * float(height)))
        for x, height in zip(columns, density, strict=True)
    ]
    draw.polygon([(axis.first, base), *outline, (axis.last, base)], fill=row.color)
    mean = axis.pixel(row.value)
    draw.line((mean, row.box.top + 1, mean, base), fill=WHITE)


def _draw_ticks(picture: Image.Image, axis: Axis, top: int, bottom: int) -> None:
    """Draws the numbers at both ends of an axis, and 0 if it lies between them."""
    y = bottom + 2
    zero = axis.pixel(0.0)
    if axis.low < 0 < axis.high:
        ImageDraw.Draw(picture).line((zero, top, zero, bottom), fill=LINE)
        if min(zero - axis.first, axis.last - zero) > TICK_ROOM:
            text(picture, (zero, y), "0", TICK)
    text(picture, (axis.first, y), drawing.number(axis.low), TICK)
    text(picture, (axis.last, y), drawing.number(axis.high), TICK)
