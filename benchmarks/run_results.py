"""Copies the results of runs to docs/results: a row of runs.csv and a learning curve for each run.

    python -m benchmarks.run_results checkpoints/panel/*/*

It scores the final checkpoint of each run: 30 episodes under the run's protocol, or none with
``--episodes 0``. With ``--steps 500000`` it counts a run only up to there. A row that is already in
runs.csv is replaced. benchmarks.panel and benchmarks.games_table make tables of the rows.
"""

import argparse
import csv
import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from atari_dqn.agent.pretrained import load_agent
from atari_dqn.config.resolve import read_config, settings_by_name
from atari_dqn.config.schema import RECIPE_SECTIONS, Config
from atari_dqn.evaluation.evaluate import evaluate
from atari_dqn.games.ids import human_normalised_score
from atari_dqn.runs import checkpoint
from atari_dqn.runs.continuation import differing_settings, format_differences
from atari_dqn.runs.curves import METRICS, read_learning_curve, read_series
from atari_dqn.runs.directory import CONFIG

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results"
ROWS = "runs.csv"
CURVES = "curves"
PERIOD = 50_000  # agent steps between the points of a curve
SECONDS_PER_MINUTE = 60


@dataclass(frozen=True)
class RunResult:
    """A row of runs.csv.

    Attributes:
        recipe: recipe with its version, and the settings in which the run differs from it.
        game: id of the game.
        rom: name of its ROM.
        protocol: name of the protocol.
        seed: seed of the run.
        agent_steps: agent steps of training.
        episodes: episodes of the evaluation; with 0, its two numbers are NaN.
        score: mean score of the evaluation.
        standard_error: standard error of ``score`` over the episodes.
        training_score: mean score of the episodes that ended in the last 50,000 agent steps,
            or NaN if none did.
        minutes: minutes of training, without pauses.
        machine: machine of the run.
        commit: commit of the code.
    """

    recipe: str
    game: str
    rom: str
    protocol: str
    seed: int
    agent_steps: int
    episodes: int
    score: float
    standard_error: float
    training_score: float
    minutes: float
    machine: str
    commit: str

    @property
    def key(self) -> tuple[str, str, str, int, int]:
        """The values in which no two rows agree."""
        return self.rom, self.protocol, self.recipe, self.seed, self.agent_steps


def human_normalized(rom: str, score: float) -> float:
    """Returns a score as a share of the way from random to human play.

    Raises:
        ValueError: the human score of the game is not known.
    """
    normalized = human_normalised_score(rom, score)
    if normalized is None:
        raise ValueError(f"the human score of {rom} is not known")
    return normalized


def read_rows(directory: Path = RESULTS) -> list[RunResult]:
    """Returns all rows of runs.csv."""
    path = directory / ROWS
    if not path.exists():
        return []
    kinds = {field.name: field.type for field in dataclasses.fields(RunResult)}
    with path.open(encoding="utf-8", newline="") as file:
        return [
            RunResult(**{name: kinds[name](text) for name, text in row.items()})  # type: ignore
            for row in csv.DictReader(file)
        ]


def write_rows(rows: Sequence[RunResult], directory: Path = RESULTS) -> None:
    """Writes all rows of runs.csv, sorted."""
    with (directory / ROWS).open("w", encoding="utf-8", newline="") as file:
        names = [field.name for field in dataclasses.fields(RunResult)]
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        for row in sorted(rows, key=lambda row: row.key):
            writer.writerow(dataclasses.asdict(row))


def curve_of(run: Path, total: int) -> list[tuple[int, float]]:
    """Returns the training score of each period in which an episode ended, up to ``total``."""
    episodes = read_learning_curve(run)
    points = []
    for end in range(PERIOD, total + 1, PERIOD):
        of_period = episodes.score[(episodes.steps > end - PERIOD) & (episodes.steps <= end)]
        if len(of_period):
            points.append((end, round(float(of_period.mean()), 2)))
    return points


