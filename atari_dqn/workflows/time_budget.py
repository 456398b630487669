"""Plans runs that take a given time: chooses a recipe and its number of agent steps.

The plan depends on speeds that are measured here and now, with whatever else the machine does. The
chosen settings are stored with the run, so a continued run does not measure again.
"""

import logging
import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeAlias

from atari_dqn.config.resolve import DEFAULT_RECIPE, default_recipe, read_recipe
from atari_dqn.config.schema import Config
from atari_dqn.console import waiting
from atari_dqn.errors import UserError
from atari_dqn.games.ids import identify
from atari_dqn.games.measured_scores import most_measured_steps
from atari_dqn.runs.continuation import for_this_machine
from atari_dqn.training.run_time import Speeds, evaluation_seconds, most_steps, run_seconds
from atari_dqn.typed_commands import option
from atari_dqn.workflows.settings import SettingsRequest, start_tensorflow

logger = logging.getLogger(__name__)

# Slower than the default recipe, and better after 2.5 million agent steps
# (docs/results/results.md).
LONG_RECIPE = "long"
SECONDS_PER_HOUR = 3_600
# Share of the time that a run is planned to take. Nobody waits for a run that ends a little early.
TARGET_SHARE = 0.95
# The measurement takes this share of the time, within bounds in seconds.
MEASURING_SHARE = 0.02
SHORTEST_MEASUREMENT = 3.0
LONGEST_MEASUREMENT = 30.0
LEAST_STEPS = 1_000
# Shares of a run: of its steps for warm-up and decay of epsilon, at most; of the time for periodic
# evaluations and checkpoints, at most.
WARMUP_SHARE = 1 / 10
EXPLORATION_SHARE = 1 / 5
PERIODIC_SHARE = 1 / 10
LEAST_EVALUATIONS = 5
ROUND_PERIOD = 1_000

# Measures the speeds of a recipe for some seconds.
Measure: TypeAlias = Callable[[Config, float], Speeds]


@dataclass(frozen=True)
class Plan:
    """A run that takes a given time.

    Attributes:
        settings: Requested settings, with the chosen ones.
        config: All settings of the run.
        speeds: Measured speeds of the recipe.
        hours: The requested time.
        done: Agent steps that the run has already made.
    """

    settings: SettingsRequest
    config: Config
    speeds: Speeds
    hours: float
    done: int = 0

    @property
    def steps(self) -> int:
        """Agent steps that the run makes from now on."""
        return self.config.training.total_steps - self.done

    def describe(self) -> str:
        """Returns one line about the run."""
        more = " more" if self.done else ""
        speed = f"{self.speeds.learning:,.0f} steps/s measured on this machine"
        return (
            f"{self.config.versioned_recipe}, {self.steps:,}{more} agent steps: "
            f"{in_words(self.hours)} at {speed}"
        )

    def notes(self) -> list[str]:
        """Returns notes for the user about what is not known of such a run."""
        measured = most_measured_steps(self.config.recipe)
        total = self.config.training.total_steps
        if measured is None or total <= measured:
            return []
        recipe = self.config.versioned_recipe
        return [f"{recipe} was tried for up to {measured:,} agent steps; this run makes {total:,}"]

    def record(self) -> dict[str, Any]:
        """Returns the requested hours and the measured speeds, as JSON values."""
        speeds = {name: float(f"{value:.4g}") for name, value in asdict(self.speeds).items()}
        return {"hours": self.hours, "speeds": speeds}


