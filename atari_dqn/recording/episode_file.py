"""The JSON beside every recording: where an episode comes from, and all that it takes to play it
again.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from atari_dqn.config.schema import Config, EnvironmentSettings, EvaluationSettings
from atari_dqn.errors import UserError, shorten
from atari_dqn.evaluation.evaluate import Episode, Evaluation, Rank
from atari_dqn.files.atomic_write import write_whole
from atari_dqn.files.reading import read_text
from atari_dqn.games.ids import identify

FORMAT: Literal[1] = 1
# An episode of 108,000 emulator frames, each with a choice of its own, stays far below.
LARGEST_FILE = 16_000_000

Source = Literal["evaluation", "training", "random", "record"]
Ending = Literal["gif", "mp4"]
Name = Annotated[str, Field(max_length=4096)]
Count = Annotated[int, Field(ge=0, lt=2**31)]


class Origin(NamedTuple):
    """Who played."""

    source: Source
    run: str  # name of the run directory
    recipe: str | None
    checkpoint: str | None
    steps: int  # agent steps of training


RANDOM_PLAY = Origin("random", "random", None, None, 0)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class PlayedEpisode(_Part):
    """An episode in numbers."""

    seed: Count
    environment: Count
    score: float
    steps: Count
    frames: Count
    cut_by_frame_cap: bool


class PlayedProtocol(_Part):
    """Everything that the score depends on beside the agent."""

    name: Name
    environment: EnvironmentSettings
    frame_cap: Annotated[int, Field(ge=1, lt=2**31)]
    actions: Annotated[list[Name], Field(min_length=1, max_length=256)]
    epsilon: Annotated[float, Field(ge=0, le=1)]
    seed: Annotated[int, Field(ge=0)]
    environments: Count


class RecordedFile(_Part):
    """A file, and how much game time it shows."""

    name: Name
    seconds: Annotated[float, Field(ge=0)]


class EpisodeFile(_Part):
    """A recorded episode."""

    kind: Literal["recording"] = "recording"
    format: Literal[1] = FORMAT
    game: Name
    rom: Name | None
    run: Name
    recipe: Name | None
    source: Source
    checkpoint: Name | None
    steps: Annotated[int, Field(ge=0)]
    protocol: PlayedProtocol
    rank: Rank | None
    episode: PlayedEpisode
    actions: Annotated[list[Annotated[int, Field(ge=0, lt=256)]], Field(min_length=1)]
    seconds: Annotated[float, Field(ge=0)]
    files: dict[Ending, RecordedFile]
    annotated: bool
    screens_per_second: Annotated[float, Field(gt=0)]

    @field_validator("game")
    @classmethod
    def _game_imports_nothing(cls, game: str) -> str:
        if ":" in game:
            raise ValueError(
                "an id of the form module:Env runs code of the module; it is accepted from nobody's file"
            )
        return game

    def shows(self, other: "EpisodeFile") -> bool:
        """Whether both are of the same episode, shown in the same way."""
        own, its = (
            (file.game, file.episode, file.actions, file.annotated) for file in (self, other)
        )
        return own == its

    def config(self) -> Config:
        """Settings to play the episode under.

        Raises:
            UserError: the id means no game here, or its keyword arguments could mean anything.
        """
        identify(self.game)
        for name, value in self.protocol.environment.kwargs.items():
            if not isinstance(value, int | float) and not (
                isinstance(value, str) and value.replace("_", "").isalnum()
            ):
                raise UserError(
                    f"environment.kwargs.{name} of a recording is neither a number nor a plain word"
                )
        try:
            return Config(
                game=self.game,
                recipe=self.recipe or "none",
                protocol=self.protocol.name,
                environment=self.protocol.environment,
                evaluation=EvaluationSettings(frame_cap=self.protocol.frame_cap),
            )
        except ValidationError as error:
            reason = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            raise UserError(f"the settings of a recording: {reason}") from None

    def played(self) -> Episode:
        """The episode to play."""
        numbers = self.episode
        taken = np.array(self.actions, np.uint8)
        return Episode(
            numbers.seed,
            taken,
            numbers.score,
            numbers.frames,
            numbers.cut_by_frame_cap,
            numbers.environment,
        )

    def write(self, path: Path) -> None:
        """Writes it as JSON, the actions on one line; whatever interrupts this leaves the old file
        or the new one.
        """
        lines = []
        for name, value in self.model_dump(
            exclude={"protocol": {"environment": {"life_loss_ends_future", "frame_cap"}}}
        ).items():
            text = json.dumps(value, indent=None if name == "actions" else 1)
            lines.append(f" {json.dumps(name)}: {text.replace(chr(10), chr(10) + ' ')}")
        write_whole(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


def describe_episode(
    result: Evaluation,
    episode: Episode,
    origin: Origin,
    rank: Rank | None,
    files: dict[Ending, RecordedFile],
    screens_per_second: float,
    annotated: bool = False,
) -> EpisodeFile:
    """What to write beside the recording of an episode of an evaluation."""
    return EpisodeFile(
        game=result.config.game,
        rom=result.config.rom,
        **origin._asdict(),
        protocol=PlayedProtocol.model_validate(result.protocol()),
        rank=rank,
        episode=PlayedEpisode.model_validate(episode.to_json()),
        actions=episode.actions.tolist(),
        seconds=episode.frames / screens_per_second,
        files=files,
        annotated=annotated,
        screens_per_second=screens_per_second,
    )


def read_episode(path: str | Path) -> EpisodeFile:
    """Reads what lies beside a recording; nothing in it is trusted.

    Raises:
        UserError: it is missing, is no such JSON, or holds what no recording has.
    """
    text = read_text(Path(path), LARGEST_FILE)
    try:
        return EpisodeFile.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = shorten(".".join(str(part) for part in first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(
            f"'{path}' is no JSON of a recording: {f'{place}: ' if place else ''}{message}"
        ) from None


def recording_stem(game: str, origin: Origin, score: float, rank: str, suffix: str) -> str:
    """What the files of a recorded episode are called, without their ending.

    >>> recording_stem("ALE/Pong-v5", RANDOM_PLAY, -21.0, "median", "tutorial_seed1")
    'ALE-Pong-v5_random_step000000000_score-21_median_tutorial_seed1'
    """
    return f"{_beginning(game, origin)}_score{score:g}_{rank}_{suffix}"


def evaluation_stem(result: Evaluation, origin: Origin) -> str:
    """What the JSON of a whole evaluation is called, without its ending."""
    return f"{_beginning(result.config.game, origin)}_evaluation_{conditions_of(result, origin)}"


def conditions_of(result: Evaluation, origin: Origin) -> str:
    """What tells evaluations of one checkpoint apart in the names of their files."""
    usual = 1.0 if origin == RANDOM_PLAY else result.config.evaluation.epsilon
    epsilon = "" if result.epsilon == usual else f"_epsilon{result.epsilon:g}"
    return f"{result.config.protocol}{epsilon}_seed{result.seed}"


def evaluation_json(result: Evaluation, origin: Origin) -> dict[str, Any]:
    """A whole evaluation as plain numbers and strings."""
    return {"kind": "evaluation", "format": FORMAT, **origin._asdict(), **result.to_json()}


def _beginning(game: str, origin: Origin) -> str:
    return f"{game.replace('/', '-')}_{origin.run}_step{origin.steps:09d}"
