"""Tests how id, recipe, protocol and overrides become the settings of a run."""

import tomllib
from pathlib import Path

import pytest

from atari_dqn.config.resolve import config_directory, load_config, parse_value, read_config
from atari_dqn.config.schema import PROTOCOL_SECTIONS, RECIPE_SECTIONS, SECTIONS
from atari_dqn.errors import UserError

RECIPES = sorted(path.stem for path in config_directory().glob("*.toml"))
PROTOCOLS = sorted(path.stem for path in (config_directory() / "protocols").glob("*.toml"))
FAMILY = [
    "nature",
    "double",
    "dueling",
    "prioritized",
    "c51",
    "qrdqn",
    "iqn",
    "munchausen-iqn",
    "rainbow",
    "default",
    "long",
]
TASKS = ["cartpole", "lunarlander", "mountaincar", "mountaincar-boltzmann"]


def test_recipes_and_protocols_are_exactly_those_promised() -> None:
    assert sorted([*FAMILY, *TASKS, "breakout-tutorial"]) == RECIPES
    assert {"tutorial", "nature", "dopamine", "machado", "classic"} == set(PROTOCOLS)


@pytest.mark.parametrize("recipe", [*FAMILY, "breakout-tutorial"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_recipe_works_with_every_protocol(recipe: str, protocol: str) -> None:
    config, notes = load_config("breakout", recipe, protocol)
    assert (config.recipe, config.protocol, notes) == (recipe, protocol, [])


@pytest.mark.parametrize("recipe", TASKS)
def test_recipes_for_vectors_work_with_other_vector_tasks(recipe: str) -> None:
    config, notes = load_config("Acrobot-v1", recipe)
    assert (config.recipe, config.protocol, notes) == (recipe, "classic", [])


def test_environment_settings_of_a_recipe_yield_only_to_an_explicit_protocol(
    tmp_path: Path,
) -> None:
    (tmp_path / "mine.toml").write_text(
        "[environment]\nframe_cap = 4000\nnoop_max = 3", encoding="utf-8"
    )
    mine = str(tmp_path / "mine.toml")
    assert load_config("breakout", mine)[0].environment.frame_cap == 4000
    config, _ = load_config("breakout", mine, "dopamine")
    assert (config.environment.frame_cap, config.environment.noop_max) == (108_000, 0)
    assert load_config("BreakoutDeterministic-v4", mine)[0].environment.noop_max == 3


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_and_protocols_contain_only_their_own_sections(
    recipe: str,
) -> None:
    assert set(tomllib.loads((config_directory() / f"{recipe}.toml").read_text())) <= {
        "version",
        *RECIPE_SECTIONS,
        *PROTOCOL_SECTIONS,
    }
    for protocol in PROTOCOLS:
        text = (config_directory() / "protocols" / f"{protocol}.toml").read_text()
        assert set(tomllib.loads(text)) <= set(PROTOCOL_SECTIONS)


def test_the_nature_recipe_matches_the_table_in_the_paper() -> None:
    config, _ = load_config("breakout", "nature", "nature")
    assert (config.replay.capacity, config.agent.batch_size, config.environment.stack) == (
        1_000_000,
        32,
        4,
    )
    assert (
        config.agent.gamma,
        config.training.update_period,
        config.agent.target_period_updates,
    ) == (0.99, 4, 10_000)
    assert (config.optimizer.learning_rate, config.optimizer.decay, config.optimizer.name) == (
        0.00025,
        0.95,
        "rmsprop",
    )
    assert config.optimizer.epsilon == 0.01 / 32**2
    assert (config.exploration.epsilon_start, config.exploration.epsilon_end) == (1.0, 0.1)
    assert (config.exploration.decay_steps, config.training.warmup_steps) == (1_000_000, 50_000)
    assert (config.environment.frame_skip, config.environment.noop_max, config.agent.double) == (
        4,
        30,
        False,
    )
    assert (config.evaluation.episodes, config.evaluation.epsilon, config.evaluation.frame_cap) == (
        30,
        0.05,
        18_000,
    )


def test_every_setting_has_a_description_a_unit_and_a_source() -> None:
    for section, settings in SECTIONS.items():
        for key, field in settings.model_fields.items():
            assert field.description, f"{section}.{key}"
            assert isinstance(field.json_schema_extra, dict)
            assert set(field.json_schema_extra) == {"unit", "source"}


def test_an_id_sets_what_its_name_means_and_the_protocol_sets_the_rest() -> None:
    config, _ = load_config("ALE/Breakout-v5")
    assert config.environment.sticky_probability == 0.25
    assert config.environment.max_pool
    assert config.environment.fire_at_reset
    bare, _ = load_config("breakout", protocol="machado")
    assert (bare.environment.frame_skip, bare.environment.full_actions) == (5, True)
    random_skip, _ = load_config("Pong-v0")
    assert random_skip.environment.frame_skip == [2, 4]


def test_an_explicit_protocol_that_contradicts_the_id_is_an_error() -> None:
    contradiction = r"sticky_probability 0.25 \(the id: 0.0\)"
    with pytest.raises(
        UserError, match=f"'dopamine' contradicts 'BreakoutDeterministic-v4'.*{contradiction}"
    ):
        load_config("BreakoutDeterministic-v4", protocol="dopamine")
    config, _ = load_config("ALE/Breakout-v5", protocol="dopamine")
    assert not config.environment.life_loss_ends_future


def test_an_explicit_setting_wins_over_the_id_and_is_noted() -> None:
    config, notes = load_config(
        "BreakoutDeterministic-v4", overrides={"environment.sticky_probability": 0.25}
    )
    assert config.environment.sticky_probability == 0.25
    assert notes == [
        "--environment.sticky_probability 0.25 overrides BreakoutDeterministic-v4, which sets 0.0"
    ]


def test_resolved_settings_survive_writing_and_reading(tmp_path: Path) -> None:
    config, _ = load_config("Pong-v0", "nature", overrides={"agent.gamma": 1, "machine.seed": 7})
    file = tmp_path / "config.toml"
    file.write_text(config.to_toml())
    assert read_config(file) == config
    assert config.agent.gamma == 1.0


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"agent.gama": 0.9}, "unknown setting 'agent.gama'.*did you mean 'agent.gamma'"),
        ({"gamma": 0.9}, "unknown setting 'gamma'.*did you mean 'agent.gamma'"),
        ({"agent.gamma": 1.5}, "agent.gamma = 1.5: .*less than or equal to 1"),
        ({"agent.gamma": "high"}, "agent.gamma = 'high': .*number"),
        ({"agent.n_step": 2.5}, "agent.n_step = 2.5: .*integer"),
        ({"agent.double": 1}, "agent.double = 1: .*boolean"),
        (
            {"environment.frame_skip": [4, 2]},
            r"frame_skip = \[4, 2\]: a number of frames from 1 to 60",
        ),
        ({"environment.frame_skip": "often"}, "environment.frame_skip = 'often'"),
        ({"environment.height": 20}, "environment.height = 20: .*36"),
        ({"optimizer.name": "adm"}, "optimizer.name = 'adm': .*'adam' or 'rmsprop'"),
    ],
)
def test_an_invalid_setting_is_reported_with_the_allowed_values(
    overrides: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load_config("breakout", overrides=overrides)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[agent]\ngama = 1.0", "unknown setting 'agent.gama'.*did you mean 'gamma'"),
        ("[agnt]\ngamma = 1.0", "not 'agnt'; did you mean 'agent'"),
        ("[machine]\nseed = 2", "a recipe may have the tables .*not 'machine'"),
        ("[agent\n", "not valid TOML"),
    ],
)
def test_an_invalid_recipe_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(UserError, match=message):
        load_config("breakout", str(file))


def test_an_unknown_recipe_or_protocol_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match=r"unknown recipe 'natur'.*did you mean 'nature'"):
        load_config("breakout", "natur")
    with pytest.raises(UserError, match=r"unknown protocol 'dopmine'.*did you mean 'dopamine'"):
        load_config("breakout", protocol="dopmine")


@pytest.mark.parametrize(
    ("text", "value"),
    [("1_000", 1000), ("1e-4", 1e-4), ("true", True), ("[2, 4]", [2, 4]), ("adam", "adam")],
)
def test_command_line_values_are_parsed_as_toml(text: str, value: object) -> None:
    assert parse_value(text) == value
