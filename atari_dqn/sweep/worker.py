"""One run of a sweep, on whichever machine it is given to: trained to its end and evaluated, or a
piece further.
"""

import argparse
import io
import json
import os
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import BinaryIO, NamedTuple

from atari_dqn.commands import play as playing
from atari_dqn.commands import train as commands
from atari_dqn.errors import UserError, one_line
from atari_dqn.files.atomic_write import open_own, write_whole
from atari_dqn.runs.continuation import THREADS
from atari_dqn.runs.lock import check_links, is_held
from atari_dqn.sweep.plan import DONE, FAILED, STOPPED, Run

WORKER = "worker.json"
LOG = "train.log"
SECONDS_BETWEEN_LOOKS = 0.5


class Outcome(NamedTuple):
    """How a run left its worker.

    Attributes:
        state: ``DONE``, ``STOPPED`` (on request, and saved) or ``FAILED``.
        why: of a failure, in one line.
    """

    state: str
    why: str = ""


def perform(run: Run, node: str, attempt: int, threads: int, evaluate: bool) -> Outcome:
    """Trains a run from wherever it is to its end, and evaluates it; what it says goes to a log in
    its directory.

    Args:
        run: what to run.
        node: name of the machine.
        attempt: how often it was given to a worker before.
        threads: of the run, where its settings do not say.
        evaluate: whether it is evaluated when it is complete.
    """
    directory = Path(run.directory)
    directory.mkdir(parents=True, exist_ok=True)
    worker = {"node": node, "process": os.getpid(), "attempt": attempt}
    try:
        check_links(directory)
        log = open_own(directory / LOG, create=True)
    except (OSError, UserError) as error:
        return Outcome(FAILED, str(error))
    with _logged(log):
        try:
            # A worker whose node was given up may still be at it, and is as good as we are.
            while is_held(directory):
                time.sleep(SECONDS_BETWEEN_LOOKS)
            write_whole(directory / WORKER, json.dumps(worker).encode())
            stopped = commands.train(_training_options(run, threads)) != 0
            if not stopped and evaluate and run.episodes != 0:
                playing.evaluate(_evaluation_options(run))
        except UserError as error:
            print(f"error: {one_line(str(error))}")
            return Outcome(FAILED, one_line(str(error)))
        except KeyboardInterrupt:  # of all but a training run, which ends by itself
            return Outcome(STOPPED)
        except Exception as error:
            traceback.print_exc()
            why = f"{type(error).__name__}: {error} ('{directory / LOG}' has the traceback)"
            return Outcome(FAILED, one_line(why))
    return Outcome(STOPPED if stopped else DONE)


@contextmanager
def _logged(file: BinaryIO) -> Iterator[None]:
    """Has all that is printed go to a file, line by line."""
    log = io.TextIOWrapper(file, "utf-8", line_buffering=True)
    with log, redirect_stdout(log), redirect_stderr(log):
        yield


def _training_options(run: Run, threads: int) -> argparse.Namespace:
    """As ``atari-dqn train`` would have been asked for it."""
    return argparse.Namespace(
        command="train",
        game=run.game,
        config=run.recipe,
        protocol=run.protocol,
        overrides=dict.fromkeys(THREADS, threads) | run.overrides,
        total_steps=str(run.total_steps),
        seed=str(run.seed),
        run_dir=run.directory,
        root=str(Path(run.directory).parents[1]),
        videos=run.videos,
        init_from=None,
        actors=None,
        address=None,
    )


def _evaluation_options(run: Run) -> argparse.Namespace:
    """As ``atari-dqn eval`` would have been asked for it."""
    return argparse.Namespace(
        command="eval",
        checkpoint=run.directory,
        game=None,
        protocol=None,
        epsilon=None,
        seed=1,
        videos=run.videos,
        scale=None,
        episodes=run.episodes,
        annotated=False,
    )
