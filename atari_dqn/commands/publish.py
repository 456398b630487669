"""The commands that give an agent away: its network for other programs, or all it takes to play."""

import argparse
from pathlib import Path

from atari_dqn.commands.arguments import (
    Command,
    add_checkpoint,
    add_episodes,
    add_seed,
    add_videos,
    checkpoint_path,
)
from atari_dqn.config.resolve import read_config
from atari_dqn.errors import UserError, check_installed
from atari_dqn.runs import checkpoint
from atari_dqn.runs.directory import CONFIG, check_writable
from atari_dqn.workflows.evaluate import PlayerRequest, load_player
from atari_dqn.workflows.settings import start_tensorflow

EXPORT_SUFFIXES = (".keras", ".onnx", "")
# Agent steps in each environment whose observations the exported network is tried on.
STEPS_TO_COMPARE = 32


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``export``."""
    add_checkpoint(parser)
    parser.add_argument(
        "--out",
        required=True,
        metavar="NAME[.keras|.onnx]",
        help="without an ending: a TensorFlow SavedModel",
    )


def export(options: argparse.Namespace) -> int:
    """Exports a network."""
    out = Path(options.out)
    _check_export(out)
    check_writable(out.parent)
    player = load_player(PlayerRequest(checkpoint_path(options)))
    from atari_dqn.agent.export import export_network
    from atari_dqn.evaluation.evaluate import observe

    agent = player.agent
    observations = observe(agent.act, player.config, steps=STEPS_TO_COMPARE, seed=1)
    difference = export_network(agent, out, observations)
    print(f"{out}: Q-values of {', '.join(agent.action_names)}")
    tried = f"on {len(observations)} observations of {player.config.game}"
    print(f"{tried} it differs from the agent by {difference:.1g} at most")
    return 0


def _check_export(out: Path) -> None:
    """Raises a UserError for a file that cannot be exported to."""
    if out.suffix not in EXPORT_SUFFIXES:
        allowed = "NAME.keras, NAME.onnx, or a name without a dot for a TensorFlow SavedModel"
        raise UserError(f"'{out}': wanted is {allowed}")
    if out.suffix == ".onnx":
        check_installed("ONNX", ["onnx", "onnxruntime", "tf2onnx"], "export OUT=NAME.onnx", "onnx")
    if out.is_dir():
        raise UserError(f"there is a folder '{out}' already")


def add_release_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``release``."""
    add_checkpoint(parser)
    add_seed(parser)
    add_videos(parser)
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="to make, such as checkpoints/released/pong"
    )
    add_episodes(parser)


def release(options: argparse.Namespace) -> int:
    """Releases an agent."""
    out = Path(options.out)
    gif = Path(options.videos) / "released" / f"{out.name}.gif"
    for directory in (out.parent, gif.parent):
        check_writable(directory)
    source = checkpoint.find(checkpoint_path(options))
    start_tensorflow(read_config(source / CONFIG))
    from atari_dqn.evaluation.describe import describe
    from atari_dqn.workflows.release import release

    result = release(source, out, gif, options.seed, options.episodes)
    step = checkpoint.step_of(source)
    print(describe(result, f"{out}, {step} agent steps", result.config.versioned_recipe))
    print(f"{'recorded':<17} {gif}")
    print(f"{'written':<17} {out}")
    return 0


EXPORT = Command(
    "export",
    "Writes a checkpoint's network for other programs, and compares what it answers there.",
    add_export_arguments,
    export,
)
RELEASE = Command(
    "release",
    "Writes what it takes to play an agent, without what it takes to train on, with its score and "
    "a model card.",
    add_release_arguments,
    release,
)
