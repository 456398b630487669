"""Tests the package as others install it: from a wheel, outside the checkout."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.commands import GAME, SMALL, run_anew

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds the wheel and returns the folder in which it is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "atari_dqn/configs/default.toml" in names
    assert "atari_dqn/configs/protocols/tutorial.toml" in names
    assert "atari_dqn/games/data/atari_human_random.csv" in names
    assert not [
        name for name in names if name.startswith(("tests/", "configs/", "checkpoints/", "videos/"))
    ]
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(folder / "site"),
    ]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    return folder / "site"


def test_the_installed_package_trains_and_evaluates_outside_the_checkout(
    installed: Path, tmp_path: Path
) -> None:
    outside: dict[str, Any] = {"env": {**os.environ, "PYTHONPATH": str(installed)}}
    command = [
        sys.executable,
        "-c",
        "import atari_dqn.cli\n"
        "from atari_dqn.config import resolve\n"
        "print(resolve.__file__, resolve.config_directory())",
    ]
    where = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=True, **outside
    ).stdout.split()
    assert where == [
        str(installed / "atari_dqn" / "config" / "resolve.py"),
        str(installed / "atari_dqn" / "configs"),
    ]
    shown = tomllib.loads(run_anew("config", "nature", cwd=tmp_path, **outside).stdout)
    assert shown["replay"]["capacity"] == 1_000_000
    run_anew(
        "train",
        "--game",
        GAME,
        "--total-steps",
        "640",
        "--run-dir",
        "first",
        *SMALL,
        cwd=tmp_path,
        **outside,
    )
    answer = run_anew(
        "eval", f"checkpoints/{GAME}/first", "--episodes", "2", cwd=tmp_path, **outside
    )
    assert "2 episodes in 2 environments" in answer.stdout


def test_the_console_script_runs(installed: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    script = installed / "bin" / "atari-dqn"
    answer = subprocess.run(
        [script, "games"], cwd=tmp_path, capture_output=True, text=True, env=environment, check=True
    )
    assert "BreakoutDeterministic-v4" in answer.stdout
