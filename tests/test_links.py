"""Links in a run directory never cause files outside of it to be written, truncated or deleted."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atari_dqn.backend.profiler import Trace
from atari_dqn.config.resolve import load_config
from atari_dqn.config.schema import Config
from atari_dqn.errors import UserError
from atari_dqn.files.atomic_write import write_whole
from atari_dqn.runs import checkpoint
from atari_dqn.runs.circumstances import write_circumstances
from atari_dqn.runs.lock import held, is_held
from atari_dqn.sweep.plan import Run, State
from atari_dqn.sweep.worker import Worker, perform
from atari_dqn.training.logs import RunLogs, cut_logs
from tests.catch import CatchGames
from tests.training.test_loop import catch
from tests.training.test_loop import config as small

ARRAYS = {"counters": np.arange(4), "frame_files": np.ones((1, 2), np.int64)}
ROW = {"steps": 10, "epsilon": 0.5, "score": 1.0, "loss": 0.25, "mean_max_q": 2.0}
EVENTS = "events.out.tfevents.1.host.1.v2"
FRAMES = "000000040.npz"
LOGS = ("metrics.csv", "episodes.csv", "evaluations.csv", EVENTS)
# Names in a run directory: links at the first are refused, links at the second are replaced.
REFUSED = (
    *("run.lock", "run.json", *LOGS, "errors.log", "train.log", "worker.json", "replay", "plugins"),
    *("plugins/profile", f"replay/{FRAMES}", f"replay/.writing-{FRAMES}", "replay/000000001.npz"),
)
REPLACED = (
    *("config.toml", ".writing-config.toml", ".writing-run.json", ".writing-run.lock"),
    *(".writing-step-000000040", "step-000000040", "step-000000040.replaced"),
)

Link = Callable[[Path, Path], object]
LINKS: dict[str, Link] = {
    "to a file": lambda path, outside: path.symlink_to(outside / "thesis.txt"),
    "to a folder": lambda path, outside: path.symlink_to(outside / "documents"),
    "to nothing": lambda path, outside: path.symlink_to(outside / "nothing"),
    "to itself": lambda path, outside: path.symlink_to(path),
}


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Creates files outside the run, some of which are named like files of a run."""
    documents = tmp_path / "outside" / "documents"
    (documents / "letters").mkdir(parents=True)
    (documents.parent / "thesis.txt").write_text("three years of work\n" * 100)
    for name in (
        "list.txt",
        "000000001.npz",
        ".writing-000000040.npz",
        "manifest.json",
        "letters/a",
    ):
        (documents / name).write_text(f"this is {name}\n" * 50)
    return documents.parent


@pytest.fixture
def run(tmp_path: Path) -> Path:
    directory = tmp_path / "runs" / "mine"
    directory.mkdir(parents=True)
    return directory


