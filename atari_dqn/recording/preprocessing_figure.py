"""A picture of what happens between the emulator's screen and the network's eye."""

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
from atari_dqn.recording.drawing import BACKGROUND, BLUE, FAINT, MEDIUM, SMALL, WHITE, text

MARGIN, GAP = 12, 8
HEADER, LABEL = 26, 18
ZOOM = 2  # of what the network sees


class SeenStep(NamedTuple):
    """One agent step."""

    number: int
    action: str
    raw: list[NDArray[np.uint8]]  # (rows, columns, 3), each frame that it took
    observation: NDArray[np.uint8]  # (stack, height, width), after it
    first_frame: int  # since the episode began, from 1


def draw_frames(out: str | Path, config: Config, steps: int, after: int, seed: int) -> None:
    """Writes a picture of successive agent steps of random play: the raw frames, and below them
    what the network sees.

    Args:
        out: a .png; its directory is made.
        config: which game, under which settings.
        steps: agent steps to show.
        after: agent steps that are played before.
        seed: of the episode and of the actions.

    Raises:
        UserError: the name has another ending, the game shows vectors, or the episode ends too
            soon.
    """
    out = Path(out)
    if out.suffix.lower() != ".png":
        raise UserError(f"cannot draw to '{out}': the name must end in .png")
    if config.spec.vectors:
        raise UserError(
            f"{config.spec.id} shows vectors; frames are drawn of games that show pictures"
        )
    seen = play_steps(config, steps, after, seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    drawn = io.BytesIO()
    picture_of(seen, config).save(drawn, format="PNG")
    write_whole(out, drawn.getvalue())


def play_steps(config: Config, steps: int, after: int, seed: int) -> list[SeenStep]:
    """Plays at random and keeps the last steps; see ``draw_frames``."""
    game = make_game(config.spec, config.environment, config.evaluation.frame_cap)
    random = np.random.Generator(np.random.PCG64(seed))
    game.reset(seed)
    seen, frames = [], 0
    for number in range(1, after + steps + 1):
        action = int(random.integers(len(game.action_names)))
        raw: list[NDArray[np.uint8]] = []
        if isinstance(game, ReferenceGame):
            game.raw_frames = raw
        outcome = game.step(action)
        if outcome.terminated or outcome.truncated:
            raise UserError(
                f"the episode of seed {seed} ends after {number} agent steps: choose another seed, or a smaller --after"
            )
        if number > after:
            seen.append(
                SeenStep(
                    number,
                    game.action_names[action],
                    raw or [game.screen()],
                    outcome.observation,
                    frames + 1,
                )
            )
        frames += outcome.frames
    return seen


def picture_of(seen: list[SeenStep], config: Config) -> Image.Image:
    """The steps one below the other; what is seen is twice as large as it is."""
    rows, columns, _ = seen[0].raw[0].shape
    stack, height, width = seen[0].observation.shape
    height, width = ZOOM * height, ZOOM * width
    band = HEADER + LABEL + rows + 2 * GAP + LABEL + height + 2 * MARGIN
    across = max(max(len(step.raw) for step in seen) * (columns + GAP), stack * (width + GAP)) - GAP
    picture = Image.new("RGB", (across + 2 * MARGIN, band * len(seen) + MARGIN), BACKGROUND)
    for place, step in enumerate(seen):
        top = place * band + MARGIN
        end = text(
            picture, (MARGIN, top), f"agent step {step.number}: {step.action}", MEDIUM, WHITE
        )
        text(picture, (MARGIN + end + 12, top + 2), _what_happens(step, config), SMALL, FAINT)
        top += HEADER
        for index, raw in enumerate(step.raw):
            left = MARGIN + index * (columns + GAP)
            observed = len(step.raw) - index <= 1 + config.environment.max_pool
            text(
                picture,
                (left, top),
                f"frame {step.first_frame + index}",
                SMALL,
                WHITE if observed else FAINT,
            )
            picture.paste(Image.fromarray(raw), (left, top + LABEL))
            if observed:
                picture.paste(
                    BLUE, (left, top + LABEL + rows + 2, left + columns, top + LABEL + rows + 4)
                )
        top += LABEL + rows + 2 * GAP
        size = f"{height // ZOOM}x{width // ZOOM}"
        told = f"what the network sees then: {stack} frames of {size}, one of each step, the newest right"
        text(picture, (MARGIN, top), told, SMALL, FAINT)
        for index, frame in enumerate(step.observation):
            large = Image.fromarray(frame.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1))
            picture.paste(large, (MARGIN + index * (width + GAP), top + LABEL))
    return picture


def _what_happens(step: SeenStep, config: Config) -> str:
    settings = config.environment
    parts = [f"for {len(step.raw)} frames"] if config.rom else []
    parts += [f"sticky {settings.sticky_probability:g}"] if settings.sticky_probability else []
    parts += [
        "the pixel-wise maximum of the last two is observed"
        if settings.max_pool
        else "the last one is observed"
    ]
    return ", ".join(parts)
