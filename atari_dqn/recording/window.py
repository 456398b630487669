"""Shows an agent in a window while it plays, at the speed of the game."""

import contextlib
import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np

from atari_dqn.agent.exploration import epsilon_greedy
from atari_dqn.backend.opencv import cv2
from atari_dqn.config.schema import Config
from atari_dqn.environments.environments import Environments, make_game
from atari_dqn.environments.game import Image
from atari_dqn.environments.vector import SerialGames, checked_actions
from atari_dqn.errors import UserError
from atari_dqn.evaluation.evaluate import Policy
from atari_dqn.typed_commands import command

TITLE = "atari-dqn"
INITIAL_SCALE = 3
CLOSING_KEYS = (ord("q"), 27)


def check_display() -> None:
    """Raises a UserError if no window can be opened.

    It tries in a child process, because Qt terminates a process that has no display.
    """
    words = [sys.executable, "-c", "import cv2; cv2.namedWindow('attempt')"]
    attempt = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True)
    if attempt.returncode:
        instead = f"'{command('record', out='FILE.gif')}' does not need one"
        raise UserError(f"no display to open a window on; {instead}")


def play_in_window(
    policy: Policy, config: Config, seed: int, episodes: int, epsilon: float
) -> Iterator[float]:
    """Plays episodes in a window and yields the score of each, until the window is closed.

    Args:
        policy: Function from observations (1, *observation_shape) to actions (1,).
        config: Settings with the game to play and the protocol.
        seed: Seed of the episodes and of the random actions.
        episodes: Number of episodes.
        epsilon: Probability of a random action.
    """
    # Qt, which draws the window, warns about missing fonts that are not used here.
    os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")
    _leave_events_to_qt()
    game = make_game(config.spec, config.environment, config.evaluation.frame_cap)
    environments = Environments(SerialGames([game]), config.environment, seed)
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *b"watching"])))
    observation = environments.reset()
    due = time.monotonic()
    rows, columns, _ = game.screen().shape
    cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
    cv2.resizeWindow(TITLE, columns * INITIAL_SCALE, rows * INITIAL_SCALE)
    for _ in range(episodes):
        score = 0.0
        ended = False
        while not ended:
            num_actions = len(environments.action_names)
            greedy = checked_actions(policy(observation), 1, num_actions)
            environments.send(epsilon_greedy(greedy, epsilon, num_actions, random))
            step = environments.recv()
            score += float(step.reward[0])
            due = max(due + float(step.frames[0]) / game.screens_per_second, time.monotonic())
            if not _show(game.screen(), until=due):
                return
            observation = step.current
            ended = bool(step.ended[0])
        yield score


def _leave_events_to_qt() -> None:
    """Loads the system's libX11-xcb, so that Qt does not use the copy in OpenCV's wheel.

    The copy is older than the libX11 of many systems, and registers Qt as the reader of events in
    the wrong place. Xlib then consumes some events itself. If it consumes a window's MapNotify
    event, Qt never paints the window.
    """
    with contextlib.suppress(OSError):  # without a system library, Qt uses the wheel's copy
        ctypes.CDLL("libX11-xcb.so.1", mode=ctypes.RTLD_GLOBAL)


def _show(screen: Image, until: float) -> bool:
    """Shows a screen until a point in time, and returns whether the window is still open."""
    cv2.imshow(TITLE, cv2.cvtColor(screen, cv2.COLOR_RGB2BGR))
    key = cv2.waitKey(max(int((until - time.monotonic()) * 1000), 1))
    return key not in CLOSING_KEYS and cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1
