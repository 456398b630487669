"""Rows and curves of docs/results/runs.csv, and the panel's table made from them."""

import csv
from dataclasses import replace
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest

from atari_dqn.config.resolve import load_config
from atari_dqn.games.ids import reference_scores, resolve
from benchmarks import games_table, panel, run_results
from benchmarks.run_results import RunResult
from tests.acceptance.commands import GAME

RUN = RunResult(
    recipe="default@18",
    game="PongDeterministic-v4",
    rom="pong",
    protocol="tutorial",
    seed=1,
    agent_steps=500_000,
    episodes=30,
    score=14.6,
    standard_error=0.25,
    training_score=19.0,
    minutes=20.5,
    machine="a machine, 2 cores, 24 GiB",
    commit="c35e019",
)


def test_a_run_becomes_a_row_and_is_replaced_when_it_is_added_again(
    trained: Path, tmp_path: Path
) -> None:
    run_directory = trained / "checkpoints" / GAME / "first"
    run_results.write_rows([RUN], tmp_path)
    first = run_results.add(run_directory, tmp_path, episodes=2)
    second = run_results.add(run_directory, tmp_path, episodes=3)
    rows = run_results.read_rows(tmp_path)
    assert sorted(row.rom for row in rows) == [second.rom, "pong"] == ["breakout", "pong"]
    assert str(second) in map(str, rows)  # NaN equals nothing
    assert RUN in rows
    assert (first.episodes, second.episodes) == (2, 3)
    assert second.minutes >= 0
    assert len(second.commit) == 7
    assert second.recipe.startswith("default@")
    earlier = run_results.add(run_directory, tmp_path, steps=480, episodes=0)
    assert len(run_results.read_rows(tmp_path)) == 3
    assert (earlier.agent_steps, earlier.episodes) == (480, 0)
    assert earlier.minutes <= second.minutes
    assert "replay.capacity" in second.recipe  # the run differs from the recipe


def test_a_curve_has_the_mean_score_of_each_period(tmp_path: Path) -> None:
    """Periods without the end of an episode are left out, and so are later episodes."""
    log = "steps,score,mean_100\n10,1,1\n50000,3,2\n50001,7,4\n150000,9,5\n150016,99,20\n"
    (tmp_path / "episodes.csv").write_text(log)
    points = run_results.curve_of(tmp_path, 150_000)
    assert points == [(50_000, 2.0), (100_000, 7.0), (150_000, 9.0)]
    assert run_results.curve_of(tmp_path, 149_999) == points[:2]
    run_results.write_curve(tmp_path / "curve.csv", points)
    with (tmp_path / "curve.csv").open() as file:
        rows = [
            (int(row["agent_steps"]), float(row["training_score"])) for row in csv.DictReader(file)
        ]
    assert rows == points


def test_the_panel_has_a_row_for_each_candidate_and_a_mean_if_no_game_lacks(tmp_path: Path) -> None:
    """Scores halfway from random to human play have a mean of 0.5; extremes do not count."""
    rows: list[RunResult] = []
    for number, game in enumerate(panel.panel_games()):
        rom = str(resolve(game).rom)
        random, human = reference_scores()[rom]
        share = {0: -50.0, 1: 90.0}.get(number, 0.5)
        score = random + share * (human - random)
        base = replace(RUN, game=game, rom=rom, training_score=score)
        rows.append(base)
        if number:
            rows.append(replace(base, recipe="default@18, agent.n_step=5"))
        rows.append(replace(base, seed=2, training_score=1e6))
        rows.append(replace(base, agent_steps=1_000_000, training_score=1e6))
    complete, lacking = panel.by_candidate(rows, 500_000).values()
    assert panel.panel_mean(complete) == pytest.approx(0.5)
    assert panel.panel_mean(lacking) is None
    head, line, first, second = panel.as_table(rows, 500_000).splitlines()
    assert first.startswith("| `default@18` | ")
    assert first.endswith(" | 0.500 |")
    assert second.startswith("| `default@18, agent.n_step=5` |  | ")
    assert second.endswith(" |  |")
    assert {text.count("|") for text in (head, line, first, second)} == {11}
    *_, normalized, _ = panel.as_table(rows, 500_000, normalized=True).splitlines()
    assert normalized == "| `default@18` | -50.00 | 90.00 |" + " 0.50 |" * 6 + " 0.500 |"
    panel.draw(rows, 500_000, tmp_path / "panel.png")
    assert imageio.imread(tmp_path / "panel.png").shape == (720, 1050, 4)


def test_the_table_of_games_begins_with_the_lowest_score_and_has_pictures(tmp_path: Path) -> None:
    games = games_table.wanted_games()
    recipe = load_config("pong")[0].versioned_recipe
    rows = []
    for number, game in enumerate(games):
        rom = str(resolve(game).rom)
        random, human = reference_scores()[rom]
        score = random + (2 - 0.1 * number) * (human - random)
        rows.append(replace(RUN, recipe=recipe, game=game, rom=rom, score=score, agent_steps=10**6))
    others = [replace(RUN, recipe=recipe), replace(RUN, recipe="default@1", agent_steps=10**6)]
    found = games_table.rows_of_table([*others, *rows])
    assert found == rows[::-1]
    (tmp_path / f"{found[0].rom}.gif").touch()
    intervals = games_table.interval_over_games(np.arange(26) / 10)
    assert intervals["median"][0] == pytest.approx(1.25)
    for value, lower, upper in intervals.values():
        assert lower < value < upper
    text = games_table.table(found, tmp_path)
    assert "* 11 of 26 games at or above the human score" in text
    assert text.count("<img ") == 1
    first, *_, last = [line for line in text.splitlines() if "Deterministic" in line]
    assert first.startswith(f'| <img src="../images/games/{found[0].rom}.gif" ')
    assert " | -0.50 | " in first
    assert " | 2.00 | " in last
