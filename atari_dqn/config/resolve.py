"""Where a run's settings come from.

Four places, later ones winning: a recipe (``configs/NAME.toml``, what is learnt how), a protocol
(``configs/protocols/NAME.toml``, the environment and how it is evaluated), the environment id, and
the command line. A recipe may say something of the environment too, such as a time feature; only a
protocol that was asked for wins over that.
"""

import math
import os
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import numpy as np
from pydantic import ValidationError

from atari_dqn.config.schema import PROTOCOL_SECTIONS, RECIPE_SECTIONS, SECTIONS, Config
from atari_dqn.errors import UserError, nearest, shorten
from atari_dqn.files.reading import check_numbers, read_toml
from atari_dqn.games import gymnasium_tasks
from atari_dqn.games.gymnasium_tasks import recipe_name
from atari_dqn.games.ids import GameSpec, identify, resolve

DEFAULT_RECIPE = "default"
DEFAULT_PROTOCOL = "tutorial"
VECTOR_PROTOCOL = "classic"
PICTURE_TORSOS = ("nature", "impala")
# Agent steps of an evaluation episode where the environment has no limit: a greedy policy may go
# round in circles for ever.
ENDLESS_CAP = 10_000


def read_config(path: str | Path) -> Config:
    """Reads the resolved settings that ``Config.to_toml`` wrote.

    Raises:
        UserError: the file is missing, is no TOML or holds something that is no setting.
    """
    return _validated(read_toml(Path(path)), str(path))


def load_config(
    game: str,
    recipe: str | Path | None = None,
    protocol: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    learns: bool = True,
) -> tuple[Config, list[str]]:
    """Resolves the settings of a run.

    Args:
        game: environment id or bare game name; an environment that is no Atari game is made once,
            with its arguments.
        recipe: name of a shipped recipe, or a TOML file; None is the one named after the task, or
            else ``default``.
        protocol: name of a shipped protocol, or a TOML file; None is ``tutorial``, or ``classic``
            for vectors, which give way to the recipe and the id.
        overrides: ``{"section.key": value}`` from the command line; they win over everything and
            are noted. Numbers and arrays of NumPy, tuples and paths will do.
        learns: whether a network will learn; without one, any recipe suits any environment.

    Returns:
        The settings, and notes for the user on what won over what.

    Raises:
        UserError: something unknown or out of range, the named protocol contradicts the id, or the
            recipe does not suit it.
    """
    overrides = {name: _plain(value) for name, value in (overrides or {}).items()}
    for name in overrides:
        _split(name)
    recipe = str(recipe or default_recipe(identify(game)))
    protocol = str(protocol) if protocol else None
    learnt = recipe_tables(recipe)
    asked = _protocol_tables(protocol) if protocol else {}
    kwargs = _kwargs(learnt, asked, overrides)
    spec = resolve(game, kwargs)
    usual = VECTOR_PROTOCOL if spec.vectors else DEFAULT_PROTOCOL
    first, second = (learnt, asked) if protocol else (_protocol_tables(usual), learnt)
    tables = {
        section: first.get(section, {}) | second.get(section, {}) for section in {**first, **second}
    }
    environment = tables.setdefault("environment", {})
    fixed = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in spec.fixed().items()
    }
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
    own_protocol = asked if protocol and protocol.endswith(".toml") else {}
    capped = any("frame_cap" in said.get("evaluation", {}) for said in (learnt, own_protocol))
    if spec.rom is None and gymnasium_tasks.kind(spec.id, kwargs).limit is None and not capped:
        tables.setdefault("evaluation", {})["frame_cap"] = ENDLESS_CAP
    for name, value in overrides.items():
        section, key = _split(name)
        if section == "environment" and key in fixed and fixed[key] != value:
            notes.append(f"--{name} {value} wins over {spec.id}, which means {fixed[key]}")
        tables.setdefault(section, {})[key] = value
    named = {"game": spec.id, "recipe": Path(recipe).stem, "protocol": Path(protocol or usual).stem}
    config = _validated(named | tables, "settings")
    if learns:
        _check_has_a_network(config, spec)
    _check_suits(config, spec)
    return config, notes


