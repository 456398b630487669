"""The plan of a sweep and its runs: all combinations of games, recipes, settings and seeds."""

import itertools
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from atari_dqn.config.learning_schema import MOST_EPISODES, MOST_STEPS
from atari_dqn.config.resolve import default_recipe, load_config, parse_value, read_recipe
from atari_dqn.config.schema import RECIPE_SECTIONS
from atari_dqn.errors import UserError, nearest, shorten
from atari_dqn.files.atomic_write import write_whole
from atari_dqn.files.reading import read_toml
from atari_dqn.games.ids import identify, reference_scores, single_player_roms
from atari_dqn.games.published_scores import atari_100k
from atari_dqn.runs.directory import game_directory
from atari_dqn.typed_commands import argument

# Aitchison et al. 2023, "Atari-5": the five games whose scores best predict the median over 57.
ATARI_5 = ("battle_zone", "double_dunk", "name_this_game", "phoenix", "qbert")
GROUPS = ("atari5", "atari26", "atari57", "all")
# Largest number of seeds or candidates of a sweep.
MOST = 10_000
# Largest bound of a range: larger than any setting can be.
LARGEST_BOUND = 10**18


class State(StrEnum):
    """The state of a run of a sweep; a search drops runs that are not among the best."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"
    DROPPED = "dropped"


@dataclass(frozen=True)
class Resources:
    """The resources of a cluster that each run uses.

    Attributes:
        cpus: Number of CPUs.
        gpus: Number of GPUs, which may be a fraction.
        at_a_time: Number of runs that the cluster has room for.
    """

    cpus: int
    gpus: float
    at_a_time: int


class Range(BaseModel):
    """An interval from which a search samples the values of a setting.

    Attributes:
        low: Smallest value.
        high: Largest value. If both bounds are whole numbers, all samples are.
        log: Whether the logarithm of the value is uniform, instead of the value.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    low: int | float = Field(ge=-LARGEST_BOUND, le=LARGEST_BOUND)
    high: int | float = Field(ge=-LARGEST_BOUND, le=LARGEST_BOUND)
    log: bool = False

    @model_validator(mode="after")
    def _is_a_range(self) -> "Range":
        if self.high <= self.low or (self.log and self.low <= 0):
            raise ValueError(
                "a range needs a high above its low, and both above 0 for its logarithm"
            )
        return self


