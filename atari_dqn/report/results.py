"""Reads the scores of runs from the files of training and evaluation."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from atari_dqn.config.resolve import read_config
from atari_dqn.config.schema import RECIPE_SECTIONS, Config
from atari_dqn.errors import UserError
from atari_dqn.files.reading import read_text
from atari_dqn.games.ids import reference_scores
from atari_dqn.recording.episode_file import LARGEST_FILE, EvaluationFile, parse
from atari_dqn.runs import checkpoint
from atari_dqn.runs.continuation import differing_settings, format_differences
from atari_dqn.runs.curves import (
    EPISODES,
    METRICS,
    read_learning_curve,
    read_logged_steps,
    read_series,
)
from atari_dqn.runs.directory import CONFIG, game_directory

EVALUATION = "evaluation"
TRAINING = "training"
# The training score is the mean over this last part of a run. In a run of 10 million frames, it is
# as long as an iteration of Dopamine (Castro et al. 2018).
LAST_PART = 0.1
# Times are given until training reaches these human-normalized scores.
MILESTONES = {"human": 1.0, "twice human": 2.0}
EPISODES_AT_MILESTONE = 100


class Result(NamedTuple):
    """The score of one run."""

    game: str
    rom: str | None
    recipe: str
    run: str
    steps: int  # agent steps of training
    measure: str  # EVALUATION or TRAINING
    score: float
    episodes: int  # number of episodes in the mean
    conditions: dict[str, str]  # comparable scores have the same conditions
    # Minutes of training to each of MILESTONES, or None if it was not reached. Empty for
    # evaluations, and for games without human scores.
    minutes: dict[str, float | None]


def read_results(paths: Sequence[Path], videos: Path) -> tuple[list[Result], list[str]]:
    """Returns the results of runs and evaluations.

    A run has up to two results: the evaluation of its latest evaluated checkpoint, and its
    training score if the run is complete.

    Args:
        paths: Run directories, JSON files of evaluations, or directories that contain them.
        videos: Directory of the evaluations of run directories.

    Returns:
        The results, and a note about each file that is left out.

    Raises:
        UserError: The paths contain no result.
    """
    reader = _Reader(videos)
    groups: dict[tuple[str, ...], list[Result]] = {}
    problems: list[str] = []
    for path in paths:
        try:
            results = reader.read(path)
        except UserError as error:
            problems.append(str(error))
            continue
        for result in results:
            of_one = groups.setdefault(_group_of(result), [])
            if result not in of_one:
                of_one.append(result)
    notes = reader.notes
    if problems and not groups:
        raise UserError(problems[0] + (f" ({notes[0]})" if notes else ""))
    results = [_furthest(of_one) for of_one in groups.values()]
    return _named_apart(results, reader.configs), notes + problems


class _Reader:
    """Reads the results in files and directories.

    Args:
        videos: Directory of the evaluations of run directories.

    Attributes:
        configs: Settings of the runs, by game and name of the run.
        notes: A line about each file that is left out.
    """

    def __init__(self, videos: Path) -> None:
        self.configs: dict[tuple[str, str], Config] = {}
        self.notes: list[str] = []
        self._videos = videos
        self._lacks_score = False

    def read(self, path: Path) -> list[Result]:
        """Returns the results in a path.

        Raises:
            UserError: The path contains no result.
        """
        if not os.path.lexists(path):
            raise UserError(f"there is no '{path}'")
        results = list(self._results_below(path) if path.is_dir() else [_evaluation(path)])
        if not results and self._lacks_score:
            raise UserError(f"'{path}' contains no score")
        if not results:
            raise UserError(f"'{path}' contains no complete run and no evaluation")
        return results

    def _results_below(self, directory: Path) -> Iterator[Result]:
        for config in sorted(directory.rglob(CONFIG)):
            run = config.parent
            if not os.path.lexists(run / EPISODES):
                continue
            try:
                yield from self._results_of_run(run)
            except UserError as error:
                self.notes.append(f"'{run}' is skipped: {error}")
        yield from self._evaluations_below(directory)

    def _results_of_run(self, run: Path) -> Iterator[Result]:
        config = read_config(run / CONFIG)
        name = run.resolve().name
        trained = None
        if not _is_complete(run, config):
            self.notes.append(f"'{run}' is not complete yet: its training score is left out")
        else:
            trained = _training_score(run, config)
            if trained is None:
                self._lacks_score = True
                reason = f"no episode ended in the last {LAST_PART:.0%} of its training"
                self.notes.append(f"'{run}' is complete, but {reason}: it has no training score")
        self.configs[config.game, name] = config
        if trained is not None:
            yield trained
        yield from self._evaluations_below(game_directory(self._videos, config.game) / name)

    def _evaluations_below(self, directory: Path) -> Iterator[Result]:
        for path in sorted(directory.rglob("*_evaluation_*.json")):
            try:
                yield _evaluation(path)
            except UserError as error:
                self.notes.append(f"'{path}' is skipped: {error}")


def _group_of(result: Result) -> tuple[str, ...]:
    """Returns a key that the results of one run share across agent steps and seeds."""
    conditions = str(sorted(result.conditions.items()))
    return (result.game, result.recipe, result.run, result.measure, conditions)


def _named_apart(results: Sequence[Result], configs: dict[tuple[str, str], Config]) -> list[Result]:
    """Returns results whose recipe names include the settings in which runs of a recipe differ.

    Settings of the environment are left out, because protocols have separate tables.
    """
    differences: dict[tuple[str, str], str] = {}
    for recipe in {config.versioned_recipe for config in configs.values()}:
        runs = [run for run, config in configs.items() if config.versioned_recipe == recipe]
        of_runs = [configs[run] for run in runs]
        sections = (*RECIPE_SECTIONS, "machine")
        texts = map(format_differences, differing_settings(of_runs, sections))
        differences |= zip(runs, texts, strict=True)
    renamed = []
    for result in results:
        difference = differences.get((result.game, result.run), "")
        renamed.append(result._replace(recipe=result.recipe + difference))
    return renamed


def _evaluation(path: Path) -> Result:
    """Reads the JSON of an evaluation."""
    text = read_text(path, LARGEST_FILE)
    try:
        file = parse(text)
    except UserError as error:
        raise UserError(f"'{path}' is not an evaluation: {error}") from None
    if not isinstance(file, EvaluationFile):
        raise UserError(f"'{path}' is a recording, not an evaluation")
    return Result(
        game=file.game,
        rom=file.rom,
        recipe=file.recipe or "random play",
        run=file.run,
        steps=file.steps,
        measure=EVALUATION,
        score=file.statistics.mean,
        episodes=file.statistics.episodes,
        conditions=file.protocol.conditions(),
        minutes={},
    )


def _is_complete(run: Path, config: Config) -> bool:
    """Returns whether a run has made all of its agent steps.

    Its last checkpoint shows that. If all checkpoints were deleted, its log shows it too, up to a
    logging period.
    """
    total = config.training.total_steps
    saved = checkpoint.in_run(run)
    if saved and checkpoint.step_of(saved[-1]) >= total:
        return True
    logged = read_logged_steps(run)
    unlogged = 0 if saved else config.training.log_period
    return len(logged) > 0 and bool(logged[-1] >= total - unlogged)


def _training_score(run: Path, config: Config) -> Result | None:
    """Returns the mean score of the training episodes that ended in the last part of a run.

    None means that no episode ended in that part.
    """
    scores = read_series(run, EPISODES, "score")
    total = config.training.total_steps
    last = scores.values[scores.steps > total * (1 - LAST_PART)]
    if not len(last):
        return None
    return Result(
        game=config.game,
        rom=config.spec.rom,
        recipe=config.versioned_recipe,
        run=run.resolve().name,
        steps=total,
        measure=TRAINING,
        score=float(last.mean()),
        episodes=len(last),
        conditions=_training_conditions(config),
        minutes=_minutes_to_milestones(run, config.spec.rom),
    )


def _minutes_to_milestones(run: Path, rom: str | None) -> dict[str, float | None]:
    """Returns the minutes of training until the last 100 episodes had the score of a milestone.

    Pauses between the parts of a run do not count. Games without human scores have no milestones.
    """
    if rom is None or rom not in reference_scores():
        return {}
    random, human = reference_scores()[rom]
    curve = read_learning_curve(run)
    seconds = read_series(run, METRICS, "wall_seconds")
    if not len(seconds.steps):  # a run that is shorter than a logging period
        return {}
    ends = curve.steps[EPISODES_AT_MILESTONE - 1 :]
    means = curve.mean_100[EPISODES_AT_MILESTONE - 1 :]
    minutes: dict[str, float | None] = {}
    for name, milestone in MILESTONES.items():
        reached = ends[(means - random) / (human - random) >= milestone]
        minutes[name] = None
        if len(reached):
            minutes[name] = float(np.interp(reached[0], seconds.steps, seconds.values)) / 60
    return minutes


def _training_conditions(config: Config) -> dict[str, str]:
    """Returns the conditions of a training score; comparable scores have the same ones."""
    conditions = {"protocol": config.protocol}
    environment = config.environment.model_dump(mode="json", exclude={"life_loss_ends_future"})
    for name, value in environment.items():
        conditions[name.replace("_", " ")] = json.dumps(value)
    conditions["exploration"] = _describe_exploration(config)
    return conditions


def _describe_exploration(config: Config) -> str:
    """Returns a description of the exploration in the last training episodes."""
    settings = config.exploration
    epsilon = f"epsilon {settings.epsilon_end:g}"
    if settings.spread:
        least = settings.epsilon_end ** (1 + settings.spread)
        epsilon += f" to {least:.1g}"
    parts = [epsilon]
    if settings.policy == "boltzmann":
        parts.append("Boltzmann")
    if config.network.noisy:
        parts.append("noise")
    return ", ".join(parts)


def _furthest(results: Sequence[Result]) -> Result:
    """Returns the result of the latest checkpoint among the results of one run.

    If it was evaluated with several seeds, the result is the mean over all episodes.
    """
    last = max(result.steps for result in results)
    of_last = [result for result in results if result.steps == last]
    episodes = [result.episodes for result in of_last]
    score = float(np.average([result.score for result in of_last], weights=episodes))
    return of_last[0]._replace(score=score, episodes=sum(episodes))
