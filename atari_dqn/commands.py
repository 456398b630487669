"""What each command of the command line does. TensorFlow is imported only by those that need it."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from atari_dqn import checkpoint, games, runs
from atari_dqn.config import load_config, parse_value, read_config
from atari_dqn.errors import UserError
from atari_dqn.settings import Config
from atari_dqn.settings_page import as_markdown, as_toml
from atari_dqn.timing import shares

# What ``watch`` takes in a checkpoint's place.
RANDOM = "random"


def train(options: argparse.Namespace) -> int:
    """Starts a run, or continues one."""
    config, notes, given = _settings(options)
    config = runs.for_this_machine(config)
    directory = runs.choose(Path(options.root), config, options.run_dir)
    videos = _video_directory(options, config, directory.name)
    runs.check_writable(videos)
    with runs.held(directory):
        stored = _newest_sound(checkpoint.in_run(directory))
        if stored is not None:
            if options.init_from:
                raise UserError(f"'{directory}' has begun already, so --init-from comes too late; choose another run directory")
            config = runs.merge(read_config(directory / runs.CONFIG), config, given)
            if stored.step >= config.training.total_steps:
                print(f"{directory} is complete: {stored.step} agent steps; a larger number of steps extends it")
                return 0
        elif options.run_dir is None and (unfinished := runs.unfinished(directory.parent)):
            notes.append(
                f"this is a new run; {unfinished[-1]} is unfinished, and RUN={unfinished[-1].name} (--run-dir) continues it"
            )
        origin = checkpoint.find(Path(options.init_from)) if options.init_from else None
        _say(*(f"note: {note}" for note in notes), _describe_game(config), f"run directory: {directory}")
        return _train(config, directory, videos, stored, origin)


def _newest_sound(saved: list[Path]) -> checkpoint.Checkpoint | None:
    """The newest of a run's checkpoints that is not damaged; None if there are none at all."""
    for path in reversed(saved):
        try:
            return checkpoint.load(path)
        except UserError as error:
            if path == saved[0]:
                raise
            _say(f"note: {error}; the checkpoint before it is used")
    return None


def _train(config: Config, directory: Path, videos: Path, stored: checkpoint.Checkpoint | None, origin: Path | None) -> int:
    """Trains from a run's own checkpoint, from the weights of another's, or from nothing."""
    _start_tensorflow(config)
    from atari_dqn.loading import load_agent, start_from
    from atari_dqn.metrics import cut_logs
    from atari_dqn.training import Training

    training = Training(config, directory, videos)
    if origin is not None:
        everything = start_from(training.agent, load_agent(origin))
        _say(f"weights from {origin}" + ("" if everything else "; the output layers start anew: the actions differ"))
    runs.write_circumstances(directory, config)
    kept = {"memory": "raw in memory", "compressed": "packed in memory", "disk": "raw in a file"}[training.memory.storage]
    _say(f"replay memory: {config.replay.capacity} frames, {kept}")
    if stored is not None:
        exact = training.restore(stored)
        _say(f"continuing at step {training.steps}")
        if not exact:
            _say("note: the running episodes could not be repeated exactly; they go on from where they came to")
    else:
        cut_logs(directory, {})
    training.agent.online.weights.summary(print_fn=_say, line_length=90)
    complete = training.run()
    run = directory.as_posix() if len(directory.parts) > 1 else f"./{directory}"
    if not complete:
        _say(f"interrupted at step {training.steps} of {config.training.total_steps} and saved; to continue:")
        _say(f"  make train GAME={config.game} RUN={run}", f"  atari-dqn train --game {config.game} --run-dir {run}")
        return 130
    score, seconds = training.episodes.mean_score, training.stopwatch.wall
    scored = f"mean score of the last 100 episodes {score:.2f}" if training.episodes.count else "no episode has ended yet"
    print(f"complete: {training.steps} agent steps in {seconds:.0f} s, {scored}")
    spent = shares(training.stopwatch.seconds, seconds)
    print("time:", ", ".join(f"{name} {share:.1%}" for name, share in spent.items()))
    print(f"checkpoint: {checkpoint.find(directory)}")
    return 0


