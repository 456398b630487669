"""Custom environments as users register them; each differs from a plain one in one respect."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

Spaces = gymnasium.spaces


class PlainEnvironment(gymnasium.Env[Any, Any]):
    """Episodes of eight steps that show three random numbers; action 1 earns a point."""

    metadata: Any = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012
    observation_space: Any = Spaces.Box(-1, 1, (3,), np.float32)
    action_space: Any = Spaces.Discrete(3)
    length = 8

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        super().reset(seed=seed)
        self.elapsed = 0
        return self.observe(), self.info()

    def step(self, action: int) -> tuple[Any, Any, bool, bool, Any]:
        self.elapsed += 1
        return self.observe(), self.reward(action), self.elapsed >= self.length, False, self.info()

    def observe(self) -> Any:
        return self.np_random.uniform(-1, 1, 3).astype(np.float32)

    def reward(self, action: int) -> Any:
        return float(action == 1)

    def info(self) -> Any:
        return {}

    def render(self) -> Any:
        return np.full((20, 30, 3), self.elapsed, np.uint8)


def register_environment(name: str, entry_point: Callable[..., Any], **arguments: Any) -> str:
    """Registers an environment and returns its id.

    It replaces an environment of the same name that an earlier test may have registered.
    """
    gymnasium.registry.pop(f"{name}-v0", None)
    gymnasium.register(f"{name}-v0", entry_point, **arguments)
    return f"{name}-v0"


def register_variant(name: str, **members: Any) -> str:
    """Registers a ``PlainEnvironment`` with changed members and returns its id."""
    return register_environment(name, type(name, (PlainEnvironment,), members))
