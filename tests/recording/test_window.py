"""Tests the speed of the window; ``tests/acceptance/test_window.py`` opens one."""

from itertools import pairwise

import pytest

from atari_dqn.recording import window
from atari_dqn.recording.window import LONGEST_GAP, Pace


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(window, "time", clock)
    return clock


def shown_steps(clock: Clock, drawing: float, steps: int, seconds: float = 0.05) -> list[int]:
    """Plays steps whose screens take some time to draw, and returns those that are shown."""
    pace = Pace()
    shown = []
    for step in range(steps):
        if pace.is_next(seconds):
            clock.now += drawing
            clock.now += pace.shown()
            shown.append(step)
    return shown


def test_every_screen_is_shown_if_drawing_is_fast_enough(clock: Clock) -> None:
    assert shown_steps(clock, drawing=0.03, steps=40) == list(range(40))
    assert clock.now == pytest.approx(100 + 40 * 0.05)


def test_slow_drawing_leaves_out_screens_and_keeps_the_speed_of_the_game(clock: Clock) -> None:
    shown = shown_steps(clock, drawing=0.12, steps=200)
    assert clock.now == pytest.approx(100 + 200 * 0.05, abs=0.2)
    assert 60 < len(shown) < 100


def test_a_screen_is_shown_now_and_then_however_slow_the_agent_is(clock: Clock) -> None:
    pace = Pace()
    shown_at = []
    for _ in range(100):
        clock.now += 0.1  # the agent alone takes twice the time of a step
        if pace.is_next(0.05):
            pace.shown()
            shown_at.append(clock.now)
    gaps = [after - before for before, after in pairwise(shown_at)]
    assert max(gaps) <= LONGEST_GAP + 0.11


def test_a_suspended_game_does_not_catch_up(clock: Clock) -> None:
    pace = Pace()
    clock.now += 60
    assert pace.is_next(0.05)
    pace.shown()
    assert pace.is_next(0.05)
    assert pace.shown() == pytest.approx(0.05)
