"""Tests sweeps on Ray: their results, how they continue, and which failures they survive."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.acceptance.commands import SMALL, run

# The command line starts Ray like this: reachable from this machine only.
LOCAL_RAY = os.environ | {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "COLUMNS": "200",
}
SHORT = ["--training.evaluation_period", "0", "--episodes", "2"]


def table(folder: Path) -> dict[str, dict[str, str]]:
    if not (folder / "results.csv").exists():
        return {}
    with (folder / "results.csv").open(newline="") as file:
        return {row["run"]: row for row in csv.DictReader(file)}


def start_sweep(command: list[str], cwd: Path) -> subprocess.Popen[str]:
    """Starts a sweep that writes to the folder ``s``, in its own process group."""
    words = [sys.executable, "-m", "atari_dqn.cli", *command, "--out", "s"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(words, cwd=cwd, env=LOCAL_RAY, start_new_session=True, **pipes)


def wait_for(
    condition: Callable[[], Any], process: subprocess.Popen[str], seconds: float = 300
) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        assert process.poll() is None, process.communicate()
        time.sleep(0.2)
    raise AssertionError(f"waited {seconds} s")


def open_addresses(process: psutil.Process) -> list[str]:
    """Returns the addresses at which other machines could reach a process or its children."""
    found = []
    for one in [process, *process.children(recursive=True)]:
        try:
            found += [
                f"{one.name()} {connection.laddr.ip}"
                for connection in one.net_connections("inet")
                if connection.status == psutil.CONN_LISTEN
                and not connection.laddr.ip.removeprefix("::ffff:").startswith("127.")
            ]
        except psutil.Error:
            continue
    return found


def test_a_sweep_runs_each_combination_once_and_does_not_repeat_it(tmp_path: Path) -> None:
    command = [
        "sweep",
        "--games",
        "CartPole-v1",
        "--set",
        "agent.n_step=1,3",
        "--total-steps",
        "400",
        "--training.warmup_steps",
        "200",
        "--training.update_period",
        "8",  # one update in each step, whose graph is quickly built
        *SHORT,
    ]
    process = start_sweep(command, tmp_path)
    wait_for(lambda: list(tmp_path.glob("s/*/*/worker.json")), process)
    assert open_addresses(psutil.Process(process.pid)) == []
    out, errors = process.communicate(timeout=500)
    assert process.returncode == 0, errors
    assert "2 done" in out

    rows = table(tmp_path / "s")
    assert set(rows) == {f"CartPole-v1/cartpole,n_step={n}-seed1" for n in (1, 3)}
    assert {row["state"] for row in rows.values()} == {"done"}
    assert all(float(row["evaluation"]) > 0 for row in rows.values())
    recipe = tmp_path / "s" / "recipes" / "cartpole,n_step=3.toml"
    assert "n_step = 3" in run("config", str(recipe), "--game", "CartPole-v1", cwd=tmp_path).stdout

    # Started again from its folder alone, the sweep repeats nothing.
    logs = {path: path.read_bytes() for path in tmp_path.glob("s/*/*/train.log")}
    assert len(logs) == 2
    for log in logs.values():
        for text in (
            b"game: CartPole-v1\n",
            b"protocol classic: ",
            b"run directory: ",
            b"complete: ",
            b"written ",
        ):
            assert text in log
    again = run("sweep", "--out", "s", cwd=tmp_path, env=LOCAL_RAY)
    assert "2 done" in again.stdout
    assert {path: path.read_bytes() for path in logs} == logs

    report = run("report", "s", cwd=tmp_path).stdout
    assert "cartpole,n_step=3" in report


def test_an_invalid_sweep_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text('games = ["pong"]\nseed = 3\n')
    cases = {
        (): "--games",
        ("--games", "pnog"): "did you mean 'pong",
        ("--games", "pong", "--config", "rainbwo"): "did you mean 'rainbow'",
        ("--games", "pong", "--set", "agent.n_setp=1,3"): "did you mean 'agent.n_step'",
        ("--games", "pong", "--set", "agent.n_step=1,1000"): "less than or equal to 100",
        ("--games", "pong", "--set", "agent.n_step"): "section.key=VALUE",
        ("--games", "pong", "--set", "optimizer.learning_rate=1e-5..1e-3"): "--search",
        ("--games", "pong", "--seeds", "0"): "from 1",
        ("--games", "pong,CartPole-v1", "--config", "default"): "shows vectors",
        ("--plan", "plan.toml"): "did you mean 'seeds'",
        ("--plan", "none.toml"): "there is no plan",
        ("--games", "pong", "--address", "127.0.0.1:1"): "cannot connect to a Ray cluster",
        ("--games", "pong", "--address", "here"): "HOST:PORT",
        ("--games", "pong", "--cpus", "4000"): "the machines of the cluster have at most",
    }
    for arguments, expected in cases.items():
        answer = run("sweep", *arguments, "--out", "s", cwd=tmp_path, expect=2, env=LOCAL_RAY)
        assert expected in answer.stderr, arguments
        assert answer.stderr.count("\n") == 1, answer.stderr


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Starts a cluster on this machine: a head without CPUs and two nodes with two CPUs each."""
    names = ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "RAY_USAGE_STATS_ENABLED")
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setenv(name, LOCAL_RAY[name])
        from ray.cluster_utils import Cluster

        local_cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
        )
        try:
            for _ in range(2):
                local_cluster.add_node(num_cpus=2)
            yield local_cluster
        finally:
            local_cluster.shutdown()  # type: ignore[no-untyped-call]


