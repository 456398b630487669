"""Resolves the settings of a run from four sources.

Later sources override earlier ones:

1. a recipe (``configs/NAME.toml``): the algorithm, the network and the optimizer;
2. a protocol (``configs/protocols/NAME.toml``): the environment and its evaluation;
3. the environment id;
4. the command line.

A recipe may also set properties of the environment, such as a time feature. These override the
default protocol, but not a protocol that the user names.
"""

import math
import os
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
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
from atari_dqn.typed_commands import argument, command, option

DEFAULT_RECIPE = "default"
DEFAULT_PROTOCOL = "tutorial"
VECTOR_PROTOCOL = "classic"
PICTURE_TORSOS = ("nature", "impala")
# Number of agent steps after which evaluation episodes are truncated if the environment has no time
# limit. Without it, a greedy policy could loop forever.
ENDLESS_CAP = 10_000

# The values of settings by section and key, as in a TOML file.
Tables = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Source:
    """The contents of a recipe or a protocol.

    Attributes:
        name: name of a shipped recipe or protocol, or the path of a TOML file.
        tables: its settings.
        version: version of a recipe, or None if it has no version.
    """

    name: str
    tables: Tables
    version: int | None = None

    @property
    def stem(self) -> str:
        """The name without directory and suffix."""
        return Path(self.name).stem


@dataclass(frozen=True)
class Sources:
    """The sources of a run's settings, before they are merged.

    Attributes:
        spec: the game that the environment id means.
        kwargs: keyword arguments of the environment.
        recipe: the recipe.
        protocol: the protocol.
        protocol_is_requested: whether the user named the protocol, which then overrides the recipe.
        overrides: settings from the command line, by ``section.key``.
    """

    spec: GameSpec
    kwargs: dict[str, Any]
    recipe: Source
    protocol: Source
    protocol_is_requested: bool
    overrides: dict[str, Any]


def read_config(path: str | Path) -> Config:
    """Returns the resolved settings in a file that ``Config.to_toml`` wrote.

    Raises:
        UserError: the file is missing, is not TOML, or holds an unknown or invalid setting.
    """
    return _validated(read_toml(Path(path)), str(path))


def load_config(
    game: str,
    recipe: str | Path | None = None,
    protocol: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    learns: bool = True,
) -> tuple[Config, list[str]]:
    """Returns the resolved settings of a run, and notes about them.

    Args:
        game: environment id or bare game name. An environment that is not an Atari game is created
            once, to inspect its observations.
        recipe: name of a shipped recipe, or path of a TOML file. None selects the recipe named
            after the task, or else ``default``.
        protocol: name of a shipped protocol, or path of a TOML file. None selects ``tutorial``, or
            ``classic`` for vectors; the recipe and the id override these.
        overrides: ``{"section.key": value}`` from the command line, which override everything else.
            NumPy numbers and arrays, tuples and paths are accepted.
        learns: whether a network will be trained. Without one, any recipe fits any environment.

    Returns:
        The settings, and notes for the user, for example about settings that override the id.

    Raises:
        UserError: a name is unknown, a value is out of range, the named protocol contradicts the
            id, or the recipe does not fit the environment.
    """
    sources = _read_sources(game, recipe, protocol, overrides or {})
    tables = _merged_files(sources)
    _set_what_the_id_decides(tables, sources)
    _cap_endless_evaluations(tables, sources)
    _set_overrides(tables, sources)
    names: dict[str, Any] = {
        "game": sources.spec.id,
        "recipe": sources.recipe.stem,
        "protocol": sources.protocol.stem,
    }
    if sources.recipe.version is not None:
        names["recipe_version"] = sources.recipe.version
    config = _validated({**names, **tables}, "settings")
    if learns:
        _check_has_a_network(config, sources.spec)
    _check_suits(config, sources.spec)
    return config, _notes(game, sources)


