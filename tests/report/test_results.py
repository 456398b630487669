"""Tests the tables of results over many runs."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import rc_context

from atari_dqn.cli import main
from atari_dqn.config.resolve import load_config, read_recipe
from atari_dqn.console import wrapped
from atari_dqn.errors import UserError
from atari_dqn.report.html import as_page
from atari_dqn.report.results import EVALUATION, TRAINING, Result, read_results
from atari_dqn.report.tables import make_tables
from atari_dqn.report.text import as_text
from atari_dqn.runs import checkpoint

DEFAULT = f"default@{read_recipe('default').version}"


def make_run(
    root: Path,
    game: str,
    name: str,
    scores: list[float],
    protocol: str = "dopamine",
    recipe: str = "default",
    settings: dict[str, Any] | None = None,
) -> Path:
    """Writes a run of 1,000 agent steps with evenly spaced ends of episodes."""
    total = 1000
    run = root / game / name
    overrides = {"training.total_steps": total, "training.log_period": 100} | (settings or {})
    config, _ = load_config(game, recipe, protocol, overrides)
    run.mkdir(parents=True)
    (run / "config.toml").write_text(config.to_toml())
    ends = np.linspace(total / len(scores), total, len(scores)).astype(int)
    means = [np.mean(scores[max(0, count - 100) : count]) for count in range(1, len(scores) + 1)]
    rows = [f"{end},{score},{mean}" for end, score, mean in zip(ends, scores, means, strict=True)]
    (run / "episodes.csv").write_text("\n".join(["steps,score,mean_100", *rows]) + "\n")
    logged = [f"{steps},0,{2 * steps}" for steps in range(100, total + 1, 100)]
    (run / "metrics.csv").write_text("\n".join(["steps,score,wall_seconds", *logged]) + "\n")
    return run


def evaluation(
    run: str, mean: float, steps: int = 1000, seed: int = 1, **changes: Any
) -> dict[str, Any]:
    """Returns the JSON of an evaluation of Pong."""
    environment = {"frame_skip": 4, "sticky_probability": 0.25}
    protocol = {
        "name": "dopamine",
        "environment": environment,
        "frame_cap": 108_000,
        "actions": ["NOOP"],
        "epsilon": 0.001,
    }
    statistics = {
        "mean": mean,
        "standard_error": 1.0,
        "median": mean,
        "min": mean,
        "max": mean,
        "human_normalised": None,
    }
    document = {
        "kind": "evaluation",
        "format": 1,
        "game": "Pong",
        "rom": "pong",
        "run": run,
        "recipe": DEFAULT,
    }
    document |= {"source": "evaluation", "checkpoint": None, "steps": steps}
    document |= {
        "protocol": protocol | {"seed": seed},
        "statistics": statistics | {"episodes": 30, "cut_by_frame_cap": 0},
    }
    return document | changes


def write(path: Path, document: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def result(recipe: str, game: str, rom: str, score: float, **changes: Any) -> Result:
    numbers = {
        "run": "r",
        "steps": 2_500_000,
        "measure": TRAINING,
        "episodes": 9,
        "conditions": {"frame skip": "4"},
        "minutes": {},
    }
    conditions = {
        "conditions": {"protocol": "dopamine", "frame skip": "4", "exploration": "epsilon 0.01"}
    }
    return Result(
        game=game, rom=rom, recipe=recipe, score=score, **{**numbers, **conditions, **changes}
    )


def test_a_training_score_is_the_mean_over_the_last_tenth_of_the_run(tmp_path: Path) -> None:
    run = make_run(tmp_path, "Pong", "a", [-21.0] * 18 + [3.0, 5.0])
    (found,), notes = read_results([run], tmp_path / "videos")
    assert (found.measure, found.score, found.episodes, found.steps) == (TRAINING, 4.0, 2, 1000)
    assert found.conditions["sticky probability"] == "0.25"
    assert found.conditions["exploration"] == "epsilon 0.05 to 0.008"
    assert notes == []


def test_times_to_human_scores_count_from_the_first_hundred_episodes_that_have_them(
    tmp_path: Path,
) -> None:
    """Human play of Pong scores 14.6, so twice the human-normalized score is out of reach."""
    fast = make_run(tmp_path, "Pong", "fast", [20.0] * 200)  # the 100th ends after 500 steps
    slow = make_run(tmp_path, "Pong", "slow", [-21.0] * 100 + [15.0] * 100)
    never = make_run(tmp_path, "Pong", "never", [-21.0] * 50 + [14.0] * 150)
    found, _ = read_results([fast, slow, never], tmp_path / "videos")
    (fast_minutes, slow_minutes, never_minutes) = (one.minutes for one in found)
    assert fast_minutes == {"human": pytest.approx(2 * 500 / 60), "twice human": None}
    assert slow_minutes == {"human": pytest.approx(2 * 995 / 60), "twice human": None}
    assert never_minutes == {"human": None, "twice human": None}
    (table,) = make_tables(found)
    text = as_text([table])
    assert "; human after 16.7 to 33.2 min (2 of 3 runs); twice human not reached" in text
    assert '<td class="number">16.7 to 33.2 min (2 of 3 runs)</td>' in as_page([table])
    assert table.to_json()["games"][0]["scores"][DEFAULT]["minutes"]["twice human"] == []


def test_a_game_without_human_scores_has_no_times(tmp_path: Path) -> None:
    run = make_run(tmp_path, "CartPole-v1", "a", [500.0] * 200, "classic", "cartpole")
    (found,), _ = read_results([run], tmp_path / "videos")
    assert found.minutes == {}
    assert "Minutes" not in as_text(make_tables([found]))


def test_an_unfinished_run_has_no_training_score(tmp_path: Path) -> None:
    make_run(tmp_path, "Pong", "done", [1.0] * 20)
    running = make_run(tmp_path, "Pong", "running", [1.0] * 20)
    (running / "metrics.csv").write_text("steps,score\n600,0\n")
    found, notes = read_results([tmp_path], tmp_path / "videos")
    assert [part.run for part in found] == ["done"]
    assert notes == [f"'{running}' is not complete yet: its training score is left out"]


@pytest.mark.parametrize(
    ("saved", "logged", "is_complete"),
    [
        ([1000], [], True),  # shorter than a logging period
        ([500, 1000], [900], True),
        ([950], [900], False),  # stopped shortly before its end
        ([500], [1000], True),  # the last checkpoint was deleted
        ([], [900], True),  # all checkpoints were deleted
        ([], [800], False),
        ([], [], False),
    ],
)
def test_a_run_is_complete_when_it_has_made_all_of_its_steps(
    tmp_path: Path, saved: list[int], logged: list[int], is_complete: bool
) -> None:
    run = make_run(tmp_path, "Pong", "a", [1.0] * 20, settings={"training.evaluation_period": 0})
    (run / "metrics.csv").write_text(
        "\n".join(["steps,score,wall_seconds", *(f"{at},0,1" for at in logged), ""])
    )
    for step in saved:
        checkpoint.save(run, step, checkpoint.Contents({"a": np.zeros(1)}, {}, {}))
    make_run(tmp_path, "Pong", "b", [1.0] * 20)
    found, notes = read_results([tmp_path], tmp_path / "videos")
    assert ("a" in {part.run for part in found}) == is_complete
    assert ("is not complete yet" in " ".join(notes)) != is_complete


def test_a_complete_run_without_a_score_is_not_called_incomplete(tmp_path: Path) -> None:
    run = make_run(tmp_path, "Pong", "a", [1.0] * 20)
    (run / "episodes.csv").write_text("steps,score\n")
    with pytest.raises(UserError) as error:
        read_results([run], tmp_path / "videos")
    assert "contains no score ('" in str(error.value)
    assert "not complete" not in str(error.value)
    assert "no complete run" not in str(error.value)


def test_a_run_without_episodes_in_its_last_tenth_has_no_training_score(tmp_path: Path) -> None:
    run = make_run(tmp_path, "Pong", "a", [1.0] * 20)
    lines = (run / "episodes.csv").read_text().splitlines(keepends=True)
    (run / "episodes.csv").write_text("".join(lines[:10]))
    make_run(tmp_path, "Pong", "b", [1.0] * 20)
    found, notes = read_results([tmp_path], tmp_path / "videos")
    assert [part.run for part in found] == ["b"]
    assert notes == [
        f"'{run}' is complete, but no episode ended in the last 10% of its training: "
        "it has no training score"
    ]


def test_evaluations_of_the_last_checkpoint_are_pooled_over_their_seeds(
    tmp_path: Path,
) -> None:
    run = make_run(tmp_path, "Pong", "a", [1.0] * 20)
    videos = tmp_path / "videos"
    for number, (steps, seed, mean) in enumerate(
        [(500, 1, -20.0), (1000, 1, 10.0), (1000, 2, 12.0)]
    ):
        write(
            videos / "Pong" / "a" / f"{number}_evaluation_x.json",
            evaluation("a", mean, steps, seed),
        )
    write(videos / "Pong" / "a" / "9_evaluation_broken.json", {"kind": "evaluation"})
    found, notes = read_results([run], videos)
    scores = {part.measure: (part.score, part.episodes) for part in found}
    assert scores == {TRAINING: (1.0, 2), EVALUATION: (11.0, 60)}
    assert len(notes) == 1
    assert "9_evaluation_broken.json' is skipped" in notes[0]


def test_runs_with_changed_settings_are_reported_apart_from_their_recipe(tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        make_run(tmp_path, "Pong", name, [1.0] * 20, settings={"machine.seed": seed})
    make_run(tmp_path, "Pong", "c", [9.0] * 20, settings={"agent.n_step": 1})
    write(tmp_path / "videos" / "Pong" / "c" / "1_evaluation_x.json", evaluation("c", 8.0))
    found, _ = read_results([tmp_path / "Pong"], tmp_path / "videos")
    assert sorted((part.recipe, part.measure, part.score) for part in found) == [
        *[(DEFAULT, TRAINING, 1.0)] * 2,
        (f"{DEFAULT}, agent.n_step=1", EVALUATION, 8.0),
        (f"{DEFAULT}, agent.n_step=1", TRAINING, 9.0),
    ]


@pytest.mark.parametrize("given_twice", [False, True])
def test_a_file_that_is_given_twice_counts_once(tmp_path: Path, given_twice: bool) -> None:
    path = write(tmp_path / "1_evaluation_x.json", evaluation("a", 3.0))
    (found,), _ = read_results([path, tmp_path] if given_twice else [path], tmp_path)
    assert found.episodes == 30


def test_different_protocols_lengths_and_measures_get_separate_tables(tmp_path: Path) -> None:
    results = [
        result("default", "Pong", "pong", 1.0),
        result("default", "Pong", "pong", 2.0, run="s"),
        result(
            "default", "Pong", "pong", 3.0, conditions={"protocol": "tutorial", "frame skip": "4"}
        ),
        result("default", "Pong", "pong", 4.0, steps=10),
        result("default", "Pong", "pong", 5.0, measure=EVALUATION),
    ]
    tables = make_tables(results)
    assert [table.runs for table in tables] == [2, 1, 1, 1]
    assert "4 tables, because protocols or lengths differ" in as_text(tables)


def test_a_frame_skip_that_belongs_to_the_game_does_not_split_the_table() -> None:
    skips = {"protocol": "tutorial", "frame skip": "3"}
    invaders = result(
        "default", "SpaceInvadersDeterministic-v4", "space_invaders", 500.0, conditions=skips
    )
    pong = result(
        "default", "PongDeterministic-v4", "pong", 5.0, conditions=skips | {"frame skip": "4"}
    )
    (table,) = make_tables([invaders, pong])
    assert [row.conditions["frame skip"] for row in table.games] == ["4", "3"]


def test_table_values_match_values_computed_by_hand() -> None:
    """Scores of random and human play are -20.7 and 14.6 for Pong, 1.7 and 30.5 for Breakout."""
    results = [result("a", "Pong", "pong", score) for score in (-20.7, 14.6)]
    results += [result("a", "Breakout", "breakout", score) for score in (30.5, 59.3)]
    results += [
        result("b", game, rom, 14.6) for game, rom in (("Pong", "pong"), ("Breakout", "breakout"))
    ]
    (table,) = make_tables([part._replace(run=str(number)) for number, part in enumerate(results)])
    breakout, pong = table.games
    assert pong.scores["a"].mean == pytest.approx(-3.05)
    assert pong.scores["a"].interval == pytest.approx([-20.7, 14.6])
    assert breakout.scores["a"].human_normalised == pytest.approx(1.5)
    assert pong.scores["b"].interval is None
    assert table.overall is not None
    overall = table.overall.recipes["a"].estimates
    assert overall["mean"].value == pytest.approx(1.0)
    assert overall["interquartile mean"].value == pytest.approx(1.0)
    assert overall["optimality gap"].value == pytest.approx(0.25)
    over = {pair.recipe: pair.probability for pair in table.overall.improvements}
    # Compared with b, a has one loss and one tie on Pong, and two wins on Breakout.
    assert over == {"a": pytest.approx(0.625), "b": pytest.approx(0.375)}
    assert table.overall.profiles["a"].share[0] == 0.75


def test_published_scores_are_marked_by_whether_their_protocol_is_the_same() -> None:
    (same,) = make_tables([result("default", "Pong", "pong", 14.0)])
    entries = {entry.agent: entry for entry in same.games[0].published}
    assert entries["Dopamine IQN"].same_protocol
    assert not entries["human"].same_protocol
    assert not entries["Rainbow, paper"].same_protocol
    tutorial = {"protocol": "tutorial", "frame skip": "4"}
    explored = {"protocol": "dopamine", "frame skip": "4", "exploration": "epsilon 0.05 to 0.008"}
    for other in (
        {"steps": 1_000_000},
        {"measure": EVALUATION},
        {"conditions": tutorial},
        {"conditions": explored},
    ):
        (table,) = make_tables([result("default", "Pong", "pong", 14.0, **other)])
        assert not any(entry.same_protocol for entry in table.games[0].published)
        assert "another protocol (2)" in as_text([table])
        assert (
            "(2) training scores of protocol 'dopamine' (sticky probability 0.25, epsilon 0.01) at"
            in as_text([table])
        )


def test_a_report_fits_the_terminal_and_leaves_nothing_out() -> None:
    games = (("Pong", "pong"), ("Breakout", "breakout"))
    recipes = ("default", "a_recipe_of_my_own")
    scores = (1.0, 2.0, 14.25)
    (table,) = make_tables(
        [result(recipe, *game, score) for recipe in recipes for game in games for score in scores]
    )
    in_pipe = as_text([table])
    in_terminal = wrapped(as_text([table], 80), 80)
    assert max(map(len, in_pipe.splitlines())) > 80 >= max(map(len, in_terminal.splitlines()))
    punctuation = str.maketrans("", "", ",;")
    assert in_terminal.translate(punctuation).split() == in_pipe.translate(punctuation).split()


def test_games_without_human_scores_have_no_statistics() -> None:
    (table,) = make_tables([result("cartpole", "CartPole-v1", "", 500.0)._replace(rom=None)])
    assert table.overall is None
    assert table.games[0].published == []
    assert "500.0 (one run)" in as_text([table])
    assert "<img" not in as_page([table])


def test_one_run_has_no_interval_and_no_empty_column() -> None:
    (table,) = make_tables([result("default", "Pong", "pong", 14.6)])
    text = as_text([table])
    assert table.overall is None
    assert "14.6 (one run), human-normalized 1.000" in text
    for word in ("interval", "[", "bootstrap"):
        assert word not in text
    page = as_page([table])
    assert "interval" not in page
    assert "<img" not in page
    assert ">human-normalized</th>" in page
    (of_task,) = make_tables([result("cartpole", "CartPole-v1", "", 500.0)._replace(rom=None)])
    assert "human-normalized" not in as_page([of_task])


def test_single_runs_of_several_games_have_no_intervals() -> None:
    names = [("Pong", "pong"), ("Breakout", "breakout")]
    (table,) = make_tables([result("default", *game, 14.6) for game in names])
    assert table.overall is not None
    assert table.overall.recipes["default"].estimates["mean"].interval is None
    assert "interval" not in as_text([table])
    assert "interval" not in as_page([table])
    assert "Human-normalized, over 2 games (Breakout, Pong)\n" in as_text([table])
    (several,) = make_tables(
        [result("default", *game, 14.6, run=run) for game in names for run in "ab"]
    )
    assert "95 % stratified bootstrap intervals" in as_text([several])
    assert "95 % stratified bootstrap intervals" in as_page([several])


def test_statistics_use_only_the_games_that_every_recipe_has() -> None:
    games = [("a", "Pong", "pong"), ("a", "Breakout", "breakout"), ("b", "Pong", "pong")]
    (table,) = make_tables([result(*names, 1.0) for names in games])
    assert table.overall is not None
    assert table.overall.games == ["Pong"]


def test_names_from_a_run_are_escaped_in_html() -> None:
    runs = [
        result("<script>alert(1)</script>", "<b>Pong</b>", "pong", 1.0, run=run) for run in "ab"
    ]
    page = as_page(make_tables(runs))
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<b>" not in page
    assert page.count("data:image/svg+xml;base64,") == 2


def test_the_report_command_prints_tables_and_writes_json_and_html(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for game in ("Pong", "Breakout", "Boxing"):
        for seed in (1, 2):
            make_run(tmp_path / "checkpoints", game, f"default-seed{seed}", [float(seed)] * 20)
    assert main(["report", "checkpoints", "--out", "out/all"]) == 0
    printed = capsys.readouterr().out
    assert (
        "Training scores of the last 10%: protocol 'dopamine', 1,000 agent steps, 6 runs" in printed
    )
    assert "over 3 games (Boxing, Breakout, Pong)" in printed
    (table,) = json.loads(Path("out/all.json").read_text())
    assert table["games"][0]["scores"][DEFAULT]["mean"] == 1.5
    assert Path("out/all.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("name", "message"),
    [("nothing", "there is no 'nothing'"), ("empty", "contains no complete run")],
)
def test_a_report_without_complete_runs_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    with pytest.raises(UserError, match=message):
        read_results([Path(name)], Path("videos"))


def test_a_json_file_of_another_kind_is_not_an_evaluation(tmp_path: Path) -> None:
    for document, message in (
        ({"kind": "other"}, "neither a recording"),
        ({}, "neither a recording"),
    ):
        path = write(tmp_path / "one.json", document)
        with pytest.raises(UserError, match=message):
            read_results([path], tmp_path)


def test_one_argument_may_name_several_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for root, game in (("a b", "Pong"), ("o'brien", "Boxing"), ("c1", "Breakout"), ("c2", "Qbert")):
        make_run(tmp_path / root, game, "default-seed1", [1.0] * 20)
    for words, runs in (
        (["a b"], 1),
        (["o'brien"], 1),
        (["c?"], 2),
        (['"a b" c*'], 3),
        (["o'brien c1"], 2),
        (["c1", "a b"], 2),
    ):
        assert main(["report", *words]) == 0
        assert f", {runs} run" in capsys.readouterr().out, words
    assert main(["report", "c1 no*where"]) == 0
    assert "note: there is no 'no*where'" in capsys.readouterr().err
    assert main(["report", "no*where"]) == 2
    assert capsys.readouterr().err == "error: there is no 'no*where'\n"


def test_dollar_signs_in_a_recipe_name_are_not_rendered_as_formulas(tmp_path: Path) -> None:
    for game in ("Pong", "Breakout", "Boxing"):
        make_run(tmp_path, game, "default-seed1", [1.0] * 20)
    (table,) = make_tables(
        [
            result._replace(recipe="a$x_1$b")
            for result in read_results([tmp_path], tmp_path / "videos")[0]
        ]
    )
    with rc_context({"svg.fonttype": "none"}):  # text as text instead of outlines
        page = as_page([table])
    pictures = re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", page)
    assert len(pictures) == 2
    for picture in pictures:
        # A comment in the SVG contains the original text, however it is drawn.
        drawn = re.sub(r"<!--.*?-->", "", base64.b64decode(picture).decode(), flags=re.DOTALL)
        assert ">a$x_1$b<" in drawn
