"""Trains a run: starts it, or continues it from its newest checkpoint."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING

from atari_dqn.config.schema import Config
from atari_dqn.console import waiting
from atari_dqn.errors import UserError, nearest
from atari_dqn.games.ids import identify
from atari_dqn.runs import checkpoint
from atari_dqn.runs.circumstances import write_circumstances
from atari_dqn.runs.continuation import for_this_machine, merge, notes_on_speed, own_config
from atari_dqn.runs.directory import (
    DEFAULT_ROOT,
    all_runs,
    check_writable,
    choose,
    claimed,
    game_directory,
    runs_of_game,
    stored_arguments,
    unfinished,
)
from atari_dqn.runs.lock import held
from atari_dqn.training.stopwatch import shares
from atari_dqn.typed_commands import argument, command, option
from atari_dqn.workflows.settings import (
    ResolvedSettings,
    SettingsRequest,
    start_tensorflow,
    video_directory,
)
from atari_dqn.workflows.time_budget import Plan, Planner, measuring_seconds, plan_continuation

if TYPE_CHECKING:
    from atari_dqn.environments.environments import Environments
    from atari_dqn.training.loop import Training

logger = logging.getLogger(__name__)

STORAGES = {
    "memory": "uncompressed in memory",
    "compressed": "compressed in memory",
    "disk": "uncompressed in a file",
}
MILLION = 1_000_000
TABLE_WIDTH = 79  # columns of the table of layers


@dataclass(frozen=True)
class RunRequest:
    """A request to start or continue a run.

    Attributes:
        settings: The requested settings.
        root: Directory of all runs.
        videos: Directory of all recordings.
        run: Name or path of the run's directory, or ``last``, or None for a new run.
        init_from: Checkpoint of another run whose weights a new run starts with.
        address: Address of the Ray cluster for a run with actors, or None for this machine alone.
        show_progress: Whether to show the progress, in log lines where there is no terminal.
        verbose: Whether to log a table of the network's layers.
        is_typed: Whether a user typed ``run``, who then reads whether it is a new run.
        hours: Time that the run takes, from now on; it decides the number of agent steps. None
            means the number of the settings.
    """

    settings: SettingsRequest
    root: Path
    videos: Path
    run: str | None = None
    init_from: Path | None = None
    address: str | None = None
    show_progress: bool = False
    verbose: bool = False
    is_typed: bool = True
    hours: float | None = None


class RunState(Enum):
    """The state of a run when its process ends."""

    COMPLETE = auto()
    COMPLETE_BEFORE = auto()  # it was already complete, so nothing was trained
    INTERRUPTED = auto()  # it was stopped on request, and saved


@dataclass(frozen=True)
class RunOutcome:
    """The outcome of training a run.

    Attributes:
        state: State of the run.
        directory: Directory of the run.
        config: Settings of the run.
        steps: Agent steps so far.
        checkpoint: Newest checkpoint, or None if the run was interrupted.
        seconds: Wall time of all starts of the run.
        mean_score: Mean score of the last 100 training episodes, or None if none has ended yet.
        shares: Share of the wall time that each part of the work takes.
    """

    state: RunState
    directory: Path
    config: Config
    steps: int
    checkpoint: Path | None
    seconds: float = 0.0
    mean_score: float | None = None
    shares: dict[str, float] | None = None

    def describe(self) -> str:
        """Returns a description of the outcome, on one line or several."""
        if self.state is RunState.COMPLETE_BEFORE:
            return f"{self.directory} is complete: {self.steps:,} agent steps"
        if self.state is RunState.INTERRUPTED:
            return self._describe_interruption()
        score = "no episode has ended yet"
        if self.mean_score is not None:
            score = f"training score {self.mean_score:.2f} (mean of the last 100 episodes)"
        parts = ", ".join(f"{name} {share:.1%}" for name, share in (self.shares or {}).items())
        lines = [
            f"complete: {self.steps:,} agent steps in {self.seconds:,.0f} s, {score}",
            f"time: {parts}",
        ]
        if self.checkpoint is not None:
            lines.append(f"checkpoint: {self.checkpoint.name} in {self.directory}")
        return "\n".join(lines)

    def _describe_interruption(self) -> str:
        total = self.config.training.total_steps
        game = self.config.game
        continuation = command("train", game=game, run_dir=typed_run(self.directory, game))
        return "\n".join(
            [
                f"interrupted at step {self.steps:,} of {total:,} and saved; to continue:",
                f"  {continuation}",
            ]
        )


def typed_run(directory: Path, game: str) -> str:
    """Returns a run directory as the user may type it: a name if possible, otherwise a path.

    >>> typed_run(Path("checkpoints/Pong-v4/first"), "Pong-v4"), typed_run(Path("run"), "Pong-v4")
    ('first', './run')
    """
    if directory.parent == game_directory(DEFAULT_ROOT, game):
        return directory.name
    return directory.as_posix() if len(directory.parts) > 1 else f"./{directory}"


@dataclass(frozen=True)
class _Job:
    """A run whose directory is locked, with everything that its training needs.

    Attributes:
        config: Settings of the run.
        directory: Directory of the run.
        videos: Directory of the run's recordings.
        stored: Checkpoint to continue from, or None for a new run.
        init_from: Checkpoint whose weights a new run starts with.
        show_progress: As in ``RunRequest``.
        verbose: As in ``RunRequest``.
        plan: The plan that decided the number of agent steps, or None.
    """

    config: Config
    directory: Path
    videos: Path
    stored: checkpoint.Checkpoint | None
    init_from: Path | None
    show_progress: bool
    verbose: bool
    plan: Plan | None


def start_or_continue(
    request: RunRequest, report: Callable[[RunOutcome], None] = lambda outcome: None
) -> RunOutcome:
    """Trains a run to its end, or until it is interrupted.

    Args:
        request: The run.
        report: Called with the outcome as soon as it is known, because ending Ray takes longer.

    Raises:
        UserError: The request contradicts itself or the run, or a file cannot be read or written.
    """
    settings = _resolve(request)
    plan = None
    if request.hours is not None and _is_new(request, settings.config):
        plan = _plan_new_run(request, request.hours)
        request = replace(request, settings=plan.settings)
        settings = _resolve(request)
    chosen = choose(request.root, settings.config, request.run)
    new_or_named = claimed(chosen) if request.run is None else nullcontext(chosen)
    with new_or_named as directory, held(directory):
        videos = video_directory(request.videos, settings.config, directory.name)
        check_writable(videos)
        stored = newest_sound(checkpoint.in_run(directory))
        if stored is not None:
            settings = _continued_settings(request, settings, directory, stored)
            if request.hours is not None:
                plan = plan_continuation(settings.config, stored.step, request.hours)
                settings = replace(settings, config=plan.config)
            if _is_complete(stored, settings.config):
                outcome = RunOutcome(
                    RunState.COMPLETE_BEFORE, directory, settings.config, stored.step, stored.path
                )
                report(outcome)
                return outcome
        init_from = checkpoint.find(request.init_from) if request.init_from else None
        _log_beginning(request, settings, directory, is_new=stored is None)
        if plan is not None:
            _log_plan(plan)
        config = settings.config
        job = _Job(
            config,
            directory,
            videos,
            stored,
            init_from,
            request.show_progress,
            request.verbose,
            plan,
        )
        with _ray_for_actors(config, request.address):
            outcome = _train(job)
            report(outcome)
            return outcome


def newest_sound(saved: list[Path]) -> checkpoint.Checkpoint | None:
    """Returns the newest checkpoint that a run can continue from, or None if it has no checkpoint.

    Raises:
        UserError: Every checkpoint is damaged or contains only an agent.
    """
    for path in reversed(saved):
        try:
            stored = checkpoint.load(path)
            check_resumable(stored)
            return stored
        except UserError as error:
            if path == saved[0]:
                raise
            logger.warning("%s; the previous checkpoint is used", error)
    return None


def check_resumable(stored: checkpoint.Checkpoint) -> None:
    """Raises a UserError for a checkpoint that contains only an agent."""
    if stored.agent_only or "counters" not in stored.arrays:
        advice = f"{option('init-from')} starts another run with its weights"
        raise UserError(
            f"'{stored.path}' contains an agent, but no training state to continue from; {advice}"
        )


def _resolve(request: RunRequest) -> ResolvedSettings:
    """Returns the settings of a new run, including those that depend on this machine."""
    game = identify(request.settings.game).id
    kwargs = stored_arguments(request.root, game, request.run)
    settings = request.settings.resolve(kwargs)
    config = for_this_machine(settings.config)
    if request.address and not config.machine.actors:
        needed = argument("actors", "N")
        raise UserError(f"{option('address')} is the Ray cluster for actors: it needs {needed}")
    return replace(settings, config=config)


def _is_new(request: RunRequest, config: Config) -> bool:
    """Returns whether a request starts a run that has no checkpoint yet."""
    if request.run is None:
        return True
    return not checkpoint.in_run(choose(request.root, config, request.run))


def _plan_new_run(request: RunRequest, hours: float) -> Plan:
    """Returns a plan for a new run, after checking what would stop it."""
    check_writable(request.root)
    check_writable(request.videos)
    if request.init_from:
        checkpoint.find(request.init_from)
    return Planner(request.settings, measuring_seconds(hours)).plan(hours)


def _log_plan(plan: Plan) -> None:
    for note in plan.notes():
        logger.warning(note)
    logger.info(f"plan: {plan.describe()}")


def _continued_settings(
    request: RunRequest,
    settings: ResolvedSettings,
    directory: Path,
    stored: checkpoint.Checkpoint,
) -> ResolvedSettings:
    """Returns the settings of a continued run: its own, with the requested changes."""
    if request.init_from:
        advice = f"so {option('init-from')} does not apply; choose another run directory"
        raise UserError(f"'{directory}' already has a checkpoint, {advice}")
    own, notes = own_config(directory, stored.path)
    config = merge(own, settings.config, set(settings.requested))
    shipped = settings.config
    if own.recipe == shipped.recipe and own.recipe_version not in (None, shipped.recipe_version):
        notes.append(
            f"this run keeps {own.versioned_recipe}; a new one has {shipped.versioned_recipe}"
        )
    return replace(settings, config=config, notes=[*settings.notes, *notes])


def _is_complete(stored: checkpoint.Checkpoint, config: Config) -> bool:
    is_evaluated = (
        stored.notes.get("evaluation") is not None or not config.training.evaluation_period
    )
    return is_evaluated and stored.step >= config.training.total_steps


def _log_beginning(
    request: RunRequest, settings: ResolvedSettings, directory: Path, *, is_new: bool
) -> None:
    """Logs the notes on a run's settings, its game and its directory."""
    from atari_dqn.evaluation.describe import describe_environment

    config = settings.config
    notes = list(settings.notes)
    if is_new and request.run is None:
        notes += _unfinished_notes(directory.parent)
    elif is_new and request.is_typed:
        notes.append(f"this is a new run: {directory}{_nearest_run(request, config, directory)}")
    notes += notes_on_speed(config)
    for note in notes:
        logger.warning(note)
    rom = f" (rom {config.rom})" if config.rom else ""
    logger.info(f"game: {config.game}{rom}")
    logger.info(f"protocol {config.protocol}: {describe_environment(config)}")
    logger.info(f"recipe: {config.versioned_recipe}")
    logger.info(f"run directory: {directory}")


