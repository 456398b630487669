"""Tests that the table of measured scores agrees with docs/results."""

import csv
import re
from collections import defaultdict
from pathlib import Path
from statistics import mean

from atari_dqn.config.resolve import load_config, read_recipe
from atari_dqn.games.measured_scores import measured_score, measured_scores

RESULTS = Path(__file__).parent.parent.parent / "docs" / "results"
CURVE = re.compile(r"(.*)-((?:default|long)@\d+)-seed\d+\.csv")
PROTOCOLS = {"default": "tutorial", "long": "dopamine"}


def test_scores_of_atari_games_are_means_of_the_learning_curves() -> None:
    seeds: dict[tuple[str, str, str, int], list[float]] = defaultdict(list)
    current = {f"{name}@{read_recipe(name).version}" for name in PROTOCOLS}
    for path in (RESULTS / "curves").glob("*.csv"):
        match = CURVE.fullmatch(path.name)
        assert match is not None
        game, recipe = match.groups()
        if recipe not in current:
            continue
        protocol = PROTOCOLS[recipe.partition("@")[0]]
        for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
            key = (recipe, game.replace("-", "_"), protocol, int(row["agent_steps"]))
            seeds[key].append(float(row["training_score"]))
    expected = {key: round(mean(scores), 1) for key, scores in seeds.items()}
    table = {row[:4]: row.score for row in measured_scores() if row.protocol != "classic"}
    assert table == expected


def test_scores_of_other_tasks_are_means_of_the_evaluations() -> None:
    text = (RESULTS / "results.md").read_text(encoding="utf-8")
    rows = [row for row in measured_scores() if row.protocol == "classic"]
    assert len(rows) == 3
    for row in rows:
        (line,) = re.findall(rf"^\| `{row.game}` \| `{row.recipe}` \|.*$", text, re.MULTILINE)
        scores = [float(score) for score in re.findall(r"(-?\d+\.\d) \+-", line)]
        assert len(scores) == 5
        assert row.score == round(mean(scores), 1)
        assert f"| {row.agent_steps:,} |" in line


def test_scores_between_measured_steps_are_interpolated_and_none_are_invented() -> None:
    recipe = load_config("pong")[0].versioned_recipe
    at_700, at_800 = (measured_score(recipe, "pong", n) for n in (700_000, 800_000))
    between = measured_score(recipe, "pong", 750_000)
    assert at_700 is not None
    assert at_800 is not None
    assert between is not None
    assert min(at_700[0], at_800[0]) <= between[0] <= max(at_700[0], at_800[0])
    last = measured_score("long@1", "breakout", 2_500_000)
    assert measured_score("long@1", "breakout", 9_000_000) == last == (250.9, "dopamine")
    first = min(row.agent_steps for row in measured_scores() if row[:2] == (recipe, "breakout"))
    assert measured_score(recipe, "breakout", first) is not None
    assert measured_score(recipe, "breakout", first - 1) is None
    assert measured_score("default@1", "breakout", 500_000) is None
    assert measured_score(recipe, "tetris", 500_000) is None
