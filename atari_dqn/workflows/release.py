"""Releases an agent: writes its weights, the logs of its training, and its score."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from atari_dqn.agent.pretrained import RELEASED, compact_arrays, load_agent
from atari_dqn.config.resolve import read_config, settings_by_name
from atari_dqn.config.schema import SECTIONS, Config
from atari_dqn.errors import UserError
from atari_dqn.evaluation.describe import describe
from atari_dqn.evaluation.evaluate import evaluate
from atari_dqn.evaluation.results import Evaluation
from atari_dqn.files.atomic_write import write_whole
from atari_dqn.files.csv_files import LARGEST_LOG
from atari_dqn.files.reading import read_bytes
from atari_dqn.recording.episode_file import (
    EvaluatedEpisode,
    Origin,
    evaluation_json,
    evaluation_stem,
)
from atari_dqn.recording.render import check_beside, record_episode
from atari_dqn.runs import checkpoint
from atari_dqn.runs.circumstances import CIRCUMSTANCES, read_starts
from atari_dqn.runs.continuation import THREADS
from atari_dqn.runs.directory import CONFIG

CURVES = ("episodes.csv", "metrics.csv")
CARD = "README.md"
# Settings that have their own variable in make.
VARIABLES = {"machine.seed": "SEED", "training.total_steps": "STEPS"}


@dataclass(frozen=True)
class _Source:
    """The checkpoint to release, with the files of its run.

    Attributes:
        path: Path of the checkpoint.
        stored: Content of the checkpoint, without the replay memory.
        config: Settings of the run.
        settings_text: The settings file in the checkpoint, byte for byte.
        curves: Content of the run's logs up to the checkpoint, by file name.
        starts: Circumstances of each start of the run.
        notes: Notes for the released checkpoint.
        seconds: Wall time of the training.
    """

    path: Path
    stored: checkpoint.Checkpoint
    config: Config
    settings_text: bytes
    curves: dict[str, bytes]
    starts: list[dict[str, Any]]
    notes: dict[str, Any]
    seconds: float


@dataclass(frozen=True)
class ModelCard:
    """The model card of a released agent.

    Attributes:
        out: Directory of the released agent.
        gif: Recording of its median episode.
        step: Agent steps of its training.
        seconds: Wall time of its training.
        config: Settings of its training.
        result: Evaluation of the released weights.
        starts: Circumstances of each start of its training.
    """

    out: Path
    gif: Path
    step: int
    seconds: float
    config: Config
    result: Evaluation
    starts: list[dict[str, Any]]

    def to_markdown(self) -> str:
        """Returns the card as Markdown: score, protocol, command, commit, machine and time."""
        out = self.out.as_posix()
        curves = ", ".join(f"[{name}]({name})" for name in CURVES)
        rows = [f"| {name} | {value} |" for name, value in self._rows().items()]
        return "\n".join(
            [
                f"# {self.config.game}",
                "",
                f"Evaluation of the released weights: `make eval CKPT={out}`",
                "",
                "```",
                describe(
                    self.result, f"{out}, {self.step:,} agent steps", self.config.versioned_recipe
                ),
                "```",
                "",
                "| | |",
                "| --- | --- |",
                *rows,
                "",
                f"Learning curve: {curves}. Median episode: `{self.gif.as_posix()}`.",
                "",
            ]
        )

    def _rows(self) -> dict[str, object]:
        """Returns the rows of the card's table, by their titles."""
        config = self.config
        commits = dict.fromkeys(str(start.get("commit") or "unknown") for start in self.starts)
        machines = dict.fromkeys(
            str(start.get("machine") or start.get("platform") or "unknown") for start in self.starts
        )
        names = f"`{config.versioned_recipe}`, `{config.protocol}`"
        return {
            "trained with": f"`{training_command(config)}`",
            "recipe, protocol": f"{names}; every setting: [{CONFIG}]({CONFIG})",
            "seed": config.machine.seed,
            "agent steps": f"{self.step:,}",
            "wall time": self._wall_time(),
            "machine": "; ".join(machines),
            "commit": ", ".join(f"`{commit}`" for commit in commits),
            "packages": self._packages(),
            "weights": "rounded to 16 bits; the score is that of the rounded weights",
        }

    def _wall_time(self) -> str:
        count = len(self.starts)
        starts = "starts" if count > 1 else "start"
        duration = timedelta(seconds=round(self.seconds))
        rate = self.step / max(self.seconds, 1e-9)
        speed = f"{rate:.0f} agent steps a second, including evaluations and recordings"
        return f"{duration} in {count} {starts} ({speed})"

    def _packages(self) -> str:
        """Returns the versions of packages and of Python at the last start."""
        last = self.starts[-1] if self.starts else {}
        packages = last.get("packages")
        versions = packages if isinstance(packages, dict) else {}
        names = ("tensorflow", "keras", "ale-py", "gymnasium")
        listed = ", ".join(f"{name} {versions.get(name, 'unknown')}" for name in names)
        return f"{listed}; Python {last.get('python', 'unknown')}"


