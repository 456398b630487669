"""Many runs on one machine or many: games times recipes times settings times seeds, as tasks of
Ray.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from atari_dqn.console import say
from atari_dqn.files.atomic_write import write_whole
from atari_dqn.runs.directory import check_writable
from atari_dqn.runs.lock import held
from atari_dqn.sweep.plan import (
    DONE,
    DROPPED,
    FAILED,
    GROUPS,
    MOST,
    Plan,
    combinations,
    make_plan,
    make_runs,
    parse_choices,
    read_plan,
)

if TYPE_CHECKING:
    from atari_dqn.sweep.status import Status

__all__ = ["GROUPS", "MOST", "sweep"]

PLAN = "sweep.toml"


def sweep(options: argparse.Namespace) -> int:
    """Trains many runs: games times recipes times settings times seeds, or a search; on one machine
    or a cluster.
    """
    from atari_dqn.distributed.ray_cluster import check_room, connect
    from atari_dqn.sweep.candidates import check_comparable, draw

    out = Path(options.out)
    check_writable(out)
    plan = _plan(options, out)
    with held(out):
        runs = make_runs(plan, draw(plan, plan.search) if plan.search else combinations(plan), out)
        if plan.search:
            check_comparable(runs[0])
        write_whole(out / PLAN, tomli_w.dumps(plan.model_dump(exclude_none=True)).encode())
        ray = connect(options.address, "a sweep")
        try:
            room = check_room(ray, options.cpus, options.gpus)
            say(f"{sum(map(len, runs))} runs, {room} at a time; results: {out}")
            run = _search if plan.search else _run_all
            return _conclude(run(runs, options.cpus, options.gpus, room, out), plan, out)
        finally:
            ray.shutdown()


def _plan(options: argparse.Namespace, out: Path) -> Plan:
    """What the file says, and over it what the command line does; with neither, what the folder was
    begun with.
    """
    path = Path(options.plan) if options.plan else out / PLAN
    tables: dict[str, Any] = (
        read_plan(path) if options.plan or (path.is_file() and not options.games) else {}
    )
    for name in set(Plan.model_fields) - {"settings"}:
        if (value := getattr(options, name)) is not None:
            tables[name] = value
    tried = dict(parse_choices(text) for text in options.set or [])
    same = {name: [value] for name, value in options.overrides.items()}
    settings = tables.get("settings", {})
    if isinstance(settings, dict):  # what it is else is answered with the rest of the plan
        tables["settings"] = settings | tried | same
    return make_plan(tables)


def _search(*arguments: Any) -> "list[Status]":
    from atari_dqn.sweep.search import search

    return search(*arguments)


def _run_all(*arguments: Any) -> "list[Status]":
    from atari_dqn.sweep.grid import run_all

    return run_all(*arguments)


def _conclude(statuses: "Sequence[Status]", plan: Plan, out: Path) -> int:
    """Says what came out; the exit code: 0 all is done, 1 something failed, 130 stopped."""
    from atari_dqn.sweep.candidates import best_of
    from atari_dqn.sweep.status import STATES

    counts = {state: sum(status.state == state for status in statuses) for state in STATES}
    print(
        ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        + f"; {out / 'results.csv'}"
    )
    for status in statuses:
        if status.state == FAILED:
            say(
                f"failed: {status.run.name}: {status.why or Path(status.run.directory) / 'train.log'}"
            )
    if counts[DONE] + counts[DROPPED] < len(statuses):
        say(f"to go on: atari-dqn sweep --out {out}")
        return 1 if counts[FAILED] else 130
    if plan.search and (best := best_of(statuses)):
        print(f"best: {best[0]}, {best[1]:.2f}")
    print(f"to compare them: atari-dqn report {out}")
    return 0
