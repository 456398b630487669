"""Settings of what learns: learning rule, network, optimizer, exploration and replay memory."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from atari_dqn.errors import nearest, shorten

# ``torsos.register_torso`` adds to these.
TORSO_NAMES = ["nature", "impala", "mlp"]

NATURE = "Mnih et al. 2015, Extended Data Table 1"

# Upper bounds that nobody needs to reach: beyond them a typing error would take all memory, or
# longer than anybody waits.
MOST_STEPS = 10**15  # of anything that is counted in agent steps or updates
MOST_EPISODES = 10**6
MOST_UNITS = 65_536
MOST_CHANNELS = 4_096
MOST_LAYERS = 100
LARGEST = 1e9  # of rewards, returns, norms, factors: float32 multiplies two of them without trouble

Units = Annotated[int, Field(gt=0, le=MOST_UNITS)]
Channels = Annotated[int, Field(gt=0, le=MOST_CHANNELS)]


def setting(
    default: Any, description: str, *, unit: str = "", source: str = "", **bounds: Any
) -> Any:
    """A field of a section, with its bounds as pydantic's ``Field`` takes them."""
    return Field(
        default,
        description=description,
        json_schema_extra={"unit": unit, "source": source},
        **bounds,
    )


class Section(BaseModel):
    """One table of the TOML file; it refuses unknown names, wrong types, infinity and NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class AgentSettings(Section):
    """The learning rule."""

    double: bool = setting(
        True,
        "Double DQN: the online network selects the next action",
        source="van Hasselt et al. 2016",
    )
    gamma: float = setting(0.99, "discount of one agent step", source=NATURE, ge=0, le=1)
    n_step: int = setting(
        1,
        "rewards summed before bootstrapping",
        unit="agent steps",
        source="Sutton 1988",
        ge=1,
        le=100,
    )
    batch_size: int = setting(32, "transitions in an update", source=NATURE, ge=1, le=65_536)
    reward_clip: float = setting(
        1.0,
        "rewards are clipped to plus or minus this for learning; 0: never",
        source="Mnih et al. 2015, Methods",
        ge=0,
        le=LARGEST,
    )
    loss: Literal["huber", "squared"] = setting(
        "huber",
        "of the TD error, where network.returns = mean; the others have a loss of their own",
        source="Mnih et al. 2015",
    )
    huber_delta: float = setting(
        1.0,
        "error beyond which the Huber loss grows linearly",
        source="Mnih et al. 2015, Methods",
        gt=0,
        le=LARGEST,
    )
    target_period_updates: int = setting(
        10_000,
        "the target network is updated every N updates; 0: whenever an episode ends",
        unit="updates",
        source=NATURE,
        ge=0,
        le=MOST_STEPS,
    )
    target_rate: float = setting(
        1.0,
        "update rate of the target network; 1: a copy",
        source="Lillicrap et al. 2016, Algorithm 1 (tau)",
        gt=0,
        le=1,
    )
    act_with_target: bool = setting(
        False,
        "act with the target network's weights, not with the newest",
        source="Schwarzer et al. 2023, settings of BBF",
    )
    random_shift: int = setting(
        0,
        "observations of a batch are shifted at random by at most N pixels",
        unit="pixels",
        source="Kostrikov et al. 2021",
        ge=0,
        le=64,
    )
    reset_period_updates: int = setting(
        0,
        "the head is re-initialized every N updates; 0: never",
        unit="updates",
        source="Nikishin et al. 2022",
        ge=0,
        le=MOST_STEPS,
    )
    reset_keep: float = setting(
        1.0,
        "share of its weights that the torso then keeps; the rest is re-initialized",
        source="Ash and Adams 2020 (lambda)",
        ge=0,
        le=1,
    )
    lowest_return: float = setting(
        -10.0,
        "categorical: value of the first atom",
        source="Bellemare et al. 2017, section 5",
        ge=-LARGEST,
        le=LARGEST,
    )
    highest_return: float = setting(
        10.0,
        "categorical: value of the last atom",
        source="Bellemare et al. 2017, section 5",
        ge=-LARGEST,
        le=LARGEST,
    )
    samples: int = setting(
        64,
        "implicit: fractions learned in an update",
        source="Dabney et al. 2018 (IQN)",
        ge=1,
        le=1024,
    )
    target_samples: int = setting(
        64, "implicit: fractions of the target", source="Dabney et al. 2018 (IQN)", ge=1, le=1024
    )
    munchausen: float = setting(
        0.0,
        "weight of the log-policy bonus, with a soft policy in the target; 0: neither",
        source="Vieillard et al. 2020 (alpha)",
        ge=0,
        lt=1,
    )
    temperature: float = setting(
        0.03,
        "munchausen: of the soft policy",
        source="Vieillard et al. 2020 (tau)",
        gt=0,
        le=LARGEST,
    )
    lowest_bonus: float = setting(
        -1.0,
        "munchausen: temperature times log-policy is cut off here",
        source="Vieillard et al. 2020 (l0)",
        ge=-LARGEST,
        lt=0,
    )

    @model_validator(mode="after")
    def _returns_have_an_order(self) -> "AgentSettings":
        if self.lowest_return >= self.highest_return:
            raise ValueError(
                f"lowest_return = {self.lowest_return}: "
                f"below highest_return = {self.highest_return}"
            )
        return self


class NetworkSettings(Section):
    """The Q-network."""

    torso: str = setting(
        "nature",
        "network torso: nature, impala, mlp, or a name given to register_torso",
        source="Mnih et al. 2015, Methods; Espeholt et al. 2018",
    )
    hidden_units: int = setting(
        512,
        "width of the dense layer below the outputs; 0: there is none",
        source="Mnih et al. 2015, Methods",
        ge=0,
        le=MOST_UNITS,
    )
    nature_channels: list[Channels] = setting(
        [32, 64, 64],
        "nature: channels of its three convolutions",
        source="Mnih et al. 2015, Methods",
        min_length=3,
        max_length=3,
    )
    impala_channels: list[Channels] = setting(
        [16, 32, 32],
        "impala: channels of its sections, each of which halves the picture",
        source="Espeholt et al. 2018",
        min_length=1,
        max_length=5,
    )
    impala_width: int = setting(
        1, "impala: multiple of these channels", source="Espeholt et al. 2018", ge=1, le=16
    )
    impala_blocks: int = setting(
        2, "impala: residual blocks in a section", source="Espeholt et al. 2018", ge=0, le=8
    )
    impala_stride: int = setting(
        1,
        "impala: of the first convolution, whose kernel is twice as wide unless this is 1",
        unit="pixels",
        ge=1,
        le=8,
    )
    spectral_norm: bool = setting(
        False,
        "impala: divide the kernels of the residual blocks by their largest singular value",
        source="Gogianu et al. 2021",
    )
    mlp_layers: list[Units] = setting([64, 64], "mlp: units of each layer", max_length=MOST_LAYERS)
    mlp_activation: Literal["relu", "tanh", "elu", "linear"] = setting(
        "relu", "mlp: what follows each layer"
    )
    mlp_l2: float = setting(
        0.0,
        "mlp: weight of the sum of its kernels' squares, which is added to the loss",
        ge=0,
        le=LARGEST,
    )
    center: bool = setting(
        False,
        "nature, impala: subtract the mean picture of the warm-up from every frame",
        source="LeCun et al. 1998, Efficient BackProp, section 4.3",
    )
    contrast: float = setting(
        1.0,
        "nature, impala: input scale, the value of a white pixel; black is 0",
        source="LeCun et al. 1998, section 4.3",
        gt=0,
        le=LARGEST,
    )
    layer_norm: bool = setting(
        False,
        "normalize what the nature torso's convolutions and the hidden layer compute",
        source="Ba et al. 2016",
    )
    head: Literal["q", "dueling"] = setting(
        "q", "plain Q-values, or value and advantages", source="Wang et al. 2016"
    )
    returns: Literal["mean", "categorical", "quantile", "implicit"] = setting(
        "mean",
        "how an action's return is represented: its mean, probabilities of its values, "
        "or quantiles, at fixed or at given fractions",
        source="Bellemare et al. 2017; Dabney et al. 2018",
    )
    atoms: int = setting(
        51,
        "categorical, quantile: outputs for each action",
        source="Bellemare et al. 2017",
        ge=2,
        le=1000,
    )
    noisy: bool = setting(
        False, "noise on the dense layers' weights, for exploration", source="Fortunato et al. 2018"
    )
    noisy_sigma: float = setting(
        0.5, "its initial scale", source="Fortunato et al. 2018, section 3.2", gt=0, le=LARGEST
    )

    @field_validator("torso")
    @classmethod
    def _torso_is_known(cls, name: str) -> str:
        if name not in TORSO_NAMES:
            choices = f"one of {', '.join(TORSO_NAMES)}{nearest(name, TORSO_NAMES)}"
            raise ValueError(f"torso = {shorten(repr(name))}: {choices}")
        return name

    @model_validator(mode="after")
    def _torso_has_spectral_norm(self) -> "NetworkSettings":
        if self.spectral_norm and self.torso != "impala":
            raise ValueError(
                f"spectral_norm = true: only with torso = 'impala', not {self.torso!r}"
            )
        return self


class OptimizerSettings(Section):
    """Gradient descent."""

    name: Literal["adam", "rmsprop"] = setting(
        "adam", "Adam, or RMSprop divided by the centered second moment"
    )
    learning_rate: float = setting(2.5e-4, "learning rate", source=NATURE, gt=0, le=LARGEST)
    learning_rate_end: float = setting(0.0, "learning rate after decay_updates", ge=0, le=LARGEST)
    decay_updates: int = setting(
        0,
        "decay of both learning rate and weight decay; 0: none",
        unit="updates",
        ge=0,
        le=MOST_STEPS,
    )
    decay_shape: Literal["linear", "cosine"] = setting(
        "linear",
        "of that decay: linear, or half a cosine, slow at first and at the end",
        source="Loshchilov and Hutter 2017, SGDR, equation 5",
    )
    epsilon: float = setting(
        1e-8, "added to the denominator (rmsprop: under the square root)", gt=0, le=LARGEST
    )
    decay: float = setting(
        0.95,
        "rmsprop: decay of both moving averages",
        source=NATURE + " (gradient momentum, squared gradient momentum)",
        ge=0,
        lt=1,
    )
    beta1: float = setting(
        0.9, "adam: decay of the first moment", source="Kingma and Ba 2015", ge=0, lt=1
    )
    beta2: float = setting(
        0.999, "adam: decay of the second moment", source="Kingma and Ba 2015", ge=0, lt=1
    )
    weight_decay: float = setting(
        0.0,
        "share of each kernel subtracted in each update, times the learning rate",
        source="Loshchilov and Hutter 2019",
        ge=0,
        le=LARGEST,
    )
    weight_decay_end: float = setting(
        0.0, "weight decay after decay_updates, by the same shape", ge=0, le=LARGEST
    )
    weight_decay_first: bool = setting(
        True, "whether that goes for the kernel of the first layer, too"
    )
    clip_norm: float = setting(
        10.0,
        "global norm to which gradients are scaled down; 0: never",
        source="Wang et al. 2016",
        ge=0,
        le=LARGEST,
    )


class ExplorationSettings(Section):
    """How actions are chosen in training, after the warm-up."""

    policy: Literal["greedy", "boltzmann"] = setting(
        "greedy",
        "the best action, or each in proportion to exp(value / temperature); "
        "random ones with probability epsilon",
    )
    temperature: float = setting(
        1.0,
        "boltzmann: the higher, the more even",
        source="Sutton and Barto 2018, section 2.8",
        gt=0,
        le=LARGEST,
    )
    schedule: Literal["linear", "exponential", "episodes"] = setting(
        "linear",
        "epsilon decays linearly over decay_steps, to 37 % over each decay_steps, "
        "or by a factor an episode",
    )
    epsilon_start: float = setting(
        1.0, "probability of a random action at first", source=NATURE, ge=0, le=1
    )
    epsilon_end: float = setting(
        0.1, "probability of a random action at last", source=NATURE, ge=0, le=1
    )
    decay_steps: int = setting(
        1_000_000,
        "linear, exponential: of the decay",
        unit="agent steps",
        source=NATURE,
        ge=0,
        le=MOST_STEPS,
    )
    episode_factor: float = setting(
        0.995, "episodes: epsilon after an episode, of that before it", gt=0, le=1
    )
    spread: float = setting(
        0.0,
        "environment i of N has epsilon ** (1 + spread * i / (N - 1)); 0: all the same",
        source="Horgan et al. 2018, section 4 (alpha)",
        ge=0,
        le=LARGEST,
    )


class ReplaySettings(Section):
    """The replay memory."""

    capacity: int = setting(
        1_000_000, "frames stored, over all environments", source=NATURE, ge=100, le=10**12
    )
    priority_exponent: float = setting(
        0.0,
        "how much more often transitions of large TD error are sampled; 0: all equally often",
        source="Schaul et al. 2016, equation 1 (alpha)",
        ge=0,
        le=1,
    )
    importance_exponent: float = setting(
        0.4,
        "prioritized: how far weights compensate for that, at first; it rises linearly to 1",
        source="Schaul et al. 2016, section 3.4 (beta)",
        ge=0,
        le=1,
    )
    importance_steps: int = setting(
        50_000_000,
        "prioritized: until weights compensate for it fully",
        unit="agent steps",
        source="Schaul et al. 2016",
        ge=1,
        le=MOST_STEPS,
    )
    priority_steps: int = setting(
        0,
        "prioritized: the share of a batch that is sampled by priority falls linearly to 0 over "
        "N steps; 0: all of it always is",
        unit="agent steps",
        ge=0,
        le=MOST_STEPS,
    )
    storage: Literal["auto", "memory", "compressed", "disk"] = setting(
        "auto",
        "frames raw in memory, packed in memory, or raw in a file; "
        "auto: raw in memory if that takes half of it at most",
    )
