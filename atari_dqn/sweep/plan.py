"""What a sweep consists of: games times recipes times settings times seeds, from the command line
or a TOML file.
"""

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
from atari_dqn.config.resolve import default_recipe, load_config, parse_value, recipe_tables
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
    """A setting that a search draws from an interval.

    Attributes:
        low: smallest value; if it and the largest are whole numbers, only such are drawn.
        high: largest value.
        log: whether its logarithm is uniform, instead of the value.
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
    """A sweep, as its TOML file says it.

    Attributes:
        games: environment ids, bare names, or groups of games (``GROUPS``).
        seeds: of the runs: so many, beginning with 1, or a list.
        configs: recipes, shipped or TOML files; empty: each game's own.
        protocol: of all runs; None: the usual one.
        total_steps: agent steps of each run; None: the recipe's.
        settings: by ``section.key``: the values to try, each with each; or, in a search, a range.
        episodes: of the evaluation at the end of each run; None: the protocol's; 0: no evaluation.
        search: how many candidates to draw from the settings, instead of running each with each.
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
    """A recipe of a sweep.

    Attributes:
        recipe: its name, or the file that was written for it; None: each game's own.
        overrides: what the sweep sets beside.
    """

    recipe: str | None
    overrides: dict[str, Any]


class Run(NamedTuple):
    """One run of a sweep, as plain data that can be sent to another machine.

    Attributes:
        game: environment id.
        recipe: name, or absolute path of a TOML file.
        protocol: name or file; None: the usual one.
        seed: of the run.
        total_steps: agent steps.
        overrides: by ``section.key``.
        directory: of the run.
        videos: where recordings and evaluations go.
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
        """Game and directory: ``pong/default-seed1``."""
        return "/".join(Path(self.directory).parts[-2:])


def read_plan(path: Path) -> dict[str, Any]:
    """The tables of a plan's file.

    Raises:
        UserError: it is missing or no TOML.
    """
    if not os.path.lexists(path):
        raise UserError(f"there is no plan '{path}'")
    return read_toml(path)


def make_plan(tables: Mapping[str, Any]) -> Plan:
    """Validates what was read or typed.

    Raises:
        UserError: something unknown or out of range.
    """
    try:
        return Plan.model_validate(dict(tables))
    except ValidationError as error:
        # Of what is neither a list nor a range, the last complaint is that about a range.
        first = error.errors()[-1 if error.errors()[0]["loc"][0] == "settings" else 0]
        name = ".".join(str(part) for part in first["loc"][:2])
        if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
            known = list(Plan.model_fields)
            raise UserError(
                f"a plan has {', '.join(known)}, not '{name}'{nearest(name, known)}"
            ) from None
        if first["type"] == "missing" and name == "games":
            raise UserError(
                "a sweep wants games: --games pong,breakout, or a plan's file with such a list"
            ) from None
        shown = shorten(repr(first["input"]))
        raise UserError(
            f"the sweep's {name} = {shown}: {first['msg'].removeprefix('Value error, ')}"
        ) from None


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
    shown = shorten(text)
    if not name or not values:
        raise UserError(
            f"--set {shown}: wanted is section.key=VALUE,VALUE or, in a search, section.key=LOW..HIGH[:log]"
        )
    name = name.replace("-", "_")
    bounds, colon, log = values.partition(":")
    low, dots, high = bounds.partition("..")
    if dots:
        numbers = [parse_value(low), parse_value(high)]
        if not all(isinstance(number, int | float) for number in numbers) or (
            colon and log != "log"
        ):
            raise UserError(f"--set {shown}: a range is LOW..HIGH or LOW..HIGH:log")
        return name, {"low": numbers[0], "high": numbers[1], "log": bool(colon)}
    try:
        return name, tomllib.loads(f"values = [{values}]")["values"]
    except (ValueError, RecursionError):  # bare words
        return name, [parse_value(value) for value in values.split(",")]


def games_of(names: Sequence[str]) -> list[str]:
    """Environment ids, groups spelt out, each game once.

    Raises:
        UserError: a name is unknown.
    """
    members = {
        "atari5": ATARI_5,
        "atari26": atari_100k("SPR").games,
        "atari57": tuple(sorted(reference_scores())),
        "all": single_player_roms(),
    }
    spelt_out = itertools.chain.from_iterable(members.get(name, (name,)) for name in names)
    return list(dict.fromkeys(identify(game).id for game in spelt_out))


def combinations(plan: Plan) -> list[dict[str, Any]]:
    """Every combination of the values to try.

    Raises:
        UserError: there is a range among them.
    """
    for name, values in plan.settings.items():
        if isinstance(values, Range):
            raise UserError(
                f"{name} is a range, which is for a search (--search N); a sweep wants values with commas"
            )
    lists = [values for values in plan.settings.values() if not isinstance(values, Range)]
    return [dict(zip(plan.settings, values, strict=True)) for values in itertools.product(*lists)]


def make_runs(plan: Plan, settings: Sequence[Mapping[str, Any]], out: Path) -> list[list[Run]]:
    """The runs of a plan, for each of some settings, all of them checked.

    Settings that differ from run to run make a recipe with a name of its own, which is written into
    ``out/recipes``, so that whatever reads the runs can tell them apart, and whoever likes one can
    train with it.

    Args:
        plan: of the sweep.
        settings: what to run the plan's recipes with, besides.
        out: the folder of the sweep.

    Raises:
        UserError: an unknown game, recipe or setting, or a value out of bounds.
    """
    found = []
    for chosen in settings:
        recipes: list[str | None] = list(plan.configs) or [None]
        variants = [_variant(plan, recipe, chosen, out / "recipes") for recipe in recipes]
        found.append(
            [
                run
                for game in games_of(plan.games)
                for variant in variants
                for run in _runs(plan, game, variant, out)
            ]
        )
    return found


def _variant(plan: Plan, recipe: str | None, chosen: Mapping[str, Any], folder: Path) -> Variant:
    differing = {name: value for name, value in chosen.items() if plan.settings[name] != [value]}
    if not differing:
        return Variant(recipe, dict(chosen))
    base = recipe or default_recipe(identify(games_of(plan.games)[0]))
    tables = recipe_tables(base)
    for name, value in chosen.items():
        section, _, key = name.partition(".")
        if section in RECIPE_SECTIONS:
            tables.setdefault(section, {})[key] = value
    path = (
        folder
        / f"{','.join([Path(base).stem, *(_label(name, value) for name, value in differing.items())])}.toml"
    )
    load_config(games_of(plan.games)[0], base, plan.protocol, chosen)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, tomli_w.dumps(tables).encode())
    return Variant(str(path.resolve()), dict(chosen))


def _label(name: str, value: Any) -> str:
    """The last part of a setting's name, and its value with nothing in it that a file's name should
    not have.
    """
    short = f"{value:.4g}" if isinstance(value, float) else str(value)
    return f"{name.rpartition('.')[2]}={re.sub(r'[^A-Za-z0-9.+-]+', '_', short)}"


def _runs(plan: Plan, game: str, variant: Variant, out: Path) -> list[Run]:
    recipe = variant.recipe or default_recipe(identify(game))
    config, _ = load_config(game, recipe, plan.protocol, variant.overrides)
    absolute = str(Path(recipe).resolve()) if recipe.endswith(".toml") else recipe
    protocol = plan.protocol and (
        str(Path(plan.protocol).resolve()) if plan.protocol.endswith(".toml") else plan.protocol
    )
    folder, videos = game_directory(out.resolve(), game), out.resolve() / "videos"
    return [
        Run(
            game,
            absolute,
            protocol,
            seed,
            plan.total_steps or config.training.total_steps,
            variant.overrides,
            str(folder / f"{config.recipe}-seed{seed}"),
            str(videos),
            plan.episodes,
        )
        for seed in plan.seeds
    ]
