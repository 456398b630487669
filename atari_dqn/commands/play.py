"""What commands do with an agent: score, record, watch, export. TensorFlow is imported only by
those that need it.
"""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atari_dqn.commands.requests import settings_of, start_tensorflow, video_directory
from atari_dqn.config.resolve import load_config, read_config
from atari_dqn.config.schema import Config
from atari_dqn.console import say, say_notes
from atari_dqn.errors import UserError, check_installed, describe_failure
from atari_dqn.files.atomic_write import write_whole
from atari_dqn.games.ids import identify
from atari_dqn.runs import checkpoint
from atari_dqn.runs.directory import CONFIG, check_writable

if TYPE_CHECKING:
    from atari_dqn.evaluation.evaluate import Evaluation, Rank
    from atari_dqn.recording.episode_file import Origin
    from atari_dqn.recording.render import Show

# What ``watch`` takes in a checkpoint's place.
RANDOM = "random"


def evaluate(options: argparse.Namespace) -> int:
    """Scores a checkpoint and shows its median, best and worst episode."""
    path, agent, config = _load(options)
    from atari_dqn.evaluation.describe import describe
    from atari_dqn.evaluation.evaluate import evaluate
    from atari_dqn.recording.annotation import annotate
    from atari_dqn.recording.episode_file import Origin

    step, run = checkpoint.step_of(path), path.resolve().parent.name
    directory = video_directory(options, config, run)
    check_writable(directory)
    result = evaluate(
        agent.act, config, seed=options.seed, episodes=options.episodes, epsilon=options.epsilon
    )
    print(describe(result, agent=f"{path}, {step} agent steps"))
    origin = Origin("evaluation", run, config.recipe, str(path), step)
    _write_result(
        directory,
        result,
        origin,
        options.scale,
        annotate(agent, options.scale) if options.annotated else None,
    )
    return 0


def random(options: argparse.Namespace) -> int:
    """Scores and shows an agent that acts at random."""
    from atari_dqn.evaluation.describe import describe
    from atari_dqn.evaluation.evaluate import evaluate
    from atari_dqn.recording.episode_file import RANDOM_PLAY

    config, notes, _ = settings_of(options)
    directory = video_directory(options, config, RANDOM)
    check_writable(directory)
    say_notes(notes)

    result = evaluate(_no_policy, config, seed=options.seed, episodes=options.episodes, epsilon=1.0)
    print(describe(result, agent="uniformly random actions"))
    _write_result(directory, result, RANDOM_PLAY, options.scale)
    return 0


def record(options: argparse.Namespace) -> int:
    """Plays one episode and renders it, or renders one again from the JSON beside its recording."""
    from atari_dqn.recording.render import check_beside, check_ending, replay_recording

    out = Path(options.out)
    check_ending(out)
    check_writable(out.parent)
    check_beside(out)
    if (options.checkpoint is None) == (options.replay is None):
        raise UserError("record wants a checkpoint or --replay FILE.json, and not both")
    if options.replay:
        for name in ("game", "protocol", "epsilon", "seed"):
            if getattr(options, name) is not None:
                raise UserError(
                    f"--{name} is for a checkpoint: --replay plays the episode as its JSON says"
                )
        if options.annotated:
            raise UserError("--annotated wants a checkpoint: the JSON of an episode holds no agent")
        described = replay_recording(Path(options.replay), out, options.scale)
    else:
        described = _record_agent(options, out)
    shown = described.files["gif" if out.suffix.lower() == ".gif" else "mp4"].seconds
    print(f"{out}: score {described.episode.score:g}, {shown:.1f} of {described.seconds:.1f} s")
    return 0


