"""Tests which cores and how much memory a process may use within its control groups."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from atari_dqn.backend import machine
from atari_dqn.backend.machine import memory_left, usable_cores
from atari_dqn.config.resolve import load_config
from atari_dqn.distributed import ray_cluster
from atari_dqn.environments import vector
from atari_dqn.errors import UserError
from atari_dqn.replay import capacity
from atari_dqn.replay.frames import RingLayout
from atari_dqn.runs.circumstances import _machine
from atari_dqn.runs.continuation import for_this_machine

CORES = 64
FREE = 2**40
UNLIMITED_V1 = str(2**63 - 4096)

MakeGroups = Callable[[str, dict[str, str]], None]


@pytest.fixture
def make_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeGroups:
    """Fakes the control groups of a machine with 64 cores and a tebibyte of free memory.

    The mount point has a space in its name, which the kernel escapes.
    """
    proc = tmp_path / "proc"
    mounted = tmp_path / "sys fs"
    monkeypatch.setattr(machine, "PROC", proc)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(CORES)))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": FREE}))
    escaped = str(mounted).replace(" ", r"\040")
    lines = ["22 1 0:21 / /proc rw,nosuid shared:12 - proc proc rw"]

    def make(groups: str, files: dict[str, str], v1_root: str = "/", v2_root: str = "/") -> None:
        for number, controllers in enumerate(("memory", "cpu,cpuacct")):
            mount = (
                f"{30 + number} 25 0:{28 + number} {v1_root} {escaped}/{controllers} rw shared:9"
            )
            lines.append(f"{mount} - cgroup cgroup rw,{controllers}")
        lines.append(
            f"40 25 0:40 {v2_root} {escaped}/unified rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
        )
        proc.mkdir()
        (proc / "mountinfo").write_text("\n".join(lines) + "\n")
        (proc / "cgroup").write_text(groups)
        for name, text in files.items():
            path = mounted / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")

    return make


def memory_v2(group: str, limit: str, used: int, inactive: int = 0) -> dict[str, str]:
    stat = f"anon 5\ninactive_anon 77\ninactive_file {inactive}\nactive_file 88"
    return {
        f"unified{group}/memory.max": limit,
        f"unified{group}/memory.current": str(used),
        f"unified{group}/memory.stat": stat,
    }


def memory_v1(group: str, limit: str, used: int, inactive: int = 0) -> dict[str, str]:
    stat = f"inactive_file 1\ntotal_inactive_anon 77\ntotal_inactive_file {inactive}"
    return {
        f"memory{group}/memory.limit_in_bytes": limit,
        f"memory{group}/memory.usage_in_bytes": str(used),
        f"memory{group}/memory.stat": stat,
    }


def cpu_v1(group: str, quota: int, period: int = 100_000) -> dict[str, str]:
    return {
        f"cpu,cpuacct{group}/cpu.cfs_quota_us": str(quota),
        f"cpu,cpuacct{group}/cpu.cfs_period_us": str(period),
    }


MEMORY = {
    "v2, its own": ("0::/job", memory_v2("/job", "1000", 400, 300), 900),
    "v2, the root of a container": ("0::/", memory_v2("", "1000", 400, 300), 900),
    "v2, without a limit": ("0::/job", memory_v2("/job", "max", 400), FREE),
    "v2, more than there is": ("0::/job", memory_v2("/job", str(FREE * 2), 0), FREE),
    "v2, the parent has less left": (
        "0::/a/b/c",
        memory_v2("/a", "5000", 4000, 100)
        | memory_v2("/a/b", "max", 0)
        | memory_v2("/a/b/c", "3000", 10),
        1100,
    ),
    "v2, the child has less left": (
        "0::/a/b",
        memory_v2("/a", "5000", 1000) | memory_v2("/a/b", "3000", 500),
        2500,
    ),
    "v2, another group's limit": ("0::/mine", memory_v2("/other", "1000", 400), FREE),
    "v2, a group that is gone": ("0::/a/b (deleted)", memory_v2("/a", "1000", 100), 900),
    "v2, a name with a colon and a space": ("0::/a b:c", memory_v2("/a b:c", "1000", 100), 900),
    "v2, more used than allowed": ("0::/job", memory_v2("/job", "1000", 1400), 0),
    "v1, its own": ("4:memory:/job\n1:cpu,cpuacct:/", memory_v1("/job", "1000", 400, 300), 900),
    "v1, without a limit": ("4:memory:/job", memory_v1("/job", UNLIMITED_V1, 400), FREE),
    "v1, nested": (
        "4:memory:/a/b",
        memory_v1("/a", "900", 400) | memory_v1("/a/b", UNLIMITED_V1, 400),
        500,
    ),
    "v1, that of another controller's group": (
        "4:memory:/x\n1:cpu,cpuacct:/y",
        memory_v1("/y", "1000", 400),
        FREE,
    ),
    "both versions": (
        "4:memory:/a\n0::/b",
        memory_v1("/a", "900", 0) | memory_v2("/b", "800", 0),
        800,
    ),
    "outside of what is mounted": (
        "0::/../other",
        memory_v2("", "700", 0) | memory_v2("/other", "500", 0),
        700,
    ),
    "nothing reported": ("", memory_v2("", "700", 0), FREE),
}


@pytest.mark.parametrize(("groups", "files", "left"), MEMORY.values(), ids=MEMORY)
def test_memory_left_is_that_of_the_tightest_control_group(
    make_groups: MakeGroups, groups: str, files: dict[str, str], left: int
) -> None:
    make_groups(groups, files)
    assert memory_left() == left


QUOTAS = {
    "v2, its own": ("0::/job", {"unified/job/cpu.max": "200000 100000"}, 2),
    "v2, rounded up": ("0::/job", {"unified/job/cpu.max": "210000 100000"}, 3),
    "v2, less than one": ("0::/job", {"unified/job/cpu.max": "1000 100000"}, 1),
    "v2, without a limit": ("0::/job", {"unified/job/cpu.max": "max 100000"}, CORES),
    "v2, more than there are": ("0::/job", {"unified/job/cpu.max": "9900000 100000"}, CORES),
    "v2, the parent has fewer": (
        "0::/a/b",
        {"unified/a/cpu.max": "300000 100000", "unified/a/b/cpu.max": "800000 100000"},
        3,
    ),
    "v2, the child has fewer": (
        "0::/a/b",
        {"unified/a/cpu.max": "800000 100000", "unified/a/b/cpu.max": "300000 100000"},
        3,
    ),
    "v2, another group's": ("0::/a", {"unified/b/cpu.max": "300000 100000"}, CORES),
    "v1, its own": ("1:cpu,cpuacct:/job", cpu_v1("/job", 400_000), 4),
    "v1, rounded up": ("1:cpu,cpuacct:/job", cpu_v1("/job", 110_000, 50_000), 3),
    "v1, without a limit": ("1:cpu,cpuacct:/job", cpu_v1("/job", -1), CORES),
    "v1, nested": ("1:cpu,cpuacct:/a/b", cpu_v1("/a", 500_000) | cpu_v1("/a/b", -1), 5),
    "v1, half a file": ("1:cpu,cpuacct:/a", {"cpu,cpuacct/a/cpu.cfs_quota_us": "100000"}, CORES),
    "both versions": (
        "1:cpu,cpuacct:/a\n0::/b",
        cpu_v1("/a", 500_000) | {"unified/b/cpu.max": "400000 100000"},
        4,
    ),
    "nothing reported": ("", {"unified/cpu.max": "300000 100000"}, CORES),
}


@pytest.mark.parametrize(("groups", "files", "cores"), QUOTAS.values(), ids=QUOTAS)
def test_usable_cores_follow_the_smallest_quota_rounded_up(
    make_groups: MakeGroups, groups: str, files: dict[str, str], cores: int
) -> None:
    make_groups(groups, files)
    assert usable_cores() == cores


@pytest.mark.parametrize("version", [1, 2])
def test_a_container_without_a_cgroup_namespace_finds_its_own_limits(
    make_groups: Callable[..., None], version: int
) -> None:
    """Without a namespace of its own, a process sees the full path of its group on the host, while
    the mount starts at that group.
    """
    if version == 1:
        files = memory_v1("", "1000", 100) | memory_v1("/inner", "500", 100)
        make_groups("4:memory:/docker/abc/inner", files, v1_root="/docker/abc")
    else:
        files = memory_v2("", "1000", 100) | memory_v2("/inner", "500", 100)
        make_groups("0::/docker/abc/inner", files, v2_root="/docker/abc")
    assert memory_left() == 400


def test_auto_storage_respects_the_memory_limit_of_the_control_group(
    make_groups: MakeGroups, tmp_path: Path
) -> None:
    """10,000 raw frames take 70 MB, which is more than half of the free memory under the first
    limit only.
    """
    make_groups("0::/job", memory_v2("/job", "620000000", 0))
    layout = RingLayout(10_000, 1, 5, (84, 84), np.dtype(np.uint8))
    chosen = capacity.choose_storage("auto", layout, tmp_path)
    (tmp_path / "sys fs" / "unified" / "job" / "memory.max").write_text("660000000")
    assert chosen == "compressed"
    assert capacity.choose_storage("auto", layout, tmp_path) == "memory"


@pytest.mark.parametrize(
    ("limit", "advice"),
    [
        (300_000_000, "0.5 GB must stay free, so no capacity fits"),
        (501_000_000, "0.5 GB must stay free, so no capacity fits"),
        (600_000_000, "a capacity of 14000 fits (--replay.capacity 14000)"),
    ],
)
def test_a_memory_that_does_not_fit_names_only_a_capacity_that_does(
    make_groups: MakeGroups, tmp_path: Path, limit: int, advice: str
) -> None:
    make_groups("0::/job", memory_v2("/job", str(limit), 0))
    layout = RingLayout(1_000_000, 1, 5, (84, 84), np.dtype(np.uint8))
    with pytest.raises(UserError, match=re.escape(advice)):
        capacity.choose_storage("memory", layout, tmp_path)


@pytest.mark.parametrize("allowed", [{0}, {1, 5, 9}])
def test_usable_cores_are_those_in_the_affinity_of_the_process(
    monkeypatch: pytest.MonkeyPatch, allowed: set[int], tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "PROC", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: allowed)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    config = for_this_machine(load_config("breakout", overrides={"agent.batch_size": 256})[0])
    threads = (
        config.machine.environment_threads,
        config.machine.intra_op_threads,
        config.machine.inter_op_threads,
    )
    assert (usable_cores(), threads) == (len(allowed), (len(allowed),) * 3)
    assert f", {len(allowed)} of 16 cores, " in _machine()


def test_a_process_bound_to_one_core_uses_one_core() -> None:
    core = min(os.sched_getaffinity(0))
    code = (
        f"import os; os.sched_setaffinity(0, {{{core}}}); "
        "from atari_dqn.backend import machine; print(machine.usable_cores())"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout == "1\n"


def test_emulators_and_ray_use_only_the_usable_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, int] = {}

    def vector_env(rom: str, num_envs: int, num_threads: int, **rest: object) -> None:
        found["emulators"] = num_threads
        raise ZeroDivisionError

    def init(address: str, num_cpus: int, **rest: object) -> None:
        found["ray"] = num_cpus

    monkeypatch.setattr(vector, "usable_cores", lambda: 3)
    monkeypatch.setattr(vector, "AtariVectorEnv", vector_env)
    with pytest.raises(ZeroDivisionError):
        vector.CppGames("pong", load_config("pong")[0].environment, num_envs=8, frame_cap=100)
    monkeypatch.setattr(ray_cluster, "usable_cores", lambda: 3)
    monkeypatch.setattr("ray.init", init)
    ray_cluster.connect(None, "a test")
    assert found == {"emulators": 3, "ray": 3}


def test_no_other_module_counts_the_cores_of_the_whole_machine() -> None:
    root = Path(__file__).parent.parent.parent
    sources = [*(root / "atari_dqn").rglob("*.py"), *(root / "benchmarks").rglob("*.py")]
    counting = {path.name for path in sources if "cpu_count" in path.read_text(encoding="utf-8")}
    assert counting == {"machine.py", "circumstances.py"}  # the second reports both numbers
