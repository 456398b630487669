"""Tests the record of the starts of a run."""

import json
import subprocess
from pathlib import Path

import pytest

from atari_dqn.config.resolve import load_config
from atari_dqn.runs import circumstances
from atari_dqn.runs.circumstances import write_circumstances


def test_every_start_of_a_run_is_recorded(tmp_path: Path) -> None:
    config, _ = load_config("ALE/Pong-v5")
    for _ in range(2):
        write_circumstances(tmp_path / "run", config)
    starts = json.loads((tmp_path / "run" / "run.json").read_text())["starts"]
    assert len(starts) == 2
    assert starts[0]["packages"]["ale-py"]


def test_the_commit_is_that_of_the_checkout_which_holds_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package may be installed in an environment inside of another project."""

    def git(*arguments: str) -> str:
        options = ["-c", "user.name=someone", "-c", "user.email=someone@example.org"]
        command = ["git", *options, *arguments]
        return subprocess.run(
            command, cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    module = tmp_path / "package" / "module.py"
    module.parent.mkdir()
    module.write_text("a = 1\n")
    monkeypatch.setattr(circumstances, "__file__", str(module))
    assert recorded_commit(tmp_path) is None
    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message", "another project")
    assert recorded_commit(tmp_path) is None
    git("add", "package")
    git("commit", "--quiet", "--message", "the package")
    commit = git("rev-parse", "HEAD")
    assert recorded_commit(tmp_path) == commit
    module.write_text("a = 2\n")
    assert recorded_commit(tmp_path) == f"{commit}-dirty"


def recorded_commit(folder: Path) -> object:
    """Returns the commit that the next start of a run records."""
    config, _ = load_config("ALE/Pong-v5")
    write_circumstances(folder / "run", config)
    return json.loads((folder / "run" / "run.json").read_text())["starts"][-1]["commit"]
