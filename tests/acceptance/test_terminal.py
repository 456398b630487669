"""Tests commands in a terminal that is closed, with Ctrl-C and other signals, and in pipes."""

import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atari_dqn.runs import checkpoint
from atari_dqn.runs.lock import is_held
from tests import forked
from tests.terminal import Screen, run_in_terminal

COMMAND = [sys.executable, "-m", "atari_dqn"]
TRAIN = [*COMMAND, "train", "--game", "CartPole-v1", "--run-dir", "./run", "--videos", "videos"]
# One update of a small network is due in each step, so that the graph is quickly built.
SHORT = ["--training.warmup_steps", "100", "--training.evaluation_episodes", "1"]
SHORT += ["--training.update_period", "8", "--network.mlp_layers", "[16]"]
LONG = ["--total-steps", "1000000", "--training.evaluation_period", "0", *SHORT]


def test_a_background_run_in_a_terminal_records_its_evaluation(tmp_path: Path) -> None:
    command = [*TRAIN, *SHORT, "--total-steps", "200", "--training.evaluation_period", "200"]
    answer = run_in_terminal(command, tmp_path, background=True)
    assert answer.code == 0, answer.screen
    assert "complete: 200 agent steps" in answer.screen
    assert sorted(path.suffix for path in tmp_path.glob("videos/*/*/*")) == [
        ".gif",
        ".json",
        ".mp4",
    ]


def shown_in(screen: str, columns: int) -> Screen:
    """Returns what a terminal showed, after checking that every line fits into it.

    Only a path may be longer, on a line of its own.
    """
    shown = Screen(screen)
    too_long = [line for line in shown.seen if len(line) > columns and len(line.split()) > 1]
    assert not too_long
    assert not any(re.search(r"\bnan\b", line) for line in shown.seen)
    return shown


def pasted(screen: Screen, name: str) -> list[str]:
    """Returns the command of a name that a command suggested, as a shell would run it."""
    (line,) = [line for line in screen.lines if line.startswith(f"  atari-dqn {name} ")]
    return [*COMMAND, *shlex.split(line)[1:]]


def test_every_wait_is_named_in_80_columns_and_the_suggested_commands_run(tmp_path: Path) -> None:
    train = [*COMMAND, "train", "--game", "CartPole-v1", "--run-dir", "first", *SHORT]
    train += ["--total-steps", "400", "--training.evaluation_period", "200"]
    answer = run_in_terminal([*train, "--verbose"], tmp_path, columns=80)
    assert answer.code == 0, answer.screen
    shown = shown_in(answer.screen, 80)
    for text in (
        "loading TensorFlow",
        "building the network",
        "building the graphs of the network",
        "warming up: random play until step 100, at step ",
        "evaluating 1 episode ",
        "recording GIF and MP4",
        "saving a checkpoint",
    ):
        assert any(line.startswith(text) for line in shown.seen), text
    assert "network: mlp torso, plain head, 2 actions, " in answer.screen
    assert "Total params: " in answer.screen

    evaluate = [*pasted(shown, "eval"), "--episodes", "3"]
    evaluated = run_in_terminal(evaluate, tmp_path, columns=80, forked=True)
    assert evaluated.code == 0, evaluated.screen
    after_evaluation = shown_in(evaluated.screen, 80)
    assert any(line.startswith("evaluating 3 episodes") for line in after_evaluation.seen)

    extended = run_in_terminal(pasted(shown, "train"), tmp_path, columns=80, forked=True)
    assert extended.code == 0, extended.screen
    restored = shown_in(extended.screen, 80)
    assert "continuing at step 400" in restored.lines
    assert any(line.startswith("complete: 800 agent steps") for line in restored.lines)
    assert any(line.startswith("reading the checkpoint") for line in restored.seen)

    record = pasted(after_evaluation, "record")
    recorded = run_in_terminal(record, tmp_path, columns=80, forked=True)
    assert recorded.code == 0, recorded.screen
    assert (tmp_path / "episode.gif").is_file()
    shown_in(recorded.screen, 80)


