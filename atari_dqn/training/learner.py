"""The learner: updates that run while the environments step, on batches sampled in advance.

``Learner`` fixes the order of all work, so the result does not depend on timing. One step of the
loop is:

    learner.wait_to_act()         waits for running updates if they change the acting network
    due = learner.prefetch(...)   also waits for these; then starts sampling batches for the updates
                                  that are due, in a thread
    ... act, and send the actions to the emulators ...
    learner.start(due)            waits for running updates, then for the batches;
                                  starts the updates that are due, in another thread
    ... receive the next observations and rewards, and store them ...

An update sees the memory as it was when the actions were chosen, without the transition of its own
step. ``start`` stores its new priorities one step later. If every step samples, the batches of that
step are sampled before, so priorities take effect two samplings later.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from atari_dqn.agent.agent import Agent
from atari_dqn.agent.update import TargetSync
from atari_dqn.agent.update_metrics import UpdateMetrics
from atari_dqn.backend.profiler import Trace
from atari_dqn.config.schema import Config
from atari_dqn.console import waiting
from atari_dqn.replay.batch import Batch
from atari_dqn.replay.memory import ReplayMemory
from atari_dqn.replay.priorities import priority_schedule
from atari_dqn.runs.checkpoint import array, part
from atari_dqn.runs.signals import StopOnSignals
from atari_dqn.training.stopwatch import Stopwatch

# Number of coming steps of the loop in which to look for numbers of updates per call of the graph.
# Each such number needs its own graph.
LOOK_AHEAD = 200


@dataclass(frozen=True)
class Instruments:
    """The instruments of a run: a stopwatch, and a profiler trace of its updates."""

    stopwatch: Stopwatch
    trace: Trace


@dataclass(frozen=True)
class DueUpdates:
    """The updates that are due, while their batches are still being sampled.

    Attributes:
        count: number of updates.
        wait_for_batches: function that returns their batches, joined into one.
    """

    count: int
    wait_for_batches: Callable[[], Batch]


@dataclass(frozen=True)
class Updates:
    """Updates to make.

    Attributes:
        count: number of updates.
        batches: their batches, joined into one.
    """

    count: int
    batches: Batch


@dataclass(frozen=True)
class PriorityUpdate:
    """New priorities of N transitions."""

    index: NDArray[np.int64]  # (N,) indices as in ``Batch``
    priority: NDArray[np.float32]  # (N,)

    @classmethod
    def none(cls) -> "PriorityUpdate":
        """Returns an empty update."""
        return cls(np.empty(0, np.int64), np.empty(0, np.float32))

    def joined(self, other: "PriorityUpdate") -> "PriorityUpdate":
        """Returns this update and another as one. Where both set a priority, the other's counts."""
        index = np.concatenate([self.index, other.index])
        return PriorityUpdate(index, np.concatenate([self.priority, other.priority]))


@dataclass(frozen=True)
class UpdateResult:
    """The result of updates that were due."""

    metrics: UpdateMetrics  # metrics of the updates that were made
    priorities: PriorityUpdate  # new priorities of their transitions
    made: int  # number of updates that were made
    unfinished: Updates | None  # the rest, if a stop was requested


