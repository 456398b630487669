"""Updates that are made while the environments step, and the batches for them."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from atari_dqn.agent.agent import Agent
from atari_dqn.agent.update_metrics import UpdateMetrics
from atari_dqn.backend.profiler import Trace
from atari_dqn.config.schema import Config
from atari_dqn.replay.batch import Batch
from atari_dqn.replay.memory import ReplayMemory
from atari_dqn.replay.priorities import priority_schedule
from atari_dqn.runs.checkpoint import array
from atari_dqn.runs.signals import StopOnSignals
from atari_dqn.training.stopwatch import Stopwatch

# Graphs are built before they are needed for what is due in so many rounds of all environments.
LOOK_AHEAD = 200


class Surprise(NamedTuple):
    """How much the transitions of an update surprised the learner."""

    place: NDArray[np.int64] = np.empty(0, np.int64)  # (B,) as in ``Batch``
    size: NDArray[np.float32] = np.empty(0, np.float32)  # (B,)


class Updated(NamedTuple):
    """What became of updates that were due."""

    metrics: UpdateMetrics  # of those that were made
    surprise: Surprise  # of their transitions
    done: int  # how many were made
    left: tuple[Batch, int] | None  # those that a stop has left, and how many they are


class Learning:
    """Makes an agent's updates in one thread, and draws batches for the next in another.

    Timing decides nothing: whoever changes what an update or a draw depends on waits for it first,
    by the order of calls ``finish`` (if the updates change what acts), ``draw``, act, ``finish``,
    ``begin``, remember. The surprise of updates counts after the draw that goes on beside them,
    wherever they are waited for.

    Args:
        config: all settings.
        agent: that learns.
        memory: that it learns from.
        trace: of its updates.
        stopwatch: where waiting for batches counts as "sample", and for updates as "update".
        stopping: whether a stop was requested: then ``ready`` and ``leave`` wait for no more
            updates than one call of the graph makes, and keep the rest for ``arrays``.
    """

    def __init__(
        self,
        config: Config,
        agent: Agent,
        memory: ReplayMemory,
        trace: Trace,
        stopwatch: Stopwatch,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._stopping = stopping
        self._left: tuple[Batch, int] | None = None
        self._config, self._agent, self._memory, self._trace, self._stopwatch = (
            config,
            agent,
            memory,
            trace,
            stopwatch,
        )
        self._threads = ThreadPoolExecutor(2)
        self._building: Future[None] | None = None
        self._finish: Callable[[], None] | None = None
        self.changes_acting = False  # whether the updates that have begun do
        self.steps_owed = 0  # agent steps since the last update
        self.recent: list[UpdateMetrics] = []
        self.surprise = Surprise()  # that does not count yet

    def build_graphs(self, steps: int, advance: int, stop: StopOnSignals) -> None:
        """Builds the graphs of the updates that will be due, which takes seconds, and learns
        nothing.

        Args:
            steps: agent steps from which the run will still learn.
            advance: agent steps at a time.
            stop: a request to stop ends the waiting at once; what is being built is built to its
                end.

        Raises:
            Stopped: a stop was requested.
        """
        owed = self.steps_owed
        updates = self._agent.updates
        counts: set[int] = set()
        for _ in range(min(-(-steps // advance), LOOK_AHEAD)):
            due, owed = divmod(owed + advance, self._config.training.update_period)
            counts |= set(self._agent.calls(updates, due))
            updates += due
        with stop.may_be_left():
            if self._building is not None:  # since a stop
                self._building.result()
            self._building = self._threads.submit(self._agent.build_graphs, sorted(counts))
            self._building.result()

    def draw(self, steps: int, advance: int) -> tuple[int, Callable[[], Batch]]:
        """Has batches drawn for the updates that are due.

        There is one update for every ``update_period`` agent steps since learning began, whatever
        the number of environments.

        Args:
            steps: agent steps so far.
            advance: those of them that were the last to be remembered.

        Returns:
            How many updates are due, and a function that waits for their batches.
        """
        memory, agent, settings = self._memory, self._agent, self._config
        if steps < settings.training.warmup_steps or not memory.can_sample():
            return 0, partial(memory.sample, 0)
        if not (self._finish or agent.updates) and agent.online.centers_frames:
            agent.center(memory.mean_frame())
        due, self.steps_owed = divmod(self.steps_owed + advance, settings.training.update_period)
        progress, share = priority_schedule(settings.replay, steps)
        draw = partial(memory.sample, settings.agent.batch_size, due, progress, share)
        if not share:  # nor ever again: keeping them would cost a part in thirty of a run's time
            memory.priorities = None
        # Vectors are drawn sooner than another thread would have begun to.
        return due, draw if not due or settings.spec.vectors else self._threads.submit(draw).result

    def begin(self, count: int, draw: Callable[[], Batch]) -> None:
        """Begins so many updates, with batches that ``draw`` promised; the surprise of those before
        counts from now on.
        """
        if count:
            with self._stopwatch.part("sample"):
                batch = draw()
            self._begin(batch, count)
        self.count_surprise()

    def count_surprise(self) -> None:
        """Has the surprise of the updates that are done decide from now on what is drawn."""
        if len(self.surprise.place):
            with self._stopwatch.part("sample"):
                self._memory.set_priorities(*self.surprise)
            self.surprise = Surprise()

    def _begin(self, batch: Batch, count: int) -> None:
        self.changes_acting = self._agent.changes_acting(count)
        update = partial(self._update, batch, count, self._stopping)
        updated = update if self._config.spec.vectors else self._threads.submit(update).result

        def finish() -> None:
            self._take_over(updated())

        self._finish = finish

    def _update(self, batch: Batch, count: int, stopping: Callable[[], bool]) -> Updated:
        """Makes updates until a stop is requested; may run in another thread, and changes only the
        agent.
        """
        size = len(batch.action) // count
        done = 0
        metrics: list[UpdateMetrics] = []
        surprise = [np.empty(0, np.float32)]
        for together in list(self._agent.calls(self._agent.updates, count)):
            if stopping():
                break
            rows = slice(done * size, (done + together) * size)
            measured, surprising = self._agent.update(_rows(batch, rows), together)
            metrics.append(measured)
            surprise.append(surprising)
            done += together
        left = (_rows(batch, slice(done * size, None)), count - done) if done < count else None
        found = Surprise(batch.indices[: done * size], np.concatenate(surprise))
        return Updated(UpdateMetrics.joined(metrics), found, done, left)

    def _take_over(self, updated: Updated) -> None:
        self.recent.append(updated.metrics)
        place = np.concatenate([self.surprise.place, updated.surprise.place])
        self.surprise = Surprise(place, np.concatenate([self.surprise.size, updated.surprise.size]))
        self._trace.advance(updated.done)
        self._left = updated.left

    def finish(self) -> None:
        """Waits for the updates that have begun, and takes over what they measured."""
        self.leave()
        if self._left is not None:
            with self._stopwatch.part("update"):
                self._take_over(self._update(*self._left, stopping=lambda: False))

    def leave(self) -> None:
        """As ``finish``, but where a stop is requested some of the updates may be left."""
        if self._finish:
            with self._stopwatch.part("update"):
                self._finish()
            self._finish, self.changes_acting = None, False

    def ready(self) -> bool:
        """Waits for updates that change what acts; False where a stop was requested."""
        if self.changes_acting and not self._stopping():
            self.leave()
        return not self._stopping()

    def go_on(self) -> None:
        """Begins the updates that were left when the run was stopped."""
        if self._left is not None:
            left, self._left = self._left, None
            self._begin(*left)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The updates that were due when a stop was requested: their batches, and how many they
        are.
        """
        if self._left is None:
            return {}
        batch, count = self._left
        arrays = batch._asdict()
        arrays["place"] = arrays.pop("indices")  # as checkpoints name it
        return {**arrays, "count": np.array(count)}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Takes over what ``arrays`` returned.

        Raises:
            KeyError: an array is missing.
            ValueError: an array is none of such updates.
        """
        self._left = None
        if not arrays:
            return
        count = int(array(arrays, "count", (), np.int64))
        size = self._config.agent.batch_size
        frame = self._memory.frame_shape
        stacks = (count * size, *frame, self._memory.stack)
        kinds: dict[str, tuple[tuple[int, ...], DTypeLike]] = {
            "observation": (stacks, self._memory.dtype),
            "action": (stacks[:1], np.int32),
            "reward": (stacks[:1], np.float32),
            "discount": (stacks[:1], np.float32),
            "next_observation": (stacks, self._memory.dtype),
            "weight": (stacks[:1], np.float32),
            "place": (stacks[:1], np.int64),
        }
        fields = {name: array(arrays, name, *kind) for name, kind in kinds.items()}
        batch = Batch(indices=fields.pop("place"), **fields)
        outside = (batch.indices < 0) | (batch.indices >= self._memory.num_envs * self._memory.rows)
        if (
            count < 1
            or outside.any()
            or (batch.action < 0).any()
            or (batch.action >= self._agent.num_actions).any()
        ):
            raise ValueError("updates that were left are none of this run")
        self._left = batch, count

    def close(self) -> None:
        """Ends the threads, but for one that is building graphs: nobody can interrupt the compiler."""
        busy = self._building is not None and not self._building.done()
        self._threads.shutdown(wait=not busy)
        self._threads = ThreadPoolExecutor(2)  # which takes no thread before it is used


def _rows(batch: Batch, rows: slice) -> Batch:
    """Some transitions of a batch."""
    fields: list[Any] = [field[rows] for field in batch]
    return Batch(*fields)
