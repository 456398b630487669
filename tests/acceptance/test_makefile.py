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
    ".gpu",
)
# What builds the environment.
BUILDING = "'python3' tools/install.py\n"
TEXT = (ROOT / "Makefile").read_text(encoding="utf-8")
(TARGET_NAMES,) = re.findall(r"^TARGETS := (.*)$", TEXT, re.MULTILINE)
# The variables that each target accepts, except for those that all targets accept.
TAKEN = {
    target: names.split()
    for target, names in re.findall(r"^TAKES_([a-z-]+) := (.*)$", TEXT, re.MULTILINE)
}
VARIABLES = sorted({name for names in TAKEN.values() for name in names})


def of_a_shell() -> dict[str, str]:
    """Returns the environment without what ``make test ARGS=...`` passes on to the tests.

    A make that is started by another one would print which folders it enters, for example.
    """
    passed_on = ("MAKEFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "MFLAGS", "MAKEFILES", *VARIABLES)
    return {name: value for name, value in os.environ.items() if name not in passed_on}


def make(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Runs make as from a shell."""
    return subprocess.run(
        ["make", *arguments], cwd=cwd, env=of_a_shell(), capture_output=True, text=True
    )


def test_help_is_the_default_target_and_lists_every_target() -> None:
    text = make().stdout
    assert text == make("help").stdout
    assert max(map(len, text.splitlines())) <= 80, "a terminal would break the line"
    for target in TARGET_NAMES.split():
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
        (["eval", "EPISODES=3"], "atari-dqn eval --episodes '3'"),
        (["record", "OUT=a.gif"], "atari-dqn record --out 'a.gif'"),
        (["export", "CKPT=best", "OUT=a", "GAME=pong"], "--out 'a' --game 'pong'"),
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
        ("record", "OUT"),
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "GAME=pong", "STEP=1000"], "unknown variable STEP; did you mean STEPS? "),
        (["train", "game=pong"], "unknown variable game; did you mean GAME? "),
        (["eval", "CHECKPOINT=x"], "unknown variable CHECKPOINT; did you mean CKPT? "),
        (["train", "RUN_DIR=last"], "unknown variable RUN_DIR; did you mean RUN? "),
        (["games", "PYTHN=python3"], "unknown variable PYTHN; did you mean PYTHON? "),
        (["games", "A%B:=1"], "unknown variable A%B ('make help' lists all)"),
        (["lint", "ZZZ=$(error x) 'y\" # \\"], "unknown variable ZZZ ('make help' lists all)"),
        (["lint", "'Z=1"], "unknown variable 'Z ('make help' lists all)"),
        (["games", "ZZZ="], "unknown variable ZZZ ('make help' lists all)"),
        (
            ["eval", "STEPS=5"],
            "'make eval' does not take STEPS, only CKPT, ANNOTATED, GAME, PROTOCOL, EPISODES, "
            "SEED, GPU, ARGS.",
        ),
        (["games", "GAME=pong"], "'make games' does not take GAME, nor any other variable."),
        (["lint", "test", "GAME=pong"], "'make lint test' does not take GAME, only ARGS."),
        (["PORT=1"], "the target is missing: make TARGET PORT=..., and TARGET is one of gallery."),
        (["tran", "GAME=pong"], "unknown target tran; did you mean train? "),
        (["tests"], "unknown target tests; did you mean test? "),
        (["a'b$%"], "unknown target a'b$% ('make help' lists all)"),
    ],
)
def test_what_would_be_ignored_is_reported_before_anything_is_installed(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path / "Makefile")
    answer = make(*arguments, cwd=tmp_path)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert f"*** {message}" in answer.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["Makefile"]


def test_a_variable_is_accepted_if_one_of_the_targets_takes_it() -> None:
    printed = make("--dry-run", "train", "eval", "GAME=pong", "STEPS=9", "EPISODES=3").stdout
    assert "--total-steps '9'" in printed
    assert "--episodes '3'" in printed


@pytest.mark.parametrize("value", ["x STEP=5", "x\nSTEP=5", "\\ STEP=5", "a=b:=c", "$(STEP)=1"])
def test_no_value_looks_like_a_variable(value: str) -> None:
    answer = make("--dry-run", "eval", f"CKPT={value}", "SEED=3")
    assert answer.returncode == 0, answer.stderr


def test_variables_of_the_environment_are_not_refused() -> None:
    environment = of_a_shell() | {"STEP": "5", "STEPS": "5"}
    command = ["make", "--dry-run", "games"]
    subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)


def test_the_environment_is_rebuilt_only_when_the_pins_change(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path / name)
    assert BUILDING in make("--dry-run", "games", cwd=tmp_path).stdout
    installed = tmp_path / ".venv" / ".installed"
    installed.parent.mkdir()
    installed.touch()
    assert BUILDING not in make("--dry-run", "games", cwd=tmp_path).stdout
    with (tmp_path / "requirements.lock").open("a") as lock:
        lock.write("\n")
    newer = installed.stat().st_mtime + 10
    os.utime(tmp_path / "requirements.lock", (newer, newer))
    assert BUILDING in make("--dry-run", "games", cwd=tmp_path).stdout


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
    environment = of_a_shell() | (exported or {})
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
        "HIGHLIGHTS": "--highlights",
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
    "export": {"CKPT": "", "OUT": "--out", "GAME": "--game"},
    "release": {
        "CKPT": "",
        "OUT": "--out",
        "GAME": "--game",
        "EPISODES": "--episodes",
        "SEED": "--seed",
    },
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
    text = TEXT
    covered = {name for options in TARGETS.values() for name in options}
    assert covered == {*VARIABLES} - {"ARGS", "ANNOTATED", "LIVE", "GPU"}
    for name in VARIABLES:  # neither make nor the shell may expand a value
        assert f"$({name})" not in text, name
    recipes: dict[str, str] = dict(re.findall(r"^([a-z-]+):.*\n((?:\t.*\n)+)", text, re.MULTILINE))
    elsewhere = "".join(re.findall(r"^ELSEWHERE = .*$", text, re.MULTILINE))
    for target, options in TARGETS.items():
        recipe = recipes[target].replace("$(ELSEWHERE)", elsewhere)
        used = set(re.findall(r"\$\(call (?:option|quoted),([A-Z_]+)", recipe))
        assert used == set(options), target
    rules: dict[str, str] = dict(re.findall(r"^([a-z-]+)(:.*\n(?:\t.*\n)+)", text, re.MULTILINE))
    shared = dict(re.findall(r"^(ELSEWHERE|ANNOTATION|GPU_NEEDS) :?= (.*)$", text, re.MULTILINE))
    for target, names in TAKEN.items():  # the table lists exactly what a rule reads
        rule = rules[target]
        for name, value in shared.items():
            rule = rule.replace(f"$({name})", value)
        read = re.findall(r"(?:option|quoted),([A-Z_]+)|\$\(value ([A-Z_]+)\)", rule)
        assert {name for pair in read for name in pair} - {""} == set(names), target


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


@pytest.mark.parametrize(
    ("value", "option"),
    [
        ("1", ["--annotated"]),
        ("0", []),
        ("", []),
        ("saliency", ["--annotated=saliency"]),
        ("it's $x", ["--annotated=it's $x"]),
        ("0 1", ["--annotated=0 1"]),
    ],
)
def test_annotated_is_a_switch_or_passes_its_value(
    value: str, option: list[str], tmp_path: Path
) -> None:
    checkout = fake_checkout(tmp_path)
    values = {"CKPT": "c", "ANNOTATED": value}
    assert words(checkout, "record", {**values, "OUT": "o"}) == [
        "record",
        "c",
        "--out",
        "o",
        *option,
    ]
    for target in ("eval", "watch"):
        assert words(checkout, target, values) == [target, "c", *option]


def test_live_is_a_switch_for_any_value_but_0(tmp_path: Path) -> None:
    checkout = fake_checkout(tmp_path)
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
    installed = re.findall(
        r"^\.venv/bin/python tools/install\.py (.*)$", answer.stdout, re.MULTILINE
    )
    assert [f".{extra}" for extra in installed] == ([needed] if needed else [])


def test_the_interpreter_may_have_any_path(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path / name)
    python = tmp_path / "o'brien $x #1" / "python"
    python.parent.mkdir()
    python.write_text('#!/bin/bash\necho "$@" >> asked; [ "$1" = -c ] || mkdir .venv\n')
    python.chmod(0o755)
    answer = make("install", f"PYTHON={python}", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert (tmp_path / "asked").read_text().splitlines()[-1] == "tools/install.py"
    python.write_text("#!/bin/bash\nexit 1\n")
    (tmp_path / ".venv" / ".installed").unlink()
    answer = make("install", f"PYTHON={python}", cwd=tmp_path)
    assert f"error: {python} is older than 3.11" in answer.stderr


def test_a_failed_installation_does_not_count_and_is_repeated(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path / name)
    python = tmp_path / "python"
    python.write_text('#!/bin/bash\n[ "$1" = -c ] || { mkdir .venv && exit 2; }\n')
    python.chmod(0o755)
    for _ in range(2):  # the second time, mkdir would fail if the folder were still there
        answer = make("games", f"PYTHON={python}", cwd=tmp_path)
        assert answer.returncode == 2
        assert "mkdir" not in answer.stderr
        assert not any((tmp_path / ".venv").iterdir())


# Stand-ins for nvidia-smi: a GPU, a driver that is not loaded, and one that never answers.
ANSWERS = "#!/bin/bash\necho asked >> asked\n"
FAILS = "#!/bin/bash\nexit 9\n"
HANGS = "#!/bin/bash\nsleep 100\n"


def make_with_nvidia_smi(
    checkout: Path, nvidia_smi: str | None, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Runs make with a stand-in for nvidia-smi, or without one.

    The checkout's Python only writes what it is asked to install to the file ``installed``. Its
    program prints whether the GPU is hidden.
    """
    python = checkout / ".venv" / "bin" / "python"
    python.write_text('#!/bin/bash\necho "$2" >> installed; [ ! -e broken ]\n')
    python.chmod(0o755)
    program = checkout / ".venv" / "bin" / "atari-dqn"
    program.write_text('#!/bin/bash\necho "$1, hidden: ${CUDA_VISIBLE_DEVICES-no}"\n')
    folder = checkout / "programs"
    folder.mkdir(exist_ok=True)
    if nvidia_smi is not None:
        (folder / "nvidia-smi").write_text(nvidia_smi)
        (folder / "nvidia-smi").chmod(0o755)
    # Without the folders of a real nvidia-smi.
    for name in ("bash", "timeout", "touch", "sleep"):
        found = shutil.which(name)
        assert found is not None
        if not (folder / name).exists():
            (folder / name).symlink_to(found)
    environment = of_a_shell() | {"PATH": str(folder)}
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    program_of_make = shutil.which("make")
    assert program_of_make is not None
    return subprocess.run(
        [program_of_make, *arguments],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
    )


def without_gpu_stamp(tmp_path: Path) -> Path:
    """Creates a checkout in which everything is installed except for the GPU's libraries."""
    return fake_checkout(tmp_path, tuple(stamp for stamp in STAMPS if stamp != ".gpu"))


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize(
    ("arguments", "installs"),
    [
        (["train", "GAME=pong"], True),
        (["eval", "CKPT=c"], True),
        (["release", "CKPT=c", "OUT=o"], True),
        (["sweep", "GAMES=pong", "ARGS=--gpus 0.5"], True),
        (["sweep", "GAMES=pong"], False),
        (["train", "GAME=pong", "GPU=0"], False),
        (["games"], False),
        (["gallery"], False),
    ],
)
def test_the_libraries_for_a_gpu_are_installed_once_where_one_answers(
    tmp_path: Path, arguments: list[str], installs: bool
) -> None:
    checkout = without_gpu_stamp(tmp_path)
    for attempt in range(2):
        answer = make_with_nvidia_smi(checkout, ANSWERS, *arguments)
        assert answer.returncode == 0, answer.stderr
        said = "nvidia-smi finds a GPU, so its libraries are installed (GPU=0 declines)\n"
        assert answer.stderr == (said if installs and attempt == 0 else "")
        hidden = "" if "GPU=0" in arguments else "no"
        assert answer.stdout == f"{arguments[0]}, hidden: {hidden}\n"
    assert lines_of(checkout / "installed") == (["gpu"] if installs else [])
    assert lines_of(checkout / "asked") == (["asked"] if installs else []), "it is asked once"


@pytest.mark.parametrize("nvidia_smi", [FAILS, HANGS, None], ids=["fails", "hangs", "missing"])
def test_without_an_answer_the_processor_is_used_unless_gpu_is_1(
    tmp_path: Path, nvidia_smi: str | None
) -> None:
    checkout = without_gpu_stamp(tmp_path)
    answer = make_with_nvidia_smi(checkout, nvidia_smi, "train", "GAME=pong")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "train, hidden: no\n"
    assert answer.stderr.startswith("note: nvidia-smi finds no GPU" if nvidia_smi else "")
    assert len(answer.stderr.splitlines()) == (1 if nvidia_smi else 0)
    assert not (checkout / "installed").exists()
    answer = make_with_nvidia_smi(checkout, nvidia_smi, "train", "GAME=pong", "GPU=1")
    assert answer.returncode == 0, answer.stderr
    assert lines_of(checkout / "installed") == ["gpu"]
    assert (checkout / ".venv" / ".gpu").exists()


def test_a_failed_installation_for_a_gpu_is_repeated_and_can_be_declined(tmp_path: Path) -> None:
    checkout = without_gpu_stamp(tmp_path)
    (checkout / "broken").touch()
    assert make_with_nvidia_smi(checkout, ANSWERS, "train", "GAME=pong").returncode == 2
    answer = make_with_nvidia_smi(checkout, ANSWERS, "train", "GAME=pong", "GPU=0")
    assert answer.stdout == "train, hidden: \n"
    (checkout / "broken").unlink()
    assert make_with_nvidia_smi(checkout, ANSWERS, "train", "GAME=pong").returncode == 0
    assert lines_of(checkout / "installed") == ["gpu", "gpu"]


def test_another_value_of_gpu_is_an_error(tmp_path: Path) -> None:
    answer = make("train", "GAME=pong", "GPU=yes", cwd=fake_checkout(tmp_path))
    assert answer.returncode == 2
    assert "GPU is 0 (use no GPU), 1 (" in answer.stderr
