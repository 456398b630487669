"""The command line. Each command is thin; TensorFlow is imported only by those that need it."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, NoReturn

from atari_dqn import checkpoint, games, runs
from atari_dqn.config import DEFAULT_PROTOCOL, DEFAULT_RECIPE, load_config, parse_value, read_config
from atari_dqn.errors import UserError, nearest
from atari_dqn.settings import SECTIONS, Config


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns its exit code: 0 done, 2 bad input, 130 interrupted and saved."""
    try:
        parser = _parser()
        options, rest = parser.parse_known_args(arguments)
        options.overrides = _overrides(rest, allowed=options.command in ("train", "random", "config"))
        code: int = options.run(options)
        return code
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted before anything was begun or after everything was saved", file=sys.stderr)
        return 130


def train(options: argparse.Namespace) -> int:
    """Starts a run, or continues one."""
    config, notes, given = _config(options)
    root = Path(options.root)
    run_directory = runs.choose(root, config, options.run_dir)
    continuing = (run_directory / runs.CONFIG).is_file()
    if continuing:
        config = runs.merge(read_config(run_directory / runs.CONFIG), config, given)
        complete = checkpoint.in_run(run_directory)
        if complete and checkpoint.notes(complete[-1])["finished"]:
            done = int(complete[-1].name.removeprefix("step-"))
            if done >= config.training.total_steps:
                print(f"{run_directory} is complete: {done} agent steps. A larger number of steps extends it.")
                return 0
    else:
        complete = []
        unfinished = [run for run in runs.existing(run_directory.parent) if not runs.is_finished(run)]
        if unfinished and options.run_dir is None:
            notes.append(
                f"{unfinished[-1]} is unfinished; RUN={unfinished[-1].name} (--run-dir) continues it, this is a new run"
            )
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    print(_describe_game(config), file=sys.stderr)
    print(f"run directory: {run_directory}", file=sys.stderr)
    _start_tensorflow(config)
    from atari_dqn.training import Training

    videos = runs.game_directory(Path(options.videos), config.game) / run_directory.name
    training = Training(config, run_directory, videos)
    runs.write_circumstances(run_directory, config)
    if complete:
        training.restore(checkpoint.load(complete[-1]))
        print(f"continuing at step {training.steps}; the replay memory is filled anew before learning goes on", file=sys.stderr)
    training.agent.online.summary(print_fn=lambda text: print(text, file=sys.stderr), line_length=90)
    if training.run():
        print(f"complete: {training.steps} agent steps, mean score of the last 100 episodes {training.episodes.mean_score:.2f}")
        print(f"checkpoint: {checkpoint.find(run_directory)}")
        return 0
    print(
        f"interrupted at step {training.steps} of {config.training.total_steps} and saved; to continue:\n"
        f"  make train GAME={config.game} RUN={_as_run(run_directory)}\n"
        f"  atari-dqn train --game {config.game} --run-dir {_as_run(run_directory)}",
        file=sys.stderr,
    )
    return 130


def evaluate(options: argparse.Namespace) -> int:
    """Scores a checkpoint and shows its median episode."""
    stored_at = checkpoint.find(Path(options.checkpoint))
    _start_tensorflow()
    from atari_dqn.agent import load_agent
    from atari_dqn.evaluation import describe, evaluate

    agent, config, _ = load_agent(stored_at)
    result = evaluate(agent.act, config, seed=options.seed, episodes=options.episodes, epsilon=options.epsilon)
    print(describe(result, agent=str(stored_at)))
    run = stored_at.resolve().parent.name
    step = int(stored_at.name.removeprefix("step-"))
    _write_result(options, result, run, f"step-{step:09d}", str(stored_at))
    return 0


def random(options: argparse.Namespace) -> int:
    """Scores and shows an agent that acts at random."""
    config, notes, _ = _config(options)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    import numpy as np

    from atari_dqn.evaluation import describe, evaluate

    result = evaluate(
        lambda observation: np.zeros(len(observation), np.int32),
        config,
        seed=options.seed,
        episodes=options.episodes,
        epsilon=1.0,
    )
    print(describe(result, agent="uniformly random actions"))
    _write_result(options, result, "random", "random", "random")
    return 0


