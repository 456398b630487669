"""Tests recordings that are annotated with the agent's values."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atari_dqn.agent.agent import Agent
from atari_dqn.config.resolve import load_config
from atari_dqn.config.schema import Config
from atari_dqn.environments.environments import make_game
from atari_dqn.errors import UserError
from atari_dqn.evaluation.evaluate import evaluate
from atari_dqn.evaluation.results import Episode
from atari_dqn.recording.annotation import LiveView, annotate, densities, lay_out
from atari_dqn.recording.drawing import BACKGROUND, BLUE, ORANGE, Axis, with_few_colors
from atari_dqn.recording.explanation import Explanation
from atari_dqn.recording.render import Screen, replay_screens, write_recording

TRACK = (12 + 320 + 12, 12)  # the top left corner of the panel beside an Atari screen


def played(
    game: str,
    recipe: str | None = None,
    epsilon: float = 1.0,
    frame_cap: int = 120,
    **overrides: object,
) -> tuple[Config, Agent, Episode]:
    small: dict[str, object] = {"evaluation.frame_cap": frame_cap, **overrides}
    if game != "CartPole-v1":
        small |= {"network.hidden_units": 16}
    config, _ = load_config(game, recipe, overrides=small)
    real = make_game(config.spec, config.environment, config.evaluation.frame_cap)
    agent = Agent(config, real.observation_shape, real.action_names)
    return (
        config,
        agent,
        evaluate(agent.act, config, seed=2, episodes=1, epsilon=epsilon).episodes[0],
    )


def pictures(
    config: Config, agent: Agent, episode: Episode, scale: int | None = None
) -> list[Screen]:
    game = make_game(config.spec, config.environment, config.evaluation.frame_cap)
    return list(annotate(agent, scale)(game, episode))


def count(image: np.ndarray, color: tuple[int, int, int]) -> int:
    return int((image == np.array(color)).all(axis=-1).sum())


@pytest.mark.parametrize(
    ("recipe", "protocol_actions"), [("default", 4), ("qrdqn", 4), ("c51", 4), ("iqn", 4)]
)
def test_an_annotated_screen_contains_the_game_and_the_networks_input(
    recipe: str, protocol_actions: int
) -> None:
    config, agent, episode = played("BreakoutDeterministic-v4", recipe)
    plain = replay_screens(make_game(config.spec, config.environment, 120), episode)
    shown = pictures(config, agent, episode)
    assert len(shown) == len(episode.actions) + 1
    assert len({screen.image.shape for screen in shown}) == 1
    for annotated, screen in zip(shown, plain, strict=True):
        image = annotated.image
        np.testing.assert_array_equal(image[12 : 12 + 420 : 2, 12 : 12 + 320 : 2], screen.image)
        newest = with_few_colors(Image.fromarray(screen.observation[-1]).convert("RGB"))
        left = TRACK[0] + 3 * 90
        np.testing.assert_array_equal(image[78 : 78 + 84, left : left + 84], newest)
    assert len(agent.action_names) == protocol_actions


def test_an_annotated_gif_is_lossless(tmp_path: Path) -> None:
    config, agent, episode = played("BreakoutDeterministic-v4", "qrdqn")
    shown = pictures(config, agent, episode)
    as_numbers = (screen.image @ np.array([1 << 16, 1 << 8, 1]) for screen in shown)
    colors = set[int]().union(*(np.unique(numbers).tolist() for numbers in as_numbers))
    assert len(colors) <= 255
    write_recording(tmp_path / "episode.gif", config, episode, show=annotate(agent))
    with Image.open(tmp_path / "episode.gif") as gif:
        assert getattr(gif, "n_frames", 1) == len(shown)
        gif.seek(len(shown) - 1)
        np.testing.assert_array_equal(np.asarray(gif.convert("RGB")), shown[-1].image)


def test_an_exploratory_action_is_marked_in_another_color() -> None:
    """The mark beside the action's name is blue for the greedy action and orange for any other."""
    config, agent, episode = played("BreakoutDeterministic-v4")
    greedy = [
        bool(agent.act(screen.observation[np.newaxis])[0] == screen.action)
        for screen in replay_screens(make_game(config.spec, config.environment, 120), episode)
    ]
    shown = pictures(config, agent, episode)
    assert len(set(greedy[:-1])) == 2
    for best, screen in zip(greedy[:-1], shown[:-1], strict=True):
        header = screen.image[: 12 + 48, TRACK[0] :]
        assert (count(header, BLUE) > 20, count(header, ORANGE) > 20) == (best, not best)
    assert count(shown[-1].image[:60, TRACK[0] :], BLUE) == 0, "the last screen has no action"


