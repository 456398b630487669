"""Tests the benchmark tools."""

import json
from pathlib import Path

import imageio.v3 as imageio
import pytest

from atari_dqn.config.resolve import load_config
from benchmarks import bench, draw_results, gpu
from benchmarks.comparisons import Comparison, Contender
from benchmarks.parts import operations
from benchmarks.speed import speed


def test_the_operation_count_of_an_update_matches_a_calculation_by_hand() -> None:
    forward = (
        20 * 20 * 32 * 8 * 8 * 4
        + 9 * 9 * 64 * 4 * 4 * 32
        + 7 * 7 * 64 * 3 * 3 * 64
        + 3136 * 512
        + 512 * 4
    )
    first = 20 * 20 * 32 * 8 * 8 * 4
    assert operations(32) == 32 * 2 * (2 * forward + forward + forward - first)


def test_contenders_run_in_turns_and_results_are_a_table_and_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    order: list[str] = []
    numbers = {"a": iter([2.0, 4.0, 3.0]), "b": iter([6.0, 9.0, 5.0])}

    def run(arguments: str) -> float:
        order.append(arguments)
        return next(numbers[arguments])

    monkeypatch.setattr(bench, "run", run)
    monkeypatch.setattr(
        bench, "COMPARISONS", [Comparison("ab", "ms", [Contender("A", "a"), Contender("B", "b")])]
    )
    out = tmp_path / "bench.json"
    monkeypatch.setattr("sys.argv", ["bench", "--repeats", "3", "--out", str(out)])
    bench.main()
    assert order == ["a", "b", "b", "a", "a", "b"]
    printed = capsys.readouterr().out
    assert "| A | 3 | 2 to 4 | 1.00 |" in printed
    assert "| B | 6 | 5 to 9 | 2.00 |" in printed
    (result,) = json.loads(out.read_text())["results"]
    assert result["values"] == {"A": [2.0, 4.0, 3.0], "B": [6.0, 9.0, 5.0]}
    assert result["commands"] == {"A": "python -m a", "B": "python -m b"}


def test_a_failing_command_is_reported_with_its_output() -> None:
    with pytest.raises(SystemExit, match=r"(?s)benchmarks.parts act nobody failed.*invalid choice"):
        bench.run("benchmarks.parts act nobody")


def test_the_speed_of_a_short_run_is_measured() -> None:
    options = "--training.warmup_steps 100 --training.log_period 100 --training.environments 8"
    options += " --agent.batch_size 8 --network.hidden_units 32"
    assert speed("BreakoutNoFrameskip-v4", options, 500) > 0


def test_the_picture_of_results_shows_every_seed_of_the_current_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, _ = load_config("PongDeterministic-v4")
    for game in draw_results.GAMES:
        curves = draw_results.read_seeds(game, config.versioned_recipe)
        assert len(curves) == 3
        assert all(curve.steps.tolist() == curves[0].steps.tolist() for curve in curves)
    monkeypatch.setattr(draw_results, "ROOT", tmp_path)
    monkeypatch.setattr(draw_results, "PICTURE", tmp_path / "curves.png")
    draw_results.main()
    assert imageio.imread(tmp_path / "curves.png").shape == (450, 1200, 4)


def test_a_gpu_benchmark_finds_out_whether_a_run_repeats(tmp_path: Path) -> None:
    short = "--total-steps 100 --training.warmup_steps 60 --training.evaluation_period 0"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu, "REPEATED", f"{short} --replay.capacity 1000 --agent.batch_size 4")
        first, second = gpu.digests(tmp_path, "false")
    assert first == second
    assert len(first) == 64  # a SHA-256
