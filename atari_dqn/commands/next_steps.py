"""The commands that come next, which a finished command prints for pasting."""

from pathlib import Path

from atari_dqn.commands.arguments import ROOT, VIDEOS
from atari_dqn.config.learning_schema import MOST_STEPS
from atari_dqn.typed_commands import Value, command
from atari_dqn.workflows.named import typed_checkpoint
from atari_dqn.workflows.train import RunOutcome, RunState, typed_run


def after_training(outcome: RunOutcome, root: str, videos: str) -> list[str]:
    """Returns the commands that come after training: evaluate, review and train longer.

    Args:
        outcome: How the training ended.
        root: Directory of all runs.
        videos: Directory of all recordings.

    Returns:
        Lines of text. Each command is a line that is indented by two spaces.
    """
    elsewhere = _unless_usual(videos=videos)
    name = typed_checkpoint(outcome.directory, Path(ROOT))
    lines = [
        "to score it and record its episodes:",
        f"  {command('eval', checkpoint=name, **elsewhere)}",
        *_to_review(root, videos),
    ]
    total = outcome.config.training.total_steps
    if outcome.state is not RunState.INTERRUPTED and total < MOST_STEPS:
        game = outcome.config.game
        run = typed_run(outcome.directory, game)
        steps = min(2 * total, MOST_STEPS)
        longer = command("train", game=game, run_dir=run, total_steps=steps, **elsewhere)
        lines += ["to train it longer:", f"  {longer}"]
    return lines


def after_evaluation(
    checkpoint: Path, root: str, videos: str, *, game: str | None, protocol: str | None
) -> list[str]:
    """Returns the commands that come after an evaluation: record an episode and review.

    Args:
        checkpoint: The run or checkpoint that was evaluated.
        root: Directory of all runs.
        videos: Directory of all recordings.
        game: Id under which it played, or None for its own.
        protocol: Protocol under which it played, or None for its own.
    """
    name = typed_checkpoint(checkpoint, Path(ROOT))
    options: dict[str, Value] = {"checkpoint": name, "out": "episode.gif", "annotated": True}
    if game is not None:
        options["game"] = game
    if protocol is not None:
        options["protocol"] = protocol
    return [
        "to record an episode with the network's input and Q-values:",
        f"  {command('record', **options)}",
        *_to_review(root, videos),
    ]


def _to_review(root: str, videos: str) -> list[str]:
    gallery = command("gallery", **_unless_usual(root=root, videos=videos))
    return ["to review curves, recordings and scores on a page:", f"  {gallery}"]


def _unless_usual(**directories: str) -> dict[str, Value]:
    """Returns the options for directories that differ from their defaults."""
    usual = {"root": ROOT, "videos": VIDEOS}
    return {name: path for name, path in directories.items() if path != usual[name]}
