"""Renders an episode (its seed and its actions) to a GIF and an MP4, at true speed."""

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

# H.264 in the form that browsers play stores colour at half the resolution; doubled pixels keep
# theirs. So the small screens of Atari games are doubled; what is drawn larger than this many
# columns has no need of it.
SMALL_SCREEN = 320
CHANGED = "played again with the same seed and actions the episode went another way"


class Screen(NamedTuple):
    """What there is to see after an agent step, or the reset."""

    image: NDArray[np.uint8]  # (rows, columns, 3), RGB
    frames: int  # emulator frames for which it is shown
    observation: NDArray[Any]  # *observation_shape
    action: int | None  # taken now; None: the episode is over
    reward: float  # of the step that led here
    score: float  # so far
    lives: int


class EpisodeChangedError(UserError):
    """An episode that was played again went another way."""


class Recorded(NamedTuple):
    """How much of an episode a file shows."""

    seconds: float  # of game time that the file shows
    episode_seconds: float  # of game time that the episode took
    screens_per_second: float


# From a game and an episode to the screens that are recorded.
Show = Callable[[Game, Episode], Iterator[Screen]]


@dataclass(frozen=True)
class Rendering:
    """How an episode is drawn.

    Attributes:
        scale: each pixel becomes a square of this width; None: 1, and in an MP4 2 for small
            screens.
        show: draws the screens; None: those of the game, as they are.
    """

    scale: int | None = None
    show: Show | None = None


PLAIN = Rendering()


def replay_screens(game: Game, episode: Episode) -> Iterator[Screen]:
    """Plays an episode again and yields its screens, the one after the reset first.

    Raises:
        EpisodeChangedError: it went another way, so it would show something else.
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
            raise EpisodeChangedError(f"{CHANGED}: {how}, and not after {last + 1}")
        yield Screen(image, frames, observation, action, reward, score, lives)
        image = game.screen()
        observation = outcome.observation
        lives = outcome.lives
        reward = outcome.reward
        score += float(np.float32(reward))  # as the episode's was added up
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
    """Renders an episode to a .gif or an .mp4, and returns how much of it is shown.

    Args:
        path: of the file; its directory is made.
        config: the settings under which the episode was played.
        episode: what to show; it is cut after ``recording.max_seconds`` of a GIF, or
            ``recording.max_mp4_seconds`` of an MP4.
        scale: see ``Rendering``.
        show: see ``Rendering``.

    Raises:
        UserError: the ending is unknown, or the file cannot be written.
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
    """Renders an episode once, to one file or to both.

    Args:
        paths: of the files, by their kind.
        config: the settings under which the episode was played.
        episode: what to show.
        rendering: how it is drawn.
        to_the_end: whether the episode is played to its end even where the files show less, which
            compares its score.

    Returns:
        How much of the episode each file shows. A file that could not be written, where the other
        could, is missing, and a warning is logged.

    Raises:
        UserError: none of the files could be written.
        EpisodeChangedError: the episode went another way.
    """
    game = make_game(config.spec, config.environment, config.evaluation.frame_cap)
    rate = game.screens_per_second
    show = rendering.show or replay_screens
    outputs = {}
    for ending, path in paths.items():
        open_sink = partial(_SINKS[ending], config=config, rate=rate, scale=rendering.scale)
        outputs[ending] = _Output(Path(path), open_sink)
    with ExitStack() as stack:
        for output in outputs.values():
            stack.enter_context(output)
        for screen in show(game, episode):
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
    """Renders an episode of an evaluation, and writes the JSON beside it, under the same name.

    Args:
        paths: of the GIF, the MP4, or both.
        evaluated: the episode.
        rendering: how it is drawn; its scale is that of plain screens.

    Returns:
        What the JSON holds.
    """
    if rendering.show:  # it scales the screens itself
        rendering = replace(rendering, scale=1)
    recorded = write_recordings(paths, evaluated.result.config, evaluated.episode, rendering)
    files = {}
    for ending, part in recorded.items():
        files[ending] = RecordedFile(name=Path(paths[ending]).name, seconds=part.seconds)
    first = next(iter(recorded))
    described = evaluated.describe(
        files, recorded[first].screens_per_second, annotated=rendering.show is not None
    )
    return write_beside(paths[first], described)


def record_ranked(
    directory: str | Path,
    evaluated: EvaluatedEpisode,
    suffix: str,
    rendering: Rendering = PLAIN,
) -> tuple[EpisodeFile, dict[Ending, Path]]:
    """Records a ranked episode of an evaluation under a name that tells which it is.

    Args:
        directory: of the files.
        evaluated: the episode.
        suffix: end of the name.
        rendering: how it is drawn.

    Returns:
        What the JSON holds, and the paths of the files that could be written.
    """
    game = evaluated.result.config.game
    score = evaluated.episode.score
    stem = recording_stem(game, evaluated.origin, score, str(evaluated.rank), suffix)
    paths = {ending: Path(directory) / f"{stem}.{ending}" for ending in ENDINGS}
    described = record_episode(paths, evaluated, rendering)
    return described, {ending: paths[ending] for ending in described.files}


