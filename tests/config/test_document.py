"""Bounds of the settings, and the accepted notations for numbers."""

import math
import typing
from pathlib import Path
from typing import Any

import pytest
from annotated_types import Ge, Gt, Le, Lt, MaxLen
from pydantic.fields import FieldInfo

from atari_dqn.config.learning_schema import MOST_STEPS
from atari_dqn.config.resolve import config_directory, load_config, parse_value, read_config
from atari_dqn.config.schema import SECTIONS
from atari_dqn.errors import UserError
from atari_dqn.sweep.candidates import sample_candidates
from atari_dqn.sweep.plan import MOST, make_plan

ROOT = Path(__file__).parent.parent.parent
FIELDS = {
    f"{section}.{key}": field
    for section, settings in SECTIONS.items()
    for key, field in settings.model_fields.items()
}
# Settings whose bounds are in a validator, with the reason why the type cannot express them.
IN_A_VALIDATOR = {
    "environment.frame_skip": "a number or two in order, from 1 to 60",
    "environment.kwargs": "whatever an environment of Gymnasium takes; its numbers are finite",
}
NUMBERS = {
    name
    for name, field in FIELDS.items()
    if {int, float} & {*([field.annotation]), *typing.get_args(field.annotation)}
}
LISTS = {name for name, field in FIELDS.items() if typing.get_origin(field.annotation) is list}


def bounds(metadata: list[Any]) -> tuple[bool, bool]:
    """Returns whether there is a lower bound, and whether there is an upper bound."""
    return any(isinstance(one, Ge | Gt) for one in metadata), any(
        isinstance(one, Le | Lt) for one in metadata
    )


def test_the_lists_of_numeric_fields_and_of_lists_are_complete() -> None:
    assert {"agent.gamma", "training.total_steps", "environment.frame_skip"} <= NUMBERS
    assert {"network.nature_channels", "network.impala_channels", "network.mlp_layers"} == LISTS
    kinds = {bool, str, int, float, dict[str, Any], int | list[int]}
    others = {
        name
        for name, field in FIELDS.items()
        if typing.get_origin(field.annotation) not in (list, typing.Literal)
    }
    assert {name for name in others if FIELDS[name].annotation not in kinds} == set(), (
        "these tests do not cover this type"
    )


@pytest.mark.parametrize("name", sorted(NUMBERS - set(IN_A_VALIDATOR)))
def test_every_number_has_a_lower_and_an_upper_bound(name: str) -> None:
    assert bounds(FIELDS[name].metadata) == (True, True)


@pytest.mark.parametrize("name", sorted(LISTS))
def test_every_list_limits_its_length_and_its_numbers(name: str) -> None:
    field = FIELDS[name]
    assert any(isinstance(one, MaxLen) for one in field.metadata)
    (element,) = typing.get_args(field.annotation)
    info = [one for one in typing.get_args(element) if isinstance(one, FieldInfo)]
    assert bounds(info[0].metadata) == (True, True)


BEYOND = {
    "infinity": math.inf,
    "minus infinity": -math.inf,
    "nan": math.nan,
    "an integer beyond floats": 10**400,
    "minus such an integer": -(10**400),
    "a large float": 1e308,
}


@pytest.mark.parametrize("name", sorted(NUMBERS))
@pytest.mark.parametrize("value", BEYOND.values(), ids=BEYOND)
def test_infinite_nan_and_huge_numbers_are_refused(name: str, value: float) -> None:
    with pytest.raises(UserError, match="settings: " + name.replace(".", r"(\.|: )") + " = "):
        load_config("pong", overrides={name: value})


@pytest.mark.parametrize("name", sorted(LISTS))
@pytest.mark.parametrize("value", [[10**9] * 3, [64] * 101, [math.inf] * 3, [0] * 3])
def test_lists_that_are_too_long_or_have_bad_numbers_are_refused(
    name: str, value: list[float]
) -> None:
    with pytest.raises(UserError, match=rf"settings: {name} = "):
        load_config("pong", overrides={name: value})


@pytest.mark.parametrize(
    "value", [math.inf, math.nan, [1.0, -math.inf], {"a": [math.nan]}], ids=str
)
def test_keyword_arguments_that_are_not_finite_are_refused(value: object) -> None:
    with pytest.raises(UserError, match=r"kwargs.gravity = .*finite"):
        load_config("LunarLander-v3", overrides={"environment.kwargs": {"gravity": value}})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("training.total_steps", 10**12),
        ("replay.capacity", 10**9),
        ("agent.batch_size", 4096),
        ("agent.reward_clip", 1e6),
        ("agent.random_shift", 12),
        ("agent.target_period_updates", 10**9),
        ("environment.frame_cap", 2**31 - 1),
        ("evaluation.episodes", 100_000),
        ("exploration.decay_steps", 10**12),
        ("network.hidden_units", 16_384),
        ("network.mlp_layers", [4096] * 40),
        ("network.nature_channels", [1024, 2048, 2048]),
        ("optimizer.learning_rate", 10.0),
        ("optimizer.clip_norm", 1e6),
        ("recording.max_seconds", 36_000),
    ],
)
def test_large_but_sensible_values_are_accepted(name: str, value: Any) -> None:
    section, _, key = name.partition(".")
    assert getattr(getattr(load_config("pong", overrides={name: value})[0], section), key) == value