def _unfinished_notes(game_directory: Path) -> list[str]:
    others = unfinished(game_directory)
    if not others:
        return []
    newest = others[-1]
    advice = f"{argument('run-dir', newest.name)} continues it"
    return [f"this is a new run; {newest} is unfinished, and {advice}"]


def _nearest_run(request: RunRequest, config: Config, directory: Path) -> str:
    """Returns the question whether another run of the game was meant, or an empty string."""
    others = runs_of_game(all_runs(request.root), config.spec)
    typed = request.run or ""
    names = {run.name if run.parent == directory.parent else str(run): run for run in others}
    same = [name for name, run in names.items() if run.name == typed and run != directory]
    if same:
        return f"; did you mean '{same[-1]}'?"
    return nearest(typed, [name for name, run in names.items() if run != directory])


@contextmanager
def _ray_for_actors(config: Config, address: str | None) -> Iterator[None]:
    """Connects to a Ray cluster for a run with actors; does nothing for other runs."""
    if not config.machine.actors:
        yield
        return
    from atari_dqn.distributed.ray_cluster import connect

    ray = connect(address, "training with actors", config.machine.actors)
    try:
        yield
    finally:
        ray.shutdown()


def _train(job: _Job) -> RunOutcome:
    """Trains from a run's own checkpoint, from the weights of another run, or from scratch."""
    environments = _begin_games(job)
    start_tensorflow(job.config)
    with waiting("building the network"):
        training = _make_training(job, environments)
    if job.init_from is not None:
        _copy_weights(training, job.init_from)
    plan = job.plan.record() if job.plan else None
    for note in write_circumstances(job.directory, job.config, plan):
        logger.warning(note)
    _log_sizes(training)
    if job.verbose:
        training.agent.online.weights.summary(print_fn=logger.info, line_length=TABLE_WIDTH)
    _restore(training, job)
    is_complete = training.run()
    stopwatch = training.stopwatch
    seconds = stopwatch.wall
    has_scores = training.episodes.count > 0
    return RunOutcome(
        state=RunState.COMPLETE if is_complete else RunState.INTERRUPTED,
        directory=job.directory,
        config=job.config,
        steps=training.steps,
        checkpoint=checkpoint.find(job.directory) if is_complete else None,
        seconds=seconds,
        mean_score=training.episodes.mean_score if has_scores else None,
        shares=shares(stopwatch.seconds, seconds),
    )


