"""From an episode (its seed and its actions) to a GIF and an MP4, in true colours and at true
speed.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atari_dqn.config.schema import Config
from atari_dqn.environments.environments import make_game
from atari_dqn.environments.game import Game
from atari_dqn.errors import UserError
from atari_dqn.evaluation.evaluate import Episode, Evaluation, Rank
from atari_dqn.recording.episode_file import (
    Ending,
    EpisodeFile,
    Origin,
    RecordedFile,
    describe_episode,
    read_episode,
    recording_stem,
)
from atari_dqn.recording.gif import GifFile, gif_delay
from atari_dqn.recording.mp4 import Mp4File

logger = logging.getLogger(__name__)

ENDINGS: tuple[Ending, ...] = ("gif", "mp4")
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

    shown: float  # game time in seconds
    played: float  # that of the whole episode
    screens_per_second: float


# How an episode is shown: from the game and the episode to its screens.
Show = Callable[[Game, Episode], Iterator[Screen]]


def replay_screens(game: Game, episode: Episode) -> Iterator[Screen]:
    """Plays an episode again and yields its screens, the one after the reset first.

    Raises:
        EpisodeChangedError: it went another way, so it would show something else.
    """
    observation, lives = game.reset(episode.seed)
    reward, score, frames, total = 0.0, 0.0, 1, 0
    image = game.screen()
    last = len(episode.actions) - 1
    for step, action in enumerate(episode.actions.tolist()):
        outcome = game.step(action)
        frames = outcome.frames
        ended = outcome.terminated or outcome.truncated
        if ended != (step == last):
            how = f"it ended after {step + 1} steps" if ended else "it did not end"
            raise EpisodeChangedError(f"{CHANGED}: {how}, and not after {last + 1}")
        yield Screen(image, frames, observation, action, reward, score, lives)
        image, observation, lives, reward = (
            game.screen(),
            outcome.observation,
            outcome.lives,
            outcome.reward,
        )
        score += float(np.float32(reward))  # as the episode's was added up
        total += frames
    yield Screen(image, frames, observation, None, reward, score, lives)
    if (score, total) != (episode.score, episode.frames):
        before = f"{episode.score:g} in {episode.frames} frames"
        raise EpisodeChangedError(
            f"{CHANGED}: it scored {score:g} in {total} frames instead of {before}"
        )


def write_recording(
    path: str | Path,
    config: Config,
    episode: Episode,
    scale: int | None = None,
    show: Show = replay_screens,
) -> Recorded:
    """Renders an episode to ``path``, a .gif or an .mp4, and returns how much of it is shown.

    Args:
        path: its directory is made.
        config: the settings under which the episode was played.
        episode: what to show; it is cut after ``recording.max_seconds`` of a GIF, or
            ``recording.max_mp4_seconds`` of an MP4.
        scale: each pixel becomes so many squared; None: 1, and in an MP4 2 for small screens.
        show: how; the plain screens, if nothing is said.

    Raises:
        UserError: the ending is unknown, or the file cannot be written.
    """
    check_ending(path)
    ending = ending_of(path)
    return write_recordings({ending: Path(path)}, config, episode, scale, show)[ending]


def write_recordings(
    paths: Mapping[Ending, str | Path],
    config: Config,
    episode: Episode,
    scale: int | None = None,
    show: Show = replay_screens,
    whole: bool = False,
) -> dict[Ending, Recorded]:
    """Renders an episode once, to one file or to both.

    Args:
        paths: where to.
        config: see ``write_recording``, as for the next three.
        episode: what to show.
        scale: of pixels.
        show: how.
        whole: plays the episode to its end even where the files show less, which is what compares
            its score.

    Returns:
        How much of the episode each file shows. A kind of file that could not be written, where the
        other could, is missing, and a note says why.

    Raises:
        UserError: none of the files could be written.
        EpisodeChangedError: the episode went another way.
    """
    files = {ending: Path(path) for ending, path in paths.items()}
    game = make_game(config.spec, config.environment, config.evaluation.frame_cap)
    rate = game.screens_per_second
    outputs = {ending: _Output(ending, path, rate, config, scale) for ending, path in files.items()}
    with ExitStack() as stack:
        for output in outputs.values():
            stack.enter_context(output)
        for screen in show(game, episode):
            wanted = [output.add(screen) for output in outputs.values()]
            if not (any(wanted) or whole):
                break
    failures = [output.failure for output in outputs.values() if output.failure]
    if len(failures) == len(outputs):
        raise UserError(failures[0])
    for failure in failures:
        logger.warning(failure)
    played = episode.frames / rate
    return {
        ending: Recorded(output.seconds, played, rate)
        for ending, output in outputs.items()
        if not output.failure
    }


def record_episode(
    paths: Mapping[Ending, str | Path],
    result: Evaluation,
    episode: Episode,
    origin: Origin,
    rank: Rank | None = None,
    *,
    scale: int | None = None,
    show: Show | None = None,
) -> EpisodeFile:
    """Renders an episode of an evaluation, and writes the JSON beside it, under the same name.

    Args:
        paths: of the GIF, the MP4, or both.
        result: the evaluation.
        episode: one of it.
        origin: who played.
        rank: of the episode among those of the evaluation.
        scale: see ``write_recording``; annotated pictures are not scaled again.
        show: how it is annotated; None: not at all.
    """
    recorded = write_recordings(
        paths, result.config, episode, 1 if show else scale, show or replay_screens
    )
    names = {ending: Path(path).name for ending, path in paths.items()}
    files = {
        ending: RecordedFile(name=names[ending], seconds=shown.shown)
        for ending, shown in recorded.items()
    }
    path, rate = next(
        (Path(paths[ending]), shown.screens_per_second) for ending, shown in recorded.items()
    )
    described = describe_episode(
        result, episode, origin, rank, files, rate, annotated=show is not None
    )
    return write_beside(path, described)


def record_ranked(
    directory: str | Path,
    result: Evaluation,
    origin: Origin,
    rank: Rank,
    suffix: str,
    **options: Any,
) -> tuple[EpisodeFile, dict[Ending, Path]]:
    """Records an episode of an evaluation under the name that says which it is.

    Args:
        directory: where to.
        result: the evaluation.
        origin: who played.
        rank: which of its episodes.
        suffix: end of the name.
        options: of ``record_episode``.
    """
    episode = result.ranked()[rank]
    stem = recording_stem(result.config.game, origin, episode.score, rank, suffix)
    paths = {ending: Path(directory) / f"{stem}.{ending}" for ending in ENDINGS}
    described = record_episode(paths, result, episode, origin, rank, **options)
    return described, {ending: paths[ending] for ending in described.files}


def replay_recording(path: str | Path, out: str | Path, scale: int | None = None) -> EpisodeFile:
    """Renders an episode anew from the JSON beside its recording, which is not trusted, and writes
    a JSON beside that too.

    Args:
        path: the JSON.
        out: a .gif or an .mp4.
        scale: see ``write_recording``.

    Raises:
        UserError: the JSON is none of a recording, or the episode does not go as it says.
    """
    out = Path(out)
    described = read_episode(path)
    config, episode = described.config(), described.played()
    game = make_game(config.spec, config.environment, config.evaluation.frame_cap)
    if (described.rom, tuple(described.protocol.actions)) != (config.rom, game.action_names):
        raise UserError(
            f"'{path}': the game has other actions here: {', '.join(game.action_names)}"
        )
    if max(described.actions) >= len(game.action_names):
        raise UserError(
            f"'{path}': action {max(described.actions)} of {len(game.action_names)} that are counted from 0"
        )
    ending = ending_of(out)
    try:
        shown = write_recordings({ending: out}, config, episode, scale, whole=True)[ending]
    except EpisodeChangedError as error:
        raise UserError(f"'{path}' does not describe what happens: {error}") from None
    files = {ending: RecordedFile(name=out.name, seconds=shown.shown)}
    return write_beside(out, described.model_copy(update={"files": files, "annotated": False}))


def write_beside(path: str | Path, described: EpisodeFile) -> EpisodeFile:
    """Writes the JSON of a recording; where there is one of the same episode already, its other
    files stay named.
    """
    beside = Path(path).with_suffix(".json")
    with suppress(UserError):
        if (before := read_episode(beside)).shows(described):
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
    """What kind of recording a path names."""
    return "gif" if Path(path).suffix.lower() == ".gif" else "mp4"


def scaled(image: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """An image (rows, columns, 3) whose every pixel became a square of ``scale`` times ``scale``."""
    return image if scale == 1 else image.repeat(scale, axis=0).repeat(scale, axis=1)


class _Output:
    """A file of a recording: written under another name, and given its own when it is complete.

    What goes wrong with it is kept in ``failure`` and disturbs nobody else.

    Attributes:
        failure: why the file could not be written, in one line; empty while all is well.
    """

    def __init__(
        self, ending: Ending, path: Path, rate: float, config: Config, scale: int | None
    ) -> None:
        self._ending = ending
        self._path = path
        self._temporary = path.with_name(f".writing-{path.name}")
        self._options = (rate, config, scale)
        self._sink: _Gif | _Mp4 | None = None
        self.failure = ""

    @property
    def seconds(self) -> float:
        """How much game time it shows."""
        return self._sink.seconds if self._sink else 0.0

    def add(self, screen: Screen) -> bool:
        """Adds a screen; returns whether it wants more of them."""
        if self.failure or self._sink is None:
            return False
        try:
            return self._sink.add(screen)
        except OSError as error:
            self._fail(error)
            return False

    def __enter__(self) -> "_Output":
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._temporary.unlink(missing_ok=True)
            kind = _Gif if self._ending == "gif" else _Mp4
            self._sink = kind(self._temporary, *self._options)
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
                self._sink.__exit__(kind, error, trace)
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


class _Gif:
    """A GIF of the screens, until ``recording.max_seconds``."""

    def __init__(self, path: Path, rate: float, config: Config, scale: int | None) -> None:
        self._file, self._rate = GifFile(path), rate
        self._scale, self._limit = scale or 1, config.recording.max_seconds
        self._frames = 0

    @property
    def seconds(self) -> float:
        return round(self._frames / self._rate * 100) / 100

    def add(self, screen: Screen) -> bool:
        if self.seconds >= self._limit:
            return False
        before, self._frames = self._frames, self._frames + screen.frames
        self._file.add(
            scaled(screen.image, self._scale),
            gif_delay(before / self._rate, self._frames / self._rate),
        )
        return self.seconds < self._limit

    def __enter__(self) -> "_Gif":
        return self

    def __exit__(self, *failure: Any) -> None:
        self._file.__exit__(*failure)


class _Mp4:
    """A film of the screens, until ``recording.max_mp4_seconds``."""

    def __init__(self, path: Path, rate: float, config: Config, scale: int | None) -> None:
        self._limit = config.recording.max_mp4_seconds
        skip = config.environment.frame_skip
        # Frames that every agent step takes, or 1 where their number is random.
        self._usual_frames = skip if isinstance(skip, int) else 1
        self._rate, self._scale = rate / self._usual_frames, scale
        self._file = Mp4File(path, self._rate)

    @property
    def seconds(self) -> float:
        return self._file.count / self._rate

    def add(self, screen: Screen) -> bool:
        if self.seconds >= self._limit:
            return False
        scale = self._scale or (2 if screen.image.shape[1] <= SMALL_SCREEN else 1)
        self._file.add(
            scaled(screen.image, scale), max(round(screen.frames / self._usual_frames), 1)
        )
        return self.seconds < self._limit

    def __enter__(self) -> "_Mp4":
        return self

    def __exit__(self, *failure: Any) -> None:
        self._file.__exit__(*failure)
