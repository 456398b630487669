"""Stopping on request: signals end a loop where it may be left, not where it happens to be."""

import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any

from atari_dqn.console import STANDARD_ERROR

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# A terminal that goes away, or Ctrl-C in a pipeline, is more than one signal at once.
SECONDS_APART = 1.0
STOPPING = (
    b"\nstopping after this step and saving; once more stops at once, "
    b"and what came after the last checkpoint is lost\n"
)


class Stopped(BaseException):
    """A stop was requested inside ``StopOnSignals.may_be_left``; no error, so not an Exception."""


class StopOnSignals:
    """Context in which the first SIGINT, SIGTERM or SIGHUP only sets ``requested``.

    A later SIGINT or SIGTERM acts as it would without this context. A SIGHUP that the process
    ignores, as under ``nohup``, stays ignored. A reader of standard error that goes away counts as
    a request.
    """

    def __init__(self) -> None:
        self._requested = False
        self._requested_at = 0.0
        self._may_be_left = False
        self._previous: dict[signal.Signals, Any] = {}
        self._watcher: ReaderWatch | None = None

    @property
    def requested(self) -> bool:
        """Whether a stop was requested."""
        return self._requested or STANDARD_ERROR.reader_gone

    @contextmanager
    def may_be_left(self) -> Iterator[None]:
        """Context that a request leaves at once, by raising ``Stopped``.

        For work that changes nothing which is saved, such as evaluating and recording.
        """
        if self.requested:
            raise Stopped
        self._may_be_left = True
        try:
            yield
        finally:
            self._may_be_left = False

    def __enter__(self) -> "StopOnSignals":
        self._requested = False
        if threading.current_thread() is threading.main_thread():  # others may not handle signals
            for number in SIGNALS:
                if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                    continue
                self._previous[number] = signal.signal(number, self._stop)
            self._watcher = ReaderWatch(lambda: self._requested)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._put_back()
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self._requested:
            self._stop_again(number)
            return
        self._requested = True
        self._requested_at = time.monotonic()
        with suppress(OSError):  # the terminal may be what has gone
            os.write(2, STOPPING)  # a print that the signal interrupts may not be entered again
        if self._may_be_left:
            self._may_be_left = False
            raise Stopped

    def _stop_again(self, number: int) -> None:
        apart = time.monotonic() - self._requested_at
        if number != signal.SIGHUP and apart >= SECONDS_APART:
            self._put_back()
            os.kill(os.getpid(), number)

    def _put_back(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)


class ReaderWatch:
    """Sends this process SIGTERM when the reader of its standard error goes away.

    Otherwise that would be noticed only when the next line is printed. A thread waits for it, which
    takes no time.

    Args:
        stopping: whether a stop was requested already; then nothing is sent.
    """

    def __init__(self, stopping: Callable[[], bool]) -> None:
        self._stopping = stopping
        self._wake, self._woken = os.pipe()
        self._open = True
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        poll = select.poll()
        poll.register(2, 0)  # that something went wrong is reported without being asked for
        poll.register(self._wake, select.POLLIN)
        ready = [descriptor for descriptor, _ in poll.poll()]
        with self._lock:
            if self._open and self._wake not in ready:
                STANDARD_ERROR.reader_gone = True
                if not self._stopping():
                    os.kill(os.getpid(), signal.SIGTERM)

    def close(self) -> None:
        """Ends the watch."""
        with self._lock:
            self._open = False
        os.close(self._woken)
        self._thread.join()
        os.close(self._wake)


def interrupt(number: int, frame: FrameType | None) -> None:
    """A signal handler that acts as Ctrl-C does, whatever the signal."""
    raise KeyboardInterrupt
