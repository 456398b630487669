"""Deep Q-learning on Atari games from pixels: train, evaluate, and review what was learnt.

Importing the package registers the ``*Deterministic-v0/-v4`` environment ids with Gymnasium. The names below are loaded as
they are first used, so that importing the package does not wait for TensorFlow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from atari_dqn.start import answer_ctrl_c_while_importing, choose_keras_backend

# First of all: what follows takes a second, in which a command may already be interrupted.
answer_ctrl_c_while_importing()
choose_keras_backend()

from atari_dqn.games import register_deterministic_ids  # noqa: E402

if TYPE_CHECKING:
    from atari_dqn.agent import Agent
    from atari_dqn.config import load_config
    from atari_dqn.environments import Environments, make_games
    from atari_dqn.errors import UserError
    from atari_dqn.evaluation import describe, evaluate
    from atari_dqn.loading import load_agent
    from atari_dqn.recording import write_recording
    from atari_dqn.replay import ReplayMemory
    from atari_dqn.torsos import register_torso
    from atari_dqn.training import Training

register_deterministic_ids()

_HOMES = {
    "Agent": "agent",
    "Environments": "environments",
    "ReplayMemory": "replay",
    "Training": "training",
    "UserError": "errors",
    "describe": "evaluation",
    "evaluate": "evaluation",
    "load_agent": "loading",
    "load_config": "config",
    "make_games": "environments",
    "register_torso": "torsos",
    "write_recording": "recording",
}

__all__ = [
    "Agent",
    "Environments",
    "ReplayMemory",
    "Training",
    "UserError",
    "describe",
    "evaluate",
    "load_agent",
    "load_config",
    "make_games",
    "register_torso",
    "write_recording",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'atari_dqn' has no attribute '{name}'")
    return getattr(import_module(f"atari_dqn.{_HOMES[name]}"), name)
