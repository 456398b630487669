"""Tests the ids of the games."""

import gymnasium
import numpy as np
import pytest
from ale_py.registration import rom_id_to_name

from atari_dqn.errors import UserError
from atari_dqn.games import ids as games
from atari_dqn.games.ids import GameSpec, resolve


def test_every_id_of_every_game_resolves_to_itself() -> None:
    assert len(games.single_player_roms()) >= 104
    for game_id in games.all_ids():
        assert resolve(game_id).id == game_id
    assert len(games.all_ids()) == 8 * len(games.single_player_roms())


@pytest.mark.parametrize(
    "name", ["space_invaders", "SpaceInvaders", "spaceinvaders", "SPACE_INVADERS"]
)
def test_a_bare_name_leaves_every_setting_to_the_protocol(name: str) -> None:
    assert resolve(name) == GameSpec("SpaceInvaders", "space_invaders")


@pytest.mark.parametrize(
    ("game_id", "frame_skip", "sticky", "max_pool"),
    [
        ("BreakoutDeterministic-v4", 4, 0.0, False),
        ("BreakoutDeterministic-v0", 4, 0.25, False),
        ("SpaceInvadersDeterministic-v4", 3, 0.0, False),
        ("BreakoutNoFrameskip-v4", 4, 0.0, True),
        ("BreakoutNoFrameskip-v0", 4, 0.25, True),
        ("Breakout-v4", (2, 4), 0.0, False),
        ("Breakout-v0", (2, 4), 0.25, False),
        ("ALE/Breakout-v5", 4, 0.25, True),
    ],
)
def test_each_kind_of_id_sets_its_frame_skip_stickiness_and_pooling(
    game_id: str, frame_skip: object, sticky: float, max_pool: bool
) -> None:
    spec = resolve(game_id)
    assert (spec.frame_skip, spec.sticky_probability, spec.max_pool, spec.full_actions) == (
        frame_skip,
        sticky,
        max_pool,
        False,
    )


def test_ids_registered_in_gymnasium_have_the_same_meaning_here() -> None:
    for rom in ("breakout", "pong", "space_invaders"):
        for game_id in games.ids_of(rom)[1:]:
            spec = resolve(game_id)
            kwargs = gymnasium.registry[game_id].kwargs
            assert kwargs["repeat_action_probability"] == spec.sticky_probability
            if isinstance(spec.frame_skip, tuple):
                assert kwargs["frameskip"] == (spec.frame_skip[0], spec.frame_skip[1] + 1)
            elif "NoFrameskip" not in game_id:
                assert kwargs["frameskip"] == spec.frame_skip


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("BrekoutDeterministic-v4", "did you mean 'BreakoutDeterministic-v4'?"),
        ("breakot", "did you mean 'breakout'?"),
        ("BreakoutDeterministic-v5", "did you mean 'BreakoutDeterministic-v"),
        ("ALE/Breakout-v4", "did you mean 'ALE/Breakout-v5'?"),
        ("joust", "'atari-dqn games' lists"),
        ("", "'atari-dqn games' lists"),
        ("os:system", "'atari-dqn games' lists"),
    ],
)
def test_an_unknown_game_is_answered_with_the_nearest_id(wrong: str, hint: str) -> None:
    with pytest.raises(UserError) as error:
        resolve(wrong)
    assert hint in str(error.value)
    assert "\n" not in str(error.value)


def test_other_gymnasium_ids_are_stepped_without_preprocessing() -> None:
    spec = resolve("CartPole-v1")
    assert (spec.id, spec.rom) == ("CartPole-v1", None)
    assert (
        spec.fixed()["frame_skip"],
        spec.fixed()["sticky_probability"],
        spec.fixed()["noop_max"],
    ) == (1, 0.0, 0)
    assert not spec.fixed()["fire_at_reset"]
    assert resolve("ALE/Pong-v5").rom == "pong"


def test_gymnasium_can_make_the_deterministic_ids() -> None:
    with gymnasium.make("BreakoutDeterministic-v4") as environment:
        first, _ = environment.reset(seed=3)
        _, _, _, _, info = environment.step(1)
        assert first.shape == (210, 160, 3)
        assert info["episode_frame_number"] == 4
    with gymnasium.make("SpaceInvadersDeterministic-v0") as environment:
        environment.reset(seed=3)
        _, _, _, _, info = environment.step(0)
        assert info["episode_frame_number"] == 3


def test_a_deterministic_game_shows_the_same_screens_for_the_same_actions() -> None:
    screens = []
    for seed in (1, 2):
        with gymnasium.make("PongDeterministic-v4") as environment:
            environment.reset(seed=seed)
            for action in [2, 3, 2, 2, 0, 3] * 20:
                screen, *_ = environment.step(action)
        screens.append(screen)
    np.testing.assert_array_equal(*screens)


def test_the_human_normalized_score_is_0_for_random_and_1_for_human_play() -> None:
    assert len(games.reference_scores()) == 57
    assert set(games.reference_scores()) <= set(games.single_player_roms())
    for rom, (random, human) in games.reference_scores().items():
        assert games.human_normalised_score(rom, random) == 0
        assert games.human_normalised_score(rom, human) == 1
    assert games.human_normalised_score("adventure", 1.0) is None


def test_names_match_those_of_ale_py() -> None:
    assert rom_id_to_name("space_invaders") == resolve("space_invaders").id
