"""Tests the choice of highlights, and how they are cut together."""

from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from atari_dqn.agent.agent import Agent
from atari_dqn.config.resolve import load_config
from atari_dqn.config.schema import Config
from atari_dqn.environments.environments import make_game
from atari_dqn.evaluation.evaluate import evaluate
from atari_dqn.evaluation.results import Evaluation
from atari_dqn.recording import saliency
from atari_dqn.recording.annotation import annotate
from atari_dqn.recording.drawing import WHITE
from atari_dqn.recording.episode_file import (
    RANDOM_PLAY,
    EpisodeFile,
    EvaluatedEpisode,
    read_episode,
)
from atari_dqn.recording.highlights import (
    FOOTER_HEIGHT,
    MARK_SECONDS,
    Course,
    Cut,
    Plan,
    choose_cuts,
    clock,
    interest_of,
    plan_highlights,
    show_highlights,
    td_errors,
)
from atari_dqn.recording.render import Rendering, Show, record_episode, replay_screens
from tests.acceptance.commands import run_in_process

RATE = 60.0
INTERESTS = st.lists(
    st.one_of(st.just(0.0), st.floats(0, 3, allow_nan=False)), min_size=1, max_size=400
)


def frames_of(cuts: list[Cut], frames: np.ndarray) -> int:
    """Returns the frames of all cuts and of the marks between them."""
    shown = sum(int(frames[cut.first : cut.end].sum()) for cut in cuts)
    return shown + (len(cuts) - 1) * round(MARK_SECONDS * RATE)


@settings(max_examples=300, deadline=None)
@given(INTERESTS, st.integers(1, 30), st.integers(0, 2**31 - 1))
def test_cuts_are_in_order_disjoint_within_the_time_and_contain_the_greatest_moment(
    interest: list[float], seconds: int, seed: int
) -> None:
    frames = np.random.default_rng(seed).integers(1, 13, size=len(interest))
    cuts = choose_cuts(np.array(interest), frames, seconds, RATE)
    assert frames_of(cuts, frames) <= seconds * RATE
    assert all(cut.first < cut.end for cut in cuts)
    assert all(before.end < after.first for before, after in pairwise(cuts))
    assert cuts[0].first >= 0
    assert cuts[-1].end <= len(interest)
    greatest = int(np.argmax(interest))
    assert any(cut.first <= greatest < cut.end for cut in cuts)
    if frames.sum() <= seconds * RATE:
        assert cuts == [Cut(0, len(interest))]


def test_the_time_is_used() -> None:
    rng = np.random.default_rng(1)
    interest = rng.random(9000) ** 20
    frames = np.full(9000, 4)
    for seconds in (1, 5, 20, 60):
        unused = seconds * RATE - frames_of(choose_cuts(interest, frames, seconds, RATE), frames)
        assert 0 <= unused <= 0.1 * seconds * RATE


def test_moments_far_apart_have_cuts_of_their_own_and_near_ones_share_a_cut() -> None:
    interest = np.zeros(3000)
    interest[[300, 340, 1500, 2600]] = 1  # 15 steps a second
    frames = np.full(3000, 4)
    cuts = choose_cuts(interest, frames, 15, RATE)
    assert len(cuts) == 3
    assert [
        [step for step in (300, 340, 1500, 2600) if cut.first <= step < cut.end] for cut in cuts
    ] == [[300, 340], [1500], [2600]]
    for step in (300, 1500, 2600):
        assert any(cut.first <= step - 25 and step + 12 < cut.end for cut in cuts), "context"


def test_a_dense_moment_is_preferred_to_a_single_event() -> None:
    interest = np.zeros(3000)
    interest[100] = 1
    interest[1000] = 0.8
    interest[2000:2010] = 0.5
    frames = np.full(3000, 4)
    cuts = choose_cuts(interest, frames, 8, RATE)
    shown = [any(cut.first <= step < cut.end for cut in cuts) for step in (100, 1000, 2005)]
    assert shown == [True, False, True]


def test_rewards_lost_lives_and_td_errors_are_of_interest_and_each_counts_up_to_one() -> None:
    course = Course(
        rewards=np.array([0, 7, 0, -2, 0, 0.0]),
        lives=np.array([3, 3, 3, 3, 1, 1]),
        frames=np.full(6, 4),
    )
    errors = np.array([0, 0, 0, 0, 0, 5.0])
    np.testing.assert_allclose(interest_of(course, errors), [0, 1, 0, 1, 1, 1])


def test_nothing_is_of_interest_in_an_episode_without_events() -> None:
    course = Course(np.zeros(500), np.zeros(500, np.int64), np.full(500, 4))
    interest = interest_of(course, np.zeros(500))
    assert not interest.any()
    (cut,) = choose_cuts(interest, course.frames, 5, RATE)
    assert (cut.end - cut.first) * 4 <= 5 * RATE


