"""From an episode (its seed and its actions) to a GIF and an MP4, in true colours and at true speed."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atari_dqn.environments import make_game
from atari_dqn.episode_file import Ending, EpisodeFile, Origin, RecordedFile, describe_episode, read_episode, recording_stem
from atari_dqn.errors import UserError
from atari_dqn.evaluation import Episode, Evaluation, Rank
from atari_dqn.gif import GifFile, gif_delay
from atari_dqn.mp4 import Mp4File
from atari_dqn.preprocessing import Game
from atari_dqn.settings import Config

ENDINGS: tuple[Ending, ...] = ("gif", "mp4")
# H.264 in the form that browsers play stores colour at half the resolution; doubled pixels keep theirs. So the small screens
# of Atari games are doubled; what is drawn larger than this many columns has no need of it.
SMALL_SCREEN = 320


class Screen(NamedTuple):
    """What there is to see after an agent step, or the reset."""

    image: NDArray[np.uint8]  # (rows, columns, 3), RGB
    frames: int  # emulator frames for which it is shown
    observation: NDArray[Any]  # *observation_shape
    action: int | None  # taken now; None: the episode is over
    reward: float  # of the step that led here
    score: float  # so far
    lives: int


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
        RuntimeError: the replay ended otherwise than the episode, so it would show something else.
    """
    observation, lives = game.reset(episode.seed)
    reward, score, frames, total = 0.0, 0.0, 1, 0
    image = game.screen()
    for action in episode.actions.tolist():
        outcome = game.step(action)
        frames = outcome.frames
        yield Screen(image, frames, observation, action, reward, score, lives)
        image, observation, lives, reward = game.screen(), outcome.observation, outcome.lives, outcome.reward
        score += float(np.float32(reward))  # as the episode's was added up
        total += frames
    yield Screen(image, frames, observation, None, reward, score, lives)
    if (score, total) != (episode.score, episode.frames):
        was, is_ = f"score {episode.score:g} in {episode.frames} frames", f"{score:g} in {total}"
        raise RuntimeError(f"the replay of an episode with {was} scored {is_}")


def write_recording(
    path: str | Path, config: Config, episode: Episode, scale: int | None = None, show: Show = replay_screens
) -> Recorded:
    """Renders an episode to ``path``, a .gif or an .mp4, and returns how much of it is shown.

    Args:
        path: its directory is made.
        config: the settings under which the episode was played.
        episode: what to show; a GIF is cut after ``recording.max_seconds``.
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
        whole: plays the episode to its end even where the files show less, which is what compares its score.
    """
    files = {ending: Path(path) for ending, path in paths.items()}
    game = make_game(config.spec, config.environment, config.evaluation.frame_cap)
    screens, rate = show(game, episode), game.screens_per_second
    sinks: dict[Ending, _Gif | _Mp4] = {}
    sink: _Gif | _Mp4
    try:
        with ExitStack() as stack:
            for ending, path in files.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                sink = _Gif(path, rate, config, scale) if ending == "gif" else _Mp4(path, rate, config, scale)
                stack.enter_context(sink)
                sinks[ending] = sink
            for screen in screens:
                wanting = [sink.add(screen) for sink in sinks.values()]
                if not (any(wanting) or whole):
                    break
    except BaseException as error:
        for path in files.values():
            path.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        reason = error.strerror or "the encoder stopped, as it does where the disk is full"
        raise UserError(f"'{error.filename or path}' could not be written: {reason}") from error
    return {ending: Recorded(sink.seconds, episode.frames / rate, rate) for ending, sink in sinks.items()}


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
    recorded = write_recordings(paths, result.config, episode, 1 if show else scale, show or replay_screens)
    names = {ending: Path(path).name for ending, path in paths.items()}
    files = {ending: RecordedFile(name=names[ending], seconds=shown.shown) for ending, shown in recorded.items()}
    path, rate = next((Path(paths[ending]), shown.screens_per_second) for ending, shown in recorded.items())
    described = describe_episode(result, episode, origin, rank, files, rate, annotated=show is not None)
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
    return record_episode(paths, result, episode, origin, rank, **options), paths


def replay_recording(path: str | Path, out: str | Path, scale: int | None = None) -> EpisodeFile:
    """Renders an episode anew from the JSON beside its recording, which is not trusted, and writes a JSON beside that too.

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
        raise UserError(f"'{path}': the game has other actions here: {', '.join(game.action_names)}")
    if max(described.actions) >= len(game.action_names):
        raise UserError(f"'{path}': action {max(described.actions)} of {len(game.action_names)} that are counted from 0")
    ending = ending_of(out)
    try:
        shown = write_recordings({ending: out}, config, episode, scale, whole=True)[ending]
    except RuntimeError as error:
        raise UserError(f"'{path}' does not describe what happens: {error}") from None
    files = {ending: RecordedFile(name=out.name, seconds=shown.shown)}
    return write_beside(out, described.model_copy(update={"files": files, "annotated": False}))


def write_beside(path: str | Path, described: EpisodeFile) -> EpisodeFile:
    """Writes the JSON of a recording; where there is one of the same episode already, its other files stay named."""
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
        self._file.add(scaled(screen.image, self._scale), gif_delay(before / self._rate, self._frames / self._rate))
        return self.seconds < self._limit

    def __enter__(self) -> "_Gif":
        return self

    def __exit__(self, *failure: Any) -> None:
        self._file.__exit__(*failure)


class _Mp4:
    """A film of the screens."""

    def __init__(self, path: Path, rate: float, config: Config, scale: int | None) -> None:
        skip = config.environment.frame_skip
        # Frames that every agent step takes, or 1 where their number is random.
        self._usual_frames = skip if isinstance(skip, int) else 1
        self._rate, self._scale = rate / self._usual_frames, scale
        self._file = Mp4File(path, self._rate)

    @property
    def seconds(self) -> float:
        return self._file.count / self._rate

    def add(self, screen: Screen) -> bool:
        scale = self._scale or (2 if screen.image.shape[1] <= SMALL_SCREEN else 1)
        self._file.add(scaled(screen.image, scale), max(round(screen.frames / self._usual_frames), 1))
        return True

    def __enter__(self) -> "_Mp4":
        return self

    def __exit__(self, *failure: Any) -> None:
        self._file.__exit__(*failure)
