"""Where a run's settings come from.

Four places, later ones winning: a recipe (``configs/NAME.toml``, what is learnt how), a protocol
(``configs/protocols/NAME.toml``, the environment and how it is evaluated), the environment id, and the command line. A recipe
may say something of the environment too, such as a time feature; only a protocol that was asked for wins over that.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from atari_dqn.errors import UserError, nearest
from atari_dqn.games import GameSpec, resolve
from atari_dqn.reading import check_numbers, read_toml
from atari_dqn.settings import PROTOCOL_SECTIONS, RECIPE_SECTIONS, SECTIONS, Config
from atari_dqn.tasks import recipe_name

DEFAULT_RECIPE = "default"
DEFAULT_PROTOCOL = "tutorial"
VECTOR_PROTOCOL = "classic"
PICTURE_TORSOS = ("nature", "impala")


def read_config(path: Path) -> Config:
    """Reads the resolved settings that ``Config.to_toml`` wrote.

    Raises:
        UserError: the file is missing, is no TOML or holds something that is no setting.
    """
    return _validated(read_toml(path), str(path))


def load_config(
    game: str, recipe: str | None = None, protocol: str | None = None, overrides: Mapping[str, Any] | None = None
) -> tuple[Config, list[str]]:
    """Resolves the settings of a run.

    Args:
        game: environment id or bare game name.
        recipe: name of a shipped recipe, or a TOML file; None is the one named after the task, or else ``default``.
        protocol: name of a shipped protocol, or a TOML file; None is ``tutorial``, or ``classic`` for vectors, which give way
            to the recipe and the id.
        overrides: ``{"section.key": value}`` from the command line; they win over everything and are noted.

    Returns:
        The settings, and notes for the user on what won over what.

    Raises:
        UserError: something unknown or out of range, the named protocol contradicts the id, or the recipe does not suit it.
    """
    spec = resolve(game)
    recipe = recipe or default_recipe(spec)
    usual = VECTOR_PROTOCOL if spec.vectors else DEFAULT_PROTOCOL
    learnt = recipe_tables(recipe)
    played = _read(protocol or usual, "protocols", PROTOCOL_SECTIONS, "protocol")
    first, second = (learnt, played) if protocol else (played, learnt)
    tables = {section: first.get(section, {}) | second.get(section, {}) for section in {**first, **second}}
    environment = tables.setdefault("environment", {})
    fixed = {name: list(value) if isinstance(value, tuple) else value for name, value in spec.fixed().items()}
    against = [
        f"{name} {environment[name]} (the id: {value})"
        for name, value in fixed.items()
        if environment.get(name, value) != value
    ]
    if protocol is not None and against:
        raise UserError(
            f"protocol '{protocol}' contradicts '{spec.id}': it sets {', '.join(against)}; "
            "choose another protocol, or give the bare game name"
        )
    environment |= fixed
    notes = [f"{game} is {spec.id} today"] if spec.rom is None and game != spec.id else []
    for name, value in (overrides or {}).items():
        section, key = _split(name)
        if section == "environment" and key in fixed and fixed[key] != value:
            notes.append(f"--{name} {value} wins over {spec.id}, which means {fixed[key]}")
        tables.setdefault(section, {})[key] = value
    named = {"game": spec.id, "recipe": Path(recipe).stem, "protocol": Path(protocol or usual).stem}
    config = _validated(named | tables, "settings")
    _check_suits(config, spec)
    return config, notes


def default_recipe(spec: GameSpec) -> str:
    """The recipe that is named after a task, or else that for all games."""
    own = recipe_name(spec.id)
    return own if (config_directory() / f"{own}.toml").is_file() else DEFAULT_RECIPE


def recipe_tables(recipe: str) -> dict[str, Any]:
    """What the TOML file of a recipe says, by section.

    Raises:
        UserError: there is no such recipe, or it sets something that is not its own.
    """
    return _read(recipe, "", (*RECIPE_SECTIONS, *PROTOCOL_SECTIONS), "recipe")


def _check_suits(config: Config, spec: GameSpec) -> None:
    """Raises a UserError for settings that this game has no use for."""
    if spec.vectors and config.network.torso in PICTURE_TORSOS:
        recipes = {path.stem: read_toml(path) for path in config_directory().glob("*.toml")}
        named = sorted(name for name, tables in recipes.items() if tables["network"].get("torso") == "mlp")
        raise UserError(
            f"{spec.id} shows vectors, and torso '{config.network.torso}' of recipe '{config.recipe}' sees pictures: "
            f"choose a recipe for vectors with --config (make: CONFIG=), such as {', '.join(named)}"
        )
    if spec.vectors and config.agent.random_shift:
        raise UserError(f"agent.random_shift = {config.agent.random_shift} shifts pictures; {spec.id} shows vectors")
    for name in ("kwargs", "time_feature", "rescale"):
        if spec.rom and (value := getattr(config.environment, name)):
            raise UserError(f"environment.{name} = {value} is not for Atari games, as {spec.id} is")


def config_directory() -> Path:
    """Where the shipped recipes lie: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def parse_value(text: str) -> Any:
    """Reads a command-line value as TOML would, a bare word as a string.

    >>> parse_value("1e-4"), parse_value("true"), parse_value("adam")
    (0.0001, True, 'adam')
    """
    try:
        tables = tomllib.loads(f"value = {text}")
        check_numbers(tables)
    except (ValueError, RecursionError):
        return text
    return tables["value"]


