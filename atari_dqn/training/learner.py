"""The learner: updates that run while the environments step, on batches sampled in advance.

This class decides what waits for what, so that timing decides nothing. One step of the loop is:

    learner.wait_to_act()         waits for running updates, if they change the acting network
    due = learner.prefetch(...)   the same; then has batches for the updates that are due sampled
                                  in a thread
    ... act, and send the actions to the emulators ...
    learner.start(due)            waits for running updates, then for the batches;
                                  starts the updates that are due, in another thread
    ... receive what the emulators answer, and store it ...

An update sees the memory as it was when the actions were chosen. Its priorities take effect two
samplings later, whatever the timing.
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
from atari_dqn.replay.batch import Batch
from atari_dqn.replay.memory import ReplayMemory
from atari_dqn.replay.priorities import priority_schedule
from atari_dqn.runs.checkpoint import array, part
from atari_dqn.runs.signals import StopOnSignals
from atari_dqn.training.stopwatch import Stopwatch

# How many steps of the loop to look ahead for sizes of calls whose graphs must be built.
LOOK_AHEAD = 200


@dataclass(frozen=True)
class Instruments:
    """What measures a run: where its time goes, and a trace of its updates."""

    stopwatch: Stopwatch
    trace: Trace


@dataclass(frozen=True)
class DueUpdates:
    """How many updates are due, and how to get their batches, joined in one."""

    count: int
    wait_for_batches: Callable[[], Batch]


@dataclass(frozen=True)
class Updates:
    """Updates to make, and their batches, joined in one."""

    count: int
    batches: Batch


@dataclass(frozen=True)
class PriorityUpdate:
    """New priorities of transitions."""

    index: NDArray[np.int64]  # (N,) as in ``Batch``
    priority: NDArray[np.float32]  # (N,)

    @classmethod
    def none(cls) -> "PriorityUpdate":
        """Returns an empty update."""
        return cls(np.empty(0, np.int64), np.empty(0, np.float32))

    def joined(self, other: "PriorityUpdate") -> "PriorityUpdate":
        """Returns these and then the others, which win where both have one."""
        index = np.concatenate([self.index, other.index])
        return PriorityUpdate(index, np.concatenate([self.priority, other.priority]))


@dataclass(frozen=True)
class UpdateResult:
    """What became of updates that were due."""

    metrics: UpdateMetrics  # of the updates that were made
    priorities: PriorityUpdate  # of their transitions
    made: int
    unfinished: Updates | None


class Learner:
    """Makes an agent's updates in one thread, and samples batches for the next in another.

    Args:
        config: all settings.
        agent: the agent that learns.
        memory: the memory that it learns from.
        instruments: waiting for batches counts as "sample", and for updates as "update".
        stopping: whether a stop was requested. Then ``wait_to_act`` and ``pause`` wait for no more
            updates than one call of the graph makes; the rest are part of ``arrays``.

    Attributes:
        changes_acting: whether running updates change the network that acts.
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
        self._metrics: list[UpdateMetrics] = []  # since they were last taken
        self._priorities = PriorityUpdate.none()  # not yet in the memory
        self.changes_acting = False

    def prefetch(self, steps: int, advance: int) -> DueUpdates:
        """Has batches sampled for the updates that are due, before the next action is chosen.

        There is one update for every ``training.update_period`` agent steps since learning began,
        whatever the number of environments.

        Args:
            steps: agent steps of the run so far.
            advance: how many of them were made since the last call.
        """
        if self.changes_acting:
            self.finish()
        if steps < self._config.training.warmup_steps or not self._memory.can_sample():
            return DueUpdates(0, partial(self._memory.sample, 0))
        self._center_frames()
        period = self._config.training.update_period
        count, self._steps_owed = divmod(self._steps_owed + advance, period)
        progress, share = priority_schedule(self._config.replay, steps)
        sample = partial(self._memory.sample, self._config.agent.batch_size, count, progress, share)
        if not share:
            # Nor ever again: keeping priorities would cost a part in thirty of a run's time.
            self._memory.drop_priorities()
        # Sampling vectors takes less time than handing them to a thread.
        if count and not self._config.spec.vectors:
            return DueUpdates(count, self._threads.submit(sample).result)
        return DueUpdates(count, sample)

    def _center_frames(self) -> None:
        """Before the first update: subtracts the mean frame, where the network does so."""
        never_learned = not self._running and not self._agent.updates
        if never_learned and self._agent.online.centers_frames:
            self._agent.center(self._memory.mean_frame())

    def start(self, due: DueUpdates) -> None:
        """Starts the updates that are due, once those that run are finished."""
        self.finish()
        if due.count:
            with self._stopwatch.part("sample"):
                batches = due.wait_for_batches()
            self._start(Updates(due.count, batches))
        self.store_priorities()

    def store_priorities(self) -> None:
        """Has the priorities that finished updates found decide what is sampled from now on."""
        if len(self._priorities.index):
            with self._stopwatch.part("sample"):
                self._memory.set_priorities(self._priorities.index, self._priorities.priority)
            self._priorities = PriorityUpdate.none()

    def finish(self) -> None:
        """Waits for the updates that run."""
        self.pause()
        if self._unfinished is not None:
            with self._stopwatch.part("update"):
                self._record(self._update(self._unfinished, stopping=lambda: False))

    def pause(self) -> None:
        """Waits for the updates that run; where a stop is requested some may stay unfinished."""
        if self._running is not None:
            with self._stopwatch.part("update"):
                self._record(self._running())
            self._running = None
            self.changes_acting = False

    def resume(self) -> None:
        """Starts the updates that a stop has left unfinished."""
        if self._unfinished is not None:
            unfinished = self._unfinished
            self._unfinished = None
            self._start(unfinished)

    def wait_to_act(self) -> bool:
        """Waits for updates that change what acts; returns whether the run is to go on."""
        if self.changes_acting and not self._stopping():
            self.pause()
        return not self._stopping()

    def end_of_episode(self) -> None:
        """Syncs the target network, where the settings do so at the end of each episode."""
        if self._agent.target_sync is TargetSync.EVERY_EPISODE:
            self.finish()
            self._agent.sync_target()

    def metrics(self) -> UpdateMetrics:
        """Returns what the updates measured since ``forget_metrics``."""
        return UpdateMetrics.joined(self._metrics)

    def forget_metrics(self) -> None:
        """Begins to collect metrics for the next row of the logs."""
        self._metrics.clear()

    def _start(self, updates: Updates) -> None:
        self.changes_acting = self._agent.changes_acting(updates.count)
        update = partial(self._update, updates, self._stopping)
        in_thread = not self._config.spec.vectors
        self._running = self._threads.submit(update).result if in_thread else update

    def _update(self, updates: Updates, stopping: Callable[[], bool]) -> UpdateResult:
        """Makes updates until a stop is requested; may run in a thread, changes only the agent."""
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
        """Builds the graphs of the updates that will be due, which takes seconds.

        Args:
            steps: agent steps from which the run will still learn.
            advance: agent steps at a time.
            stop: a request to stop ends the waiting at once; what is being built is built to its
                end.

        Raises:
            Stopped: a stop was requested.
        """
        counts = sorted(set(self._calls_ahead(steps, advance)))
        with stop.may_be_left():
            if self._building is not None:  # since a stop
                self._building.result()
        # Not to be interrupted: from the first line on until the graphs are built, the agent keeps
        # what a stop has to save.
        build = self._agent.graph_builder(counts)
        self._building = self._threads.submit(build)
        with stop.may_be_left():
            self._building.result()

    def _calls_ahead(self, steps: int, advance: int) -> Iterator[int]:
        """Yields how many updates the coming calls of the graph will make."""
        owed = self._steps_owed
        updates = self._agent.updates
        for _ in range(min(-(-steps // advance), LOOK_AHEAD)):
            due, owed = divmod(owed + advance, self._config.training.update_period)
            yield from self._agent.calls(updates, due)
            updates += due

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns everything that the next update depends on, but the agent and the memory."""
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
        """Takes over what ``arrays`` returned.

        Raises:
            KeyError: an array is missing.
            ValueError: an array is not of such a learner.
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
            raise ValueError("the updates that were left unfinished are not of this run")
        return Updates(count, batch)

    def close(self) -> None:
        """Shuts the threads down, without waiting for graphs that are being built.

        That cannot be interrupted.
        """
        busy = self._building is not None and not self._building.done()
        self._threads.shutdown(wait=not busy)
        self._threads = ThreadPoolExecutor(2)  # which takes no thread before it is used


def _rows(batch: Batch, rows: slice) -> Batch:
    """Returns some transitions of a batch."""
    fields: list[Any] = [field[rows] for field in batch]
    return Batch(*fields)