def record(options: argparse.Namespace) -> int:
    """Plays one episode and renders it."""
    from atari_dqn.recording import check_ending, write_recording

    out = Path(options.out)
    check_ending(out)
    stored_at = checkpoint.find(Path(options.checkpoint))
    _start_tensorflow()
    from atari_dqn.agent import load_agent
    from atari_dqn.evaluation import evaluate

    agent, config, _ = load_agent(stored_at)
    result = evaluate(agent.act, config, seed=options.seed, episodes=1, epsilon=options.epsilon)
    seconds = write_recording(out, config, result.episodes[0], _gif_limit(config, out))
    print(f"{out}: score {result.episodes[0].score:g}, {seconds:.1f} s")
    return 0


def list_games(options: argparse.Namespace) -> int:
    """Lists every game and the ids it answers to."""
    for rom in games.single_player_roms():
        print(f"{rom:<18} {'  '.join(games.ids_of(rom))}")
    return 0


def show_config(options: argparse.Namespace) -> int:
    """Prints every setting of a recipe with its value, meaning, unit and source."""
    options.config = options.name
    config, _, _ = _config(options)
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


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} ('{self.prog} --help' shows how it is used)")


def _parser() -> argparse.ArgumentParser:
    parser = _OneLineParser(prog="atari-dqn", description="Deep Q-learning on Atari games from pixels.", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)

    def command(name: str, run: Any, **options: Any) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=run.__doc__, description=run.__doc__, allow_abbrev=False, **options)
        sub.set_defaults(run=run)
        return sub

    settings_help = "any setting can be given as --section.key VALUE; 'atari-dqn config default' lists them"
    sub = command("train", train, epilog=settings_help)
    _add_game(sub, required=True)
    sub.add_argument("--config", metavar="NAME|FILE", help=f"recipe (default: {DEFAULT_RECIPE})")
    sub.add_argument("--total-steps", metavar="N", help="agent steps (default: the recipe's)")
    sub.add_argument("--seed", metavar="N", help="of the run (default: 1)")
    sub.add_argument(
        "--run-dir", metavar="DIR", help="a path, a name under checkpoints/<game>/, or 'last'; an existing run continues"
    )
    sub.add_argument("--root", default="checkpoints", metavar="DIR", help="where runs are kept (default: %(default)s)")
    _add_videos(sub)
    sub = command("eval", evaluate)
    _add_checkpoint(sub)
    sub.add_argument("--episodes", type=_count, metavar="N", help="default: the protocol's")
    _add_epsilon(sub)
    _add_seed_and_videos(sub)
    sub = command("record", record)
    _add_checkpoint(sub)
    sub.add_argument("--out", required=True, metavar="FILE.gif|FILE.mp4")
    _add_epsilon(sub)
    _add_seed(sub)
    sub = command("random", random, epilog=settings_help)
    _add_game(sub, required=True)
    sub.add_argument("--episodes", type=_count, default=10, metavar="N", help="default: %(default)s")
    _add_seed_and_videos(sub)
    command("games", list_games)
    sub = command("config", show_config, epilog=settings_help)
    sub.add_argument("name", metavar="NAME|FILE", help="a recipe")
    _add_game(sub, required=False)
    sub = command("digest", digest)
    _add_checkpoint(sub)
    return parser


def _add_game(parser: argparse.ArgumentParser, required: bool) -> None:
    parser.add_argument("--game", required=required, default="breakout", metavar="ID", help="environment id or name of a game")
    parser.add_argument("--protocol", metavar="NAME|FILE", help=f"environment and evaluation (default: {DEFAULT_PROTOCOL})")


def _add_checkpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", metavar="CKPT", help="a run's directory, or one checkpoint in it")