class Planner:
    """Plans runs with the same requested settings, and measures each recipe once.

    Args:
        request: The requested settings. Without a recipe, the best one that fits is chosen.
        measuring_seconds: How long to measure a recipe.
        measure: Measures a recipe; replaced in tests.

    Raises:
        UserError: The settings are invalid, or the run would have actors.
    """

    def __init__(
        self, request: SettingsRequest, measuring_seconds: float, measure: Measure | None = None
    ) -> None:
        self._request = request
        self._seconds = measuring_seconds
        self._measure = measure or measure_here
        self._began = time.monotonic()
        self._recipe = request.recipe or default_recipe(identify(request.game))
        self._speeds: dict[str, Speeds] = {}
        self._configs = {self._recipe: self._resolve(self._recipe)}
        _check_plannable(self._configs[self._recipe])

    def plan(self, hours: float) -> Plan:
        """Returns a run that takes some hours, including the time that this object has taken.

        The run has the default recipe. It has the recipe ``long`` if that recipe's own number of
        agent steps fits: it then ends with a better agent.

        Raises:
            UserError: The time is too short to train.
        """
        plan = self._plan_with(self._recipe, hours)
        if self._request.recipe is None and self._recipe == DEFAULT_RECIPE:
            needed = read_recipe(LONG_RECIPE).tables["training"]["total_steps"]
            # A recipe with larger updates is never faster, so it is measured only if it may fit.
            if plan.config.training.total_steps >= needed:
                long = self._plan_with_long(hours)
                if long is not None and long.config.training.total_steps >= needed:
                    return long
        return plan

    def _plan_with_long(self, hours: float) -> Plan | None:
        try:
            return self._plan_with(LONG_RECIPE, hours)
        except UserError as error:  # such as a replay memory that does not fit
            logger.warning(f"recipe {LONG_RECIPE} is not possible: {error}")
            return None

    def _plan_with(self, recipe: str, hours: float) -> Plan:
        """Returns a run with a recipe that takes some hours."""
        config = self._configs.setdefault(recipe, self._resolve(recipe))
        if recipe not in self._speeds:
            self._speeds[recipe] = self._measure(config, self._seconds)
        speeds = self._speeds[recipe]
        kept = set(SETTINGS) if self._request.recipe else set(self._request.overrides)

        def chosen(steps: int) -> Config:
            return with_settings(config, settings_for(config, speeds, steps, kept))

        spent = time.monotonic() - self._began
        steps = _steps_that_fit(lambda steps: run_seconds(chosen(steps), speeds), hours, spent)
        values = settings_for(config, speeds, steps, kept)
        overrides = {**self._request.overrides, **values}
        request = replace(self._request, recipe=recipe, overrides=overrides)
        return Plan(request, with_settings(config, values), speeds, hours)

    def _resolve(self, recipe: str) -> Config:
        return for_this_machine(replace(self._request, recipe=recipe).resolve().config)


def plan_continuation(
    config: Config, done: int, hours: float, measure: Measure | None = None
) -> Plan:
    """Returns a plan for a run that goes on for some hours, with a new number of agent steps.

    Args:
        config: Settings of the run.
        done: Agent steps that the run has already made.
        hours: The time.
        measure: Measures a recipe; replaced in tests.

    Raises:
        UserError: The time is too short to train, or the run has actors.
    """
    _check_plannable(config)
    began = time.monotonic()
    speeds = (measure or measure_here)(config, measuring_seconds(hours))

    def longer(steps: int) -> Config:
        return with_settings(config, {"training.total_steps": done + steps})

    spent = time.monotonic() - began
    steps = _steps_that_fit(lambda steps: run_seconds(longer(steps), speeds, done), hours, spent)
    request = SettingsRequest(config.game, config.recipe, config.protocol)
    return Plan(request, longer(steps), speeds, hours, done)


def _check_plannable(config: Config) -> None:
    if config.machine.actors:
        raise UserError(
            f"{option('hours')} does not apply to a run with actors, whose speed cannot be "
            f"measured in advance: use {option('total-steps')}"
        )


def _steps_that_fit(seconds_of: Callable[[int], float], hours: float, spent: float) -> int:
    """Returns the agent steps that fit into some hours.

    Args:
        seconds_of: Function from agent steps to seconds.
        hours: The time.
        spent: Seconds that have already passed.

    Raises:
        UserError: The time is too short.
    """
    steps = most_steps(seconds_of, hours * SECONDS_PER_HOUR * TARGET_SHARE - spent)
    if steps < LEAST_STEPS:
        needed = (seconds_of(LEAST_STEPS) + spent) / TARGET_SHARE / SECONDS_PER_HOUR
        raise UserError(
            f"{option('hours')} {hours:g} is too short: {LEAST_STEPS:,} agent steps take about "
            f"{math.ceil(needed * 1000) / 1000:g} hours on this machine, which was measured"
        )
    # Round numbers are easier to compare.
    unit: int = 10 ** max(int(math.log10(steps)) - 2, 0)
    return steps // unit * unit


