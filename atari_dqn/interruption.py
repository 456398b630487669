"""Stopping on request: Ctrl-C and SIGTERM end a loop where it may be left, not where it happens to be."""

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

STOPPING = b"\nstopping after this step and saving; once more stops at once, and what came after the last checkpoint is lost\n"


class StopOnSignals:
    """Context in which the first SIGINT or SIGTERM only sets ``requested``; a second one acts as it would without us."""

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopOnSignals":
        if threading.current_thread() is threading.main_thread():  # others may not handle signals
            self._previous = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._put_back()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        os.write(2, STOPPING)  # a print that the signal interrupts may not be entered again
        self._put_back()

    def _put_back(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
