"""Draws how frames are preprocessed: the emulator's raw frames above the network's input."""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from atari_dqn.config.schema import Config
from atari_dqn.environments.atari_game import ReferenceGame
from atari_dqn.environments.environments import make_game
from atari_dqn.errors import UserError
from atari_dqn.files.atomic_write import write_whole
from atari_dqn.recording.drawing import BACKGROUND, BLUE, FAINT, MEDIUM, SMALL, WHITE, Style, text

# In pixels.
MARGIN = 12
GAP = 8
HEADER = 26
LABEL = 18
ZOOM = 2  # enlargement of the network's input


class PlayedStep(NamedTuple):
    """One agent step."""

    number: int  # from 1
    action: str  # name of the action
    raw: list[NDArray[np.uint8]]  # the step's emulator frames, each (rows, columns, 3)
    observation: NDArray[np.uint8]  # (stack, height, width), after the step
    first_frame: int  # number of the step's first frame in the episode, from 1


def draw_frames(out: str | Path, config: Config, steps: int, after: int, seed: int) -> None:
    """Writes a picture of successive agent steps of random play.

    It shows the raw frames of each step, and below them the observation that the network gets.

    Args:
        out: A .png file. Its directory is created.
        config: Settings with the game to play.
        steps: Number of agent steps to show.
        after: Number of agent steps to play before these.
        seed: Seed of the episode and of the actions.

    Raises:
        UserError: The file name does not end in .png, the game has vectors as observations, or the
            episode ends too soon.
    """
    out = Path(out)
    if out.suffix.lower() != ".png":
        raise UserError(f"cannot draw to '{out}': the name must end in .png")
    if config.spec.vectors:
        raise UserError(f"{config.spec.id} has vectors as observations; only pictures can be drawn")
    played = play_steps(config, steps, after, seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    png = io.BytesIO()
    picture_of(played, config).save(png, format="PNG")
    write_whole(out, png.getvalue())


def play_steps(config: Config, steps: int, after: int, seed: int) -> list[PlayedStep]:
    """Plays random actions and returns the last steps; arguments are as for ``draw_frames``."""
    game = make_game(config.spec, config.environment, config.evaluation.frame_cap)
    random = np.random.Generator(np.random.PCG64(seed))
    game.reset(seed)
    played = []
    frames = 0
    for number in range(1, after + steps + 1):
        action = int(random.integers(len(game.action_names)))
        raw: list[NDArray[np.uint8]] = []
        if isinstance(game, ReferenceGame):
            game.raw_frames = raw
        outcome = game.step(action)
        if outcome.terminated or outcome.truncated:
            raise UserError(
                f"the episode with seed {seed} ends after {number} agent steps: "
                "choose another seed, or a smaller --after"
            )
        if number > after:
            step = PlayedStep(
                number=number,
                action=game.action_names[action],
                raw=raw or [game.screen()],
                observation=outcome.observation,
                first_frame=frames + 1,
            )
            played.append(step)
        frames += outcome.frames
    return played


def picture_of(played: list[PlayedStep], config: Config) -> Image.Image:
    """Returns a picture of steps, one below the other, with observations at twice their size."""
    rows, columns, _ = played[0].raw[0].shape
    stack, height, width = (int(size) for size in played[0].observation.shape)
    raw_band = LABEL + rows + 2 * GAP
    band = HEADER + raw_band + LABEL + ZOOM * height + 2 * MARGIN
    most_raw = max(len(step.raw) for step in played)
    across = max(most_raw * (columns + GAP), stack * (ZOOM * width + GAP)) - GAP
    picture = Image.new("RGB", (across + 2 * MARGIN, band * len(played) + MARGIN), BACKGROUND)
    for index, step in enumerate(played):
        top = index * band + MARGIN
        _draw_header(picture, top, step, config)
        _draw_raw_frames(picture, top + HEADER, step, config)
        _draw_observation(picture, top + HEADER + raw_band, step)
    return picture


def _draw_header(picture: Image.Image, top: int, step: PlayedStep, config: Config) -> None:
    title = f"agent step {step.number}: {step.action}"
    width = text(picture, (MARGIN, top), title, Style(MEDIUM, WHITE))
    what_happens = _what_happens(step, config)
    text(picture, (MARGIN + width + 12, top + 2), what_happens, Style(SMALL, FAINT))


def _draw_raw_frames(picture: Image.Image, top: int, step: PlayedStep, config: Config) -> None:
    """Draws the frames of a step, and marks those that the observation uses."""
    for index, raw in enumerate(step.raw):
        rows, columns, _ = raw.shape
        left = MARGIN + index * (columns + GAP)
        is_observed = len(step.raw) - index <= 1 + config.environment.max_pool
        style = Style(SMALL, WHITE if is_observed else FAINT)
        text(picture, (left, top), f"frame {step.first_frame + index}", style)
        picture.paste(Image.fromarray(raw), (left, top + LABEL))
        if is_observed:
            below = top + LABEL + rows
            picture.paste(BLUE, (left, below + 2, left + columns, below + 4))


def _draw_observation(picture: Image.Image, top: int, step: PlayedStep) -> None:
    """Draws the stack of frames that the network sees after a step."""
    stack, height, width = step.observation.shape
    label = (
        f"what the network sees after it: {stack} frames of {height}x{width}, "
        "one from each step, the newest last"
    )
    text(picture, (MARGIN, top), label, Style(SMALL, FAINT))
    for index, frame in enumerate(step.observation):
        large = Image.fromarray(frame.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1))
        picture.paste(large, (MARGIN + index * (ZOOM * width + GAP), top + LABEL))


def _what_happens(step: PlayedStep, config: Config) -> str:
    settings = config.environment
    parts = []
    if config.rom:
        parts.append(f"for {len(step.raw)} frames")
    if settings.sticky_probability:
        parts.append(f"sticky {settings.sticky_probability:g}")
    if settings.max_pool:
        parts.append("observed: pixel-wise maximum of the last two")
    else:
        parts.append("observed: the last one")
    return ", ".join(parts)