def content(folder: Path) -> dict[str, Any]:
    """Returns everything below a folder: the bytes of files, the targets of links, and folders."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = path.readlink()
        else:
            found[name] = path.read_bytes() if path.is_file() else None
    return found


def settings() -> Config:
    return load_config("ALE/Pong-v5")[0]


def save(run: Path, step: int, name: str = FRAMES, **notes: Any) -> Path:
    entry = checkpoint.share(run, name, lambda path: path.write_bytes(b"frames"))
    return checkpoint.save(run, step, checkpoint.Contents(ARRAYS, {}, notes, {name: entry}))


def write_logs(run: Path) -> None:
    logs = RunLogs(run, 0, 100)
    logs.metrics(10, ROW)
    logs.evaluation(10, {"mean": 1.0}, "scored")
    logs.positions()
    logs.close()


def train(run: Path) -> None:
    """Writes to a run directory what a training run writes, without training."""
    with held(run):
        write_circumstances(run, settings())
        cut_logs(run, {"metrics.csv": 0, EVENTS: 0})
        write_logs(run)
        save(run, 40)
        checkpoint.prune(run, 1)


def make_link(run: Path, name: str, link: Link, outside: Path) -> Path:
    path = run / name
    path.parent.mkdir(exist_ok=True)
    link(path, outside)
    return path


@pytest.mark.parametrize("kind", LINKS)
@pytest.mark.parametrize("name", REFUSED)
def test_a_link_where_a_run_writes_is_refused_before_anything_is_written(
    run: Path, outside: Path, name: str, kind: str
) -> None:
    path = make_link(run, name, LINKS[kind], outside)
    before = content(outside), content(run)
    with pytest.raises(UserError) as refusal:
        train(run)
    advice = "a run writes nothing through links: link the whole run directory instead"
    expected = f"'{path}' is a link, and {advice}"
    assert str(refusal.value) == expected
    assert (content(outside), content(run)) == before


@pytest.mark.parametrize("kind", LINKS)
@pytest.mark.parametrize("name", REPLACED)
def test_a_link_at_the_path_of_an_atomically_written_file_is_replaced(
    run: Path, outside: Path, name: str, kind: str
) -> None:
    path = make_link(run, name, LINKS[kind], outside)
    before = content(outside)
    train(run)
    assert content(outside) == before
    assert not path.is_symlink() or path.name.startswith(".writing-run.lock")
    assert checkpoint.load(run).step == 40


DURING: dict[str, tuple[str, Callable[[Path], object]]] = {
    **{f"{name}, appended to": (name, write_logs) for name in LOGS[:3]},
    **{f"{name}, cut": (name, lambda run: cut_logs(run, {})) for name in LOGS},
    "replay, written to": ("replay", lambda run: save(run, 40)),
    "replay, pruned": ("replay", lambda run: checkpoint.prune(run, 1)),
    "frames, written": (f"replay/{FRAMES}", lambda run: save(run, 40)),
    "run.json": ("run.json", lambda run: write_circumstances(run, settings())),
    "plugins": ("plugins", lambda run: Trace(run, 1, after=0).advance(0)),
    "plugins/profile": ("plugins/profile", lambda run: Trace(run, 1, after=0).advance(0)),
}


@pytest.mark.parametrize("kind", LINKS)
@pytest.mark.parametrize("what", DURING)
def test_a_link_that_appears_during_a_run_is_refused(
    run: Path, outside: Path, what: str, kind: str
) -> None:
    name, act = DURING[what]
    path = make_link(run, name, LINKS[kind], outside)
    before = content(outside)
    with pytest.raises(UserError, match="link the whole run directory instead") as refusal:
        act(run)
    assert str(path) in str(refusal.value)
    assert content(outside) == before


@pytest.mark.parametrize("kind", LINKS)
def test_links_at_the_paths_of_temporary_files_are_replaced_during_a_run(
    run: Path, outside: Path, kind: str
) -> None:
    for name in (f"replay/.writing-{FRAMES}", ".writing-step-000000040", ".writing-run.json"):
        make_link(run, name, LINKS[kind], outside)
    before = content(outside)
    save(run, 40)
    write_whole(run / "run.json", b"{}")
    checkpoint.prune(run, 1)
    assert content(outside) == before
    assert not list(run.rglob(".writing-*"))


@pytest.mark.parametrize("kind", LINKS)
@pytest.mark.parametrize("name", ["train.log", "worker.json", "metrics.csv"])
def test_a_run_of_a_sweep_that_finds_a_link_fails_with_that_reason(
    run: Path, outside: Path, name: str, kind: str
) -> None:
    path = make_link(run, name, LINKS[kind], outside)
    before = content(outside), content(run)
    work = Run("Pong", "default", None, 1, 100, {}, str(run), str(run.parent / "videos"), 0)
    outcome = perform(work, Worker("here", 0, 1), evaluate=False)
    assert outcome.state == State.FAILED
    assert outcome.why.startswith(f"'{path}' is a link")
    assert (content(outside), content(run)) == before


@pytest.mark.parametrize("name", ["run.lock", "run.json", "config.toml", *LOGS])
def test_a_backup_made_by_hard_links_keeps_its_content(run: Path, outside: Path, name: str) -> None:
    os.link(outside / "thesis.txt", run / name)
    before = content(outside)
    train(run)
    assert content(outside) == before
    assert (outside / "thesis.txt").stat().st_nlink == 1


def test_a_backup_made_by_a_hard_link_during_a_run_keeps_its_content(
    run: Path, outside: Path
) -> None:
    logs = RunLogs(run, 0, 100)
    logs.metrics(10, ROW)
    os.link(run / "metrics.csv", outside / "backup.csv")
    before = content(outside)
    logs.metrics(20, ROW | {"steps": 20})
    logs.close()
    assert content(outside) == before
    rows = (run / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["steps", "10", "20"]


def test_a_refused_process_does_not_touch_the_lock_of_a_run_in_use(
    run: Path, outside: Path
) -> None:
    with held(run):
        os.link(run / "run.lock", outside / "lock")
        with pytest.raises(UserError, match=f"in use by process {os.getpid()}"), held(run):
            pass
        assert (outside / "lock").read_text() == str(os.getpid())
        assert (run / "run.lock").stat().st_nlink == 2


def test_a_linked_checkpoint_is_read_but_never_changed(run: Path, outside: Path) -> None:
    for step in (10, 20, 30):
        save(run, step, f"{step:09d}.npz", evaluation=100.0 - step)
    (run / "step-000000010").rename(outside / "step-000000010")
    (run / "step-000000010").symlink_to(outside / "step-000000010")
    before = content(outside)
    checkpoint.prune(run, 2)
    assert content(outside) == before
    names = [path.name for path in checkpoint.in_run(run)]
    assert names == ["step-000000010", "step-000000020", "step-000000030"]
    checkpoint.prune(run, 1)
    assert content(outside) == before
    linked = checkpoint.load(run / "step-000000010")
    assert (linked.step, linked.agent_only) == (10, False)
    best, newest = checkpoint.in_run(run)[1:]
    assert checkpoint.is_agent_only(best), (
        "the best checkpoint that is not a link is kept for its agent"
    )
    assert not checkpoint.is_agent_only(newest)


def test_only_files_written_by_runs_are_deleted(run: Path) -> None:
    save(run, 10, "000000010.npz")
    replay = run / "replay"
    mine = ["notes.txt", "1.npz", "000000001.npz.bak", "old-000000001.npz", ".writing-notes"]
    for name in mine:
        (replay / name).write_text("mine")
    (replay / "000000002.npz").mkdir()
    (replay / "folder").mkdir()
    for name in ("000000001.npz", ".writing-000000003.npz", "1000000000.npz"):
        (replay / name).write_text("of an earlier checkpoint")
    shutil.copytree(run / "step-000000010", run / "step-000000010-copy")
    for step in (20, 30):
        save(run, step, f"{step:09d}.npz")
    checkpoint.prune(run, 1)
    left = {path.name for path in replay.iterdir()}
    assert left == {*mine, "000000002.npz", "folder", "000000030.npz"}
    assert (run / "step-000000010-copy" / "manifest.json").is_file()
    assert [path.name for path in checkpoint.in_run(run)] == ["step-000000030"]


def test_only_logs_are_truncated_whatever_files_the_positions_name(
    run: Path, outside: Path
) -> None:
    for name in ("config.toml", "notes.txt", "metrics.csv", EVENTS, "events.out.tfevents.later"):
        (run / name).write_text("x" * 100)
    (run / "events.out.tfevents.folder").mkdir()
    positions = dict.fromkeys(
        ["config.toml", "notes.txt", str(outside / "thesis.txt"), "../x", EVENTS], 7
    )
    before = content(outside)
    cut_logs(run, positions | {"metrics.csv": 5})
    assert content(outside) == before
    sizes = {path.name: path.stat().st_size for path in run.iterdir() if path.is_file()}
    assert sizes == {"config.toml": 100, "notes.txt": 100, "metrics.csv": 5, EVENTS: 7}


def test_the_run_directory_itself_may_be_a_link(tmp_path: Path, run: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(run)
    train(link)
    assert checkpoint.load(link).step == checkpoint.load(run).step == 40
    assert link.is_symlink()
    nowhere = tmp_path / "nowhere"
    nowhere.symlink_to(tmp_path / "nothing")
    with pytest.raises(UserError, match="is a broken link"), held(nowhere):
        pass


def test_checking_whether_a_run_is_locked_leaves_no_trace(run: Path, outside: Path) -> None:
    assert not is_held(run)
    assert list(run.iterdir()) == []
    with held(run):
        assert is_held(run)
    make_link(run, "run.lock", LINKS["to nothing"], outside)
    before = content(outside)
    assert not is_held(run)
    assert content(outside) == before


def test_a_lock_deleted_between_opening_and_locking_is_created_again(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked: list[int] = []
    real_flock = fcntl.flock

    def flock(descriptor: int, operation: int) -> None:
        real_flock(descriptor, operation)
        locked.append(descriptor)
        if len(locked) == 1:
            (run / "run.lock").unlink()

    monkeypatch.setattr(fcntl, "flock", flock)
    with held(run):
        assert len(locked) == 2
        assert (run / "run.lock").read_text() == str(os.getpid())
        with pytest.raises(UserError, match="in use"), held(run):
            pass


def test_releasing_a_deleted_lock_does_not_remove_a_newer_lock(run: Path) -> None:
    with held(run):
        (run / "run.lock").unlink()
        with held(run):
            (run / "something").touch()
        assert (run / "run.lock").exists()
    assert {path.name for path in run.iterdir()} == {"run.lock", "something"}


GONE: dict[str, Callable[[Path], object]] = {
    "share": lambda run: checkpoint.share(run, FRAMES, lambda path: path.write_bytes(b"frames")),
    "save": lambda run: checkpoint.save(run, 40, checkpoint.Contents(ARRAYS, {}, {})),
    "logs": write_logs,
}


@pytest.mark.parametrize("what", GONE)
def test_a_deleted_run_directory_is_not_created_again(run: Path, what: str) -> None:
    with held(run):
        shutil.rmtree(run)
        with pytest.raises(UserError, match=f"'{run}' was deleted during the run"):
            GONE[what](run)
        assert not run.exists()
    assert not run.exists()


def test_logging_to_a_deleted_directory_is_a_user_error(run: Path) -> None:
    logs = RunLogs(run, 0, 100)
    logs.metrics(10, ROW)
    shutil.rmtree(run)
    logs.metrics(20, ROW)
    with pytest.raises(UserError, match="was deleted during the run"):
        logs.positions()
    logs.close()
    assert not run.exists()


def test_a_run_whose_directory_is_deleted_ends_with_a_user_error(tmp_path: Path) -> None:
    training = catch(tmp_path, small(training__total_steps=400, training__checkpoint_period=200))
    directory = training.run_directory
    step = training.step

    def delete_and_step(observation: Any) -> Any:
        if training.steps == 100:
            shutil.rmtree(directory)
        return step(observation)

    training.step = delete_and_step  # type: ignore[method-assign]
    with (
        pytest.raises(UserError, match=f"'{directory}' was deleted during the run"),
        held(directory),
    ):
        training.run()
    assert isinstance(training.environments._games, CatchGames)
    assert not directory.exists()
