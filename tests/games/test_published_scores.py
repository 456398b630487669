"""Tests the published scores that reports compare with."""

import pytest

from atari_dqn.errors import UserError
from atari_dqn.games.ids import reference_scores
from atari_dqn.games.published_scores import DOPAMINE_MILLIONS, at_200_million, atari_100k, dopamine
from atari_dqn.report.statistics import interquartile_mean


@pytest.mark.parametrize(
    ("agent", "published"), [("DrQ(eps)", 0.280), ("SPR", 0.337), ("IRIS", 0.501)]
)
def test_interquartile_means_of_atari_100k_match_the_published_values(
    agent: str, published: float
) -> None:
    """The values are from arXiv 2305.19452, table A.1, and for IRIS from Micheli et al. 2023."""
    runs = atari_100k(agent)
    assert len(runs.games) == 26
    assert round(float(interquartile_mean(runs.scores)), 3) == published


def test_dopamine_has_scores_of_five_agents_on_55_games() -> None:
    found = {rom: dopamine(rom, 10) for rom in reference_scores()}
    assert sorted(rom for rom, scores in found.items() if not scores) == ["defender", "surround"]
    assert all(
        set(scores) == {"C51", "DQN", "IQN", "QR-DQN", "Rainbow"}
        for scores in found.values()
        if scores
    )
    assert [dopamine("breakout", millions)["IQN"] for millions in DOPAMINE_MILLIONS] == [
        79.13,
        155.29,
        125.86,
        89.25,
        94.17,
    ]


def test_scores_that_were_not_published_are_an_error() -> None:
    with pytest.raises(UserError, match="for 10, 40, 50, 100, 200 million frames, not for 20"):
        dopamine("pong", 20)
    with pytest.raises(UserError, match="did you mean 'Impala'"):
        dopamine("pong", 10, network="impala")
    with pytest.raises(UserError, match="not for 'SPRR'; did you mean 'SPR'"):
        atari_100k("SPRR")


def test_every_reference_game_has_scores_at_200_million_frames() -> None:
    assert all(len(at_200_million(rom)) > 10 for rom in reference_scores())
    assert at_200_million("breakout")["dqn:random"] == reference_scores()["breakout"][0]
    assert at_200_million("nothing") == {}
