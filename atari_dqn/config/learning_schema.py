"""Settings of the algorithm: agent, network, optimizer, exploration and replay memory."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from atari_dqn.errors import nearest, shorten

# ``torsos.register_torso`` adds names to this list.
TORSO_NAMES = ["nature", "impala", "mlp"]

NATURE = "Mnih et al. 2015, Extended Data Table 1"

# Nobody needs values above these bounds. They catch typing errors that would use up all memory or
# take forever.
MOST_STEPS = 10**15  # for every setting in agent steps or updates
MOST_EPISODES = 10**6
MOST_UNITS = 65_536
MOST_CHANNELS = 4_096
MOST_LAYERS = 100
LARGEST = 1e9  # for rewards, returns, norms and factors: float32 can hold the product of two

Units = Annotated[int, Field(gt=0, le=MOST_UNITS)]
Channels = Annotated[int, Field(gt=0, le=MOST_CHANNELS)]


def setting(
    default: Any, description: str, *, unit: str = "", source: str = "", **bounds: Any
) -> Any:
    """Returns a field of a section.

    Args:
        default: default value.
        description: meaning of the setting, for the generated documents.
        unit: unit of the value, if it has one.
        source: paper that the setting or its default value comes from.
        bounds: bounds of the value, as keyword arguments of pydantic's ``Field``.
    """
    return Field(
        default,
        description=description,
        json_schema_extra={"unit": unit, "source": source},
        **bounds,
    )


class Section(BaseModel):
    """A section of the settings, which rejects unknown names, wrong types, infinity and NaN."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class AgentSettings(Section):
    """The learning algorithm."""

    double: bool = setting(
        True,
        "Double DQN: the online network selects the next action in the target; without effect "
        "while munchausen is in use",
        source="van Hasselt et al. 2016",
    )
    gamma: float = setting(0.99, "discount per agent step", source=NATURE, ge=0, le=1)
    n_step: int = setting(
        1,
        "n-step returns: number of rewards summed before bootstrapping",
        unit="agent steps",
        source="Sutton 1988",
        ge=1,
        le=100,
    )
    batch_size: int = setting(32, "transitions per update", source=NATURE, ge=1, le=65_536)
    reward_clip: float = setting(
        1.0,
        "clip rewards to plus or minus this value for learning; 0 turns clipping off",
        source="Mnih et al. 2015, Methods",
        ge=0,
        le=LARGEST,
    )
    loss: Literal["huber", "squared"] = setting(
        "huber",
        "loss of the TD error if network.returns = mean; the other values have their own loss",
        source="Mnih et al. 2015",
    )
    huber_delta: float = setting(
        1.0,
        "error above which the Huber loss grows linearly",
        source="Mnih et al. 2015, Methods",
        gt=0,
        le=LARGEST,
    )
    target_period_updates: int = setting(
        10_000,
        "update the target network every N updates; 0 means whenever an episode ends",
        unit="updates",
        source=NATURE,
        ge=0,
        le=MOST_STEPS,
    )
    target_rate: float = setting(
        1.0,
        "update rate of the target network; 1 copies the online network",
        source="Lillicrap et al. 2016, Algorithm 1 (tau)",
        gt=0,
        le=1,
    )
    act_with_target: bool = setting(
        False,
        "act with the target network, whose weights are averages if target_rate is below 1",
        source="Schwarzer et al. 2023, settings of BBF",
    )
    random_shift: int = setting(
        0,
        "shift each observation in a batch at random by at most N pixels",
        unit="pixels",
        source="Kostrikov et al. 2021",
        ge=0,
        le=64,
    )
    reset_period_updates: int = setting(
        0,
        "re-initialize the network head every N updates; 0 turns this off",
        unit="updates",
        source="Nikishin et al. 2022",
        ge=0,
        le=MOST_STEPS,
    )
    reset_keep: float = setting(
        1.0,
        "at these resets a torso weight becomes reset_keep * old + (1 - reset_keep) * new",
        source="Ash and Adams 2020 (lambda)",
        ge=0,
        le=1,
    )
    lowest_return: float = setting(
        -10.0,
        "categorical: return of the first atom",
        source="Bellemare et al. 2017, section 5",
        ge=-LARGEST,
        le=LARGEST,
    )
    highest_return: float = setting(
        10.0,
        "categorical: return of the last atom",
        source="Bellemare et al. 2017, section 5",
        ge=-LARGEST,
        le=LARGEST,
    )
    samples: int = setting(
        64,
        "implicit: fractions sampled for the online network in an update",
        source="Dabney et al. 2018 (IQN)",
        ge=1,
        le=1024,
    )
    target_samples: int = setting(
        64,
        "implicit: fractions sampled for the target",
        source="Dabney et al. 2018 (IQN)",
        ge=1,
        le=1024,
    )
    munchausen: float = setting(
        0.0,
        "weight of the log-policy bonus; above 0 the target also uses a soft policy",
        source="Vieillard et al. 2020 (alpha)",
        ge=0,
        lt=1,
    )
    munchausen_after_updates: int = setting(
        0,
        "munchausen: the first N updates have neither the bonus nor the soft policy",
        unit="updates",
        ge=0,
        le=MOST_STEPS,
    )
    temperature: float = setting(
        0.03,
        "munchausen: temperature of the soft policy",
        source="Vieillard et al. 2020 (tau)",
        gt=0,
        le=LARGEST,
    )
    lowest_bonus: float = setting(
        -1.0,
        "munchausen: lower bound of temperature times log-policy",
        source="Vieillard et al. 2020 (l0)",
        ge=-LARGEST,
        lt=0,
    )

    @model_validator(mode="after")
    def _returns_have_an_order(self) -> "AgentSettings":
        if self.lowest_return >= self.highest_return:
            raise ValueError(
                f"lowest_return = {self.lowest_return}: "
                f"must be below highest_return = {self.highest_return}"
            )
        return self


