"""The settings of a run, each with its type, bounds, unit and source."""

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
    "{} episodes are truncated after this many frames (108,000 are 30 minutes); "
    "a fixed frame skip rounds it up to whole agent steps"
)
MOST_FRAMES_SKIPPED = 60


def _is_finite(value: Any) -> bool:
    """Returns whether a value, or every value in a table or list, is neither infinite nor NaN."""
    if isinstance(value, dict):
        return all(_is_finite(entry) for entry in value.values())
    if isinstance(value, list | tuple):
        return all(_is_finite(entry) for entry in value)
    return not isinstance(value, float) or math.isfinite(value)


def _is_plain(value: Any) -> bool:
    """Returns whether JSON can hold a value: a number, a string, or a table or list of these."""
    if isinstance(value, dict):
        return all(_is_plain(entry) for entry in value.values())
    if isinstance(value, list | tuple):
        return all(_is_plain(entry) for entry in value)
    return isinstance(value, bool | int | float | str)


class EnvironmentSettings(Section):
    """The agent's observations and actions; the environment id decides some of these settings."""

    frame_skip: int | list[int] = setting(
        4,
        "frames for which an action is repeated; "
        "two numbers are the bounds of a random frame skip, both included",
        unit="frames",
        source=NATURE,
    )
    sticky_probability: float = setting(
        0.0,
        "probability that the emulator repeats the previous action",
        source="Machado et al. 2018, section 5",
        ge=0,
        lt=1,
    )
    max_pool: bool = setting(
        True,
        "observe the pixel-wise maximum of the last two frames instead of the last frame",
        source="Mnih et al. 2015, Methods",
    )
    full_actions: bool = setting(
        False,
        "offer all 18 actions instead of the game's minimal set",
        source="Machado et al. 2018",
    )
    noop_max: int = setting(
        30,
        "an episode starts with a random number of no-ops below this; 0 and 1 mean none",
        unit="frames",
        source=NATURE,
        ge=0,
        le=1000,
    )
    fire_at_reset: bool = setting(
        False, "press FIRE once at the start of an episode, if the game has this action"
    )
    fire_after_life_loss: bool = setting(
        False, "replace the first action after a lost life with FIRE, if the game has it"
    )
    life_loss_ends_future: bool = setting(
        False,
        "in training, losing a life gives discount 0; the game continues",
        source="Mnih et al. 2015, Methods",
    )
    frame_cap: int = setting(108_000, CAP.format("training"), unit="frames", ge=1, lt=2**31)
    height: int = setting(
        84,
        "height of an observation",
        unit="pixels",
        source="Mnih et al. 2015, Methods",
        ge=36,
        le=250,
    )
    width: int = setting(
        84,
        "width of an observation",
        unit="pixels",
        source="Mnih et al. 2015, Methods",
        ge=36,
        le=160,
    )
    stack: int = setting(
        4, "frames (or vectors) in an observation, newest last", source=NATURE, ge=1, le=16
    )
    time_feature: bool = setting(
        False,
        "vectors: append the fraction of the episode's time limit that has elapsed",
        source="Pardo et al. 2018",
    )
    rescale: bool = setting(
        False,
        "vectors: rescale numbers that have bounds to -1..1",
        source="LeCun et al. 1998, Efficient BackProp, section 4.3",
    )
    kwargs: dict[str, Any] = setting(
        {}, "keyword arguments of a Gymnasium environment, such as {gravity = -5.0}"
    )

    @model_validator(mode="after")
    def _frame_skip_is_sensible(self) -> "EnvironmentSettings":
        skip = self.frame_skip
        match skip if isinstance(skip, list) else [skip, skip]:
            case [low, high] if 1 <= low <= high <= MOST_FRAMES_SKIPPED:
                return self
        raise ValueError(
            f"frame_skip = {shorten(str(skip))}: a number of frames from 1 to "
            f"{MOST_FRAMES_SKIPPED}, or two in ascending order"
        )

    @model_validator(mode="after")
    def _keyword_arguments_are_finite(self) -> "EnvironmentSettings":
        for name, value in self.kwargs.items():
            if not _is_finite(value):
                raise ValueError(
                    f"kwargs.{shorten(name)} = {shorten(str(value))}: numbers must be finite"
                )
            if not _is_plain(value):
                allowed = "numbers, strings, and lists and tables of these"
                raise ValueError(
                    f"kwargs.{shorten(name)} = {shorten(str(value))}: allowed are {allowed}"
                )
        return self


class EvaluationSettings(Section):
    """The evaluation of a trained agent."""

    episodes: int = setting(
        30,
        "number of episodes in an evaluation",
        unit="episodes",
        source="Mnih et al. 2015, Methods",
        ge=1,
        le=MOST_EPISODES,
    )
    epsilon: float = setting(
        0.05, "probability of a random action", source="Mnih et al. 2015, Methods", ge=0, le=1
    )
    frame_cap: int = setting(108_000, CAP.format("evaluation"), unit="frames", ge=1, lt=2**31)
    environments: int = setting(10, "games played in parallel", ge=1, le=256)


