"""The data of the page, ready for JSON."""

from typing import Literal, TypedDict

from atari_dqn.evaluation.results import Rank
from atari_dqn.gallery.curves import CurveData, EvaluationCurveData, ProgressData
from atari_dqn.recording.episode_file import Source

Kind = Literal["run", "released", "random"]
Media = tuple[str, float]  # path below the videos, and seconds of game time


class GameData(TypedDict):
    """A game on the page."""

    id: str
    reference: tuple[float, float] | None  # scores of random and human play


class CommandData(TypedDict):
    """A command for a run, in the form in which the user typed the gallery's."""

    label: str
    text: str


class RunData(TypedDict):
    """A run on the page. If its files are gone, only the first six fields are known."""

    game: str
    name: str
    kind: Kind
    recipe: str | None
    rom: str | None
    newest: float  # when the run was started last or recorded, in seconds since 1970
    curve: CurveData | None
    evaluations: EvaluationCurveData | None
    progress: ProgressData | None
    commands: list[CommandData]
    settings: dict[str, str] | None
    started: str | None
    commit: str | None


class MediaData(TypedDict, total=False):
    """The files of a recording."""

    gif: Media
    mp4: Media


class RecordingData(MediaData):
    """A recording on the page."""

    run: int  # index
    steps: int
    source: Source
    protocol: int  # index
    id: str
    rank: Rank | None
    annotated: bool
    score: float
    seed: int
    length: int  # agent steps
    cut: bool  # whether the frame cap ended the episode
    at_limit: bool  # whether the task's own limit ended the episode
    seconds: float  # game time of the episode


class EvaluationData(TypedDict):
    """An evaluation on the page."""

    run: int  # index
    steps: int
    source: Source
    protocol: int  # index
    episodes: int
    mean: float
    standard_error: float | None
    median: float
    min: float
    max: float
    human_normalised: float | None
    cut_by_frame_cap: int
    seed: int


class LeaderData(TypedDict):
    """A line of the leaderboard: the runs of one game, recipe and protocol."""

    game: str
    recipe: str  # with the settings in which the runs differ from most runs of the recipe
    protocol: int  # index
    seeds: int
    steps: list[int]  # fewest and most agent steps of the evaluated checkpoints
    mean: float  # mean of the runs' scores
    interval: list[float] | None  # bounds of the 95 % confidence interval; None for one seed
    best: float  # score of the best run
    best_run: int  # index
    human_normalised: float | None  # the mean, human-normalized


class GalleryData(TypedDict):
    """All data of the page, ready for JSON."""

    games: list[GameData]
    runs: list[RunData]
    protocols: list[dict[str, str]]
    recordings: list[RecordingData]
    evaluations: list[EvaluationData]
    leaderboard: list[LeaderData]
    begin: str  # a command that trains an agent