def kill_node_of(worker: psutil.Process) -> None:
    """Kills the Ray node of a worker with all its processes."""
    raylet = worker.parent()
    assert raylet is not None
    assert "raylet" in raylet.name()
    for victim in [raylet, *raylet.children(recursive=True)]:
        victim.send_signal(signal.SIGKILL)


@pytest.mark.slow
def test_runs_of_a_dead_node_continue_elsewhere_with_the_same_digests(
    tmp_path: Path, cluster: Any
) -> None:
    settings = [*SMALL, "--training.checkpoint_period", "200"]
    settings += ["--training.environments", "4", "--total-steps", "2000"]
    games = ("Pong", "Breakout", "Boxing")
    command = [
        "sweep",
        "--games",
        ",".join(games),
        "--seeds",
        "2",
        "--episodes",
        "1",
        *settings,
        "--address",
        cluster.address,
    ]
    process = start_sweep(command, tmp_path)
    out = tmp_path / "s"

    def done() -> list[str]:
        return [name for name, row in table(out).items() if row["state"] == "done"]

    def half_way() -> tuple[str, psutil.Process] | None:
        for name, row in table(out).items():
            if (
                row["state"] == "running"
                and 0 < int(row["steps"]) <= 1000
                and list((out / name).glob("step-*"))
            ):
                return name, psutil.Process(
                    json.loads((out / name / "worker.json").read_bytes())["process"]
                )
        return None

    wait_for(done, process, 900)
    finished = {name: (out / name / "train.log").read_bytes() for name in done()}

    name, worker = wait_for(half_way, process)
    kill_node_of(worker)
    _, errors = process.communicate(timeout=1200)
    assert process.returncode == 0, errors

    rows = table(out)
    assert sorted(done()) == sorted(
        f"{game}/default-seed{seed}" for game in games for seed in (1, 2)
    )
    assert int(rows[name]["deaths"]) >= 1
    assert {before: (out / before / "train.log").read_bytes() for before in finished} == finished

    threads = [f"--machine.{kind}_threads=1" for kind in ("intra_op", "inter_op", "environment")]
    for name in rows:
        game, _, seed = name.replace("/default-seed", " ").partition(" ")
        options = ["--game", game, "--seed", seed, *settings, *threads]
        run("train", *options, "--run-dir", f"alone/{name}", cwd=tmp_path)
        digests = [
            run("digest", f"{folder}/{name}", cwd=tmp_path).stdout for folder in ("s", "alone")
        ]
        assert digests[0] == digests[1], name


@pytest.mark.slow
def test_ctrl_c_saves_every_run_and_the_sweep_can_be_continued(tmp_path: Path) -> None:
    command = [
        "sweep",
        "--games",
        "CartPole-v1",
        "--seeds",
        "3",
        "--cpus",
        "1",
        "--total-steps",
        "30000",
        *SHORT,
    ]
    process = start_sweep(command, tmp_path)
    out = tmp_path / "s"
    wait_for(
        lambda: (
            sum(row["state"] == "running" and int(row["steps"]) > 0 for row in table(out).values())
            == 2
        ),
        process,
    )
    os.killpg(
        process.pid, signal.SIGINT
    )  # a terminal sends it to all processes of the group as well
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    assert "stopping: each run finishes its step and saves" in errors
    assert "to continue: atari-dqn sweep --out s" in errors
    assert sorted(row["state"] for row in table(out).values()) == ["stopped", "stopped", "stopped"]
    assert len(list(out.glob("*/*/step-*"))) == 2, "the third run had not started"
    # The plan is shorter now, so that the sweep ends soon; runs past the new total are complete.
    again = run(
        "sweep",
        "--games",
        "CartPole-v1",
        "--seeds",
        "3",
        "--total-steps",
        "2500",
        *SHORT,
        "--out",
        "s",
        cwd=tmp_path,
        env=LOCAL_RAY,
    )
    assert "3 done" in again.stdout


