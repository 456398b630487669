"""The make targets, without running what they wrap."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def make(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """As from a shell, even where the tests themselves were started by ``make test ARGS=...``, which hands that on."""
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKEOVERRIDES", "ARGS")}
    return subprocess.run(["make", *arguments], cwd=cwd, env=environment, capture_output=True, text=True)


def test_help_is_the_default_and_names_every_target() -> None:
    text = make().stdout
    assert text == make("help").stdout
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in phony.split():
        assert target == "help" or f"make {target}" in text, target


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["train", "GAME=ALE/Pong-v5"], "atari-dqn train --game 'ALE/Pong-v5'"),
        (["train", "GAME=pong", "CONFIG=nature", "STEPS=10", "SEED=2"], "--config 'nature' --total-steps '10' --seed '2'"),
        (["train", "GAME=pong", "RUN=last", "PROTOCOL=machado"], "--protocol 'machado' --run-dir 'last'"),
        (["train", "GAME=pong", "ARGS=--replay.capacity 200000"], "--game 'pong' --replay.capacity 200000"),
        (["eval", "CKPT=checkpoints/x y", "EPISODES=3"], "atari-dqn eval 'checkpoints/x y' --episodes '3'"),
        (["train", "GAME=pong", "INIT_FROM=checkpoints/x"], "--game 'pong' --init-from 'checkpoints/x'"),
        (["eval", "CKPT=c", "GAME=breakout", "PROTOCOL=dopamine"], "eval 'c' --game 'breakout' --protocol 'dopamine'"),
        (["watch", "CKPT=c", "SEED=2"], "atari-dqn watch 'c' --seed '2'"),
        (["record", "CKPT=c", "OUT=a.gif"], "atari-dqn record 'c' --out 'a.gif'"),
        (["record", "CKPT=c", "OUT=a.gif", "ANNOTATED=1"], "atari-dqn record 'c' --out 'a.gif' --annotated"),
        (["record", "REPLAY=a.json", "OUT=a.gif"], "atari-dqn record --out 'a.gif' --replay 'a.json'"),
        (["frames", "GAME=pong", "OUT=a.png", "STEPS=3"], "atari-dqn frames --game 'pong' --out 'a.png' --steps '3'"),
        (["random", "GAME=pong"], "atari-dqn random --game 'pong'"),
        (["report", "RUNS=checkpoints videos/x", "OUT=all"], "atari-dqn report checkpoints videos/x --out 'all'"),
        (
            ["sweep", "GAMES=pong,breakout", "SEEDS=3", "CONFIG=default,iqn"],
            "--games 'pong,breakout' --seeds '3' --config 'default,iqn'",
        ),
        (["sweep", "OUT=checkpoints/sweep", "ADDRESS=auto"], "atari-dqn sweep --address 'auto' --out 'checkpoints/sweep'"),
        (["sweep", "GAMES=pong", "SEARCH=9", "STEPS=900"], "--games 'pong' --total-steps '900' --search '9'"),
        (["train", "GAME=pong", "ACTORS=4", "ADDRESS=auto"], "--game 'pong' --actors '4' --address 'auto'"),
        (["export", "CKPT=checkpoints/x", "OUT=a.onnx"], "atari-dqn export 'checkpoints/x' --out 'a.onnx'"),
        (["gallery"], "atari-dqn gallery"),
        (["gallery", "LIVE=1", "PORT=9000"], "atari-dqn gallery --live --port '9000'"),
    ],
)
def test_variables_become_options(arguments: list[str], command: str) -> None:
    printed = make("--dry-run", *arguments).stdout.replace("\\\n", " ")
    assert command in re.sub(r"\s+", " ", printed)


@pytest.mark.parametrize(
    ("target", "variable"),
    [
        ("train", "GAME"),
        ("random", "GAME"),
        ("eval", "CKPT"),
        ("watch", "CKPT"),
        ("record", "CKPT"),
        ("sweep", "GAMES"),
        ("export", "CKPT"),
    ],
)
def test_a_missing_variable_is_named_before_anything_is_installed(target: str, variable: str) -> None:
    answer = make(target)
    assert answer.returncode == 2
    assert f"{variable} is missing: make {target} {variable}=" in answer.stderr
    assert "venv" not in answer.stdout


def test_the_environment_is_rebuilt_only_when_the_pins_change(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path / name)
    assert "-m venv" in make("--dry-run", "games", cwd=tmp_path).stdout
    installed = tmp_path / ".venv" / ".installed"
    installed.parent.mkdir()
    installed.touch()
    assert "-m venv" not in make("--dry-run", "games", cwd=tmp_path).stdout
    with (tmp_path / "requirements.lock").open("a") as lock:
        lock.write("\n")
    newer = installed.stat().st_mtime + 10
    os.utime(tmp_path / "requirements.lock", (newer, newer))
    assert "-m venv" in make("--dry-run", "games", cwd=tmp_path).stdout


def test_the_lock_holds_plain_pins_for_everything_that_is_needed() -> None:
    pins = (ROOT / "requirements.lock").read_text().splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.+!-]+", pin) for pin in pins)
    names = {pin.split("==")[0].lower().replace("_", "-") for pin in pins}
    wanted = re.findall(r'"([A-Za-z0-9-]+)(?:\[.*?\])?>=', (ROOT / "pyproject.toml").read_text())
    assert {name.lower() for name in wanted} <= names
