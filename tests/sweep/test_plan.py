"""Tests plans, candidates, status and workers of a sweep, without Ray."""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from atari_dqn.config.resolve import load_config, read_recipe
from atari_dqn.errors import UserError
from atari_dqn.files.csv_files import last_row
from atari_dqn.games.ids import single_player_roms
from atari_dqn.sweep import runner
from atari_dqn.sweep.candidates import rungs, sample_candidates
from atari_dqn.sweep.plan import (
    Resources,
    Run,
    State,
    combinations,
    games_of,
    make_plan,
    make_runs,
    parse_choices,
    read_plan,
)
from atari_dqn.sweep.runner import Runner
from atari_dqn.sweep.status import Status, as_csv
from atari_dqn.sweep.worker import Outcome


def plan_of(**tables: Any) -> Any:
    return make_plan({"games": ["pong"]} | tables)


def names_of(groups: Sequence[Sequence[Run]]) -> list[str]:
    return [run.name for runs in groups for run in runs]


def test_groups_of_games_are_expanded_without_duplicates() -> None:
    assert games_of(["pong", "BreakoutDeterministic-v4", "Pong"]) == [
        "Pong",
        "BreakoutDeterministic-v4",
    ]
    assert len(games_of(["atari5"])) == 5
    assert len(games_of(["atari26"])) == 26
    assert len(games_of(["atari57"])) == 57
    assert len(games_of(["all"])) == len(single_player_roms())
    assert (
        set(games_of(["atari5", "atari26"])) <= set(games_of(["atari57"])) <= set(games_of(["all"]))
    )


def test_a_grid_has_a_run_for_every_combination(tmp_path: Path) -> None:
    plan = plan_of(
        seeds=2,
        configs=["default", "nature"],
        settings={"agent.n_step": [1, 3], "agent.double": [True]},
    )
    assert combinations(plan) == [
        {"agent.n_step": 1, "agent.double": True},
        {"agent.n_step": 3, "agent.double": True},
    ]
    groups = make_runs(plan, combinations(plan), tmp_path)
    assert names_of(groups) == [
        f"Pong/{recipe},n_step={n}-seed{seed}"
        for n in (1, 3)
        for recipe in ("default", "nature")
        for seed in (1, 2)
    ]
    assert all(
        run.total_steps == (1_000_000 if "default" in run.name else 50_000_000)
        for runs in groups
        for run in runs
    )


def test_the_panel_has_one_run_for_each_of_eight_games(tmp_path: Path) -> None:
    plan = make_plan(read_plan(Path("configs/sweeps/panel.toml")))
    runs = [run for runs in make_runs(plan, combinations(plan), tmp_path) for run in runs]
    games = "Pong Breakout SpaceInvaders Seaquest BeamRider Qbert MsPacman Asterix"
    assert [run.name for run in runs] == [
        f"{game}Deterministic-v4/default-seed1" for game in games.split()
    ]
    assert plan.total_steps == 500_000


def test_a_setting_common_to_all_runs_does_not_create_a_recipe(tmp_path: Path) -> None:
    plan = plan_of(settings={"agent.n_step": 5}, total_steps=1000)
    ((run,),) = make_runs(plan, combinations(plan), tmp_path)
    assert run.name == "Pong/default-seed1"
    assert (run.recipe, run.total_steps, run.overrides) == ("default", 1000, {"agent.n_step": 5})
    assert not (tmp_path / "recipes").exists()


def test_a_written_recipe_has_the_settings_of_its_runs(tmp_path: Path) -> None:
    plan = plan_of(
        configs=["rainbow"],
        settings={"optimizer.learning_rate": [1e-4, 2e-4], "environment.noop_max": [30]},
    )
    for (run,) in make_runs(plan, combinations(plan), tmp_path):
        config, _ = load_config(run.game, run.recipe, run.protocol, run.overrides)
        assert config.optimizer.learning_rate == run.overrides["optimizer.learning_rate"]
        assert config.environment.noop_max == 30
        again, _ = load_config(run.game, run.recipe)
        assert again.optimizer == config.optimizer
        assert again.network == load_config(run.game, "rainbow")[0].network
        assert again.recipe == f"rainbow,learning_rate={config.optimizer.learning_rate:g}"
        assert "environment" not in read_recipe(run.recipe).tables


def test_values_of_settings_become_valid_file_names(tmp_path: Path) -> None:
    plan = plan_of(settings={"network.torso": ["../../nature", "impala"]})
    with pytest.raises(UserError, match="torso"):
        make_runs(plan, combinations(plan), tmp_path)
    plan = plan_of(settings={"environment.frame_skip": [[2, 5], 4]})
    assert names_of(make_runs(plan, combinations(plan), tmp_path)) == [
        "Pong/default,frame_skip=_2_5_-seed1",
        "Pong/default,frame_skip=4-seed1",
    ]


