"""Every setting of a run: typed, validated, with its unit and its source."""

import math
from typing import Any, Literal

import tomli_w
from pydantic import Field, model_validator

from atari_dqn.config.learning_schema import (
    MOST_EPISODES,
    MOST_STEPS,
    NATURE,
    AgentSettings,
    ExplorationSettings,
    NetworkSettings,
    OptimizerSettings,
    ReplaySettings,
    Section,
    setting,
)
from atari_dqn.errors import shorten
from atari_dqn.games.ids import GameSpec, identify, resolve

CAP = (
    "{} episodes are truncated here (108,000: 30 minutes); "
    "a fixed frame skip rounds it up to whole agent steps"
)
MOST_FRAMES_SKIPPED = 60


def _is_finite(value: Any) -> bool:
    """Returns whether a value is neither infinity nor NaN, nor a table or list that holds such."""
    if isinstance(value, dict):
        return all(_is_finite(entry) for entry in value.values())
    if isinstance(value, list | tuple):
        return all(_is_finite(entry) for entry in value)
    return not isinstance(value, float) or math.isfinite(value)


def _is_plain(value: Any) -> bool:
    """Returns whether JSON can hold a value: a number, a text, or a table or list of such."""
    if isinstance(value, dict):
        return all(_is_plain(entry) for entry in value.values())
    if isinstance(value, list | tuple):
        return all(_is_plain(entry) for entry in value)
    return isinstance(value, bool | int | float | str)


class EnvironmentSettings(Section):
    """What the agent sees of the game and what its actions do; the id wins over the protocol."""

    frame_skip: int | list[int] = setting(
        4,
        "how long an action is repeated; two numbers: sampled uniformly between them",
        unit="frames",
        source=NATURE,
    )
    sticky_probability: float = setting(
        0.0,
        "probability that the emulator repeats the last action",
        source="Machado et al. 2018, section 5",
        ge=0,
        lt=1,
    )
    max_pool: bool = setting(
        True,
        "observe the pixel-wise maximum of the last two frames, not the last alone",
        source="Mnih et al. 2015, Methods",
    )
    full_actions: bool = setting(
        False, "offer all 18 actions, not the game's minimal set", source="Machado et al. 2018"
    )
    noop_max: int = setting(
        30,
        "an episode starts with fewer than this many no-ops; 0 or 1: none",
        unit="frames",
        source=NATURE,
        ge=0,
        le=1000,
    )
    fire_at_reset: bool = setting(
        False, "press FIRE once as an episode starts, where the game has it"
    )
    fire_after_life_loss: bool = setting(
        False, "replace the first action after a lost life by FIRE, where the game has it"
    )
    life_loss_ends_future: bool = setting(
        False,
        "a lost life has discount 0 in training; the game goes on",
        source="Mnih et al. 2015, Methods",
    )
    frame_cap: int = setting(108_000, CAP.format("training"), unit="frames", ge=1, lt=2**31)
    height: int = setting(
        84,
        "rows of an observation",
        unit="pixels",
        source="Mnih et al. 2015, Methods",
        ge=36,
        le=250,
    )
    width: int = setting(
        84,
        "columns of an observation",
        unit="pixels",
        source="Mnih et al. 2015, Methods",
        ge=36,
        le=160,
    )
    stack: int = setting(
        4, "frames (or vectors) in an observation, the newest last", source=NATURE, ge=1, le=16
    )
    time_feature: bool = setting(
        False,
        "vectors: one more number, the part of the episode's limit that is used up",
        source="Pardo et al. 2018",
    )
    rescale: bool = setting(
        False,
        "vectors: numbers that have bounds are mapped from these to -1..1",
        source="LeCun et al. 1998, Efficient BackProp, section 4.3",
    )
    kwargs: dict[str, Any] = setting(
        {}, "keyword arguments of an environment of Gymnasium, such as {gravity = -5.0}"
    )

    @model_validator(mode="after")
    def _frame_skip_is_sensible(self) -> "EnvironmentSettings":
        skip = self.frame_skip
        match skip if isinstance(skip, list) else [skip, skip]:
            case [low, high] if 1 <= low <= high <= MOST_FRAMES_SKIPPED:
                return self
        raise ValueError(
            f"frame_skip = {shorten(str(skip))}: a number of frames from 1 to "
            f"{MOST_FRAMES_SKIPPED}, or two in order"
        )

    @model_validator(mode="after")
    def _keyword_arguments_are_finite(self) -> "EnvironmentSettings":
        for name, value in self.kwargs.items():
            if not _is_finite(value):
                raise ValueError(
                    f"kwargs.{shorten(name)} = {shorten(str(value))}: numbers must be finite"
                )
            if not _is_plain(value):
                allowed = "numbers, texts, and lists and tables of these"
                raise ValueError(
                    f"kwargs.{shorten(name)} = {shorten(str(value))}: wanted are {allowed}"
                )
        return self


class EvaluationSettings(Section):
    """How a trained agent is scored."""

    episodes: int = setting(
        30,
        "episodes of an evaluation",
        unit="episodes",
        source="Mnih et al. 2015, Methods",
        ge=1,
        le=MOST_EPISODES,
    )
    epsilon: float = setting(
        0.05, "probability of a random action", source="Mnih et al. 2015, Methods", ge=0, le=1
    )
    frame_cap: int = setting(108_000, CAP.format("evaluation"), unit="frames", ge=1, lt=2**31)
    environments: int = setting(10, "games played side by side", ge=1, le=256)


