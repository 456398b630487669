"""The commands that publish an agent: export its network, or release the whole agent."""

import argparse
from pathlib import Path

from atari_dqn.commands.arguments import (
    RESULT_COLUMN,
    Command,
    add_checkpoint,
    add_episodes,
    add_seed,
    add_videos,
    checkpoint_path,
)
from atari_dqn.config.resolve import read_config
from atari_dqn.console import print_result, waiting
from atari_dqn.errors import UserError, check_installed
from atari_dqn.runs import checkpoint
from atari_dqn.runs.directory import CONFIG, check_writable
from atari_dqn.workflows.evaluate import PlayerRequest, load_player
from atari_dqn.workflows.settings import start_tensorflow

EXPORT_SUFFIXES = (".keras", ".onnx", "")
# Agent steps per environment; the exported network is compared with the agent on their
# observations.
STEPS_TO_COMPARE = 32


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``export``."""
    add_checkpoint(parser)
    parser.add_argument(
        "--out",
        required=True,
        metavar="NAME[.keras|.onnx]",
        help="file to write; a name without an ending becomes a TensorFlow SavedModel",
    )


def export(options: argparse.Namespace) -> int:
    """Exports the network of a checkpoint."""
    out = Path(options.out)
    _check_export(out)
    check_writable(out.parent)
    player = load_player(PlayerRequest(checkpoint_path(options)))
    from atari_dqn.agent.export import export_network
    from atari_dqn.evaluation.evaluate import observe

    agent = player.agent
    with waiting("exporting the network and comparing it with the agent"):
        observations = observe(agent.act, player.config, steps=STEPS_TO_COMPARE, seed=1)
        difference = export_network(agent, out, observations)
    print_result(f"{out}: Q-values of {', '.join(agent.action_names)}")
    compared = f"{len(observations)} observations of {player.config.game}"
    print_result(f"largest difference from the agent on {compared}: {difference:.1g}")
    return 0


def _check_export(out: Path) -> None:
    """Raises a UserError if a network cannot be exported to a path."""
    if out.suffix not in EXPORT_SUFFIXES:
        allowed = "NAME.keras, NAME.onnx, or a name without a dot for a TensorFlow SavedModel"
        raise UserError(f"cannot export to '{out}': give {allowed}")
    if out.suffix == ".onnx":
        check_installed("ONNX", ["onnx", "onnxruntime", "tf2onnx"], "export OUT=NAME.onnx", "onnx")
    if out.is_dir():
        raise UserError(f"there is already a folder '{out}'")


def add_release_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``release``."""
    add_checkpoint(parser)
    add_seed(parser)
    add_videos(parser)
    parser.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="directory to create, such as checkpoints/released/pong",
    )
    add_episodes(parser)


def release(options: argparse.Namespace) -> int:
    """Writes an agent to share, and prints its score."""
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
    described = describe(result, f"{out}, {step:,} agent steps", result.config.versioned_recipe)
    print_result(described, hanging=" " * RESULT_COLUMN)
    print(f"{'recorded':<17} {gif}")
    print(f"{'written':<17} {out}")
    return 0


COMMANDS = {
    "export": Command(add_export_arguments, export),
    "release": Command(add_release_arguments, release),
}
