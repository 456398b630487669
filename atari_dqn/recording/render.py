"""Replays an episode from its seed and actions, and renders it to a GIF and an MP4."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from atari_dqn.config.schema import Config
from atari_dqn.console import waiting
from atari_dqn.environments.environments import make_game
from atari_dqn.environments.game import Game
from atari_dqn.errors import UserError
from atari_dqn.evaluation.results import Episode
from atari_dqn.recording.episode_file import (
    ENDINGS,
    Ending,
    EpisodeFile,
    EvaluatedEpisode,
    RecordedFile,
    read_episode,
    recording_stem,
)
from atari_dqn.recording.gif import GifFile, gif_delay
from atari_dqn.recording.mp4 import Mp4File

logger = logging.getLogger(__name__)

# Browsers need H.264 with color at half the resolution. Screens with at most this many columns are
# doubled, which preserves the color of each pixel. Larger drawings do not need that.
SMALL_SCREEN = 320
CHANGED = "replaying the episode's seed and actions gave a different episode"


class Screen(NamedTuple):
    """The screen and state of the game after an agent step, or after the reset."""

    image: NDArray[np.uint8]  # (rows, columns, 3), RGB
    frames: int  # emulator frames for which the screen is shown
    observation: NDArray[Any]  # *observation_shape
    action: int | None  # the action taken on this screen, or None if the episode is over
    reward: float  # reward of the step before this screen
    score: float  # score so far
    lives: int  # lives left


class EpisodeChangedError(UserError):
    """Replaying an episode gave a different one."""


class Recorded(NamedTuple):
    """How much of an episode a file shows."""

    seconds: float  # game time in the file
    episode_seconds: float  # game time of the whole episode
    screens_per_second: float  # frame rate of the game


# A function from a game and an episode to the screens to record.
Show = Callable[[Game, Episode], Iterator[Screen]]


@dataclass(frozen=True)
class Rendering:
    """How an episode is drawn.

    Attributes:
        scale: Width and height of each screen pixel. None means 1 in a GIF, and
            ``usual_scale`` in an MP4.
        show: Function that draws the screens. None records the screens of the game unchanged.
        annotated: Whether ``show`` draws more than the game's screen.
        cuts: Begin and end of each part that ``show`` draws, in seconds of the episode. None means
            that it draws the whole episode.
    """

    scale: int | None = None
    show: Show | None = None
    annotated: bool = True
    cuts: list[tuple[float, float]] | None = None


PLAIN = Rendering()


def replay_screens(game: Game, episode: Episode) -> Iterator[Screen]:
    """Replays an episode and yields its screens, beginning with the one after the reset.

    Raises:
        EpisodeChangedError: The replay differs from the episode.
    """
    observation, lives = game.reset(episode.seed)
    image = game.screen()
    reward = 0.0
    score = 0.0
    frames = 1
    total_frames = 0
    last = len(episode.actions) - 1
    for step, action in enumerate(episode.actions.tolist()):
        outcome = game.step(action)
        frames = outcome.frames
        ended = outcome.terminated or outcome.truncated
        if ended != (step == last):
            how = f"it ended after {step + 1} steps" if ended else "it did not end"
            raise EpisodeChangedError(f"{CHANGED}: {how}, but should end after {last + 1}")
        yield Screen(image, frames, observation, action, reward, score, lives)
        image = game.screen()
        observation = outcome.observation
        lives = outcome.lives
        reward = outcome.reward
        score += float(np.float32(reward))  # float32 as in the evaluation's sum
        total_frames += frames
    yield Screen(image, frames, observation, None, reward, score, lives)
    if (score, total_frames) != (episode.score, episode.frames):
        before = f"{episode.score:g} in {episode.frames} frames"
        now = f"{score:g} in {total_frames} frames"
        raise EpisodeChangedError(f"{CHANGED}: it scored {now} instead of {before}")


def write_recording(
    path: str | Path,
    config: Config,
    episode: Episode,
    scale: int | None = None,
    show: Show | None = None,
) -> Recorded:
    """Renders an episode to a .gif or an .mp4, and returns how much of it the file shows.

    Args:
        path: The file. Its directory is created.
        config: The settings under which the episode was played.
        episode: The episode. A GIF ends after ``recording.max_seconds``, and an MP4 after
            ``recording.max_mp4_seconds``.
        scale: See ``Rendering``.
        show: See ``Rendering``.

    Raises:
        UserError: The file name has another ending, or the file cannot be written.
    """
    check_ending(path)
    ending = ending_of(path)
    return write_recordings({ending: Path(path)}, config, episode, Rendering(scale, show))[ending]


def write_recordings(
    paths: Mapping[Ending, str | Path],
    config: Config,
    episode: Episode,
    rendering: Rendering = PLAIN,
    to_the_end: bool = False,
) -> dict[Ending, Recorded]:
    """Renders an episode in one pass, to a GIF, an MP4 or both.

    Args:
        paths: The files, by kind.
        config: The settings under which the episode was played.
        episode: The episode.
        rendering: How to draw it.
        to_the_end: Whether to replay the whole episode, which checks its score, even if the files
            show less.

    Returns:
        How much of the episode each file shows. If only one of two files could be written, the
        other is missing here, and a warning is logged.

    Raises:
        UserError: No file could be written.
        EpisodeChangedError: The replay differs from the episode.
    """
    game = make_game(config.spec, config.environment, config.evaluation.frame_cap)
    rate = game.screens_per_second
    show = rendering.show or replay_screens
    outputs = {}
    for ending, path in paths.items():
        open_sink = partial(_SINKS[ending], config=config, rate=rate, scale=rendering.scale)
        outputs[ending] = _Output(Path(path), open_sink)
    what = f"recording {' and '.join(ending.upper() for ending in paths)}"
    with ExitStack() as stack:
        advance = stack.enter_context(waiting(what, len(episode.actions)))
        for output in outputs.values():
            stack.enter_context(output)
        for screen in show(game, episode):
            advance(1)
            has_room = [output.add(screen) for output in outputs.values()]
            if not (any(has_room) or to_the_end):
                break
    failures = [output.failure for output in outputs.values() if output.failure]
    if len(failures) == len(outputs):
        raise UserError(failures[0])
    for failure in failures:
        logger.warning(failure)
    episode_seconds = episode.frames / rate
    return {
        ending: Recorded(output.seconds, episode_seconds, rate)
        for ending, output in outputs.items()
        if not output.failure
    }


def record_episode(
    paths: Mapping[Ending, str | Path],
    evaluated: EvaluatedEpisode,
    rendering: Rendering = PLAIN,
) -> EpisodeFile:
    """Renders an episode of an evaluation, and writes a JSON file of the same name beside it.

    Args:
        paths: The GIF, the MP4, or both.
        evaluated: The episode.
        rendering: How to draw it. Its scale applies only without ``show``.

    Returns:
        The content of the JSON file.
    """
    if rendering.show:  # ``show`` scales the screens itself
        rendering = replace(rendering, scale=1)
    recorded = write_recordings(paths, evaluated.result.config, evaluated.episode, rendering)
    files = {}
    for ending, part in recorded.items():
        files[ending] = RecordedFile(name=Path(paths[ending]).name, seconds=part.seconds)
    first = next(iter(recorded))
    described = evaluated.describe(
        files,
        recorded[first].screens_per_second,
        annotated=rendering.show is not None and rendering.annotated,
        cuts=rendering.cuts,
    )
    return write_beside(paths[first], described)


def record_ranked(
    directory: str | Path,
    evaluated: EvaluatedEpisode,
    suffix: str,
    rendering: Rendering = PLAIN,
) -> tuple[EpisodeFile, dict[Ending, Path]]:
    """Records a ranked episode of an evaluation under a descriptive name (``recording_stem``).

    Args:
        directory: Directory for the files.
        evaluated: The episode.
        suffix: End of the name.
        rendering: How to draw it.

    Returns:
        The content of the JSON file, and the paths of the files that were written.
    """
    game = evaluated.result.config.game
    score = evaluated.episode.score
    stem = recording_stem(game, evaluated.origin, score, str(evaluated.rank), suffix)
    paths = {ending: Path(directory) / f"{stem}.{ending}" for ending in ENDINGS}
    described = record_episode(paths, evaluated, rendering)
    return described, {ending: paths[ending] for ending in described.files}


def replay_recording(
    path: str | Path,
    out: str | Path,
    scale: int | None = None,
    rendering: Callable[[Config, Episode], Rendering] | None = None,
) -> EpisodeFile:
    """Renders an episode again from the JSON file of its recording, which is not trusted.

    It also writes a JSON file beside the new recording.

    Args:
        path: The JSON file.
        out: The new recording, a .gif or an .mp4.
        scale: See ``Rendering``.
        rendering: Function that decides how the episode is drawn. None means the whole episode,
            with ``scale``.

    Returns:
        The content of the new JSON file.

    Raises:
        UserError: The file is not the JSON of a recording, or the replay differs from it.
    """
    out = Path(out)
    described = read_episode(path)
    config = described.config()
    _check_actions(path, described, config)
    ending = ending_of(out)
    episode = described.to_episode()
    try:
        drawn = rendering(config, episode) if rendering else Rendering(scale)
        recorded = write_recordings({ending: out}, config, episode, drawn, to_the_end=True)
    except EpisodeChangedError as error:
        raise UserError(f"'{path}' does not match the game: {error}") from None
    files = {ending: RecordedFile(name=out.name, seconds=recorded[ending].seconds)}
    changes = {"files": files, "annotated": False, "cuts": drawn.cuts}
    return write_beside(out, described.model_copy(update=changes))


def write_beside(path: str | Path, described: EpisodeFile) -> EpisodeFile:
    """Writes the JSON file of a recording, and returns its content.

    If the file exists and describes the same episode, its other recordings stay listed.
    """
    beside = Path(path).with_suffix(".json")
    with suppress(UserError):
        before = read_episode(beside)
        if before.shows(described):
            described = described.model_copy(update={"files": {**before.files, **described.files}})
    described.write(beside)
    return described


def check_beside(path: str | Path) -> None:
    """Raises a UserError if the JSON file of a recording would replace a file of another kind."""
    beside = Path(path).with_suffix(".json")
    try:
        if beside.exists():
            read_episode(beside)
    except UserError as error:
        raise UserError(f"{error}; recording would replace it, so choose another name") from None


def check_ending(path: str | Path) -> None:
    """Raises a UserError unless a path ends in .gif or .mp4."""
    if Path(path).suffix.lower() not in (".gif", ".mp4"):
        raise UserError(
            f"cannot record to '{path}': the name must end in .gif or .mp4, as in 'episode.gif'"
        )


def ending_of(path: str | Path) -> Ending:
    """Returns the kind of recording that a file name ends in: a GIF, or otherwise an MP4."""
    return "gif" if Path(path).suffix.lower() == ".gif" else "mp4"


def scaled(image: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Returns an image (rows, columns, 3) enlarged by an integer scale."""
    return image if scale == 1 else image.repeat(scale, axis=0).repeat(scale, axis=1)