def test_an_interrupted_run_in_a_terminal_suggests_the_commands_that_come_next(
    tmp_path: Path,
) -> None:
    words = [*COMMAND, "train", "--game", "CartPole-v1", "--run-dir", "first", *LONG]
    words += ["--training.log_period", "100"]
    metrics = tmp_path / "checkpoints" / "CartPole-v1" / "first" / "metrics.csv"

    def has_learned() -> bool:
        return metrics.is_file() and metrics.read_text().count("\n") > 2

    answer = run_in_terminal(words, tmp_path, columns=80, ctrl_c_when=has_learned, forked=True)
    assert answer.code == 130, answer.screen
    shown = shown_in(answer.screen, 80)
    assert any(line.endswith("and saved; to continue:") for line in shown.lines)
    assert pasted(shown, "eval") == [*COMMAND, "eval", "first"]
    saved = checkpoint.load(metrics.parent).step
    longer = [*pasted(shown, "train"), "--total-steps", str(saved + 100)]
    again = run_in_terminal(longer, tmp_path, columns=80, forked=True)
    assert again.code == 0, again.screen
    assert f"continuing at step {saved:,}" in shown_in(again.screen, 80).lines


@pytest.mark.parametrize("columns", [80, 60])
def test_the_list_of_games_fits_the_terminal(columns: int, tmp_path: Path) -> None:
    answer = run_in_terminal([*COMMAND, "games"], tmp_path, columns=columns)
    assert answer.code == 0
    assert "ZaxxonDeterministic-v4" in answer.screen
    shown_in(answer.screen, columns)


def test_a_sweep_in_a_terminal_ends_and_records(tmp_path: Path) -> None:
    command = [*COMMAND, "sweep", "--games", "CartPole-v1", "--total-steps", "200", *SHORT]
    command += ["--training.evaluation_period", "200", "--episodes", "1", "--out", "s"]
    answer = run_in_terminal(command, tmp_path)
    assert answer.code == 0, answer.screen
    assert "1 done" in answer.screen
    assert len(list(tmp_path.glob("s/videos/*/*/*.mp4"))) >= 2


AnyProcess = subprocess.Popen[str] | forked.Process


