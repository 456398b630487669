"""Tests ``train --hours`` and ``plan``: with given speeds, and once with measured ones."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from atari_dqn.config.resolve import load_config, read_config
from atari_dqn.config.schema import Config
from atari_dqn.games.measured_scores import measured_score
from atari_dqn.runs import checkpoint
from atari_dqn.runs.continuation import for_this_machine
from atari_dqn.training.loop import Training
from atari_dqn.training.run_time import Speeds
from atari_dqn.training.speed_measurement import measure_speeds
from atari_dqn.typed_commands import STARTED_BY
from atari_dqn.workflows import time_budget
from tests.acceptance.commands import run_in_process
from tests.workflows.test_time_budget import SPEEDS

TASK = "CartPole-v1"
# A single update in a call of the graph, which is quick to build.
SMALL = ("--training.evaluation_period", "0", "--training.update_period", "8")
TRAIN = ("train", "--game", TASK, *SMALL)


@pytest.fixture
def measured() -> Iterator[list[str]]:
    """Gives every recipe a speed: 0.01 hours are about 1,500 agent steps of CartPole.

    It yields the names of the recipes that were measured.
    """
    recipes: list[str] = []

    def measure(config: Config, seconds: float) -> Speeds:
        recipes.append(config.recipe)
        return replace(SPEEDS, learning=70.0 if config.recipe == "cartpole" else 140.0)

    with mock.patch.object(time_budget, "measure_here", measure):
        yield recipes


class Killed(BaseException):
    """Ends a process at once, without saving anything."""


def digest(run: str, cwd: Path) -> str:
    return run_in_process("digest", f"checkpoints/{TASK}/{run}", cwd=cwd).stdout


def start(run: str, cwd: Path) -> dict[str, Any]:
    """Returns the newest start in ``run.json``."""
    text = (cwd / "checkpoints" / TASK / run / "run.json").read_text(encoding="utf-8")
    newest: dict[str, Any] = json.loads(text)["starts"][-1]
    return newest


def test_a_run_of_some_hours_stores_its_plan_and_can_be_killed_and_extended(
    tmp_path: Path, measured: list[str]
) -> None:
    config, _ = load_config(TASK, overrides={"training.evaluation_episodes": 2})
    speeds = measure_speeds(for_this_machine(config), 0.2)  # changes no number of the runs below
    assert all(value >= 0 for value in asdict(speeds).values())
    assert min(speeds.acting, speeds.learning, speeds.evaluation_step, speeds.start) > 0
    assert speeds.recording_start + speeds.recording_step > 0

    planned = run_in_process(*TRAIN, "--hours", "0.01", "--run-dir", "planned", cwd=tmp_path)
    config = read_config(tmp_path / "checkpoints" / TASK / "planned" / "config.toml")
    total = config.training.total_steps
    assert 1_200 < total < 1_900
    line = f"plan: cartpole@3, {total:,} agent steps: 0.6 minutes at 70 steps/s measured"
    assert line in planned.stderr
    assert config.optimizer.decay_updates == total
    assert config.training.checkpoint_period < total / 3
    assert start("planned", tmp_path)["plan"]["hours"] == 0.01
    assert start("planned", tmp_path)["plan"]["speeds"]["learning"] == 70

    # The same settings without a plan, killed halfway and continued without naming them again.
    chosen = {
        "training.total_steps": total,
        "training.warmup_steps": config.training.warmup_steps,
        "training.checkpoint_period": config.training.checkpoint_period,
        "exploration.decay_steps": config.exploration.decay_steps,
        "optimizer.decay_updates": config.optimizer.decay_updates,
    }
    words = [word for name, value in chosen.items() for word in (f"--{name}", str(value))]
    step = Training.step

    def step_until_killed(training: Training, observation: Any) -> Any:
        if training.steps > total // 2:
            raise Killed
        return step(training, observation)

    with mock.patch.object(Training, "step", step_until_killed), pytest.raises(Killed):
        run_in_process(*TRAIN, *words, "--run-dir", "killed", cwd=tmp_path)
    saved = checkpoint.in_run(tmp_path / "checkpoints" / TASK / "killed")
    assert 0 < checkpoint.step_of(saved[-1]) < total
    continued = run_in_process(*TRAIN, "--run-dir", "killed", cwd=tmp_path)
    assert continued.stdout.startswith("complete: ")
    assert digest("killed", tmp_path) == digest("planned", tmp_path)
    assert "plan" not in start("killed", tmp_path)

    more = run_in_process(*TRAIN, "--hours", "0.01", "--run-dir", "planned", cwd=tmp_path)
    assert "more agent steps: 0.6 minutes at 70 steps/s" in more.stderr
    extended = read_config(tmp_path / "checkpoints" / TASK / "planned" / "config.toml")
    assert extended.training.total_steps > total + 1_200
    assert extended.optimizer == config.optimizer
    assert measured == ["cartpole", "cartpole"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--hours", "0"), "'0' is not a number of hours above 0 and up to 10000"),
        (("--hours", "-1"), "'-1' is not a number of hours"),
        (("--hours", "x"), "'x' is not a number of hours"),
        (("--hours", "inf"), "'inf' is not a number of hours"),
        (("--hours", "1", "--total-steps", "9"), "--hours and --total-steps both set the length"),
        (("--hours", "1", "--training.total_steps", "9"), "both set the length of the run"),
        (("--hours", "1", "--actors", "2"), "--hours does not apply to a run with actors"),
        (("--hours", "1", "--init-from", "no"), "no"),
        (("--hours", "1", "--run-dir", "last"), "there is no run in"),
        (("--hours", "0.001"), "--hours 0.001 is too short: 1,000 agent steps take about 0.0"),
    ],
)
def test_a_contradiction_is_refused_and_nothing_is_written(
    tmp_path: Path, measured: list[str], words: tuple[str, ...], message: str
) -> None:
    answer = run_in_process(*TRAIN, *words, cwd=tmp_path, expect=2)
    assert message in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_messages_name_variables_of_make(
    tmp_path: Path, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STARTED_BY, "make")
    answer = run_in_process(*TRAIN, "--hours", "1", "--total-steps", "9", cwd=tmp_path, expect=2)
    assert "HOURS= and STEPS= both set the length of the run" in answer.stderr
    answer = run_in_process("plan", "--game", "pong", cwd=tmp_path)
    assert answer.stdout.endswith("To start one: make train GAME=pong HOURS=8\n")


def test_a_plan_is_a_table_that_fits_into_80_columns(tmp_path: Path, measured: list[str]) -> None:
    answer = run_in_process("plan", "--game", "breakout", cwd=tmp_path)
    lines = answer.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split()[:4] == ["time", "recipe", "agent", "steps"]
    assert lines[0].endswith(" frames  score of this project's runs")
    assert [line[:10].strip() for line in lines[1:4]] == ["30 minutes", "1 hour", "8 hours"]
    hour = lines[2].split()
    recipe = load_config("breakout")[0].versioned_recipe
    assert hour[2] == recipe
    steps, frames = (int(word.replace(",", "")) for word in hour[3:5])
    score = measured_score(recipe, "breakout", steps)
    assert score is not None
    assert (frames, hour[5:]) == (4 * steps, ["about", f"{score[0]:.1f}", f"({score[1]})"])
    assert lines[3].split()[2] == "long@1"
    assert f"Measured now on this machine: {recipe} 140 steps/s, long@1 140 steps/s." in lines
    assert "Random play scores 1.7, a human 30.5." in lines
    assert lines[-1] == "To start one: atari-dqn train --game breakout --hours 8"
    assert measured == ["default", "long"]
    assert list(tmp_path.iterdir()) == [], "a plan writes nothing"


def test_a_plan_of_one_time_and_of_a_task_without_scores(
    tmp_path: Path, measured: list[str]
) -> None:
    answer = run_in_process(
        "plan", "--game", "Acrobot-v1", "--config", "mountaincar", "--hours", "2", cwd=tmp_path
    )
    row = answer.stdout.splitlines()[1]
    assert row.startswith("2 hours  mountaincar@2 ")
    assert row.endswith("not measured")
    assert "mountaincar@2 was tried for up to 200,000 agent steps" in answer.stderr


def test_an_unknown_game_is_the_usual_error(tmp_path: Path) -> None:
    answer = run_in_process("plan", "--game", "brekout", cwd=tmp_path, expect=2)
    assert "unknown game 'brekout'" in answer.stderr
