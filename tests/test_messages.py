"""Used from Python, the package prints nothing itself; its messages go to ``logging``."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests import forked

TRAIN = """
from atari_dqn import Training, evaluate, load_agent, load_config
config, _ = load_config("CartPole-v1", overrides={
    "training.total_steps": 400,
    "training.environments": 4,
    "training.warmup_steps": 100,
    "training.update_period": 4,
    "network.mlp_layers": [16],
    "training.evaluation_period": 200,
    "training.evaluation_episodes": 2,
    "training.log_period": 100,
    "replay.capacity": 1000,
})
assert Training(config, "run", "videos").run()
agent = load_agent("run")
evaluate(agent.act, agent.config, seed=1, episodes=2)
"""
CONFIGURE = """
import logging
logging.basicConfig(level=logging.INFO, format="%(name)s %(levelname)s %(message)s")
"""


def run_python(program: str, directory: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True)


IMPORTS = [
    "from atari_dqn.agent.losses import huber",
    "from atari_dqn.networks.q_network import build_network",
    "from atari_dqn.distributed.learner import DistributedTraining",
    "from atari_dqn import Agent",
    "from atari_dqn import Environments",
    "from atari_dqn import Training",
    "from atari_dqn import evaluate",
    "from atari_dqn import load_agent",
    "from atari_dqn import register_torso",
]


@pytest.mark.parametrize("first", IMPORTS[:4])
def test_importing_prints_nothing(first: str, tmp_path: Path) -> None:
    """Every program imports every name; they begin with TensorFlow, Keras, Ray and the agent."""
    answer = run_python("\n".join([first, *IMPORTS]), tmp_path)
    assert (answer.stdout, answer.stderr) == ("", "")


def test_only_one_module_imports_tensorflow_at_its_top() -> None:
    """Other modules import it from this module, or inside functions that run later."""
    package = Path(__file__).parent.parent / "atari_dqn"
    found = []
    for path in package.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                imported = [node.module or ""]
            if any(name.split(".")[0] == "tensorflow" for name in imported):
                found.append(path.name)
    assert found == ["tensorflow_backend.py"]


def test_training_evaluating_and_loading_print_nothing(tmp_path: Path) -> None:
    answer = run_python(TRAIN, tmp_path)
    assert (answer.stdout, answer.stderr) == ("", "")


def test_messages_go_to_logging_once_it_is_configured(tmp_path: Path) -> None:
    process = forked.Process([], tmp_path, program=CONFIGURE + TRAIN)
    out, errors = process.communicate()
    assert (process.returncode, out) == (0, "")
    lines = [line for line in errors.splitlines() if line.startswith("atari_dqn.")]
    assert [line.partition(" evaluation mean ")[0] for line in lines] == [
        "atari_dqn.training.logs INFO step 200:",
        "atari_dqn.training.logs INFO step 400:",
    ]
    assert all("; the median is recorded in videos" in line for line in lines)
