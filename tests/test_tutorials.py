"""Checks that four of five seeds reach the scores that the recipes of the classic tasks promise."""

import csv
from pathlib import Path

import pytest

from atari_dqn.config.resolve import load_config
from atari_dqn.evaluation.evaluate import evaluate
from atari_dqn.training.loop import Training

PROMISED_SCORES = [
    ("CartPole-v1", "cartpole", 475),
    ("MountainCar-v0", "mountaincar", -120),
    ("MountainCar-v0", "mountaincar-boltzmann", -150),
]


def trained(game: str, recipe: str, seed: int, directory: Path) -> Training:
    short = {"machine.seed": seed, "training.evaluation_period": 0, "training.checkpoint_period": 0}
    config, _ = load_config(game, recipe, overrides=short)
    training = Training(config, directory / str(seed), directory)
    assert training.run()
    return training


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("game", "recipe", "promised"), PROMISED_SCORES)
def test_four_of_five_seeds_reach_the_promised_score_over_100_episodes(
    game: str, recipe: str, promised: float, tmp_path: Path
) -> None:
    scores = []
    for seed in range(1, 6):
        training = trained(game, recipe, seed, tmp_path)
        scores.append(
            evaluate(training.agent.act, training.config, seed=seed, episodes=100).statistics()[
                "mean"
            ]
        )
    assert sum(score >= promised for score in scores) >= 4, scores


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_four_of_five_seeds_solve_lunar_lander_within_600_episodes(
    tmp_path: Path,
) -> None:
    best = []
    for seed in range(1, 6):
        trained("LunarLander-v3", "lunarlander", seed, tmp_path)
        with (tmp_path / str(seed) / "episodes.csv").open() as file:
            best.append(max(float(row["mean_100"]) for row in list(csv.DictReader(file))[99:600]))
    assert sum(mean >= 200 for mean in best) >= 4, best
