"""Messages on standard error, as the command line sets them up."""

import io
import logging
import subprocess
import sys

import pytest
from tqdm import tqdm

from atari_dqn.console import STANDARD_ERROR, keep_messages, log_to_standard_error

PACKAGE = logging.getLogger("atari_dqn")


def test_information_is_printed_as_it_is_and_other_messages_on_one_line(
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


def test_a_traceback_is_printed_as_python_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    with log_to_standard_error():
        try:
            raise ValueError("no such disk")
        except ValueError:
            PACKAGE.exception("the run failed")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "ValueError: no such disk"


def test_messages_are_printed_whatever_else_configures_logging(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logger = logging.getLogger("atari_dqn.training")
    with log_to_standard_error():
        logger.disabled = True  # as ``logging.config.dictConfig`` does to all that it does not name
        logger.info("lost")
        keep_messages()
        logger.info("printed")
    assert capsys.readouterr().err == "printed\n"


def test_from_python_it_is_not_undone_that_messages_are_switched_off(
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


def test_messages_do_not_decide_how_others_start_processes() -> None:
    program = (
        "import multiprocessing\n"
        "from atari_dqn.console import log_to_standard_error\n"
        "import logging\n"
        "with log_to_standard_error():\n"
        "    logging.getLogger('atari_dqn').info('a message')\n"
        "multiprocessing.set_start_method('spawn')\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_contexts_within_each_other_print_once_and_leave_nothing_behind(
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


def test_nobody_who_reads_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(STANDARD_ERROR, "reader_gone", False)
    monkeypatch.setattr("sys.stderr", closed)
    with log_to_standard_error():
        PACKAGE.warning("lost")
    assert STANDARD_ERROR.reader_gone