class NetworkSettings(Section):
    """The Q-network."""

    torso: str = setting(
        "nature",
        "network torso: nature, impala, mlp, or a name passed to register_torso",
        source="Mnih et al. 2015, Methods; Espeholt et al. 2018",
    )
    hidden_units: int = setting(
        512,
        "units of the hidden dense layer before the outputs; 0 leaves it out",
        source="Mnih et al. 2015, Methods",
        ge=0,
        le=MOST_UNITS,
    )
    nature_channels: list[Channels] = setting(
        [32, 64, 64],
        "nature: channels of the three convolutions",
        source="Mnih et al. 2015, Methods",
        min_length=3,
        max_length=3,
    )
    impala_channels: list[Channels] = setting(
        [16, 32, 32],
        "impala: channels of each section; a section halves height and width",
        source="Espeholt et al. 2018",
        min_length=1,
        max_length=5,
    )
    impala_width: int = setting(
        1,
        "impala: factor by which these channels are multiplied",
        source="Espeholt et al. 2018",
        ge=1,
        le=16,
    )
    impala_blocks: int = setting(
        2, "impala: residual blocks per section", source="Espeholt et al. 2018", ge=0, le=8
    )
    impala_stride: int = setting(
        1,
        "impala: stride of the first convolution; "
        "if it is above 1, the kernel is twice as wide as the stride",
        unit="pixels",
        ge=1,
        le=8,
    )
    spectral_norm: bool = setting(
        False,
        "impala: divide the kernels in residual blocks by their largest singular value",
        source="Gogianu et al. 2021",
    )
    mlp_layers: list[Units] = setting([64, 64], "mlp: units of each layer", max_length=MOST_LAYERS)
    mlp_activation: Literal["relu", "tanh", "elu", "linear"] = setting(
        "relu", "mlp: activation function of each layer"
    )
    mlp_l2: float = setting(
        0.0,
        "mlp: L2 regularization, the weight of the kernels' sum of squares in the loss",
        ge=0,
        le=LARGEST,
    )
    center: bool = setting(
        False,
        "nature, impala: subtract the mean frame of the warm-up from every frame",
        source="LeCun et al. 1998, Efficient BackProp, section 4.3",
    )
    contrast: float = setting(
        1.0,
        "nature, impala: input scale; a white pixel has this value, a black one 0",
        source="LeCun et al. 1998, section 4.3",
        gt=0,
        le=LARGEST,
    )
    deviation: float = setting(
        0.0,
        "nature, impala: scale mean-subtracted frames to this standard deviation, as it was in the "
        "warm-up; 0 uses contrast instead",
        source="LeCun et al. 1998, section 4.3",
        ge=0,
        le=LARGEST,
    )
    motion: float = setting(
        1.0,
        "nature, impala: factor of the difference of each frame of a stack from the stack's mean",
        gt=0,
        le=LARGEST,
    )
    layer_norm: bool = setting(
        False,
        "layer normalization in the nature torso's convolutions and the hidden layer",
        source="Ba et al. 2016",
    )
    head: Literal["q", "dueling"] = setting(
        "q",
        "network head: Q-values, or separate streams for value and advantages",
        source="Wang et al. 2016",
    )
    returns: Literal["mean", "categorical", "quantile", "implicit"] = setting(
        "mean",
        "what the network predicts of an action's return: its mean, a categorical distribution, "
        "or quantiles at fixed or sampled fractions",
        source="Bellemare et al. 2017; Dabney et al. 2018",
    )
    atoms: int = setting(
        51,
        "categorical, quantile: number of outputs per action",
        source="Bellemare et al. 2017",
        ge=2,
        le=1000,
    )
    noisy: bool = setting(
        False, "explore by noise on the weights of the dense layers", source="Fortunato et al. 2018"
    )
    noisy_sigma: float = setting(
        0.5,
        "initial scale of that noise",
        source="Fortunato et al. 2018, section 3.2",
        gt=0,
        le=LARGEST,
    )

    @field_validator("torso")
    @classmethod
    def _torso_is_known(cls, name: str) -> str:
        if name not in TORSO_NAMES:
            choices = f"one of {', '.join(TORSO_NAMES)}{nearest(name, TORSO_NAMES)}"
            raise ValueError(f"torso = {shorten(repr(name))}: {choices}")
        return name

    @model_validator(mode="after")
    def _deviation_is_from_a_mean(self) -> "NetworkSettings":
        if self.deviation and not self.center:
            raise ValueError(f"deviation = {self.deviation}: only with center = true")
        return self

    @model_validator(mode="after")
    def _torso_has_spectral_norm(self) -> "NetworkSettings":
        if self.spectral_norm and self.torso != "impala":
            raise ValueError(
                f"spectral_norm = true: only with torso = 'impala', not with {self.torso!r}"
            )
        return self


