"""Tests a released agent as its users receive it, without the run that trained it."""

import json
import shutil
from pathlib import Path

import pytest

from tests.acceptance.commands import GAME, run, run_in_process


@pytest.fixture(scope="module")
def released(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a working directory with a released agent but without the run that trained it."""
    user = shutil.copytree(trained, tmp_path_factory.mktemp("released") / "user")
    answer = run(
        "release",
        f"checkpoints/{GAME}/first",
        "--out",
        "checkpoints/released/small",
        "--episodes",
        "3",
        cwd=user,
    )
    (user / "said.txt").write_text(answer.stdout)
    shutil.rmtree(user / "checkpoints" / GAME)
    return user


def lines(text: str, names: tuple[str, ...]) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(names)]


def test_a_released_agent_reproduces_the_scores_on_its_card(released: Path) -> None:
    again = run("eval", "checkpoints/released/small", "--episodes", "3", cwd=released).stdout
    message = (released / "said.txt").read_text()
    card = (released / "checkpoints/released/small/README.md").read_text()
    names = ("game", "protocol", "evaluation", "score", "length")
    assert lines(again, names) == lines(message, names) == lines(card, names)
    assert len(lines(card, names)) == len(names)
    variables = f"GAME={GAME} CONFIG=default STEPS=960 SEED=1"
    assert f"make train {variables} ARGS='--training.environments 8 " in card


def test_a_release_has_all_documented_files_and_is_small(released: Path) -> None:
    directory = released / "checkpoints" / "released" / "small"
    (evaluation,) = directory.glob("*_evaluation_*.json")
    step = "step-000000960"
    inside = {"README.md", "config.toml", "episodes.csv", "metrics.csv", evaluation.name, step}
    assert {path.name for path in directory.iterdir()} == inside
    assert {path.name for path in (directory / step).iterdir()} == {
        "arrays.npz",
        "config.toml",
        "manifest.json",
    }
    assert json.loads(evaluation.read_text())["statistics"]["episodes"] == 3
    assert sum(path.stat().st_size for path in directory.rglob("*")) < 2_000_000
    assert (released / "videos" / "released" / "small.gif").read_bytes()[:6] == b"GIF89a"
    assert (
        json.loads((released / "videos" / "released" / "small.json").read_text())["rank"]
        == "median"
    )


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            ["release", "checkpoints/released/small", "--out", "checkpoints/released/small"],
            "choose another name",
        ),
        (["release", "checkpoints/released/small", "--out", "other"], "lacks run.json"),
        (
            ["train", "--game", GAME, "--run-dir", "checkpoints/released/small"],
            "no training state to continue from",
        ),
        (["digest", "checkpoints/released/small"], "no training state to continue from"),
    ],
)
def test_unsupported_uses_of_a_released_agent_are_one_line_errors(
    released: Path, command: list[str], message: str
) -> None:
    before = {
        path: path.stat().st_mtime_ns
        for path in (released / "checkpoints").rglob("*.*")
        if path.name != "run.lock"
    }
    answer = run_in_process(*command, cwd=released, expect=2)
    assert answer.stderr.startswith("error: ")
    assert answer.stderr.count("\n") == 1
    assert message in answer.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_run_can_start_from_the_weights_of_a_released_agent(released: Path) -> None:
    small = [
        "--network.hidden_units",
        "32",
        "--training.evaluation_period",
        "0",
        "--total-steps",
        "160",
    ]
    answer = run(
        "train",
        "--game",
        GAME,
        "--run-dir",
        "next",
        "--init-from",
        "checkpoints/released/small",
        *small,
        cwd=released,
    )
    assert "weights from checkpoints/released/small/step-000000960" in answer.stderr
