"""Annotated recordings: beside the game's screen what the network sees of it, and what it expects
of each action.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from atari_dqn.agent.agent import Agent
from atari_dqn.backend.opencv import cv2
from atari_dqn.environments.game import Game
from atari_dqn.evaluation.evaluate import Episode
from atari_dqn.recording import drawing
from atari_dqn.recording.drawing import (
    BAR,
    BLUE,
    FAINT,
    GREEN,
    LINE,
    MEDIUM,
    ORANGE,
    RED,
    SMALL,
    TRACK,
    WHITE,
    Axis,
    Box,
    text,
)
from atari_dqn.recording.explanation import Explainer, Explanation, Survey
from atari_dqn.recording.render import Screen, Show, replay_screens, scaled

MARGIN = 12
PANEL_WIDTH = 356
LEAST_HEIGHT = 420  # of screen and panel
STRIP_HEIGHT = 100
STRIP_SECONDS = 10
REWARD_HEIGHT = 18
FRAME_GAP = 6
TALL = 500  # a panel that has room for frames of twice their size
LOWEST_ROW, HIGHEST_ROW = 12, 54
DENSITY_POINTS = 90
MOST_NUMBERS = 12  # of a vector
# Screens of Atari games are shown in twice their size, larger ones as they are.
SMALL_SCREEN = 320


class Layout(NamedTuple):
    """Where everything stands."""

    width: int
    height: int
    screen: Box
    panel: Box
    strip: Box


def annotate(agent: Agent, scale: int | None = None) -> Show:
    """How to show an episode with what an agent thinks of it.

    Args:
        agent: who played.
        scale: of the game's screen; None: 2, or 1 for large ones.
    """
    explainer = Explainer(agent)

    def show(game: Game, episode: Episode) -> Iterator[Screen]:
        survey = explainer.survey(game, episode)
        view: View | None = None
        for step, screen in enumerate(replay_screens(game, episode)):
            view = view or View(explainer, survey, game, screen, scale)
            yield screen._replace(image=view.draw(step, screen))

    return show


class View:
    """Draws the moments of one episode; scales and places stay as they are from its first to its
    last.

    Beside the game's own colours there are less than 60, so that a GIF shows an Atari game as it
    is.

    Args:
        explainer: asks the agent.
        survey: of the whole episode, for the scales.
        game: for names and time.
        first: its first screen.
        scale: of the screens.
    """

    def __init__(
        self,
        explainer: Explainer,
        survey: Survey,
        game: Game,
        first: Screen,
        scale: int | None = None,
    ) -> None:
        shape, self._has_lives = first.image.shape, first.lives > 0
        self._scale = scale or (2 if shape[1] <= SMALL_SCREEN else 1)
        self._layout = lay_out(shape[0] * self._scale, shape[1] * self._scale)
        self._explainer, self._survey, self._names = explainer, survey, game.action_names
        self._past: deque[tuple[float, float]] = (
            deque()
        )  # value and reward of each step, the newest last
        self._rate = game.screens_per_second
        self._step_width = 0

    def draw(self, step: int, screen: Screen) -> NDArray[np.uint8]:
        """The picture (rows, columns, 3) of one moment."""
        picture = Image.new("RGB", (self._layout.width, self._layout.height), drawing.BACKGROUND)
        top = self._header(picture, step, screen)
        top = _draw_observation(picture, screen.observation, self._layout.panel._replace(top=top))
        self._actions(picture, step, screen, self._layout.panel._replace(top=top))
        self._strip(picture, step, screen)
        image = drawing.with_few_colours(picture)
        left, upper, right, lower = self._layout.screen
        image[upper:lower, left:right] = scaled(screen.image, self._scale)
        return image

    def _header(self, picture: Image.Image, step: int, screen: Screen) -> int:
        """Score, lives, step and action; returns where the rest of the panel begins."""
        left, top, right, _ = self._layout.panel
        draw = ImageDraw.Draw(picture)
        words = {"score": f"{screen.score:g}", "step": f"{step} of {len(self._survey.values) - 1}"}
        words |= {"lives": f"{screen.lives}"} if self._has_lives else {}
        for place, (label, told) in zip((left, left + 78, left + 196), words.items(), strict=False):
            text(picture, (place, top), label, SMALL, FAINT)
            text(picture, (place, top + 14), told, drawing.LARGE, WHITE)
        if screen.action is not None:
            greedy = screen.action == int(self._survey.values[step].argmax())
            colour, told = (
                (BLUE, "action: the best one") if greedy else (ORANGE, "action: not the best")
            )
            text(picture, (right, top), told, SMALL, FAINT, anchor="rt")
            wide = text(
                picture, (right, top + 17), self._names[screen.action], MEDIUM, WHITE, anchor="rt"
            )
            draw.rectangle((right - wide - 16, top + 20, right - wide - 8, top + 28), fill=colour)
        return top + 48

    def _actions(self, picture: Image.Image, step: int, screen: Screen, box: Box) -> None:
        """A row for each action: its name, a bar or a distribution, and its Q-value."""
        draw = ImageDraw.Draw(picture)
        values, count = self._survey.values[step], len(self._names)
        told = (
            "distribution of the return, and its mean, the Q-value,"
            if self._explainer.distributional
            else "Q-value"
        )
        text(picture, (box.left, box.top), f"{told} of each action", SMALL, FAINT)
        top, room = box.top + 18, box.bottom - box.top - 18 - 14
        height = min(max(room // count, LOWEST_ROW), HIGHEST_ROW)
        size = SMALL if height < 18 else MEDIUM
        names = max(drawing.width(name, size) for name in self._names) + 16
        axis = Axis.around(
            self._survey.low, self._survey.high, box.left + names + 8, box.right - 54
        )
        best, densities = int(values.argmax()), self._densities(screen.observation, axis)
        for action, name in enumerate(self._names):
            row = Box(box.left, top + action * height, box.right, top + (action + 1) * height)
            taken = action == screen.action
            colour = BLUE if action == best else ORANGE if taken else BAR
            if taken:
                draw.rectangle((row.left, row.top, row.right - 1, row.bottom - 2), fill=TRACK)
                draw.rectangle(
                    (row.left, row.top, row.left + 3, row.bottom - 2),
                    fill=BLUE if action == best else ORANGE,
                )
            middle = (row.top + row.bottom - 1) // 2
            text(
                picture,
                (row.left + names, middle),
                name,
                size,
                WHITE if taken else FAINT,
                anchor="rm",
            )
            text(
                picture,
                (row.right - 4, middle),
                drawing.number(values[action]),
                size,
                WHITE if taken else FAINT,
                anchor="rm",
            )
            if densities is None:
                _draw_bar(picture, axis, row, float(values[action]), colour)
            else:
                _draw_density(picture, axis, row, densities[action], float(values[action]), colour)
        _draw_ticks(picture, axis, top, top + count * height)

    def _densities(self, observation: NDArray[Any], axis: Axis) -> NDArray[np.float32] | None:
        """Densities (A, points) along an axis, 1 at the highest point of all; None for an agent
        that knows only means.
        """
        if not self._explainer.distributional:
            return None
        return densities(self._explainer(observation[np.newaxis]), axis)

    def _strip(self, picture: Image.Image, step: int, screen: Screen) -> None:
        """The highest Q-value and the rewards of the last seconds, the present at the right."""
        left, top, right, bottom = self._layout.strip
        draw = ImageDraw.Draw(picture)
        best = self._survey.values.max(axis=1)
        axis = Axis.around(
            float(best.min()), float(best.max()), bottom - REWARD_HEIGHT - 6, top + 26
        )
        begin = left + 44
        if not self._step_width:
            self._step_width = max(
                int((right - begin) / (STRIP_SECONDS * self._rate / screen.frames)), 1
            )
        steps = (right - begin) // self._step_width
        self._past.append((float(best[step]), screen.reward))
        if len(self._past) > steps + 1:
            self._past.popleft()
        seconds = steps * screen.frames / self._rate
        text(
            picture,
            (left, top),
            f"highest Q-value and rewards of the last {seconds:.0f} s",
            SMALL,
            FAINT,
        )
        for value, y in ((axis.high, axis.last), (axis.low, axis.first)):
            text(picture, (begin - 6, y), drawing.number(value), SMALL, FAINT, anchor="rm")
            draw.line((begin, y, right - 1, y), fill=TRACK)
        text(picture, (begin - 6, bottom - REWARD_HEIGHT // 2), "reward", SMALL, FAINT, anchor="rm")
        places = [
            right - 1 - self._step_width * back for back in range(len(self._past) - 1, -1, -1)
        ]
        draw.line(
            [(x, axis.place(value)) for x, (value, _) in zip(places, self._past, strict=True)] * 1,
            fill=WHITE,
            width=2,
        )
        clear_of = begin
        for x, (_, reward) in zip(places, self._past, strict=True):
            if reward:
                told, colour = f"{reward:+g}", GREEN if reward > 0 else RED
                draw.line((x, bottom - REWARD_HEIGHT, x, bottom - 1), fill=colour, width=2)
                wide = drawing.width(told, SMALL)
                if x - 4 - wide >= clear_of:
                    text(
                        picture,
                        (x - 4, bottom - REWARD_HEIGHT // 2),
                        told,
                        SMALL,
                        FAINT,
                        anchor="rm",
                    )
                clear_of = x + 2


def lay_out(rows: int, columns: int) -> Layout:
    """Places for a screen of so many pixels, a panel at its right and a strip below; sizes are
    even, as films want them.
    """
    height = max(rows, LEAST_HEIGHT)
    left, upper = MARGIN, MARGIN + (height - rows) // 2
    panel = Box(2 * MARGIN + columns, MARGIN, 2 * MARGIN + columns + PANEL_WIDTH, MARGIN + height)
    strip = Box(MARGIN, panel.bottom + MARGIN, panel.right, panel.bottom + MARGIN + STRIP_HEIGHT)
    width, height = panel.right + MARGIN, strip.bottom + MARGIN
    return Layout(
        width + width % 2,
        height + height % 2,
        Box(left, upper, left + columns, upper + rows),
        panel,
        strip,
    )


def densities(explained: Explanation, axis: Axis) -> NDArray[np.float32]:
    """Densities (A, points) of the first observation's returns along an axis, 1 at the highest
    point of all.

    Each return is spread a little (a Gaussian of a fortieth of the axis, or of the distance of the
    atoms if that is more), so that a few samples look like the distribution that they stand for.
    """
    returns, probabilities = explained.returns[0], explained.probabilities[0]
    gaps = np.diff(np.sort(returns, axis=-1), axis=-1)
    wide = max((axis.high - axis.low) / 40, float(np.median(gaps)) * 0.7)
    points = np.linspace(axis.low, axis.high, DENSITY_POINTS, dtype=np.float32)
    away = (points - returns[:, :, np.newaxis]) / wide
    density = (probabilities[:, :, np.newaxis] * np.exp(-(away**2) / 2)).sum(axis=1)
    return np.asarray(density / max(float(density.max()), 1e-9), np.float32)


def _draw_observation(picture: Image.Image, observation: NDArray[Any], box: Box) -> int:
    """What the network sees; returns where the rest of the panel begins."""
    if observation.ndim == 2:
        return _draw_numbers(picture, observation[-1], box)
    stack, rows, columns = observation.shape
    text(
        picture,
        (box.left, box.top),
        f"what the network sees: {stack} frames of {rows}x{columns}, the newest last",
        SMALL,
        FAINT,
    )
    lines = 2 if stack % 2 == 0 and box.bottom - box.top > TALL else 1
    across = stack // lines
    room = (box.right - box.left - FRAME_GAP * (across - 1)) // across
    wide = columns * (room // columns) or room  # whole pixels, if they have room
    size = (wide, round(wide * rows / columns))
    how = cv2.INTER_NEAREST if wide >= columns else cv2.INTER_AREA
    for number, frame in enumerate(observation):
        left, top = (
            box.left + number % across * (room + FRAME_GAP),
            box.top + 18 + number // across * (size[1] + FRAME_GAP),
        )
        picture.paste(Image.fromarray(cv2.resize(frame, size, interpolation=how)), (left, top))
    return int(box.top + 18 + lines * (size[1] + FRAME_GAP) + 8)


def _draw_numbers(picture: Image.Image, vector: NDArray[np.float32], box: Box) -> int:
    """The numbers of a vector, each with a bar from the middle: right for positive ones."""
    shown = vector[:MOST_NUMBERS]
    draw = ImageDraw.Draw(picture)
    more = "" if len(shown) == len(vector) else f", the first {len(shown)} of {len(vector)}"
    text(picture, (box.left, box.top), f"what the network sees: numbers{more}", SMALL, FAINT)
    for index, value in enumerate(shown):
        left, middle = box.left + (index % 2) * 188, box.top + 26 + (index // 2) * 18
        text(picture, (left, middle), str(index), SMALL, FAINT, anchor="lm")
        row = Box(left, middle - 7, left + 168, middle + 8)
        axis = Axis(-1, 1, left + 18, left + 110)
        draw.rectangle((axis.first, middle - 4, axis.last, middle + 4), fill=TRACK)
        _draw_bar(picture, axis, row, float(np.tanh(value)), BAR)
        text(picture, (row.right, middle), drawing.number(float(value)), SMALL, WHITE, anchor="rm")
    return box.top + 26 + (len(shown) + 1) // 2 * 18 + 6


def _draw_bar(
    picture: Image.Image, axis: Axis, row: Box, value: float, colour: drawing.Rgb
) -> None:
    """From 0, or the end of the axis that is next to it, to the value."""
    ends = sorted((axis.place(0.0), axis.place(value)))
    inset = max((row.bottom - row.top) // 4, 2)
    place = (ends[0], row.top + inset - 1, ends[1], row.bottom - 1 - inset)
    ImageDraw.Draw(picture).rectangle(place, fill=colour)


def _draw_density(
    picture: Image.Image,
    axis: Axis,
    row: Box,
    density: NDArray[np.float32],
    mean: float,
    colour: drawing.Rgb,
) -> None:
    base, room = row.bottom - 3, row.bottom - row.top - 4
    draw = ImageDraw.Draw(picture)
    across = np.linspace(axis.first, axis.last, len(density)).round().astype(int)
    outline = [
        (int(x), base - round(room * float(part))) for x, part in zip(across, density, strict=True)
    ]
    draw.polygon([(axis.first, base), *outline, (axis.last, base)], fill=colour)
    draw.line((axis.place(mean), row.top + 1, axis.place(mean), base), fill=WHITE)


def _draw_ticks(picture: Image.Image, axis: Axis, top: int, bottom: int) -> None:
    """Both ends of an axis, and 0 where it is on it."""
    draw = ImageDraw.Draw(picture)
    zero = axis.place(0.0)
    if axis.low < 0 < axis.high:
        draw.line((zero, top, zero, bottom), fill=LINE)
        if min(zero - axis.first, axis.last - zero) > 30:
            text(picture, (zero, bottom + 2), "0", SMALL, FAINT, anchor="mt")
    text(picture, (axis.first, bottom + 2), drawing.number(axis.low), SMALL, FAINT, anchor="mt")
    text(picture, (axis.last, bottom + 2), drawing.number(axis.high), SMALL, FAINT, anchor="mt")
