"""Agents to give away: what it takes to play them, how they were trained, and how well they play."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from atari_dqn.agent.pretrained import RELEASED, compact_arrays, load_agent
from atari_dqn.config.resolve import load_config, read_config
from atari_dqn.config.schema import SECTIONS, Config
from atari_dqn.errors import UserError
from atari_dqn.evaluation.describe import describe
from atari_dqn.evaluation.evaluate import Evaluation, evaluate
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


def release(
    source: str | Path, out: str | Path, gif: str | Path, seed: int, episodes: int | None
) -> Evaluation:
    """Writes an agent without what it would take to train on, scores what was written, and records
    its median episode.

    Args:
        source: a checkpoint in its run's directory.
        out: the directory to make, laid out as a run's: settings, learning curves, one checkpoint
            with weights of 16 bits; and the evaluation as JSON, and a model card.
        gif: the recording, with a JSON beside it.
        seed: of the evaluation.
        episodes: of the evaluation; None: the protocol's.

    Raises:
        UserError: ``out`` is there already, or the checkpoint is damaged or no longer in its run's
            directory.
    """
    source, out, gif = Path(source), Path(out), Path(gif)
    if out.exists():
        raise UserError(f"there is '{out}' already: choose another name, or delete it first")
    run, stored, config = (
        source.parent,
        checkpoint.load(source, shared=False),
        read_config(source / CONFIG),
    )
    lacking = [name for name in (*CURVES, CIRCUMSTANCES) if not (run / name).is_file()]
    if lacking:
        raise UserError(
            f"'{run}' lacks {', '.join(lacking)}: a checkpoint is released from the directory of its run"
        )
    starts = read_starts(run / CIRCUMSTANCES)
    curves = {name: read_bytes(run / name, LARGEST_LOG) for name in CURVES}
    settings_text = read_bytes(source / CONFIG)
    with checkpoint.restoring(source):
        notes = {name: stored.notes[name] for name in ("observation_shape", "actions", "time")}
        notes[RELEASED] = True
        curves = {name: content[: stored.notes["logs"][name]] for name, content in curves.items()}
        seconds = float(stored.notes["time"]["wall"])
    out.parent.mkdir(parents=True, exist_ok=True)
    check_beside(gif)
    with TemporaryDirectory(dir=out.parent, prefix=".writing-") as name:
        made = Path(name) / out.name
        made.mkdir()
        settings: dict[str, Callable[[Path], Any]] = {
            CONFIG: lambda path: write_whole(path, settings_text),
        }
        written = checkpoint.save(
            made,
            stored.step,
            checkpoint.Contents(compact_arrays(load_agent(source)), settings, notes),
        )
        result = evaluate(load_agent(written).act, config, seed=seed, episodes=episodes)
        origin = Origin(
            "evaluation", out.name, config.recipe, (out / written.name).as_posix(), stored.step
        )
        write_whole(made / CONFIG, settings_text)
        for curve, content in curves.items():
            write_whole(made / curve, content)
        answer = json.dumps(evaluation_json(result, origin), indent=1) + "\n"
        write_whole(made / f"{evaluation_stem(result, origin)}.json", answer.encode())
        card = model_card(out, gif, stored.step, seconds, config, result, starts)
        write_whole(made / CARD, card.encode())
        made.rename(out)
    gif.parent.mkdir(parents=True, exist_ok=True)
    median = EvaluatedEpisode.of_rank(result, "median", origin)
    record_episode({"gif": gif}, median)
    return result


def model_card(
    out: Path,
    gif: Path,
    step: int,
    seconds: float,
    config: Config,
    result: Evaluation,
    starts: list[dict[str, Any]],
) -> str:
    """What to know of an agent before it is used or quoted: score, protocol, command, commit,
    machine, time.
    """
    commits = dict.fromkeys(str(start.get("commit") or "unknown") for start in starts)
    named = [start.get("machine") or start.get("platform") or "unknown" for start in starts]
    machines = dict.fromkeys(str(machine) for machine in named)
    last = starts[-1] if starts else {}
    versions = found if isinstance(found := last.get("packages"), dict) else {}
    packages = ("tensorflow", "keras", "ale-py", "gymnasium")
    rows = {
        "trained with": f"`{training_command(config)}`",
        "recipe, protocol": f"`{config.recipe}`, `{config.protocol}`; every setting: [{CONFIG}]({CONFIG})",
        "seed": config.machine.seed,
        "agent steps": f"{step:,}",
        "wall time": f"{timedelta(seconds=round(seconds))} in {len(starts)} start{'s'[: len(starts) > 1]} "
        f"({step / max(seconds, 1e-9):.0f} agent steps a second, evaluations and recordings included)",
        "machine": "; ".join(machines),
        "commit": ", ".join(f"`{commit}`" for commit in commits),
        "packages": ", ".join(f"{name} {versions.get(name, 'unknown')}" for name in packages)
        + f"; Python {last.get('python', 'unknown')}",
        "weights": "rounded to 16 bits (the score is theirs)",
    }
    return "\n".join(
        [
            f"# {config.game}",
            "",
            f"Its own evaluation, of the weights as they are stored: `make eval CKPT={out.as_posix()}`",
            "",
            "```",
            describe(result, agent=f"{out.as_posix()}, {step} agent steps"),
            "```",
            "",
            "| | |",
            "| --- | --- |",
            *(f"| {name} | {value} |" for name, value in rows.items()),
            "",
            f"Learning curve: [{CURVES[0]}]({CURVES[0]}), [{CURVES[1]}]({CURVES[1]}). Its median episode: `{gif.as_posix()}`.",
            "",
        ]
    )


def training_command(config: Config) -> str:
    """The command that trains with these settings, whatever differs from the recipe's named;
    threads are the machine's.

    Raises:
        UserError: the recipe or the protocol was a file of one's own.
    """
    kwargs = config.environment.kwargs
    usual, _ = load_config(
        config.game,
        config.recipe,
        config.protocol,
        {"environment.kwargs": kwargs} if kwargs else None,
    )
    named = {"machine.seed": "SEED", "training.total_steps": "STEPS"}
    words = [f"GAME={config.game}", f"CONFIG={config.recipe}", f"PROTOCOL={config.protocol}"]
    arguments = []
    for section in SECTIONS:
        before, values = getattr(usual, section).model_dump(), getattr(config, section).model_dump()
        for key, value in values.items():
            name = f"{section}.{key}"
            if name in named:
                words.append(f"{named[name]}={value}")
            elif (value != before[key] and name not in THREADS) or (key == "kwargs" and value):
                text = value if isinstance(value, str) else _in_toml(value)
                arguments.append(f"--{name} {text}")
    return " ".join(
        ["make train", *words, *([f"ARGS='{' '.join(arguments)}'"] if arguments else [])]
    )


def _in_toml(value: Any) -> str:
    """A value as the command line reads it, without spaces.

    >>> _in_toml({"size": 3, "walls": [True, False]})
    '{size=3,walls=[true,false]}'
    """
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}={_in_toml(entry)}" for key, entry in value.items()) + "}"
    return json.dumps(value, separators=(",", ":"))
