"""The commands that play: score an agent, record it, or show it in a window."""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from atari_dqn.commands.arguments import (
    Command,
    add_episodes,
    add_epsilon,
    add_game,
    add_other_game,
    add_played_checkpoint,
    add_scale,
    add_seed,
    add_videos,
    checkpoint_path,
    requested_settings,
    whole_number,
)
from atari_dqn.config.schema import Config
from atari_dqn.console import say_notes
from atari_dqn.errors import UserError
from atari_dqn.games.ids import identify
from atari_dqn.runs.directory import check_writable
from atari_dqn.typed_commands import argument, option
from atari_dqn.workflows.evaluate import (
    RANDOM,
    EvaluationRequest,
    PlayerRequest,
    evaluate_checkpoint,
    evaluate_random,
    first_action,
    load_player,
    write_and_describe,
)
from atari_dqn.workflows.named import chooses
from atari_dqn.workflows.settings import SettingsRequest

if TYPE_CHECKING:
    from atari_dqn.evaluation.evaluate import Policy
    from atari_dqn.recording.episode_file import EpisodeFile


def add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``eval``."""
    add_played_checkpoint(parser)
    add_other_game(parser)
    add_epsilon(parser)
    add_seed(parser)
    add_videos(parser)
    add_scale(parser)
    add_episodes(parser)
    parser.add_argument(
        "--annotated",
        action="store_true",
        help="also record the median episode with the network's input and action values",
    )


def evaluate(options: argparse.Namespace) -> int:
    """Scores a checkpoint and records its median, best and worst episode."""
    request = EvaluationRequest(
        videos=Path(options.videos),
        seed=options.seed,
        episodes=options.episodes,
        epsilon=options.epsilon,
        scale=options.scale,
        annotated=options.annotated,
    )
    return _print_lines(evaluate_checkpoint(_player_request(options), request))


def add_random_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``random``."""
    add_game(parser)
    add_seed(parser)
    add_videos(parser)
    add_scale(parser)
    _add_number_of_episodes(parser, default=10)


def play_at_random(options: argparse.Namespace) -> int:
    """Scores random play and records its median, best and worst episode."""
    request = EvaluationRequest(
        videos=Path(options.videos), seed=options.seed, episodes=options.episodes
    )
    scored = evaluate_random(requested_settings(options), request)
    return _print_lines(write_and_describe(scored, options.scale))


def add_record_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``record``."""
    add_other_game(parser)
    add_epsilon(parser)
    add_scale(parser)
    add_played_checkpoint(parser)
    parser.add_argument(
        "--out",
        required=True,
        metavar="FILE.gif|FILE.mp4",
        help="file to write; a JSON file that describes the episode is written beside it",
    )
    parser.add_argument(
        "--replay",
        metavar="FILE.json",
        help="render the episode in the JSON file of a recording, instead of playing CKPT",
    )
    parser.add_argument(
        "--annotated",
        action="store_true",
        help="also show the network's input and its value for each action",
    )
    parser.add_argument(
        "--seed", type=whole_number(0), metavar="N", help="random seed (default: 1)"
    )


def record(options: argparse.Namespace) -> int:
    """Records one episode, played by a checkpoint or described by a JSON file."""
    from atari_dqn.recording.render import check_beside, check_ending, ending_of, replay_recording

    out = Path(options.out)
    check_ending(out)
    check_writable(out.parent)
    check_beside(out)
    _check_record(options)
    if options.replay:
        described = replay_recording(Path(options.replay), out, options.scale)
    else:
        described = _record_agent(options, out)
    seconds = described.files[ending_of(out)].seconds
    score = described.episode.score
    print(f"{out}: score {score:g}, {seconds:.1f} of {described.seconds:.1f} s")
    return 0


def _check_record(options: argparse.Namespace) -> None:
    """Raises a UserError for options of ``record`` that contradict each other."""
    if not options.replay:
        return
    if options.checkpoint is not None:
        raise UserError(f"record needs either a checkpoint or {argument('replay', 'FILE.json')}")
    for name in ("game", "protocol", "epsilon", "seed"):
        if getattr(options, name) is not None:
            advice = f"{option('replay')} plays the episode that its JSON file describes"
            raise UserError(f"{option(name)} needs a checkpoint: {advice}")
    if options.annotated:
        raise UserError(
            f"{option('annotated')} needs a checkpoint: the JSON file of an episode contains no "
            "agent"
        )


def _record_agent(options: argparse.Namespace, out: Path) -> "EpisodeFile":
    """Plays one episode with a checkpoint and records it."""
    player = load_player(_player_request(options))
    from atari_dqn.evaluation.evaluate import evaluate
    from atari_dqn.recording.annotation import annotate
    from atari_dqn.recording.episode_file import EvaluatedEpisode, Origin
    from atari_dqn.recording.render import Rendering, ending_of, record_episode

    seed = 1 if options.seed is None else options.seed
    result = evaluate(
        player.agent.act, player.config, seed=seed, episodes=1, epsilon=options.epsilon
    )
    origin = Origin(
        "record", player.run, player.config.versioned_recipe, str(player.path), player.step
    )
    show = annotate(player.agent, options.scale) if options.annotated else None
    episode = EvaluatedEpisode(result, result.episodes[0], origin)
    return record_episode({ending_of(out): out}, episode, Rendering(options.scale, show))


def add_watch_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``watch``."""
    add_other_game(parser)
    add_epsilon(parser)
    add_seed(parser)
    add_played_checkpoint(parser, others=", or 'random' for random actions")
    _add_number_of_episodes(parser, default=3)