def _record_agent(options: argparse.Namespace, out: Path) -> Any:
    path, agent, config = _load(options)
    from atari_dqn.evaluation.evaluate import evaluate
    from atari_dqn.recording.annotation import annotate
    from atari_dqn.recording.episode_file import EvaluatedEpisode, Origin
    from atari_dqn.recording.render import Rendering, ending_of, record_episode

    seed = 1 if options.seed is None else options.seed
    result = evaluate(agent.act, config, seed=seed, episodes=1, epsilon=options.epsilon)
    origin = Origin(
        "record", path.resolve().parent.name, config.recipe, str(path), checkpoint.step_of(path)
    )
    show = annotate(agent, options.scale) if options.annotated else None
    evaluated = EvaluatedEpisode(result, result.episodes[0], origin)
    return record_episode({ending_of(out): out}, evaluated, Rendering(options.scale, show))


def watch(options: argparse.Namespace) -> int:
    """Plays in a window; q or Escape closes it."""
    from atari_dqn.recording.window import check_display, play_in_window

    check_display()
    if options.checkpoint == RANDOM:
        if options.game is None:
            raise UserError("watch random wants a game: --game ID")
        (config, notes), policy, epsilon = (
            load_config(options.game, protocol=options.protocol, learns=False),
            _no_policy,
            1.0,
        )
        say_notes(notes)
    else:
        _, agent, config = _load(options)
        policy, epsilon = (
            agent.act,
            config.evaluation.epsilon if options.epsilon is None else options.epsilon,
        )
    for number, score in enumerate(
        play_in_window(policy, config, options.seed, options.episodes, epsilon), 1
    ):
        print(f"episode {number}: score {score:g}", flush=True)
    return 0


def export(options: argparse.Namespace) -> int:
    """Writes a checkpoint's network for other programs, and compares what it answers there."""
    out = Path(options.out)
    _check_export(out)
    check_writable(out.parent)
    _, agent, config = _load(options)
    from atari_dqn.agent.export import export_network
    from atari_dqn.evaluation.evaluate import observe

    seen = observe(agent.act, config, steps=32, seed=1)
    difference = export_network(agent, out, seen)
    print(f"{out}: Q-values of {', '.join(agent.action_names)}")
    print(
        f"on {len(seen)} observations of {config.game} it differs from the agent by {difference:.1g} at most"
    )
    return 0


def release(options: argparse.Namespace) -> int:
    """Writes what it takes to play an agent, without what it takes to train on, with its score and
    a model card.
    """
    out = Path(options.out)
    gif = Path(options.videos) / "released" / f"{out.name}.gif"
    for directory in (out.parent, gif.parent):
        check_writable(directory)
    source = checkpoint.find(Path(options.checkpoint))
    start_tensorflow(read_config(source / CONFIG))
    from atari_dqn.evaluation.describe import describe
    from atari_dqn.workflows.release import release

    result, step = (
        release(source, out, gif, options.seed, options.episodes),
        checkpoint.step_of(source),
    )
    print(describe(result, agent=f"{out}, {step} agent steps"))
    print(f"{'recorded':<17} {gif}")
    print(f"{'written':<17} {out}")
    return 0


def frames(options: argparse.Namespace) -> int:
    """Draws the emulator's frames of a few agent steps above what the network sees of them."""
    from atari_dqn.recording.preprocessing_figure import draw_frames

    out = Path(options.out)
    check_writable(out.parent)
    config, notes, _ = settings_of(options)
    say_notes(notes)
    draw_frames(out, config, options.steps, options.after, options.seed)
    print(out)
    return 0


def _check_export(out: Path) -> None:
    if out.suffix not in (".keras", ".onnx", ""):
        raise UserError(
            f"'{out}': wanted is NAME.keras, NAME.onnx, or a name without a dot for a TensorFlow SavedModel"
        )
    if out.suffix == ".onnx":
        check_installed("ONNX", ["onnx", "onnxruntime", "tf2onnx"], "export OUT=NAME.onnx", "onnx")
    if out.is_dir():
        raise UserError(f"there is a folder '{out}' already")


