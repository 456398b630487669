"""Chooses the highlights of an episode, and cuts them together.

Each screen gets a number, its interest: the sum of the reward that was won, the reward that was
lost, the lives that were lost, and the TD error beyond its 90th percentile. Each of the four is
divided by its largest value in the episode. A moment is a window around a screen, and its score is
the interest in the window, where the seconds next to the screen count twice. The window around the
most interesting screen is chosen first, then the others by their score, as long as they fit and do
not overlap. Windows less than a second apart become one cut. At last, all cuts grow on both sides
until the time is used.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from atari_dqn.agent.agent import Agent
from atari_dqn.config.schema import Config
from atari_dqn.console import waiting
from atari_dqn.environments.environments import make_game
from atari_dqn.environments.game import Game
from atari_dqn.evaluation.results import Episode
from atari_dqn.recording import drawing
from atari_dqn.recording.drawing import BAR, FAINT, LARGE, SMALL, TRACK, WHITE, Style, text
from atari_dqn.recording.episode_file import Ending
from atari_dqn.recording.explanation import Explainer, Survey
from atari_dqn.recording.render import Screen, Show, replay_screens, scaled, usual_scale

# In seconds of game time.
BEFORE = 2.0  # context before a moment
AFTER = 1.0  # context after it
CORE_BEFORE = 0.75  # the part of a window whose interest counts twice
CORE_AFTER = 0.5
NEAR = 1.0  # cuts that are less than this apart become one
MARK_SECONDS = 0.6  # length of the mark between two cuts

USUAL_TD_ERROR = 0.9  # quantile of the TD errors up to which they are of no interest

# In pixels.
FOOTER_HEIGHT = 20
TIMELINE_HEIGHT = 4


class Course(NamedTuple):
    """What happened before each of the T + 1 screens of an episode."""

    rewards: NDArray[np.float64]  # (T + 1,) reward of the step before a screen, 0 at the first
    lives: NDArray[np.int64]  # (T + 1,) lives left
    frames: NDArray[np.int64]  # (T + 1,) emulator frames for which a screen is shown


class Cut(NamedTuple):
    """A part of an episode: the screens from ``first`` to the one before ``end``."""

    first: int
    end: int


@dataclass(frozen=True)
class Plan:
    """The highlights of an episode.

    Attributes:
        cuts: The parts to show, in order.
        frames: (T + 1,) Emulator frames for which each screen of the episode is shown.
        rate: Emulator frames per second.
        survey: The agent's Q-values during the episode, or None if no agent was asked.
    """

    cuts: Sequence[Cut]
    frames: NDArray[np.int64]
    rate: float
    survey: Survey | None = None

    @property
    def seconds(self) -> list[tuple[float, float]]:
        """The begin and end of each cut in seconds of the episode."""
        times = np.concatenate([[0], self.frames.cumsum()]) / self.rate
        return [(round(times[cut.first], 2), round(times[cut.end], 2)) for cut in self.cuts]

    def shows(self, step: int) -> bool:
        """Returns whether the screen at a step lies in a cut."""
        return any(cut.first <= step < cut.end for cut in self.cuts)

    def assemble(self, pictures: Iterable[tuple[int, Screen]]) -> Iterator[Screen]:
        """Yields the screens to record: the cuts, a footer below them, and marks between them.

        Args:
            pictures: The step and the screen of each screen in a cut, in order.
        """
        firsts = {cut.first for cut in self.cuts[1:]}
        footer: Footer | None = None
        for step, screen in pictures:
            if footer is None:
                footer = Footer(self, screen.image.shape[1])
            below = footer.draw(step, screen.score)
            if step in firsts:
                mark = _mark(screen, self._clock(step))
                frames = round(MARK_SECONDS * self.rate)
                yield screen._replace(image=np.concatenate([mark, below]), frames=frames)
            yield screen._replace(image=np.concatenate([screen.image, below]))

    def _clock(self, step: int) -> str:
        """Returns the time of a screen in the episode, as m:ss."""
        return clock(int(self.frames[:step].sum()) / self.rate)


class Footer:
    """Draws the time in the episode, the score, and a line on which the cuts are marked.

    Args:
        plan: The highlights.
        width: Width of the pictures in pixels.
    """

    def __init__(self, plan: Plan, width: int) -> None:
        self._width = width
        self._rate = plan.rate
        ends = plan.frames.cumsum()
        self._starts = ends - plan.frames
        self._share = (width - 1) / max(int(ends[-1]), 1)
        self._cuts = [(self._x(cut.first), self._x(cut.end - 1)) for cut in plan.cuts]

    def _x(self, step: int) -> int:
        return round(float(self._starts[step]) * self._share)

    def draw(self, step: int, score: float) -> NDArray[np.uint8]:
        """Returns the footer (``FOOTER_HEIGHT``, width, 3) below a screen."""
        picture = Image.new("RGB", (self._width, FOOTER_HEIGHT), drawing.BACKGROUND)
        draw = ImageDraw.Draw(picture)
        bottom = TIMELINE_HEIGHT - 1
        draw.rectangle((0, 0, self._width - 1, bottom), fill=TRACK)
        for first, last in self._cuts:
            draw.rectangle((first, 0, last, bottom), fill=BAR)
        now = self._x(step)
        draw.rectangle((now - 1, 0, now + 1, bottom), fill=WHITE)
        middle = (TIMELINE_HEIGHT + FOOTER_HEIGHT) // 2
        time = clock(int(self._starts[step]) / self._rate)
        text(picture, (4, middle), time, Style(SMALL, WHITE, "lm"))
        score_style = Style(SMALL, FAINT, "rm")
        text(picture, (self._width - 4, middle), f"score {score:,g}", score_style)
        return drawing.with_few_colors(picture)


def show_highlights(plan: Plan, ending: Ending, scale: int | None = None) -> Show:
    """Returns a function that draws the highlights of an episode, without annotations.

    Args:
        plan: The highlights of the episode.
        ending: The kind of recording.
        scale: Width and height of each screen pixel. None means 1 in a GIF, and ``usual_scale`` in
            an MP4.
    """

    def enlarged(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        usual = usual_scale(image.shape[1]) if ending == "mp4" else 1
        return scaled(image, scale or usual)

    def show(game: Game, episode: Episode) -> Iterator[Screen]:
        pictures = (
            (step, screen._replace(image=enlarged(screen.image)))
            for step, screen in enumerate(replay_screens(game, episode))
            if plan.shows(step)
        )
        return plan.assemble(pictures)

    return show


def plan_highlights(
    config: Config, episode: Episode, seconds: float, agent: Agent | None = None
) -> Plan:
    """Replays an episode and chooses its highlights.

    Args:
        config: The settings under which the episode was played.
        episode: The episode.
        seconds: Length of the highlights in seconds, including the marks between them.
        agent: The agent that played, or None for highlights without TD errors.

    Raises:
        EpisodeChangedError: The replay differs from the episode.
    """
    game = make_game(config.spec, config.environment, config.evaluation.frame_cap)
    course = course_of(game, episode)
    survey = None
    errors = np.zeros(len(course.rewards))
    if agent is not None:
        survey = Explainer(agent).survey(game, episode)
        errors = td_errors(survey.values, course.rewards, config, terminated=not episode.truncated)
    rate = game.screens_per_second
    cuts = choose_cuts(interest_of(course, errors), course.frames, seconds, rate)
    return Plan(cuts, course.frames, rate, survey)


def course_of(game: Game, episode: Episode) -> Course:
    """Replays an episode and returns what happened."""
    rewards = []
    lives = []
    frames = []
    steps = len(episode.actions) + 1
    with waiting("looking for highlights", total=steps) as advance:
        for screen in replay_screens(game, episode):
            rewards.append(screen.reward)
            lives.append(screen.lives)
            frames.append(screen.frames)
            advance(1)
    return Course(np.array(rewards, np.float64), np.array(lives), np.array(frames))


def td_errors(
    values: NDArray[np.float32], rewards: NDArray[np.float64], config: Config, terminated: bool
) -> NDArray[np.float64]:
    """Returns ``|r + gamma V(s') - V(s)|`` of the step before each screen.

    V is the highest Q-value, and rewards are clipped as in learning.

    Args:
        values: (T + 1, A) Q-values.
        rewards: (T + 1,) reward of the step before each screen.
        config: Settings of the agent.
        terminated: Whether the last state has no future.

    Returns:
        TD errors (T + 1,), 0 at the first screen.
    """
    clip = config.agent.reward_clip
    learned = np.clip(rewards, -clip, clip) if clip else rewards
    state_values = values.max(axis=1).astype(np.float64)
    next_values = state_values[1:].copy()
    if terminated:
        next_values[-1] = 0
    errors = np.abs(learned[1:] + config.agent.gamma * next_values - state_values[:-1])
    return np.concatenate([[0], errors])


def interest_of(course: Course, errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the interest (T + 1,) of each screen.

    Args:
        course: What happened.
        errors: (T + 1,) TD error of the step before each screen.
    """
    lives_lost = -np.diff(course.lives, prepend=course.lives[0])
    signals = (
        course.rewards,
        -course.rewards,
        lives_lost,
        errors - np.quantile(errors, USUAL_TD_ERROR),
    )
    interest = np.zeros(len(errors))
    for signal in signals:
        positive = np.maximum(signal, 0)
        largest = positive.max()
        if largest > 0:
            interest += positive / largest
    return interest


def choose_cuts(
    interest: NDArray[np.float64], frames: NDArray[np.int64], seconds: float, rate: float
) -> list[Cut]:
    """Chooses the parts of an episode to show, by the rule at the top of this module.

    Args:
        interest: (T + 1,) interest of each screen, at least 0.
        frames: (T + 1,) emulator frames for which each screen is shown, at least 1.
        seconds: Length of all cuts and the marks between them. A shorter episode is one cut.
        rate: Emulator frames per second.

    Returns:
        The cuts, in order and without overlap. One of them contains the most interesting screen.
    """
    clock_frames = np.concatenate([[0], frames.cumsum()])
    budget = int(seconds * rate)
    if clock_frames[-1] <= budget:
        return [Cut(0, len(frames))]

    def length(cuts: Sequence[Cut]) -> int:
        shown = sum(int(clock_frames[cut.end] - clock_frames[cut.first]) for cut in cuts)
        return shown + (len(cuts) - 1) * round(MARK_SECONDS * rate)

    share = min(seconds / (BEFORE + AFTER), 1.0) * rate
    windows = _windows(clock_frames, BEFORE * share, AFTER * share)
    cores = _windows(clock_frames, CORE_BEFORE * share, CORE_AFTER * share)
    total = np.concatenate([[0.0], interest.cumsum()])
    scores = total[windows.end] - total[windows.first] + total[cores.end] - total[cores.first]
    by_score = np.argsort(-scores, kind="stable").tolist()
    cuts: list[Cut] = []
    for step in [int(interest.argmax()), *by_score]:
        window = Cut(int(windows.first[step]), int(windows.end[step]))
        if any(window.first < cut.end and cut.first < window.end for cut in cuts):
            continue
        joined = _joined([*cuts, window], clock_frames, NEAR * rate)
        if not cuts or (scores[step] > 0 and length(joined) <= budget):
            cuts = joined
    return _grown(cuts, clock_frames, NEAR * rate, lambda grown: length(grown) <= budget)


def clock(seconds: float) -> str:
    """Returns a time in an episode.

    >>> clock(7.9), clock(754)
    ('0:07', '12:34')
    """
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"


class _Windows(NamedTuple):
    """A window around each screen: the first screen in it, and the one after the last."""

    first: NDArray[np.intp]  # (T + 1,)
    end: NDArray[np.intp]  # (T + 1,)


def _windows(times: NDArray[np.int64], before: float, after: float) -> _Windows:
    """Returns the windows from ``before`` to ``after`` the begin of each screen.

    Args:
        times: (T + 2,) begin of each screen, and the end of the last, in emulator frames.
        before: Emulator frames before a screen.
        after: Emulator frames after its begin. The screen itself is always in its window.
    """
    begins = times[:-1]
    first = np.searchsorted(times, begins - before, "left")
    end = np.searchsorted(times, begins + after, "right") - 1
    return _Windows(first, np.maximum(end, np.arange(1, len(begins) + 1)))


def _joined(cuts: Iterable[Cut], times: NDArray[np.int64], near: float) -> list[Cut]:
    """Returns cuts in order. Those that overlap, or are nearer than ``near`` frames, become one."""
    joined: list[Cut] = []
    for cut in sorted(cuts):
        if joined and times[cut.first] - times[joined[-1].end] < near:
            joined[-1] = Cut(joined[-1].first, max(cut.end, joined[-1].end))
        else:
            joined.append(cut)
    return joined


def _grown(
    cuts: list[Cut],
    times: NDArray[np.int64],
    near: float,
    fits: Callable[[Sequence[Cut]], bool],
) -> list[Cut]:
    """Returns the cuts with as many screens more on both sides of each as fit."""
    last = len(times) - 1
    longest = cuts
    for extra in range(1, last):
        wider = [Cut(max(cut.first - extra, 0), min(cut.end + extra, last)) for cut in cuts]
        wider = _joined(wider, times, near)
        if not fits(wider):
            return longest
        longest = wider
    return longest


def _mark(screen: Screen, time: str) -> NDArray[np.uint8]:
    """Returns a screen in a fourth of its brightness, with the time at which the next cut begins.

    >>> _mark(Screen(np.full((60, 90, 3), 200, np.uint8), 4, None, 0, 0, 0, 0), "1:02")[0, 0]
    array([50, 50, 50], dtype=uint8)
    """
    rows, columns, _ = screen.image.shape
    picture = Image.fromarray(screen.image // 4)
    x = columns // 2
    y = rows // 2
    half = drawing.width(time, LARGE) // 2 + 8
    ImageDraw.Draw(picture).rectangle((x - half, y - 16, x + half, y + 16), drawing.BACKGROUND)
    text(picture, (x, y), time, Style(LARGE, WHITE, "mm"))
    return drawing.with_few_colors(picture)
