"""The settings of a continued run, and differences between the settings of several runs."""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from atari_dqn.backend.machine import usable_cores
from atari_dqn.backend.startup import resolve_precision
from atari_dqn.config.resolve import read_config
from atari_dqn.config.schema import SECTIONS, Config
from atari_dqn.errors import UserError
from atari_dqn.runs.directory import CONFIG

# Settings that may change when a run is continued, because learning does not depend on them.
CHANGEABLE = (
    "training.total_steps",
    "training.evaluation_period",
    "training.evaluation_episodes",
    "training.log_period",
    "training.checkpoint_period",
    "training.keep_period",
    "replay.storage",
    "machine.trace_updates",
    "machine.environment_threads",
    "machine.inter_op_threads",
)
# The number of threads inside an operation may change the order of its sums.
INTRA_OP_THREADS = "machine.intra_op_threads"
THREADS = ("machine.environment_threads", INTRA_OP_THREADS, "machine.inter_op_threads")
SMALL_BATCH = 64


def merge(stored: Config, requested: Config, named: set[str]) -> Config:
    """Returns the settings for continuing a run.

    These are the stored settings, in which the named settings of ``CHANGEABLE`` have the requested
    values.

    Args:
        stored: Settings of the run so far.
        requested: Settings of the command.
        named: Names of the settings in the command: ``section.key``, ``recipe`` or ``protocol``.
            Only these are compared.

    Raises:
        UserError: A named setting that may not change differs, or the game does.
    """
    advice = "choose another run directory"
    for name in sorted(named - set(CHANGEABLE)):
        old = _value(stored, name)
        new = _value(requested, name)
        if old != new:
            reason = f"this run has {name} = {old} and cannot continue with {new}"
            raise UserError(f"{reason}; {advice}")
    if stored.game != requested.game:
        raise UserError(f"this run plays {stored.game}, not {requested.game}; {advice}")
    for name in named & set(CHANGEABLE):
        stored = _with_value(stored, name, _value(requested, name))
    return stored


def own_config(run_directory: Path, checkpoint: Path) -> tuple[Config, list[str]]:
    """Returns the settings of a run that is continued, and notes about them.

    They are read from the run directory, whose copy may be newer than the checkpoint's. Settings
    that may not change must equal those in the checkpoint's verified copy.

    Args:
        run_directory: The run directory.
        checkpoint: The checkpoint from which the run continues.

    Raises:
        UserError: A setting that may not change differs.
    """
    verified = read_config(checkpoint / CONFIG)
    path = run_directory / CONFIG
    try:
        own = read_config(path)
    except UserError as error:
        return verified, [f"{error}; the settings in '{checkpoint}' are used"]
    fixed = [name for name in _setting_names(SECTIONS) if name not in CHANGEABLE]
    for name in ("game", "recipe", "recipe_version", "protocol", *fixed):
        new = _value(own, name)
        trained = _value(verified, name)
        if new != trained:
            advice = "change it back, or start a new run"
            raise UserError(
                f"'{path}' has {name} = {new}, but the run was trained with {trained}: {advice}"
            )
    return own, []


def differing_settings(
    configs: Sequence[Config], sections: Collection[str] = tuple(SECTIONS)
) -> list[dict[str, str]]:
    """Returns for each run the settings in which it differs from most runs.

    The reference is the most frequent value of a setting, or the first of several such values. The
    seed, thread counts and ``CHANGEABLE`` settings are not compared.

    Args:
        configs: Settings of each run.
        sections: Sections to compare.

    Returns:
        Settings by name for each run, such as ``{"agent.n_step": "1"}``.
    """
    names = _setting_names(sections)
    runs = [{name: json.dumps(_value(run, name)).strip('"') for name in names} for run in configs]
    return differing_values(runs, sections)


def differing_values(
    runs: Sequence[Mapping[str, str]], sections: Collection[str]
) -> list[dict[str, str]]:
    """Returns for each run the settings in which it differs from most runs.

    Args:
        runs: The text of every setting of each run, by ``section.key``.
        sections: Sections to compare.

    Returns:
        Settings by name for each run, as from ``differing_settings``.
    """
    if not runs:
        return []
    ignored = {*CHANGEABLE, *THREADS, "machine.seed"}
    differences: list[dict[str, str]] = [{} for _ in runs]
    for name in _setting_names(sections):
        if name in ignored:
            continue
        values = [run.get(name, "not set") for run in runs]
        usual, _ = Counter(values).most_common(1)[0]
        for value, difference in zip(values, differences, strict=True):
            if value != usual:
                difference[name] = value
    return differences


def format_differences(differences: Mapping[str, str]) -> str:
    """Returns differing settings as a suffix to the name of a run.

    >>> format_differences({"agent.n_step": "1", "agent.double": "false"})
    ', agent.n_step=1, agent.double=false'
    """
    return "".join(f", {name}={value}" for name, value in differences.items())


def for_this_machine(config: Config) -> Config:
    """Returns settings in which automatic thread counts and precision have this machine's values.

    A run keeps these values, because sums may round differently with others.
    """
    cores = usable_cores()
    # For small batches, running several operations in parallel uses the cores better than dividing
    # each operation among them (docs/design/performance.md).
    shared = cores if config.agent.batch_size > SMALL_BATCH else max(1, cores // 2)
    for name in THREADS:
        automatic = shared if name == INTRA_OP_THREADS else cores
        config = _with_value(config, name, _value(config, name) or automatic)
    precision = resolve_precision(config.machine.precision, not config.spec.vectors)
    return _with_value(config, "machine.precision", precision)


def notes_on_speed(config: Config) -> list[str]:
    """Returns notes for the user on settings that are slow on this machine."""
    if config.machine.precision != "bfloat16" or resolve_precision("auto") == "bfloat16":
        return []
    return [
        "this machine has no bfloat16 units: bfloat16 is several times slower than float32 here, "
        "and gradients are less exact"
    ]


def _setting_names(sections: Collection[str]) -> list[str]:
    """Returns the names of all settings in some sections, as ``section.key``."""
    return [f"{section}.{key}" for section in sections for key in SECTIONS[section].model_fields]


def _value(config: Config, name: str) -> Any:
    """Returns a setting by name: ``section.key``, ``game``, ``recipe`` or ``protocol``."""
    value: Any = config
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _with_value(config: Config, name: str, value: Any) -> Config:
    section, _, key = name.partition(".")
    changed = getattr(config, section).model_copy(update={key: value})
    return config.model_copy(update={section: changed})
