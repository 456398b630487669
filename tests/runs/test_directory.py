import json
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
from atari_dqn.runs import directory as runs
from atari_dqn.workflows import train as workflow


def config(**overrides: object) -> Config:
    return load_config(
        "ALE/Pong-v5",
        overrides={name.replace("__", "."): value for name, value in overrides.items()},
    )[0]


def make_run(root: Path, name: str, steps: int, total: int, age: float) -> Path:
    run = runs.choose(root, config(), name)
    runs.write_circumstances(run, config(training__total_steps=total))
    if steps:
        checkpoint.save(run, steps, {"a": np.zeros(1)}, {}, {})
    os.utime(run, (age, age))
    return run


def test_a_name_a_path_and_nothing(tmp_path: Path) -> None:
    game = tmp_path / "ALE-Pong-v5"
    assert runs.choose(tmp_path, config(), "mine") == game / "mine"
    assert runs.choose(tmp_path, config(), "./mine") == Path("./mine")
    assert runs.choose(tmp_path, config(), str(tmp_path / "mine")) == tmp_path / "mine"
    new = runs.choose(tmp_path, config(machine__seed=7), None)
    assert new.parent == game
    assert new.name.startswith("default-seed7-20")


def test_last_is_the_run_written_to_last(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no run in"):
        runs.choose(tmp_path, config(), "last")
    newer = make_run(tmp_path, "a", 10, 100, age=2_000)
    make_run(tmp_path, "b", 10, 100, age=1_000)
    assert runs.choose(tmp_path, config(), "last") == newer


def test_unfinished_runs_are_those_that_could_go_on(tmp_path: Path) -> None:
    make_run(tmp_path, "finished", 100, 100, age=1)
    make_run(tmp_path, "without-checkpoint", 0, 100, age=2)
    broken = make_run(tmp_path, "unreadable", 50, 100, age=3)
    (broken / "config.toml").write_text("[")
    half = make_run(tmp_path, "half", 50, 100, age=4)
    assert runs.unfinished(half.parent) == [half]
    assert runs.unfinished(tmp_path / "nothing") == []


def test_a_run_continues_with_its_own_settings_and_a_new_total() -> None:
    stored = config(agent__gamma=0.9, training__total_steps=100)
    asked = config(training__total_steps=500)
    merged = runs.merge(stored, asked, {"training.total_steps"})
    assert merged.agent.gamma == 0.9
    assert merged.training.total_steps == 500
    assert runs.merge(stored, asked, set()) == stored


def test_a_run_may_be_continued_in_another_storage() -> None:
    merged = runs.merge(
        config(), config(replay__storage="disk", agent__gamma=0.9), {"replay.storage"}
    )
    assert merged == config(replay__storage="disk")


HOW_OFTEN = [
    f"training.{what}"
    for what in (
        "log_period",
        "checkpoint_period",
        "keep_period",
        "evaluation_period",
        "evaluation_episodes",
    )
]


@pytest.mark.parametrize(
    "what", [*HOW_OFTEN, "machine.environment_threads", "machine.inter_op_threads"]
)
def test_what_nothing_that_is_learnt_depends_on_may_change(what: str) -> None:
    asked = config(**{what.replace(".", "__"): 7})
    assert runs.merge(config(), asked, {what}) == asked


@pytest.mark.parametrize(
    ("cores", "batch_size", "asked", "threads"),
    [
        (8, 32, 3, 3),
        (8, 32, 0, 4),
        (8, 64, 0, 4),
        (8, 65, 0, 8),
        (2, 32, 0, 1),
        (1, 32, 0, 1),
        (1, 256, 0, 1),
    ],
)
def test_thread_counts_are_named(
    cores: int, batch_size: int, asked: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "usable_cores", lambda: cores)
    machine = runs.for_this_machine(
        config(machine__intra_op_threads=asked, agent__batch_size=batch_size)
    ).machine
    assert (machine.intra_op_threads, machine.inter_op_threads, machine.environment_threads) == (
        threads,
        cores,
        cores,
    )


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fpu amx_bf16 sse", "bfloat16"), ("fpu avx512_bf16", "bfloat16"), ("fpu avx512f", "float32")],
)
def test_precision_is_named_by_what_the_processor_has(
    flags: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    automatic, told = config(machine__precision="auto"), config(machine__precision="float32")
    vectors, _ = load_config("CartPole-v1")
    monkeypatch.setattr(Path, "read_text", lambda path, encoding: f"flags\t: {flags}\n")
    assert runs.for_this_machine(automatic).machine.precision == expected
    assert runs.for_this_machine(told).machine.precision == "float32"
    assert (vectors.machine.precision, runs.for_this_machine(vectors).machine.precision) == (
        "auto",
        "float32",
    )


@pytest.mark.parametrize(("has", "slow"), [("fpu avx2", True), ("fpu avx2 avx512_bf16", False)])
def test_a_precision_that_the_processor_has_no_units_for_is_pointed_out(
    has: str, slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, other = config(machine__precision="bfloat16"), config(machine__precision="float32")
    monkeypatch.setattr(Path, "read_text", lambda path, encoding: f"flags\t: {has}\n")
    assert [("bfloat16" in note) for note in runs.notes_on_speed(asked)] == [True] * slow
    assert runs.notes_on_speed(other) == []


@pytest.mark.parametrize(
    "given", ["agent.gamma", "recipe", "protocol", "machine.seed", "machine.intra_op_threads"]
)
def test_a_run_does_not_continue_with_something_else(given: str) -> None:
    stored = config(agent__gamma=0.9).model_copy(update={"recipe": "mine", "protocol": "dopamine"})
    with pytest.raises(UserError, match=f"this run has {given} = "):
        runs.merge(stored, config(machine__seed=2, machine__intra_op_threads=2), {given})


def test_every_start_of_a_run_is_noted(tmp_path: Path) -> None:
    run = make_run(tmp_path, "a", 0, 100, age=1)
    runs.write_circumstances(run, config())
    starts = json.loads((run / "run.json").read_text())["starts"]
    assert len(starts) == 2
    assert starts[0]["packages"]["ale-py"]


def test_a_held_directory_is_refused_to_others_and_free_again_afterwards(tmp_path: Path) -> None:
    run = tmp_path / "game" / "run"
    for _ in range(2):
        with runs.held(run):
            (run / "something").touch()
            with pytest.raises(UserError, match=f"in use by process {os.getpid()}"), runs.held(run):
                pass
    assert (run / "something").exists()


def test_a_directory_that_nothing_was_written_into_goes_again(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), runs.held(tmp_path / "game" / "run"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"'.*file' is no directory"):
        runs.check_writable(tmp_path / "file" / "runs" / "mine")
    runs.check_writable(tmp_path / "new" / "runs")
    assert not (tmp_path / "new").exists()


def a_folder(path: Path) -> None:
    path.mkdir()


def a_run(path: Path) -> None:
    path.mkdir()
    (path / runs.CONFIG).touch()


@pytest.mark.parametrize("take", [a_folder, a_run, Path.touch])
@pytest.mark.parametrize("taken", [0, 1, 3])
def test_a_new_run_takes_the_next_name_that_is_free(
    tmp_path: Path, take: Callable[[Path], None], taken: int
) -> None:
    names = ["run", "run-2", "run-3", "run-4"]
    for name in names[:taken]:
        take(tmp_path / name)
    with runs.claimed(tmp_path / "run") as directory, runs.held(directory):
        assert directory == tmp_path / names[taken]
        (directory / "something").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == names[: taken + 1]


def test_no_two_runs_claim_the_same_directory(tmp_path: Path) -> None:
    wanted = tmp_path / "root" / "game" / "run"
    together = threading.Barrier(8)

    def claim(_: int) -> Path:
        together.wait()
        with runs.claimed(wanted) as directory:
            (directory / "something").touch()
            together.wait()
        return directory

    with ThreadPoolExecutor(8) as pool:
        found = sorted(path.name for path in pool.map(claim, range(8)))
    assert found == ["run", *(f"run-{number}" for number in range(2, 9))]


def test_a_claimed_directory_that_nothing_was_written_into_goes_again(tmp_path: Path) -> None:
    wanted = tmp_path / "root" / "game" / "run"
    with pytest.raises(ZeroDivisionError), runs.claimed(wanted) as directory, runs.held(directory):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with runs.claimed(wanted) as first:
        (first / "something").touch()
        with runs.claimed(wanted) as second, runs.held(second):
            assert second.name == "run-2"
        assert list(wanted.parent.iterdir()) == [first]


def test_a_directory_that_cannot_be_claimed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for wanted in (
        tmp_path / "file" / "game" / "run",
        Path("/proc/runs/game/run"),
        tmp_path / ("x" * 300),
    ):
        with pytest.raises(UserError, match=r"cannot write to '.*'"), runs.claimed(wanted):
            pass


def test_runs_of_the_same_second_have_directories_and_recordings_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[tuple[str, str]] = []

    def train(job: Any) -> workflow.RunOutcome:
        (job.directory / runs.CONFIG).write_text(job.config.to_toml(), encoding="utf-8")
        found.append((job.directory.name, job.videos.name))
        if len(found) == 1:  # another one begins while this one goes on
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