@pytest.mark.parametrize(
    "path",
    sorted(ROOT.glob("checkpoints/released/*/config.toml")),
    ids=lambda path: path.parent.name,
)
def test_settings_of_released_agents_are_readable(path: Path) -> None:
    assert read_config(path).game


@pytest.mark.parametrize(
    "path", sorted(config_directory().glob("*.toml")), ids=lambda path: path.stem
)
def test_every_recipe_file_is_readable_by_its_path(path: Path) -> None:
    vectors = path.stem in ("cartpole", "lunarlander", "mountaincar", "mountaincar-boltzmann")
    assert load_config("CartPole-v1" if vectors else "pong", str(path))[0].recipe == path.stem


WHOLE = sorted(name for name in NUMBERS if FIELDS[name].annotation is int)


@pytest.mark.parametrize("name", WHOLE)
def test_an_integer_may_be_written_as_a_float_but_a_fraction_is_refused(name: str) -> None:
    section, _, key = name.partition(".")
    usual = getattr(getattr(load_config("pong")[0], section), key)
    value = getattr(getattr(load_config("pong", overrides={name: float(usual)})[0], section), key)
    assert (value, type(value)) == (usual, int)
    with pytest.raises(
        UserError, match=rf"settings: {name} = {usual + 0.5}: Input should be a valid integer"
    ):
        load_config("pong", overrides={name: usual + 0.5})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e6", 1_000_000),
        ("1_000_000", 1_000_000),
        ("1.5e3", 1500),
        ("2000.0", 2000),
        ("1E+3", 1000),
    ],
)
def test_an_integer_may_be_written_in_several_notations(text: str, value: int) -> None:
    config, _ = load_config("pong", overrides={"training.total_steps": parse_value(text)})
    assert (config.training.total_steps, type(config.training.total_steps)) == (value, int)


def test_lists_and_files_also_accept_integers_written_as_floats(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        "[training]\ntotal_steps = 1e5\n[network]\ntorso = 'mlp'\nmlp_layers = [64.0, 1e2]\n",
        encoding="utf-8",
    )
    config, _ = load_config(
        "CartPole-v1", str(recipe), overrides={"environment.frame_skip": [1.0, 2.0]}
    )
    assert (config.training.total_steps, config.network.mlp_layers) == (100_000, [64, 100])
    assert config.environment.frame_skip == [1, 2]
    assert {
        type(number) for number in (*config.network.mlp_layers, *config.environment.frame_skip)
    } == {int}
    (tmp_path / "config.toml").write_text(
        'game = "pong"\n[agent]\nn_step = 3.0\n', encoding="utf-8"
    )
    assert read_config(tmp_path / "config.toml").agent.n_step == 3
    with pytest.raises(UserError, match=r"network.mlp_layers = 2.5: .*valid integer"):
        load_config("CartPole-v1", overrides={"network.mlp_layers": [2.5]})


def test_a_sweep_also_accepts_integers_written_as_floats() -> None:
    plan = make_plan(
        {"games": ["pong"], "seeds": 3.0, "total_steps": 1e6, "episodes": 10.0, "search": 4.0}
    )
    assert (plan.seeds, plan.total_steps, plan.episodes, plan.search) == (
        [1, 2, 3],
        1_000_000,
        10,
        4,
    )
    with pytest.raises(UserError, match=r"total_steps = 2.5"):
        make_plan({"games": ["pong"], "total_steps": 2.5})
    plan = make_plan(
        {
            "games": ["pong"],
            "search": 5,
            "settings": {"training.warmup_steps": {"low": 1e3, "high": 1e5}},
        }
    )
    assert {
        type(candidate["training.warmup_steps"]) for candidate in sample_candidates(plan, 5)
    } == {int}
    plan = make_plan(
        {"games": ["pong"], "search": 5, "settings": {"agent.gamma": {"low": 0.0, "high": 1.0}}}
    )
    assert {type(candidate["agent.gamma"]) for candidate in sample_candidates(plan, 5)} == {float}


@pytest.mark.parametrize(
    "tables",
    [
        {"seeds": MOST + 1},
        {"seeds": 10**12},
        {"seeds": [2**31]},
        {"seeds": [-1]},
        {"seeds": list(range(MOST + 1))},
        {"total_steps": MOST_STEPS + 1},
        {"total_steps": math.inf},
        {"episodes": 10**9},
        {"search": MOST + 1},
        {"settings": {"agent.gamma": {"low": 0.1, "high": math.inf}}},
        {"settings": {"agent.gamma": {"low": math.nan, "high": 1.0}}},
        {"settings": {"agent.n_step": {"low": 1, "high": 10**400}}},
    ],
    ids=lambda tables: str(tables)[:40],
)
def test_sweep_values_out_of_bounds_are_refused(tables: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"the sweep's {next(iter(tables))}"):
        make_plan({"games": ["pong"], **tables})
    assert make_plan({"games": ["pong"], "total_steps": 10**12}).total_steps == 10**12