class TrainingSettings(Section):
    """How long a run lasts and what happens when."""

    total_steps: int = setting(
        1_000_000, "length of the run", unit="agent steps", ge=1, le=MOST_STEPS
    )
    environments: int = setting(16, "games stepped side by side", ge=1, le=1024)
    warmup_steps: int = setting(
        20_000,
        "random actions collected before the first update",
        unit="agent steps",
        source="Hessel et al. 2018, table 1",
        ge=0,
        le=MOST_STEPS,
    )
    update_period: int = setting(
        4, "an update is made every N steps", unit="agent steps", source=NATURE, ge=1, le=MOST_STEPS
    )
    log_period: int = setting(
        2_000, "a row of metrics every N steps", unit="agent steps", ge=1, le=MOST_STEPS
    )
    evaluation_period: int = setting(
        100_000,
        "a short evaluation, with a recording, every N steps and at the end; 0: never",
        unit="agent steps",
        ge=0,
        le=MOST_STEPS,
    )
    evaluation_episodes: int = setting(
        5, "episodes of a short evaluation", unit="episodes", ge=1, le=MOST_EPISODES
    )
    checkpoint_period: int = setting(
        100_000,
        "a checkpoint every N steps; 0: only at the end",
        unit="agent steps",
        ge=0,
        le=MOST_STEPS,
    )
    keep_checkpoints: int = setting(
        2, "newest checkpoints kept, beside the one with the best evaluation", ge=1, le=10**6
    )
    keep_period: int = setting(
        0,
        "every N steps a checkpoint whose agent is kept for good; 0: none",
        unit="agent steps",
        ge=0,
        le=MOST_STEPS,
    )


class RecordingSettings(Section):
    """How episodes are recorded."""

    max_seconds: int = setting(
        120, "a GIF is cut after this much game time", unit="seconds", ge=1, le=86_400
    )
    max_mp4_seconds: int = setting(
        1_800, "an MP4 is cut after this much game time", unit="seconds", ge=1, le=86_400
    )


class MachineSettings(Section):
    """What belongs to this machine and this run rather than to the recipe."""

    seed: int = setting(1, "seed of every random number of the run", ge=0, lt=2**31)
    precision: Literal["auto", "float32", "bfloat16"] = setting(
        "auto",
        "of an update's computation; acting, the weights that learn, targets and loss are float32 "
        "always; auto: bfloat16 where pictures are seen, there is no GPU, and the processor has "
        "fast units for it",
    )
    actors: int = setting(
        0,
        "processes that step the environments, on Ray; 0: the learner does",
        source="Horgan et al. 2018, section 3",
        ge=0,
        le=1024,
    )
    environment_threads: int = setting(
        0, "threads that step the emulators; 0: one for each core", ge=0, le=1024
    )
    intra_op_threads: int = setting(
        0,
        "TensorFlow's threads inside one operation; 0: one for each core, in batches of up to 64 "
        "for each two",
        ge=0,
        le=1024,
    )
    inter_op_threads: int = setting(
        0, "TensorFlow's operations at a time; 0: one for each core", ge=0, le=1024
    )
    trace_updates: int = setting(
        0, "updates to trace for TensorBoard's profiler, once 100 are done; 0: none", ge=0, le=1000
    )


class Config(Section):
    """All settings of one run, resolved."""

    game: str = Field(description="environment id")
    recipe: str = Field("default", description="name of the recipe")
    recipe_version: int | None = Field(
        default=None, description="version of the recipe; None: it has no version", ge=1
    )
    protocol: str = Field("tutorial", description="name of the protocol")
    environment: EnvironmentSettings = EnvironmentSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    training: TrainingSettings = TrainingSettings()
    agent: AgentSettings = AgentSettings()
    network: NetworkSettings = NetworkSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    exploration: ExplorationSettings = ExplorationSettings()
    replay: ReplaySettings = ReplaySettings()
    recording: RecordingSettings = RecordingSettings()
    machine: MachineSettings = MachineSettings()

    @model_validator(mode="after")
    def _actors_share_equally(self) -> "Config":
        environments = self.training.environments
        actors = self.machine.actors
        if actors and environments % actors:
            reason = f"cannot be divided equally among {actors} actors"
            raise ValueError(f"training.environments = {environments} {reason}")
        return self

    @property
    def versioned_recipe(self) -> str:
        """The recipe with its version, such as ``default@17``; without one, its name alone."""
        return versioned(self.recipe, self.recipe_version)

    @property
    def spec(self) -> GameSpec:
        """The game that the id means; a Gymnasium environment is made once to see what it shows."""
        return resolve(self.game, self.environment.kwargs)

    @property
    def rom(self) -> str | None:
        """The game's name in ale-py, or None if it is not an Atari game; no game is made."""
        return identify(self.game).rom

    def to_toml(self) -> str:
        """The resolved settings as a TOML file that ``config.read_config`` reads back."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))


def versioned(recipe: str, version: int | None) -> str:
    """Returns the name of a recipe with its version.

    >>> versioned("default", 17), versioned("my", None)
    ('default@17', 'my')
    """
    return recipe if version is None else f"{recipe}@{version}"


SECTIONS: dict[str, type[Section]] = {
    name: field.annotation
    for name, field in Config.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
}
PROTOCOL_SECTIONS = ("environment", "evaluation")
RECIPE_SECTIONS = tuple(name for name in SECTIONS if name not in (*PROTOCOL_SECTIONS, "machine"))
