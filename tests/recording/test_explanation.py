"""Tests the explanations of an agent's actions."""

import numpy as np
import pytest

from atari_dqn.agent.agent import Agent
from atari_dqn.config.resolve import load_config
from atari_dqn.environments.environments import make_game
from atari_dqn.evaluation.evaluate import evaluate
from atari_dqn.recording.explanation import Explainer, episode_values

ATOMS = {"double": 1, "default": 1, "c51": 51, "qrdqn": None, "iqn": 32}


@pytest.mark.parametrize("recipe", ATOMS)
def test_an_explanation_shows_the_values_that_the_agent_acts_on(recipe: str) -> None:
    small = {
        "network.hidden_units": 16,
        "environment.height": 36,
        "environment.width": 36,
        "evaluation.frame_cap": 180,
    }
    config, _ = load_config("BreakoutDeterministic-v4", recipe, overrides=small)
    game = make_game(config.spec, config.environment, config.evaluation.frame_cap)
    agent = Agent(config, game.observation_shape, game.action_names)
    explainer = Explainer(agent)
    observations = np.random.default_rng(1).integers(256, size=(5, 4, 36, 36), dtype=np.uint8)
    values, returns, probabilities = explainer(observations)
    np.testing.assert_allclose(values, agent.values(observations), atol=1e-5)
    np.testing.assert_allclose((returns * probabilities).sum(axis=-1), values, atol=1e-4)
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=1e-5)
    assert returns.shape == probabilities.shape == (5, 4, ATOMS[recipe] or config.network.atoms)
    assert explainer.distributional == (ATOMS[recipe] != 1)

    (episode,) = evaluate(agent.act, config, seed=1, episodes=1).episodes
    survey = explainer.survey(game, episode)
    assert survey.values.shape == (len(episode.actions) + 1, 4)
    np.testing.assert_array_equal(
        survey.values.argmax(axis=1)[0], agent.act(game.reset(episode.seed)[0][np.newaxis])[0]
    )
    assert survey.low <= survey.values.min() + 1e-6
    assert survey.high >= survey.values.max() - 1e-6
    values = episode_values(agent.values, game, episode, at_most=512)
    np.testing.assert_allclose(values, survey.values, atol=1e-5)
    first = episode_values(agent.values, game, episode, at_most=3)
    np.testing.assert_allclose(first, survey.values[:3], atol=1e-5)