def evaluate(options: argparse.Namespace) -> int:
    """Scores a checkpoint and shows its median episode."""
    path, agent, config = _load(options)
    from atari_dqn.evaluation import describe, evaluate

    step, directory = checkpoint.step_of(path), _video_directory(options, config, path.resolve().parent.name)
    runs.check_writable(directory)
    result = evaluate(agent.act, config, seed=options.seed, episodes=options.episodes, epsilon=options.epsilon)
    print(describe(result, agent=f"{path}, {step} agent steps"))
    _write_result(directory, f"step-{step:09d}", result, {"checkpoint": str(path), "steps": step})
    return 0


def random(options: argparse.Namespace) -> int:
    """Scores and shows an agent that acts at random."""
    from atari_dqn.evaluation import describe, evaluate

    config, notes, _ = _settings(options)
    directory = _video_directory(options, config, "random")
    runs.check_writable(directory)
    _say(*(f"note: {note}" for note in notes))

    result = evaluate(_no_policy, config, seed=options.seed, episodes=options.episodes, epsilon=1.0)
    print(describe(result, agent="uniformly random actions"))
    _write_result(directory, "random", result, {"checkpoint": None, "steps": 0})
    return 0


def record(options: argparse.Namespace) -> int:
    """Plays one episode and renders it."""
    from atari_dqn.recording import check_ending, write_recording

    out = Path(options.out)
    check_ending(out)
    runs.check_writable(out.parent)
    _, agent, config = _load(options)
    from atari_dqn.evaluation import evaluate

    (episode,) = evaluate(agent.act, config, seed=options.seed, episodes=1, epsilon=options.epsilon).episodes
    recorded = write_recording(out, config, episode)
    print(f"{out}: score {episode.score:g}, {recorded.shown:.1f} of {recorded.played:.1f} s")
    return 0


def watch(options: argparse.Namespace) -> int:
    """Plays in a window; q or Escape closes it."""
    from atari_dqn.window import check_display, play_in_window

    check_display()
    if options.checkpoint == RANDOM:
        if options.game is None:
            raise UserError("watch random wants a game: --game ID")
        (config, notes), policy, epsilon = load_config(options.game, protocol=options.protocol), _no_policy, 1.0
        _say(*(f"note: {note}" for note in notes))
    else:
        _, agent, config = _load(options)
        policy, epsilon = agent.act, config.evaluation.epsilon if options.epsilon is None else options.epsilon
    for number, score in enumerate(play_in_window(policy, config, options.seed, options.episodes, epsilon), 1):
        print(f"episode {number}: score {score:g}", flush=True)
    return 0


def list_games(options: argparse.Namespace) -> int:
    """Lists every game and the ids it answers to."""
    for rom in games.single_player_roms():
        print(f"{rom:<18} {'  '.join(games.ids_of(rom))}")
    return 0


def show_config(options: argparse.Namespace) -> int:
    """Prints every setting of a recipe with its value, meaning, unit and source."""
    config, _, _ = _settings(options)
    print(as_markdown(config) if options.markdown else as_toml(config), end="")
    return 0


def plot(options: argparse.Namespace) -> int:
    """Draws the learning curves of runs."""
    from atari_dqn.plotting import plot_runs

    runs.check_writable(Path(options.out).parent)
    for path in plot_runs([Path(run) for run in options.runs], Path(options.out)):
        print(path)
    return 0


def digest(options: argparse.Namespace) -> int:
    """Prints a SHA-256 over everything that a continued run depends on."""
    from atari_dqn.replay import FrameFiles

    stored = checkpoint.load(Path(options.checkpoint))
    # How frames are spread over files depends on when checkpoints were written; nothing else does.
    arrays = {name: array for name, array in stored.arrays.items() if name != "frame_files"}
    files = FrameFiles(stored.path.parent)
    files.restore(stored.shared, stored.arrays["frame_files"])
    arrays["memory/frames"] = files.digest(arrays["memory/added"], rows=arrays["memory/action"].shape[1])
    print(checkpoint.digest(arrays))
    return 0