def _log_sizes(training: "Training") -> None:
    """Logs the sizes of the replay memory and of the network."""
    config = training.config
    storage = STORAGES[training.memory.storage]
    unit = "vectors" if config.spec.vectors else "frames"
    logger.info(f"replay memory: {config.replay.capacity:,} {unit}, {storage}")
    network = config.network
    head = "dueling" if network.head == "dueling" else "plain"
    weights = training.agent.online.weights.count_params()
    size = f"{weights / 1e6:.1f} million" if weights >= MILLION else f"{weights:,}"
    actions = training.agent.num_actions
    logger.info(f"network: {network.torso} torso, {head} head, {actions} actions, {size} weights")


def _begin_games(job: _Job) -> "Environments | None":
    """Begins the first episodes of a new run, in threads, while TensorFlow is loaded.

    Returns:
        The environments, or None for a run that begins otherwise: a continued one, one with actors,
        and one whose games are written in Python.
    """
    if job.stored is not None or job.config.machine.actors or not job.config.rom:
        return None
    from atari_dqn.environments.environments import make_environments

    with waiting("starting the games"):
        environments = make_environments(job.config)
    environments.begin_reset()
    return environments


def _make_training(job: _Job, environments: "Environments | None") -> "Training":
    if job.config.machine.actors:
        from atari_dqn.distributed.learner import DistributedTraining

        return DistributedTraining(
            job.config, job.directory, job.videos, show_progress=job.show_progress
        )
    from atari_dqn.training.loop import Training

    return Training(job.config, job.directory, job.videos, environments, job.show_progress)


def _copy_weights(training: "Training", origin: Path) -> None:
    """Copies the weights of another run into a new one."""
    from atari_dqn.agent.pretrained import load_agent, start_from

    has_same_actions = start_from(training.agent, load_agent(origin))
    reservation = "" if has_same_actions else "; the actions differ, so the output layers are new"
    logger.info(f"weights from {origin}{reservation}")


def _restore(training: "Training", job: _Job) -> None:
    """Restores a run from its checkpoint, or clears the logs of a run without one."""
    from atari_dqn.training.logs import cut_logs

    if job.stored is None:
        cut_logs(job.directory, {})
        return
    is_exact = training.restore(job.stored)
    logger.info(f"continuing at step {training.steps:,}")
    if not is_exact:
        logger.warning(
            "the running episodes could not be repeated exactly; they continue from where they are"
        )