def usual_scale(columns: int) -> int:
    """Returns the usual scale of a screen: 2 if it is small, otherwise 1."""
    return 2 if columns <= SMALL_SCREEN else 1


def _check_actions(path: str | Path, described: EpisodeFile, config: Config) -> None:
    """Raises a UserError if the game's actions differ from those in the file."""
    game = make_game(config.spec, config.environment, config.evaluation.frame_cap)
    names = game.action_names
    if (described.rom, tuple(described.protocol.actions)) != (config.rom, names):
        raise UserError(f"'{path}': the game's actions are different here: {', '.join(names)}")
    highest = max(described.actions)
    if highest >= len(names):
        raise UserError(f"'{path}': action {highest} is not one of 0 to {len(names) - 1}")


class _Gif:
    """Writes the screens to a GIF, up to ``recording.max_seconds``."""

    def __init__(self, path: Path, config: Config, rate: float, scale: int | None) -> None:
        self.file = GifFile(path)
        self._rate = rate
        self._scale = scale or 1
        self._limit = config.recording.max_seconds
        self._frames = 0

    @property
    def seconds(self) -> float:
        return round(self._frames / self._rate * 100) / 100

    def add(self, screen: Screen) -> bool:
        if self.seconds >= self._limit:
            return False
        start = self._frames / self._rate
        self._frames += screen.frames
        delay = gif_delay(start, self._frames / self._rate)
        self.file.add(scaled(screen.image, self._scale), delay)
        return self.seconds < self._limit