def _settings(options: argparse.Namespace) -> tuple[Config, list[str], set[str]]:
    """The settings that a command asks for, notes for the user, and the names of what it gave itself."""
    overrides = dict(options.overrides)
    if options.command == "train" and options.total_steps is not None:
        overrides["training.total_steps"] = parse_value(options.total_steps)
    if options.command == "train" and options.seed is not None:
        overrides["machine.seed"] = parse_value(options.seed)
    config, notes = load_config(options.game, options.config, options.protocol, overrides)
    given = {name for name in ("recipe", "protocol") if getattr(options, "config" if name == "recipe" else name) is not None}
    return config, notes, given | set(overrides)


def _load(options: argparse.Namespace) -> tuple[Path, Any, Config]:
    """A checkpoint, its agent, and the settings to play it under: its own, or those of another id or protocol."""
    path = checkpoint.find(Path(options.checkpoint))
    config = read_config(path / runs.CONFIG)
    if options.game or options.protocol:
        config = _elsewhere(path, config, options.game or config.game, options.protocol)
    _start_tensorflow(config)
    from atari_dqn.environments import make_games
    from atari_dqn.loading import load_agent

    agent = load_agent(path)
    games = make_games(config.spec, config.environment, 1, config.evaluation.frame_cap)
    for name, has, wants in (
        ("actions", len(agent.action_names), len(games.action_names)),
        ("observations", agent.observation_shape, games.observation_shape),
    ):
        if has != wants:
            raise UserError(f"'{path}' knows {name} {has}; {config.game} under protocol '{config.protocol}' has {wants}")
    return path, agent, config


def _elsewhere(path: Path, stored: Config, game: str, protocol: str | None) -> Config:
    """A checkpoint's settings under another id of its game, or under another protocol."""
    asked, _ = load_config(game, protocol=protocol, overrides={"network.torso": stored.network.torso})
    if asked.spec.rom != stored.spec.rom:
        raise UserError(f"'{path}' plays {stored.game}, not {asked.game}")
    if protocol is not None:
        seen = {name: getattr(stored.environment, name) for name in ("time_feature", "rescale", "kwargs")}
        played = {"environment": asked.environment.model_copy(update=seen), "evaluation": asked.evaluation}
        return stored.model_copy(update={"game": asked.game, "protocol": asked.protocol} | played)
    decided = {name: getattr(asked.environment, name) for name in asked.spec.fixed()}
    return stored.model_copy(update={"game": asked.game, "environment": stored.environment.model_copy(update=decided)})


def _no_policy(observations: Any) -> Any:
    """For an agent whose every action is random."""
    import numpy as np

    return np.zeros(len(observations), np.int32)


def _say(*lines: str) -> None:
    for line in lines:
        print(line, file=sys.stderr)


def _start_tensorflow(config: Config) -> None:
    from atari_dqn.tensorflow_setup import start

    start(config.machine.intra_op_threads, config.machine.inter_op_threads)


def _describe_game(config: Config) -> str:
    from atari_dqn.evaluation import describe_environment

    rom = f" (rom {config.spec.rom})" if config.spec.rom else ""
    return f"game: {config.game}{rom}; protocol {config.protocol}: {describe_environment(config)}"


def _video_directory(options: argparse.Namespace, config: Config, run: str) -> Path:
    return runs.game_directory(Path(options.videos), config.game) / run


def _write_result(directory: Path, stem: str, result: Any, agent: dict[str, Any]) -> None:
    """Writes the JSON, GIF and MP4 of an evaluation and prints their paths."""
    from atari_dqn.recording import write_recording

    episode = result.representative()
    name = f"{stem}-score-{episode.score:g}-evaluation-{result.config.protocol}-seed{result.seed}"
    for ending in (".gif", ".mp4"):
        path = directory / f"{name}{ending}"
        recorded = write_recording(path, result.config, episode)
        shown = f"median episode, score {episode.score:g}, {recorded.shown:.1f} of {recorded.played:.1f} s"
        print(f"{'recorded':<17} {path} ({shown})")
    path = directory / f"{name}.json"
    path.write_text(json.dumps(agent | result.to_json(), indent=1) + "\n", encoding="utf-8")
    print(f"{'written':<17} {path}")
