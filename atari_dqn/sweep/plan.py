"""The runs of a sweep: games times recipes times settings times seeds, each checked."""

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

# Aitchison et al. 2023, "Atari-5": five games whose scores predict the median over 57 best.
ATARI_5 = ("battle_zone", "double_dunk", "name_this_game", "phoenix", "qbert")
GROUPS = ("atari5", "atari26", "atari57", "all")
# Seeds, or candidates, in a sweep.
MOST = 10_000
# Of a range: more than any setting can be.
LARGEST_BOUND = 10**18


class State(StrEnum):
    """How far a run of a sweep is; a search drops runs that are not among the best."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"
    DROPPED = "dropped"


@dataclass(frozen=True)
class Resources:
    """What each run takes of a cluster.

    Attributes:
        cpus: number of CPUs.
        gpus: number of GPUs; may be a fraction.
        at_a_time: number of runs that the cluster has room for.
    """

    cpus: int
    gpus: float
    at_a_time: int


class Range(BaseModel):
    """An interval from which a search samples the values of a setting.

    Attributes:
        low: smallest value; if it and the largest are whole numbers, all samples are.
        high: largest value.
        log: whether the logarithm is uniform, instead of the value.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    low: int | float = Field(ge=-LARGEST_BOUND, le=LARGEST_BOUND)
    high: int | float = Field(ge=-LARGEST_BOUND, le=LARGEST_BOUND)
    log: bool = False

    @model_validator(mode="after")
    def _is_a_range(self) -> "Range":
        if self.high <= self.low or (self.log and self.low <= 0):
            raise ValueError(
                "a range wants a high above its low, and for its logarithm both above 0"
            )
        return self


class Plan(BaseModel):
    """A sweep as a TOML file holds it.

    Attributes:
        games: environment ids, bare names, or groups of games (``GROUPS``).
        seeds: seeds of the runs; a number N means 1 to N.
        configs: recipes, by name or TOML file; empty: the default recipe of each game.
        protocol: protocol of all runs; None: the default protocol of each game.
        total_steps: agent steps of each run; None: those of the recipe.
        settings: by ``section.key``: the values to try, each with each; or, in a search, a range.
        episodes: episodes of the evaluation at the end of each run; None: those of the protocol;
            0: no evaluation.
        search: number of candidates to sample from the settings; None: all combinations are run.
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
        recipe: its name, or the file that was written for it; None: the game's default recipe.
        overrides: values by ``section.key``.
    """

    recipe: str | None
    overrides: dict[str, Any]


class Run(NamedTuple):
    """One run of a sweep, as plain data that can be sent to another machine.

    Attributes:
        game: environment id.
        recipe: name, or absolute path of a TOML file.
        protocol: name or absolute path of a TOML file; None: the game's default protocol.
        seed: seed of the run.
        total_steps: agent steps.
        overrides: values by ``section.key``.
        directory: directory of the run.
        videos: directory of all recordings and evaluations.
        episodes: as in ``Plan``.
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
        """Game and directory, such as ``pong/default-seed1``."""
        return "/".join(Path(self.directory).parts[-2:])


def read_plan(path: Path) -> dict[str, Any]:
    """Returns the tables of a plan's file.

    Raises:
        UserError: it is missing or not TOML.
    """
    if not os.path.lexists(path):
        raise UserError(f"there is no plan '{path}'")
    return read_toml(path)


def make_plan(tables: Mapping[str, Any]) -> Plan:
    """Returns a plan of tables that were read or typed.

    Raises:
        UserError: something in them is unknown or out of range.
    """
    try:
        return Plan.model_validate(dict(tables))
    except ValidationError as error:
        raise UserError(_describe_invalid(error)) from None


def _describe_invalid(error: ValidationError) -> str:
    """Returns the first thing that is wrong with a plan, in words."""
    complaints = error.errors()
    # Of what is neither a list nor a range, the last complaint is that about a range.
    first = complaints[-1 if complaints[0]["loc"][0] == "settings" else 0]
    name = ".".join(str(part) for part in first["loc"][:2])
    if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
        known = list(Plan.model_fields)
        return f"a plan has {', '.join(known)}, not '{name}'{nearest(name, known)}"
    if first["type"] == "missing" and name == "games":
        return "a sweep wants games: --games pong,breakout, or a plan's file with such a list"
    value = shorten(repr(first["input"]))
    reason = first["msg"].removeprefix("Value error, ")
    return f"the sweep's {name} = {value}: {reason}"


def parse_choices(text: str) -> tuple[str, list[Any] | dict[str, Any]]:
    """Reads ``key=v1,v2`` or ``key=low..high[:log]``.

    >>> parse_choices("agent.n_step=1,3")
    ('agent.n_step', [1, 3])
    >>> parse_choices("optimizer.learning_rate=1e-5..1e-3:log")
    ('optimizer.learning_rate', {'low': 1e-05, 'high': 0.001, 'log': True})

    Raises:
        UserError: it has another form.
    """
    name, _, values = text.partition("=")
    option = f"--set {shorten(text)}"
    if not name or not values:
        forms = "section.key=VALUE,VALUE or, in a search, section.key=LOW..HIGH[:log]"
        raise UserError(f"{option}: wanted is {forms}")
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
    except (ValueError, RecursionError):  # bare words
        return name, [parse_value(value) for value in values.split(",")]


def games_of(names: Sequence[str]) -> list[str]:
    """Returns environment ids: groups of games replaced by their members, each game once.

    Raises:
        UserError: a name is unknown.
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
        UserError: there is a range among them.
    """
    for name, values in plan.settings.items():
        if isinstance(values, Range):
            reason = f"{name} is a range, which is for a search (--search N)"
            raise UserError(f"{reason}; a sweep wants values with commas")
    lists = [values for values in plan.settings.values() if not isinstance(values, Range)]
    return [dict(zip(plan.settings, values, strict=True)) for values in itertools.product(*lists)]


def make_runs(plan: Plan, settings: Sequence[Mapping[str, Any]], out: Path) -> list[list[Run]]:
    """Returns the runs of a plan, for each of several combinations of settings.

    Settings that differ from run to run make a recipe with a name of its own, which is written into
    ``out/recipes``, so that whatever reads the runs can tell them apart, and whoever likes one can
    train with it.

    Args:
        plan: the sweep.
        settings: the combinations: values by ``section.key``.
        out: the folder of the sweep.

    Raises:
        UserError: a game, recipe or setting is unknown, or a value is out of bounds.
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
    """Returns a recipe with some settings, and writes its file where they differ between runs."""
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
    """Returns a setting's key and value, with nothing that the name of a file should not have."""
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
    """Returns the absolute path of a TOML file; any other name stays as it is."""
    return str(Path(name).resolve()) if name.endswith(".toml") else name
