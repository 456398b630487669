"""Tests tasks of Gymnasium whose observations are vectors."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest

from atari_dqn.config.resolve import default_recipe, load_config
from atari_dqn.config.schema import Config
from atari_dqn.environments.environments import Environments, make_game, make_games
from atari_dqn.environments.gymnasium_game import GymnasiumGame
from atari_dqn.errors import UserError
from atari_dqn.evaluation.describe import describe_environment
from atari_dqn.evaluation.evaluate import evaluate
from atari_dqn.games.ids import GameSpec, resolve
from atari_dqn.recording.render import replay_screens
from atari_dqn.runs import checkpoint
from atari_dqn.training.loop import Training
from tests.training.test_loop import run_digest


def small(game: str, **overrides: object) -> Config:
    short = {
        "training.total_steps": 300,
        "training.warmup_steps": 50,
        "training.evaluation_period": 0,
        "replay.capacity": 1_000,
    }
    changes = {name.replace("__", "."): value for name, value in overrides.items()}
    return load_config(game, overrides=short | changes)[0]


def test_a_vector_task_gets_its_own_recipe_and_the_classic_protocol() -> None:
    assert resolve("CartPole-v1") == GameSpec("CartPole-v1", None, vectors=True)
    config, notes = load_config("CartPole-v1")
    assert (config.recipe, config.protocol, config.environment.stack, notes) == (
        "cartpole",
        "classic",
        1,
        [],
    )
    assert [default_recipe(resolve(game)) for game in ("MountainCar-v0", "breakout")] == [
        "mountaincar",
        "default",
    ]


@pytest.mark.parametrize(
    ("old", "today"), [("LunarLander-v2", "LunarLander-v3"), ("Taxi-v3", "Taxi-v4")]
)
def test_an_outdated_id_is_replaced_by_the_current_one_with_a_note(old: str, today: str) -> None:
    config, notes = load_config(old, "cartpole")
    assert (config.game, notes) == (today, [f"{old} is now {today}"])


@pytest.mark.parametrize("name", ["cartpole", "CartPole", "cart_pole", "cart-pole"])
def test_a_bare_name_of_a_task_means_its_newest_version_with_a_note(name: str) -> None:
    config, notes = load_config(name)
    assert (config.game, notes) == ("CartPole-v1", [f"{name} means CartPole-v1"])


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("CartPole-v2", "CartPole-v1"),
        ("cartpole-v1", "CartPole-v1"),
        ("cartpol", "CartPole-v1"),
        ("lunarlandr", "LunarLander-v3"),
        ("Mountaincar-v0", "MountainCar-v0"),
        ("MountainCarContinous-v0", "MountainCarContinuous-v0"),
    ],
)
def test_a_mistyped_id_of_a_task_is_an_error_with_the_nearest_id(typed: str, meant: str) -> None:
    with pytest.raises(UserError, match=rf"unknown game '{typed}'.*; did you mean '{meant}'\?$"):
        load_config(typed)


def test_a_task_without_its_own_recipe_requires_an_explicit_one() -> None:
    with pytest.raises(
        UserError,
        match=r"Acrobot-v1 shows vectors.*--config, such as cartpole, lunarlander, mountaincar",
    ):
        load_config("Acrobot-v1")
    assert load_config("Acrobot-v1", "cartpole")[0].game == "Acrobot-v1"


@pytest.mark.parametrize(
    ("game", "changes", "complaint"),
    [
        ("breakout", {"environment.time_feature": True}, "does not apply to Atari games"),
        ("breakout", {"environment.rescale": True}, "does not apply to Atari games"),
        ("breakout", {"environment.kwargs": {"mode": 1}}, "does not apply to Atari games"),
        ("CartPole-v1", {"agent.random_shift": 4}, "shifts pictures"),
        ("CartPole-v1", {"environment.frame_skip": 4}, None),
    ],
)
def test_settings_that_do_not_apply_to_a_game_are_refused(
    game: str, changes: dict[str, object], complaint: str | None
) -> None:
    if complaint is None:
        assert load_config(game, overrides=changes)[1] == [
            "--environment.frame_skip 4 overrides CartPole-v1, which sets 1"
        ]
    else:
        with pytest.raises(UserError, match=complaint):
            load_config(game, overrides=changes)


def test_observations_match_those_of_gymnasium() -> None:
    config = small("CartPole-v1", environment__stack=2)
    environments = Environments(
        make_games(config.spec, config.environment, 2, 1_000), config.environment, seed=3
    )
    observation = environments.reset()
    assert observation.shape == (2, 2, 4)
    assert observation.dtype == np.float32
    reference = gymnasium.make("CartPole-v1")
    shown, _ = reference.reset(seed=int(environments.seeds[0]))
    np.testing.assert_array_equal(observation[0], [np.zeros(4), shown])
    environments.send(np.array([1, 0], np.int32))
    then, *_ = reference.step(1)
    np.testing.assert_array_equal(environments.recv().observation[0], [shown, then])


def test_discrete_observations_are_one_hot_vectors() -> None:
    game = make_game(
        resolve("FrozenLake-v1"), small("FrozenLake-v1", network__torso="mlp").environment, 100
    )
    observation, _ = game.reset(1)
    assert observation.tolist() == [[1.0] + [0.0] * 15]


def test_keyword_arguments_are_passed_to_the_task() -> None:
    assert small(
        "CartPole-v1", environment__kwargs={"sutton_barto_reward": True}
    ).environment.kwargs
    config = small("MountainCar-v0", environment__kwargs={"goal_velocity": 0.5})
    game = GymnasiumGame("MountainCar-v0", config.environment, 1_000)
    assert game._env.unwrapped.goal_velocity == 0.5
    with pytest.raises(
        UserError,
        match=r"CartPole-v1 cannot be made with environment.kwargs = {'gravity': 1}.*gravity",
    ):
        GymnasiumGame(
            "CartPole-v1",
            small("CartPole-v1", environment__kwargs={"gravity": 1}).environment,
            1_000,
        )


def test_rescaled_observations_lie_between_minus_one_and_one() -> None:
    config = small("MountainCar-v0", environment__rescale=True)
    both = (small("MountainCar-v0", environment__rescale=False), config)
    games = (GymnasiumGame("MountainCar-v0", other.environment, 1_000) for other in both)
    plain, rescaled = (game.reset(seed=3)[0][-1] for game in games)
    assert describe_environment(config).endswith("rescaled to -1..1")
    np.testing.assert_allclose(rescaled, [(plain[0] + 0.3) / 0.9, plain[1] / 0.07], rtol=1e-5)


def test_the_time_feature_is_the_elapsed_fraction_of_the_step_limit() -> None:
    config = small("MountainCar-v0", environment__time_feature=True, environment__rescale=False)
    game = make_game(config.spec, config.environment, 1_000)
    assert game.reset(1)[0].shape == (1, 3)
    times = [game.step(1).observation[0, -1] for _ in range(200)]
    np.testing.assert_allclose(times, np.arange(1, 201) / 200, rtol=1e-6)
    assert describe_environment(config).endswith("time feature")


def test_a_vector_episode_is_replayed_for_its_recording() -> None:
    config = small("MountainCar-v0")
    result = evaluate(
        lambda shown: np.zeros(len(shown), np.int32), config, seed=1, episodes=2, epsilon=1.0
    )
    game = make_game(config.spec, config.environment, 1_000)
    screens = list(replay_screens(game, result.episodes[0]))
    assert (len(screens), screens[0].image.shape, game.screens_per_second) == (
        201,
        (400, 600, 3),
        30,
    )
    assert (screens[0].image != screens[-1].image).any()


def test_an_episode_with_fractional_rewards_is_replayed() -> None:
    config = small("LunarLander-v2")
    result = evaluate(
        lambda shown: np.zeros(len(shown), np.int32), config, seed=1, episodes=1, epsilon=1.0
    )
    (episode,) = result.episodes
    assert episode.score != round(episode.score)
    assert (
        len(list(replay_screens(make_game(config.spec, config.environment, 1_000), episode)))
        == len(episode.actions) + 1
    )


def test_a_stopped_and_continued_run_on_vectors_equals_an_uninterrupted_one(
    tmp_path: Path,
) -> None:
    # One update of a small network is due in each step, so that the graph is quickly built.
    quick: dict[str, object] = {"training__update_period": 8, "network__mlp_layers": [16]}
    whole = small("CartPole-v1", **quick)
    part = small("CartPole-v1", training__total_steps=170, **quick)
    assert Training(whole, tmp_path / "whole", tmp_path).run()
    assert Training(part, tmp_path / "stopped", tmp_path).run()
    again = Training(whole, tmp_path / "stopped", tmp_path)
    assert again.restore(checkpoint.load(tmp_path / "stopped"))
    assert again.run()
    assert run_digest(tmp_path / "stopped") == run_digest(tmp_path / "whole")


def test_the_target_network_can_be_synchronized_at_the_end_of_each_episode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(
        small("CartPole-v1", agent__target_period_updates=0, training__environments=1),
        tmp_path / "run",
        tmp_path,
    )
    synced: list[int] = []
    monkeypatch.setattr(
        training.agent, "sync_target", lambda: synced.append(training.episodes.count)
    )
    training.run()
    assert synced == list(range(training.episodes.count))
