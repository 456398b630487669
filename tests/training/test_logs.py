"""Tests episode statistics, log files and the progress display."""

import csv
import io
import logging
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from atari_dqn import console
from atari_dqn.console import log_to_standard_error
from atari_dqn.training import logs
from atari_dqn.training.episodes import EpisodeRow, EpisodeTracker
from atari_dqn.training.logs import Progress, RunLogs, cut_logs
from tests.terminal import Screen, Terminal


def test_episode_scores_are_summed_for_each_environment() -> None:
    tracker = EpisodeTracker(2)
    seeds = np.array([11, 12], np.int32)
    rewards = [[1, 0], [2, 5], [3, 1]]
    ends = [[False, False], [True, False], [False, True]]
    rows: list[EpisodeRow] = []
    for number, (reward, ended) in enumerate(zip(rewards, ends, strict=True), start=1):
        step = np.array(reward, np.float32), np.array([4, 3]), np.array(ended)
        rows += [tracker.finish(2 * number, episode) for episode in tracker.add(*step, seeds)]
    assert rows == [
        EpisodeRow(1, 4, 3.0, 3.0, 2, 8, 0, 11),
        EpisodeRow(2, 6, 6.0, 4.5, 3, 9, 1, 12),
    ]
    assert (tracker.mean_score, tracker.mean_length) == (4.5, 2.5)


def test_the_mean_score_covers_the_last_hundred_episodes() -> None:
    tracker = EpisodeTracker(1)
    for score in range(150):
        reward = np.array([score], np.float32)
        seed = np.array([1], np.int32)
        (episode,) = tracker.add(reward, np.array([4]), np.array([True]), seed)
        tracker.finish(score, episode)
    assert tracker.mean_score == np.mean(range(50, 150))
    again = EpisodeTracker(1)
    again.restore(tracker.arrays())
    assert (again.mean_score, again.count) == (tracker.mean_score, 150)


def row(step: int) -> dict[str, float | int]:
    return {"steps": step, "epsilon": 0.5, "score": 1.0, "loss": 0.25, "mean_max_q": 2.0}


def test_all_digits_of_a_score_are_logged(tmp_path: Path) -> None:
    written = RunLogs(tmp_path, 0, 100)
    written.episode(EpisodeRow(1, 10, 1_234_567.0, 2_345_678.25, 2, 8, 0, 11))
    written.close()
    with (tmp_path / "episodes.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["score"], row["mean_100"]) == ("1234567", "2.34568e+06")


def test_csv_and_tensorboard_logs_are_cut_back_to_a_checkpoint(tmp_path: Path) -> None:
    written = RunLogs(tmp_path, 0, 100)
    written.metrics(10, row(10))
    written.episode(EpisodeRow(1, 10, 3.0, 3.0, 2, 8, 0, 11))
    written.evaluation(10, {"mean": 1.0}, "scored")
    positions = written.positions()
    written.metrics(20, row(20))
    written.episode(EpisodeRow(2, 20, 4.0, 3.5, 2, 8, 0, 12))
    written.evaluation(20, {"mean": 2.0}, "scored")
    written.close()
    (tmp_path / "events.out.tfevents.9999999999.later").write_text("written after the checkpoint")
    cut_logs(tmp_path, positions)
    written = RunLogs(tmp_path, 10, 100)
    written.metrics(30, row(30))
    written.close()
    with (tmp_path / "metrics.csv").open() as file:
        assert [line["steps"] for line in csv.DictReader(file)] == ["10", "30"]
    with (tmp_path / "episodes.csv").open() as file:
        assert [line["episode"] for line in csv.DictReader(file)] == ["1"]
    assert (tmp_path / "evaluations.csv").read_text().splitlines() == ["steps,mean", "10,1"]
    board = EventAccumulator(str(tmp_path), size_guidance={"tensors": 0})
    board.Reload()
    assert [event.step for event in board.Tensors("training/loss")] == [10, 30]
    assert [event.step for event in board.Tensors("episode/score")] == [10]


def test_progress_is_printed_as_plain_lines_without_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = Progress(0, 1000, seconds_between_lines=0.0)
    with log_to_standard_error():
        progress.advance(500)
        progress.show(row(500))
        logging.getLogger("atari_dqn").warning("a note")
    progress.close()
    lines = capsys.readouterr().err.splitlines()
    expected = "step 500 of 1,000: score 1.00, loss 0.2500, epsilon 0.500, mean max Q 2.000"
    assert lines == [expected, "note: a note"]


def test_progress_is_shown_in_a_terminal_even_from_python(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    progress = Progress(0, 1000)
    progress.close()
    assert Screen(terminal.getvalue()).seen[0] == "step 0 of 1,000"


def test_a_training_that_stands_still_is_shown_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(logs, "SECONDS_TO_NOTICE", -1.0)
    progress = Progress(0, 1000)
    progress.close()
    assert Screen(terminal.getvalue()).seen[0].startswith("waiting for the next step: 0:0")


class Clock:
    """A clock for the progress, on which time passes only when a test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def progress_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(logs, "time", clock)
    return clock


@pytest.mark.parametrize("in_terminal", [True, False])
def test_the_warm_up_is_named_and_unknown_values_are_left_out(
    in_terminal: bool, progress_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal() if in_terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    unknown = row(200) | {"score": math.nan, "loss": math.nan, "mean_max_q": math.nan}
    with log_to_standard_error():
        progress = Progress(0, 1_000_000, warmup=10_000, seconds_between_lines=0.0)
        for _ in range(4):
            progress_clock.seconds += 1
            progress.advance(50)
        progress.show(unknown)
        logging.getLogger("atari_dqn").info("a note")
        progress.close()
    shown = [line for line in Screen(terminal.getvalue()).seen if "at step 200" in line]
    if not in_terminal:
        shown = terminal.getvalue().splitlines()[:1]
    warm_up = "warming up: random play until step 10,000"
    expected = f"{warm_up}, at step 200, 50 steps/s"
    if not in_terminal:
        expected = f"step 200 of 1,000,000: {warm_up}, 50 steps/s"
    assert set(shown) == {expected}
    assert "nan" not in terminal.getvalue()


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (
            120,
            "score 12.34, 1,000 steps/s, 16:36 left, 0% of 1,000,000 steps, loss 0.2500, "
            "epsilon 0.500, mean max Q 2.000",
        ),
        (80, "score 12.34, 1,000 steps/s, 16:36 left, 0% of 1,000,000 steps, loss 0.2500"),
        (60, "score 12.34, 1,000 steps/s, 16:36 left"),
    ],
)
def test_what_matters_most_is_shown_in_narrow_terminals(
    columns: int, expected: str, progress_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(console, "terminal_width", lambda stream: columns)
    with log_to_standard_error():
        progress = Progress(0, 1_000_000)
        for _ in range(4):
            progress_clock.seconds += 1
            progress.advance(1000)
        progress.show(row(4000) | {"score": 12.34})
        logging.getLogger("atari_dqn").info("a note")
        assert Screen(terminal.getvalue()).lines == ["a note", expected]
        progress.close()