class Plan(BaseModel):
    """The plan of a sweep, which can be written as a TOML file.

    Attributes:
        games: Environment ids, bare names, or groups of games (``GROUPS``).
        seeds: Seeds of the runs. A single number N means 1 to N.
        configs: Recipes, by name or TOML file. If empty, each game has its default recipe.
        protocol: Protocol of all runs, or None for each game's default protocol.
        total_steps: Agent steps of each run, or None for the recipe's number.
        settings: The values to try, by ``section.key``, in every combination. In a search, a
            setting may have a range instead.
        episodes: Number of episodes of the evaluation at the end of each run, or None for the
            protocol's number. With 0, there is no evaluation.
        search: Number of candidates to sample from the settings, or None to run all combinations.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    games: list[str] = Field(min_length=1)
    seeds: list[Annotated[int, Field(ge=0, lt=2**31)]] = Field([1], min_length=1, max_length=MOST)
    configs: list[str] = []
    protocol: str | None = None
    total_steps: int | None = Field(None, ge=1, le=MOST_STEPS)
    settings: dict[str, list[Any] | Range] = {}
    episodes: int | None = Field(None, ge=0, le=MOST_EPISODES)
    search: int | None = Field(None, ge=2, le=MOST)

    @field_validator("seeds", mode="before")
    @classmethod
    def _number_of_seeds(cls, value: Any) -> Any:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return list(range(1, value + 1)) if type(value) is int and 0 < value <= MOST else value

    @field_validator("settings", mode="before")
    @classmethod
    def _single_values(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            name: one if isinstance(one, list | dict | Range) else [one]
            for name, one in value.items()
        }


class Variant(NamedTuple):
    """A recipe with the settings that a sweep gives it.

    Attributes:
        recipe: Name of the recipe, or the file that was written for it, or None for the game's
            default recipe.
        overrides: Values by ``section.key``.
    """

    recipe: str | None
    overrides: dict[str, Any]


class Run(NamedTuple):
    """A run of a sweep, as plain data that can be sent to another machine.

    Attributes:
        game: Environment id.
        recipe: Name, or absolute path of a TOML file.
        protocol: Name or absolute path of a TOML file, or None for the game's default protocol.
        seed: Seed of the run.
        total_steps: Agent steps.
        overrides: Values by ``section.key``.
        directory: Directory of the run.
        videos: Directory of all recordings and evaluations.
        episodes: As in ``Plan``.
    """

    game: str
    recipe: str
    protocol: str | None
    seed: int
    total_steps: int
    overrides: dict[str, Any]
    directory: str
    videos: str
    episodes: int | None

    @property
    def name(self) -> str:
        """The run's directory below the sweep's, such as ``pong/default-seed1``."""
        return "/".join(Path(self.directory).parts[-2:])


def read_plan(path: Path) -> dict[str, Any]:
    """Returns the tables of a plan file.

    Raises:
        UserError: The file is missing or is not TOML.
    """
    if not os.path.lexists(path):
        raise UserError(f"there is no plan '{path}'")
    return read_toml(path)


def make_plan(tables: Mapping[str, Any]) -> Plan:
    """Returns the plan that tables of a file or of the command line describe.

    Raises:
        UserError: An entry is unknown, or its value is out of range.
    """
    try:
        return Plan.model_validate(dict(tables))
    except ValidationError as error:
        raise UserError(_describe_invalid(error)) from None


def _describe_invalid(error: ValidationError) -> str:
    """Returns a message about the first error in a plan."""
    complaints = error.errors()
    # For a value that is neither a list nor a range, the last error is the one about a range.
    first = complaints[-1 if complaints[0]["loc"][0] == "settings" else 0]
    name = ".".join(str(part) for part in first["loc"][:2])
    if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
        known = list(Plan.model_fields)
        return f"a plan has {', '.join(known)}, not '{name}'{nearest(name, known)}"
    if first["type"] == "missing" and name == "games":
        games = argument("games", "pong,breakout")
        return f"a sweep needs games: {games}, or a plan file with such a list"
    value = shorten(repr(first["input"]))
    reason = first["msg"].removeprefix("Value error, ")
    return f"the sweep's {name} = {value}: {reason}"


def parse_choices(text: str) -> tuple[str, list[Any] | dict[str, Any]]:
    """Parses ``key=v1,v2`` or ``key=low..high[:log]``.

    >>> parse_choices("agent.n_step=1,3")
    ('agent.n_step', [1, 3])
    >>> parse_choices("optimizer.learning_rate=1e-5..1e-3:log")
    ('optimizer.learning_rate', {'low': 1e-05, 'high': 0.001, 'log': True})

    Raises:
        UserError: The text has another form.
    """
    name, _, values = text.partition("=")
    option = f"--set {shorten(text)}"
    if not name or not values:
        forms = "section.key=VALUE,VALUE or, in a search, section.key=LOW..HIGH[:log]"
        raise UserError(f"{option}: give {forms}")
    name = name.replace("-", "_")
    bounds, colon, log = values.partition(":")
    low, dots, high = bounds.partition("..")
    if dots:
        smallest = parse_value(low)
        largest = parse_value(high)
        are_numbers = isinstance(smallest, int | float) and isinstance(largest, int | float)
        if not are_numbers or (colon and log != "log"):
            raise UserError(f"{option}: a range is LOW..HIGH or LOW..HIGH:log")
        return name, {"low": smallest, "high": largest, "log": bool(colon)}
    try:
        return name, tomllib.loads(f"values = [{values}]")["values"]
    except (ValueError, RecursionError):  # words without quotes
        return name, [parse_value(value) for value in values.split(",")]


def games_of(names: Sequence[str]) -> list[str]:
    """Returns the environment ids of games, each once, with groups replaced by their games.

    Raises:
        UserError: A name is unknown.
    """
    members = {
        "atari5": ATARI_5,
        "atari26": atari_100k("SPR").games,
        "atari57": tuple(sorted(reference_scores())),
        "all": single_player_roms(),
    }
    games = itertools.chain.from_iterable(members.get(name, (name,)) for name in names)
    return list(dict.fromkeys(identify(game).id for game in games))


def combinations(plan: Plan) -> list[dict[str, Any]]:
    """Returns every combination of the values to try.

    Raises:
        UserError: A setting has a range.
    """
    for name, values in plan.settings.items():
        if isinstance(values, Range):
            reason = f"{name} is a range, which needs a search ({argument('search', 'N')})"
            raise UserError(f"{reason}; a sweep needs values separated by commas")
    lists = [values for values in plan.settings.values() if not isinstance(values, Range)]
    return [dict(zip(plan.settings, values, strict=True)) for values in itertools.product(*lists)]


def make_runs(plan: Plan, settings: Sequence[Mapping[str, Any]], out: Path) -> list[list[Run]]:
    """Returns the runs of a plan, in one group for each combination of settings.

    A combination that differs between runs becomes a recipe with its own name, written into
    ``out/recipes``. Its name tells the runs apart, and its file can be used to train again.

    Args:
        plan: Plan of the sweep.
        settings: The combinations, each with values by ``section.key``.
        out: Directory of the sweep.

    Raises:
        UserError: A game, recipe or setting is unknown, or a value is out of bounds.
    """
    groups = []
    recipes: list[str | None] = list(plan.configs) or [None]
    for values in settings:
        variants = [_variant(plan, recipe, values, out / "recipes") for recipe in recipes]
        group: list[Run] = []
        for game in games_of(plan.games):
            for variant in variants:
                group += _runs(plan, game, variant, out)
        groups.append(group)
    return groups


def _variant(plan: Plan, recipe: str | None, values: Mapping[str, Any], folder: Path) -> Variant:
    """Returns a recipe with settings, and writes its file if they differ between runs."""
    differing = {name: value for name, value in values.items() if plan.settings[name] != [value]}
    if not differing:
        return Variant(recipe, dict(values))
    first_game = games_of(plan.games)[0]
    base = recipe or default_recipe(identify(first_game))
    source = read_recipe(base)
    tables = source.tables
    for name, value in values.items():
        section, _, key = name.partition(".")
        if section in RECIPE_SECTIONS:
            tables.setdefault(section, {})[key] = value
    labels = [_label(name, value) for name, value in differing.items()]
    path = folder / f"{','.join([Path(base).stem, *labels])}.toml"
    load_config(first_game, base, plan.protocol, values)
    path.parent.mkdir(parents=True, exist_ok=True)
    version = {} if source.version is None else {"version": source.version}
    write_whole(path, tomli_w.dumps({**version, **tables}).encode())
    return Variant(str(path.resolve()), dict(values))


def _label(name: str, value: Any) -> str:
    """Returns a setting's key and value, without characters that do not belong in a file name."""
    short = f"{value:.4g}" if isinstance(value, float) else str(value)
    return f"{name.rpartition('.')[2]}={re.sub(r'[^A-Za-z0-9.+-]+', '_', short)}"


def _runs(plan: Plan, game: str, variant: Variant, out: Path) -> list[Run]:
    """Returns the runs of a game and a recipe, one for each seed."""
    recipe = variant.recipe or default_recipe(identify(game))
    config, _ = load_config(game, recipe, plan.protocol, variant.overrides)
    folder = game_directory(out.resolve(), game)
    return [
        Run(
            game=game,
            recipe=_absolute(recipe),
            protocol=plan.protocol and _absolute(plan.protocol),
            seed=seed,
            total_steps=plan.total_steps or config.training.total_steps,
            overrides=variant.overrides,
            directory=str(folder / f"{config.recipe}-seed{seed}"),
            videos=str(out.resolve() / "videos"),
            episodes=plan.episodes,
        )
        for seed in plan.seeds
    ]


def _absolute(name: str) -> str:
    """Returns the absolute path of a TOML file, or any other name unchanged."""
    return str(Path(name).resolve()) if name.endswith(".toml") else name
