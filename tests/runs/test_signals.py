"""Tests how signals request a stop."""

import os
import signal
import time

import pytest

from atari_dqn.console import STANDARD_ERROR
from atari_dqn.runs.signals import StopOnSignals, Stopped


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_only_requests_a_stop(number: signal.Signals) -> None:
    with StopOnSignals() as stop:
        assert not stop.requested
        os.kill(os.getpid(), number)
        assert stop.requested


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_two_signals_in_quick_succession_are_one_request(
    first: signal.Signals, second: signal.Signals
) -> None:
    """A closing terminal sends several signals, and so does Ctrl-C in a pipeline."""
    with StopOnSignals() as stop:
        os.kill(os.getpid(), first)
        os.kill(os.getpid(), second)
        assert stop.requested


def test_a_hangup_after_ctrl_c_does_not_stop_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atari_dqn.runs.signals.SECONDS_APART", 0.0)
    with StopOnSignals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop.requested


def test_a_second_ctrl_c_stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atari_dqn.runs.signals.SECONDS_APART", 0.0)
    with pytest.raises(KeyboardInterrupt), StopOnSignals() as stop:  # noqa: PT012
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested
        os.kill(os.getpid(), signal.SIGINT)


def test_an_ignored_hangup_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopOnSignals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_leaves_an_interruptible_block_at_once() -> None:
    reached = []
    with StopOnSignals() as stop:
        with pytest.raises(Stopped), stop.may_be_left():  # noqa: PT012
            os.kill(os.getpid(), signal.SIGTERM)
            reached.append("the code after the signal")
        with pytest.raises(Stopped), stop.may_be_left():
            reached.append("a block entered after the signal")
    assert reached == []


def test_a_closed_reader_of_standard_error_leaves_an_interruptible_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(STANDARD_ERROR, "reader_gone", False)
    reader, writer = os.pipe()
    kept = os.dup(2)
    os.dup2(writer, 2)
    os.close(writer)
    try:
        with StopOnSignals() as stop, pytest.raises(Stopped), stop.may_be_left():  # noqa: PT012
            os.close(reader)
            while True:
                time.sleep(0.01)
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def test_signal_handlers_are_restored_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with StopOnSignals():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