def watch(options: argparse.Namespace) -> int:
    """Shows episodes in a window and prints their scores."""
    from atari_dqn.recording.window import check_display, play_in_window

    check_display()
    policy: Policy
    if options.checkpoint == RANDOM:
        config = _settings_of_random_play(options)
        policy = first_action
        epsilon = 1.0
    else:
        player = load_player(_player_request(options))
        config = player.config
        policy = player.agent.act
        epsilon = config.evaluation.epsilon if options.epsilon is None else options.epsilon
    scores = play_in_window(policy, config, options.seed, options.episodes, epsilon)
    for number, score in enumerate(scores, start=1):
        print(f"episode {number}: score {score:g}", flush=True)
    return 0


def _settings_of_random_play(options: argparse.Namespace) -> Config:
    if options.game is None:
        raise UserError(f"watch random needs a game: {argument('game', 'ID')}")
    request = SettingsRequest(options.game, protocol=options.protocol)
    settings = request.resolve(learns=False)
    say_notes(settings.notes)
    return settings.config


def _player_request(options: argparse.Namespace) -> PlayerRequest:
    """Returns the requested agent, with the id and the protocol that it plays.

    A bare name of a game only chooses a run, which then plays its own id. With another protocol,
    the bare name is played, because an id may contradict the protocol.
    """
    path = checkpoint_path(options)
    game = options.game
    only_chooses = chooses(options.checkpoint) and options.protocol is None
    if game and only_chooses and not identify(game).fixed():
        game = None
    return PlayerRequest(path, game, options.protocol)


def _add_number_of_episodes(parser: argparse.ArgumentParser, default: int) -> None:
    parser.add_argument(
        "--episodes",
        type=whole_number(1),
        default=default,
        metavar="N",
        help="number of episodes (default: %(default)s)",
    )


def _print_lines(lines: Iterable[str]) -> int:
    for line in lines:
        print(line)
    return 0


EVALUATE = Command(
    "eval",
    "Scores a checkpoint and records its median, best and worst episode.",
    add_evaluate_arguments,
    evaluate,
)
RECORD = Command(
    "record",
    "Records one episode, or renders one again from the JSON file beside its recording.",
    add_record_arguments,
    record,
)
WATCH = Command(
    "watch", "Shows an agent in a window; q or Escape closes it.", add_watch_arguments, watch
)
PLAY_AT_RANDOM = Command(
    "random",
    "Scores and records an agent that acts at random.",
    add_random_arguments,
    play_at_random,
    takes_settings=True,
)
