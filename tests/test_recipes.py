"""Tests the recipes, which are sets of settings for the agent, most of them published."""

import re
from pathlib import Path

import numpy as np
import pytest

from atari_dqn.agent.agent import Agent
from atari_dqn.config.resolve import load_config
from atari_dqn.config.schema import Config
from atari_dqn.environments.environments import Environments
from atari_dqn.runs import checkpoint
from atari_dqn.training.loop import Training
from tests.catch import CatchGames
from tests.config.test_resolve import FAMILY, RECIPES
from tests.training.test_loop import run_digest

# A game of 8 steps does not need millions of them. Only settings that count steps or cost computing
# time are reduced.
SHORT = {
    "training.environments": 4,
    "training.warmup_steps": 500,
    "training.update_period": 2,
    "training.log_period": 1_000,
    "training.evaluation_period": 0,
    "training.checkpoint_period": 0,
    "agent.target_period_updates": 100,
    "agent.samples": 16,
    "agent.target_samples": 16,
    "network.hidden_units": 64,
    "optimizer.learning_rate": 5e-4,
    "optimizer.decay_updates": 0,
    # about 1,400 balls; with fewer, no ball at the far edge is ever caught by chance
    "exploration.decay_steps": 6_000,
    "replay.capacity": 8_000,
    "replay.importance_steps": 12_000,
}


def short(recipe: str, seed: int, steps: int, **others: object) -> Config:
    changes = {**SHORT, "machine.seed": seed, "training.total_steps": steps, **others}
    if recipe == "rainbow":
        del changes["exploration.decay_steps"]
    if recipe in ("default", "long"):  # their target networks are updated softly and often
        del changes["agent.target_period_updates"]
    return load_config("breakout", recipe, overrides=changes)[0]


def train(config: Config, directory: Path) -> Training:
    training = Training(
        config, directory, directory / "videos", games=CatchGames(config.training.environments)
    )
    assert training.run()
    return training


def greedy_scores(agent: Agent, config: Config, steps: int) -> list[float]:
    environments = Environments(CatchGames(8), config.environment, seed=99)
    observation = environments.reset()
    scores = []
    for _ in range(steps):
        environments.send(agent.act(observation))
        step = environments.recv()
        observation = step.current
        scores += step.reward[step.ended].tolist()
    return scores


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_cites_its_source(recipe: str) -> None:
    header = (
        (Path(__file__).parent.parent / "configs" / f"{recipe}.toml").read_text().split("\n\n")[0]
    )
    assert header.startswith("# ")
    assert re.search(r" et al\. 20\d\d", header)


@pytest.mark.parametrize("recipe", ["rainbow", "munchausen-iqn"])
def test_a_stopped_and_continued_run_of_a_large_recipe_equals_an_uninterrupted_one(
    recipe: str, tmp_path: Path
) -> None:
    # One update is due in each step, so that the graph of the updates is small and quickly built.
    quick: dict[str, object] = {
        "training.warmup_steps": 200,
        "training.update_period": 4,
        "agent.batch_size": 8,
        "agent.target_period_updates": 40,
    }
    whole = short(recipe, seed=1, steps=600, **quick)
    train(whole, tmp_path / "whole")
    train(short(recipe, seed=1, steps=400, **quick), tmp_path / "stopped")
    again = Training(whole, tmp_path / "stopped", tmp_path, games=CatchGames(4))
    assert again.restore(checkpoint.load(tmp_path / "stopped"))
    assert again.run()
    assert run_digest(tmp_path / "stopped") == run_digest(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("recipe", FAMILY)
def test_every_recipe_masters_a_small_pixel_game(recipe: str, seed: int, tmp_path: Path) -> None:
    """Random play scores about -0.7 a game and perfect play 1."""
    config = short(recipe, seed, steps=12_000)
    scores = greedy_scores(train(config, tmp_path / "run").agent, config, steps=400)
    assert len(scores) > 300
    assert np.mean(scores) >= 0.95