def test_a_vector_task_is_annotated_with_its_observation() -> None:
    config, agent, episode = played("CartPole-v1")
    shown = pictures(config, agent, episode)
    assert shown[0].image.shape[1] > 600 + 300
    np.testing.assert_array_equal(shown[0].image[100, 100], (255, 255, 255))
    assert (shown[0].image != shown[-1].image)[:, 620:].any()


@pytest.mark.parametrize("game", ["BreakoutDeterministic-v4", "CartPole-v1"])
def test_a_live_view_draws_the_same_as_a_recording_once_it_knows_the_ranges(game: str) -> None:
    config, agent, episode = played(game, frame_cap=40)
    real = make_game(config.spec, config.environment, config.evaluation.frame_cap)
    live = LiveView(agent, real)
    for step, screen in enumerate(replay_screens(real, episode)):
        live.add(step, screen)
        if step == 0:
            first = live.draw(step, screen)
    last = live.draw(step, screen)
    recorded = pictures(config, agent, episode)[-1].image
    assert first.shape == last.shape == recorded.shape
    top = lay_out(420, 320).panel.top
    differs = (last != recorded).any(axis=-1)
    differs[top : top + 14] = False  # only a recording knows the number of steps in advance
    assert differs.mean() < 1e-3
    assert (first != last).any(axis=-1).mean() > 1e-3


def test_saliency_is_drawn_over_the_game_and_nowhere_else_but_in_the_legend() -> None:
    # A new network that enlarges motion reacts so much to the first moves that later saliency is
    # too weak beside it to be drawn.
    still = {"network.motion": 1.0}
    config, agent, episode = played("BreakoutDeterministic-v4", "default", 1.0, 20, **still)
    plain = pictures(config, agent, episode)
    real = make_game(config.spec, config.environment, config.evaluation.frame_cap)
    layout = lay_out(420, 320)
    for with_saliency, without in zip(
        annotate(agent, saliency=True)(real, episode), plain, strict=True
    ):
        differs = (with_saliency.image != without.image).any(axis=-1)
        left, top, right, bottom = layout.screen
        assert differs[top:bottom, left:right].any()
        differs[top:bottom, left:right] = False
        differs[layout.strip.top : layout.strip.top + 16] = False
        assert not differs.any()


def test_saliency_of_an_agent_that_sees_vectors_is_refused() -> None:
    _, agent, _ = played("CartPole-v1")
    with pytest.raises(UserError, match="saliency needs pictures"):
        annotate(agent, saliency=True)


def test_all_18_actions_fit_into_the_panel() -> None:
    config, agent, episode = played(
        "ALE/Seaquest-v5", "qrdqn", **{"environment.full_actions": True}
    )
    assert len(agent.action_names) == 18
    (first, *_) = pictures(config, agent, episode)
    below = lay_out(420, 320).panel.bottom
    assert (
        count(first.image[below : below + 8, TRACK[0] :], BACKGROUND)
        == first.image[below : below + 8, TRACK[0] :, 0].size
    )


@pytest.mark.parametrize(("rows", "columns"), [(420, 320), (630, 480), (401, 601), (36, 36)])
def test_the_parts_of_the_layout_do_not_overlap_and_sizes_are_even(rows: int, columns: int) -> None:
    layout = lay_out(rows, columns)
    assert layout.width % 2 == layout.height % 2 == 0
    assert layout.screen.right < layout.panel.left
    assert layout.panel.right < layout.width
    assert max(layout.screen.bottom, layout.panel.bottom) < layout.strip.top
    assert layout.strip.bottom < layout.height
    assert (layout.screen.bottom - layout.screen.top, layout.screen.right - layout.screen.left) == (
        rows,
        columns,
    )


def test_the_drawn_density_is_highest_at_the_most_probable_return() -> None:
    axis = Axis(-1.0, 1.0, 0, 100)
    returns = np.tile(np.linspace(-1, 1, 41, dtype=np.float32), (1, 2, 1))
    probabilities = np.zeros((1, 2, 41), np.float32)
    probabilities[0, 0, [10, 30]] = 0.9, 0.1
    probabilities[0, 1, [10, 30]] = 0.5, 0.5
    likely, even = densities(
        Explanation(np.zeros((1, 2), np.float32), returns, probabilities), axis
    )
    points = np.linspace(-1, 1, len(likely))
    assert points[likely.argmax()] == pytest.approx(-0.5, abs=0.03)
    assert likely.max() == 1
    np.testing.assert_allclose(even, even[::-1], atol=1e-5)
