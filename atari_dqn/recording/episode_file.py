"""The JSON files of recordings and evaluations, with one schema for writing and reading.

Such a file is not trusted. ``parse`` reads what the gallery and the report show, and ignores
unknown fields, so that it accepts files of other versions. ``read_episode`` reads everything that a
replay of the episode needs, and refuses unknown fields.
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
# In bytes, far above the size of an episode with an action for each of 108,000 emulator frames.
LARGEST_EPISODE = 16_000_000
LONGEST_TEXT = 300
MOST_CUTS = 10_000

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

# Files to replay must have no unknown fields, and no strings in place of numbers.
EXACT = ConfigDict(extra="forbid", strict=True)


class Origin(NamedTuple):
    """The origin of an episode or an evaluation."""

    source: Source
    run: str  # name of the run directory
    recipe: str | None
    checkpoint: str | None
    steps: int  # agent steps of training


RANDOM_PLAY = Origin("random", "random", None, None, 0)


def _plain_name(name: str) -> str:
    """Returns a file name after checking that it cannot lead to another folder, drive or host."""
    is_name = PurePosixPath(name).name == name and not name.startswith(".")
    if not is_name or not name.isprintable() or set(name) & set('/\\:"'):
        raise ValueError("not a plain file name")
    return name


def _known_endings(files: object) -> object:
    """Returns the listed files without kinds that this version does not know."""
    if not isinstance(files, Mapping):
        return files
    return {ending: files[ending] for ending in ENDINGS if files.get(ending) is not None}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class MediaFile(_Part):
    """A GIF or an MP4 in the same folder, which a page may link to."""

    name: Annotated[Text, AfterValidator(_plain_name)]
    seconds: Seconds  # game time in the file


class RecordedFile(MediaFile):
    """A GIF or an MP4 with any valid file name. No file is opened by this name."""

    model_config = EXACT

    name: Name


class Protocol(_Part):
    """Everything besides the agent that a score depends on."""

    name: Text
    environment: Mapping[str, JsonValue]
    frame_cap: Count
    actions: Annotated[list[Text], Field(max_length=1000)]
    epsilon: Probability
    seed: int

    def conditions(self) -> dict[str, str]:
        """Returns the conditions under which scores are comparable, as text by name.

        The seed is not one of them: a different seed gives another sample of the same score.
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
    """A protocol under which an episode can be replayed."""

    model_config = EXACT

    name: Name
    frame_cap: Annotated[int, Field(ge=1, lt=2**31)]
    actions: Annotated[list[Name], Field(min_length=1, max_length=256)]
    seed: Annotated[int, Field(ge=0)]
    environments: Count32  # number of environments that were played in parallel

    def settings(self) -> EnvironmentSettings:
        """Returns the environment's settings; raises a ValidationError if they are not valid."""
        return EnvironmentSettings.model_validate(self.environment)


class EpisodeSummary(_Part):
    """One episode without its actions."""

    seed: int
    environment: JsonValue = None  # index of the environment
    score: Number
    steps: Count
    frames: Count
    cut_by_frame_cap: bool


class PlayedEpisode(EpisodeSummary):
    """An episode that can be replayed, without its actions."""

    model_config = EXACT

    seed: Count32
    environment: Count32
    steps: Count32
    frames: Count32


class Statistics(_Part):
    """Statistics of the scores of an evaluation."""

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
    """An evaluation, without its individual episodes."""

    kind: Literal["evaluation"]
    statistics: Statistics


class RecordingFile(_File):
    """A recording, with the fields that the gallery shows."""

    kind: Literal["recording"]
    rank: Rank | None
    episode: EpisodeSummary
    seconds: Seconds
    files: Annotated[Mapping[Ending, MediaFile], BeforeValidator(_known_endings)]
    annotated: bool = False

    @property
    def reached_own_limit(self) -> bool:
        """Whether the task's own limit ended the episode, not the frame cap."""
        was_cut = self.episode.cut_by_frame_cap
        return self.rom is None and was_cut and self.episode.frames < self.protocol.frame_cap


