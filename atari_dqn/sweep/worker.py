"""Trains one run of a sweep in a worker process, and evaluates it if requested."""

import io
import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import BinaryIO, NamedTuple

from atari_dqn.console import log_to_standard_error
from atari_dqn.errors import UserError, one_line
from atari_dqn.files.atomic_write import open_own, write_whole
from atari_dqn.runs.continuation import THREADS
from atari_dqn.runs.lock import check_links, is_held
from atari_dqn.sweep.plan import Run, State
from atari_dqn.workflows.evaluate import EvaluationRequest, PlayerRequest, evaluate_checkpoint
from atari_dqn.workflows.settings import SettingsRequest
from atari_dqn.workflows.train import RunRequest, RunState, start_or_continue

logger = logging.getLogger(__name__)

WORKER = "worker.json"
LOG = "train.log"
SECONDS_BETWEEN_LOOKS = 0.5


class Outcome(NamedTuple):
    """The outcome of a run in its worker.

    Attributes:
        state: ``DONE``, ``STOPPED`` (saved on request) or ``FAILED``.
        why: Reason for a failure, on one line.
    """

    state: State
    why: str = ""


class Worker(NamedTuple):
    """The process that trains a run.

    Attributes:
        node: IP address of the machine.
        attempt: Number of earlier workers of the run that have died.
        threads: Number of threads of the run, unless its settings name one.
    """

    node: str
    attempt: int
    threads: int


def perform(run: Run, worker: Worker, *, evaluate: bool) -> Outcome:
    """Starts or continues a run, trains it to its end, and evaluates it.

    Messages go to a log in the directory of the run.

    Args:
        run: The run.
        worker: This process.
        evaluate: Whether to evaluate the run when it is complete.
    """
    directory = Path(run.directory)
    directory.mkdir(parents=True, exist_ok=True)
    try:
        check_links(directory)
        log = open_own(directory / LOG, create=True)
    except (OSError, UserError) as error:
        return Outcome(State.FAILED, str(error))
    with _logged(log):
        try:
            _wait_until_free(directory)
            _write_worker(directory, worker)
            return _train(run, worker.threads, evaluate=evaluate)
        except UserError as error:
            reason = one_line(str(error))
            logger.error(reason)
            return Outcome(State.FAILED, reason)
        except KeyboardInterrupt:  # outside training, which handles it itself
            return Outcome(State.STOPPED)
        except Exception as error:
            logger.exception("the run failed")
            reason = f"{type(error).__name__}: {error} ('{directory / LOG}' has the traceback)"
            return Outcome(State.FAILED, one_line(reason))


def _train(run: Run, threads: int, *, evaluate: bool) -> Outcome:
    """Trains and evaluates a run, and logs the results."""
    outcome = start_or_continue(_run_request(run, threads))
    logger.info(outcome.describe())
    if outcome.state is RunState.INTERRUPTED:
        return Outcome(State.STOPPED)
    if evaluate and run.episodes != 0:
        request = EvaluationRequest(Path(run.videos), episodes=run.episodes)
        for line in evaluate_checkpoint(PlayerRequest(Path(run.directory)), request):
            logger.info(line)
    return Outcome(State.DONE)


def _run_request(run: Run, threads: int) -> RunRequest:
    overrides = dict.fromkeys(THREADS, threads) | run.overrides
    overrides["training.total_steps"] = run.total_steps
    overrides["machine.seed"] = run.seed
    return RunRequest(
        settings=SettingsRequest(run.game, run.recipe, run.protocol, overrides),
        root=Path(run.directory).parents[1],
        videos=Path(run.videos),
        run=run.directory,
        show_progress=True,
        is_typed=False,
    )


def _wait_until_free(directory: Path) -> None:
    """Waits while another worker, which Ray considers lost, still holds the run."""
    while is_held(directory):
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _write_worker(directory: Path, worker: Worker) -> None:
    document = {"node": worker.node, "process": os.getpid(), "attempt": worker.attempt}
    write_whole(directory / WORKER, json.dumps(document).encode())


@contextmanager
def _logged(file: BinaryIO) -> Iterator[None]:
    """Redirects all messages and printed output to a file, line by line."""
    log = io.TextIOWrapper(file, "utf-8", line_buffering=True)
    with log, redirect_stdout(log), redirect_stderr(log), log_to_standard_error():
        yield
