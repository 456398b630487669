"""Races this project against Stable-Baselines3: score by wall time, on the same machine.

    make race                                              Pong for 30 minutes, Breakout for 60
    make race ARGS="--games PongNoFrameskip-v4 --minutes 5"

Each contender trains alone on the machine, in its own process, with one seed. The clock starts with
the process, so starting up counts. Each contender saves its policy every few minutes. When it has
finished, all of its policies are scored by our evaluation under one protocol, that of the id
``...NoFrameskip-v4``. It plays as the preprocessing of Stable-Baselines3 does: no sticky actions,
the maximum of two frames, up to 30 no-ops, FIRE pressed at reset and after a lost life. Its frames
are equal to theirs on Breakout. On Pong some 15 of 7,056 pixels differ, by up to 16 of 255: they
take the maximum of colors, we of gray values. Scoring does not count as training.

A contender that has finished is not repeated, so an interrupted race continues. The results are one
JSON file for each contender, a table and a picture.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atari_dqn.config.resolve import load_config
from atari_dqn.config.schema import Config
from atari_dqn.evaluation.evaluate import Policy, evaluate
from benchmarks.bench import machine, quiet

MINUTES = {"PongNoFrameskip-v4": 30.0, "BreakoutNoFrameskip-v4": 60.0}
EPISODES = 30
EVALUATION_SEED = 7
OURS = "atari_dqn"
PEERS = {
    "dqn": "Stable-Baselines3 DQN",
    "dqn-short": "Stable-Baselines3 DQN, shorter exploration",
    "ppo": "Stable-Baselines3 PPO",
}
NAMES = {OURS: "atari_dqn, default", **PEERS}
PEER_STEPS_PER_SECOND = 140  # of Stable-Baselines3's DQN on two cores of an AMD EPYC
TABLE_MINUTES = (5, 10, 15, 20, 25, 30, 40, 50, 60)


@dataclass(frozen=True)
class Point:
    """The score of a policy.

    Attributes:
        minutes: Wall time since the start of the training process.
        steps: Agent steps so far.
        mean: Mean score of the evaluation.
        standard_error: Standard error of the mean.
    """

    minutes: float
    steps: int
    mean: float
    standard_error: float


@dataclass(frozen=True)
class Result:
    """All scores of a contender in a game, in the order of time."""

    contender: str
    game: str
    command: str
    points: list[Point]

    def at(self, minutes: float) -> Point | None:
        """Returns the newest score after a time, or None if there is none yet."""
        before = [point for point in self.points if point.minutes <= minutes]
        return before[-1] if before else None


def train(contender: str, game: str, minutes: float, folder: Path) -> tuple[str, float]:
    """Trains a contender; returns its command, and the time at which its process started."""
    if contender == OURS:
        run = f"train --game {game} --hours {minutes / 60:g}"
        module = f"atari_dqn.cli {run} --config default"
        settings = "--training.evaluation_period 0 --training.keep_period 1"
        arguments = f"{module} {settings} --run-dir {folder / 'run'} --videos {folder / 'videos'}"
    else:
        steps = round(60 * minutes * PEER_STEPS_PER_SECOND)
        options = f"--minutes {minutes:g} --steps {steps} --out {folder}"
        arguments = f"benchmarks.race_peer {contender} {game} {options}"
    started = time.time()
    with (folder / "log.txt").open("w", encoding="utf-8") as log:
        command = [sys.executable, "-m", *arguments.split()]
        subprocess.run(command, check=True, env=quiet(), stdout=log, stderr=log)
    return f"python -m {arguments}", started


def _our_policy(checkpoint: Path) -> Policy:
    from atari_dqn import load_agent

    return load_agent(checkpoint).act


def our_policies(folder: Path) -> list[tuple[int, float, Callable[[], Policy]]]:
    """Returns steps, time and a loader for each policy that this project saved."""
    return [
        (
            int(path.name.removeprefix("step-")),
            (path / "network.keras").stat().st_mtime,
            partial(_our_policy, path),
        )
        for path in sorted((folder / "run").glob("step-*"))
    ]


def peer_policies(contender: str, folder: Path) -> list[tuple[int, float, Callable[[], Policy]]]:
    """Returns steps, time and a loader for each policy that Stable-Baselines3 saved."""
    from stable_baselines3.common.policies import ActorCriticCnnPolicy
    from stable_baselines3.dqn.policies import CnnPolicy

    is_dqn = contender.startswith("dqn")
    kind = CnnPolicy if is_dqn else ActorCriticCnnPolicy

    def load(path: Path) -> Policy:
        policy = kind.load(path, device="cpu")

        def act(observations: NDArray[Any]) -> NDArray[np.integer[Any]]:
            # PPO learns to sample from its policy, and DQN to take the best action.
            actions, _ = policy.predict(observations, deterministic=is_dqn)
            return np.asarray(actions, np.int32)

        return act

    return [
        (
            int(path.stem.removeprefix("policy-")),
            path.stat().st_mtime,
            partial(load, path),
        )
        for path in sorted(folder.glob("policy-*.zip"))
    ]


def score(policy: Policy, config: Config) -> tuple[float, float]:
    """Returns the mean score of a policy, and its standard error."""
    played = evaluate(policy, config, seed=EVALUATION_SEED, episodes=EPISODES)
    scores = [episode.score for episode in played.episodes]
    return statistics.fmean(scores), statistics.stdev(scores) / len(scores) ** 0.5


def race(contender: str, game: str, minutes: float, out: Path) -> Result:
    """Trains and scores a contender, unless it has a result already."""
    file = out / f"{game}-{contender}.json"
    if file.exists():
        stored = json.loads(file.read_text(encoding="utf-8"))
        points = [Point(**point) for point in stored.pop("points")]
        return Result(stored["contender"], stored["game"], stored["command"], points)
    out.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{game}-{contender}-", dir=out))
    command, started = train(contender, game, minutes, folder)
    policies = our_policies(folder) if contender == OURS else peer_policies(contender, folder)
    config, _ = load_config(game)
    points = []
    for steps, moment, load in policies:
        mean, error = score(load(), config)
        points.append(Point((moment - started) / 60, steps, mean, error))
        print(f"{game} {contender}: {points[-1]}", flush=True)
    result = Result(contender, game, command, points)
    stored = {**asdict(result), "machine": machine()}
    file.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    return result


def table(results: Iterable[Result]) -> list[str]:
    """Returns the lines of a Markdown table: a row for each contender, a column for each time."""
    results = list(results)
    last = max(result.points[-1].minutes for result in results)
    columns = [minutes for minutes in TABLE_MINUTES if minutes <= last + 1]
    heads = " | ".join(f"{minutes} min" for minutes in columns)
    lines = [f"| {results[0].game} | {heads} |", "| --- |" + " --- |" * len(columns)]
    for result in results:
        cells = []
        for minutes in columns:
            point = result.at(minutes + 0.5)
            cells.append(f"{point.mean:.1f}" if point else "")
        lines.append(f"| {NAMES[result.contender]} | {' | '.join(cells)} |")
    return lines


def draw(results: list[Result], path: Path) -> None:
    """Draws a panel for each game: score by minutes, with a band of one standard error."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    games = list(dict.fromkeys(result.game for result in results))
    with mpl.rc_context({"font.size": 11}):
        figure = Figure(figsize=(5.5 * len(games), 4), layout="constrained")
        for number, game in enumerate(games):
            axes = figure.add_subplot(1, len(games), number + 1)
            for result in results:
                if result.game != game:
                    continue
                minutes = np.array([point.minutes for point in result.points])
                mean = np.array([point.mean for point in result.points])
                error = np.array([point.standard_error for point in result.points])
                width = 2.5 if result.contender == OURS else 1.5
                (line,) = axes.plot(minutes, mean, label=NAMES[result.contender], linewidth=width)
                axes.fill_between(
                    minutes, mean - error, mean + error, color=line.get_color(), alpha=0.2
                )
            axes.set_title(game)
            axes.set_xlabel("minutes of training")
            axes.set_ylabel("mean score of 30 episodes")
            axes.grid(alpha=0.3)
        figure.axes[0].legend(fontsize=9)
        figure.savefig(path, dpi=110)


def main() -> None:
    """Runs the race, prints the tables and draws the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--games", nargs="+", default=list(MINUTES), metavar="ID")
    parser.add_argument("--minutes", type=float, help="instead of each game's usual time")
    parser.add_argument("--only", nargs="+", default=list(NAMES), choices=list(NAMES))
    parser.add_argument("--out", type=Path, default=Path("race"))
    options = parser.parse_args()
    results = []
    for game in options.games:
        minutes = options.minutes or MINUTES.get(game, 30.0)
        of_game = [race(name, game, minutes, options.out) for name in options.only]
        print("\n".join(table(of_game)), flush=True)
        results += of_game
    draw(results, options.out / "race.png")


if __name__ == "__main__":
    main()
