"""Tests requests for settings."""

from atari_dqn.workflows.settings import SettingsRequest


def test_requested_settings_are_listed_without_defaults() -> None:
    request = SettingsRequest("CartPole-v1", protocol="classic", overrides={"agent.gamma": 0.9})
    settings = request.resolve({"sutton_barto_reward": True})
    assert settings.requested == {"protocol", "agent.gamma"}
    assert settings.config.agent.gamma == 0.9
    assert settings.config.environment.kwargs == {"sutton_barto_reward": True}


def test_a_request_overrides_the_keyword_arguments_of_the_environment() -> None:
    overrides = {"environment.kwargs": {"sutton_barto_reward": False}}
    settings = SettingsRequest("CartPole-v1", overrides=overrides).resolve(
        {"sutton_barto_reward": True}
    )
    assert settings.config.environment.kwargs == {"sutton_barto_reward": False}
