"""Measures how much time a run spends on each part of its work."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


class Stopwatch:
    """A stopwatch that adds up the seconds spent on each part of the work. Parts do not overlap.

    >>> stopwatch = Stopwatch(["act", "learn"])
    >>> with stopwatch.running(steps=0), stopwatch.part("act"):
    ...     pass
    >>> stopwatch.wall > stopwatch.seconds["act"] > stopwatch.seconds["learn"] == 0
    True
    """

    def __init__(self, parts: Iterable[str]) -> None:
        self.seconds = dict.fromkeys(parts, 0.0)
        self._before = 0.0  # seconds up to the last stop, in earlier processes too
        self._start(steps=0)

    def _start(self, steps: int) -> None:
        self._began: float | None = time.monotonic()
        self._lap = (self._began, steps, dict(self.seconds))

    @contextmanager
    def running(self, steps: int) -> Iterator[None]:
        """Context of a run that has made a number of agent steps. Time after it does not count."""
        self._start(steps)
        try:
            yield
        finally:
            self._before = self.wall
            self._began = None

    @property
    def wall(self) -> float:
        """Seconds spent on the run so far, in all processes together."""
        running = 0.0 if self._began is None else time.monotonic() - self._began
        return self._before + running

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Context whose duration is added to the part ``name``."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] += time.monotonic() - began

    def lap(self, steps: int) -> dict[str, float]:
        """Returns the speed and the share of each part since the last lap, and begins a new lap.

        Args:
            steps: Agent steps of the run so far.

        Returns:
            ``steps_per_second``, and ``share_NAME`` for each part and for ``other``.
        """
        began, before, spent = self._lap
        self._lap = (time.monotonic(), steps, dict(self.seconds))
        seconds = self._lap[0] - began
        parts = shares({name: self.seconds[name] - spent[name] for name in spent}, seconds)
        return {"steps_per_second": (steps - before) / seconds} | {
            f"share_{name}": share for name, share in parts.items()
        }

    def state(self) -> dict[str, Any]:
        """Returns the seconds so far, for ``restore``."""
        return {"wall": self.wall, "parts": self.seconds}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restores the seconds that ``state`` returned, usually in an earlier process."""
        self._before = state["wall"]
        self.seconds.update(state["parts"])


def shares(seconds: Mapping[str, float], total: float) -> dict[str, float]:
    """Returns the share of each part in the total time, with the rest as ``other``.

    >>> shares({"act": 1.0, "learn": 6.0}, total=8.0)
    {'act': 0.125, 'learn': 0.75, 'other': 0.125}
    """
    parts = {name: part / total for name, part in seconds.items()}
    return {**parts, "other": max(1 - sum(parts.values()), 0.0)}