@pytest.mark.parametrize(
    ("tables", "complaint"),
    [
        ({"games": []}, "games"),
        ({"seeds": 0}, "seeds"),
        ({"seeds": "three"}, "seeds"),
        ({"total_steps": 0}, "total_steps"),
        ({"setings": {}}, "did you mean 'settings'"),
        ({"settings": {"agent.gamma": {"low": 0.9, "high": 0.5}}}, "high above its low"),
        ({"settings": {"agent.gamma": {"low": 0.0, "high": 0.5, "log": True}}}, "above 0"),
        ({"search": 1}, "search"),
    ],
)
def test_an_invalid_plan_is_refused(tables: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        plan_of(**tables)


@pytest.mark.parametrize(
    "text", ["agent.n_step", "agent.n_step=", "=3", "a.b=1..x", "a.b=1..2:lin"]
)
def test_malformed_choices_are_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"--set"):
        parse_choices(text)


def test_choices_may_be_words_lists_and_ranges() -> None:
    assert parse_choices("optimizer.name=adam,rmsprop") == ("optimizer.name", ["adam", "rmsprop"])
    assert parse_choices("environment.frame-skip=[2, 5],4") == (
        "environment.frame_skip",
        [[2, 5], 4],
    )
    assert parse_choices("agent.n_step=1..10") == (
        "agent.n_step",
        {"low": 1, "high": 10, "log": False},
    )


def test_sampled_candidates_are_within_bounds_distinct_and_reproducible() -> None:
    ranges = {
        "optimizer.learning_rate": {"low": 1e-5, "high": 1e-3, "log": True},
        "agent.n_step": {"low": 1, "high": 10},
    }
    plan = plan_of(settings=ranges | {"agent.double": [True, False]}, search=50)
    found = sample_candidates(plan, 50)
    assert found == sample_candidates(plan, 50)
    assert len(found) == 50
    assert all(found.count(candidate) == 1 for candidate in found)
    rates = [candidate["optimizer.learning_rate"] for candidate in found]
    assert 1e-5 <= min(rates) < 1e-4 < max(rates) <= 1e-3, (
        "rates are sampled on a logarithmic scale"
    )
    assert {type(candidate["agent.n_step"]) for candidate in found} == {int}
    assert {candidate["agent.double"] for candidate in found} == {True, False}
    assert len(sample_candidates(plan_of(settings={"agent.n_step": [1, 3]}), 9)) == 2, (
        "only two candidates exist"
    )


def test_the_last_rung_has_all_steps() -> None:
    assert rungs(1000) == [111, 333, 1000]
    assert rungs(1) == [1, 1, 1]


def test_the_last_complete_row_of_a_log_is_read(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    assert last_row(path) == {}
    path.write_text("steps,score\n")
    assert last_row(path) == {}
    path.write_text("steps,score\n" + "".join(f"{n},{n / 2}\n" for n in range(3000)) + "3000,15")
    assert last_row(path) == {"steps": 2999, "score": 1499.5}


def test_a_run_without_files_is_listed_as_waiting(tmp_path: Path) -> None:
    ((run,),) = make_runs(plan_of(), [{}], tmp_path)
    status = Status(run)
    status.look()
    status.settle()
    assert as_csv([status]).splitlines()[1] == "Pong/default-seed1,waiting,0,1000000,,,,,,"


class FakeRay:
    """A stand-in for Ray whose first ``deaths`` workers die."""

    def __init__(self, deaths: int) -> None:
        self.deaths = deaths
        self.started = 0
        strategies = SimpleNamespace(PlacementGroupSchedulingStrategy=lambda group: group)
        self.util = SimpleNamespace(scheduling_strategies=strategies)
        ray_error = type("RayError", (Exception,), {})
        self.exceptions = SimpleNamespace(
            RayError=ray_error,
            TaskCancelledError=type("TaskCancelledError", (ray_error,), {}),
            RayTaskError=type("RayTaskError", (ray_error,), {}),
        )

    def remote(self, **resources: Any) -> Any:
        def start(*arguments: Any) -> int:
            self.started += 1
            return self.started

        return lambda function: SimpleNamespace(remote=start)

    def wait(
        self, references: list[int], num_returns: int, timeout: float
    ) -> tuple[list[int], list[int]]:
        return references, []

    def get(self, reference: int) -> Outcome:
        if reference <= self.deaths:
            raise self.exceptions.RayError("the machine is gone\nand so on")
        return Outcome(State.DONE)


@pytest.mark.parametrize(
    ("deaths", "makes_progress", "state"),
    [(2, False, "done"), (7, True, "done"), (3, False, State.FAILED)],
)
def test_a_run_gets_a_new_worker_until_three_die_without_progress(
    deaths: int, makes_progress: bool, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeRay(deaths)
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setattr(
        runner, "steps_saved", lambda run: 100 * fake.started if makes_progress else 0
    )
    ((run,),) = make_runs(plan_of(), [{}], tmp_path)
    runs = Runner(Resources(1, 0.0, 1))
    runs.submit(run)
    ended: list[tuple[Run, Outcome]] = []
    while len(runs):
        ended += runs.ended(0.0)
    assert [(run.name, outcome.state) for run, outcome in ended] == [("Pong/default-seed1", state)]
    assert runs.deaths(run) == deaths
    assert fake.started == deaths + (state == "done")
    if state == State.FAILED:
        assert (
            ended[0][1].why
            == "its worker died 3 times, the last 3 at one step: the machine is gone"
        )
