"""Deep Q-learning on Atari games from pixels: train, evaluate, and review what was learned.

Importing the package registers the ``*Deterministic-v0/-v4`` environment ids with Gymnasium. Public
names are loaded on first use, so the import does not wait for TensorFlow. The package prints
nothing: messages go to the logger ``atari_dqn``.

Read the algorithm in this order, from a frame to its gradient:

    training/loop.py      one step: act, send, learn, receive, store
    training/learner.py   updates that run while the environments step, and their order
    agent/agent.py        the networks, and how actions are chosen
    agent/update.py       the target, the loss and the gradient step
    agent/losses.py       the equations, each with a worked example

Other folders (docs/design/architecture.md lists all of them):

    environments/   vectorized environments and frame preprocessing
    replay/         the replay memory
    networks/       the Q-networks
    config/         all settings
    runs/           run directories, checkpoints and logs
    evaluation/     scores
    recording/      videos
    commands/       the command line
    workflows/      complete tasks that commands and sweeps share
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from atari_dqn.bootstrap import answer_ctrl_c_while_importing, choose_keras_backend

# This comes first: the imports below take a second, and Ctrl-C must already work.
answer_ctrl_c_while_importing()
choose_keras_backend()

from atari_dqn.games.ids import register_deterministic_ids  # noqa: E402

if TYPE_CHECKING:
    from atari_dqn.agent.agent import Agent
    from atari_dqn.agent.pretrained import load_agent
    from atari_dqn.config.resolve import load_config
    from atari_dqn.environments.environments import Environments, make_games
    from atari_dqn.errors import UserError
    from atari_dqn.evaluation.describe import describe
    from atari_dqn.evaluation.evaluate import evaluate
    from atari_dqn.networks.torsos import register_torso
    from atari_dqn.recording.render import write_recording
    from atari_dqn.replay.memory import ReplayMemory
    from atari_dqn.training.loop import Training

logging.getLogger(__name__).addHandler(logging.NullHandler())
register_deterministic_ids()

_MODULES = {
    "Agent": "agent.agent",
    "Environments": "environments.environments",
    "ReplayMemory": "replay.memory",
    "Training": "training.loop",
    "UserError": "errors",
    "describe": "evaluation.describe",
    "evaluate": "evaluation.evaluate",
    "load_agent": "agent.pretrained",
    "load_config": "config.resolve",
    "make_games": "environments.environments",
    "register_torso": "networks.torsos",
    "write_recording": "recording.render",
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
    if name not in _MODULES:
        raise AttributeError(f"module 'atari_dqn' has no attribute '{name}'")
    return getattr(import_module(f"atari_dqn.{_MODULES[name]}"), name)
