"""Tests the lock of a run directory."""

import os
from pathlib import Path

import pytest

from atari_dqn.errors import UserError
from atari_dqn.runs.lock import held


def test_a_locked_directory_is_refused_to_others_until_it_is_released(tmp_path: Path) -> None:
    run = tmp_path / "game" / "run"
    for _ in range(2):
        with held(run):
            (run / "something").touch()
            with pytest.raises(UserError, match=f"in use by process {os.getpid()}"), held(run):
                pass
    assert (run / "something").exists()


def test_a_locked_directory_that_stays_empty_is_removed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), held(tmp_path / "game" / "run"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