def release(
    source: str | Path, out: str | Path, gif: str | Path, seed: int, episodes: int | None
) -> Evaluation:
    """Writes an agent without its training state, evaluates it and records an episode.

    Args:
        source: A checkpoint in the directory of its run.
        out: Directory to create. It has the layout of a run directory: settings, learning curves
            and one checkpoint with 16-bit weights. It also contains the evaluation as JSON and
            the model card.
        gif: Path for the recording of the median episode; a JSON file is written beside it.
        seed: Seed of the evaluation.
        episodes: Number of episodes of the evaluation, or None for the protocol's number.

    Raises:
        UserError: ``out`` exists already, or the checkpoint is damaged or no longer in the
            directory of its run.
    """
    out = Path(out)
    gif = Path(gif)
    if out.exists():
        raise UserError(f"'{out}' exists already: choose another name, or delete it first")
    read = _read_source(Path(source))
    out.parent.mkdir(parents=True, exist_ok=True)
    check_beside(gif)
    with TemporaryDirectory(dir=out.parent, prefix=".writing-") as name:
        temporary = Path(name) / out.name
        temporary.mkdir()
        written = _write_agent(read, temporary)
        result = evaluate(load_agent(written).act, read.config, seed=seed, episodes=episodes)
        step = read.stored.step
        origin = Origin(
            "evaluation",
            out.name,
            read.config.versioned_recipe,
            (out / written.name).as_posix(),
            step,
        )
        text = json.dumps(evaluation_json(result, origin), indent=1) + "\n"
        write_whole(temporary / f"{evaluation_stem(result, origin)}.json", text.encode())
        card = ModelCard(out, gif, step, read.seconds, read.config, result, read.starts)
        write_whole(temporary / CARD, card.to_markdown().encode())
        temporary.rename(out)
    gif.parent.mkdir(parents=True, exist_ok=True)
    median = EvaluatedEpisode.of_rank(result, "median", origin)
    record_episode({"gif": gif}, median)
    return result


def _read_source(path: Path) -> _Source:
    """Reads a checkpoint and the files of its run."""
    run = path.parent
    stored = checkpoint.load(path, shared=False)
    config = read_config(path / CONFIG)
    missing = [name for name in (*CURVES, CIRCUMSTANCES) if not (run / name).is_file()]
    if missing:
        advice = "release a checkpoint from the directory of its run"
        raise UserError(f"'{run}' lacks {', '.join(missing)}: {advice}")
    starts = read_starts(run / CIRCUMSTANCES)
    logs = {name: read_bytes(run / name, LARGEST_LOG) for name in CURVES}
    settings_text = read_bytes(path / CONFIG)
    with checkpoint.restoring(path):
        notes = {name: stored.notes[name] for name in ("observation_shape", "actions", "time")}
        notes[RELEASED] = True
        sizes = stored.notes["logs"]
        curves = {name: content[: sizes[name]] for name, content in logs.items()}
        seconds = float(stored.notes["time"]["wall"])
    return _Source(path, stored, config, settings_text, curves, starts, notes, seconds)


def _write_agent(source: _Source, directory: Path) -> Path:
    """Writes settings, learning curves and a compact checkpoint, and returns the latter's path."""
    settings: dict[str, Callable[[Path], object]] = {
        CONFIG: lambda path: write_whole(path, source.settings_text),
    }
    arrays = compact_arrays(load_agent(source.path))
    contents = checkpoint.Contents(arrays, settings, source.notes)
    written = checkpoint.save(directory, source.stored.step, contents)
    write_whole(directory / CONFIG, source.settings_text)
    for name, content in source.curves.items():
        write_whole(directory / name, content)
    return written


def training_command(config: Config) -> str:
    """Returns the ``make`` command that trains with these settings, without thread counts.

    Raises:
        UserError: The recipe or the protocol is not one of this package's own.
    """
    kwargs = config.environment.kwargs
    overrides = {"environment.kwargs": kwargs} if kwargs else None
    defaults, protocol = settings_by_name(config, overrides)
    words = ["make train", f"GAME={config.game}", f"CONFIG={config.recipe}"]
    if protocol is not None:
        words.append(f"PROTOCOL={protocol}")
    arguments = []
    for section in SECTIONS:
        default_values = getattr(defaults, section).model_dump()
        for key, value in getattr(config, section).model_dump().items():
            name = f"{section}.{key}"
            differs = value != default_values[key] and name not in THREADS
            is_kwargs = key == "kwargs" and bool(value)
            if name in VARIABLES:
                words.append(f"{VARIABLES[name]}={value}")
            elif differs or is_kwargs:
                text = value if isinstance(value, str) else _in_toml(value)
                arguments.append(f"--{name} {text}")
    if arguments:
        words.append(f"ARGS='{' '.join(arguments)}'")
    return " ".join(words)


def _in_toml(value: Any) -> str:
    """Returns a value in the notation of the command line, without spaces.

    >>> _in_toml({"size": 3, "walls": [True, False]})
    '{size=3,walls=[true,false]}'
    """
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}={_in_toml(entry)}" for key, entry in value.items()) + "}"
    return json.dumps(value, separators=(",", ":"))