class EpisodeFile(RecordingFile):
    """A recording, with everything that a replay of its episode needs."""

    model_config = EXACT

    kind: Literal["recording"] = "recording"
    format: Literal[1] = FORMAT
    # Longer texts are accepted here than in a recording for the gallery.
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
    # Begin and end of each part that highlights show, or None for a recording without cuts.
    cuts: Annotated[list[tuple[Seconds, Seconds]], Field(max_length=MOST_CUTS)] | None = None

    @field_validator("game")
    @classmethod
    def _game_imports_nothing(cls, game: str) -> str:
        if ":" in game:
            reason = "runs code of the module, so it is not accepted from a file"
            raise ValueError(f"an id of the form module:Env {reason}")
        return game

    def shows(self, other: "EpisodeFile") -> bool:
        """Returns whether both recordings show the same of an episode, both annotated or not."""
        return (
            self.game == other.game
            and self.episode == other.episode
            and self.actions == other.actions
            and self.annotated == other.annotated
            and self.cuts == other.cuts
        )

    def config(self) -> Config:
        """Returns the settings under which to replay the episode.

        Raises:
            UserError: The game is unknown here, or a keyword argument is neither a number nor a
                plain word.
        """
        identify(self.game)
        environment = self.protocol.settings()
        for name, value in environment.kwargs.items():
            is_word = isinstance(value, str) and value.replace("_", "").isalnum()
            if not isinstance(value, int | float) and not is_word:
                reason = "must be a number or a plain word in a recording"
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
        """Returns the episode, for a replay."""
        return Episode(
            seed=self.episode.seed,
            actions=np.array(self.actions, np.uint8),
            score=self.episode.score,
            frames=self.episode.frames,
            truncated=self.episode.cut_by_frame_cap,
            environment=self.episode.environment,
        )

    def write(self, path: Path) -> None:
        """Writes the file atomically, with all actions on one line."""
        document = self.model_dump()
        lines = []
        for name in (*_WRITTEN, *(["cuts"] if self.cuts else [])):
            indent = None if name == "actions" else 1
            text = json.dumps(document[name], indent=indent).replace("\n", "\n ")
            lines.append(f" {json.dumps(name)}: {text}")
        write_whole(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


# The fields of the file, in the order in which they are written. ``cuts`` follows if there are any.
_WRITTEN = (
    *_File.model_fields,
    *("rank", "episode", "actions", "seconds", "files", "annotated", "screens_per_second"),
)


@dataclass(frozen=True)
class EvaluatedEpisode:
    """One episode of an evaluation.

    Attributes:
        result: The evaluation.
        episode: One of its episodes.
        origin: The origin of the evaluation.
        rank: The episode's rank in the evaluation, or None if it was not ranked.
    """

    result: Evaluation
    episode: Episode
    origin: Origin
    rank: Rank | None = None

    @classmethod
    def of_rank(cls, result: Evaluation, rank: Rank, origin: Origin) -> Self:
        """Returns the median, best or worst episode of an evaluation."""
        return cls(result, result.ranked()[rank], origin, rank)

    def describe(
        self,
        files: Mapping[Ending, RecordedFile],
        screens_per_second: float,
        annotated: bool = False,
        cuts: list[tuple[float, float]] | None = None,
    ) -> EpisodeFile:
        """Returns the content of the JSON file for a recording of the episode.

        Args:
            files: The recorded files.
            screens_per_second: Frame rate of the game.
            annotated: Whether the recording shows more than the game's screen.
            cuts: Begin and end of each part that highlights show, in seconds of the episode.
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
            cuts=cuts,
        )


class EvaluationDocument(TypedDict):
    """The JSON document of an evaluation, with fields in the order in which they are written."""

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
    """Returns a whole evaluation as JSON values, in the form that ``EvaluationFile`` reads."""
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
    """Reads the JSON of a recording or an evaluation, written by any version with this format.

    Raises:
        UserError: It is neither. The message gives the reason in one line.
    """
    try:
        document: Any = parse_json(text)
    except ValueError as error:
        raise UserError(f"not valid JSON: {str(error).splitlines()[0]}") from None
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
    """Reads a file as ``parse`` does; raises a UserError above ``LARGEST_FILE`` bytes."""
    return parse(read_text(path, LARGEST_FILE))


def read_episode(path: str | Path) -> EpisodeFile:
    """Reads the JSON file of a recording for a replay. The file is not trusted.

    Raises:
        UserError: The file is missing, is not such JSON, or contains unknown fields.
    """
    text = read_text(Path(path), LARGEST_EPISODE)
    refused = f"'{path}' is not the JSON file of a recording"
    try:
        described = EpisodeFile.model_validate_json(text)
    except ValidationError as error:
        raise UserError(f"{refused}: {_first_problem(error)}") from None
    try:
        settings = described.protocol.settings()
    except ValidationError as error:
        problem = _first_problem(error, "protocol", "environment")
        raise UserError(f"{refused}: {problem}") from None
    # Settings that the file lacks get their defaults, under which it was played.
    protocol = described.protocol.model_copy(update={"environment": played_environment(settings)})
    return described.model_copy(update={"protocol": protocol})


def recording_stem(game: str, origin: Origin, score: float, rank: str, suffix: str) -> str:
    """Returns the name of a recording's files, without the ending.

    >>> recording_stem("ALE/Pong-v5", RANDOM_PLAY, -21.0, "median", "tutorial_seed1")
    'ALE-Pong-v5_random_step000000000_score-21_median_tutorial_seed1'
    """
    return f"{_beginning(game, origin)}_score{score:g}_{rank}_{suffix}"


def evaluation_stem(result: Evaluation, origin: Origin) -> str:
    """Returns the name of an evaluation's JSON file, without the ending."""
    return f"{_beginning(result.config.game, origin)}_evaluation_{conditions_of(result, origin)}"


def conditions_of(result: Evaluation, origin: Origin) -> str:
    """Returns the part of a file name that distinguishes evaluations of the same checkpoint."""
    usual = 1.0 if origin == RANDOM_PLAY else result.config.evaluation.epsilon
    epsilon = "" if result.epsilon == usual else f"_epsilon{result.epsilon:g}"
    return f"{result.config.protocol}{epsilon}_seed{result.seed}"


def _beginning(game: str, origin: Origin) -> str:
    return f"{game.replace('/', '-')}_{origin.run}_step{origin.steps:09d}"


def _first_problem(error: ValidationError, *within: str) -> str:
    """Returns the field and the message of a validation's first error.

    Args:
        error: The validation error.
        within: The fields that contain the validated object.
    """
    first = error.errors(include_input=False, include_url=False)[0]
    place = shorten(".".join(str(part) for part in (*within, *first["loc"])))
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