def settings_by_name(
    config: Config, overrides: Mapping[str, Any] | None = None
) -> tuple[Config, str | None]:
    """Returns what a run's game, recipe and protocol give without further settings.

    The usual protocol of a game is not requested again, because an id such as ``ALE/Pong-v5`` may
    contradict it.

    Args:
        config: settings of the run.
        overrides: as for ``load_config``.

    Returns:
        The settings, and the protocol's name if it has to be requested.

    Raises:
        UserError: the recipe or the protocol is not one of this package's own.
    """
    usual, _ = load_config(config.game, config.recipe, None, overrides)
    if usual.protocol == config.protocol:
        return usual, None
    requested, _ = load_config(config.game, config.recipe, config.protocol, overrides)
    return requested, config.protocol


def _read_sources(
    game: str,
    recipe: str | Path | None,
    protocol: str | Path | None,
    overrides: Mapping[str, Any],
) -> Sources:
    """Reads the recipe and the protocol, and resolves the environment id."""
    plain_overrides = {name: _plain(value) for name, value in overrides.items()}
    for name in plain_overrides:
        _section_and_key(name)
    learning = read_recipe(str(recipe or default_recipe(identify(game))))
    requested = Source(str(protocol), _protocol_tables(str(protocol))) if protocol else None
    kwargs = _kwargs(learning, requested, plain_overrides)
    spec = resolve(game, kwargs)
    return Sources(
        spec=spec,
        kwargs=kwargs,
        recipe=learning,
        protocol=requested or _usual_protocol(spec),
        protocol_is_requested=requested is not None,
        overrides=plain_overrides,
    )


def _usual_protocol(spec: GameSpec) -> Source:
    """Returns the protocol of a game if the user names none."""
    name = VECTOR_PROTOCOL if spec.vectors else DEFAULT_PROTOCOL
    return Source(name, _protocol_tables(name))


def _kwargs(
    recipe: Source, protocol: Source | None, overrides: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the validated keyword arguments of an environment, before a Config exists."""
    kwargs: Any = recipe.tables.get("environment", {}).get("kwargs", {})
    if protocol is not None:
        kwargs = protocol.tables.get("environment", {}).get("kwargs", kwargs)
    kwargs = overrides.get("environment.kwargs", kwargs)
    tables = {"game": "", "environment": {"kwargs": kwargs}}
    return _validated(tables, "settings").environment.kwargs


def _merged_files(sources: Sources) -> Tables:
    """Returns the settings of recipe and protocol; only a requested protocol overrides a recipe."""
    lower = sources.protocol.tables
    higher = sources.recipe.tables
    if sources.protocol_is_requested:
        lower, higher = higher, lower
    return {
        section: lower.get(section, {}) | higher.get(section, {}) for section in {**lower, **higher}
    }


def _fixed_by_id(spec: GameSpec) -> dict[str, Any]:
    """Returns the environment settings that an id decides, by name, as TOML can hold them."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in spec.fixed().items()
    }


def _set_what_the_id_decides(tables: Tables, sources: Sources) -> None:
    """Sets the environment settings that the id decides.

    Raises:
        UserError: the requested protocol contradicts them.
    """
    environment = tables.setdefault("environment", {})
    fixed = _fixed_by_id(sources.spec)
    contradictions = [
        f"{name} {environment[name]} (the id: {value})"
        for name, value in fixed.items()
        if environment.get(name, value) != value
    ]
    if sources.protocol_is_requested and contradictions:
        raise UserError(
            f"protocol '{sources.protocol.name}' contradicts '{sources.spec.id}': "
            f"it sets {', '.join(contradictions)}; "
            "choose another protocol, or give the bare game name"
        )
    environment |= fixed


