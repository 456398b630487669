"""Finds the checkpoint that a user names: ``last``, ``best``, a game, a run, or a path."""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from atari_dqn.config.resolve import read_config
from atari_dqn.config.schema import Config
from atari_dqn.errors import UserError, nearest
from atari_dqn.files.reading import read_text
from atari_dqn.games.ids import every_name, human_normalised_score, identify
from atari_dqn.recording.episode_file import LARGEST_FILE, EvaluationFile, parse
from atari_dqn.runs import checkpoint
from atari_dqn.runs.directory import (
    CONFIG,
    LAST,
    RELEASED,
    all_runs,
    game_directory,
    newest_run,
    trained_runs,
)
from atari_dqn.typed_commands import command, option

logger = logging.getLogger(__name__)

BEST = "best"


@dataclass(frozen=True)
class Known:
    """A checkpoint with its known score.

    Attributes:
        path: Path of the checkpoint.
        config: Settings of its run.
        score: Mean score.
        episodes: Number of episodes in the mean.
    """

    path: Path
    config: Config
    score: float
    episodes: int

    @property
    def game(self) -> str:
        """The game that scores are compared within: all ids of an Atari game are one game."""
        return self.config.rom or self.config.game


def chooses(name: str | None) -> bool:
    """Returns whether a name chooses among runs, so that a game narrows the choice."""
    return name in (None, LAST, BEST)


def named_checkpoint(name: str | None, game: str | None, root: Path, videos: Path) -> Path:
    """Returns the run or checkpoint that a user names, and logs which one was chosen.

    Args:
        name: ``last`` or None for the newest run, ``best`` for the checkpoint with the best known
            score, a path, an environment id or the name of a game for its newest run, or the name
            of a run.
        game: Environment id or name of the game that ``last`` and ``best`` choose from, or None
            for all games.
        root: Directory of all runs.
        videos: Directory of all recordings and evaluations.

    Raises:
        UserError: The name means nothing.
    """
    if name is None or name == LAST:
        return _newest(root, game)
    if name == BEST:
        return _best(root, videos, game)
    if _exists(name):
        return Path(name)
    if _is_game(name):
        return _newest(root, name)
    of_name = [run for run in all_runs(root) if run.name == name]
    if len(of_name) == 1:
        logger.info(f"run: {of_name[0]}")
        return of_name[0]
    raise UserError(
        f"no checkpoint at '{name}': give a run directory, one of the step-... directories in it, "
        f"'{LAST}', '{BEST}' or a game{nearest(name, _names(name, root, of_name))}"
    )


def typed_checkpoint(path: Path, root: Path) -> str:
    """Returns a run or checkpoint as the user may type it: the run's name if that means the run.

    Args:
        path: The run or checkpoint.
        root: Directory of all runs.
    """
    name = path.name
    means_another = name in (LAST, BEST) or _exists(name) or _is_game(name)
    is_named = [run for run in all_runs(root) if run.name == name] == [path]
    return name if is_named and not means_another else path.as_posix()


def named_runs(paths: Iterable[Path], root: Path) -> list[Path]:
    """Returns paths in which ``last`` and games are replaced by runs.

    A path that exists stays unchanged, and so does one that means nothing. What is given twice
    counts once.

    Args:
        paths: Paths, ``last`` for the newest run, or games for all of their runs.
        root: Directory of all runs.

    Raises:
        UserError: There is no run, or none of the game.
    """
    runs: list[Path] = []
    for path in dict.fromkeys(paths):
        name = path.as_posix()
        if _exists(name):
            runs.append(path)
        elif name == LAST:
            runs.append(_newest(root, None))
        elif _is_game(name):
            runs += trained_runs(root, name)
        else:
            runs.append(path)
    return list(dict.fromkeys(runs))


def _newest(root: Path, game: str | None) -> Path:
    run = newest_run(root, game)
    of_game = f" of {game}" if game else ""
    logger.info(f"newest run{of_game}: {run}")
    return run