class OptimizerSettings(Section):
    """The optimizer, its learning rate and its weight decay."""

    name: Literal["adam", "rmsprop"] = setting("adam", "Adam, or centered RMSprop")
    learning_rate: float = setting(2.5e-4, "initial learning rate", source=NATURE, gt=0, le=LARGEST)
    learning_rate_end: float = setting(0.0, "learning rate after decay_updates", ge=0, le=LARGEST)
    decay_updates: int = setting(
        0,
        "updates until the learning rate and weight decay reach their end values; 0 keeps them "
        "constant",
        unit="updates",
        ge=0,
        le=MOST_STEPS,
    )
    decay_shape: Literal["linear", "cosine"] = setting(
        "linear",
        "shape of the decay: linear, or half a cosine, which is slow at both ends",
        source="Loshchilov and Hutter 2017, SGDR, equation 5",
    )
    epsilon: float = setting(
        1e-8, "added to the denominator (rmsprop: under the square root)", gt=0, le=LARGEST
    )
    decay: float = setting(
        0.95,
        "rmsprop: decay rate of both moving averages",
        source=NATURE + " (gradient momentum, squared gradient momentum)",
        ge=0,
        lt=1,
    )
    beta1: float = setting(
        0.9, "adam: decay rate of the first moment", source="Kingma and Ba 2015", ge=0, lt=1
    )
    beta2: float = setting(
        0.999, "adam: decay rate of the second moment", source="Kingma and Ba 2015", ge=0, lt=1
    )
    weight_decay: float = setting(
        0.0,
        "initial weight decay: an update subtracts learning rate * weight decay * kernel",
        source="Loshchilov and Hutter 2019",
        ge=0,
        le=LARGEST,
    )
    weight_decay_end: float = setting(
        0.0, "weight decay after decay_updates, reached by the same shape", ge=0, le=LARGEST
    )
    weight_decay_first: bool = setting(
        True, "whether weight decay also applies to the kernel of the first layer"
    )
    clip_norm: float = setting(
        10.0,
        "scale the gradient down to at most this global norm; 0 turns clipping off",
        source="Wang et al. 2016",
        ge=0,
        le=LARGEST,
    )

    @model_validator(mode="after")
    def _cosine_does_not_start_at_zero(self) -> "OptimizerSettings":
        if self.decay_shape == "cosine" and self.weight_decay_end and not self.weight_decay:
            raise ValueError(
                f"weight_decay_end = {self.weight_decay_end}: "
                "half a cosine cannot start at weight_decay = 0; use decay_shape = 'linear'"
            )
        return self


