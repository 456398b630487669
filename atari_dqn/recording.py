"""From an episode (its seed and its actions) to a GIF or an MP4, in true colours and at true speed."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import imageio.v2
import imageio.v3
import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from atari_dqn.environments import make_game
from atari_dqn.errors import UserError
from atari_dqn.evaluation import Episode
from atari_dqn.preprocessing import Game
from atari_dqn.settings import Config

# H.264 in the form that browsers play stores colour at half the resolution; doubled pixels keep theirs.
MP4_SCALE = 2


class Screen(NamedTuple):
    """What the emulator showed after an agent step."""

    image: NDArray[np.uint8]  # (rows, 160, 3)
    frames: int  # emulator frames for which it is shown


class Recorded(NamedTuple):
    """Game time in seconds."""

    shown: float
    played: float


def replay_screens(game: Game, episode: Episode) -> Iterator[Screen]:
    """Plays an episode again and yields its screens, the one after the reset first.

    Raises:
        RuntimeError: the replay ended with another score than the episode, so it would show something else.
    """
    game.reset(episode.seed)
    score, frames = 0.0, 1
    screen = game.screen()
    for action in episode.actions:
        outcome = game.step(int(action))
        frames = outcome.frames
        yield Screen(screen, frames)
        screen = game.screen()
        score += float(np.float32(outcome.reward))  # as the episode's was added up
    yield Screen(screen, frames)
    if score != episode.score:
        raise RuntimeError(f"the replay of an episode with score {episode.score:g} scored {score:g}")


def write_recording(path: Path, config: Config, episode: Episode) -> Recorded:
    """Renders an episode to ``path``, a .gif or an .mp4, and returns how much of it is shown.

    Args:
        path: its directory is made.
        config: the settings under which the episode was played.
        episode: what to show; a GIF, whose frames are held in memory, is cut after ``recording.max_seconds``.

    Raises:
        UserError: the ending is unknown, or the file cannot be written.
    """
    check_ending(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    game = make_game(config.spec, config.environment, config.evaluation.frame_cap)
    screens, rate = replay_screens(game, episode), game.screens_per_second
    try:
        if path.suffix.lower() == ".gif":
            shown = _write_gif(path, screens, rate, config.recording.max_seconds)
        else:
            shown = _write_mp4(path, screens, rate, _usual_frames(config))
    except OSError as error:
        path.unlink(missing_ok=True)
        reason = error.strerror or "the encoder stopped, as it does where the disk is full"
        raise UserError(f"'{path}' could not be written: {reason}") from error
    return Recorded(shown, episode.frames / rate)


def check_ending(path: Path) -> None:
    """Raises a UserError for a path that cannot be recorded to."""
    if path.suffix.lower() not in (".gif", ".mp4"):
        raise UserError(f"cannot record to '{path}': the name must end in .gif or .mp4")


def gif_durations(frames: list[int], rate: float) -> list[int]:
    """Milliseconds for which each screen is shown, in the hundredths of a second that GIF knows.

    Rounding is spread along the timeline, so that 15 screens a second last 60, 70, 70, 60 ... ms and none of it is lost.

    >>> gif_durations([4, 4, 4], rate=60)
    [70, 60, 70]
    """
    ends = np.rint(np.cumsum(frames) * 100 / rate).astype(int)
    return [int(duration) * 10 for duration in np.diff(ends, prepend=0)]


def _usual_frames(config: Config) -> int:
    """Frames that every agent step takes, or 1 where their number is random."""
    skip = config.environment.frame_skip
    return skip if isinstance(skip, int) else 1


def _write_gif(path: Path, screens: Iterator[Screen], rate: float, max_seconds: int) -> float:
    images, frames = [], []
    for screen in screens:
        images.append(screen.image)
        frames.append(screen.frames)
        if sum(frames) >= max_seconds * rate:
            break
    durations = gif_durations(frames, rate)
    path.write_bytes(imageio.v3.imwrite("<bytes>", images, extension=".gif", duration=durations, loop=0))
    return sum(durations) / 1000


def _write_mp4(path: Path, screens: Iterator[Screen], rate: float, usual_frames: int) -> float:
    rate /= usual_frames
    written = 0
    options: dict[str, Any] = {"codec": "libx264", "pixelformat": "yuv420p", "macro_block_size": 2, "quality": 8}
    with imageio.v2.get_writer(path, fps=rate, **options) as writer:
        for screen in screens:
            image = screen.image.repeat(MP4_SCALE, axis=0).repeat(MP4_SCALE, axis=1)
            for _ in range(max(round(screen.frames / usual_frames), 1)):
                writer.append_data(image)
                written += 1
    # The writer does not notice that the encoder failed to finish its file.
    with suppress(RuntimeError):
        if imageio_ffmpeg.count_frames_and_secs(str(path))[0] == written:
            return written / rate
    raise OSError(f"incomplete: {path}")