def start(command: list[str], cwd: Path, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(command, cwd=cwd, stderr=subprocess.PIPE, text=True, **options)


def read_until(process: AnyProcess, words: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return
    raise AssertionError(f"the process ended before it printed '{words}'")


def close(process: AnyProcess) -> None:
    assert process.stderr is not None
    process.stderr.close()


WAYS: dict[str, Callable[[AnyProcess], object]] = {
    "Ctrl-C": lambda process: process.send_signal(signal.SIGINT),
    "SIGTERM": lambda process: process.send_signal(signal.SIGTERM),
    "the terminal goes away": lambda process: process.send_signal(signal.SIGHUP),
    "the reader goes away": close,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_run_is_saved_whichever_way_it_is_stopped(way: str, tmp_path: Path) -> None:
    arguments = [*TRAIN[len(COMMAND) :], *LONG, "--training.log_period", "100"]
    process = forked.Process(arguments, tmp_path)
    metrics = tmp_path / "run" / "metrics.csv"
    read_until(process, "run directory")
    while not (metrics.is_file() and metrics.read_text().count("\n") > 2):
        assert process.poll() is None
        time.sleep(0.02)
    WAYS[way](process)
    if way == "the reader goes away":
        assert process.wait(timeout=300) == 130
    else:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 130
        assert "interrupted at step" in errors
    saved = checkpoint.load(tmp_path / "run")
    last = metrics.read_text().splitlines()[-1]
    assert 0 <= saved.step - int(last.partition(",")[0]) < 100, (
        "the run must be saved soon after the signal"
    )


@pytest.mark.parametrize("way", ["the terminal is closed", "Ctrl-C with tee"])
def test_several_signals_at_once_still_save_the_run(way: str, tmp_path: Path) -> None:
    """The shell, the kernel and a closed pipe stop the run at the same moment."""
    train = shlex.join([*TRAIN, *LONG, "--training.log_period", "100"])
    line = f"{train} 2>&1 | tee log" if way == "Ctrl-C with tee" else f"{train}; true"
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(tmp_path)
        os.execvp("bash", ["bash", "-c", line])
    metrics = tmp_path / "run" / "metrics.csv"
    while not (metrics.is_file() and metrics.read_text().count("\n") > 2):
        if select.select([terminal], [], [], 0.1)[0]:
            os.read(terminal, 65536)
    if way == "Ctrl-C with tee":
        os.write(terminal, b"\x03")
        while select.select([terminal], [], [], 60)[0]:
            try:
                os.read(terminal, 65536)
            except OSError:
                break
    os.close(terminal)
    os.waitpid(process, 0)
    lock = tmp_path / "run"
    while is_held(lock):
        time.sleep(0.1)
    assert checkpoint.load(tmp_path / "run").step > 0


# A program that blocks in the given function for longer than a test waits, and reports it.
BLOCKED = """
import sys, time
from atari_dqn import cli
from atari_dqn.agent import agent
from atari_dqn.runs import checkpoint
def still(*arguments, **options):
    print("standing still", file=sys.stderr, flush=True)
    time.sleep(600)
{where} = still
cli.command()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("checkpoint.load", "interrupted\n"),
        # The warm-up, whose 100 steps do not wait for the graphs, may have begun.
        ("agent.Agent._blank_batch", r"interrupted at step \d{1,3} of 1,000,000 and saved"),
    ],
    ids=["restoring", "building graphs"],
)
def test_a_signal_interrupts_a_command_that_is_blocked(
    where: str, expected: str, number: signal.Signals, tmp_path: Path
) -> None:
    (tmp_path / "run" / "step-000000100").mkdir(parents=True)
    if where == "checkpoint.load":
        (tmp_path / "run" / "step-000000100" / "manifest.json").touch()
    program = BLOCKED.format(where=where)
    process = forked.Process([*TRAIN[len(COMMAND) :], *LONG], tmp_path, program=program)
    read_until(process, "standing still")
    process.send_signal(number)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert re.search(expected, errors)
    assert "Traceback" not in errors


@pytest.mark.parametrize("module", ["numpy", "ale_py", "pydantic", "atari_dqn.config.resolve"])
def test_ctrl_c_during_imports_is_a_one_line_error(module: str, tmp_path: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "atari_dqn", "games"]
    process = start(command, tmp_path, stdout=subprocess.DEVNULL)
    read_until(process, f" {module}\n")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    lines = [line for line in errors.splitlines() if not line.startswith("import time:")]
    assert (process.returncode, lines) == (130, ["interrupted"])


def test_a_closed_standard_output_is_a_one_line_error(tmp_path: Path) -> None:
    options: dict[str, Any] = {"preexec_fn": lambda: os.close(1)}
    for words in (["games"], ["random", "--game", "pong"], TRAIN[len(COMMAND) :]):
        process = start([*COMMAND, *words], tmp_path, **options)
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 2
        assert errors == "error: standard output is closed; redirect it to /dev/null\n"
    assert list(tmp_path.iterdir()) == []


def test_a_full_standard_output_is_a_one_line_error(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        process = start([*COMMAND, "games"], tmp_path, stdout=full)
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 2
    assert errors == "error: No space left on device\n"


DRAWING = """
import signal
from pathlib import Path
from atari_dqn import load_config
from atari_dqn.environments.environments import make_game
config, _ = load_config("CartPole-v1")
game = make_game(config.spec, config.environment, 1000)
game.reset(1)
game.screen()
status = Path("/proc/self/status").read_text().splitlines()
caught = int(next(line.split()[1] for line in status if line.startswith("SigCgt")), 16)
print(caught >> (signal.SIGTERM - 1) & 1)
"""


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="this system does not list caught signals"
)
def test_drawing_installs_no_signal_handler_and_prints_nothing(tmp_path: Path) -> None:
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    command = [sys.executable, "-c", DRAWING]
    answer = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert (answer.stdout, answer.stderr) == ("0\n", "")