def _kwargs(
    learnt: Mapping[str, Any], asked: Mapping[str, Any], overrides: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments of an environment, before there is a Config to hold them."""
    found: dict[str, Any] = {}
    for tables in (learnt, asked):
        found = tables.get("environment", {}).get("kwargs", found)
    found = overrides.get("environment.kwargs", found)
    return _validated({"game": "", "environment": {"kwargs": found}}, "settings").environment.kwargs


def _plain(value: Any) -> Any:
    """A value as TOML could hold it: numbers and arrays of NumPy, tuples and paths converted."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value


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


def _check_has_a_network(config: Config, spec: GameSpec) -> None:
    """Raises a UserError where the network is not for what this game shows."""
    if spec.vectors and config.network.torso in PICTURE_TORSOS:
        recipes = {path.stem: read_toml(path) for path in config_directory().glob("*.toml")}
        named = sorted(
            name for name, tables in recipes.items() if tables["network"].get("torso") == "mlp"
        )
        raise UserError(
            f"{spec.id} shows vectors, and torso '{config.network.torso}' of recipe '{config.recipe}' sees pictures: "
            f"choose a recipe for vectors with --config (make: CONFIG=), such as {', '.join(named)}"
        )
    if spec.vectors and config.agent.random_shift:
        raise UserError(
            f"agent.random_shift = {config.agent.random_shift} shifts pictures; {spec.id} shows vectors"
        )


def _check_suits(config: Config, spec: GameSpec) -> None:
    """Raises a UserError for settings that this game has no use for."""
    for name in ("kwargs", "time_feature", "rescale"):
        if spec.rom and (value := getattr(config.environment, name)):
            raise UserError(
                f"environment.{name} = {shorten(str(value))} is not for Atari games, as {spec.id} is"
            )


def config_directory() -> Path:
    """Where the shipped recipes lie: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
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
    except (ValueError, RecursionError):  # no TOML, thousands of digits, or thousands of brackets
        return text
    return tables["value"] if len(tables) == 1 else text


def _protocol_tables(protocol: str) -> dict[str, Any]:
    return _read(protocol, "protocols", PROTOCOL_SECTIONS, "protocol")


def _read(name: str, folder: str, allowed: tuple[str, ...], kind: str) -> dict[str, Any]:
    directory = config_directory() / folder
    path = Path(name) if name.endswith(".toml") else directory / f"{name}.toml"
    if not os.path.lexists(path):
        known = sorted(file.stem for file in directory.glob("*.toml"))
        raise UserError(
            f"unknown {kind} '{name}': a TOML file, or one of {', '.join(known)}{nearest(name, known)}"
        )
    tables = read_toml(path)
    for section, table in tables.items():
        if section not in allowed or not isinstance(table, dict):
            raise UserError(
                f"{path}: a {kind} has the tables {', '.join(allowed)}, not '{section}'{nearest(section, allowed)}"
            )
        for key in table:
            _check_known(
                list(SECTIONS[section].model_fields),
                key,
                f"{path}: unknown setting '{section}.{key}'",
            )
    return tables


def _check_known(known: list[str], key: str, complaint: str) -> None:
    if key not in known:
        raise UserError(f"{complaint}; allowed: {', '.join(known)}{nearest(key, known)}")


def _split(name: str) -> tuple[str, str]:
    section, _, key = name.partition(".")
    if section not in SECTIONS or key not in SECTIONS[section].model_fields:
        known = [
            f"{section}.{key}"
            for section, settings in SECTIONS.items()
            for key in settings.model_fields
        ]
        raise UserError(
            f"unknown setting '{name}': 'atari-dqn config default' lists them{nearest(name, known)}"
        )
    return section, key


def wants_whole_numbers(name: str) -> bool:
    """Returns whether a setting, such as ``agent.n_step``, is one or several whole numbers."""
    section, _, key = name.partition(".")
    field = SECTIONS[section].model_fields.get(key) if section in SECTIONS else None
    return field is not None and _has_integers(field.annotation)


def _has_integers(annotation: Any) -> bool:
    return annotation is int or any(_has_integers(part) for part in get_args(annotation))


def _validated(tables: dict[str, Any], where: str) -> Config:
    try:
        return Config.model_validate(_numbers_as_meant(tables))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][:2])
        if first["type"] == "extra_forbidden":
            section = SECTIONS.get(str(first["loc"][0]), Config)
            _check_known(
                list(section.model_fields),
                str(first["loc"][-1]),
                f"{where}: unknown setting '{name}'",
            )
        given = first["input"] if first["type"] == "missing" else _given(tables, first["loc"])
        shown = "" if first["type"] == "value_error" else f" = {shorten(repr(given))}"
        raise UserError(
            f"{where}: {name}{shown}: {first['msg'].removeprefix('Value error, ')}"
        ) from None


def _given(tables: Any, location: Sequence[int | str]) -> Any:
    """Returns what was given at the place of an error, before numbers were converted."""
    value = tables
    for part in location:  # pydantic puts names of types between them, which lead nowhere
        with suppress(KeyError, IndexError, TypeError):
            value = value[part]
    return value


def _numbers_as_meant(tables: dict[str, Any]) -> dict[str, Any]:
    """Converts 1 to 1.0 and 1e6 to 1000000 where these are meant, which strict validation refuses."""
    result: dict[str, Any] = {}
    for section, table in tables.items():
        result[section] = table
        if section in SECTIONS and isinstance(table, dict):
            result[section] = {
                key: _number_as_meant(f"{section}.{key}", value) for key, value in table.items()
            }
    return result


def _number_as_meant(name: str, value: Any) -> Any:
    section, _, key = name.partition(".")
    field = SECTIONS[section].model_fields.get(key)
    if field is not None and field.annotation is float and type(value) is int:
        return _as_float(value)
    if wants_whole_numbers(name):
        return (
            [_as_integer(one) for one in value] if isinstance(value, list) else _as_integer(value)
        )
    return value


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:  # refused later, like infinity
        return math.inf if value > 0 else -math.inf


def _as_integer(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value