def _read(name: str, folder: str, allowed: tuple[str, ...], kind: str) -> dict[str, Any]:
    directory = config_directory() / folder
    path = Path(name) if name.endswith(".toml") else directory / f"{name}.toml"
    if not os.path.lexists(path):
        known = sorted(file.stem for file in directory.glob("*.toml"))
        raise UserError(f"unknown {kind} '{name}': a TOML file, or one of {', '.join(known)}{nearest(name, known)}")
    tables = read_toml(path)
    for section, table in tables.items():
        if section not in allowed or not isinstance(table, dict):
            raise UserError(f"{path}: a {kind} has the tables {', '.join(allowed)}, not '{section}'{nearest(section, allowed)}")
        for key in table:
            _check_known(list(SECTIONS[section].model_fields), key, f"{path}: unknown setting '{section}.{key}'")
    return tables


def _check_known(known: list[str], key: str, complaint: str) -> None:
    if key not in known:
        raise UserError(f"{complaint}; allowed: {', '.join(known)}{nearest(key, known)}")


def _split(name: str) -> tuple[str, str]:
    section, _, key = name.partition(".")
    if section not in SECTIONS or key not in SECTIONS[section].model_fields:
        known = [f"{section}.{key}" for section, settings in SECTIONS.items() for key in settings.model_fields]
        raise UserError(f"unknown setting '{name}': 'atari-dqn config default' lists them{nearest(name, known)}")
    return section, key


def _validated(tables: dict[str, Any], where: str) -> Config:
    try:
        return Config.model_validate(_integers_as_floats(tables))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][:2])
        if first["type"] == "extra_forbidden":
            section = SECTIONS.get(str(first["loc"][0]), Config)
            _check_known(list(section.model_fields), str(first["loc"][-1]), f"{where}: unknown setting '{name}'")
        shown = "" if first["type"] == "value_error" else f" = {first['input']!r}"
        raise UserError(f"{where}: {name}{shown}: {first['msg'].removeprefix('Value error, ')}") from None


def _integers_as_floats(tables: dict[str, Any]) -> dict[str, Any]:
    """Strict validation refuses 1 where 1.0 is meant; a person does not."""
    result: dict[str, Any] = {}
    for section, table in tables.items():
        if section in SECTIONS and isinstance(table, dict):
            fields = SECTIONS[section].model_fields
            table = {key: _as_float(value) if _is_float(fields.get(key)) else value for key, value in table.items()}
        result[section] = table
    return result


def _is_float(field: FieldInfo | None) -> bool:
    return field is not None and field.annotation is float


def _as_float(value: Any) -> Any:
    """A whole number as a number with a point, if there is one; whatever else it is stays."""
    try:
        return float(value) if type(value) is int else value
    except OverflowError:
        return value
