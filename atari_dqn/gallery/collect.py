"""What the page shows, as plain data: recordings and evaluations below the videos, runs below the
checkpoints.
"""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from atari_dqn.errors import UserError
from atari_dqn.files.reading import read_json, read_text, read_toml
from atari_dqn.games.ids import identify, reference_scores
from atari_dqn.recording.contract import MAX_BYTES, Evaluation, Recording, parse
from atari_dqn.runs.curves import read_curve, read_evaluations

# Where the page keeps its own files, below the videos.
OWN_FOLDER = "gallery"
LOGS = ("config.toml", "run.json", "episodes.csv", "metrics.csv", "evaluations.csv")

Stamps = tuple[tuple[int, int] | None, ...]


class Collection:
    """Fills in what the page shows; runs and protocols are named by their places in lists."""

    def __init__(self, videos: Path) -> None:
        self.videos = videos
        self.runs: dict[tuple[str, str], dict[str, Any]] = {}
        self.protocols: dict[str, dict[str, str]] = {}
        self.recordings: list[dict[str, Any]] = []
        self.evaluations: list[dict[str, Any]] = []
        self.notes: list[str] = []

    def add_run(self, directory: Path) -> None:
        """A run's curve and settings."""
        stamps = tuple(_stamp(directory / name) for name in LOGS)
        try:
            run = _read_run(directory, stamps)
        except UserError as error:
            self.notes.append(f"'{directory}' is skipped: {error}")
            return
        key = (run["game"], run["name"])
        if key in self.runs:
            self.notes.append(f"'{directory}' is skipped: another run of the game has its name")
        else:
            self.runs[key] = dict(run)

    def add_json(self, path: Path) -> None:
        """A recording or an evaluation; whatever else it is leaves a note."""
        try:
            part = _read_json(path, _stamp(path))
            if isinstance(part, Evaluation):
                self.evaluations.append(self._evaluation(part))
            else:
                self.recordings.append(self._recording(part, path))
        except UserError as error:
            self.notes.append(f"'{_printable(path)}' is skipped: {error}")

    def data(self) -> dict[str, Any]:
        """Everything, ready for JSON; games and runs in the order of their names, recordings by
        step.
        """
        order = sorted(self.runs, key=lambda key: (key[0].lower(), *_natural(key[1])))
        places = {key: place for place, key in enumerate(order)}
        runs = [self.runs[key] for key in order]
        games = {run["game"]: run["rom"] for run in runs}
        for part in (*self.recordings, *self.evaluations):
            part["run"] = places[part["run"]]
        by_step = sorted(
            self.recordings,
            key=lambda part: (part["run"], part["steps"], part["score"], part["id"]),
        )
        by_mean = sorted(
            self.evaluations,
            key=lambda part: (part["run"], part["steps"], part["protocol"], part["seed"]),
        )
        return {
            "games": [
                {"id": game, "reference": reference_scores().get(rom or "")}
                for game, rom in games.items()
            ],
            "runs": runs,
            "protocols": list(self.protocols.values()),
            "recordings": by_step,
            "evaluations": by_mean,
        }

    def _recording(self, part: Recording, path: Path) -> dict[str, Any]:
        folder = path.parent.relative_to(self.videos).as_posix()
        if not _printable(path) == str(path):
            raise UserError("its name is no text")
        files = {
            kind: file for kind in ("gif", "mp4") if (file := getattr(part.files, kind)) is not None
        }
        for kind, file in files.items():
            if not file.name.lower().endswith(f".{kind}"):
                raise UserError(f"files.{kind}.name: no .{kind} file")
        there = {
            kind: file
            for kind, file in files.items()
            if _inside(path.with_name(file.name), self.videos)
        }
        if not there:
            raise UserError("its GIF or MP4 is not beside it")
        media = {kind: [f"{folder}/{file.name}", file.seconds] for kind, file in there.items()}
        return (
            self._played(part)
            | media
            | {
                "id": f"{folder}/{path.name}",
                "rank": part.rank,
                "annotated": part.annotated,
                "score": part.episode.score,
                "seed": part.episode.seed,
                "length": part.episode.steps,
                "cut": part.episode.cut_by_frame_cap,
                "seconds": part.seconds,
            }
        )

    def _evaluation(self, part: Evaluation) -> dict[str, Any]:
        return self._played(part) | part.statistics.model_dump() | {"seed": part.protocol.seed}

    def _played(self, part: Recording | Evaluation) -> dict[str, Any]:
        key = (part.game, part.run)
        self.runs.setdefault(key, _unknown_run(part))
        conditions = part.protocol.conditions()
        signature = json.dumps(conditions, sort_keys=True)
        self.protocols.setdefault(signature, conditions)
        return {
            "run": key,
            "steps": part.steps,
            "source": part.source,
            "protocol": list(self.protocols).index(signature),
        }


