"""Every setting of a run: typed, validated, with its unit and its source."""

from typing import Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from atari_dqn.errors import nearest
from atari_dqn.games import GameSpec, resolve

# ``networks.register_torso`` adds to these.
TORSO_NAMES = ["nature"]

NATURE = "Mnih et al. 2015, Extended Data Table 1"


def _setting(default: Any, description: str, *, unit: str = "", source: str = "", **bounds: Any) -> Any:
    return Field(default, description=description, json_schema_extra={"unit": unit, "source": source}, **bounds)


class Section(BaseModel):
    """One table of the TOML file; unknown names and values of the wrong type are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class EnvironmentSettings(Section):
    """What the agent sees of the game and what its actions do; the environment id wins over the protocol."""

    frame_skip: int | list[int] = _setting(
        4, "how long an action is repeated; two numbers: drawn uniformly between them", unit="frames", source=NATURE
    )
    sticky_probability: float = _setting(
        0.0, "probability that the emulator repeats the last action", source="Machado et al. 2018, section 5", ge=0, lt=1
    )
    max_pool: bool = _setting(
        True, "observe the pixel-wise maximum of the last two frames, not the last alone", source="Mnih et al. 2015, Methods"
    )
    full_actions: bool = _setting(False, "offer all 18 actions, not the game's minimal set", source="Machado et al. 2018")
    noop_max: int = _setting(
        30, "an episode starts with fewer than this many no-ops; 0 or 1: none", unit="frames", source=NATURE, ge=0, le=1000
    )
    fire_at_reset: bool = _setting(False, "press FIRE once as an episode starts, where the game has it")
    fire_after_life_loss: bool = _setting(False, "replace the first action after a lost life by FIRE, where the game has it")
    life_loss_ends_future: bool = _setting(
        False, "a lost life has discount 0 in training; the game goes on", source="Mnih et al. 2015, Methods"
    )
    frame_cap: int = _setting(108_000, "training episodes are truncated here (108,000: 30 minutes)", unit="frames", ge=1)
    height: int = _setting(84, "rows of an observation", unit="pixels", source="Mnih et al. 2015, Methods", ge=36, le=250)
    width: int = _setting(84, "columns of an observation", unit="pixels", source="Mnih et al. 2015, Methods", ge=36, le=160)
    stack: int = _setting(4, "frames in an observation, the newest last", source=NATURE, ge=1, le=16)

    @model_validator(mode="after")
    def _frame_skip_is_sensible(self) -> "EnvironmentSettings":
        bounds = self.frame_skip if isinstance(self.frame_skip, list) else [self.frame_skip, self.frame_skip]
        if len(bounds) != 2 or not 1 <= bounds[0] <= bounds[1] <= 60:
            raise ValueError(f"frame_skip = {self.frame_skip}: a number of frames from 1 to 60, or two in order")
        return self


class EvaluationSettings(Section):
    """How a trained agent is scored."""

    episodes: int = _setting(30, "episodes of an evaluation", unit="episodes", source="Mnih et al. 2015, Methods", ge=1)
    epsilon: float = _setting(0.05, "probability of a random action", source="Mnih et al. 2015, Methods", ge=0, le=1)
    frame_cap: int = _setting(108_000, "evaluation episodes are truncated here (108,000: 30 minutes)", unit="frames", ge=1)
    environments: int = _setting(10, "games played side by side", ge=1, le=256)


class TrainingSettings(Section):
    """How long a run lasts and what happens when."""

    total_steps: int = _setting(1_000_000, "length of the run", unit="agent steps", ge=1)
    environments: int = _setting(16, "games stepped side by side", ge=1, le=1024)
    warmup_steps: int = _setting(
        20_000,
        "random actions collected before the first update",
        unit="agent steps",
        source="Hessel et al. 2018, table 1",
        ge=0,
    )
    update_period: int = _setting(4, "an update follows every so many", unit="agent steps", source=NATURE, ge=1)
    log_period: int = _setting(2_000, "a row of metrics every so many", unit="agent steps", ge=1)
    evaluation_period: int = _setting(
        100_000, "a short evaluation, with a recording, every so many and at the end; 0: never", unit="agent steps", ge=0
    )
    evaluation_episodes: int = _setting(5, "episodes of a short evaluation", unit="episodes", ge=1)
    checkpoint_period: int = _setting(100_000, "a checkpoint every so many; 0: only at the end", unit="agent steps", ge=0)
    keep_checkpoints: int = _setting(2, "newest checkpoints kept, beside the one with the best evaluation", ge=1)
    keep_period: int = _setting(
        0, "a checkpoint of which the agent is kept for good every so many; 0: none", unit="agent steps", ge=0
    )


class AgentSettings(Section):
    """The learning rule."""

    double: bool = _setting(True, "Double DQN: the online network selects the next action", source="van Hasselt et al. 2016")
    gamma: float = _setting(0.99, "discount of one agent step", source=NATURE, ge=0, le=1)
    n_step: int = _setting(1, "rewards summed before bootstrapping", unit="agent steps", source="Sutton 1988", ge=1, le=100)
    batch_size: int = _setting(32, "transitions in an update", source=NATURE, ge=1, le=65_536)
    reward_clip: float = _setting(
        1.0, "rewards are clipped to plus or minus this for learning; 0: never", source="Mnih et al. 2015, Methods", ge=0
    )
    huber_delta: float = _setting(
        1.0, "TD error beyond which the loss grows linearly", source="Mnih et al. 2015, Methods", gt=0
    )
    target_period_updates: int = _setting(
        10_000, "the target network is copied every so many", unit="updates", source=NATURE, ge=1
    )


class NetworkSettings(Section):
    """The Q-network."""

    torso: str = _setting(
        "nature", "the layers that see; 'nature', or a name given to register_torso", source="Mnih et al. 2015, Methods"
    )
    hidden_units: int = _setting(512, "width of the dense layer", source="Mnih et al. 2015, Methods", ge=1)
    head: Literal["q", "dueling"] = _setting("q", "plain Q-values, or value and advantages", source="Wang et al. 2016")

    @field_validator("torso")
    @classmethod
    def _torso_is_known(cls, name: str) -> str:
        if name not in TORSO_NAMES:
            raise ValueError(f"torso = {name!r}: one of {', '.join(TORSO_NAMES)}{nearest(name, TORSO_NAMES)}")
        return name


class OptimizerSettings(Section):
    """Gradient descent."""

    name: Literal["adam", "rmsprop"] = _setting("adam", "Adam, or RMSprop divided by the centred second moment")
    learning_rate: float = _setting(2.5e-4, "step size", source=NATURE, gt=0)
    learning_rate_end: float = _setting(0.0, "step size after decay_updates", ge=0)
    decay_updates: int = _setting(0, "linear decay of the step size from the first update on; 0: none", unit="updates", ge=0)
    epsilon: float = _setting(1e-8, "added to the denominator (rmsprop: under the square root)", gt=0)
    decay: float = _setting(
        0.95,
        "rmsprop: decay of both moving averages",
        source=NATURE + " (gradient momentum, squared gradient momentum)",
        ge=0,
        lt=1,
    )
    beta1: float = _setting(0.9, "adam: decay of the first moment", source="Kingma and Ba 2015", ge=0, lt=1)
    beta2: float = _setting(0.999, "adam: decay of the second moment", source="Kingma and Ba 2015", ge=0, lt=1)
    clip_norm: float = _setting(
        10.0, "global norm to which gradients are scaled down; 0: never", source="Wang et al. 2016", ge=0
    )


class ExplorationSettings(Section):
    """Epsilon-greedy exploration in training."""

    epsilon_start: float = _setting(1.0, "probability of a random action at first", source=NATURE, ge=0, le=1)
    epsilon_end: float = _setting(0.1, "probability of a random action at last", source=NATURE, ge=0, le=1)
    decay_steps: int = _setting(1_000_000, "linear decay after the warm-up", unit="agent steps", source=NATURE, ge=0)


class ReplaySettings(Section):
    """The replay memory."""

    capacity: int = _setting(1_000_000, "frames kept, over all environments", source=NATURE, ge=100)
    storage: Literal["auto", "memory", "compressed", "disk"] = _setting(
        "auto",
        "frames raw in memory, packed in memory, or raw in a file; auto: raw in memory if that takes half of it at most",
    )


class RecordingSettings(Section):
    """How episodes are recorded."""

    max_seconds: int = _setting(120, "a GIF is cut after this much game time", unit="seconds", ge=1)


class MachineSettings(Section):
    """What belongs to this machine and this run rather than to the recipe."""

    seed: int = _setting(1, "seed of every random number of the run", ge=0, lt=2**31)
    precision: Literal["auto", "float32", "bfloat16"] = _setting(
        "float32",
        "of the network's computation; the weights that learn, targets and loss are float32 always; auto: bfloat16 where the "
        "processor, or the GPU, has fast units for it",
    )
    environment_threads: int = _setting(0, "threads that step the emulators; 0: one for each core", ge=0, le=1024)
    intra_op_threads: int = _setting(0, "TensorFlow's threads inside one operation; 0: one for each core", ge=0, le=1024)
    inter_op_threads: int = _setting(0, "TensorFlow's operations at a time; 0: one for each core", ge=0, le=1024)
    trace_updates: int = _setting(0, "updates to trace for TensorBoard's profiler, once 100 are done; 0: none", ge=0, le=1000)


class Config(Section):
    """All settings of one run, resolved."""

    game: str = Field(description="environment id")
    recipe: str = Field("default", description="name of the recipe")
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

    @property
    def spec(self) -> GameSpec:
        """The game that the id means."""
        return resolve(self.game)

    def to_toml(self) -> str:
        """The resolved settings as a TOML file that ``config.read_config`` reads back."""
        return tomli_w.dumps(self.model_dump())


SECTIONS: dict[str, type[Section]] = {
    name: field.annotation
    for name, field in Config.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
}
PROTOCOL_SECTIONS = ("environment", "evaluation")
RECIPE_SECTIONS = tuple(name for name in SECTIONS if name not in (*PROTOCOL_SECTIONS, "machine"))