# The settings that may be chosen for the length of a run.
SETTINGS = (
    "training.warmup_steps",
    "training.evaluation_period",
    "training.checkpoint_period",
    "exploration.decay_steps",
    "optimizer.decay_updates",
)


def settings_for(
    config: Config, speeds: Speeds, steps: int, kept: Collection[str]
) -> dict[str, int]:
    """Returns the settings of a run of a given length that differ from its recipe.

    * The learning rate and weight decay reach their end at the same share of a run that is shorter
      than the recipe's. While the learning rate is large, values stay away from their targets
      (docs/lab/2026-11-21_breakout-learning-rate.md). A longer run keeps the recipe's decay, which
      was better on Breakout (docs/lab/2026-11-28_longer-decay.md).
    * The warm-up takes at most a tenth of the steps, and the decay of epsilon at most a fifth.
      Otherwise a short run would hardly see its own policy.
    * Evaluations and checkpoints together take at most a tenth of the time. Short runs have about
      five of each if that is possible.

    Args:
        config: Settings of the recipe.
        speeds: Measured speeds of the recipe.
        steps: Agent steps of the run.
        kept: Names of settings to keep.
    """
    training = config.training
    whole = with_settings(config, {"training.total_steps": steps})
    values = {
        "training.warmup_steps": min(training.warmup_steps, int(steps * WARMUP_SHARE)),
        "exploration.decay_steps": min(
            config.exploration.decay_steps, int(steps * EXPLORATION_SHARE)
        ),
    }
    decay = config.optimizer.decay_updates
    if decay and steps < training.total_steps:
        values["optimizer.decay_updates"] = max(decay * steps // training.total_steps, 1)
    evaluation = evaluation_seconds(whole, speeds) if training.evaluation_period else 0.0
    slowest = (evaluation + speeds.checkpoint) * speeds.learning / PERIODIC_SHARE
    for name in ("evaluation_period", "checkpoint_period"):
        usual = getattr(training, name)
        if usual:
            period = max(min(usual, steps // LEAST_EVALUATIONS), slowest)
            values[f"training.{name}"] = _rounded_up(period)
    kept_or_same = {
        name for name, value in values.items() if name in kept or _value(config, name) == value
    }
    chosen = {name: value for name, value in values.items() if name not in kept_or_same}
    return {"training.total_steps": steps, **chosen}


def _rounded_up(period: float) -> int:
    """Returns a number of agent steps, rounded up to thousands if it is larger.

    >>> _rounded_up(20_000.0), _rounded_up(31_234.5), _rounded_up(200)
    (20000, 32000, 200)
    """
    unit = ROUND_PERIOD if period > ROUND_PERIOD else 1
    return max(math.ceil(period / unit) * unit, 1)


def with_settings(config: Config, values: Mapping[str, Any]) -> Config:
    """Returns settings in which some have other values, by ``section.key``."""
    for name, value in values.items():
        section, _, key = name.partition(".")
        changed = getattr(config, section).model_copy(update={key: value})
        config = config.model_copy(update={section: changed})
    return config


def _value(config: Config, name: str) -> Any:
    section, _, key = name.partition(".")
    return getattr(getattr(config, section), key)


def measuring_seconds(hours: float) -> float:
    """Returns how long to measure a recipe for a run of some hours."""
    seconds = hours * SECONDS_PER_HOUR * MEASURING_SHARE
    return min(max(seconds, SHORTEST_MEASUREMENT), LONGEST_MEASUREMENT)


def measure_here(config: Config, seconds: float) -> Speeds:
    """Measures the speeds of a recipe on this machine."""
    with waiting(f"measuring how fast {config.recipe} trains here"):
        start_tensorflow(config)
        from atari_dqn.training.speed_measurement import measure_speeds

        return measure_speeds(config, seconds)


def in_words(hours: float) -> str:
    """Returns a number of hours in words.

    >>> in_words(0.5), in_words(1), in_words(8.0)
    ('30 minutes', '1 hour', '8 hours')
    """
    if hours < 1:
        return f"{hours * 60:.3g} minutes"
    return f"{hours:g} hour" + ("" if hours == 1 else "s")