def _add_epsilon(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--epsilon", type=_probability, metavar="P", help="default: the protocol's")


def _add_seed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=_count_or_zero, default=1, metavar="N", help="default: %(default)s")


def _add_videos(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--videos", default="videos", metavar="DIR", help="where recordings go (default: %(default)s)")


def _add_seed_and_videos(parser: argparse.ArgumentParser) -> None:
    _add_seed(parser)
    _add_videos(parser)


def _config(options: argparse.Namespace) -> tuple[Config, list[str], set[str]]:
    """The settings that the command asks for, notes for the user, and the names of what it gave itself."""
    overrides = dict(options.overrides)
    recipe = getattr(options, "config", None)
    if getattr(options, "total_steps", None) is not None:
        overrides["training.total_steps"] = parse_value(options.total_steps)
    if options.command == "train" and options.seed is not None:
        overrides["machine.seed"] = parse_value(options.seed)
    config, notes = load_config(options.game, recipe or DEFAULT_RECIPE, options.protocol, overrides)
    given = set(overrides) | {name for name, value in (("recipe", recipe), ("protocol", options.protocol)) if value is not None}
    return config, notes, given


def _overrides(rest: list[str], allowed: bool) -> dict[str, Any]:
    """``--section.key VALUE`` and ``--section.key=VALUE`` pairs."""
    overrides: dict[str, Any] = {}
    words = iter(rest)
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or "." not in name or not allowed:
            known = [
                "--game",
                "--config",
                "--protocol",
                "--total-steps",
                "--seed",
                "--run-dir",
                "--episodes",
                "--epsilon",
                "--out",
            ]
            raise UserError(f"unknown argument '{word}'{nearest(word, known)}")
        if not equals:
            value = next(words, "")
            if not value or value.startswith("--"):
                raise UserError(f"--{name} wants a value")
        overrides[name.replace("-", "_")] = parse_value(value)
    return overrides


def _start_tensorflow(config: Config | None = None) -> None:
    from atari_dqn.tensorflow_setup import start

    machine = config.machine if config else None
    start(machine.intra_op_threads if machine else 0, machine.inter_op_threads if machine else 0)


def _describe_game(config: Config) -> str:
    from atari_dqn.evaluation import describe_environment

    return f"game: {config.game} (rom {config.spec.rom}); protocol {config.protocol}: {describe_environment(config)}"


def _write_result(options: argparse.Namespace, result: Any, run: str, stem: str, agent: str) -> None:
    """Writes the JSON, GIF and MP4 of an evaluation and prints their paths."""
    from atari_dqn.recording import write_recording

    episode = result.representative()
    directory = runs.game_directory(Path(options.videos), result.config.game) / run
    base = directory / f"{stem}-score-{episode.score:g}-evaluation-seed{options.seed}"
    for ending in (".gif", ".mp4"):
        path = base.with_name(base.name + ending)
        seconds = write_recording(path, result.config, episode, _gif_limit(result.config, path))
        print(
            f"{'recorded':<17} {path} (median episode, score {episode.score:g}, {seconds:.1f} of {episode.frames / 60:.1f} s)"
        )
    path = base.with_name(base.name + ".json")
    path.write_text(json.dumps({"agent": agent, **result.to_json()}, indent=1) + "\n", encoding="utf-8")
    print(f"{'written':<17} {path}")


def _gif_limit(config: Config, path: Path) -> int | None:
    return config.recording.max_seconds if path.suffix.lower() == ".gif" else None


def _as_run(run_directory: Path) -> str:
    text = run_directory.as_posix()
    return text if "/" in text else f"./{text}"


def _count(text: str) -> int:
    return _whole_number(text, 1)


def _count_or_zero(text: str) -> int:
    return _whole_number(text, 0)


def _whole_number(text: str, least: int) -> int:
    if not text.isdecimal() or not least <= int(text) < 2**31:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number from {least} to {2**31 - 1}")
    return int(text)


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no probability from 0 to 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