class ExplorationSettings(Section):
    """The choice of actions in training, after the warm-up."""

    policy: Literal["greedy", "boltzmann"] = setting(
        "greedy",
        "the action of highest value, or one sampled in proportion to exp(value / temperature); "
        "either is replaced by a random action with probability epsilon",
    )
    temperature: float = setting(
        1.0,
        "boltzmann: a higher temperature makes the probabilities more equal",
        source="Sutton and Barto 2018, section 2.8",
        gt=0,
        le=LARGEST,
    )
    schedule: Literal["linear", "exponential", "episodes"] = setting(
        "linear",
        "how epsilon decays: linearly over decay_steps, exponentially with the time constant "
        "decay_steps, or by episode_factor after each episode",
    )
    epsilon_start: float = setting(
        1.0, "initial probability of a random action", source=NATURE, ge=0, le=1
    )
    epsilon_end: float = setting(
        0.1, "final probability of a random action", source=NATURE, ge=0, le=1
    )
    decay_steps: int = setting(
        1_000_000,
        "linear, exponential: duration or time constant of the decay",
        unit="agent steps",
        source=NATURE,
        ge=0,
        le=MOST_STEPS,
    )
    episode_factor: float = setting(
        0.995, "episodes: factor by which each episode multiplies epsilon", gt=0, le=1
    )
    spread: float = setting(
        0.0,
        "environment i of N uses epsilon ** (1 + spread * i / (N - 1)); 0 means the same for all",
        source="Horgan et al. 2018, section 4 (alpha)",
        ge=0,
        le=LARGEST,
    )


class ReplaySettings(Section):
    """The replay memory."""

    capacity: int = setting(
        1_000_000, "frames stored, summed over all environments", source=NATURE, ge=100, le=10**12
    )
    priority_exponent: float = setting(
        0.0,
        "transitions are sampled in proportion to priority ** this; 0 samples uniformly",
        source="Schaul et al. 2016, equation 1 (alpha)",
        ge=0,
        le=1,
    )
    importance_exponent: float = setting(
        0.4,
        "prioritized: initial exponent of the importance weights, which rises linearly to 1",
        source="Schaul et al. 2016, section 3.4 (beta)",
        ge=0,
        le=1,
    )
    importance_steps: int = setting(
        50_000_000,
        "prioritized: steps until that exponent reaches 1",
        unit="agent steps",
        source="Schaul et al. 2016",
        ge=1,
        le=MOST_STEPS,
    )
    priority_steps: int = setting(
        0,
        "prioritized: the share of a batch that is sampled by priority decays linearly to 0 over "
        "N steps; with 0 it stays at 1",
        unit="agent steps",
        ge=0,
        le=MOST_STEPS,
    )
    storage: Literal["auto", "memory", "compressed", "disk"] = setting(
        "auto",
        "where frames are stored: in memory, compressed in memory, or in a file; auto means in "
        "memory if that takes at most half of what is free, else compressed",
    )