def _cap_endless_evaluations(tables: Tables, sources: Sources) -> None:
    """Caps evaluation episodes if the environment has no limit and no TOML file sets one."""
    files = [sources.recipe]
    if sources.protocol_is_requested and sources.protocol.name.endswith(".toml"):
        files.append(sources.protocol)
    is_capped = any("frame_cap" in file.tables.get("evaluation", {}) for file in files)
    if sources.spec.rom is not None or is_capped:
        return
    if gymnasium_tasks.kind(sources.spec.id, sources.kwargs).limit is None:
        tables.setdefault("evaluation", {})["frame_cap"] = ENDLESS_CAP


def _set_overrides(tables: Tables, sources: Sources) -> None:
    for name, value in sources.overrides.items():
        section, key = _section_and_key(name)
        tables.setdefault(section, {})[key] = value


def _notes(game: str, sources: Sources) -> list[str]:
    """Returns notes about an id that Gymnasium has replaced, and about overrides of the id."""
    spec = sources.spec
    notes = []
    if spec.rom is None and game != spec.id:
        has_bare_name = gymnasium_tasks.newest_of(game) == spec.id
        notes.append(f"{game} {'means' if has_bare_name else 'is now'} {spec.id}")
    fixed = {f"environment.{key}": value for key, value in _fixed_by_id(spec).items()}
    for name, value in sources.overrides.items():
        if name in fixed and fixed[name] != value:
            notes.append(f"{argument(name, value)} overrides {spec.id}, which sets {fixed[name]}")
    return notes


def _plain(value: Any) -> Any:
    """Returns a value in which NumPy values, tuples and paths are replaced by types of TOML."""
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
    """Returns the recipe that is named after the task, or else the default recipe."""
    own = recipe_name(spec.id)
    return own if (config_directory() / f"{own}.toml").is_file() else DEFAULT_RECIPE


def read_recipe(recipe: str) -> Source:
    """Returns the settings and the version in the TOML file of a recipe.

    Raises:
        UserError: the recipe does not exist, or sets something that recipes must not set.
    """
    path = _find(recipe, "", "recipe")
    tables = read_toml(path)
    version = tables.pop("version", None)
    if version is not None and (type(version) is not int or version < 1):
        reason = "is not a whole number of at least 1"
        raise UserError(f"{path}: version = {shorten(repr(version))} {reason}")
    _check_tables(path, tables, (*RECIPE_SECTIONS, *PROTOCOL_SECTIONS), "recipe")
    return Source(recipe, tables, version)


def _check_has_a_network(config: Config, spec: GameSpec) -> None:
    """Raises a UserError if the network cannot process the observations of this game."""
    if spec.vectors and config.network.torso in PICTURE_TORSOS:
        recipes = {path.stem: read_toml(path) for path in config_directory().glob("*.toml")}
        suitable = sorted(
            name for name, tables in recipes.items() if tables["network"].get("torso") == "mlp"
        )
        raise UserError(
            f"{spec.id} shows vectors, but torso '{config.network.torso}' of recipe "
            f"'{config.recipe}' needs pictures: choose a recipe for vectors with "
            f"{option('config')}, such as {', '.join(suitable)}"
        )
    if spec.vectors and config.agent.random_shift:
        setting = f"agent.random_shift = {config.agent.random_shift}"
        raise UserError(f"{setting} shifts pictures, but {spec.id} shows vectors")


def _check_suits(config: Config, spec: GameSpec) -> None:
    """Raises a UserError for settings that do not apply to this game."""
    for name in ("kwargs", "time_feature", "rescale"):
        if spec.rom and (value := getattr(config.environment, name)):
            setting = f"environment.{name} = {shorten(str(value))}"
            raise UserError(f"{setting} does not apply to Atari games such as {spec.id}")


