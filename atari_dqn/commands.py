"""What each command of the command line does. TensorFlow is imported only by those that need it."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from atari_dqn import checkpoint, games, runs
from atari_dqn.config import DEFAULT_RECIPE, load_config, parse_value, read_config
from atari_dqn.settings import SECTIONS, Config


def train(options: argparse.Namespace) -> int:
    """Starts a run, or continues one."""
    config, notes, given = _settings(options)
    directory = runs.choose(Path(options.root), config, options.run_dir)
    saved = checkpoint.in_run(directory)
    if saved:
        config = runs.merge(read_config(directory / runs.CONFIG), config, given)
        done = checkpoint.step_of(saved[-1])
        if done >= config.training.total_steps:
            print(f"{directory} is complete: {done} agent steps; a larger number of steps extends it")
            return 0
    elif options.run_dir is None and (unfinished := runs.unfinished(directory.parent)):
        notes.append(
            f"this is a new run; {unfinished[-1]} is unfinished, and RUN={unfinished[-1].name} (--run-dir) continues it"
        )
    _say(*(f"note: {note}" for note in notes), _describe_game(config), f"run directory: {directory}")
    _start_tensorflow(config)
    from atari_dqn.metrics import cut_logs
    from atari_dqn.training import Training

    training = Training(config, directory, _video_directory(options, config, directory.name))
    runs.write_circumstances(directory, config)
    if saved:
        training.restore(checkpoint.load(saved[-1]))
        _say(f"continuing at step {training.steps}; the replay memory is filled anew before learning goes on")
    else:
        cut_logs(directory, {})
    training.agent.online.summary(print_fn=_say, line_length=90)
    complete = training.run()
    run = directory.as_posix() if len(directory.parts) > 1 else f"./{directory}"
    if not complete:
        _say(f"interrupted at step {training.steps} of {config.training.total_steps} and saved; to continue:")
        _say(f"  make train GAME={config.game} RUN={run}", f"  atari-dqn train --game {config.game} --run-dir {run}")
        return 130
    score, seconds = training.episodes.mean_score, training.wall_seconds
    print(f"complete: {training.steps} agent steps in {seconds:.0f} s, mean score of the last 100 episodes {score:.2f}")
    print(f"checkpoint: {checkpoint.find(directory)}")
    return 0


def evaluate(options: argparse.Namespace) -> int:
    """Scores a checkpoint and shows its median episode."""
    path = checkpoint.find(Path(options.checkpoint))
    _start_tensorflow(read_config(path / runs.CONFIG))
    from atari_dqn.agent import load_agent
    from atari_dqn.evaluation import describe, evaluate

    agent, config, stored = load_agent(path)
    result = evaluate(agent.act, config, seed=options.seed, episodes=options.episodes, epsilon=options.epsilon)
    print(describe(result, agent=f"{path}, {stored.step} agent steps"))
    directory = _video_directory(options, config, path.resolve().parent.name)
    _write_result(directory, f"step-{stored.step:09d}", result, {"checkpoint": str(path), "steps": stored.step})
    return 0


def random(options: argparse.Namespace) -> int:
    """Scores and shows an agent that acts at random."""
    import numpy as np

    from atari_dqn.evaluation import describe, evaluate

    config, notes, _ = _settings(options)
    _say(*(f"note: {note}" for note in notes))

    def unused(observation: Any) -> Any:
        return np.zeros(len(observation), np.int32)

    result = evaluate(unused, config, seed=options.seed, episodes=options.episodes, epsilon=1.0)
    print(describe(result, agent="uniformly random actions"))
    _write_result(_video_directory(options, config, "random"), "random", result, {"checkpoint": None, "steps": 0})
    return 0


def record(options: argparse.Namespace) -> int:
    """Plays one episode and renders it."""
    from atari_dqn.recording import check_ending, write_recording

    check_ending(Path(options.out))
    path = checkpoint.find(Path(options.checkpoint))
    _start_tensorflow(read_config(path / runs.CONFIG))
    from atari_dqn.agent import load_agent
    from atari_dqn.evaluation import evaluate

    agent, config, _ = load_agent(path)
    (episode,) = evaluate(agent.act, config, seed=options.seed, episodes=1, epsilon=options.epsilon).episodes
    seconds = write_recording(Path(options.out), config, episode)
    print(f"{options.out}: score {episode.score:g}, {seconds:.1f} of {episode.frames / 60:.1f} s")
    return 0


def list_games(options: argparse.Namespace) -> int:
    """Lists every game and the ids it answers to."""
    for rom in games.single_player_roms():
        print(f"{rom:<18} {'  '.join(games.ids_of(rom))}")
    return 0


def show_config(options: argparse.Namespace) -> int:
    """Prints every setting of a recipe with its value, meaning, unit and source."""
    config, _, _ = _settings(options)
    for section, settings in SECTIONS.items():
        print(f"[{section}]")
        for key, field in settings.model_fields.items():
            extra: dict[str, Any] = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
            about = "; ".join(str(text) for text in (field.description, extra.get("unit"), extra.get("source")) if text)
            print(f"{key} = {json.dumps(getattr(getattr(config, section), key))}  # {about}")
        print()
    return 0


def digest(options: argparse.Namespace) -> int:
    """Prints a SHA-256 over everything that a continued run depends on."""
    print(checkpoint.digest(checkpoint.load(Path(options.checkpoint)).arrays))
    return 0


def _settings(options: argparse.Namespace) -> tuple[Config, list[str], set[str]]:
    """The settings that a command asks for, notes for the user, and the names of what it gave itself."""
    overrides = dict(options.overrides)
    if options.command == "train" and options.total_steps is not None:
        overrides["training.total_steps"] = parse_value(options.total_steps)
    if options.command == "train" and options.seed is not None:
        overrides["machine.seed"] = parse_value(options.seed)
    config, notes = load_config(options.game, options.config or DEFAULT_RECIPE, options.protocol, overrides)
    given = {name for name in ("recipe", "protocol") if getattr(options, "config" if name == "recipe" else name) is not None}
    return config, notes, given | set(overrides)


def _say(*lines: str) -> None:
    for line in lines:
        print(line, file=sys.stderr)


def _start_tensorflow(config: Config) -> None:
    from atari_dqn.tensorflow_setup import start

    start(config.machine.intra_op_threads, config.machine.inter_op_threads)


def _describe_game(config: Config) -> str:
    from atari_dqn.evaluation import describe_environment

    return f"game: {config.game} (rom {config.spec.rom}); protocol {config.protocol}: {describe_environment(config)}"


def _video_directory(options: argparse.Namespace, config: Config, run: str) -> Path:
    return runs.game_directory(Path(options.videos), config.game) / run


def _write_result(directory: Path, stem: str, result: Any, agent: dict[str, Any]) -> None:
    """Writes the JSON, GIF and MP4 of an evaluation and prints their paths."""
    from atari_dqn.recording import write_recording

    episode = result.representative()
    name = f"{stem}-score-{episode.score:g}-evaluation-seed{result.seed}"
    for ending in (".gif", ".mp4"):
        path = directory / f"{name}{ending}"
        seconds = write_recording(path, result.config, episode)
        shown = f"median episode, score {episode.score:g}, {seconds:.1f} of {episode.frames / 60:.1f} s"
        print(f"{'recorded':<17} {path} ({shown})")
    path = directory / f"{name}.json"
    path.write_text(json.dumps(agent | result.to_json(), indent=1) + "\n", encoding="utf-8")
    print(f"{'written':<17} {path}")
