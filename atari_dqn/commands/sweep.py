"""The command that trains many runs on Ray: a grid of settings, or a search over them."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from atari_dqn.bootstrap import INTERRUPTED
from atari_dqn.commands.arguments import Command, number_of_gpus, whole_number, words
from atari_dqn.config.learning_schema import MOST_STEPS
from atari_dqn.console import say
from atari_dqn.files.atomic_write import write_whole
from atari_dqn.runs.directory import check_writable
from atari_dqn.runs.lock import held
from atari_dqn.sweep.plan import (
    GROUPS,
    MOST,
    Plan,
    Resources,
    Run,
    State,
    combinations,
    make_plan,
    make_runs,
    parse_choices,
    read_plan,
)
from atari_dqn.typed_commands import command

if TYPE_CHECKING:
    from atari_dqn.sweep.status import Status

PLAN = "sweep.toml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``sweep``."""
    _add_plan_arguments(parser)
    _add_cluster_arguments(parser)
    parser.add_argument(
        "--out",
        default="checkpoints/sweep",
        metavar="DIR",
        help="directory of the sweep (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """Trains the runs of a sweep and prints how they ended."""
    from atari_dqn.distributed.ray_cluster import check_room, connect

    out = Path(options.out)
    check_writable(out)
    plan = requested_plan(options, out)
    with held(out):
        runs = _make_runs(plan, out)
        write_whole(out / PLAN, tomli_w.dumps(plan.model_dump(exclude_none=True)).encode())
        ray = connect(options.address, "a sweep")
        try:
            room = check_room(ray, options.cpus, options.gpus)
            say(f"{sum(map(len, runs))} runs, {room} at a time; results: {out}")
            resources = Resources(options.cpus, options.gpus, room)
            return _conclude(_train(plan, runs, resources, out), plan, out)
        finally:
            ray.shutdown()


def requested_plan(options: argparse.Namespace, out: Path) -> Plan:
    """Returns the plan of a sweep: a plan file, overridden by the options of the command line.

    Without ``--plan`` and ``--games``, the file is the stored plan of the sweep in ``out``, which
    is then continued.

    Args:
        options: Options of the command.
        out: Directory of the sweep.

    Raises:
        UserError: The plan cannot be read, or something in it is unknown or out of range.
    """
    tables: dict[str, Any] = {}
    stored_plan = out / PLAN
    if options.plan:
        tables = read_plan(Path(options.plan))
    elif stored_plan.is_file() and not options.games:
        tables = read_plan(stored_plan)
    for name in set(Plan.model_fields) - {"settings"}:
        value = getattr(options, name)
        if value is not None:
            tables[name] = value
    choices = dict(parse_choices(text) for text in options.set or [])
    fixed = {name: [value] for name, value in options.overrides.items()}
    settings = tables.get("settings", {})
    if isinstance(settings, dict):  # make_plan rejects any other type
        tables["settings"] = settings | choices | fixed
    return make_plan(tables)


def _add_plan_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that make a plan."""
    parser.add_argument(
        "--plan",
        metavar="FILE.toml",
        help="these options in a file (default: the plan of the sweep in --out)",
    )
    parser.add_argument(
        "--games",
        type=words,
        metavar="ID,...",
        help=f"environment ids, names of games, or {', '.join(GROUPS)}",
    )
    parser.add_argument(
        "--seeds", type=_seeds, metavar="N|N,N", help="number of seeds, or a list (default: 1)"
    )
    parser.add_argument(
        "--config",
        dest="configs",
        type=words,
        metavar="NAME|FILE,...",
        help="recipes (default: each game's own)",
    )
    parser.add_argument(
        "--protocol", metavar="NAME|FILE", help="protocol of all runs (default: each game's own)"
    )
    parser.add_argument(
        "--total-steps",
        type=whole_number(1, MOST_STEPS),
        metavar="N",
        help="agent steps of each run (default: the recipe's)",
    )
    parser.add_argument(
        "--set",
        action="append",
        metavar="section.key=V,V",
        help="values to try; repeat it to try every combination",
    )
    parser.add_argument(
        "--search",
        type=whole_number(1, MOST),
        metavar="N",
        help="number of candidates to sample; only the best are trained to the end",
    )
    parser.add_argument(
        "--episodes",
        type=whole_number(0),
        metavar="N",
        help="episodes of each run's evaluation; 0 skips it (default: the protocol's)",
    )


def _add_cluster_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments for the cluster and for the resources of each run."""
    parser.add_argument(
        "--cpus",
        type=whole_number(1),
        default=1,
        metavar="N",
        help="CPUs of each run (default: %(default)s)",
    )
    parser.add_argument(
        "--gpus",
        type=number_of_gpus,
        default=0.0,
        metavar="X",
        help="GPUs of each run; may be a fraction (default: 0)",
    )
    parser.add_argument(
        "--address",
        metavar="HOST:PORT|auto",
        help="address of a Ray cluster (default: this machine alone)",
    )


def _seeds(text: str) -> list[int]:
    """Parses a number of seeds, or a list of seeds."""
    if "," in text:
        return [whole_number(0)(word) for word in words(text)]
    count = whole_number(1, MOST)(text)
    return list(range(1, count + 1))


def _make_runs(plan: Plan, out: Path) -> list[list[Run]]:
    """Returns the runs of a plan, grouped by combination of settings or by candidate."""
    from atari_dqn.sweep.candidates import check_comparable, sample_candidates

    if not plan.search:
        return make_runs(plan, combinations(plan), out)
    runs = make_runs(plan, sample_candidates(plan, plan.search), out)
    check_comparable(runs[0])
    return runs


def _train(
    plan: Plan, runs: Sequence[Sequence[Run]], resources: Resources, out: Path
) -> "list[Status]":
    """Trains all runs, or the best candidates of a search, and returns each run's status."""
    if plan.search:
        from atari_dqn.sweep.search import search

        return search(runs, resources, out)
    from atari_dqn.sweep.grid import run_all

    return run_all(runs, resources, out)


def _conclude(statuses: "Sequence[Status]", plan: Plan, out: Path) -> int:
    """Prints how the runs ended.

    Returns:
        The exit code: 0 if all is done, 1 if a run failed, 130 if the sweep was stopped.
    """
    from atari_dqn.sweep.candidates import best_of
    from atari_dqn.sweep.status import STATES

    counts = {state: sum(status.state == state for status in statuses) for state in STATES}
    counted = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    print(f"{counted}; {out / 'results.csv'}")
    for status in statuses:
        if status.state == State.FAILED:
            reason = status.why or Path(status.run.directory) / "train.log"
            say(f"failed: {status.run.name}: {reason}")
    if counts[State.DONE] + counts[State.DROPPED] < len(statuses):
        say(f"to continue: {command('sweep', out=out)}")
        return 1 if counts[State.FAILED] else INTERRUPTED
    best = best_of(statuses) if plan.search else None
    if best is not None:
        recipe, score = best
        print(f"best: {recipe}, {score:.2f}")
    print(f"to compare them: {command('report', runs=out)}")
    return 0


COMMANDS = {"sweep": Command(add_arguments, run, takes_settings=True)}