def config_directory() -> Path:
    """Returns the directory of the shipped recipes, in the package or next to it in a checkout."""
    package = Path(__file__).parent.parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def parse_value(text: str) -> Any:
    """Parses a command-line value as TOML, and a bare word as a string.

    >>> parse_value("1e-4"), parse_value("true"), parse_value("adam")
    (0.0001, True, 'adam')
    """
    try:
        tables = tomllib.loads(f"value = {text}")
        check_numbers(tables)
    except (ValueError, RecursionError):  # not TOML, or thousands of digits or brackets
        return text
    return tables["value"] if len(tables) == 1 else text


def _protocol_tables(protocol: str) -> Tables:
    path = _find(protocol, "protocols", "protocol")
    tables = read_toml(path)
    _check_tables(path, tables, PROTOCOL_SECTIONS, "protocol")
    return tables


def _find(name: str, folder: str, kind: str) -> Path:
    """Returns the TOML file of a recipe or a protocol.

    Raises:
        UserError: there is none.
    """
    directory = config_directory() / folder
    path = Path(name) if name.endswith(".toml") else directory / f"{name}.toml"
    if not os.path.lexists(path):
        known = sorted(file.stem for file in directory.glob("*.toml"))
        choices = f"a TOML file, or one of {', '.join(known)}{nearest(name, known)}"
        raise UserError(f"unknown {kind} '{name}': {choices}")
    return path


def _check_tables(path: Path, tables: Tables, allowed: tuple[str, ...], kind: str) -> None:
    """Raises a UserError for a section or a setting that a recipe or a protocol may not have."""
    for section, table in tables.items():
        if section not in allowed or not isinstance(table, dict):
            raise UserError(
                f"{path}: a {kind} may have the tables {', '.join(allowed)}, "
                f"not '{section}'{nearest(section, allowed)}"
            )
        known = list(SECTIONS[section].model_fields)
        for key in table:
            _check_known(known, key, f"{path}: unknown setting '{section}.{key}'")


def _check_known(known: list[str], key: str, complaint: str) -> None:
    if key not in known:
        raise UserError(f"{complaint}; allowed: {', '.join(known)}{nearest(key, known)}")


def _section_and_key(name: str) -> tuple[str, str]:
    """Splits a setting's name ``section.key`` into its two parts.

    Raises:
        UserError: the setting does not exist.
    """
    section, _, key = name.partition(".")
    if section not in SECTIONS or key not in SECTIONS[section].model_fields:
        known = [f"{table}.{field}" for table in SECTIONS for field in SECTIONS[table].model_fields]
        advice = f"'{command('config default')}' lists them{nearest(name, known)}"
        raise UserError(f"unknown setting '{name}': {advice}")
    return section, key


def is_integer_setting(name: str) -> bool:
    """Returns whether a setting, such as ``agent.n_step``, is a whole number or a list of them."""
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
            known = list(section.model_fields)
            _check_known(known, str(first["loc"][-1]), f"{where}: unknown setting '{name}'")
        value = first["input"] if first["type"] == "missing" else _given(tables, first["loc"])
        setting = name if first["type"] == "value_error" else f"{name} = {shorten(repr(value))}"
        reason = first["msg"].removeprefix("Value error, ")
        if first["type"] == "literal_error":  # its message has Python's names, not those of TOML
            reason = reason.replace("True", "true").replace("False", "false")
        raise UserError(f"{where}: {setting}: {reason}") from None


def _given(tables: Any, location: Sequence[int | str]) -> Any:
    """Returns the value at the location of an error, as it was before the conversion."""
    value = tables
    for part in location:  # pydantic also inserts names of types, which are not keys
        with suppress(KeyError, IndexError, TypeError):
            value = value[part]
    return value


def _numbers_as_meant(tables: dict[str, Any]) -> dict[str, Any]:
    """Returns settings with 1 as 1.0 and 1e6 as 1000000 where strict validation requires that."""
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
    if not is_integer_setting(name):
        return value
    if isinstance(value, list):
        return [_as_integer(number) for number in value]
    return _as_integer(value)


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:  # rejected later, like infinity
        return math.inf if value > 0 else -math.inf


def _as_integer(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value
