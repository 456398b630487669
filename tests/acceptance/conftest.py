from pathlib import Path

import pytest

from tests.acceptance.commands import GAME, SMALL, run


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with one short run named ``first``; tests that change it take a copy."""
    directory = tmp_path_factory.mktemp("user")
    answer = run("train", "--game", GAME, "--total-steps", "960", "--run-dir", "first", *SMALL, cwd=directory)
    assert "complete: 960 agent steps" in answer.stdout
    assert "game: BreakoutDeterministic-v4 (rom breakout); protocol tutorial: frame skip 4, sticky 0" in answer.stderr
    assert "Total params: " in answer.stderr
    return directory
