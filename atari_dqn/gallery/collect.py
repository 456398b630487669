"""Collects the data of the page: runs, recordings and evaluations."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from atari_dqn.config.schema import versioned
from atari_dqn.errors import UserError
from atari_dqn.files.reading import read_json, read_toml
from atari_dqn.gallery.curves import thinned_curve, thinned_evaluations, thinned_progress
from atari_dqn.gallery.leaderboard import leaderboard
from atari_dqn.gallery.records import (
    CommandData,
    EvaluationData,
    GalleryData,
    GameData,
    Kind,
    MediaData,
    RecordingData,
    RunData,
)
from atari_dqn.games.ids import identify, reference_scores
from atari_dqn.recording.episode_file import (
    ENDINGS,
    LARGEST_FILE,
    EvaluationFile,
    RecordingFile,
    read_file,
)
from atari_dqn.runs.circumstances import CIRCUMSTANCES
from atari_dqn.runs.curves import EPISODES, EVALUATIONS, METRICS, read_logged_steps
from atari_dqn.runs.directory import CONFIG, RELEASED
from atari_dqn.typed_commands import command

# Folder of the page's own files, below the recordings.
OWN_FOLDER = "gallery"
LOGS = (CONFIG, CIRCUMSTANCES, EPISODES, METRICS, EVALUATIONS)
LONGEST_TIME = 40
LONGEST_COMMIT = 60
NANOSECONDS = 1_000_000_000  # in a second


class Stamp(NamedTuple):
    """Modification time and size of a file, to detect changes of the file."""

    modified: int  # nanoseconds
    size: int  # bytes


class RunKey(NamedTuple):
    """The key of a run on the page."""

    game: str
    name: str


@dataclass(frozen=True)
class _Recording:
    file: RecordingFile
    id: str
    media: MediaData
    run: RunKey
    protocol: int


@dataclass(frozen=True)
class _Evaluation:
    file: EvaluationFile
    run: RunKey
    protocol: int


class Collection:
    """Collects the data of the page, which refers to runs and protocols by index.

    Args:
        videos: Directory of all recordings and evaluations.

    Attributes:
        notes: A line about each file that is left out.
    """

    def __init__(self, videos: Path) -> None:
        self.notes: list[str] = []
        self._videos = videos
        self._runs: dict[RunKey, RunData] = {}
        self._protocols: list[dict[str, str]] = []
        self._protocol_indices: dict[str, int] = {}
        self._recordings: list[_Recording] = []
        self._evaluations: list[_Evaluation] = []

    def add_run(self, directory: Path) -> None:
        """Adds the curve and the settings of a run."""
        stamps = tuple(_stamp(directory / name) for name in LOGS)
        try:
            run = _read_run(directory, stamps)
        except UserError as error:
            self.notes.append(f"'{directory}' is skipped: {error}")
            return
        key = RunKey(run["game"], run["name"])
        if key in self._runs:
            self.notes.append(
                f"'{directory}' is skipped: another run of this game has the same name"
            )
        else:
            self._runs[key] = run

    def add_json(self, path: Path) -> None:
        """Adds a recording or an evaluation, or a note about any other file."""
        try:
            stamp = _stamp(path)
            file = _read_json(path, stamp)
            if isinstance(file, EvaluationFile):
                run = self._run_of(file, path, stamp)
                self._evaluations.append(_Evaluation(file, run, self._protocol_of(file)))
            elif path.is_relative_to(self._videos):
                self._add_recording(path, stamp, file)
            else:
                raise UserError("a recording must be below the directory of all recordings")
        except UserError as error:
            self.notes.append(f"'{_printable(path)}' is skipped: {error}")

    def data(self) -> GalleryData:
        """Returns the collected data.

        Games and runs are sorted by name, recordings and evaluations by run and agent step.
        """
        keys = sorted(self._runs, key=lambda key: (key.game.lower(), *_natural(key.name)))
        indices = {key: index for index, key in enumerate(keys)}
        runs = [self._runs[key] for key in keys]
        roms = {run["game"]: run["rom"] for run in runs}
        recordings = [_recording_data(part, indices[part.run]) for part in self._recordings]
        evaluations = [_evaluation_data(part, indices[part.run]) for part in self._evaluations]
        return {
            "games": [_game_data(game, rom) for game, rom in roms.items()],
            "runs": runs,
            "protocols": self._protocols,
            "recordings": sorted(recordings, key=_recording_order),
            "evaluations": sorted(evaluations, key=_evaluation_order),
            "leaderboard": leaderboard(runs, evaluations),
            "begin": command("train", game="breakout"),
        }

    def _add_recording(self, path: Path, stamp: Stamp | None, file: RecordingFile) -> None:
        if _printable(path) != str(path):
            raise UserError("its name is not valid text")
        folder = path.parent.relative_to(self._videos).as_posix()
        media: MediaData = {}
        for ending in ENDINGS:
            if ending not in file.files:
                continue
            name = file.files[ending].name
            if not name.lower().endswith(f".{ending}"):
                raise UserError(f"files.{ending}.name is not a .{ending} file")
            if _is_inside(path.with_name(name), self._videos):
                media[ending] = (f"{folder}/{name}", file.files[ending].seconds)
        if not media:
            raise UserError("its GIF or MP4 is not beside it")
        recording = _Recording(
            file=file,
            id=f"{folder}/{path.name}",
            media=media,
            run=self._run_of(file, path, stamp),
            protocol=self._protocol_of(file),
        )
        self._recordings.append(recording)

    def _run_of(
        self, file: RecordingFile | EvaluationFile, path: Path, stamp: Stamp | None
    ) -> RunKey:
        """Returns the key of a file's run, and adds the run if its own files are gone."""
        key = RunKey(file.game, file.run)
        run = self._runs.setdefault(key, _unknown_run(file, _kind_of(file, path)))
        if run["settings"] is None and stamp is not None:
            run["newest"] = max(run["newest"], stamp.modified / NANOSECONDS)
        return key

    def _protocol_of(self, file: RecordingFile | EvaluationFile) -> int:
        """Returns the index of a file's protocol, and adds the protocol if it is new."""
        conditions = file.protocol.conditions()
        signature = json.dumps(conditions, sort_keys=True)
        if signature not in self._protocol_indices:
            self._protocol_indices[signature] = len(self._protocols)
            self._protocols.append(conditions)
        return self._protocol_indices[signature]


