"""Tests the plans of runs that take a given time, with speeds that are not measured."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atari_dqn.config.resolve import load_config
from atari_dqn.config.schema import Config
from atari_dqn.errors import UserError
from atari_dqn.training.run_time import Speeds, evaluation_seconds, run_seconds
from atari_dqn.workflows.settings import SettingsRequest
from atari_dqn.workflows.time_budget import (
    TARGET_SHARE,
    Planner,
    in_words,
    measuring_seconds,
    plan_continuation,
    settings_for,
    with_settings,
)

SPEEDS = Speeds(
    start=10.0,
    acting=1_500.0,
    learning=500.0,
    evaluation_start=0.5,
    evaluation_step=0.002,
    recording_start=0.5,
    recording_step=0.003,
    checkpoint=0.5,
    checkpoint_step=0.00005,
)


class Machine:
    """A machine on which each recipe has a given speed.

    Attributes:
        measured: names of the recipes that were measured, in this order.
    """

    def __init__(self, **learning: float) -> None:
        self.learning = learning
        self.measured: list[str] = []

    def measure(self, config: Config, seconds: float) -> Speeds:
        self.measured.append(config.recipe)
        return replace(SPEEDS, learning=self.learning[config.recipe])


def planner(machine: Machine, game: str = "breakout", **request: object) -> Planner:
    settings = SettingsRequest(game, **request)  # type: ignore[arg-type]
    return Planner(settings, 5.0, machine.measure)


def test_a_short_time_gets_the_default_recipe_and_only_that_is_measured() -> None:
    machine = Machine(default=500)
    plan = planner(machine).plan(1)
    assert plan.config.recipe == "default"
    assert 1_500_000 < plan.config.training.total_steps < 1_800_000
    assert machine.measured == ["default"]


@pytest.mark.parametrize(
    ("long", "recipe"), [(250, "long"), (80, "default")], ids=["fits", "does not fit"]
)
def test_a_night_gets_the_long_recipe_if_its_steps_fit(long: float, recipe: str) -> None:
    machine = Machine(default=500, long=long)
    plan = planner(machine).plan(8)
    assert plan.config.recipe == recipe
    assert plan.config.training.total_steps >= 2_500_000
    assert machine.measured == ["default", "long"]


def test_a_recipe_is_measured_once_for_several_plans() -> None:
    machine = Machine(default=500, long=250)
    shared = planner(machine)
    recipes = [shared.plan(hours).config.recipe for hours in (0.5, 1, 8, 9)]
    assert recipes == ["default", "default", "long", "long"]
    assert machine.measured == ["default", "long"]


def test_the_recipe_of_a_task_and_a_named_recipe_stay() -> None:
    assert planner(Machine(cartpole=900), "CartPole-v1").plan(100).config.recipe == "cartpole"
    plan = planner(Machine(nature=900), recipe="nature").plan(8)
    assert plan.config.recipe == "nature"
    own = SettingsRequest("breakout", "nature").resolve().config
    changed = with_settings(own, {"training.total_steps": plan.config.training.total_steps})
    assert plan.config.training == changed.training
    assert (plan.config.optimizer, plan.config.exploration) == (own.optimizer, own.exploration)


def test_the_planned_settings_are_those_that_the_request_resolves_to() -> None:
    plan = planner(Machine(default=100), overrides={"replay.capacity": 5_000}).plan(0.3)
    resolved = plan.settings.resolve().config
    machine = resolved.machine
    assert plan.config.model_copy(update={"machine": machine}) == resolved


@given(hours=st.floats(0.05, 100), learning=st.floats(20, 5_000))
def test_the_estimated_time_is_the_requested_time(hours: float, learning: float) -> None:
    plan = planner(Machine(default=learning, long=learning / 2)).plan(hours)
    seconds = run_seconds(plan.config, plan.speeds)
    budget = hours * 3_600 * TARGET_SHARE
    assert seconds <= budget
    assert seconds > 0.85 * budget
    total = plan.config.training.total_steps
    assert len(str(total).rstrip("0")) <= 3


@given(hours=st.floats(0.05, 100), learning=st.floats(20, 5_000))
def test_more_time_never_gives_fewer_steps_of_the_same_recipe(
    hours: float, learning: float
) -> None:
    shared = planner(Machine(default=learning, long=1.0))
    steps = [shared.plan(hours * factor).steps for factor in (1, 1.5, 3)]
    assert steps == sorted(steps)


@given(steps=st.integers(1_000, 10**7), learning=st.floats(10, 5_000))
def test_chosen_settings_suit_the_length(steps: int, learning: float) -> None:
    config = SettingsRequest("breakout").resolve().config
    speeds = replace(SPEEDS, learning=learning)
    chosen = with_settings(config, settings_for(config, speeds, steps, kept=()))
    training = chosen.training
    assert training.total_steps == steps
    assert training.warmup_steps <= min(10_000, steps / 10)
    assert chosen.exploration.decay_steps <= min(60_000, steps / 5)
    assert chosen.optimizer.decay_updates * 8 <= max(0.72 * steps, 8) or steps >= 1_000_000
    assert training.evaluation_period == training.checkpoint_period
    periodic = evaluation_seconds(chosen, speeds) + speeds.checkpoint
    assert periodic * learning / training.evaluation_period <= 0.1001


def test_a_long_run_keeps_the_settings_of_its_recipe() -> None:
    config = SettingsRequest("breakout").resolve().config
    assert settings_for(config, SPEEDS, 3_000_000, kept=()) == {"training.total_steps": 3_000_000}


def test_requested_settings_win() -> None:
    wanted = {"optimizer.decay_updates": 7, "training.evaluation_period": 0}
    plan = planner(Machine(default=50), overrides=wanted).plan(0.2)
    assert plan.config.optimizer.decay_updates == 7
    assert plan.config.training.evaluation_period == 0
    assert plan.config.training.warmup_steps < 10_000, "the others are chosen"


def test_a_time_that_is_too_short_names_one_that_is_not() -> None:
    machine = Machine(default=10)
    with pytest.raises(UserError, match=r"--hours 0.001 is too short: 1,000 .* (0\.\d+) hours"):
        planner(machine).plan(0.001)
    try:
        planner(machine).plan(0.001)
    except UserError as error:
        needed = float(str(error).split("about ")[1].split(" hours")[0])
    assert planner(machine).plan(needed).steps >= 1_000


def test_actors_are_refused() -> None:
    with pytest.raises(UserError, match="--hours does not apply to a run with actors"):
        planner(Machine(), overrides={"machine.actors": 2})


def test_a_run_goes_on_for_some_hours() -> None:
    machine = Machine(default=100)
    config = SettingsRequest("breakout").resolve().config
    plan = plan_continuation(config, 400_000, 1, machine.measure)
    added = plan.config.training.total_steps - 400_000
    assert plan.steps == added
    assert 300_000 < added < 342_000
    expected = with_settings(config, {"training.total_steps": 400_000 + added})
    assert plan.config == expected
    assert "more agent steps: 1 hour at 100 steps/s measured" in plan.describe()


def test_the_line_and_the_notes() -> None:
    plan = planner(Machine(default=74)).plan(1)
    steps = f"{plan.steps:,}"
    recipe = load_config("breakout")[0].versioned_recipe
    expected = f"{recipe}, {steps} agent steps: 1 hour at 74 steps/s measured on this machine"
    assert plan.describe() == expected
    assert plan.notes() == []
    longer = planner(Machine(cartpole=1_000), "CartPole-v1").plan(1)
    (note,) = longer.notes()
    assert note.startswith("cartpole@3 was tried for up to 100,000 agent steps; this run makes 2,")


def test_what_is_recorded_is_plain() -> None:
    record = planner(Machine(default=74.123456)).plan(1).record()
    assert record["hours"] == 1
    assert record["speeds"]["learning"] == 74.12


def test_the_measurement_takes_a_small_share_of_the_time() -> None:
    assert [measuring_seconds(hours) for hours in (0.01, 0.1, 1, 100)] == [3, 7.2, 30, 30]
    assert in_words(0.1) == "6 minutes"