@pytest.mark.slow
def test_a_search_finishes_only_the_best_candidates_and_prints_the_best_recipe(
    tmp_path: Path,
) -> None:
    tried = ["--set", "optimizer.learning_rate=1e-9..1e-2:log", "--set", "agent.n_step=1..5"]
    command = [
        "sweep",
        "--games",
        "CartPole-v1",
        "--search",
        "5",
        *tried,
        "--total-steps",
        "4500",
        *SHORT,
        "--training.log_period",
        "100",
    ]
    answer = run(*command, "--out", "s", cwd=tmp_path, env=LOCAL_RAY)
    rows = table(tmp_path / "s")
    assert len(rows) == 5
    assert {row["state"] for row in rows.values()} == {"dropped", "done"}
    finished = [row for row in rows.values() if row["state"] == "done"]
    assert all(int(row["steps"]) >= 4500 and row["evaluation"] for row in finished)
    assert all(int(row["steps"]) < 4500 for row in rows.values() if row["state"] == "dropped")
    best = max(finished, key=lambda row: float(row["evaluation"]))
    recipe = best["run"].removeprefix("CartPole-v1/").removesuffix("-seed1")
    assert f"best: {tmp_path / 's' / 'recipes' / recipe}.toml" in answer.stdout
    again = run("sweep", "--out", "s", cwd=tmp_path, env=LOCAL_RAY)
    assert f"best: {tmp_path / 's' / 'recipes' / recipe}.toml" in again.stdout


def train_with_actors(
    tmp_path: Path, steps: int, *more: str
) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """Starts a run of CartPole with two actors; returns it and its actors once it logs metrics."""
    log = tmp_path / "run" / "metrics.csv"
    command = [
        "train",
        "--game",
        "CartPole-v1",
        "--actors",
        "2",
        "--total-steps",
        str(steps),
        "--run-dir",
        "./run",
        *more,
    ]
    command += ["--training.evaluation_period", "0", "--training.log_period", "1000"]
    words = [sys.executable, "-m", "atari_dqn.cli", *command]
    process = subprocess.Popen(
        words, cwd=tmp_path, env=LOCAL_RAY, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: log.exists() and len(log.read_text().splitlines()) > 3, process)
    return process, [
        one
        for one in psutil.Process().children(recursive=True)
        if "_Actor" in " ".join(command_line_of(one))
    ]


def command_line_of(process: psutil.Process) -> list[str]:
    """Returns the command line of a process, or an empty list if the process has ended."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def last_metrics(tmp_path: Path) -> dict[str, float]:
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        return {name: float(value) for name, value in list(csv.DictReader(file))[-1].items()}


@pytest.mark.slow
def test_a_dead_actor_is_replaced_and_the_learner_keeps_its_sample_rate(tmp_path: Path) -> None:
    process, actors = train_with_actors(tmp_path, 20_000)
    assert len(actors) == 2
    assert open_addresses(psutil.Process(process.pid)) == []
    actors[0].send_signal(signal.SIGKILL)
    _, errors = process.communicate(timeout=500)
    assert process.returncode == 0, errors
    assert "died and is replaced" in errors
    last = last_metrics(tmp_path)
    assert last["actor_deaths"] == 1
    # The recipe cartpole learns from a batch of 64 at every agent step.
    assert last["samples_per_step"] == pytest.approx(64, rel=0.05)
    assert last["score"] > 60, "random play: 22"

    continued = run(
        "train",
        "--game",
        "CartPole-v1",
        "--run-dir",
        "./run",
        "--actors",
        "2",
        "--total-steps",
        "21000",
        cwd=tmp_path,
    )
    assert "complete: 21" in continued.stdout
    assert "the actors begin new episodes" in continued.stderr
    other = run(
        "train",
        "--game",
        "CartPole-v1",
        "--run-dir",
        "./run",
        "--actors",
        "4",
        cwd=tmp_path,
        expect=2,
    )
    assert "machine.actors" in other.stderr


@pytest.mark.slow
def test_actors_on_a_dead_node_are_replaced(tmp_path: Path, cluster: Any) -> None:
    process, actors = train_with_actors(tmp_path, 20_000, "--address", cluster.address)
    kill_node_of(actors[0])
    _, errors = process.communicate(timeout=500)
    assert process.returncode == 0, errors
    last = last_metrics(tmp_path)
    assert last["actor_deaths"] in (1, 2), "both actors may have been on the dead node"
    assert last["samples_per_step"] == pytest.approx(64, rel=0.05)
    assert last["score"] > 60, "random play: 22"