def replay_recording(path: str | Path, out: str | Path, scale: int | None = None) -> EpisodeFile:
    """Renders an episode again from the JSON beside its recording, which is not trusted.

    A JSON is written beside the new recording too.

    Args:
        path: of the JSON.
        out: a .gif or an .mp4.
        scale: see ``Rendering``.

    Returns:
        What the new JSON holds.

    Raises:
        UserError: the JSON is not that of a recording, or the episode goes another way.
    """
    out = Path(out)
    described = read_episode(path)
    config = described.config()
    _check_actions(path, described, config)
    ending = ending_of(out)
    try:
        recorded = write_recordings(
            {ending: out}, config, described.to_episode(), Rendering(scale), to_the_end=True
        )
    except EpisodeChangedError as error:
        raise UserError(f"'{path}' does not describe what happens: {error}") from None
    files = {ending: RecordedFile(name=out.name, seconds=recorded[ending].seconds)}
    return write_beside(out, described.model_copy(update={"files": files, "annotated": False}))


def write_beside(path: str | Path, described: EpisodeFile) -> EpisodeFile:
    """Writes the JSON of a recording.

    Where there is one of the same episode already, its other files stay named.
    """
    beside = Path(path).with_suffix(".json")
    with suppress(UserError):
        before = read_episode(beside)
        if before.shows(described):
            described = described.model_copy(update={"files": {**before.files, **described.files}})
    described.write(beside)
    return described


def check_beside(path: str | Path) -> None:
    """Raises a UserError where the JSON beside a recording would replace one of another kind."""
    beside = Path(path).with_suffix(".json")
    try:
        if beside.exists():
            read_episode(beside)
    except UserError as error:
        raise UserError(f"{error}; it would be replaced, so choose another name") from None


def check_ending(path: str | Path) -> None:
    """Raises a UserError for a path that cannot be recorded to."""
    if Path(path).suffix.lower() not in (".gif", ".mp4"):
        raise UserError(f"cannot record to '{path}': the name must end in .gif or .mp4")


def ending_of(path: str | Path) -> Ending:
    """Returns the kind of recording that a path names."""
    return "gif" if Path(path).suffix.lower() == ".gif" else "mp4"


def scaled(image: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Returns an image (rows, columns, 3) whose pixels became squares of scale times scale."""
    return image if scale == 1 else image.repeat(scale, axis=0).repeat(scale, axis=1)


def usual_scale(columns: int) -> int:
    """Returns the usual scale of a screen: 2 for small ones, 1 for others."""
    return 2 if columns <= SMALL_SCREEN else 1


def _check_actions(path: str | Path, described: EpisodeFile, config: Config) -> None:
    """Raises a UserError where the game has other actions than the file."""
    game = make_game(config.spec, config.environment, config.evaluation.frame_cap)
    names = game.action_names
    if (described.rom, tuple(described.protocol.actions)) != (config.rom, names):
        raise UserError(f"'{path}': the game has other actions here: {', '.join(names)}")
    highest = max(described.actions)
    if highest >= len(names):
        raise UserError(f"'{path}': action {highest} of {len(names)} that are counted from 0")


class _Gif:
    """Writes a GIF of the screens, until ``recording.max_seconds``."""

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
    """Writes a film of the screens, until ``recording.max_mp4_seconds``."""

    def __init__(self, path: Path, config: Config, rate: float, scale: int | None) -> None:
        skip = config.environment.frame_skip
        # Frames that every agent step takes, or 1 where their number is random.
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
    """A file of a recording: written under another name, and given its own when it is complete.

    Its failure does not disturb other files.

    Args:
        path: of the file.
        open_sink: opens what is written, under the other name.

    Attributes:
        failure: why the file could not be written, in one line; empty while all is well.
    """

    def __init__(self, path: Path, open_sink: Callable[[Path], _Sink]) -> None:
        self._path = path
        self._temporary = path.with_name(f".writing-{path.name}")
        self._open_sink = open_sink
        self._sink: _Sink | None = None
        self.failure = ""

    @property
    def seconds(self) -> float:
        """Game time that the file shows."""
        return self._sink.seconds if self._sink else 0.0

    def add(self, screen: Screen) -> bool:
        """Adds a screen; returns whether there is room for more of them."""
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
            reason = error.strerror or "the encoder stopped, as it does where the disk is full"
            self.failure = f"'{self._path}' could not be written: {reason}"
