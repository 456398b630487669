"""Tests that messages suggest commands in the form in which the user typed theirs."""

import os
import re
import shlex
from pathlib import Path

import pytest

from atari_dqn.cli import main
from atari_dqn.typed_commands import MAKE_VARIABLES, STARTED_BY, argument, command, option

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


def test_options_with_values() -> None:
    assert argument("games", "pong") == "--games pong"
    assert argument("live", True) == "--live"
    assert option("checkpoint") == "CKPT"
    assert command("config default") == "atari-dqn config default"


@pytest.mark.usefixtures("typed_directly", "started_by_make")
def test_make_variables_with_values() -> None:
    assert argument("games", "pong breakout") == "GAMES='pong breakout'"
    assert argument("live", True) == "LIVE=1"
    assert argument("agent.n_step", 3) == "ARGS='--agent.n_step 3'"
    assert option("checkpoint") == "CKPT="
    assert command("config default") == ".venv/bin/atari-dqn config default"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["eval", "x", "--episodes", "--no"],
            "argument EPISODES=: expected one argument ('make help' shows how it is used)",
        ),
        (
            ["eval", "x", "--episodes=a: --seed"],
            "argument EPISODES=: 'a: --seed' is not a whole number from 1 to 2147483647",
        ),
        (
            ["train"],
            "the following arguments are required: GAME= ('make help' shows how it is used)",
        ),
        (["export", "x"], "the following arguments are required: OUT="),
        (["eval", "x", "--bad"], "unknown argument '--bad' in ARGS="),
        (["config", "--agent.gama", "1"], "'.venv/bin/atari-dqn config default' lists them"),
        (["frames", "--game", "brekot", "--out", "a.png"], "'make games' lists all"),
        (["gallery", "--port", "3"], "PORT= needs LIVE=1, which serves the page"),
        (["sweep"], "a sweep needs games: GAMES=pong,breakout, or"),
    ],
)
@pytest.mark.usefixtures("typed_directly", "started_by_make")
def test_errors_name_what_can_be_typed_with_make(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert message in capsys.readouterr().err


def test_every_make_variable_exists_in_the_makefile() -> None:
    text = MAKEFILE.read_text(encoding="utf-8")
    taken = re.findall(r"^TAKES_[a-z-]+ := (.*)$", text, re.MULTILINE)
    assert set(MAKE_VARIABLES.values()) <= set(" ".join(taken).split())


def test_every_command_that_make_starts_is_told_so() -> None:
    text = MAKEFILE.read_text(encoding="utf-8")
    assert f"ATARI_DQN := {STARTED_BY}=make $(BIN)/atari-dqn" in text
    assert "@$(BIN)/atari-dqn" not in text
