"""The JSON beside recordings and of evaluations: one schema for writing and reading.

Anybody may have written such a file. ``parse`` reads what the page and the report show, also of
files that an older or a newer version wrote; ``read_episode`` reads all that it takes to play an
episode again, and refuses every field that it does not know.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, NamedTuple, Self, TypedDict

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
    field_validator,
)

from atari_dqn.config.schema import Config, EnvironmentSettings, EvaluationSettings
from atari_dqn.errors import UserError, shorten
from atari_dqn.evaluation.results import (
    Episode,
    EpisodeNumbers,
    Evaluation,
    ProtocolDescription,
    Rank,
    ScoreStatistics,
    played_environment,
)
from atari_dqn.files.atomic_write import write_whole
from atari_dqn.files.reading import parse_json, read_text
from atari_dqn.games.ids import identify

FORMAT: Literal[1] = 1
LARGEST_FILE = 32 * 2**20
# An episode of 108,000 emulator frames, each with a choice of its own, stays far below.
LARGEST_EPISODE = 16_000_000
LONGEST_TEXT = 300

Source = Literal["evaluation", "training", "random", "record"]
Ending = Literal["gif", "mp4"]
ENDINGS: tuple[Ending, ...] = ("gif", "mp4")

Count = Annotated[int, Field(ge=0, lt=2**53)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_TEXT)]
CheckpointPath = Annotated[str, StringConstraints(max_length=1000)]
Count32 = Annotated[int, Field(ge=0, lt=2**31)]
Name = Annotated[str, StringConstraints(max_length=4096)]

# For an episode that is played again: no other fields, and no numbers written as texts.
EXACT = ConfigDict(extra="forbid", strict=True)


class Origin(NamedTuple):
    """Where an episode or an evaluation comes from."""

    source: Source
    run: str  # name of the run directory
    recipe: str | None
    checkpoint: str | None
    steps: int  # agent steps of training


RANDOM_PLAY = Origin("random", "random", None, None, 0)


def _plain_name(name: str) -> str:
    """Returns a file's name alone: nothing that leads to another folder, drive or host."""
    is_name = PurePosixPath(name).name == name and not name.startswith(".")
    if not is_name or not name.isprintable() or set(name) & set('/\\:"'):
        raise ValueError("no plain file name")
    return name


def _known_endings(files: object) -> object:
    """Removes kinds of files that this version does not show."""
    if not isinstance(files, Mapping):
        return files
    return {ending: files[ending] for ending in ENDINGS if files.get(ending) is not None}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class MediaFile(_Part):
    """A GIF or an MP4 in the same folder, which a page may lead to."""

    name: Annotated[Text, AfterValidator(_plain_name)]
    seconds: Seconds  # of game time that it shows


class RecordedFile(MediaFile):
    """A GIF or an MP4 under any name that a file can have; nothing is opened by it."""

    model_config = EXACT

    name: Name


class Protocol(_Part):
    """What a score depends on beside the agent."""

    name: Text
    environment: Mapping[str, JsonValue]
    frame_cap: Count
    actions: Annotated[list[Text], Field(max_length=1000)]
    epsilon: Probability
    seed: int

    def conditions(self) -> dict[str, str]:
        """Returns what must be the same for two scores to be comparable, as texts by name.

        The seed is not among them: with another one it is another sample of the same.
        """
        conditions = {
            "protocol": self.name,
            "epsilon": f"{self.epsilon:g}",
            "frame cap": str(self.frame_cap),
        }
        for name, value in sorted(self.environment.items()):
            conditions[name.replace("_", " ")] = json.dumps(value).strip('"')
        conditions["actions"] = ", ".join(self.actions)
        return {name[:LONGEST_TEXT]: text[:LONGEST_TEXT] for name, text in conditions.items()}


class PlayedProtocol(Protocol):
    """A protocol under which an episode can be played again."""

    model_config = EXACT

    name: Name
    frame_cap: Annotated[int, Field(ge=1, lt=2**31)]
    actions: Annotated[list[Name], Field(min_length=1, max_length=256)]
    seed: Annotated[int, Field(ge=0)]
    environments: Count32  # that were played side by side

    def settings(self) -> EnvironmentSettings:
        """Returns the settings of the environment; raises a ValidationError where they are none."""
        return EnvironmentSettings.model_validate(self.environment)


class EpisodeSummary(_Part):
    """One episode in numbers."""

    seed: int
    environment: JsonValue = None  # which of those that were played side by side
    score: Number
    steps: Count
    frames: Count
    cut_by_frame_cap: bool


class PlayedEpisode(EpisodeSummary):
    """An episode that can be played again, without its actions."""

    model_config = EXACT

    seed: Count32
    environment: Count32
    steps: Count32
    frames: Count32


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