def collect(root: Path, videos: Path) -> tuple[GalleryData, list[str]]:
    """Reads every run below ``root`` and every recording and evaluation below ``videos``.

    Returns:
        The data of the page, and a note about each file that is left out.
    """
    collection = Collection(videos)
    for config in sorted(root.glob(f"*/*/{CONFIG}")):
        collection.add_run(config.parent)
        if _is_released(config.parent):
            for evaluation in sorted(config.parent.glob("*_evaluation_*.json")):
                collection.add_json(evaluation)
    files = list(_files_below(videos))
    descriptions = [path for path in files if path.suffix == ".json"]
    for path in descriptions:
        collection.add_json(path)
    described = {path.with_suffix("") for path in descriptions}
    media = [path for path in files if path.suffix.lower() in (".gif", ".mp4")]
    bare = sum(path.with_suffix("") not in described for path in media)
    if bare:
        collection.notes.append(
            f"{bare} GIF or MP4 files in '{videos}' have no JSON file beside them and are not shown"
        )
    return collection.data(), collection.notes


def _game_data(game: str, rom: str | None) -> GameData:
    return {"id": game, "reference": reference_scores().get(rom or "")}


def _recording_data(recording: _Recording, run: int) -> RecordingData:
    file = recording.file
    return {
        "run": run,
        "steps": file.steps,
        "source": file.source,
        "protocol": recording.protocol,
        **recording.media,
        "id": recording.id,
        "rank": file.rank,
        "annotated": file.annotated,
        "score": file.episode.score,
        "seed": file.episode.seed,
        "length": file.episode.steps,
        "cut": file.episode.cut_by_frame_cap and not file.reached_own_limit,
        "at_limit": file.reached_own_limit,
        "seconds": file.seconds,
    }


def _evaluation_data(evaluation: _Evaluation, run: int) -> EvaluationData:
    file = evaluation.file
    statistics = file.statistics
    return {
        "run": run,
        "steps": file.steps,
        "source": file.source,
        "protocol": evaluation.protocol,
        "episodes": statistics.episodes,
        "mean": statistics.mean,
        "standard_error": statistics.standard_error,
        "median": statistics.median,
        "min": statistics.min,
        "max": statistics.max,
        "human_normalised": statistics.human_normalised,
        "cut_by_frame_cap": statistics.cut_by_frame_cap,
        "seed": file.protocol.seed,
    }


def _recording_order(data: RecordingData) -> tuple[int, int, float, str]:
    return data["run"], data["steps"], data["score"], data["id"]


def _evaluation_order(data: EvaluationData) -> tuple[int, int, int, int]:
    return data["run"], data["steps"], data["protocol"], data["seed"]


def _files_below(videos: Path) -> Iterator[Path]:
    """Yields the files below a directory, except for the page's own."""
    own = videos / OWN_FOLDER
    for path in sorted(videos.rglob("*")):
        if path.is_file() and own not in path.parents:
            yield path


def _is_inside(path: Path, folder: Path) -> bool:
    """Returns whether a path is a file inside a directory once links are resolved."""
    return path.is_file() and path.resolve().is_relative_to(folder.resolve())