def test_td_errors_use_the_clipped_reward_and_no_value_after_the_end() -> None:
    config, _ = load_config("BreakoutDeterministic-v4", overrides={"agent.gamma": 0.5})
    assert config.agent.reward_clip == 1
    values = np.array([[1, 0], [2, 4], [0, 3.0]], np.float32)
    rewards = np.array([0, 7.0, 0])
    ended = td_errors(values, rewards, config, terminated=True)
    np.testing.assert_allclose(ended, [0, abs(1 + 0.5 * 4 - 1), 4])
    cut = td_errors(values, rewards, config, terminated=False)
    np.testing.assert_allclose(cut, [0, 2, abs(0.5 * 3 - 4)])


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.99, "0:59"), (3661, "61:01")])
def test_times_are_written_as_minutes_and_seconds(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.fixture(scope="module")
def played() -> tuple[Config, Agent, Evaluation]:
    """About 15 seconds of random play of Breakout, with an untrained agent."""
    small = {"evaluation.frame_cap": 900, "network.hidden_units": 16}
    config, _ = load_config("BreakoutDeterministic-v4", overrides=small)
    game = make_game(config.spec, config.environment, config.evaluation.frame_cap)
    agent = Agent(config, game.observation_shape, game.action_names)
    return config, agent, evaluate(agent.act, config, seed=2, episodes=1, epsilon=1.0)


def recorded(
    played: tuple[Config, Agent, Evaluation], path: Path, plan: Plan, show: Show
) -> EpisodeFile:
    _, _, result = played
    evaluated = EvaluatedEpisode(result, result.episodes[0], RANDOM_PLAY)
    rendering = Rendering(1, show, annotated=False, cuts=plan.seconds)
    return record_episode({"gif": path}, evaluated, rendering)


def test_highlights_are_recorded_with_footers_and_their_cuts_are_in_the_json_file(
    played: tuple[Config, Agent, Evaluation], tmp_path: Path
) -> None:
    config, agent, result = played
    episode = result.episodes[0]
    plan = plan_highlights(config, episode, 5, agent)
    path = tmp_path / "highlights.gif"
    described = recorded(played, path, plan, show_highlights(plan, "gif"))
    assert 4 < described.files["gif"].seconds <= 5 < described.seconds
    assert read_episode(path.with_suffix(".json")).cuts == plan.seconds == described.cuts
    assert sum(end - begin for begin, end in plan.seconds) <= 5
    game = make_game(config.spec, config.environment, config.evaluation.frame_cap)
    first = list(replay_screens(game, episode))[plan.cuts[0].first]
    with Image.open(path) as gif:
        shown = np.asarray(gif.convert("RGB"))
    assert shown.shape == (210 + FOOTER_HEIGHT, 160, 3)
    np.testing.assert_array_equal(shown[:210], first.image)
    assert (shown[210:] == np.array(WHITE)).all(axis=-1).any(), "the time"


def test_marks_lie_between_cuts_and_show_when_the_next_one_begins(
    played: tuple[Config, Agent, Evaluation],
) -> None:
    config, _, result = played
    episode = result.episodes[0]
    frames = np.full(len(episode.actions) + 1, 4)
    plan = Plan([Cut(3, 10), Cut(100, 104)], frames, RATE)
    game = make_game(config.spec, config.environment, config.evaluation.frame_cap)
    screens = list(show_highlights(plan, "gif")(game, episode))
    assert len(screens) == 7 + 1 + 4
    plain = list(replay_screens(game, episode))
    expected = [*plain[3:10], None, *plain[100:104]]
    for screen, original in zip(screens, expected, strict=True):
        if original is None:
            assert screen.frames == round(MARK_SECONDS * RATE)
            dark = screen.image[:210]
            assert dark.mean() < plain[100].image.mean() / 2
            assert (dark == np.array(WHITE)).all(axis=-1).any(), "the time"
        else:
            np.testing.assert_array_equal(screen.image[:210], original.image)
    assert plan.seconds == [(0.2, 0.67), (6.67, 6.93)]


def test_only_the_cuts_of_an_annotated_recording_are_drawn(
    played: tuple[Config, Agent, Evaluation],
) -> None:
    config, agent, result = played
    episode = result.episodes[0]
    plan = plan_highlights(config, episode, 2, agent)
    game = make_game(config.spec, config.environment, config.evaluation.frame_cap)
    looked = []
    compute = saliency.Saliency.__call__

    def counted(self: saliency.Saliency, *arguments: Any) -> saliency.SaliencyMaps:
        looked.append(arguments)
        return compute(self, *arguments)

    with mock.patch.object(saliency.Saliency, "__call__", counted):
        screens = list(annotate(agent, saliency=True, plan=plan)(game, episode))
    shown = sum(cut.end - cut.first for cut in plan.cuts)
    assert len(screens) == shown + len(plan.cuts) - 1
    assert len(looked) == shown


def test_highlights_are_chosen_again_from_a_json_file_without_the_agent(
    played: tuple[Config, Agent, Evaluation], tmp_path: Path
) -> None:
    _, _, result = played
    evaluated = EvaluatedEpisode(result, result.episodes[0], RANDOM_PLAY)
    whole = record_episode({"gif": tmp_path / "whole.gif"}, evaluated)
    assert whole.cuts is None
    assert '"cuts"' not in (tmp_path / "whole.json").read_text()
    answer = run_in_process(
        *("record", "--replay", "whole.json", "--out", "short.gif", "--highlights", "3"),
        cwd=tmp_path,
    )
    described = read_episode(tmp_path / "short.json")
    assert described.cuts
    assert described.files["gif"].seconds <= 3
    assert f"{len(described.cuts)} cut" in answer.stdout
    run_in_process("record", "--replay", "short.json", "--out", "again.gif", cwd=tmp_path)
    assert (tmp_path / "again.gif").read_bytes() == (tmp_path / "whole.gif").read_bytes()
    assert read_episode(tmp_path / "again.json").cuts is None
