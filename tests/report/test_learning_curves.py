"""Tests the plots of learning curves."""

import csv
import html
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure

from atari_dqn.cli import main
from atari_dqn.config.resolve import config_directory, load_config, read_recipe
from atari_dqn.errors import UserError
from atari_dqn.report.learning_curves import (
    Curve,
    confidence_band,
    named_apart,
    plot_runs,
    read_curve,
)

VERSION = read_recipe("default").version
DEFAULT = f"default@{VERSION}"
COLUMNS = ("episode", "steps", "score", "mean_100", "length")


def write_run(
    directory: Path,
    scores: list[float],
    recipe: str = "default",
    overrides: dict[str, Any] | None = None,
) -> Path:
    directory.mkdir()
    (directory / "config.toml").write_text(
        load_config("breakout", recipe, overrides=overrides)[0].to_toml(), encoding="utf-8"
    )
    with (directory / "episodes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(
            [k + 1, 10 * (k + 1), score, np.mean(scores[: k + 1]), 10]
            for k, score in enumerate(scores)
        )
    return directory


def colors(path: Path) -> set[tuple[int, ...]]:
    picture = np.asarray(cv2.imread(str(path)))
    return {tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()}


def test_a_run_is_plotted_with_its_scores_and_their_mean(tmp_path: Path) -> None:
    run = write_run(tmp_path / "one", [1.0, 5.0, 9.0])
    curve = read_curve(run)
    assert curve.label == f"Breakout, {DEFAULT}"
    assert (curve.steps.tolist(), curve.score.tolist(), curve.mean_100.tolist()) == (
        [10, 20, 30],
        [1, 5, 9],
        [1, 3, 5],
    )
    png, svg = plot_runs([run], tmp_path / "new" / "curves")
    assert (png.name, svg.name) == ("curves.png", "curves.svg")
    assert len(colors(png)) > 50
    assert "<svg" in svg.read_text(encoding="utf-8")


def test_runs_of_one_recipe_share_a_curve_and_other_recipes_get_their_own(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / name, scores)
        for name, scores in (("a", [1.0, 2.0]), ("b", [3.0, 4.0]))
    ]
    other = write_run(tmp_path / "c", [9.0, 9.0], recipe="nature")
    together = plot_runs([*runs, other], tmp_path / "curves")[1].read_text(encoding="utf-8")
    assert f"Breakout, {DEFAULT}: mean of 2 runs, 95 % interval" in together
    assert "Breakout, nature@1: mean of 100 episodes" in together


def test_runs_with_changed_settings_get_their_own_curve(tmp_path: Path) -> None:
    usual = [
        write_run(tmp_path / name, [1.0, 2.0], overrides={"machine.seed": seed})
        for seed, name in enumerate("ab")
    ]
    other = write_run(
        tmp_path / "c", [3.0, 4.0], overrides={"agent.n_step": 1, "training.total_steps": 77}
    )
    labels = [curve.label for curve in named_apart([read_curve(run) for run in (other, *usual)])]
    assert labels == [
        f"Breakout, {DEFAULT}, agent.n_step=1",
        f"Breakout, {DEFAULT}",
        f"Breakout, {DEFAULT}",
    ]
    drawn = plot_runs([*usual, other], tmp_path / "curves.png")
    assert [path.name for path in drawn] == ["curves.png", "curves.svg"]
    assert f"Breakout, {DEFAULT}: mean of 2 runs" in drawn[1].read_text(encoding="utf-8")


def test_the_band_is_a_bootstrap_interval_over_the_steps_common_to_all_runs() -> None:
    random = np.random.default_rng(3)
    levels = random.normal(size=8)
    curves = [
        Curve(
            "x",
            np.array([k, 100.0 + k]),
            np.zeros(2),
            np.full(2, level),
            load_config("breakout")[0],
        )
        for k, level in enumerate(levels)
    ]
    band = confidence_band(curves)
    assert (band.steps[0], band.steps[-1]) == (7, 100)
    means = [random.choice(levels, 8).mean() for _ in range(20_000)]
    np.testing.assert_allclose(band.mean, levels.mean())
    np.testing.assert_allclose(band.low, np.percentile(means, 2.5), atol=0.05)
    np.testing.assert_allclose(band.high, np.percentile(means, 97.5), atol=0.05)


def test_plotting_a_directory_that_is_not_a_run_is_a_one_line_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plot", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: '{tmp_path}' is not a run: it has no episodes.csv\n"
    with pytest.raises(UserError, match="no episode has ended"):
        plot_runs([write_run(tmp_path / "empty", [])], tmp_path / "curves")
    (tmp_path / "file").write_text("", encoding="utf-8")
    run = write_run(tmp_path / "one", [1.0])
    assert main(["plot", str(run), "--out", str(tmp_path / "file" / "curves")]) == 2
    assert "is not a directory" in capsys.readouterr().err


def test_the_plot_command_writes_a_png_and_an_svg(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "one", [1.0, 2.0])
    stem = tmp_path / "mine"
    assert main(["plot", str(run), "--out", str(stem)]) == 0
    assert capsys.readouterr().out == f"{stem}.png\n{stem}.svg\n"
    assert Path(f"{stem}.png").is_file()
    assert Path(f"{stem}.svg").is_file()


@pytest.mark.parametrize("name", ["a$x_1$b", "$", "$a", "$$", r"\$a$", "a^b_c{d}"])
def test_dollar_signs_in_a_recipe_name_are_not_rendered_as_formulas(
    tmp_path: Path, name: str
) -> None:
    recipe = tmp_path / f"{name}.toml"
    recipe.write_text(
        (config_directory() / "default.toml").read_text(encoding="utf-8"), encoding="utf-8"
    )
    run = write_run(tmp_path / "one", [1.0, 2.0], recipe=str(recipe))
    assert read_curve(run).label == f"Breakout, {name}@{VERSION}"
    with rc_context({"svg.fonttype": "none"}):  # text as text instead of outlines
        _, svg = plot_runs([run], tmp_path / "$curves$")
    # A comment in the SVG contains the original text, however it is drawn.
    drawn = re.sub(r"<!--.*?-->", "", svg.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert f">Breakout, {name}@{VERSION}: mean of 100 episodes<" in html.unescape(drawn)


def test_one_argument_may_name_several_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("o'brien", "b 1", "b 2", "$c"):
        write_run(tmp_path / name, [1.0, 2.0])
    for words, drawn in (
        (["o'brien"], 1),
        (["b 1"], 1),
        (["'b 1' $c"], 2),
        (["b*", "$c"], 3),
        (["o'brien $c"], 2),
    ):
        found: list[Curve] = []
        monkeypatch.setattr(
            "atari_dqn.report.learning_curves._figure",
            lambda curves, found=found: found.extend(curves) or Figure(),
        )
        assert main(["plot", *words]) == 0
        assert len(found) == drawn, words
