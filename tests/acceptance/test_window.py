"""Tests the window of ``watch`` on a virtual screen."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from atari_dqn.recording.drawing import BLUE
from atari_dqn.recording.saliency_view import ADVANTAGE_COLOR, VALUE_COLOR
from tests import forked
from tests.acceptance.commands import GAME, run, run_anew
from tests.programs import none_installed

pytestmark = pytest.mark.skipif(
    none_installed("Xvfb"), reason="the window needs a virtual screen (Debian's xvfb)"
)

PROTOCOL = "[environment]\nframe_skip = 4\nmax_pool = false\n[evaluation]\nframe_cap = {}\n"
# The six rows of Breakout's wall, from red to blue.
BRICKS = {
    (200, 72, 72),
    (198, 108, 58),
    (180, 122, 48),
    (162, 162, 42),
    (72, 160, 72),
    (66, 72, 200),
}


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Starts a virtual screen and yields the environment variables that select it.

    Its picture is in the file ``Xvfb_screen0``.
    """
    reader, writer = os.pipe()
    # Without -noreset the server restarts whenever its last window closes, and may then lose a new
    # client.
    command = [
        "Xvfb",
        "-displayfd",
        str(writer),
        "-screen",
        "0",
        "800x800x24",
        "-fbdir",
        str(tmp_path),
        "-noreset",
    ]
    process = subprocess.Popen(command, pass_fds=[writer], stderr=subprocess.DEVNULL)
    os.close(writer)
    with os.fdopen(reader) as stream:
        number = stream.readline().strip()
    try:
        yield {**os.environ, "DISPLAY": f":{number}"}
    finally:
        process.terminate()
        process.wait()


def colors(picture: Path) -> set[tuple[int, ...]]:
    """Returns every color of a picture in the X window dump format.

    The format has 25 numbers, a color map, and 4 bytes a pixel.
    """
    content = picture.read_bytes()
    numbers = np.frombuffer(content[:100], ">u4")
    # As one number a pixel, which is much faster to sort than three.
    pixels = np.frombuffer(content, "<u4", offset=int(numbers[0] + 12 * numbers[19])) & 0xFFFFFF
    return {(color >> 16, color >> 8 & 255, color & 255) for color in np.unique(pixels).tolist()}


def test_the_window_plays_the_requested_episodes_and_their_scores_are_printed(
    trained: Path, tmp_path: Path, screen: dict[str, str]
) -> None:
    (tmp_path / "short.toml").write_text(PROTOCOL.format(240))
    command = (
        "watch",
        f"{trained}/checkpoints/{GAME}/first",
        "--protocol",
        "short.toml",
        "--episodes",
        "2",
    )
    answer = run(*command, cwd=tmp_path, env=screen)
    assert [line.split(":")[0] for line in answer.stdout.splitlines()] == ["episode 1", "episode 2"]
    assert "QFont" not in answer.stderr


def test_qt_does_not_use_the_older_library_in_the_wheel_of_opencv(
    tmp_path: Path, screen: dict[str, str]
) -> None:
    (tmp_path / "short.toml").write_text(PROTOCOL.format(240))
    command = ("watch", "random", "--game", GAME, "--protocol", "short.toml", "--episodes", "1")
    linker = {"LD_DEBUG": "bindings", "LD_DEBUG_OUTPUT": str(tmp_path / "bindings")}
    assert run_anew(*command, cwd=tmp_path, env={**screen, **linker}).returncode == 0
    bindings = [
        line for path in tmp_path.glob("bindings.*") for line in path.read_text().splitlines()
    ]
    providers = [
        line.rpartition(" to ")[2]
        for line in bindings
        if "libQt5XcbQpa" in line and "`XSetEventQueueOwner'" in line
    ]
    # One of the two is the trial of opening a window, in a separate process.
    assert len(providers) == 2
    assert sum("opencv_python.libs" in provider for provider in providers) == 1


@pytest.mark.parametrize(
    ("annotated", "shown"),
    [
        ([], BRICKS),
        (["--annotated"], {*BRICKS, BLUE}),
        (["--annotated", "saliency"], {BLUE, VALUE_COLOR, ADVANTAGE_COLOR}),
    ],
    ids=["plain", "annotated", "saliency"],
)
def test_the_window_shows_the_game_until_it_is_interrupted(
    annotated: list[str],
    shown: set[tuple[int, ...]],
    trained: Path,
    tmp_path: Path,
    screen: dict[str, str],
) -> None:
    (tmp_path / "long.toml").write_text(PROTOCOL.format(108_000))
    command = [
        "watch",
        f"{trained}/checkpoints/{GAME}/first",
        "--protocol",
        "long.toml",
    ]
    command += ["--episodes", "1000", *annotated]
    process = forked.Process(command, tmp_path, env=screen)
    try:
        while not colors(tmp_path / "Xvfb_screen0") >= shown:
            assert process.poll() is None
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    finally:
        process.kill()


def test_the_window_plays_random_actions_in_a_vector_task(
    tmp_path: Path, screen: dict[str, str]
) -> None:
    answer = run(
        "watch", "random", "--game", "CartPole-v1", "--episodes", "2", cwd=tmp_path, env=screen
    )
    assert [line.split(":")[0] for line in answer.stdout.splitlines()] == ["episode 1", "episode 2"]


def test_random_play_has_no_annotations(tmp_path: Path, screen: dict[str, str]) -> None:
    command = ("watch", "random", "--game", "CartPole-v1", "--annotated")
    answer = run(*command, cwd=tmp_path, env=screen, expect=2)
    assert "--annotated needs a checkpoint" in answer.stderr