def _load(options: argparse.Namespace) -> tuple[Path, Any, Config]:
    """A checkpoint, its agent, and the settings to play it under: its own, or those of another id
    or protocol.
    """
    path = checkpoint.find(Path(options.checkpoint))
    config = read_config(path / CONFIG)
    if options.game or options.protocol:
        config = _elsewhere(path, config, options.game or config.game, options.protocol)
    start_tensorflow(config)
    from atari_dqn.agent.pretrained import load_agent
    from atari_dqn.environments.environments import make_games

    agent = load_agent(path)
    games = make_games(config.spec, config.environment, 1, config.evaluation.frame_cap)
    for name, has, wants in (
        ("actions", len(agent.action_names), len(games.action_names)),
        ("observations", agent.observation_shape, games.observation_shape),
    ):
        if has != wants:
            raise UserError(
                f"'{path}' knows {name} {has}; {config.game} under protocol '{config.protocol}' has {wants}"
            )
    return path, agent, config


def _elsewhere(path: Path, stored: Config, game: str, protocol: str | None) -> Config:
    """A checkpoint's settings under another id of its game, or under another protocol."""
    overrides: dict[str, Any] = {"network.torso": stored.network.torso}
    if identify(game).rom is None:
        overrides["environment.kwargs"] = stored.environment.kwargs
    asked, _ = load_config(game, protocol=protocol, overrides=overrides)
    if asked.rom != stored.rom:
        raise UserError(f"'{path}' plays {stored.game}, not {asked.game}")
    if protocol is not None:
        seen = {
            name: getattr(stored.environment, name)
            for name in ("time_feature", "rescale", "kwargs")
        }
        played = {
            "environment": asked.environment.model_copy(update=seen),
            "evaluation": asked.evaluation,
        }
        return stored.model_copy(update={"game": asked.game, "protocol": asked.protocol} | played)
    decided = {name: getattr(asked.environment, name) for name in asked.spec.fixed()}
    return stored.model_copy(
        update={"game": asked.game, "environment": stored.environment.model_copy(update=decided)}
    )


def _no_policy(observations: Any) -> Any:
    """For an agent whose every action is random."""
    import numpy as np

    return np.zeros(len(observations), np.int32)


def _write_result(
    directory: Path,
    result: "Evaluation",
    origin: "Origin",
    scale: int | None,
    annotated: "Show | None" = None,
) -> None:
    """Records the episodes of an evaluation that are worth seeing, writes its JSON, and prints the
    paths.
    """
    from atari_dqn.recording.episode_file import (
        EvaluatedEpisode,
        conditions_of,
        evaluation_json,
        evaluation_stem,
    )
    from atari_dqn.recording.render import Rendering, record_ranked

    path = directory / f"{evaluation_stem(result, origin)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(evaluation_json(result, origin), indent=1) + "\n").encode())
    suffix = conditions_of(result, origin)
    wanted: list[tuple[Rank, str, Show | None]] = [(rank, suffix, None) for rank in result.ranked()]
    wanted += [("median", f"{suffix}_annotated", annotated)] if annotated else []
    for rank, name, show in wanted:
        evaluated = EvaluatedEpisode.of_rank(result, rank, origin)
        try:
            described, paths = record_ranked(directory, evaluated, name, Rendering(scale, show))
        except (
            Exception,
            SystemExit,
        ) as error:  # the score is known and written; what shows it may fail
            say(f"note: the {rank} episode is not recorded: {describe_failure(error)}")
            continue
        files = f"{next(iter(paths.values())).with_suffix('')}." + ", .".join(paths)
        shown = min(file.seconds for file in described.files.values())
        cut = "" if shown >= described.seconds - 0.1 else f"; the GIF {shown:.0f} s"
        what = f"{rank} episode, score {described.episode.score:g}, {described.seconds:.1f} s{cut}"
        print(f"{'recorded':<17} {files} ({what})")
    print(f"{'written':<17} {path}")
