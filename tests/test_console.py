"""Tests the messages on standard error, as the command line configures them."""

import io
import logging
import subprocess
import sys
import time
from contextlib import nullcontext

import pytest
from tqdm import tqdm

from atari_dqn import console
from atari_dqn.console import STANDARD_ERROR, keep_messages, log_to_standard_error, waiting

PACKAGE = logging.getLogger("atari_dqn")


def test_info_is_printed_unchanged_and_other_messages_on_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with log_to_standard_error():
        logger = logging.getLogger("atari_dqn.training")
        logger.info("first\n  second")
        logger.warning("a\x1b[2J\nb")
        logger.error("it failed")
        logger.debug("not for users")
    captured = capsys.readouterr()
    assert captured.err == "first\n  second\nnote: a\\x1b[2J b\nerror: it failed\n"
    assert captured.out == ""


def test_a_traceback_is_printed_in_the_format_of_python(capsys: pytest.CaptureFixture[str]) -> None:
    with log_to_standard_error():
        try:
            raise ValueError("no such disk")
        except ValueError:
            PACKAGE.exception("the run failed")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "ValueError: no such disk"


def test_messages_are_printed_even_if_another_library_disables_the_loggers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logger = logging.getLogger("atari_dqn.training")
    with log_to_standard_error():
        logger.disabled = True  # as ``logging.config.dictConfig`` does to loggers it does not name
        logger.info("lost")
        keep_messages()
        logger.info("printed")
    assert capsys.readouterr().err == "printed\n"


def test_a_logger_disabled_from_python_stays_disabled(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logger = logging.getLogger("atari_dqn.training")
    logger.disabled = True
    try:
        keep_messages()
        assert logger.disabled
    finally:
        with log_to_standard_error():
            keep_messages()
    assert not logger.disabled
    assert capsys.readouterr().err == ""


def test_logging_does_not_fix_the_start_method_of_multiprocessing() -> None:
    program = (
        "import multiprocessing\n"
        "from atari_dqn.console import log_to_standard_error\n"
        "import logging\n"
        "with log_to_standard_error():\n"
        "    logging.getLogger('atari_dqn').info('a message')\n"
        "multiprocessing.set_start_method('spawn')\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_nested_contexts_print_each_message_once_and_restore_the_logger(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = (PACKAGE.handlers, PACKAGE.level, PACKAGE.propagate)
    with log_to_standard_error(), log_to_standard_error():
        PACKAGE.warning("once")
    assert (PACKAGE.handlers, PACKAGE.level, PACKAGE.propagate) == before
    PACKAGE.info("afterwards")
    assert capsys.readouterr().err == "note: once\n"


def test_a_progress_bar_stays_below_messages(capsys: pytest.CaptureFixture[str]) -> None:
    with log_to_standard_error(), tqdm(total=2, file=STANDARD_ERROR, mininterval=0) as bar:
        bar.update()
        PACKAGE.warning("beside the bar")
    before, _, after = capsys.readouterr().err.partition("note: beside the bar\n")
    assert "1/2" in before
    assert before.endswith("\r")
    assert "1/2" in after


def test_a_closed_standard_error_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(STANDARD_ERROR, "reader_gone", False)
    monkeypatch.setattr("sys.stderr", closed)
    with log_to_standard_error():
        PACKAGE.warning("lost")
    assert STANDARD_ERROR.reader_gone


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError("this terminal has no descriptor")


def test_a_wait_is_shown_in_a_terminal_and_then_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with log_to_standard_error(), waiting("reading", total=4) as advance:
        advance(2)
        PACKAGE.info("a message")
    text = terminal.getvalue()
    assert "reading   0%" in text
    assert "a message\n" in text
    assert text.rpartition("reading")[2].rpartition("\r")[2] == ""  # an empty line is left


def test_a_wait_without_a_total_is_redrawn_while_nothing_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(console, "SECONDS_BETWEEN_REDRAWS", 0.01)
    with log_to_standard_error(), waiting("building"):
        while terminal.getvalue().count("building ...") < 3:  # pytest's time limit ends a failure
            time.sleep(0.01)


@pytest.mark.parametrize("as_library", [True, False])
def test_a_wait_is_silent_in_pipes_and_in_libraries(
    as_library: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Terminal() if as_library else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with nullcontext() if as_library else log_to_standard_error(), waiting("reading", 2) as advance:
        advance(1)
    assert stream.getvalue() == ""