class Learner:
    """Makes an agent's updates in one thread, and samples batches for the next in another.

    Args:
        config: All settings.
        agent: The agent that learns.
        memory: The replay memory.
        instruments: The run's stopwatch and trace. Time spent waiting for batches is charged to
            "sample", and time spent waiting for updates to "update".
        stopping: A function that returns whether a stop was requested. If so, ``wait_to_act`` and
            ``wait`` wait only for the current call of the graph, and ``arrays`` contains the
            remaining updates.

    Attributes:
        changes_acting: Whether running updates change the acting network.
    """

    def __init__(
        self,
        config: Config,
        agent: Agent,
        memory: ReplayMemory,
        instruments: Instruments,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._config = config
        self._agent = agent
        self._memory = memory
        self._stopwatch = instruments.stopwatch
        self._trace = instruments.trace
        self._stopping = stopping
        self._threads = ThreadPoolExecutor(2)
        self._building: Future[None] | None = None
        self._running: Callable[[], UpdateResult] | None = None
        self._unfinished: Updates | None = None
        self._steps_owed = 0  # agent steps not yet matched by an update
        self._metrics: list[UpdateMetrics] = []  # since ``forget_metrics``
        self._priorities = PriorityUpdate.none()  # not yet in the memory
        self.changes_acting = False

    def prefetch(self, steps: int, advance: int) -> DueUpdates | None:
        """Starts sampling batches for the updates that are due, before the next action is chosen.

        There is one update for every ``training.update_period`` agent steps since learning began,
        for any number of environments.

        Args:
            steps: Agent steps of the run so far.
            advance: Agent steps since the last call.

        Returns:
            The updates that are due, for ``start``, or None if there are none.
        """
        if self.changes_acting:
            self.finish()
        if steps < self._config.training.warmup_steps or not self._memory.can_sample():
            return None
        self._center_frames()
        period = self._config.training.update_period
        count, self._steps_owed = divmod(self._steps_owed + advance, period)
        progress, share = priority_schedule(self._config.replay, steps)
        sample = partial(self._memory.sample, self._config.agent.batch_size, count, progress, share)
        if not share:
            # Priorities never come back into use, and maintaining them costs time.
            self._memory.drop_priorities()
        if not count:
            return None
        # Sampling vectors takes less time than starting a thread for it.
        if not self._config.spec.vectors:
            return DueUpdates(count, self._threads.submit(sample).result)
        return DueUpdates(count, sample)

    def _center_frames(self) -> None:
        """Computes the frames' mean before the first update, if the network subtracts it."""
        never_learned = not self._running and not self._agent.updates
        if never_learned and self._agent.online.centers_frames:
            self._agent.center(self._memory.frame_statistics())

    def start(self, due: DueUpdates | None) -> None:
        """Finishes the running updates, and starts those that are due."""
        self.finish()
        if due is not None:
            with self._stopwatch.part("sample"):
                batches = due.wait_for_batches()
            self._start(Updates(due.count, batches))
        self.store_priorities()

    def store_priorities(self) -> None:
        """Writes the new priorities of finished updates to the memory."""
        if len(self._priorities.index):
            with self._stopwatch.part("sample"):
                self._memory.set_priorities(self._priorities.index, self._priorities.priority)
            self._priorities = PriorityUpdate.none()

    def finish(self) -> None:
        """Waits for the running updates, and makes those that a stop left unfinished."""
        self.wait()
        if self._unfinished is not None:
            with self._stopwatch.part("update"):
                self._record(self._update(self._unfinished, stopping=lambda: False))

    def wait(self) -> None:
        """Waits for the running updates; if a stop is requested, some may remain unfinished."""
        if self._running is not None:
            with self._stopwatch.part("update"):
                self._record(self._running())
            self._running = None
            self.changes_acting = False

    def resume(self) -> None:
        """Starts the updates that a stop left unfinished."""
        if self._unfinished is not None:
            unfinished = self._unfinished
            self._unfinished = None
            self._start(unfinished)

    def wait_to_act(self) -> bool:
        """Waits for updates that change the acting network.

        Returns:
            Whether to go on; False if a stop was requested.
        """
        if self.changes_acting and not self._stopping():
            self.wait()
        return not self._stopping()

    def end_of_episode(self) -> None:
        """Synchronizes the target network, if the settings do so at the end of each episode."""
        if self._agent.target_sync is TargetSync.EVERY_EPISODE:
            if self._building is not None:
                self._building.result()
            self.finish()
            self._agent.sync_target()

    def metrics(self) -> UpdateMetrics:
        """Returns the metrics of the updates since the last call of ``forget_metrics``."""
        return UpdateMetrics.joined(self._metrics)

    def forget_metrics(self) -> None:
        """Discards the metrics, so that ``metrics`` returns those for the next row of the logs."""
        self._metrics.clear()

    def _start(self, updates: Updates) -> None:
        self.changes_acting = self._agent.changes_acting(updates.count)
        update = partial(self._update, updates, self._stopping)
        in_thread = not self._config.spec.vectors
        self._running = self._threads.submit(update).result if in_thread else update

    def _update(self, updates: Updates, stopping: Callable[[], bool]) -> UpdateResult:
        """Makes updates until a stop is requested, and returns their result.

        This may run in a thread, because it changes only the agent.
        """
        count = updates.count
        batches = updates.batches
        size = len(batches.action) // count
        made = 0
        metrics: list[UpdateMetrics] = []
        priorities = [np.empty(0, np.float32)]
        for together in list(self._agent.calls(self._agent.updates, count)):
            if stopping():
                break
            rows = slice(made * size, (made + together) * size)
            call_metrics, call_priorities = self._agent.update(_rows(batches, rows), together)
            metrics.append(call_metrics)
            priorities.append(call_priorities)
            made += together
        unfinished = None
        if made < count:
            unfinished = Updates(count - made, _rows(batches, slice(made * size, None)))
        found = PriorityUpdate(batches.indices[: made * size], np.concatenate(priorities))
        return UpdateResult(UpdateMetrics.joined(metrics), found, made, unfinished)

    def _record(self, result: UpdateResult) -> None:
        self._metrics.append(result.metrics)
        self._priorities = self._priorities.joined(result.priorities)
        self._trace.advance(result.made)
        self._unfinished = result.unfinished

    def build_graphs(self, steps: int, advance: int, stop: StopOnSignals) -> None:
        """Starts building the graphs of the coming updates, in a thread. It takes seconds.

        Args:
            steps: Remaining agent steps of the run in which it learns.
            advance: Agent steps per step of the loop.
            stop: As for ``wait_for_graphs``.

        Raises:
            Stopped: A stop was requested.
        """
        counts = sorted(set(self._calls_ahead(steps, advance)))
        self.wait_for_graphs(stop)  # a stop ended the waiting for an earlier build
        # This makes the agent keep a copy of its state until the graphs are built. A checkpoint
        # that is saved meanwhile contains this copy.
        build = self._agent.graph_builder(counts)
        self._building = self._threads.submit(build)

    def wait_for_graphs(self, stop: StopOnSignals) -> None:
        """Waits until the graphs are built. The agent must not be used before that.

        Args:
            stop: A stop request ends the waiting at once. A build in progress still completes.

        Raises:
            Stopped: A stop was requested.
        """
        if self._building is None:
            return
        label = "building the graphs of the network"
        with self._stopwatch.part("update"), waiting(label), stop.may_be_left():
            self._building.result()
        self._building = None

    def _calls_ahead(self, steps: int, advance: int) -> Iterator[int]:
        """Yields the number of updates in each coming call of the graph."""
        owed = self._steps_owed
        updates = self._agent.updates
        for _ in range(min(-(-steps // advance), LOOK_AHEAD)):
            due, owed = divmod(owed + advance, self._config.training.update_period)
            yield from self._agent.calls(updates, due)
            updates += due

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns the state for ``restore``, which excludes the agent and the memory."""
        arrays: dict[str, NDArray[Any]] = {
            "steps_owed": np.array(self._steps_owed),
            "metrics": np.stack(self.metrics(), axis=1),
            "priority_index": self._priorities.index,
            "priority": self._priorities.priority,
        }
        if self._unfinished is not None:
            batches = self._unfinished.batches._asdict()
            arrays |= {f"unfinished/{name}": field for name, field in batches.items()}
            arrays["unfinished/count"] = np.array(self._unfinished.count)
        return arrays

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Restores the state that ``arrays`` returned.

        Raises:
            KeyError: An array is missing.
            ValueError: An array does not fit this learner.
        """
        metrics = array(arrays, "metrics", (None, len(UpdateMetrics._fields)), np.float64)
        index = array(arrays, "priority_index", (None,), np.int64)
        priority = array(arrays, "priority", (len(index),), np.float32)
        self._unfinished = self._restored_updates(part(dict(arrays), "unfinished"))
        self._steps_owed = int(array(arrays, "steps_owed", (), np.int64))
        self._metrics = [UpdateMetrics(*metrics.T)]
        self._priorities = PriorityUpdate(index, priority)

    def _restored_updates(self, arrays: Mapping[str, NDArray[Any]]) -> Updates | None:
        if not arrays:
            return None
        count = int(array(arrays, "count", (), np.int64))
        rows = count * self._config.agent.batch_size
        stacks = (rows, *self._memory.frame_shape, self._memory.stack)
        kinds: dict[str, tuple[tuple[int, ...], DTypeLike]] = {
            "observation": (stacks, self._memory.dtype),
            "action": ((rows,), np.int32),
            "reward": ((rows,), np.float32),
            "discount": ((rows,), np.float32),
            "next_observation": (stacks, self._memory.dtype),
            "weight": ((rows,), np.float32),
            "indices": ((rows,), np.int64),
        }
        batch = Batch(**{name: array(arrays, name, *kind) for name, kind in kinds.items()})
        outside = (batch.indices < 0) | (batch.indices >= self._memory.num_envs * self._memory.rows)
        unknown = (batch.action < 0) | (batch.action >= self._agent.num_actions)
        if count < 1 or outside.any() or unknown.any():
            raise ValueError("the unfinished updates do not belong to this run")
        return Updates(count, batch)

    def close(self) -> None:
        """Shuts down the threads, but does not wait for graphs that are being built.

        Building them cannot be interrupted.
        """
        busy = self._building is not None and not self._building.done()
        self._threads.shutdown(wait=not busy)
        self._threads = ThreadPoolExecutor(2)  # starts no thread before its first use


def _rows(batch: Batch, rows: slice) -> Batch:
    """Returns the given rows of a batch."""
    fields: list[Any] = [field[rows] for field in batch]
    return Batch(*fields)