def collect(root: Path, videos: Path) -> tuple[dict[str, Any], list[str]]:
    """Reads every run below ``root`` and every recording and evaluation below ``videos``.

    Returns:
        What the page shows, and a note about each file that is left out.
    """
    collection = Collection(videos)
    for config in sorted(root.glob("*/*/config.toml")):
        collection.add_run(config.parent)
    files = list(_below(videos))
    for path in files:
        if path.suffix == ".json":
            collection.add_json(path)
    described = {path.with_suffix("") for path in files if path.suffix == ".json"}
    bare = sum(
        path.suffix.lower() in (".gif", ".mp4") and path.with_suffix("") not in described
        for path in files
    )
    if bare:
        collection.notes.append(
            f"{bare} GIF or MP4 files in '{videos}' have no JSON file beside them and are not shown"
        )
    return collection.data(), collection.notes


def _below(videos: Path) -> Iterator[Path]:
    own = videos / OWN_FOLDER
    return (
        path for path in sorted(videos.rglob("*")) if path.is_file() and own not in path.parents
    )


def _inside(path: Path, folder: Path) -> bool:
    """Whether it is a file that lies in the folder even where links were followed."""
    return path.is_file() and path.resolve().is_relative_to(folder.resolve())


def _stamp(path: Path) -> tuple[int, int] | None:
    """Changes whenever the file does."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=50_000)
def _read_json(path: Path, stamp: tuple[int, int] | None) -> Recording | Evaluation:
    if stamp is None or stamp[1] > MAX_BYTES:
        raise UserError(f"larger than {MAX_BYTES // 2**20} MiB" if stamp else "it is gone")
    return parse(read_text(path, MAX_BYTES))


@lru_cache(maxsize=10_000)
def _read_run(directory: Path, stamps: Stamps) -> dict[str, Any]:
    try:
        tables = read_toml(directory / LOGS[0])
    except UserError as error:
        raise UserError(f"its {LOGS[0]} cannot be read: {error}") from None
    named = {name: tables.get(name) for name in ("game", "recipe", "protocol")}
    if not all(isinstance(value, str) for value in named.values()):
        raise UserError(f"its {LOGS[0]} names no game, recipe and protocol")
    if _printable(directory) != str(directory):
        raise UserError("its name is no text")
    return {
        "game": named["game"],
        "name": directory.name,
        "recipe": named["recipe"],
        "rom": _rom(str(named["game"])),
        "curve": read_curve(directory),
        "evaluations": read_evaluations(directory),
        "settings": _settings(tables),
        **_first_start(directory),
    }


def _unknown_run(part: Recording | Evaluation) -> dict[str, Any]:
    """A run of which only recordings are left."""
    names = {"game": part.game, "name": part.run, "recipe": part.recipe, "rom": part.rom}
    return names | {
        "curve": None,
        "evaluations": None,
        "settings": None,
        "started": None,
        "commit": None,
    }


def _settings(tables: dict[str, Any]) -> dict[str, str]:
    """Every setting as it was written, by ``section.key``."""
    settings: dict[str, str] = {}
    for section, value in tables.items():
        pairs = (
            {f"{section}.{key}": entry for key, entry in value.items()}
            if isinstance(value, dict)
            else {section: value}
        )
        settings |= {
            name: json.dumps(entry, default=str).strip('"') for name, entry in pairs.items()
        }
    return settings


def _first_start(directory: Path) -> dict[str, str | None]:
    """When a run began and at which commit."""
    found: dict[str, str | None] = {"started": None, "commit": None}
    with suppress(UserError, KeyError, IndexError, TypeError, AttributeError):
        start = read_json(directory / LOGS[1])["starts"][0]
        found = {
            "started": str(start["time"])[:40],
            "commit": str(start["commit"] or "")[:60] or None,
        }
    return found


def _rom(game: str) -> str | None:
    try:
        return identify(game).rom
    except UserError:  # somebody's own environment
        return None


def _natural(name: str) -> tuple[Any, ...]:
    """For sorting: seed2 comes before seed10.

    >>> sorted(["seed10", "seed2"], key=_natural)
    ['seed2', 'seed10']
    """
    return tuple(
        (int(part), "") if part.isdecimal() else (-1, part.lower())
        for part in re.split(r"(\d+)", name)
        if part
    )


def _printable(path: Path) -> str:
    return str(path).encode("utf-8", "replace").decode("utf-8")
