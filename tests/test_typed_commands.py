"""Tests that messages suggest commands in the form in which the user typed theirs."""

import os
import re
import shlex
from pathlib import Path

import pytest

from atari_dqn.typed_commands import MAKE_VARIABLES, STARTED_BY, command, option

MAKEFILE = Path(__file__).parents[1] / "Makefile"


@pytest.fixture
def started_by_make(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STARTED_BY, "make")


@pytest.fixture(autouse=True)
def typed_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(STARTED_BY, raising=False)


def test_a_command_of_the_command_line() -> None:
    assert (
        command("eval", checkpoint=Path("a b"), episodes=3) == "atari-dqn eval 'a b' --episodes 3"
    )
    assert option("total-steps") == "--total-steps"


@pytest.mark.usefixtures("typed_directly", "started_by_make")
def test_a_command_of_make() -> None:
    assert os.environ[STARTED_BY] == "make"
    text = command("record", checkpoint="it's $HOME", annotated=True, epsilon=0.1, scale=2)
    assert (
        text == """make record CKPT='it'"'"'s $HOME' ANNOTATED=1 ARGS='--epsilon 0.1 --scale 2'"""
    )
    assert shlex.split(text)[2] == "CKPT=it's $HOME"
    assert (option("total-steps"), option("epsilon")) == ("STEPS=", "--epsilon")


@pytest.mark.usefixtures("typed_directly", "started_by_make")
def test_whoever_declined_the_gpu_declines_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert command("train", game="pong") == "make train GPU=0 GAME=pong"
    assert command("gallery") == "make gallery"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert command("train", game="pong") == "make train GAME=pong"


def test_every_make_variable_exists_in_the_makefile() -> None:
    defined = set(re.findall(r"^(\w+) \?=", MAKEFILE.read_text(encoding="utf-8"), re.MULTILINE))
    assert set(MAKE_VARIABLES.values()) <= defined


def test_every_command_that_make_starts_is_told_so() -> None:
    text = MAKEFILE.read_text(encoding="utf-8")
    assert f"ATARI_DQN := {STARTED_BY}=make $(BIN)/atari-dqn" in text
    assert "@$(BIN)/atari-dqn" not in text
