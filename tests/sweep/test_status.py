"""Tests the table of a sweep's runs on a terminal."""

import io

import pytest
from rich.console import Console

from atari_dqn.report.results import TRAINING
from atari_dqn.sweep.plan import Run, State
from atari_dqn.sweep.status import COLUMNS, Status, _table


def statuses() -> list[Status]:
    game = "BreakoutDeterministic-v4"
    directory = f"s/{game}/default-seed1"
    run = Run(game, "default", None, 1, 1_000_000, {}, directory, "s/videos", 0)
    failed = Status(run, State.FAILED, why="the loss is no longer a finite number, near step 10")
    running = Status(run, State.RUNNING, steps=500_000, speed=1234.5, machine="127.0.0.1", deaths=1)
    running.scores = {TRAINING: 12.5}
    return [failed, running]


@pytest.mark.parametrize(
    ("width", "dropped"),
    [
        (200, ()),
        (80, ("machine", "deaths", "of", "steps/s", "training score")),
        (60, ("machine", "deaths", "of", "steps/s", "training score", "steps")),
    ],
)
def test_the_table_fits_the_terminal(width: int, dropped: tuple[str, ...]) -> None:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    table = _table(statuses(), width, height=24)
    with console.capture() as shown:
        console.print(table)
    lines = shown.get().splitlines()
    assert max(map(len, lines)) <= width
    assert [column.header for column in table.columns] == [
        name for name in COLUMNS if name not in dropped
    ]
    rows = [line for line in lines if "-seed1" in line]
    assert len(rows) == len(statuses()), "no row may be folded"
    assert "\N{HORIZONTAL ELLIPSIS}" not in "".join(rows), "no cell may be cut"


def test_a_table_with_many_runs_fits_the_height_of_the_terminal() -> None:
    console = Console(width=80, file=io.StringIO(), force_terminal=False)
    with console.capture() as shown:
        console.print(_table(statuses() * 30, 80, height=24))
    lines = shown.get().splitlines()
    assert len(lines) <= 24
    assert "30 running, 30 failed" in lines[-1]
