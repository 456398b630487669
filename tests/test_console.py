"""Tests the messages on standard error, as the command line configures them."""

import io
import logging
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from atari_dqn import console
from atari_dqn.console import (
    STANDARD_ERROR,
    Line,
    keep_messages,
    log_to_standard_error,
    say,
    waiting,
    wrapped,
)
from tests.terminal import Screen, Terminal, run_in_terminal

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


def test_a_closed_standard_error_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(STANDARD_ERROR, "reader_gone", False)
    monkeypatch.setattr("sys.stderr", closed)
    with log_to_standard_error():
        PACKAGE.warning("lost")
    assert STANDARD_ERROR.reader_gone


def test_a_wait_is_shown_in_a_terminal_and_then_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with log_to_standard_error(), waiting("reading", total=4) as advance:
        advance(2)
        PACKAGE.info("a message")
        during = Screen(terminal.getvalue())
    assert during.seen[0].startswith("reading   0%")
    assert during.lines[0] == "a message"
    assert during.lines[1].startswith("reading  50%|███████████████               | 0:00")
    assert Screen(terminal.getvalue()).lines == ["a message", ""]


def test_the_newest_line_hides_older_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with log_to_standard_error():
        training = Line(lambda width: "x" * (width + 1))
        training.open()
        with waiting("evaluating"):
            say("a note")
            assert Screen(terminal.getvalue()).lines == ["a note", "evaluating ... 0:00"]
        say("another note")
        assert Screen(terminal.getvalue()).lines[1:] == ["another note", "x" * 79]
        training.close()
    assert Screen(terminal.getvalue()).lines == ["a note", "another note", ""]


def test_long_messages_are_broken_between_words_in_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sentence = " ".join(["word"] * 30)
    command = "  make " + " ".join(["A=1"] * 30)
    streams = (Terminal(), io.StringIO())
    for stream in streams:
        monkeypatch.setattr(sys, "stderr", stream)
        with log_to_standard_error():
            PACKAGE.info(f"{sentence}\n{command}")
    in_terminal, in_pipe = (stream.getvalue().splitlines() for stream in streams)
    assert in_pipe == [sentence, command]
    assert [len(line) for line in in_terminal] == [79, 71, len(command)]
    assert in_terminal[1].startswith("  word")
    assert in_terminal[2] == command


def test_a_long_path_in_a_result_is_indented_only_a_little() -> None:
    path = "videos/" + "x" * 60
    assert wrapped(f"recorded          {path} (best)", 80, " " * 18) == f"recorded\n  {path} (best)"
    assert wrapped("written           a/b " + "c " * 40, 80, " " * 18).splitlines()[1][:19] == (
        " " * 18 + "c"
    )


def test_a_wait_is_shown_while_descriptor_2_leads_elsewhere(tmp_path: Path) -> None:
    """As while TensorFlow is imported, whose own messages nobody should see."""
    program = (
        "import os\n"
        "from atari_dqn.console import log_to_standard_error, waiting\n"
        "from atari_dqn.backend.startup import _held_back\n"
        "with log_to_standard_error(), _held_back():\n"
        "    os.write(2, b'from TensorFlow')\n"
    )
    answer = run_in_terminal([sys.executable, "-c", program], tmp_path)
    assert answer.code == 0
    assert Screen(answer.screen).seen[0].startswith("loading TensorFlow ... 0:0")
    assert "from TensorFlow" not in answer.screen


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
