"""Tests the record of the starts of a run."""

import json
from pathlib import Path

from atari_dqn.config.resolve import load_config
from atari_dqn.runs.circumstances import write_circumstances


def test_every_start_of_a_run_is_recorded(tmp_path: Path) -> None:
    config, _ = load_config("ALE/Pong-v5")
    for _ in range(2):
        write_circumstances(tmp_path / "run", config)
    starts = json.loads((tmp_path / "run" / "run.json").read_text())["starts"]
    assert len(starts) == 2
    assert starts[0]["packages"]["ale-py"]
