"""Maps environment ids to games, and scores to human-normalized scores."""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

import gymnasium
from ale_py import roms
from ale_py.registration import rom_id_to_name

from atari_dqn.errors import UserError, nearest
from atari_dqn.games import gymnasium_tasks
from atari_dqn.typed_commands import command

# ale-py has only multi-player modes of these games, and registers no ids for them.
MULTI_PLAYER_ROMS = frozenset({"combat", "joust", "maze_craze", "warlords"})

# The settings of environments other than Atari games, which are stepped without changes.
AS_IT_IS: dict[str, Any] = {
    "frame_skip": 1,
    "sticky_probability": 0.0,
    "max_pool": False,
    "full_actions": False,
    "noop_max": 0,
    "fire_at_reset": False,
    "fire_after_life_loss": False,
}

_ID = re.compile(
    r"(?P<ale>ALE/)?(?P<name>[A-Za-z0-9_]+?)"
    r"(?P<kind>Deterministic|NoFrameskip)?(?:-(?P<version>v\d+))?"
)


@dataclass(frozen=True)
class GameSpec:
    """The game that an environment id means, and the settings that the id decides.

    A setting is None if the id leaves it to the protocol.

    Attributes:
        id: the environment id, or the bare name of a game, in its canonical spelling.
        rom: ale-py's snake_case name of the game, or None for environments that are not Atari
            games.
        frame_skip: emulator frames per agent step, or the inclusive bounds of a random number of
            frames.
        sticky_probability: probability that the emulator repeats the previous action.
        max_pool: whether an observation is the pixel-wise maximum of the last two frames.
        full_actions: whether all 18 actions are offered instead of the game's minimal set.
        vectors: whether observations are vectors instead of pictures.
    """

    id: str
    rom: str | None
    frame_skip: int | tuple[int, int] | None = None
    sticky_probability: float | None = None
    max_pool: bool | None = None
    full_actions: bool | None = None
    vectors: bool = False

    def fixed(self) -> dict[str, Any]:
        """Returns the environment settings that this id decides, by name."""
        if self.rom is None:
            return dict(AS_IT_IS)
        names = ("frame_skip", "sticky_probability", "max_pool", "full_actions")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


@cache
def single_player_roms() -> tuple[str, ...]:
    """Returns the snake_case names of all single-player games, sorted."""
    return tuple(sorted(set(roms.get_all_rom_ids()) - MULTI_PLAYER_ROMS))


def resolve(game: str, kwargs: Mapping[str, Any] | None = None) -> GameSpec:
    """Returns the game that an id means, including whether its observations are vectors.

    Args:
        game: an id that ``identify`` accepts.
        kwargs: keyword arguments of a Gymnasium environment, which may change its observations.

    >>> resolve("SpaceInvadersDeterministic-v4")  # doctest: +NORMALIZE_WHITESPACE
    GameSpec(id='SpaceInvadersDeterministic-v4', rom='space_invaders', frame_skip=3,
             sticky_probability=0.0, max_pool=False, full_actions=False, vectors=False)
    >>> resolve("breakout").fixed()
    {}

    Raises:
        UserError: the id is unknown, or the environment cannot be created.
    """
    spec = identify(game)
    if spec.rom:
        return spec
    return replace(spec, vectors=gymnasium_tasks.kind(spec.id, kwargs or {}).vectors)


def identify(game: str) -> GameSpec:
    """Returns the game that an id means, without creating it; ``vectors`` stays False.

    Every single-player Atari game X has a bare name in any spelling (``breakout``,
    ``SpaceInvaders``, ``space_invaders``) and the ids ``XDeterministic-v0/-v4``,
    ``XNoFrameskip-v0/-v4``, ``X-v0/-v4`` and ``ALE/X-v5``. All other ids registered with Gymnasium
    are accepted too. An old version of one of Gymnasium's own tasks, if it is no longer registered,
    means the next registered version. The bare name of such a task (``cartpole``) means its newest
    version.

    Raises:
        UserError: the id is unknown.
    """
    if is_task(game):
        return GameSpec(game, None)
    match = _ID.fullmatch(game)
    rom = _rom_by_squeezed_name().get(_squeeze(match["name"])) if match else None
    if rom is None and is_task(today := gymnasium_tasks.current(game)):
        return GameSpec(today, None)
    if rom is None and (newest := gymnasium_tasks.newest_of(game)):
        return GameSpec(newest, None)
    if match is None or rom is None:
        raise UserError(
            f"unknown game '{game}': '{command('games')}' lists all {len(single_player_roms())} "
            f"games{nearest(game, every_name())}"
        )
    spec = _variants(rom).get((match["ale"] or "", match["kind"] or "", match["version"] or ""))
    if spec is None:
        raise UserError(
            f"unknown game id '{game}': the ids of {rom_id_to_name(rom)} are "
            f"{', '.join(ids_of(rom))}{nearest(game, ids_of(rom))}"
        )
    return spec


