"""Tests how the directory of a run is chosen and claimed."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atari_dqn.cli import main
from atari_dqn.config.resolve import load_config
from atari_dqn.config.schema import Config
from atari_dqn.errors import UserError
from atari_dqn.runs import checkpoint
from atari_dqn.runs.circumstances import write_circumstances
from atari_dqn.runs.directory import CONFIG, check_writable, choose, claimed, newest_run, unfinished
from atari_dqn.runs.lock import held
from atari_dqn.workflows import train as workflow


def config(**overrides: object) -> Config:
    return load_config(
        "ALE/Pong-v5",
        overrides={name.replace("__", "."): value for name, value in overrides.items()},
    )[0]


def make_run(root: Path, name: str, steps: int, total: int, age: float) -> Path:
    run = choose(root, config(), name)
    write_circumstances(run, config(training__total_steps=total))
    if steps:
        checkpoint.save(run, steps, checkpoint.Contents({"a": np.zeros(1)}, {}, {}))
    os.utime(run, (age, age))
    return run


def test_a_run_directory_may_be_given_as_a_name_a_path_or_not_at_all(tmp_path: Path) -> None:
    game = tmp_path / "ALE-Pong-v5"
    assert choose(tmp_path, config(), "mine") == game / "mine"
    assert choose(tmp_path, config(), "./mine") == Path("./mine")
    assert choose(tmp_path, config(), str(tmp_path / "mine")) == tmp_path / "mine"
    new = choose(tmp_path, config(machine__seed=7), None)
    assert new.parent == game
    assert new.name.startswith("default-seed7-20")


def test_last_means_the_run_that_was_written_to_last(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no run in"):
        choose(tmp_path, config(), "last")
    newer = make_run(tmp_path, "a", 10, 100, age=2_000)
    make_run(tmp_path, "b", 10, 100, age=1_000)
    assert choose(tmp_path, config(), "last") == newer


def test_unfinished_runs_are_those_that_can_be_continued(tmp_path: Path) -> None:
    make_run(tmp_path, "finished", 100, 100, age=1)
    make_run(tmp_path, "without-checkpoint", 0, 100, age=2)
    broken = make_run(tmp_path, "unreadable", 50, 100, age=3)
    (broken / "config.toml").write_text("[")
    half = make_run(tmp_path, "half", 50, 100, age=4)
    assert unfinished(half.parent) == [half]
    assert unfinished(tmp_path / "nothing") == []


def test_a_file_in_place_of_a_directory_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"'.*file' is not a directory"):
        check_writable(tmp_path / "file" / "runs" / "mine")
    check_writable(tmp_path / "new" / "runs")
    assert not (tmp_path / "new").exists()


def a_folder(path: Path) -> None:
    path.mkdir()


def a_run(path: Path) -> None:
    path.mkdir()
    (path / CONFIG).touch()


@pytest.mark.parametrize("take", [a_folder, a_run, Path.touch])
@pytest.mark.parametrize("taken", [0, 1, 3])
def test_a_new_run_takes_the_next_free_name(
    tmp_path: Path, take: Callable[[Path], None], taken: int
) -> None:
    names = ["run", "run-2", "run-3", "run-4"]
    for name in names[:taken]:
        take(tmp_path / name)
    with claimed(tmp_path / "run") as directory, held(directory):
        assert directory == tmp_path / names[taken]
        (directory / "something").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == names[: taken + 1]


def test_no_two_runs_claim_the_same_directory(tmp_path: Path) -> None:
    requested = tmp_path / "root" / "game" / "run"
    together = threading.Barrier(8)

    def claim(_: int) -> Path:
        together.wait()
        with claimed(requested) as directory:
            (directory / "something").touch()
            together.wait()
        return directory

    with ThreadPoolExecutor(8) as pool:
        found = sorted(path.name for path in pool.map(claim, range(8)))
    assert found == ["run", *(f"run-{number}" for number in range(2, 9))]


def test_a_claimed_directory_that_stays_empty_is_removed(tmp_path: Path) -> None:
    requested = tmp_path / "root" / "game" / "run"
    with pytest.raises(ZeroDivisionError), claimed(requested) as directory, held(directory):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with claimed(requested) as first:
        (first / "something").touch()
        with claimed(requested) as second, held(second):
            assert second.name == "run-2"
        assert list(requested.parent.iterdir()) == [first]


def test_a_directory_that_cannot_be_claimed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for requested in (
        tmp_path / "file" / "game" / "run",
        Path("/proc/runs/game/run"),
        tmp_path / ("x" * 300),
    ):
        with pytest.raises(UserError, match=r"cannot write to '.*'"), claimed(requested):
            pass


def test_runs_started_in_the_same_second_have_separate_directories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[tuple[str, str]] = []

    def train(job: Any) -> workflow.RunOutcome:
        (job.directory / CONFIG).write_text(job.config.to_toml(), encoding="utf-8")
        found.append((job.directory.name, job.videos.name))
        if len(found) == 1:  # start another run while this one is running
            assert main(words) == 0
        state = workflow.RunState.COMPLETE
        return workflow.RunOutcome(state, job.directory, job.config, 0, job.directory)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(workflow, "_train", train)
    monkeypatch.setattr("atari_dqn.runs.directory.time.strftime", lambda form: "20260101-000000")
    words = ["train", "--game", "CartPole-v1"]
    assert main(words) == 0
    assert main(words) == 0
    name = "cartpole-seed1-20260101-000000"
    assert found == [(name, name), (f"{name}-2", f"{name}-2"), (f"{name}-3", f"{name}-3")]


def test_the_newest_run_has_a_checkpoint_and_is_of_the_game(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no run with a checkpoint.*--game breakout"):
        newest_run(tmp_path)
    older = make_run(tmp_path, "older", 10, 100, age=1_000)
    pong = make_run(tmp_path, "pong", 10, 100, age=2_000)
    make_run(tmp_path, "without-checkpoint", 0, 100, age=3_000)
    released = make_run(tmp_path, str(tmp_path / "released" / "agent"), 10, 100, age=4_000)
    assert released.is_dir()
    assert newest_run(tmp_path) == pong
    os.utime(older, (2_500, 2_500))
    assert newest_run(tmp_path) == older
    for name in ("pong", "PongDeterministic-v4", "ALE/Pong-v5"):
        assert newest_run(tmp_path, name) == older
    with pytest.raises(UserError, match=r"no run of breakout .*--game breakout"):
        newest_run(tmp_path, "breakout")
    with pytest.raises(UserError, match="did you mean"):
        newest_run(tmp_path, "brekout")