def _best(root: Path, videos: Path, game: str | None) -> Path:
    """Returns the checkpoint with the best known score.

    Scores are compared within one game. Between games, human-normalized scores are compared.

    Raises:
        UserError: No score is known, or the games have no human-normalized scores.
    """
    known = [one for run in trained_runs(root, game) for one in known_scores(run, videos)]
    if not known:
        of_game = f" of {game}" if game else ""
        advice = f"'{command('eval', checkpoint=game or LAST)}' evaluates one"
        raise UserError(f"no checkpoint{of_game} in '{root}' has been evaluated: {advice}")
    games = sorted({one.game for one in known})
    normalized = ""
    if len(games) == 1:
        best = max(known, key=lambda one: one.score)
    else:
        ranked = _normalized(known, games)
        best = max(known, key=lambda one: ranked[one.path])
        normalized = f", human-normalized {ranked[best.path]:.3f}"
    protocols = {one.config.protocol for one in known if one.game == best.game}
    mixed = ", compared across protocols" if len(protocols) > 1 else ""
    checkpoints = "checkpoints" if len(known) > 1 else "checkpoint"
    logger.info(
        f"best of {len(known)} evaluated {checkpoints}: "
        f"{best.path.name} of {best.path.parent}, mean score {best.score:.2f} "
        f"over {best.episodes} episodes{normalized} (protocol {best.config.protocol}{mixed})"
    )
    return best.path


def _normalized(known: Sequence[Known], games: Sequence[str]) -> dict[Path, float]:
    """Returns the human-normalized score of each checkpoint, by path.

    Raises:
        UserError: One of the games has no human-normalized scores.
    """
    scores: dict[Path, float] = {}
    for one in known:
        score = human_normalised_score(one.config.rom, one.score)
        if score is None:
            reason = f"{one.config.game} has no human-normalized score to compare"
            choose = f"{option('game')} chooses one of {', '.join(games)}"
            raise UserError(f"'{BEST}' of several games: {reason}; {choose}")
        scores[one.path] = score
    return scores


def known_scores(run: Path, videos: Path) -> Iterator[Known]:
    """Yields the checkpoints of a run whose score is known.

    A score is that of the evaluation with the most episodes under the run's own protocol. The
    short evaluations of training count too.

    Args:
        run: Directory of the run.
        videos: Directory of all recordings and evaluations.
    """
    try:
        config = read_config(run / CONFIG)
    except UserError:  # the settings cannot be read
        return
    evaluations = list(_evaluations(run, config, videos))
    for path in checkpoint.in_run(run):
        with suppress(UserError):  # the checkpoint is damaged
            scores = [
                Known(path, config, file.statistics.mean, file.statistics.episodes)
                for file in evaluations
                if file.steps == checkpoint.step_of(path) and _is_of(file, path)
            ]
            score = checkpoint.evaluation_of(path)
            if score is not None:
                scores.append(Known(path, config, score, config.training.evaluation_episodes))
            if scores:
                yield max(scores, key=lambda known: known.episodes)


def _evaluations(run: Path, config: Config, videos: Path) -> Iterator[EvaluationFile]:
    """Yields a run's evaluations under its own protocol."""
    # The recordings of a sweep lie beside its runs.
    for directory in (videos, run.parent.parent / "videos"):
        folder = game_directory(directory, config.game) / run.resolve().name
        for path in sorted(folder.rglob("*_evaluation_*.json")):
            with suppress(UserError):  # it is not an evaluation
                file = parse(read_text(path, LARGEST_FILE))
                if isinstance(file, EvaluationFile) and _has_own_protocol(file, config):
                    yield file


def _has_own_protocol(file: EvaluationFile, config: Config) -> bool:
    settings = config.evaluation
    return (
        file.protocol.name == config.protocol
        and file.protocol.epsilon == settings.epsilon
        and file.protocol.frame_cap == settings.frame_cap
    )


def _is_of(file: EvaluationFile, path: Path) -> bool:
    """Returns whether an evaluation is of a checkpoint, and not of another run with its name."""
    evaluated = file.checkpoint or ""
    return not _exists(evaluated) or Path(evaluated).resolve() == path.resolve()


def _names(name: str, root: Path, of_name: Sequence[Path]) -> list[str]:
    """Returns the names that a mistyped name may mean: those of runs, checkpoints and games."""
    runs = all_runs(root)
    released = [path for path in (root / RELEASED).glob("*") if path.is_dir()]
    beside = [path for run in runs if run == Path(name).parent for path in checkpoint.in_run(run)]
    paths = [str(path) for path in (*of_name, *runs, *released, *beside)]
    return [*paths, *(run.name for run in runs), LAST, BEST, *every_name()]


def _is_game(name: str) -> bool:
    try:
        identify(name)
    except UserError:
        return False
    return True


def _exists(path: str) -> bool:
    try:
        return bool(path) and os.path.lexists(path)
    except (OSError, ValueError):  # too long for a file name, or a zero byte
        return False
