"""Evaluates a checkpoint, records single episodes, and writes the result as JSON."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from atari_dqn.config.resolve import load_config, read_config
from atari_dqn.config.schema import Config
from atari_dqn.console import waiting
from atari_dqn.errors import UserError, describe_failure
from atari_dqn.files.atomic_write import write_whole
from atari_dqn.games.ids import identify
from atari_dqn.runs import checkpoint
from atari_dqn.runs.directory import CONFIG, DEFAULT_ROOT, check_writable
from atari_dqn.workflows.named import typed_checkpoint
from atari_dqn.workflows.settings import SettingsRequest, start_tensorflow, video_directory

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atari_dqn.agent.agent import Agent
    from atari_dqn.evaluation.results import Evaluation, Rank
    from atari_dqn.recording.episode_file import EpisodeFile, Origin
    from atari_dqn.recording.render import Show

logger = logging.getLogger(__name__)

RANDOM = "random"
# What an annotated recording shows: the network's input and Q-values, or also its saliency.
Annotation = Literal["values", "saliency"]
ANNOTATIONS: tuple[Annotation, ...] = ("values", "saliency")
# Settings of the environment that a network depends on; a protocol does not change them.
NETWORK_INPUTS = ("time_feature", "rescale", "kwargs")
# Seconds by which a file may be shorter than its episode before this is reported.
LONGEST_SILENT_CUT = 0.1


@dataclass(frozen=True)
class PlayerRequest:
    """A request to play with a checkpoint.

    Attributes:
        checkpoint: A run's directory, or one checkpoint in it.
        game: Another id of the same game, or None for the checkpoint's own.
        protocol: Name or file of another protocol, or None for the checkpoint's own.
    """

    checkpoint: Path
    game: str | None = None
    protocol: str | None = None


@dataclass(frozen=True)
class Player:
    """An agent from a checkpoint, with the settings it plays under.

    Attributes:
        path: Path of the checkpoint.
        agent: The agent that the checkpoint contains.
        config: Settings of its game, protocol and network.
    """

    path: Path
    agent: "Agent"
    config: Config

    @property
    def run(self) -> str:
        """Name of the run that the checkpoint belongs to."""
        return self.path.resolve().parent.name

    @property
    def step(self) -> int:
        """Agent steps for which the agent was trained."""
        return checkpoint.step_of(self.path)


@dataclass(frozen=True)
class EvaluationRequest:
    """A request for an evaluation and its recordings.

    Attributes:
        videos: Directory of all recordings.
        seed: Seed of the episodes and of the random actions.
        episodes: Number of episodes, or None for the protocol's number.
        epsilon: Probability of a random action, or None for the protocol's.
        scale: Width and height of each screen pixel in a recording, or None for the defaults of
            ``Rendering``.
        annotated: What a second recording of the median episode shows besides the game, or None
            for no second recording.
    """

    videos: Path
    seed: int = 1
    episodes: int | None = None
    epsilon: float | None = None
    scale: int | None = None
    annotated: Annotation | None = None


@dataclass(frozen=True)
class ScoredPlayer:
    """The result of an evaluation that has not been written yet.

    Attributes:
        result: Scores and episodes.
        origin: The run and checkpoint that played.
        name: Description of the player, for the printed result.
        directory: Directory of its recordings.
    """

    result: "Evaluation"
    origin: "Origin"
    name: str
    directory: Path

    def describe(self) -> str:
        """Returns a description of the result, on several lines."""
        from atari_dqn.evaluation.describe import describe

        return describe(self.result, self.name, self.origin.recipe)


@dataclass(frozen=True)
class RecordedEpisode:
    """A recorded episode of an evaluation.

    Attributes:
        rank: Rank of the episode: median, best or worst.
        paths: Paths of the GIF and MP4 files.
        described: Content of the JSON file beside them.
    """

    rank: "Rank"
    paths: list[Path]
    described: "EpisodeFile"

    def describe(self) -> str:
        """Returns the names of the files and the score and length of the episode, on one line.

        The names are abbreviated, because all files of an evaluation are in one directory.
        """
        name = abbreviated(self.paths[0].name, self.described.run)
        files = ", ".join([name, *(path.suffix for path in self.paths[1:])])
        played = self.described.seconds
        seconds = min(file.seconds for file in self.described.files.values())
        is_cut = seconds < played - LONGEST_SILENT_CUT
        cut = f"; the GIF {seconds:.0f} s" if is_cut else ""
        score = self.described.episode.score
        return (
            f"{'recorded':<17} {files} ({self.rank} episode, score {score:g}, {played:.1f} s{cut})"
        )


def load_player(request: PlayerRequest) -> Player:
    """Loads the agent of a checkpoint, with its own settings or for another id or protocol.

    Raises:
        UserError: The checkpoint is damaged, or cannot play the game under the protocol.
    """
    path = checkpoint.find(request.checkpoint)
    config = read_config(path / CONFIG)
    if request.game or request.protocol:
        game = request.game or config.game
        config = transferred_config(path, config, game, request.protocol)
    start_tensorflow(config)
    from atari_dqn.agent.pretrained import load_agent

    with waiting("loading the agent"):
        player = Player(path, load_agent(path), config)
        _check_fits(player)
    return player


def transferred_config(path: Path, stored: Config, game: str, protocol: str | None) -> Config:
    """Returns the settings of a checkpoint for another id of its game or another protocol.

    Args:
        path: Path of the checkpoint.
        stored: Settings of the checkpoint.
        game: Id to play.
        protocol: Protocol to play under, or None for the checkpoint's own.

    Raises:
        UserError: The id belongs to another game.
    """
    overrides: dict[str, Any] = {"network.torso": stored.network.torso}
    if identify(game).rom is None:
        overrides["environment.kwargs"] = stored.environment.kwargs
    requested, _ = load_config(game, protocol=protocol, overrides=overrides)
    if requested.rom != stored.rom:
        raise UserError(f"'{path}' plays {stored.game}, not {requested.game}")
    if protocol is None:
        fixed = {name: getattr(requested.environment, name) for name in requested.spec.fixed()}
        environment = stored.environment.model_copy(update=fixed)
        return stored.model_copy(update={"game": requested.game, "environment": environment})
    inputs = {name: getattr(stored.environment, name) for name in NETWORK_INPUTS}
    changes = {
        "game": requested.game,
        "protocol": requested.protocol,
        "environment": requested.environment.model_copy(update=inputs),
        "evaluation": requested.evaluation,
    }
    return stored.model_copy(update=changes)


def evaluate_player(player: Player, request: EvaluationRequest) -> ScoredPlayer:
    """Evaluates an agent under the protocol of its settings."""
    from atari_dqn.evaluation.evaluate import evaluate
    from atari_dqn.recording.episode_file import Origin

    directory = video_directory(request.videos, player.config, player.run)
    check_writable(directory)
    result = evaluate(
        player.agent.act,
        player.config,
        seed=request.seed,
        episodes=request.episodes,
        epsilon=request.epsilon,
    )
    origin = Origin(
        "evaluation", player.run, player.config.versioned_recipe, str(player.path), player.step
    )
    name = f"{_typed(player)}, {player.step:,} agent steps"
    return ScoredPlayer(result, origin, name, directory)


def _typed(player: Player) -> str:
    """Returns the name of an agent's run if the user may type it, or else the checkpoint's path."""
    run = player.path.parent
    name = typed_checkpoint(run, DEFAULT_ROOT)
    return name if name == run.name else str(player.path)


def evaluate_random(settings: SettingsRequest, request: EvaluationRequest) -> ScoredPlayer:
    """Evaluates uniformly random actions."""
    from atari_dqn.evaluation.evaluate import evaluate
    from atari_dqn.recording.episode_file import RANDOM_PLAY

    resolved = settings.resolve(learns=False)
    directory = video_directory(request.videos, resolved.config, RANDOM)
    check_writable(directory)
    for note in resolved.notes:
        logger.warning(note)
    result = evaluate(
        first_action,
        resolved.config,
        seed=request.seed,
        episodes=request.episodes,
        epsilon=1.0,
    )
    return ScoredPlayer(result, RANDOM_PLAY, "uniformly random actions", directory)


def first_action(observations: "NDArray[Any]") -> "NDArray[Any]":
    """Returns action 0 for every observation: a policy for play with only random actions."""
    import numpy as np

    return np.zeros(len(observations), np.int32)


def evaluate_checkpoint(player: PlayerRequest, request: EvaluationRequest) -> Iterator[str]:
    """Evaluates a checkpoint, writes and records the result, and yields lines that describe it."""
    loaded = load_player(player)
    annotation = None
    if request.annotated:
        from atari_dqn.recording.annotation import annotate

        annotation = annotate(loaded.agent, request.scale, request.annotated == "saliency")
    scored = evaluate_player(loaded, request)
    yield from write_and_describe(scored, request.scale, annotation)


def write_and_describe(
    scored: ScoredPlayer, scale: int | None = None, annotation: "Show | None" = None
) -> Iterator[str]:
    """Writes and records a result, and yields lines that describe it along the way.

    Args:
        scored: The result.
        scale: As in ``EvaluationRequest``.
        annotation: As for ``record_ranked_episodes``.
    """
    yield scored.describe()
    path = write_result(scored)
    yield f"{'files in':<17} {scored.directory}"
    for episode in record_ranked_episodes(scored, scale, annotation):
        yield episode.describe()
    yield f"{'written':<17} {abbreviated(path.name, scored.origin.run)}"


def abbreviated(name: str, run: str) -> str:
    """Returns the name of a recording's file with a star for the game and the run.

    >>> abbreviated("Pong-v4_first_step000000960_score-21_best_tutorial_seed1.gif", "first")
    '*_step000000960_score-21_best_tutorial_seed1.gif'
    """
    return "*_" + name.partition(f"_{run}_")[2]


def write_result(scored: ScoredPlayer) -> Path:
    """Writes the result of an evaluation as JSON and returns the path of the file."""
    from atari_dqn.recording.episode_file import evaluation_json, evaluation_stem

    result = scored.result
    origin = scored.origin
    path = scored.directory / f"{evaluation_stem(result, origin)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(evaluation_json(result, origin), indent=1) + "\n"
    write_whole(path, text.encode())
    return path


def record_ranked_episodes(
    scored: ScoredPlayer, scale: int | None = None, annotation: "Show | None" = None
) -> Iterator[RecordedEpisode]:
    """Records the median, best and worst episode, and yields each one when its files are written.

    An episode that cannot be recorded causes a warning only, since the score is valid without it.

    Args:
        scored: The result of an evaluation.
        scale: As in ``EvaluationRequest``.
        annotation: Function that draws a second recording of the median episode, or None for no
            second recording.
    """
    from atari_dqn.recording.episode_file import EvaluatedEpisode, conditions_of
    from atari_dqn.recording.render import Rendering, record_ranked

    result = scored.result
    suffix = conditions_of(result, scored.origin)
    views: list[tuple[Rank, str, Show | None]]
    views = [(rank, suffix, None) for rank in result.ranked()]
    if annotation is not None:
        views.append(("median", f"{suffix}_annotated", annotation))
    for rank, name, show in views:
        episode = EvaluatedEpisode.of_rank(result, rank, scored.origin)
        rendering = Rendering(scale, show)
        try:
            described, paths = record_ranked(scored.directory, episode, name, rendering)
        except (Exception, SystemExit) as error:  # a user's own environment may raise anything
            reason = describe_failure(error)
            logger.warning(f"the {rank} episode is not recorded: {reason}")
            continue
        yield RecordedEpisode(rank, list(paths.values()), described)


def _check_fits(player: Player) -> None:
    """Raises a UserError for a game whose actions or observations differ from the agent's."""
    from atari_dqn.environments.environments import make_games

    agent = player.agent
    config = player.config
    games = make_games(config.spec, config.environment, 1, config.evaluation.frame_cap)
    for name, known, present in (
        ("number of actions", len(agent.action_names), len(games.action_names)),
        ("observation shape", agent.observation_shape, games.observation_shape),
    ):
        if known != present:
            there = f"{config.game} under protocol '{config.protocol}' has {present}"
            raise UserError(f"'{player.path}': the {name} is {known}, but {there}")
