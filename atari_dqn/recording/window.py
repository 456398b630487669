"""Shows an agent in a window while it plays, at the speed of the game."""

import contextlib
import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from atari_dqn.agent.agent import Agent
from atari_dqn.agent.exploration import epsilon_greedy
from atari_dqn.backend.opencv import cv2
from atari_dqn.config.schema import Config
from atari_dqn.environments.environments import Environments, make_game
from atari_dqn.environments.game import Image
from atari_dqn.environments.vector import SerialGames, checked_actions
from atari_dqn.errors import UserError
from atari_dqn.evaluation.evaluate import Policy
from atari_dqn.recording.annotation import LiveView
from atari_dqn.recording.render import Screen
from atari_dqn.typed_commands import command

TITLE = "atari-dqn"
INITIAL_SCALE = 3
# In seconds.
LONGEST_GAP = 0.25  # a screen is shown at least this often, however late it is
LONGEST_DELAY = 1.0  # a game that is later than this does not catch up
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


class WindowPlayer(NamedTuple):
    """Who plays in the window, and what is shown.

    Attributes:
        policy: Function from observations (1, *observation_shape) to actions (1,).
        epsilon: Probability of a random action.
        annotated: The agent whose input and Q-values are shown beside the game, or None.
        saliency: Whether to show also where the network looks.
    """

    policy: Policy
    epsilon: float
    annotated: Agent | None = None
    saliency: bool = False


def play_in_window(
    player: WindowPlayer, config: Config, seed: int, episodes: int
) -> Iterator[float]:
    """Plays episodes in a window and yields the score of each, until the window is closed.

    The game keeps its speed. Where drawing takes longer than a step, screens are left out.

    Args:
        player: Who plays, and what is shown.
        config: Settings with the game to play and the protocol.
        seed: Seed of the episodes and of the random actions.
        episodes: Number of episodes.
    """
    # Qt, which draws the window, warns about missing fonts that are not used here.
    os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")
    _leave_events_to_qt()
    game = make_game(config.spec, config.environment, config.evaluation.frame_cap)
    environments = Environments(SerialGames([game]), config.environment, seed)
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *b"watching"])))
    view: LiveView | None = None
    if player.annotated is not None:
        view = LiveView(player.annotated, game, player.saliency)
    window = Window(INITIAL_SCALE if view is None else 1)
    pace = Pace()
    observation = environments.reset()
    try:
        for _ in range(episodes):
            score = 0.0
            reward = 0.0
            number = 0
            ended = False
            while not ended:
                image = game.screen()
                lives = int(environments.lives[0])
                num_actions = len(environments.action_names)
                greedy = checked_actions(player.policy(observation), 1, num_actions)
                chosen = epsilon_greedy(greedy, player.epsilon, num_actions, random)
                action = int(environments.send(chosen)[0])
                step = environments.recv()
                frames = int(step.frames[0])
                screen = Screen(image, frames, observation[0], action, reward, score, lives)
                if view is not None:
                    view.add(number, screen)
                if pace.is_next(frames / game.screens_per_second):
                    shown = image if view is None else view.draw(number, screen)
                    if not window.show(shown, pace):
                        return
                reward = float(step.reward[0])
                score += reward
                number += 1
                observation = step.current
                ended = bool(step.ended[0])
            yield score
    finally:
        if view is not None:
            view.close()


class Pace:
    """Keeps the speed of the game, and decides which screens there is time to show."""

    def __init__(self) -> None:
        self._end = time.monotonic()  # when the current screen has been shown long enough
        self._last_shown = 0.0

    def is_next(self, seconds: float) -> bool:
        """Advances to the next screen, and returns whether there is time to show it.

        Args:
            seconds: Game time for which the screen is shown.
        """
        now = time.monotonic()
        self._end += seconds
        if now - self._end > LONGEST_DELAY:  # the process was suspended, or it cannot keep up
            self._end = now
        return now < self._end or now - self._last_shown > LONGEST_GAP

    def shown(self) -> float:
        """Notes that the screen is shown, and returns for how many seconds it should stay."""
        self._last_shown = time.monotonic()
        return max(self._end - self._last_shown, 0.0)


class Window:
    """A window, which opens with the first screen.

    Args:
        scale: Width and height of a screen pixel when the window opens.
    """

    def __init__(self, scale: int) -> None:
        self._scale = scale
        self._is_open = False

    def show(self, screen: Image, pace: Pace) -> bool:
        """Shows a screen for its time, and returns whether the window is still open."""
        if not self._is_open:
            rows, columns, _ = screen.shape
            cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
            cv2.resizeWindow(TITLE, columns * self._scale, rows * self._scale)
            self._is_open = True
        cv2.imshow(TITLE, cv2.cvtColor(screen, cv2.COLOR_RGB2BGR))
        key = cv2.waitKey(max(int(pace.shown() * 1000), 1))
        return key not in CLOSING_KEYS and cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1


def _leave_events_to_qt() -> None:
    """Loads the system's libX11-xcb, so that Qt does not use the copy in OpenCV's wheel.

    The copy is older than the libX11 of many systems, and registers Qt as the reader of events in
    the wrong place. Xlib then consumes some events itself. If it consumes a window's MapNotify
    event, Qt never paints the window.
    """
    with contextlib.suppress(OSError):  # without a system library, Qt uses the wheel's copy
        ctypes.CDLL("libX11-xcb.so.1", mode=ctypes.RTLD_GLOBAL)
