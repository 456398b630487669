"""Tests the installation with a stand-in for the Python of .venv, which does what pip would do."""

import os
import pty
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.terminal import run_in_terminal
from tools.install import EXTRAS, Output

ROOT = Path(__file__).parents[2]
SCRIPT = str(ROOT / "tools" / "install.py")
COLUMNS = 80
PIP = r"""#!/bin/bash
printf '%s\n' "$@" > asked
sleep 0.7
echo 'Collecting tensorflow>=2.20 (from atari-dqn==0.2.0)'
echo '  Downloading tensorflow-2.21.0-cp311-cp311-manylinux_2_27_x86_64.whl (572.4 MB)'
sleep 0.7
echo 'Processing /wheels/numpy-2.4.6-cp311-cp311-manylinux_2_28_x86_64.whl (from tensorflow)'
sleep 0.7
echo 'Installing collected packages: numpy, tensorflow'
sleep 0.7
mkdir -p .venv/lib/python3.11/site-packages/numpy-2.4.6.dist-info
sleep 0.7
"""
AT_ONCE = PIP.replace("sleep 0.7\n", "")


def environment(tmp_path: Path, python: str) -> Path:
    """Creates a folder with an environment whose Python is a shell script, and returns it."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    program = tmp_path / ".venv" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text(python)
    program.chmod(0o755)
    return tmp_path


def install(cwd: Path, extra: str = "gallery") -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, SCRIPT, extra], cwd=cwd, capture_output=True, text=True)


def test_every_extra_is_announced_in_one_line_of_a_terminal(tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {*EXTRAS} - {""} == {*project["optional-dependencies"]}
    cwd = environment(tmp_path, "#!/bin/bash\n")
    for extra in {*EXTRAS} - {""}:
        announced = install(cwd, extra).stderr.splitlines()[0]
        assert announced.startswith(f"Installing {EXTRAS[extra][0]} into .venv (once, ")
    assert all(len("".join(words)) < COLUMNS - 30 for words in EXTRAS.values())


def test_a_terminal_shows_what_pip_does_and_for_how_long(tmp_path: Path) -> None:
    code, screen = run_in_terminal(
        [sys.executable, SCRIPT, "gallery"], environment(tmp_path, PIP), seconds=60
    )
    assert code == 0
    lines = [line.removeprefix("\x1b[K") for line in screen.replace("\n", "").split("\r")]
    assert lines[0].startswith("Installing packages for pages with charts into .venv (once, ")
    shown = [line for line in lines if " ... " in line]
    for part in (
        "looking for packages ... 00:0",
        "fetching packages: 1, now tensorflow (572.4 MB) ... 00:0",
        "fetching packages: 2, now numpy ... 00:0",
        "unpacking packages: 0 of 2 ... 00:0",
        "unpacking packages: 1 of 2 ... 00:0",
    ):
        assert any(line.startswith(part) for line in shown), part
    assert all(len(line) < COLUMNS for line in lines)
    assert lines[-2].startswith("Installed in ")


def test_two_lines_are_printed_where_there_is_no_terminal(tmp_path: Path) -> None:
    answer = install(environment(tmp_path, AT_ONCE))
    assert answer.returncode == 0
    assert answer.stdout == ""
    first, last = answer.stderr.splitlines()
    assert first.startswith("Installing ")
    assert last.startswith("Installed in ")


def test_pip_gets_the_pins_and_the_requirements_of_the_extra_alone(tmp_path: Path) -> None:
    cwd = environment(tmp_path, AT_ONCE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    install(cwd)
    asked = (cwd / "asked").read_text().splitlines()
    assert asked[:3] == ["-m", "pip", "install"]
    assert asked[asked.index("-c") + 1 :] == ["requirements.lock", *extras["gallery"]]
    install(cwd, "dev")
    asked = (cwd / "asked").read_text().splitlines()
    assert {*extras["gallery"], *extras["plot"], *extras["dev"][1:]} <= {*asked}
    assert not any("atari-dqn" in word for word in asked), "a registry may hold another atari-dqn"


def test_a_failure_shows_the_whole_error_of_pip(tmp_path: Path) -> None:
    error = "\n".join(f"ERROR: line {number} é" for number in range(5000))
    (tmp_path / "error").write_text(error)
    answer = install(
        environment(tmp_path, "#!/bin/bash\necho Collecting jinja2\ncat error >&2\nexit 1\n")
    )
    assert answer.returncode == 2
    assert f"Collecting jinja2\n{error}\nerror: the installation failed" in answer.stderr
    assert "Installed" not in answer.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_pip_too(tmp_path: Path, number: signal.Signals) -> None:
    cwd = environment(tmp_path, "#!/bin/bash\necho $$ > number; mv number started\nexec sleep 60\n")
    terminal, end = pty.openpty()
    process = subprocess.Popen([sys.executable, SCRIPT, "gallery"], cwd=cwd, stderr=end)
    screen = b""
    while not (b"looking for packages" in screen and (cwd / "started").exists()):
        screen += os.read(terminal, 4096)
    process.send_signal(number)
    assert process.wait(timeout=30) == 130
    screen = os.read(terminal, 65536)
    assert screen.endswith(b"interrupted. The same command starts it again.\r\n")
    with pytest.raises(ProcessLookupError):
        os.kill(int((cwd / "started").read_text()), 0)


def test_the_package_itself_gets_a_new_environment(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/bash\n")
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    # pip fails at once, because nothing can be built here.
    answer = subprocess.run(
        [sys.executable, SCRIPT],
        cwd=tmp_path,
        env={**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""},
        capture_output=True,
        text=True,
    )
    assert (tmp_path / ".venv" / "bin" / "pip").is_file()
    assert answer.returncode == 2
    assert "ERROR: " in answer.stderr
    assert answer.stderr.endswith("error: the installation failed; the same command tries again\n")


def test_packages_are_named_as_pip_lists_them() -> None:
    output = Output("at first")
    assert output.summary() == "at first"
    for line, name in (
        ("Collecting ray[tune]>=2.50 (from atari-dqn==0.2.0)", "1, now ray"),
        ("  Using cached x-1.0-py3-none-any.whl.metadata (2.0 kB)", "1, now ray"),
        ("  Downloading x-1.0-py3-none-any.whl.metadata (2.0 kB)", "1, now ray"),
        ("  Downloading x_y-1.0-py3-none-any.whl (2.0 kB)", "1, now x_y (2.0 kB)"),
        ("Requirement already satisfied: numpy", "1, now x_y (2.0 kB)"),
        ("Processing /wheels/z-2.0.whl", "2, now z"),
    ):
        output.read(line)
        assert output.summary() == f"fetching packages: {name}", line