class TrainingSettings(Section):
    """The length of a run and its periods, in agent steps summed over all environments."""

    total_steps: int = setting(
        1_000_000, "length of the run", unit="agent steps", ge=1, le=MOST_STEPS
    )
    environments: int = setting(16, "games stepped in parallel", ge=1, le=1024)
    warmup_steps: int = setting(
        20_000,
        "steps with random actions before the first update",
        unit="agent steps",
        source="Hessel et al. 2018, table 1",
        ge=0,
        le=MOST_STEPS,
    )
    update_period: int = setting(
        4, "make one update every N steps", unit="agent steps", source=NATURE, ge=1, le=MOST_STEPS
    )
    log_period: int = setting(
        2_000, "log a row of metrics every N steps", unit="agent steps", ge=1, le=MOST_STEPS
    )
    evaluation_period: int = setting(
        100_000,
        "run a short evaluation and record it every N steps and at the end; 0 turns it off",
        unit="agent steps",
        ge=0,
        le=MOST_STEPS,
    )
    evaluation_episodes: int = setting(
        5, "number of episodes in a short evaluation", unit="episodes", ge=1, le=MOST_EPISODES
    )
    checkpoint_period: int = setting(
        100_000,
        "save a checkpoint every N steps; 0 saves only at the end",
        unit="agent steps",
        ge=0,
        le=MOST_STEPS,
    )
    keep_checkpoints: int = setting(
        2,
        "newest checkpoints to keep, in addition to the one with the best evaluation",
        ge=1,
        le=10**6,
    )
    keep_period: int = setting(
        0,
        "never delete the agents of checkpoints at multiples of N steps; 0 turns this off",
        unit="agent steps",
        ge=0,
        le=MOST_STEPS,
    )


class RecordingSettings(Section):
    """The recording of episodes."""

    max_seconds: int = setting(
        120, "game time after which a GIF is cut off", unit="seconds", ge=1, le=86_400
    )
    max_mp4_seconds: int = setting(
        1_800, "game time after which an MP4 is cut off", unit="seconds", ge=1, le=86_400
    )


class MachineSettings(Section):
    """Settings of the machine and of one run, which no recipe contains."""

    seed: int = setting(1, "seed of all random numbers in the run", ge=0, lt=2**31)
    precision: Literal["auto", "float32", "bfloat16"] = setting(
        "auto",
        "precision in which an update computes; acting, stored weights, targets and losses are "
        "always float32; auto means bfloat16 if observations are pictures, there is no GPU, and "
        "the processor has fast bfloat16 units",
    )
    compile: Literal["auto", True, False] = setting(
        "auto",
        "whether XLA compiles the networks and the updates; auto means for networks on vectors, "
        "and for all networks on a GPU",
    )
    actors: int = setting(
        0,
        "Ray processes that step the environments; with 0 the learner steps them itself",
        source="Horgan et al. 2018, section 3",
        ge=0,
        le=1024,
    )
    environment_threads: int = setting(
        0, "threads that step the emulators; 0 means one per core", ge=0, le=1024
    )
    intra_op_threads: int = setting(
        0,
        "TensorFlow's threads within one operation; 0 means one per core, "
        "or half as many for batches of up to 64",
        ge=0,
        le=1024,
    )
    inter_op_threads: int = setting(
        0, "TensorFlow operations that run at once; 0 means one per core", ge=0, le=1024
    )
    trace_updates: int = setting(
        0,
        "updates to trace for TensorBoard's profiler, after the first 100; 0 traces none",
        ge=0,
        le=1000,
    )


class Config(Section):
    """All resolved settings of one run."""

    game: str = Field(description="environment id")
    recipe: str = Field("default", description="name of the recipe")
    recipe_version: int | None = Field(
        default=None, description="version of the recipe, or None if it has no version", ge=1
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
        """The recipe with its version, such as ``default@17``, or its name if it has no version."""
        return versioned(self.recipe, self.recipe_version)

    @property
    def spec(self) -> GameSpec:
        """The game that the id means. A Gymnasium environment is created once to inspect it."""
        return resolve(self.game, self.environment.kwargs)

    @property
    def rom(self) -> str | None:
        """The game's name in ale-py, or None if it is not an Atari game. No game is created."""
        return identify(self.game).rom

    def to_toml(self) -> str:
        """Returns the text of a TOML file with the resolved settings, for ``read_config``."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))


def versioned(recipe: str, version: int | None) -> str:
    """Returns the name of a recipe with its version, if it has one.

    >>> versioned("default", 3), versioned("my", None)
    ('default@3', 'my')
    """
    return recipe if version is None else f"{recipe}@{version}"


SECTIONS: dict[str, type[Section]] = {
    name: field.annotation
    for name, field in Config.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
}
PROTOCOL_SECTIONS = ("environment", "evaluation")
RECIPE_SECTIONS = tuple(name for name in SECTIONS if name not in (*PROTOCOL_SECTIONS, "machine"))
