"""The commands that play: score an agent, record it, or show it in a window."""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from atari_dqn.commands.arguments import (
    RESULT_COLUMN,
    Command,
    add_annotated,
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
from atari_dqn.commands.next_steps import after_evaluation
from atari_dqn.config.schema import Config
from atari_dqn.console import print_result, say, say_notes
from atari_dqn.errors import UserError
from atari_dqn.games.ids import identify
from atari_dqn.runs.directory import check_writable
from atari_dqn.typed_commands import argument, option
from atari_dqn.workflows.evaluate import (
    LONGEST_SILENT_CUT,
    RANDOM,
    EvaluationRequest,
    Player,
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
    from atari_dqn.evaluation.results import Episode
    from atari_dqn.recording.episode_file import Ending, EpisodeFile
    from atari_dqn.recording.render import Rendering

# In seconds; the length of the longest MP4 by default.
LONGEST_HIGHLIGHTS = 1_800


def add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``eval``."""
    add_played_checkpoint(parser)
    add_other_game(parser)
    add_epsilon(parser)
    add_seed(parser)
    add_videos(parser)
    add_scale(parser)
    add_episodes(parser)
    add_annotated(parser, "also record the median episode")


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
    player = _player_request(options)
    code = _print_lines(evaluate_checkpoint(player, request))
    say(
        *after_evaluation(
            player.checkpoint,
            options.root,
            options.videos,
            game=options.game,
            protocol=options.protocol,
        )
    )
    return code


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
    add_annotated(parser, "record the episode")
    parser.add_argument(
        "--highlights",
        type=whole_number(1, LONGEST_HIGHLIGHTS),
        metavar="SECONDS",
        help="record only the moments in which most was won, lost or unexpected",
    )
    parser.add_argument(
        "--seed", type=whole_number(0), metavar="N", help="random seed (default: 1)"
    )


def record(options: argparse.Namespace) -> int:
    """Records one episode, played by a checkpoint or described by a JSON file."""
    from atari_dqn.recording.render import check_beside, check_ending, ending_of

    out = Path(options.out)
    check_ending(out)
    check_writable(out.parent)
    check_beside(out)
    _check_record(options)
    described = _record_again(options, out) if options.replay else _record_agent(options, out)
    seconds = described.files[ending_of(out)].seconds
    score = described.episode.score
    shown = "the whole episode"
    if described.cuts:
        shown = f"{seconds:.1f} s of it, {len(described.cuts)} cut"
        shown += "s" if len(described.cuts) > 1 else ""
    elif seconds < described.seconds - LONGEST_SILENT_CUT:
        shown = f"its first {seconds:.1f} s"
    print(f"{out}: an episode of {described.seconds:.1f} s, score {score:g}; {shown}")
    return 0


def _record_again(options: argparse.Namespace, out: Path) -> "EpisodeFile":
    """Records the episode that a JSON file describes, or its highlights."""
    from atari_dqn.recording.highlights import plan_highlights, show_highlights
    from atari_dqn.recording.render import Rendering, ending_of, replay_recording

    ending = ending_of(out)

    def rendering(config: Config, episode: "Episode") -> Rendering:
        _check_highlights(options, config, ending)
        plan = plan_highlights(config, episode, options.highlights)
        show = show_highlights(plan, ending, options.scale)
        return Rendering(1, show, annotated=False, cuts=plan.seconds)

    return replay_recording(
        _episode_file(options), out, options.scale, rendering if options.highlights else None
    )


def _episode_file(options: argparse.Namespace) -> Path:
    """Returns the path of the JSON file that describes the episode to replay."""
    path = Path(options.replay)
    if path.suffix == ".json":
        return path
    suggestion = ""
    if path.suffix.lower() in (".gif", ".mp4"):
        suggestion = f"; did you mean '{path.with_suffix('.json')}'?"
    raise UserError(
        f"{option('replay')} takes the JSON file beside a recording, not '{path}'{suggestion}"
    )


def _check_highlights(options: argparse.Namespace, config: Config, ending: "Ending") -> None:
    """Raises a UserError for highlights that are longer than the file may be."""
    name = "max_seconds" if ending == "gif" else "max_mp4_seconds"
    limit = getattr(config.recording, name)
    if options.highlights and options.highlights > limit:
        other = ", or record an .mp4" if ending == "gif" else ""
        reason = f"recording.{name} allows {limit} s in a .{ending}"
        raise UserError(f"{option('highlights')} {options.highlights}: {reason}{other}")


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
    """Plays one episode with a checkpoint and records it, or its highlights."""
    player = load_player(_player_request(options))
    from atari_dqn.evaluation.evaluate import evaluate
    from atari_dqn.recording.episode_file import EvaluatedEpisode, Origin
    from atari_dqn.recording.render import ending_of, record_episode

    ending = ending_of(out)
    _check_annotated(options, player)
    _check_highlights(options, player.config, ending)
    seed = 1 if options.seed is None else options.seed
    result = evaluate(
        player.agent.act, player.config, seed=seed, episodes=1, epsilon=options.epsilon
    )
    origin = Origin(
        "record", player.run, player.config.versioned_recipe, str(player.path), player.step
    )
    (episode,) = result.episodes
    rendering = _rendering(options, player, episode, ending)
    return record_episode({ending: out}, EvaluatedEpisode(result, episode, origin), rendering)


def _check_annotated(options: argparse.Namespace, player: Player) -> None:
    """Raises a UserError if saliency is requested of an agent that sees vectors."""
    from atari_dqn.recording.saliency import check_pictures

    if options.annotated == "saliency":
        check_pictures(player.agent.observation_shape)


def _rendering(
    options: argparse.Namespace, player: Player, episode: "Episode", ending: "Ending"
) -> "Rendering":
    """Returns how ``record`` draws an episode that an agent has played."""
    from atari_dqn.recording.annotation import annotate
    from atari_dqn.recording.highlights import plan_highlights, show_highlights
    from atari_dqn.recording.render import Rendering

    plan = None
    if options.highlights:
        plan = plan_highlights(player.config, episode, options.highlights, player.agent)
    cuts = None if plan is None else plan.seconds
    if options.annotated:
        show = annotate(player.agent, options.scale, options.annotated == "saliency", plan)
        return Rendering(options.scale, show, cuts=cuts)
    if plan is None:
        return Rendering(options.scale)
    show = show_highlights(plan, ending, options.scale)
    return Rendering(options.scale, show, annotated=False, cuts=cuts)


def add_watch_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``watch``."""
    add_other_game(parser)
    add_epsilon(parser)
    add_seed(parser)
    add_played_checkpoint(parser, others=", or 'random' for random actions")
    add_annotated(parser, "show the game")
    _add_number_of_episodes(parser, default=3)


def watch(options: argparse.Namespace) -> int:
    """Shows episodes in a window and prints their scores."""
    from atari_dqn.recording.window import WindowPlayer, check_display, play_in_window

    check_display()
    if options.checkpoint == RANDOM:
        if options.annotated:
            raise UserError(f"{option('annotated')} needs a checkpoint: random play has no values")
        config = _settings_of_random_play(options)
        shown = WindowPlayer(first_action, epsilon=1.0)
    else:
        player = load_player(_player_request(options))
        _check_annotated(options, player)
        config = player.config
        epsilon = config.evaluation.epsilon if options.epsilon is None else options.epsilon
        annotated = player.agent if options.annotated else None
        saliency = options.annotated == "saliency"
        shown = WindowPlayer(player.agent.act, epsilon, annotated, saliency)
    scores = play_in_window(shown, config, options.seed, options.episodes)
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
        print_result(line, hanging=" " * RESULT_COLUMN)
    return 0


COMMANDS = {
    "eval": Command(add_evaluate_arguments, evaluate),
    "record": Command(add_record_arguments, record),
    "watch": Command(add_watch_arguments, watch),
    "random": Command(add_random_arguments, play_at_random, takes_settings=True),
}