class _File(_Part):
    kind: Literal["recording", "evaluation"]
    format: Literal[1]
    game: Text
    rom: Text | None
    run: Text
    recipe: Text | None
    source: Source
    checkpoint: CheckpointPath | None
    steps: Count  # agent steps of training
    protocol: Protocol


class EvaluationFile(_File):
    """An evaluation, without its single episodes."""

    kind: Literal["evaluation"]
    statistics: Statistics


class RecordingFile(_File):
    """A recording that can be watched."""

    kind: Literal["recording"]
    rank: Rank | None
    episode: EpisodeSummary
    seconds: Seconds
    files: Annotated[Mapping[Ending, MediaFile], BeforeValidator(_known_endings)]
    annotated: bool = False


class EpisodeFile(RecordingFile):
    """A recording with all that it takes to play its episode again."""

    model_config = EXACT

    kind: Literal["recording"] = "recording"
    format: Literal[1] = FORMAT
    # What the page shows is shorter than what may be played.
    game: Name
    rom: Name | None
    run: Name
    recipe: Name | None
    checkpoint: Name | None
    steps: Annotated[int, Field(ge=0)]
    protocol: PlayedProtocol
    episode: PlayedEpisode
    files: Mapping[Ending, RecordedFile]
    annotated: bool
    actions: Annotated[list[Annotated[int, Field(ge=0, lt=256)]], Field(min_length=1)]
    screens_per_second: Annotated[float, Field(gt=0, allow_inf_nan=False)]

    @field_validator("game")
    @classmethod
    def _game_imports_nothing(cls, game: str) -> str:
        if ":" in game:
            reason = "runs code of the module; it is accepted from nobody's file"
            raise ValueError(f"an id of the form module:Env {reason}")
        return game

    def shows(self, other: "EpisodeFile") -> bool:
        """Returns whether both are of the same episode, shown in the same way."""
        return (
            self.game == other.game
            and self.episode == other.episode
            and self.actions == other.actions
            and self.annotated == other.annotated
        )

    def config(self) -> Config:
        """Returns settings to play the episode under.

        Raises:
            UserError: the id means no game here, or its keyword arguments could mean anything.
        """
        identify(self.game)
        environment = self.protocol.settings()
        for name, value in environment.kwargs.items():
            is_word = isinstance(value, str) and value.replace("_", "").isalnum()
            if not isinstance(value, int | float) and not is_word:
                reason = "of a recording is neither a number nor a plain word"
                raise UserError(f"environment.kwargs.{name} {reason}")
        try:
            return Config(
                game=self.game,
                recipe=self.recipe or "none",
                protocol=self.protocol.name,
                environment=environment,
                evaluation=EvaluationSettings(frame_cap=self.protocol.frame_cap),
            )
        except ValidationError as error:
            reason = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            raise UserError(f"the settings of a recording: {reason}") from None

    def to_episode(self) -> Episode:
        """Returns the episode to play."""
        return Episode(
            seed=self.episode.seed,
            actions=np.array(self.actions, np.uint8),
            score=self.episode.score,
            frames=self.episode.frames,
            truncated=self.episode.cut_by_frame_cap,
            environment=self.episode.environment,
        )

    def write(self, path: Path) -> None:
        """Writes the file, the actions on one line.

        Whatever interrupts this leaves the old file or the new one.
        """
        document = self.model_dump()
        lines = []
        for name in _WRITTEN:
            indent = None if name == "actions" else 1
            text = json.dumps(document[name], indent=indent).replace("\n", "\n ")
            lines.append(f" {json.dumps(name)}: {text}")
        write_whole(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


# The fields of an episode's file in the order in which they are written.
_WRITTEN = (
    *_File.model_fields,
    *("rank", "episode", "actions", "seconds", "files", "annotated", "screens_per_second"),
)


@dataclass(frozen=True)
class EvaluatedEpisode:
    """One episode of an evaluation.

    Attributes:
        result: the evaluation.
        episode: one of its episodes.
        origin: where it comes from.
        rank: of the episode among those of the evaluation; None where it was not ranked.
    """

    result: Evaluation
    episode: Episode
    origin: Origin
    rank: Rank | None = None

    @classmethod
    def of_rank(cls, result: Evaluation, rank: Rank, origin: Origin) -> Self:
        """Returns the median, the best or the worst episode of an evaluation."""
        return cls(result, result.ranked()[rank], origin, rank)

    def describe(
        self,
        files: Mapping[Ending, RecordedFile],
        screens_per_second: float,
        annotated: bool = False,
    ) -> EpisodeFile:
        """Returns what to write beside a recording of the episode.

        Args:
            files: what was recorded.
            screens_per_second: of the game.
            annotated: whether the recording shows more than the game's screen.
        """
        return EpisodeFile(
            game=self.result.config.game,
            rom=self.result.config.rom,
            **self.origin._asdict(),
            protocol=PlayedProtocol.model_validate_json(json.dumps(self.result.protocol())),
            rank=self.rank,
            episode=PlayedEpisode.model_validate(self.episode.to_json()),
            actions=self.episode.actions.tolist(),
            seconds=self.episode.frames / screens_per_second,
            files=files,
            annotated=annotated,
            screens_per_second=screens_per_second,
        )


class EvaluationDocument(TypedDict):
    """The JSON of an evaluation, its fields in the order in which they are written."""

    kind: Literal["evaluation"]
    format: Literal[1]
    source: Source
    run: str
    recipe: str | None
    checkpoint: str | None
    steps: int
    game: str
    rom: str | None
    protocol: ProtocolDescription
    statistics: ScoreStatistics
    episodes: list[EpisodeNumbers]


def evaluation_json(result: Evaluation, origin: Origin) -> EvaluationDocument:
    """Returns a whole evaluation as plain numbers and texts, which ``EvaluationFile`` reads."""
    return {
        "kind": "evaluation",
        "format": FORMAT,
        "source": origin.source,
        "run": origin.run,
        "recipe": origin.recipe,
        "checkpoint": origin.checkpoint,
        "steps": origin.steps,
        **result.to_json(),
    }


def parse(text: str | bytes) -> RecordingFile | EvaluationFile:
    """Reads the JSON of a recording or of an evaluation, of any version of the same format.

    Raises:
        UserError: it is neither; the message gives the reason in one line.
    """
    try:
        document: Any = parse_json(text)
    except ValueError as error:
        raise UserError(f"no valid JSON: {str(error).splitlines()[0]}") from None
    kind = document.get("kind") if isinstance(document, dict) else None
    try:
        if kind == "recording":
            return RecordingFile.model_validate(document)
        if kind == "evaluation":
            return EvaluationFile.model_validate(document)
    except RecursionError:
        raise UserError("nested too deeply") from None
    except ValidationError as error:
        raise UserError(_first_problem(error)) from None
    raise UserError("neither a recording nor an evaluation")


def read_file(path: Path) -> RecordingFile | EvaluationFile:
    """Reads a file as ``parse`` does; it has at most ``LARGEST_FILE`` bytes."""
    return parse(read_text(path, LARGEST_FILE))


def read_episode(path: str | Path) -> EpisodeFile:
    """Reads what lies beside a recording, to play its episode again; nothing in it is trusted.

    Raises:
        UserError: it is missing, is no such JSON, or holds what no recording has.
    """
    text = read_text(Path(path), LARGEST_EPISODE)
    refused = f"'{path}' is no JSON of a recording"
    try:
        described = EpisodeFile.model_validate_json(text)
    except ValidationError as error:
        raise UserError(f"{refused}: {_first_problem(error)}") from None
    try:
        settings = described.protocol.settings()
    except ValidationError as error:
        problem = _first_problem(error, "protocol", "environment")
        raise UserError(f"{refused}: {problem}") from None
    # Settings that are younger than the file have the values with which it was played.
    protocol = described.protocol.model_copy(update={"environment": played_environment(settings)})
    return described.model_copy(update={"protocol": protocol})


def recording_stem(game: str, origin: Origin, score: float, rank: str, suffix: str) -> str:
    """Returns the name of a recorded episode's files, without their ending.

    >>> recording_stem("ALE/Pong-v5", RANDOM_PLAY, -21.0, "median", "tutorial_seed1")
    'ALE-Pong-v5_random_step000000000_score-21_median_tutorial_seed1'
    """
    return f"{_beginning(game, origin)}_score{score:g}_{rank}_{suffix}"


def evaluation_stem(result: Evaluation, origin: Origin) -> str:
    """Returns the name of a whole evaluation's JSON, without its ending."""
    return f"{_beginning(result.config.game, origin)}_evaluation_{conditions_of(result, origin)}"


def conditions_of(result: Evaluation, origin: Origin) -> str:
    """Returns what distinguishes evaluations of one checkpoint in the names of their files."""
    usual = 1.0 if origin == RANDOM_PLAY else result.config.evaluation.epsilon
    epsilon = "" if result.epsilon == usual else f"_epsilon{result.epsilon:g}"
    return f"{result.config.protocol}{epsilon}_seed{result.seed}"


def _beginning(game: str, origin: Origin) -> str:
    return f"{game.replace('/', '-')}_{origin.run}_step{origin.steps:09d}"


def _first_problem(error: ValidationError, *within: str) -> str:
    """Returns the place and the message of a validation's first error.

    Args:
        error: of the validation.
        within: fields that lead to what was validated.
    """
    first = error.errors(include_input=False, include_url=False)[0]
    place = shorten(".".join(str(part) for part in (*within, *first["loc"])))
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
