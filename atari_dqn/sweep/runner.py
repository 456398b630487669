"""Trains runs in Ray's workers, and restarts a run if its worker or machine dies."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from atari_dqn.runs import checkpoint
from atari_dqn.sweep.plan import Resources, Run, State
from atari_dqn.sweep.worker import Outcome, Worker, perform

# A run fails if its worker dies this many times in a row without a newer checkpoint, for example
# because memory is exhausted.
DEATHS_WITHOUT_PROGRESS = 3
SECONDS_BETWEEN_LOOKS = 1.0


def steps_saved(run: Run) -> int:
    """Returns the agent steps of the newest checkpoint that a run can continue from, or 0."""
    saved = checkpoint.to_continue_from(Path(run.directory))
    return checkpoint.step_of(saved) if saved else 0


class Runner:
    """Trains runs as Ray tasks, each in its own worker process.

    Runs do not share a process, because TensorFlow's thread counts can be set only once in one.

    Args:
        resources: Resources of each run. It gets one thread per CPU, unless its settings name
            another number.
        evaluate: Whether complete runs are evaluated.
    """

    def __init__(self, resources: Resources, *, evaluate: bool = True) -> None:
        import ray

        self._ray = ray
        self._cpus = resources.cpus
        self._evaluate = evaluate
        # Runs go wherever there is room. Without this, the runs of a Ray Tune candidate would all
        # have to fit into the placement group of that candidate.
        anywhere = ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy(None)  # type: ignore[arg-type]
        # Ray does not retry. This class does, because it knows whether a run makes progress.
        self._task = ray.remote(
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            max_calls=1,
            max_retries=0,
            scheduling_strategy=anywhere,
        )(_perform)
        self._running: dict[Any, Run] = {}
        self._deaths: dict[str, list[int]] = {}

    def submit(self, run: Run) -> None:
        """Queues a run, which is trained as soon as there is room for it."""
        attempt = len(self._deaths.get(run.directory, []))
        reference = self._task.remote(run, attempt, self._cpus, self._evaluate)
        self._running[reference] = run

    def __len__(self) -> int:
        """Returns the number of runs that have not ended."""
        return len(self._running)

    def deaths(self, run: Run) -> int:
        """Returns how often the worker of a run has died."""
        return len(self._deaths.get(run.directory, []))

    def ended(self, seconds: float) -> Iterator[tuple[Run, Outcome]]:
        """Waits for runs to end, and yields the ones that did.

        A run whose worker died is queued again and continues from its newest checkpoint.

        Args:
            seconds: Longest time to wait.
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
        """Asks all runs to save and end; runs that have no worker yet do not start."""
        for reference in self._running:
            self._ray.cancel(reference)

    def _outcome(self, reference: Any, run: Run) -> Outcome | None:
        """Returns how a run ended, or None if its worker died and the run should be retried."""
        errors = self._ray.exceptions
        try:
            outcome: Outcome = self._ray.get(reference)
            return outcome
        except errors.TaskCancelledError:
            return Outcome(State.STOPPED)
        except errors.RayTaskError as error:
            return Outcome(State.FAILED, str(error).strip().splitlines()[-1])
        except errors.RayError as error:
            saved = self._deaths.setdefault(run.directory, [])
            saved.append(steps_saved(run))
            if saved[-DEATHS_WITHOUT_PROGRESS:].count(saved[-1]) < DEATHS_WITHOUT_PROGRESS:
                return None
            why = str(error).strip().splitlines()[0]
            deaths = f"{len(saved)} times, the last {DEATHS_WITHOUT_PROGRESS} at one step"
            return Outcome(State.FAILED, f"its worker died {deaths}: {why}")


def _perform(run: Run, attempt: int, threads: int, evaluate: bool) -> Outcome:
    import ray

    node: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    return perform(run, Worker(node, attempt, threads), evaluate=evaluate)
