"""Gives runs to Ray's workers, again where a worker or its machine died, until each has ended."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from atari_dqn.runs import checkpoint
from atari_dqn.sweep.plan import FAILED, STOPPED, Run
from atari_dqn.sweep.worker import Outcome, perform

# A run that brings its worker down each time, as one that wants more memory than there is, must not
# do so for ever.
DEATHS_WITHOUT_PROGRESS = 3


def steps_saved(run: Run) -> int:
    """Agent steps of the newest checkpoint that a run can go on from; 0 if it has none."""
    saved = checkpoint.to_continue_from(Path(run.directory))
    return checkpoint.step_of(saved) if saved else 0


class Runner:
    """Runs as Ray tasks; each has a worker process of its own, since TensorFlow's threads can be
    set only once in each.

    Args:
        cpus: of a run: so many are reserved, and so many threads it has where its settings do not
            say.
        gpus: of a run; may be a fraction.
        evaluate: whether complete runs are evaluated.
    """

    def __init__(self, cpus: int, gpus: float = 0.0, evaluate: bool = True) -> None:
        import ray

        self._ray, self._cpus, self._evaluate = ray, cpus, evaluate
        # Wherever there is room, also for what a candidate of Ray Tune has to run, which would else
        # want it in one place.
        anywhere = ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy(None)  # type: ignore[arg-type]
        # Deaths are counted and answered here, where it is known whether a run gets anywhere.
        self._task = ray.remote(
            num_cpus=cpus, num_gpus=gpus, max_calls=1, max_retries=0, scheduling_strategy=anywhere
        )(_perform)
        self._running: dict[Any, Run] = {}
        self._deaths: dict[str, list[int]] = {}

    def submit(self, run: Run) -> None:
        """Has a run performed, as soon as there is room for it."""
        attempt = len(self._deaths.get(run.directory, []))
        self._running[self._task.remote(run, attempt, self._cpus, self._evaluate)] = run

    def __len__(self) -> int:
        """How many runs have not ended."""
        return len(self._running)

    def deaths(self, run: Run) -> int:
        """How often a run lost its worker."""
        return len(self._deaths.get(run.directory, []))

    def ended(self, seconds: float) -> Iterator[tuple[Run, Outcome]]:
        """Waits so long at most, and yields what has ended; what lost its worker begins again at
        its newest checkpoint.
        """
        done, _ = self._ray.wait(
            list(self._running), num_returns=len(self._running), timeout=seconds
        )
        for reference in done:
            run = self._running.pop(reference)
            outcome = self._outcome(reference, run)
            if outcome is None:
                self.submit(run)
            else:
                yield run, outcome

    def stop(self) -> None:
        """Asks all runs to save and end; those that have no worker yet never get one."""
        for reference in self._running:
            self._ray.cancel(reference)

    def _outcome(self, reference: Any, run: Run) -> Outcome | None:
        """How a run ended; None if its worker or its machine died and it is worth another."""
        errors = self._ray.exceptions
        try:
            outcome: Outcome = self._ray.get(reference)
            return outcome
        except errors.TaskCancelledError:
            return Outcome(STOPPED)
        except errors.RayTaskError as error:
            return Outcome(FAILED, str(error).strip().splitlines()[-1])
        except errors.RayError as error:
            saved = self._deaths.setdefault(run.directory, [])
            saved.append(steps_saved(run))
            if saved[-DEATHS_WITHOUT_PROGRESS:].count(saved[-1]) < DEATHS_WITHOUT_PROGRESS:
                return None
            why = str(error).strip().splitlines()[0]
            return Outcome(
                FAILED,
                f"its worker died {len(saved)} times, the last {DEATHS_WITHOUT_PROGRESS} at one step: {why}",
            )


def _perform(run: Run, attempt: int, threads: int, evaluate: bool) -> Outcome:
    import ray

    node: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    return perform(run, node, attempt, threads, evaluate)
