"""Tests the race against Stable-Baselines3."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest

from atari_dqn.evaluation.evaluate import Policy
from benchmarks import race
from benchmarks.race import OURS, Point, Result

GAME = "PongNoFrameskip-v4"


def result(contender: str, *minutes_and_means: tuple[float, float]) -> Result:
    """Returns the result of a contender with scores at some minutes."""
    points = [Point(time, round(1000 * time), mean, 0.5) for time, mean in minutes_and_means]
    return Result(contender, GAME, "python -m something", points)


def test_the_table_shows_the_newest_score_at_each_time() -> None:
    ours = result(OURS, (2.0, -20.0), (4.9, -10.0), (5.4, -8.0), (9.0, 3.25), (15.2, 18.0))
    peer = result("ppo", (6.0, -20.9), (14.0, -19.0))
    assert ours.at(1.9) is None
    assert ours.at(5.0) == ours.points[1]
    assert race.table([ours, peer]) == [
        f"| {GAME} | 5 min | 10 min | 15 min |",
        "| --- | --- | --- | --- |",
        "| atari_dqn, default | -8.0 | 3.2 | 18.0 |",
        "| Stable-Baselines3 PPO |  | -20.9 | -19.0 |",
    ]


def test_the_picture_has_a_panel_for_each_game(tmp_path: Path) -> None:
    some = result(OURS, (1, -20), (2, 3))
    other = Result("ppo", "BreakoutNoFrameskip-v4", "python -m something", some.points)
    race.draw([some], tmp_path / "one.png")
    race.draw([some, other], tmp_path / "two.png")
    one, two = (imageio.imread(tmp_path / name) for name in ("one.png", "two.png"))
    assert two.shape[1] == 2 * one.shape[1]
    assert two.shape[0] == one.shape[0]


def test_an_interrupted_race_repeats_no_contender(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[str] = []

    def train(contender: str, game: str, minutes: float, folder: Path) -> tuple[str, float]:
        trained.append(contender)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return f"train {contender} {game} {minutes}", 1_000.0

    def act(observations: np.ndarray) -> np.ndarray:
        return np.zeros(len(observations), np.int32)

    def policies(*_: object) -> list[tuple[int, float, Callable[[], Policy]]]:
        return [(500, 1_030.0, lambda: act), (900, 1_060.0, lambda: act)]

    def score(policy: Policy, _config: object) -> tuple[float, float]:
        return float(np.sum(policy(np.zeros((2, 84, 84, 4), np.uint8)))) - 21.0, 0.25

    for name, stand_in in (
        ("train", train),
        ("our_policies", policies),
        ("peer_policies", policies),
        ("score", score),
    ):
        monkeypatch.setattr(race, name, stand_in)
    options = ["--games", GAME, "--minutes", "1", "--only", OURS, "ppo", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["race", *options])
    with pytest.raises(KeyboardInterrupt):
        race.main()
    race.main()
    assert trained == [OURS, "ppo", "ppo"]
    stored = json.loads((tmp_path / f"{GAME}-{OURS}.json").read_text())
    assert stored["command"] == f"train {OURS} {GAME} 1.0"
    assert stored["points"] == [
        {"minutes": 0.5, "steps": 500, "mean": -21.0, "standard_error": 0.25},
        {"minutes": 1.0, "steps": 900, "mean": -21.0, "standard_error": 0.25},
    ]
    assert stored["machine"]["cores"] >= 1
    assert (tmp_path / "race.png").is_file()
    race.main()
    assert len(trained) == 3
    assert f"{GAME} ppo" in capsys.readouterr().out


@pytest.mark.slow
def test_our_policies_are_scored_at_the_time_of_their_checkpoint(tmp_path: Path) -> None:
    outcome = race.race(OURS, GAME, minutes=1.0, out=tmp_path)
    assert outcome.points
    minutes = [point.minutes for point in outcome.points]
    assert minutes == sorted(minutes)
    assert 0 < minutes[0] <= minutes[-1] < 1.2
    assert all(-21 <= point.mean <= -15 for point in outcome.points)
