"""Fixtures of the acceptance tests: short runs that many tests share."""

import shutil
from pathlib import Path

import pytest

from tests.acceptance.commands import GAME, SMALL, run, run_anew


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with one short run named ``first``; tests that change it take a copy."""
    directory = tmp_path_factory.mktemp("user")
    train = ("train", "--game", GAME, "--total-steps", "960", "--run-dir", "first", *SMALL)
    answer = run_anew(*train, cwd=directory)
    assert "complete: 960 agent steps" in answer.stdout
    assert "game: BreakoutDeterministic-v4 (rom breakout)\n" in answer.stderr
    assert "protocol tutorial: frame skip 4, no sticky actions" in answer.stderr
    assert "network: nature torso, plain head, 4 actions, " in answer.stderr
    return directory


@pytest.fixture(scope="session")
def continued(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a run that has two checkpoints."""
    user = shutil.copytree(trained, tmp_path_factory.mktemp("continued") / "user")
    run("train", "--game", GAME, "--run-dir", "first", "--total-steps", "1040", cwd=user)
    return user
