"""The JSON files beside recordings, validated: they may come from anybody."""

import json
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
)

from atari_dqn.errors import UserError
from atari_dqn.files.reading import parse_json

MAX_BYTES = 32 * 2**20
LONGEST_TEXT = 300

Count = Annotated[int, Field(ge=0, lt=2**53)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_TEXT)]


def _plain_name(name: str) -> str:
    """A file's name alone: nothing that leads to another folder, drive or host."""
    if (
        PurePosixPath(name).name != name
        or set(name) & set('/\\:"')
        or name.startswith(".")
        or not name.isprintable()
    ):
        raise ValueError("no plain file name")
    return name


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class MediaFile(_Part):
    """A GIF or an MP4 in the same folder."""

    name: Annotated[Text, AfterValidator(_plain_name)]
    seconds: Seconds


class MediaFiles(_Part):
    """What there is of a recording."""

    gif: MediaFile | None = None
    mp4: MediaFile | None = None


class Protocol(_Part):
    """What a score depends on beside the agent."""

    name: Text
    environment: dict[str, JsonValue]
    frame_cap: Count
    actions: Annotated[list[Text], Field(max_length=1000)]
    epsilon: Probability
    seed: int

    def conditions(self) -> dict[str, str]:
        """What must be the same for two scores to be comparable; another seed is another sample of
        the same.
        """
        numbers = {
            "protocol": self.name,
            "epsilon": f"{self.epsilon:g}",
            "frame cap": str(self.frame_cap),
        }
        environment = {
            name.replace("_", " "): json.dumps(value).strip('"')
            for name, value in sorted(self.environment.items())
        }
        texts = numbers | environment | {"actions": ", ".join(self.actions)}
        return {name[:LONGEST_TEXT]: text[:LONGEST_TEXT] for name, text in texts.items()}


class RecordedEpisode(_Part):
    """One episode, without its actions."""

    seed: int
    score: Number
    steps: Count
    frames: Count
    cut_by_frame_cap: bool


class Statistics(_Part):
    """Scores of all episodes of an evaluation."""

    episodes: Count
    mean: Number
    standard_error: Number | None
    median: Number
    min: Number
    max: Number
    human_normalised: Number | None
    cut_by_frame_cap: Count


class _Played(_Part):
    format: Literal[1]
    game: Text
    rom: Text | None
    run: Text
    recipe: Text | None
    source: Literal["evaluation", "training", "random", "record"]
    checkpoint: Annotated[str, StringConstraints(max_length=1000)] | None
    steps: Count
    protocol: Protocol


class Recording(_Played):
    """An episode that can be watched."""

    kind: Literal["recording"]
    rank: Literal["best", "median", "worst"] | None
    episode: RecordedEpisode
    seconds: Seconds
    files: MediaFiles
    annotated: bool = False


class Evaluation(_Played):
    """The scores of an agent."""

    kind: Literal["evaluation"]
    statistics: Statistics


def parse(text: str | bytes) -> Recording | Evaluation:
    """Reads what is written beside a recording, or about an evaluation.

    Raises:
        UserError: it is neither; the message says why, in one line.
    """
    try:
        document: Any = parse_json(text)
    except ValueError as error:
        raise UserError(f"no valid JSON: {str(error).splitlines()[0]}") from None
    kind = document.get("kind") if isinstance(document, dict) else None
    if kind not in ("recording", "evaluation"):
        raise UserError("neither a recording nor an evaluation")
    try:
        return (Recording if kind == "recording" else Evaluation).model_validate(document)
    except (ValidationError, RecursionError) as error:
        if isinstance(error, RecursionError):
            raise UserError("nested too deeply") from None
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None
