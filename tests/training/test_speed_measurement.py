"""Tests the settings with which the speed of a run is measured."""

from pathlib import Path

import pytest

from atari_dqn.config.resolve import load_config
from atari_dqn.replay.factory import make_memory
from atari_dqn.training.speed_measurement import _settings


@pytest.mark.parametrize(("environments", "capacity"), [(16, 20_000), (1_024, 20_480)])
def test_a_memory_on_disk_is_small_but_large_enough_to_sample_from(
    tmp_path: Path, environments: int, capacity: int
) -> None:
    """The file of the whole run would be written for the measurement only."""
    overrides = {
        "replay.storage": "disk",
        "replay.capacity": 50_000,
        "training.environments": environments,
        "agent.n_step": 6,
    }
    config, _ = load_config("breakout", overrides=overrides)
    measured = _settings(config)
    assert measured.replay.capacity == capacity
    make_memory(measured, environments, (4, 84, 84), tmp_path)