def is_task(game: str) -> bool:
    """Returns whether an id is registered with Gymnasium and is not an Atari game."""
    return game in gymnasium.registry and game not in _known_ids()


@cache
def _known_ids() -> frozenset[str]:
    return frozenset(all_ids())


def ids_of(rom: str) -> tuple[str, ...]:
    """Returns every id that means a game, the bare name first."""
    return tuple(spec.id for spec in _variants(rom).values())


def all_ids() -> list[str]:
    """Returns every id of every single-player game."""
    return [game_id for rom in single_player_roms() for game_id in ids_of(rom)]


def every_name() -> list[str]:
    """Returns every id and every bare name of a game, and every id registered with Gymnasium."""
    return [*all_ids(), *single_player_roms(), *filter(is_task, gymnasium.registry)]


def _variants(rom: str) -> dict[tuple[str, str, str], GameSpec]:
    name = rom_id_to_name(rom)
    deterministic_skip = 3 if rom == "space_invaders" else 4
    kinds: tuple[tuple[str, int | tuple[int, int], bool], ...] = (
        ("Deterministic", deterministic_skip, False),
        # Programs that use this id skip and pool frames themselves, so the id includes that here.
        ("NoFrameskip", 4, True),
        ("", (2, 4), False),
    )
    variants = {("", "", ""): GameSpec(name, rom)}
    for version, sticky in (("v0", 0.25), ("v4", 0.0)):
        for kind, frame_skip, max_pool in kinds:
            game_id = f"{name}{kind}-{version}"
            spec = GameSpec(game_id, rom, frame_skip, sticky, max_pool, full_actions=False)
            variants["", kind, version] = spec
    newest = GameSpec(f"ALE/{name}-v5", rom, 4, 0.25, max_pool=True, full_actions=False)
    variants["ALE/", "", "v5"] = newest
    return variants


def _squeeze(name: str) -> str:
    return name.replace("_", "").lower()


@cache
def _rom_by_squeezed_name() -> dict[str, str]:
    return {_squeeze(rom): rom for rom in single_player_roms()}


def register_deterministic_ids() -> None:
    """Registers the ``*Deterministic-v0/-v4`` ids, which ale-py no longer has.

    These environments skip a fixed number of frames, return the last one without max-pooling, and
    end at 108,000 frames.
    """
    for rom in single_player_roms():
        for spec in _variants(rom).values():
            if "Deterministic" in spec.id and spec.id not in gymnasium.registry:
                gymnasium.register(
                    id=spec.id,
                    entry_point="ale_py.env:AtariEnv",
                    kwargs={
                        "game": rom,
                        "repeat_action_probability": spec.sticky_probability,
                        "full_action_space": spec.full_actions,
                        "frameskip": spec.frame_skip,
                        "max_num_frames_per_episode": 108_000,
                    },
                )


@cache
def reference_scores() -> dict[str, tuple[float, float]]:
    """Returns the mean scores (random, human) of 57 games, by ale-py's name of the game.

    They are from dqn_zoo's atari_data.py, whose human scores are those of arXiv 1511.06581.
    """
    path = files("atari_dqn.games").joinpath("data/atari_human_random.csv")
    rows = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    return {row["game"]: (float(row["random"]), float(row["human"])) for row in rows}


def human_normalised_score(rom: str | None, score: float) -> float | None:
    """Returns the human-normalized score, (score - random) / (human - random).

    It is 0 for random play, 1 for human play, and None for a game without reference scores (van
    Hasselt et al. 2016, "Deep Reinforcement Learning with Double Q-learning").

    >>> round(human_normalised_score("breakout", 30.5), 3)
    1.0
    """
    if rom is None or rom not in reference_scores():
        return None
    random, human = reference_scores()[rom]
    return (score - random) / (human - random)
