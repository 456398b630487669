"""Checks that four of five seeds reach the scores that the recipes of the classic tasks promise."""

import csv
from pathlib import Path

import pytest

from atari_dqn.config.resolve import load_config
from atari_dqn.evaluation.evaluate import evaluate
from atari_dqn.training.loop import Training

PROMISED_SCORES = [
    ("CartPole-v1", "cartpole", 495),
    ("MountainCar-v0", "mountaincar", -120),
    ("MountainCar-v0", "mountaincar-boltzmann", -150),
]


def trained(game: str, recipe: str, seed: int, directory: Path) -> Training:
    short = {"machine.seed": seed, "training.evaluation_period": 0, "training.checkpoint_period": 0}
    config, _ = load_config(game, recipe, overrides=short)
    training = Training(config, directory / str(seed), directory)
    assert training.run()
    return training


def mean_score(training: Training, seed: int) -> float:
    """Returns the mean score of 100 greedy episodes."""
    played = evaluate(training.agent.act, training.config, seed=seed, episodes=100)
    return played.statistics()["mean"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("game", "recipe", "promised"), PROMISED_SCORES)
def test_four_of_five_seeds_reach_the_promised_score_over_100_episodes(
    game: str, recipe: str, promised: float, tmp_path: Path
) -> None:
    scores = [mean_score(trained(game, recipe, seed, tmp_path), seed) for seed in range(1, 6)]
    assert sum(score >= promised for score in scores) >= 4, scores


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_four_of_five_seeds_land_as_well_as_the_tutorial_by_its_last_episode(
    tmp_path: Path,
) -> None:
    results = []
    for seed in range(1, 6):
        score = mean_score(trained("LunarLander-v3", "lunarlander", seed, tmp_path), seed)
        with (tmp_path / str(seed) / "episodes.csv").open() as file:
            best = max(float(row["mean_100"]) for row in list(csv.DictReader(file))[99:578])
        results.append((best, score))
    assert sum(best > 248.97 and score >= 250 for best, score in results) >= 4, results