class _Mp4:
    """Writes the screens to an MP4, up to ``recording.max_mp4_seconds``."""

    def __init__(self, path: Path, config: Config, rate: float, scale: int | None) -> None:
        skip = config.environment.frame_skip
        # Emulator frames of an agent step, or 1 if their number is random.
        self._usual_frames = skip if isinstance(skip, int) else 1
        self._rate = rate / self._usual_frames
        self.file = Mp4File(path, self._rate)
        self._scale = scale
        self._limit = config.recording.max_mp4_seconds

    @property
    def seconds(self) -> float:
        return self.file.count / self._rate

    def add(self, screen: Screen) -> bool:
        if self.seconds >= self._limit:
            return False
        scale = self._scale or usual_scale(screen.image.shape[1])
        times = max(round(screen.frames / self._usual_frames), 1)
        self.file.add(scaled(screen.image, scale), times)
        return self.seconds < self._limit


_Sink = _Gif | _Mp4
_SINKS: dict[Ending, type[_Gif] | type[_Mp4]] = {"gif": _Gif, "mp4": _Mp4}


class _Output:
    """A file of a recording, written under a temporary name and renamed when it is complete.

    If it fails, other files are not affected.

    Args:
        path: The file.
        open_sink: Function that opens a path for writing.

    Attributes:
        failure: Why the file could not be written, on one line, or an empty text.
    """

    def __init__(self, path: Path, open_sink: Callable[[Path], _Sink]) -> None:
        self._path = path
        self._temporary = path.with_name(f".writing-{path.name}")
        self._open_sink = open_sink
        self._sink: _Sink | None = None
        self.failure = ""

    @property
    def seconds(self) -> float:
        """Seconds of game time in the file."""
        return self._sink.seconds if self._sink else 0.0

    def add(self, screen: Screen) -> bool:
        """Adds a screen, and returns whether the file has room for more."""
        if self.failure or self._sink is None:
            return False
        try:
            return self._sink.add(screen)
        except OSError as error:
            self._fail(error)
            return False

    def __enter__(self) -> Self:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._temporary.unlink(missing_ok=True)
            self._sink = self._open_sink(self._temporary)
        except OSError as error:
            self._fail(error)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._sink is not None:
                self._sink.file.__exit__(kind, error, trace)
            if error is None and not self.failure:
                self._temporary.replace(self._path)
        except OSError as closing:
            self._fail(closing)
        finally:
            with suppress(OSError):
                self._temporary.unlink(missing_ok=True)

    def _fail(self, error: OSError) -> None:
        if not self.failure:
            reason = error.strerror or "the encoder stopped, perhaps because the disk is full"
            self.failure = f"'{self._path}' could not be written: {reason}"
