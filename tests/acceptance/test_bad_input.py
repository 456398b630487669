"""Wrong input and unusable files give a one-line error and exit code 2, and no data is lost.

Each entry of ``BAD_WORDS`` and ``BAD_CHECKPOINTS`` is one case, and so is each test below them.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from atari_dqn.runs import checkpoint
from tests import forked
from tests.acceptance.commands import GAME, SMALL, run, run_anew, run_in_process

BAD_COMMANDS = [
    (
        ["train", "--game", "pong", "--actors", "3"],
        "training.environments = 16 cannot be divided equally among 3 actors",
    ),
    (["train", "--game", "pong", "--address", "auto"], "it needs --actors N"),
    (["train", "--game", "BrekoutDeterministic-v4"], "did you mean 'BreakoutDeterministic-v4'?"),
    (
        ["train", "--game", "BreakoutDeterministic-v7"],
        "the ids of Breakout are Breakout, BreakoutDeterministic-v0,",
    ),
    (["train", "--game", "os:system"], "unknown game 'os:system'"),
    (["train", "--game", GAME, "--agent.gama", "1"], "did you mean 'agent.gamma'?"),
    (
        ["train", "--game", GAME, "--machine.compile", "yes"],
        "machine.compile = 'yes': Input should be 'auto', true or false",
    ),
    (["train", "--game", GAME, "--agent.gamma", "2"], "agent.gamma = 2"),
    (["train", "--game", GAME, "--agent.gamma", "high"], "agent.gamma = 'high'"),
    (["train", "--game", GAME, "--agent.n_step", "2.5"], "agent.n_step = 2.5"),
    (["train", "--game", GAME, "--agent.gamma"], "--agent.gamma needs a value"),
    (["train", "--game", GAME, "--network.torso", "natur"], "did you mean 'nature'?"),
    (["train", "--game", GAME, "--config", "natur"], "did you mean 'nature'?"),
    (["train", "--game", GAME, "--protocol", "dopmine"], "did you mean 'dopamine'?"),
    (["train", "--game", GAME, "--protocol", "dopamine"], "contradicts"),
    (["train", "--game", GAME, "--total-steps", "many"], "training.total_steps = 'many'"),
    (["train", "--game", GAME, "--run-dir", "last"], "no run in"),
    (["train", "--game", GAME, "--init-from", "nowhere"], "no checkpoint at 'nowhere'"),
    (["train", "--game", GAME, "--replay.capacity", "100_000_000_000"], "a capacity of "),
    (["train", "--game", GAME, "--replay.capacity", "100"], "at least"),
    (["train", "--game", "Acrobot-v1"], "choose a recipe for vectors"),
    (
        ["train", "--game", "Pendulum-v1", "--config", "cartpole"],
        "needs a fixed set of actions",
    ),
    (
        ["train", "--game", "CartPole-v1", "--environment.frame_skip", "4"],
        "stepped without changes",
    ),
    (["train", "--game", GAME, "--root", "/proc/runs"], "cannot write to '/proc/runs/"),
    (["train", "--game", GAME, "--init-from", ""], "init-from is empty"),
    (["train", "--game", GAME, "--run-dir", ""], "run-dir is empty"),
    (["train", "--game", GAME, "--root= "], "root is empty"),
    (["eval", ""], "CKPT is empty"),
    (["plot", "nowhere", ""], "RUNS is empty"),
    (["train"], "--game"),
    (["trian"], "trian"),
    ([], "command"),
    (["eval", "nowhere"], "no checkpoint at 'nowhere'"),
    (["eval", "brekout"], "did you mean 'breakout'?"),
    (["eval", "breakout"], "there is no run of breakout with a checkpoint"),
    (["eval"], "there is no run with a checkpoint"),
    (["eval", "best", "--game", "pong"], "there is no run of pong with a checkpoint"),
    (["export", "nowhere", "--out", "a.keras", "--game", "pong"], "it needs CKPT 'last' or 'best'"),
    (["eval", "nowhere", "--episodes", "0"], "'0' is not a whole number from 1"),
    (["eval", "nowhere", "--epsilon", "2"], "'2' is not a probability"),
    (["eval", "nowhere", "--agent.gamma", "1"], "unknown argument '--agent.gamma'"),
    (
        ["record", "nowhere", "--out", "episode.avi"],
        "must end in .gif or .mp4, as in 'episode.gif'",
    ),
    (["record", "--out", "a.gif"], "there is no run with a checkpoint"),
    (
        ["record", "nowhere", "--out", "a.gif", "--replay", "b.json"],
        "needs either a checkpoint or --replay",
    ),
    (
        ["record", "--replay", "nowhere.json", "--out", "a.gif"],
        "'nowhere.json' could not be read: No such file",
    ),
    (
        ["record", "--replay", "b.gif", "--out", "a.gif"],
        "--replay takes the JSON file beside a recording, not 'b.gif'; did you mean 'b.json'?",
    ),
    (["record", "--replay", "/", "--out", "a.gif"], "the JSON file beside a recording, not '/'"),
    (
        ["record", "--replay", "b.json", "--out", "a.gif", "--seed", "2"],
        "--seed needs a checkpoint",
    ),
    (
        ["record", "--replay", "b.json", "--out", "a.gif", "--annotated"],
        "--annotated needs a checkpoint",
    ),
    (
        ["record", "nowhere", "--out", "a.gif", "--annotated", "salency"],
        "'salency' is not one of values, saliency; did you mean 'saliency'?",
    ),
    (
        ["record", "--annotated", "nowhere", "--out", "a.gif"],
        "'nowhere' is not one of values, saliency; without a value it comes after CKPT",
    ),
    (
        ["record", "nowhere", "--out", "a.gif", "--highlights", "0"],
        "'0' is not a whole number from 1 to 1800",
    ),
    (
        ["record", "nowhere", "--out", "a.gif", "--scale", "5"],
        "'5' is not a whole number from 1 to 4",
    ),
    (["frames", "--game", GAME, "--out", "a.jpg"], "must end in .png"),
    (["frames", "--game", "CartPole-v1", "--out", "a.png"], "has vectors as observations"),
    (
        ["frames", "--game", "breakout", "--out", "a.png", "--after", "5000"],
        "choose another seed, or a smaller --after",
    ),
    (["config", "natur"], "did you mean 'nature'?"),
]

BAD_CHECKPOINTS = [
    (["eval", "{run}", "--game", "Pong"], "plays BreakoutDeterministic-v4, not Pong"),
    (
        ["eval", "{run}", "--game", "breakout", "--protocol", "machado"],
        "the number of actions is 4, but",
    ),
    (["eval", "{run}", "--protocol", "dopamine"], "contradicts"),
    (["eval", "{empty}"], "no complete checkpoint in"),
    (["eval", "{truncated}"], "damaged checkpoint: "),
    (["eval", "{newer}"], "has checkpoint format 99"),
    (["eval", "{file}"], "no checkpoint at"),
    (["eval", "{run}", "--videos", "{file}"], "is not a directory"),
    (["record", "{run}", "--out", "{file}/episode.gif"], "is not a directory"),
    (
        ["record", "{run}", "--out", "a.gif", "--highlights", "121"],
        "--highlights 121: recording.max_seconds allows 120 s in a .gif, or record an .mp4",
    ),
    (
        ["export", "{run}", "--out", "agent.h5"],
        "give NAME.keras, NAME.onnx, or a name without a dot",
    ),
    (["export", "nowhere", "--out", "agent.keras"], "nowhere"),
    (["export", "{run}"], "--out"),
    (["digest", "{truncated}"], "damaged checkpoint: "),
    (["train", "--game", GAME, "--root", "{file}"], "is not a directory"),
    (["train", "--game", GAME, "--videos", "{file}"], "is not a directory"),
    (
        ["train", "--game", GAME, "--init-from", "{run}", "--network.head", "dueling", *SMALL],
        "its head is q, this run's dueling",
    ),
    (["train", "--game", GAME, "--init-from", "{truncated}", *SMALL], "damaged checkpoint: "),
    (
        ["train", "--game", GAME, "--run-dir", "{run}", "--agent.gamma", "0.5"],
        "has agent.gamma = 0.99 and cannot continue",
    ),
    (
        ["train", "--game", GAME, "--run-dir", "{run}", "--init-from", "{run}"],
        "already has a checkpoint",
    ),
    (
        ["train", "--game", "Pong", "--run-dir", "{run}"],
        "this run plays BreakoutDeterministic-v4, not Pong",
    ),
]


def last_line(answer: subprocess.CompletedProcess[str], alone: bool = True) -> str:
    lines = answer.stderr.splitlines()
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:]
    assert len(lines) == 1 or not alone
    return lines[-1]


@pytest.mark.parametrize(("arguments", "message"), BAD_COMMANDS)
def test_an_invalid_command_is_a_one_line_error_and_leaves_no_files(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    answer = run_in_process(*arguments, cwd=tmp_path, expect=2)
    assert message in last_line(answer, alone=False)
    assert answer.stdout == ""
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


@pytest.mark.parametrize("message", ["trian", "training.total_steps = 'many'", "a capacity of "])
def test_an_invalid_command_in_its_own_process_exits_with_code_2(
    tmp_path: Path, message: str
) -> None:
    arguments = next(arguments for arguments, its_message in BAD_COMMANDS if its_message == message)
    answer = run_anew(*arguments, cwd=tmp_path, expect=2)
    assert message in last_line(answer, alone=False)
    assert answer.stdout == ""


@pytest.fixture(scope="module")
def places(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("places")
    places = {name: root / name for name in ("run", "empty", "truncated", "newer", "file")}
    for name in ("run", "truncated", "newer"):
        shutil.copytree(trained / "checkpoints" / GAME / "first", places[name])
    places["empty"].mkdir()
    places["file"].write_text("not a directory")
    arrays = next(places["truncated"].glob("step-*/arrays.npz"))
    os.truncate(arrays, arrays.stat().st_size // 2)
    manifest = next(places["newer"].glob("step-*/manifest.json"))
    content = json.loads(manifest.read_text()) | {"format": 99}
    del content["sha256"]
    manifest.write_text(json.dumps(content))
    return places


@pytest.mark.parametrize(("arguments", "message"), BAD_CHECKPOINTS)
def test_an_unusable_checkpoint_or_directory_is_a_one_line_error(
    tmp_path: Path, places: dict[str, Path], arguments: list[str], message: str
) -> None:
    before = {
        path: path.stat().st_mtime_ns
        for path in places["run"].rglob("*")
        if path.name != "run.lock"
    }
    answer = run_in_process(
        *(argument.format(**places) for argument in arguments), cwd=tmp_path, expect=2
    )
    assert message in last_line(answer, alone=False)
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"
    assert {
        path: path.stat().st_mtime_ns
        for path in places["run"].rglob("*")
        if path.name != "run.lock"
    } == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_write_permission_is_a_one_line_error(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    answer = run("train", "--game", GAME, "--root", str(closed), cwd=tmp_path, expect=2)
    assert "no permission to write in" in last_line(answer)


def test_a_run_directory_in_use_by_another_process_is_refused(tmp_path: Path) -> None:
    command = ["train", "--game", GAME, "--run-dir", "mine", *SMALL]
    process = forked.Process(command, tmp_path)
    try:
        metrics = tmp_path / "checkpoints" / GAME / "mine" / "metrics.csv"
        while not (metrics.is_file() and metrics.stat().st_size):
            assert process.poll() is None
            time.sleep(0.1)
        answer = run(*command, cwd=tmp_path, expect=2)
        assert f"'checkpoints/{GAME}/mine' is in use by process {process.pid}" in last_line(answer)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    finally:
        process.kill()
    assert len(checkpoint.in_run(tmp_path / "checkpoints" / GAME / "mine")) == 1


def test_a_checkpoint_that_cannot_be_written_keeps_the_previous_one(
    trained: Path, tmp_path: Path
) -> None:
    """No file may grow beyond a tenth of a checkpoint.

    The error number differs from that of a full disk, but it is handled the same way.
    """
    user = shutil.copytree(trained, tmp_path / "user")
    run_directory = user / "checkpoints" / GAME / "first"
    before = run("digest", str(run_directory), cwd=user).stdout
    tenth = (run_directory / "step-000000960" / "arrays.npz").stat().st_size // 10
    command = ("train", "--game", GAME, "--run-dir", "first", "--total-steps", "1040")
    answer = run(*command, cwd=user, expect=2, largest_file=tenth)
    message = last_line(answer, alone=False)
    assert "step-000001040' could not be written: File too large" in message
    assert "the newest complete checkpoint is" in message
    assert message.endswith("step-000000960'")
    assert [path.name for path in run_directory.glob("*step-*")] == ["step-000000960"]
    assert run("digest", str(run_directory), cwd=user).stdout == before
    assert "complete: 1,040 agent steps" in run(*command, cwd=user).stdout


def test_settings_that_cannot_be_written_keep_the_run_intact(trained: Path, tmp_path: Path) -> None:
    user = shutil.copytree(trained, tmp_path / "user")
    before = run("digest", f"checkpoints/{GAME}/first", cwd=user).stdout
    command = ("train", "--game", GAME, "--run-dir", "first", "--total-steps", "1040")
    answer = run(*command, cwd=user, expect=2, largest_file=500)
    assert "first/config.toml' could not be written: File too large" in last_line(
        answer, alone=False
    )
    assert run("digest", f"checkpoints/{GAME}/first", cwd=user).stdout == before
    assert "complete: 1,040 agent steps" in run(*command, cwd=user).stdout


@pytest.mark.parametrize("bytes_left", [28_000, pytest.param(3_000_000, marks=pytest.mark.slow)])
def test_a_run_on_a_full_disk_keeps_its_checkpoint_and_can_be_continued(
    trained: Path, continued: Path, tmp_path: Path, bytes_left: int
) -> None:
    """The disk has almost no space, or too little for a checkpoint; later it has space again."""
    command = ("train", "--game", GAME, "--run-dir", "first", "--total-steps", "1040")
    digest = ("digest", f"checkpoints/{GAME}/first")
    before = run(*digest, cwd=trained).stdout
    after = run(*digest, cwd=continued).stdout
    with small_disk(tmp_path / "disk") as disk:
        user = shutil.copytree(trained, (disk or tmp_path) / "user")
        # Without permission to mount a disk, the size of every single file is limited instead.
        largest_file = bytes_left if disk is None else None
        if disk is not None:
            with (disk / "filler").open("wb") as filler:
                os.posix_fallocate(filler.fileno(), 0, shutil.disk_usage(disk).free - bytes_left)
        answer = run(*command, cwd=user, expect=2, largest_file=largest_file)
        reason = "File too large" if disk is None else "No space left on device"
        assert f"could not be written: {reason}" in last_line(answer, alone=False)
        assert run(*digest, cwd=user).stdout == before
        if disk is not None:
            (disk / "filler").unlink()
        run(*command, cwd=user)
        assert run(*digest, cwd=user).stdout == after


@contextmanager
def small_disk(place: Path) -> Iterator[Path | None]:
    """Mounts a disk of 200 MB; yields None if mounting is not permitted."""
    place.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", place)
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS always has a display")
def test_watching_without_a_display_is_a_one_line_error(trained: Path) -> None:
    without_display = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DISPLAY", "WAYLAND_DISPLAY")
    }
    for display in ({}, {"DISPLAY": ":4711"}):
        answer = run(
            "watch",
            f"checkpoints/{GAME}/first",
            cwd=trained,
            expect=2,
            env=without_display | display,
        )
        assert "no display to open a window on; 'atari-dqn record" in last_line(answer)
