"""The scores of runs, read from where training and evaluation left them."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from atari_dqn.config.resolve import read_config
from atari_dqn.config.schema import RECIPE_SECTIONS, Config
from atari_dqn.errors import UserError
from atari_dqn.files.csv_files import read_columns
from atari_dqn.files.reading import read_text
from atari_dqn.recording.episode_file import LARGEST_FILE, EvaluationFile, parse
from atari_dqn.runs.directory import CONFIG, game_directory, what_differs

EVALUATION, TRAINING = "evaluation", "training"
# Of a run, whose last training episodes are scored: of Dopamine's 10 million frames the last
# iteration (Castro et al. 2018).
LAST_PART = 0.1


class Result(NamedTuple):
    """The score of one run."""

    game: str
    rom: str | None
    recipe: str
    run: str
    steps: int  # agent steps of training
    measure: str  # EVALUATION or TRAINING
    score: float
    episodes: int  # that the score is the mean of
    conditions: dict[str, str]  # what must be the same for two scores to be comparable


def read_results(paths: Sequence[Path], videos: Path) -> tuple[list[Result], list[str]]:
    """The results of runs: of each its evaluation furthest on in training, and its training score
    when that was complete.

    Args:
        paths: run directories, JSON files of evaluations, or directories with such in them.
        videos: where the evaluations of run directories lie.

    Returns:
        The results, and a note about each file that is left out.

    Raises:
        UserError: there is nothing in any of the paths.
    """
    found: dict[tuple[str, ...], list[Result]] = {}
    configs: dict[tuple[str, str], Config] = {}
    notes: list[str] = []
    problems: list[str] = []
    for path in paths:
        try:
            results = _results_of(path, videos, configs, notes)
        except UserError as error:
            problems.append(str(error))
            continue
        for result in results:
            key = (
                result.game,
                result.recipe,
                result.run,
                result.measure,
                str(sorted(result.conditions.items())),
            )
            if result not in found.setdefault(key, []):
                found[key].append(result)
    if problems and not found:
        raise UserError(problems[0] + (f" ({notes[0]})" if notes else ""))
    notes += problems
    return _named_apart([_furthest(of_one) for of_one in found.values()], configs), notes


def _named_apart(
    results: Sequence[Result], configs: Mapping[tuple[str, str], Config]
) -> list[Result]:
    """Runs of one recipe that learnt with other settings get a name that says which; protocols
    divide by themselves.
    """
    told: dict[tuple[str, str], str] = {}
    for recipe in {config.recipe for config in configs.values()}:
        runs = [run for run, config in configs.items() if config.recipe == recipe]
        told |= zip(
            runs,
            what_differs([configs[run] for run in runs], (*RECIPE_SECTIONS, "machine")),
            strict=True,
        )
    return [
        result._replace(recipe=result.recipe + told.get((result.game, result.run), ""))
        for result in results
    ]


def _results_of(
    path: Path,
    videos: Path,
    configs: dict[tuple[str, str], Config],
    notes: list[str],
) -> list[Result]:
    """The results in a path; a UserError where there is none."""
    if not os.path.lexists(path):
        raise UserError(f"there is no '{path}'")
    results = list(_results(path, videos, configs, notes))
    if not results:
        raise UserError(f"'{path}' holds no complete run and no evaluation")
    return results


def _results(
    path: Path, videos: Path, configs: dict[tuple[str, str], Config], notes: list[str]
) -> Iterator[Result]:
    if not path.is_dir():
        yield _evaluated(path)
        return
    for config in sorted(path.rglob(CONFIG)):
        if not os.path.lexists(config.parent / "episodes.csv"):
            continue
        try:
            yield from _of_run(config.parent, videos, configs, notes)
        except UserError as error:
            notes.append(f"'{config.parent}' is skipped: {error}")
    yield from _evaluations_below(path, notes)


def _of_run(
    run: Path, videos: Path, configs: dict[tuple[str, str], Config], notes: list[str]
) -> Iterator[Result]:
    config = read_config(run / CONFIG)
    trained = _trained(run, config)
    configs[config.game, run.resolve().name] = config
    if isinstance(trained, str):
        notes.append(f"'{run}' {trained}: its training score is left out")
    else:
        yield trained
    yield from _evaluations_below(game_directory(videos, config.game) / run.resolve().name, notes)


def _evaluations_below(directory: Path, notes: list[str]) -> Iterator[Result]:
    for path in sorted(directory.rglob("*_evaluation_*.json")):
        try:
            yield _evaluated(path)
        except UserError as error:
            notes.append(f"'{path}' is skipped: {error}")


def _evaluated(path: Path) -> Result:
    text = read_text(path, LARGEST_FILE)
    try:
        part = parse(text)
    except UserError as error:
        raise UserError(f"'{path}' is no evaluation: {error}") from None
    if not isinstance(part, EvaluationFile):
        raise UserError(f"'{path}' is a recording, no evaluation")
    names = (part.game, part.rom, part.recipe or "random play", part.run, part.steps, EVALUATION)
    return Result(
        *names, part.statistics.mean, part.statistics.episodes, part.protocol.conditions()
    )


def _trained(run: Path, config: Config) -> Result | str:
    """Mean score of the training episodes that ended in the last part of a run, or why it has none."""
    (logged,) = read_columns(run / "metrics.csv", ("steps",))
    steps, scores = read_columns(run / "episodes.csv", ("steps", "score"))
    total = config.training.total_steps
    last = steps > total * (1 - LAST_PART)
    if not len(logged) or logged[-1] < total - config.training.log_period:
        return "has not come to its end yet"
    if not last.any():
        return f"ended no episode in its last {LAST_PART:.0%}"
    seen = config.environment.model_dump(mode="json", exclude={"life_loss_ends_future"})
    conditions = {"protocol": config.protocol} | {
        name.replace("_", " "): json.dumps(value) for name, value in seen.items()
    }
    conditions["exploration"] = _describe_exploration(config)
    names = (config.game, config.spec.rom, config.recipe, run.resolve().name, total, TRAINING)
    return Result(*names, float(scores[last].mean()), int(last.sum()), conditions)


def _describe_exploration(config: Config) -> str:
    """How often the actions of the last training episodes were random."""
    settings = config.exploration
    least = settings.epsilon_end ** (1 + settings.spread)
    epsilon = f"epsilon {settings.epsilon_end:g}" + (f" to {least:.1g}" if settings.spread else "")
    parts = [
        epsilon,
        *(["Boltzmann"] if settings.policy == "boltzmann" else []),
        *(["noise"] if config.network.noisy else []),
    ]
    return ", ".join(parts)


def _furthest(results: Sequence[Result]) -> Result:
    """Of several checkpoints the last; of several evaluations of it, with seeds of their own, the
    mean over all episodes.
    """
    last = max(result.steps for result in results)
    of_last = [result for result in results if result.steps == last]
    episodes = [result.episodes for result in of_last]
    score = float(np.average([result.score for result in of_last], weights=episodes))
    return of_last[0]._replace(score=score, episodes=sum(episodes))
