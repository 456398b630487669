"""Checks that the released agents play as their model cards state, and that they are small."""

import json
from pathlib import Path

import pytest

from atari_dqn.agent.pretrained import load_agent
from atari_dqn.config.resolve import read_config
from atari_dqn.evaluation.evaluate import evaluate
from atari_dqn.games.ids import reference_scores
from atari_dqn.workflows.release import training_command

ROOT = Path(__file__).parent.parent
RELEASED = sorted(path.parent for path in (ROOT / "checkpoints/released").glob("*/README.md"))
MEGABYTE = 10**6


@pytest.mark.parametrize("agent", RELEASED, ids=lambda path: path.name)
def test_a_released_agent_is_far_better_than_random_play(agent: Path) -> None:
    published = _published(agent)["mean"]
    config = read_config(agent / "config.toml")
    random, _ = reference_scores()[str(config.spec.rom)]
    score = evaluate(load_agent(agent).act, config, seed=2, episodes=2).statistics()["mean"]
    assert score > random + (published - random) / 4


@pytest.mark.parametrize("agent", RELEASED, ids=lambda path: path.name)
def test_card_results_page_and_evaluation_report_the_same_score(agent: Path) -> None:
    statistics = _published(agent)
    assert statistics["episodes"] >= 30
    mean = statistics["mean"]
    error = statistics["standard_error"]
    assert f"mean {mean:.2f} +- {error:.2f}" in (agent / "README.md").read_text(encoding="utf-8")
    results = (ROOT / "docs/results/results.md").read_text(encoding="utf-8")
    lines = [line for line in results.splitlines() if f"checkpoints/released/{agent.name}/" in line]
    assert lines
    assert all(f"{mean:.1f} +- {error:.1f}" in line for line in lines)
    assert (ROOT / "videos/released" / f"{agent.name}.gif").is_file()


@pytest.mark.parametrize("agent", RELEASED, ids=lambda path: path.name)
def test_card_settings_and_recordings_name_the_same_version_of_the_recipe(agent: Path) -> None:
    config = read_config(agent / "config.toml")
    assert config.recipe_version is not None
    (in_checkpoint,) = agent.glob("step-*/config.toml")
    assert read_config(in_checkpoint) == config
    card = (agent / "README.md").read_text(encoding="utf-8")
    assert f"\nrecipe            {config.versioned_recipe}\n" in card
    assert f"| recipe, protocol | `{config.versioned_recipe}`, `{config.protocol}`;" in card
    assert f"| trained with | `{training_command(config)}` |" in card
    for file in (*agent.glob("*_evaluation_*.json"), ROOT / f"videos/released/{agent.name}.json"):
        assert json.loads(file.read_text(encoding="utf-8"))["recipe"] == config.versioned_recipe


def test_released_agents_are_small() -> None:
    sizes = [
        file.stat().st_size for agent in RELEASED for file in agent.rglob("*") if file.is_file()
    ]
    assert RELEASED
    assert max(sizes) < 8 * MEGABYTE
    assert sum(sizes) < 60 * MEGABYTE


def _published(agent: Path) -> dict[str, float]:
    [file] = agent.glob("*_evaluation_*.json")
    return dict(json.loads(file.read_text(encoding="utf-8"))["statistics"])
