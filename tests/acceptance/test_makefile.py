"""Tests the make targets without running the program.

They use dry runs, or a stand-in for the program that prints its arguments.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
# Stamp files of the optional packages that some targets install.
STAMPS = (
    ".developing",
    ".benching",
    ".plotting",
    ".box2d",
    ".gallery",
    ".distributed",
    ".onnx",
    ".docs",
)
# All variables that make accepts, except for the interpreter.
VARIABLES = [
    name
    for name in re.findall(r"^([A-Z_]+) \?=", (ROOT / "Makefile").read_text(), re.MULTILINE)
    if name != "PYTHON"
]


def make(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Runs make as from a shell.

    It removes the variables that ``make test ARGS=...`` passes on to the tests.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("MAKEFLAGS", "MAKEOVERRIDES", "ARGS")
    }
    return subprocess.run(
        ["make", *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )


def test_help_is_the_default_target_and_lists_every_target() -> None:
    text = make().stdout
    assert text == make("help").stdout
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in phony.split():
        assert target == "help" or f"make {target}" in text, target


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["train", "GAME=ALE/Pong-v5"], "atari-dqn train --game 'ALE/Pong-v5'"),
        (
            ["train", "GAME=pong", "CONFIG=nature", "STEPS=10", "SEED=2"],
            "--config 'nature' --total-steps '10' --seed '2'",
        ),
        (
            ["train", "GAME=pong", "RUN=last", "PROTOCOL=machado"],
            "--protocol 'machado' --run-dir 'last'",
        ),
        (
            ["train", "GAME=pong", "ARGS=--replay.capacity 200000"],
            "--game 'pong' --replay.capacity 200000",
        ),
        (
            ["eval", "CKPT=checkpoints/x y", "EPISODES=3"],
            "atari-dqn eval 'checkpoints/x y' --episodes '3'",
        ),
        (
            ["train", "GAME=pong", "INIT_FROM=checkpoints/x"],
            "--game 'pong' --init-from 'checkpoints/x'",
        ),
        (
            ["eval", "CKPT=c", "GAME=breakout", "PROTOCOL=dopamine"],
            "eval 'c' --game 'breakout' --protocol 'dopamine'",
        ),
        (["train", "GAME=pong", "HOURS=0.5"], "train --game 'pong' --hours '0.5'"),
        (["plan", "GAME=pong", "CONFIG=long"], "atari-dqn plan --game 'pong' --config 'long'"),
        (["watch", "CKPT=c", "SEED=2"], "atari-dqn watch 'c' --seed '2'"),
        (["record", "CKPT=c", "OUT=a.gif"], "atari-dqn record 'c' --out 'a.gif'"),
        (
            ["record", "CKPT=c", "OUT=a.gif", "ANNOTATED=1"],
            "atari-dqn record 'c' --out 'a.gif' --annotated",
        ),
        (
            ["record", "REPLAY=a.json", "OUT=a.gif"],
            "atari-dqn record --out 'a.gif' --replay 'a.json'",
        ),
        (
            ["frames", "GAME=pong", "OUT=a.png", "STEPS=3"],
            "atari-dqn frames --game 'pong' --out 'a.png' --steps '3'",
        ),
        (["random", "GAME=pong"], "atari-dqn random --game 'pong'"),
        (
            ["report", "RUNS=checkpoints videos/x", "OUT=all"],
            "atari-dqn report 'checkpoints videos/x' --out 'all'",
        ),
        (
            ["sweep", "GAMES=pong,breakout", "SEEDS=3", "CONFIG=default,iqn"],
            "--games 'pong,breakout' --seeds '3' --config 'default,iqn'",
        ),
        (
            ["sweep", "OUT=checkpoints/sweep", "ADDRESS=auto"],
            "atari-dqn sweep --address 'auto' --out 'checkpoints/sweep'",
        ),
        (
            ["sweep", "GAMES=pong", "SEARCH=9", "STEPS=900"],
            "--games 'pong' --total-steps '900' --search '9'",
        ),
        (
            ["train", "GAME=pong", "ACTORS=4", "ADDRESS=auto"],
            "--game 'pong' --actors '4' --address 'auto'",
        ),
        (
            ["export", "CKPT=checkpoints/x", "OUT=a.onnx"],
            "atari-dqn export 'checkpoints/x' --out 'a.onnx'",
        ),
        (["docs"], "--keep-going -c docs -d build/doctrees . build/docs"),
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
        ("plan", "GAME"),
        ("random", "GAME"),
        ("eval", "CKPT"),
        ("watch", "CKPT"),
        ("record", "CKPT"),
        ("sweep", "GAMES"),
        ("export", "CKPT"),
    ],
)
def test_a_missing_variable_is_reported_before_anything_is_installed(
    target: str, variable: str
) -> None:
    answer = make(target)
    assert answer.returncode == 2
    assert f"{variable} is missing: make {target} {variable}=" in answer.stderr
    assert "venv" not in answer.stdout


def test_a_sweep_refuses_hours() -> None:
    answer = make("sweep", "GAMES=pong", "HOURS=1")
    assert answer.returncode == 2
    assert "HOURS is not for sweep: give each run STEPS=" in answer.stderr


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


def test_the_lock_file_pins_every_dependency() -> None:
    pins = (ROOT / "requirements.lock").read_text().splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.+!-]+", pin) for pin in pins)
    names = {pin.split("==")[0].lower().replace("_", "-") for pin in pins}
    required = re.findall(r'"([A-Za-z0-9-]+)(?:\[.*?\])?>=', (ROOT / "pyproject.toml").read_text())
    assert {name.lower() for name in required} <= names


def fake_checkout(tmp_path: Path, stamps: tuple[str, ...] = STAMPS) -> Path:
    """Creates a checkout whose environment is installed and whose program prints its arguments.

    Each printed argument ends with a zero byte.
    """
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path / name)
    program = tmp_path / ".venv" / "bin" / "atari-dqn"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/bash\nprintf '%s\\0' \"$@\"\n")
    program.chmod(0o755)
    for name in (".installed", *stamps):
        (tmp_path / ".venv" / name).touch()
    return tmp_path


def words(
    cwd: Path, target: str, typed: dict[str, str], exported: dict[str, str] | None = None
) -> list[str]:
    """Returns the arguments that the program of a target receives.

    Args:
        cwd: the checkout.
        target: of make.
        typed: variables on the command line of make.
        exported: variables in the environment.
    """
    known = ("MAKEFLAGS", "MAKEOVERRIDES", *VARIABLES)
    environment = {name: value for name, value in os.environ.items() if name not in known} | (
        exported or {}
    )
    command = ["make", "--silent", target, *(f"{name}={value}" for name, value in typed.items())]
    answer = subprocess.run(command, cwd=cwd, env=environment, capture_output=True)
    assert answer.returncode == 0, answer.stderr.decode()
    assert answer.stderr == b""
    return answer.stdout.decode().split("\0")[:-1]


# For each target, its text variables and the option that receives the value; an empty string means
# a positional argument.
TARGETS = {
    "train": {
        "GAME": "--game",
        "CONFIG": "--config",
        "PROTOCOL": "--protocol",
        "STEPS": "--total-steps",
        "HOURS": "--hours",
        "SEED": "--seed",
        "RUN": "--run-dir",
        "INIT_FROM": "--init-from",
        "ACTORS": "--actors",
        "ADDRESS": "--address",
    },
    "plan": {
        "GAME": "--game",
        "HOURS": "--hours",
        "CONFIG": "--config",
        "PROTOCOL": "--protocol",
    },
    "eval": {
        "CKPT": "",
        "GAME": "--game",
        "PROTOCOL": "--protocol",
        "EPISODES": "--episodes",
        "SEED": "--seed",
    },
    "record": {
        "CKPT": "",
        "OUT": "--out",
        "REPLAY": "--replay",
        "GAME": "--game",
        "PROTOCOL": "--protocol",
        "SEED": "--seed",
    },
    "watch": {
        "CKPT": "",
        "GAME": "--game",
        "PROTOCOL": "--protocol",
        "EPISODES": "--episodes",
        "SEED": "--seed",
    },
    "random": {
        "GAME": "--game",
        "PROTOCOL": "--protocol",
        "EPISODES": "--episodes",
        "SEED": "--seed",
    },
    "frames": {
        "GAME": "--game",
        "OUT": "--out",
        "PROTOCOL": "--protocol",
        "STEPS": "--steps",
        "SEED": "--seed",
    },
    "sweep": {
        "GAMES": "--games",
        "SEEDS": "--seeds",
        "CONFIG": "--config",
        "PROTOCOL": "--protocol",
        "STEPS": "--total-steps",
        "EPISODES": "--episodes",
        "SEARCH": "--search",
        "ADDRESS": "--address",
        "OUT": "--out",
    },
    "plot": {"RUNS": "", "OUT": "--out"},
    "report": {"RUNS": "", "OUT": "--out"},
    "gallery": {"PORT": "--port"},
    "export": {"CKPT": "", "OUT": "--out"},
    "release": {"CKPT": "", "OUT": "--out", "EPISODES": "--episodes", "SEED": "--seed"},
}

# NAME is replaced by the variable's name, so that the values of a command differ.
TEXTS = [
    "o'NAMEbrien",
    "a  NAME b",
    "a$NAME",
    "a$$NAME",
    "a$(NAME)${NAME}",
    "a$(NAME",
    "$(error NAME)$(shell touch NAME)",
    "a#NAME",
    "é/ü NAME 漢字",
    '"NAME"',
    "`touch NAME`",
    "a;NAME&b|c>d<e",
    "a\\NAME",
    "NAME\\",
    "a%NAME*?[x]{y,z}",
    "~NAME,b:c=d!e",
    "a'b\"NAME$c d#e",
    "NAME's x.onnx",
]


def test_every_text_variable_is_covered_and_quoted() -> None:
    text = (ROOT / "Makefile").read_text()
    covered = {name for options in TARGETS.values() for name in options}
    assert covered == {*VARIABLES} - {"ARGS", "ANNOTATED", "LIVE"}
    for name in VARIABLES:  # neither make nor the shell may expand a value
        assert f"$({name})" not in text, name
    recipes: dict[str, str] = dict(re.findall(r"^([a-z-]+):.*\n((?:\t.*\n)+)", text, re.MULTILINE))
    elsewhere = "".join(re.findall(r"^ELSEWHERE = .*$", text, re.MULTILINE))
    for target, options in TARGETS.items():
        recipe = recipes[target].replace("$(ELSEWHERE)", elsewhere)
        used = set(re.findall(r"\$\(call (?:option|quoted),([A-Z_]+)", recipe))
        assert used == set(options), target


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("typed", [True, False], ids=["typed", "from the environment"])
def test_the_program_receives_the_exact_value_of_every_variable(
    tmp_path: Path, target: str, text: str, typed: bool
) -> None:
    checkout = fake_checkout(tmp_path)
    values = {name: text.replace("NAME", name) for name in TARGETS[target]}
    given = words(checkout, target, values) if typed else words(checkout, target, {}, values)
    expected = [target]
    if target == "gallery":
        assert given == ["gallery", "--port", values["PORT"]]
        return
    for name, option in TARGETS[target].items():
        expected += [option, values[name]] if option else [values[name]]
    assert sorted(given) == sorted(expected)
    for name, option in TARGETS[target].items():
        before = option or target
        assert given[given.index(before) + 1] == values[name], name
    assert {path.name for path in checkout.iterdir()} == {
        "Makefile",
        "pyproject.toml",
        "requirements.lock",
        ".venv",
    }


@pytest.mark.parametrize(
    "target", [target for target, options in TARGETS.items() if target != "export"]
)
def test_a_value_of_several_lines_is_one_argument(tmp_path: Path, target: str) -> None:
    values = {name: f"{name}'s\n$x\n" for name in TARGETS[target]}
    given = words(fake_checkout(tmp_path), target, {}, values)
    assert {*values.values()} <= {*given}


def test_annotated_and_live_are_switches_for_any_value(tmp_path: Path) -> None:
    checkout = fake_checkout(tmp_path)
    given = words(checkout, "record", {"CKPT": "c", "OUT": "o", "ANNOTATED": "it's $x"})
    assert given == ["record", "c", "--out", "o", "--annotated"]
    assert words(checkout, "gallery", {"LIVE": "o'clock$"}) == ["gallery", "--live"]
    assert words(checkout, "gallery", {"LIVE": "0"}) == ["gallery"]


@pytest.mark.parametrize(
    "target",
    ["train", "eval", "record", "watch", "random", "frames", "sweep", "gallery", "release"],
)
def test_args_are_split_into_words_as_by_a_shell(tmp_path: Path, target: str) -> None:
    checkout = fake_checkout(tmp_path)
    needed: dict[str, str] = {
        name: "x" for name in ("GAME", "GAMES", "CKPT", "OUT") if name in TARGETS[target]
    }
    arguments = r"""--a.b '[2, 4]' --c.d="o'b \$x" --e.f 'a$b' --g.h a\ b --home "$HOME" $$"""
    given = words(checkout, target, {**needed, "ARGS": arguments}, {"HOME": "/home/o'brien $x"})
    words_of_shell = [
        "--a.b",
        "[2, 4]",
        "--c.d=o'b $x",
        "--e.f",
        "a$b",
        "--g.h",
        "a b",
        "--home",
        "/home/o'brien $x",
    ]
    assert given[-len(words_of_shell) - 1 : -1] == words_of_shell
    assert given[-1].isdecimal(), "$$ is the process id of the shell, as in a shell"


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        (["train", "GAME=LunarLander-v3"], ".box2d"),
        (["train", "GAME=pong"], None),
        (["train", "GAME=o'brien$(x% LunarLander"], ".box2d"),
        (["train", "GAME=pong$(error x)"], None),
        (["eval", "CKPT=o'brien/$x/LunarLander-v3/a b"], ".box2d"),
        (["eval", 'CKPT=o\'brien/$(error x)/100%/"q"'], None),
        (["record", "REPLAY=o'b/CarRacing-v3_x.json", "OUT=a.gif"], ".box2d"),
        (["sweep", "GAMES=pong,BipedalWalker$'-v3"], ".box2d"),
        (["export", "CKPT=c", "OUT=o'brien's $(x agent.onnx"], ".onnx"),
        (["export", "CKPT=c", "OUT=a.onnx b%"], None),
        (["export", "CKPT=c", "OUT=a.onnx/b.keras"], None),
        (["train", "GAME=pong", "ACTORS=$(x'"], ".distributed"),
        (["docs"], ".docs"),
    ],
)
def test_optional_packages_are_chosen_from_any_value_of_the_variables(
    tmp_path: Path, arguments: list[str], needed: str | None
) -> None:
    stamps = (".distributed",) if arguments[0] == "sweep" else ()
    answer = make("--dry-run", *arguments, cwd=fake_checkout(tmp_path, stamps))
    assert answer.returncode == 0, answer.stderr
    installed = re.findall(r"^\.venv/bin/pip .* -e '\.\[(.*)\]'$", answer.stdout, re.MULTILINE)
    assert [f".{extra}" for extra in installed] == ([needed] if needed else [])


def test_the_interpreter_may_have_any_path(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path / name)
    python = tmp_path / "o'brien $x #1" / "python"
    python.parent.mkdir()
    pip = "mkdir -p .venv/bin; ln -s /bin/true .venv/bin/pip"
    python.write_text(f'#!/bin/bash\necho "$@" >> asked; [ "$1" = -c ] || {{ {pip}; }}\n')
    python.chmod(0o755)
    answer = make("install", f"PYTHON={python}", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert (tmp_path / "asked").read_text().splitlines()[-1] == "-m venv .venv"
    python.write_text("#!/bin/bash\nexit 1\n")
    (tmp_path / ".venv" / ".installed").unlink()
    answer = make("install", f"PYTHON={python}", cwd=tmp_path)
    assert f"error: {python} is older than 3.11" in answer.stderr