def _stamp(path: Path) -> Stamp | None:
    """Returns the stamp of a file, or None if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return Stamp(status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=50_000)
def _read_json(path: Path, stamp: Stamp | None) -> RecordingFile | EvaluationFile:
    """Returns the content of a file, cached until its stamp changes."""
    if stamp is None:
        raise UserError("it is gone")
    if stamp.size > LARGEST_FILE:
        raise UserError(f"larger than {LARGEST_FILE // 2**20} MiB")
    return read_file(path)


@lru_cache(maxsize=10_000)
def _read_run(directory: Path, stamps: tuple[Stamp | None, ...]) -> RunData:
    """Returns the data of a run, cached until the stamp of one of its logs changes."""
    try:
        tables = read_toml(directory / CONFIG)
    except UserError as error:
        raise UserError(f"its {CONFIG} cannot be read: {error}") from None
    game = tables.get("game")
    recipe = tables.get("recipe")
    protocol = tables.get("protocol")
    if not isinstance(game, str) or not isinstance(recipe, str) or not isinstance(protocol, str):
        raise UserError(f"its {CONFIG} names no game, recipe and protocol")
    if _printable(directory) != str(directory):
        raise UserError("its name is not valid text")
    start = _starts(directory)
    curve = thinned_curve(directory)
    version = tables.get("recipe_version")
    return {
        "game": game,
        "name": directory.name,
        "kind": "released" if _is_released(directory) else "run",
        "recipe": versioned(recipe, version if isinstance(version, int) else None),
        "rom": _rom(game),
        "newest": start.newest or (directory / CONFIG).stat().st_mtime,
        "curve": curve,
        "evaluations": thinned_evaluations(directory),
        "progress": thinned_progress(directory),
        "commands": _commands(directory, tables),
        "settings": _settings(tables),
        "started": start.time,
        "commit": start.commit,
    }


def _unknown_run(file: RecordingFile | EvaluationFile, kind: Kind) -> RunData:
    """Returns the data of random play, or of a run whose own files are gone."""
    commands: list[CommandData] = []
    if kind == "random":
        commands = [{"label": "Evaluate", "text": command("random", game=file.game)}]
    return {
        "game": file.game,
        "name": file.run,
        "kind": kind,
        "recipe": file.recipe,
        "rom": file.rom,
        "newest": 0.0,
        "curve": None,
        "evaluations": None,
        "progress": None,
        "commands": commands,
        "settings": None,
        "started": None,
        "commit": None,
    }


def _is_released(directory: Path) -> bool:
    return directory.parent.name == RELEASED


def _kind_of(file: RecordingFile | EvaluationFile, path: Path) -> Kind:
    """Returns the kind of the run of a recording or evaluation."""
    if file.source == "random":
        return "random"
    return "released" if _is_released(path) else "run"


def _commands(directory: Path, tables: dict[str, Any]) -> list[CommandData]:
    """Returns the commands to continue and to evaluate a run, or to evaluate a released agent."""
    evaluate: CommandData = {"label": "Evaluate", "text": command("eval", checkpoint=directory)}
    if _is_released(directory):
        return [evaluate]
    training = tables.get("training")
    total = training.get("total_steps") if isinstance(training, dict) else None
    logged = read_logged_steps(directory)
    run = {"game": tables["game"], "run_dir": directory}
    if isinstance(total, int) and len(logged) and logged[-1] >= total:
        longer = command("train", **run, total_steps=2 * total)
        return [{"label": "Train longer", "text": longer}, evaluate]
    return [{"label": "Continue", "text": command("train", **run)}, evaluate]


def _settings(tables: dict[str, Any]) -> dict[str, str]:
    """Returns the text of every setting, by ``section.key``."""
    values: dict[str, Any] = {}
    for section, value in tables.items():
        if isinstance(value, dict):
            values |= {f"{section}.{key}": entry for key, entry in value.items()}
        else:
            values[section] = value
    return {name: json.dumps(value, default=str).strip('"') for name, value in values.items()}


class _Starts(NamedTuple):
    """When and with which commit a run was started first, and when it was started last."""

    time: str | None = None
    commit: str | None = None
    newest: float | None = None  # seconds since 1970


def _starts(directory: Path) -> _Starts:
    """Returns the starts of a run, or nothing if they cannot be read."""
    known = _Starts()
    with suppress(UserError, KeyError, IndexError, TypeError, AttributeError, ValueError):
        starts = read_json(directory / CIRCUMSTANCES)["starts"]
        first = starts[0]
        commit = str(first["commit"] or "")[:LONGEST_COMMIT] or None
        known = _Starts(str(first["time"])[:LONGEST_TIME], commit)
        newest = datetime.fromisoformat(str(starts[-1]["time"])).timestamp()
        known = known._replace(newest=newest)
    return known


def _rom(game: str) -> str | None:
    try:
        return identify(game).rom
    except UserError:  # a user's own environment
        return None


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    """Returns a sort key that puts seed2 before seed10.

    >>> sorted(["seed10", "seed2"], key=_natural)
    ['seed2', 'seed10']
    """
    parts = [part for part in re.split(r"(\d+)", name) if part]
    return tuple((int(part), "") if part.isdecimal() else (-1, part.lower()) for part in parts)


def _printable(path: Path) -> str:
    return str(path).encode("utf-8", "replace").decode("utf-8")
