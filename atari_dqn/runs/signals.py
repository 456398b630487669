"""Stops a loop when a signal requests it, at a safe point instead of anywhere."""

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
# Closing a terminal, or Ctrl-C in a pipeline, sends several signals at once. They count as one.
SECONDS_APART = 1.0
STOPPING = (
    b"\nstopping after this step and saving; a second Ctrl-C stops at once\n"
    b"  and loses everything after the last checkpoint\n"
)


class Stopped(BaseException):
    """The exception that ends ``StopOnSignals.may_be_left`` when a stop is requested.

    It is not an ``Exception``, so that handlers of errors do not catch it.
    """


class StopOnSignals:
    """Context in which the first SIGINT, SIGTERM or SIGHUP only sets ``requested``.

    A second SIGINT or SIGTERM has its usual effect. A SIGHUP that the process ignores, as under
    ``nohup``, stays ignored. A stop is also requested when nobody reads standard error any more.
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
        """Context that a stop request ends at once, by raising ``Stopped``.

        Use it for work that changes no saved state, such as evaluating and recording.
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
        # Only the main thread may install signal handlers.
        if threading.current_thread() is threading.main_thread():
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
        with suppress(OSError):  # the terminal may be closed
            os.write(2, STOPPING)  # the signal may have interrupted print, which is not reentrant
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
    """Sends this process SIGTERM when nobody reads its standard error any more.

    Without it, the process would notice only when it prints the next line. A thread waits for the
    event and uses no processor time.

    Args:
        stopping: A function that returns whether a stop was already requested. If so, no signal is
            sent.
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
        poll.register(2, 0)  # poll always reports errors and hang-ups
        poll.register(self._wake, select.POLLIN)
        ready = [descriptor for descriptor, _ in poll.poll()]
        with self._lock:
            if self._open and self._wake not in ready:
                STANDARD_ERROR.reader_gone = True
                if not self._stopping():
                    os.kill(os.getpid(), signal.SIGTERM)

    def close(self) -> None:
        """Ends the watching thread."""
        with self._lock:
            self._open = False
        os.close(self._woken)
        self._thread.join()
        os.close(self._wake)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Raises KeyboardInterrupt for any signal, as Ctrl-C does."""
    raise KeyboardInterrupt