def write_curve(path: Path, points: Sequence[tuple[int, float]]) -> None:
    """Writes a learning curve as ``benchmarks.draw_results`` reads it."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("agent_steps", "training_score"))
        writer.writerows(points)


def named(config: Config) -> str:
    """Returns the recipe of a run, with the settings in which the run differs from it."""
    name = config.versioned_recipe
    plain, _ = settings_by_name(config)
    if plain.versioned_recipe != name:  # the values of an older version are not known
        return name
    _, differences = differing_settings([plain, config], RECIPE_SECTIONS)
    return name + format_differences(differences)


def evaluation_of(run: Path, steps: int, episodes: int | None) -> tuple[int, float, float]:
    """Scores a checkpoint; returns the number of episodes, their mean and its standard error.

    Args:
        run: the run's directory.
        steps: agent steps of the checkpoint.
        episodes: number of episodes; None means the protocol's number, 0 no evaluation.
    """
    if episodes == 0:
        return 0, math.nan, math.nan
    (saved,) = [each for each in checkpoint.in_run(run) if checkpoint.step_of(each) == steps]
    agent = load_agent(saved)
    played = evaluate(agent.act, agent.config, seed=1, episodes=episodes).episodes
    scores = np.array([episode.score for episode in played])
    error = scores.std(ddof=1) / np.sqrt(len(scores))
    return len(scores), round(float(scores.mean()), 2), round(float(error), 2)


def result_of(run: Path, steps: int | None = None, episodes: int | None = None) -> RunResult:
    """Returns the row of a run.

    Args:
        run: the run's directory.
        steps: agent steps up to which the run counts; None means its last checkpoint.
        episodes: as for ``evaluation_of``.
    """
    config = read_config(run / CONFIG)
    if steps is None:
        steps = checkpoint.step_of(checkpoint.in_run(run)[-1])
    count, score, error = evaluation_of(run, steps, episodes)
    start = json.loads((run / "run.json").read_text(encoding="utf-8"))["starts"][-1]
    seconds = read_series(run, METRICS, "wall_seconds")
    points = dict(curve_of(run, steps))
    return RunResult(
        recipe=named(config),
        game=config.game,
        rom=str(config.spec.rom),
        protocol=config.protocol,
        seed=config.machine.seed,
        agent_steps=steps,
        episodes=count,
        score=score,
        standard_error=error,
        training_score=points.get(steps, math.nan),
        minutes=round(
            float(np.interp(steps, seconds.steps, seconds.values)) / SECONDS_PER_MINUTE, 1
        ),
        machine=start["machine"],
        commit=start["commit"][:7],
    )


def add(
    run: Path,
    directory: Path = RESULTS,
    steps: int | None = None,
    episodes: int | None = None,
) -> RunResult:
    """Scores a run, and writes its row and, for a plain recipe, its curve.

    Args:
        run: the run's directory.
        directory: directory of runs.csv.
        steps: as for ``result_of``.
        episodes: as for ``evaluation_of``.

    Returns:
        The row.
    """
    result = result_of(run, steps, episodes)
    rows = [row for row in read_rows(directory) if row.key != result.key]
    write_rows([*rows, result], directory)
    if steps is None and "," not in result.recipe:
        (directory / CURVES).mkdir(exist_ok=True)
        name = f"{result.rom}-{result.recipe}-seed{result.seed}.csv"
        write_curve(directory / CURVES / name, curve_of(run, result.agent_steps))
    return result


def main() -> None:
    """Adds runs, and prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="directory of a run")
    parser.add_argument("--steps", type=int, help="agent steps up to which the runs count")
    parser.add_argument("--episodes", type=int, help="episodes of the evaluation; 0 skips it")
    options = parser.parse_args()
    for run in options.runs:
        row = add(run, steps=options.steps, episodes=options.episodes)
        evaluation = "not evaluated"
        if row.episodes:
            evaluation = f"{row.score:.1f} +- {row.standard_error:.1f}"
        print(
            f"{row.game}, {row.recipe}, seed {row.seed}, {row.agent_steps:,} agent steps: "
            f"{evaluation}, in training {row.training_score:.1f}, {row.minutes:.0f} min",
            flush=True,
        )


if __name__ == "__main__":
    main()
