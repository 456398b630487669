"""Updates that are made while the environments step, and the batches for them."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from atari_dqn.agent import Agent
from atari_dqn.interruption import StopOnSignals
from atari_dqn.replay import Batch, ReplayMemory, priority_schedule
from atari_dqn.settings import Config
from atari_dqn.tensorflow_setup import Trace
from atari_dqn.timing import Stopwatch
from atari_dqn.update_metrics import UpdateMetrics

# Graphs are built before they are needed for what is due in so many rounds of all environments.
LOOK_AHEAD = 200


class Surprise(NamedTuple):
    """How much the transitions of an update surprised the learner."""

    place: NDArray[np.int64] = np.empty(0, np.int64)  # (B,) as in ``Batch``
    size: NDArray[np.float32] = np.empty(0, np.float32)  # (B,)


class Learning:
    """Makes an agent's updates in one thread, and draws batches for the next in another.

    Timing decides nothing: whoever changes what an update or a draw depends on waits for it first, by the order of calls
    ``finish`` (if the updates change what acts), ``draw``, act, ``finish``, ``begin``, remember. The surprise of updates counts
    after the draw that goes on beside them, wherever they are waited for.

    Args:
        config: all settings.
        agent: that learns.
        memory: that it learns from.
        trace: of its updates.
        stopwatch: where waiting for batches counts as "sample", and for updates as "update".
    """

    def __init__(self, config: Config, agent: Agent, memory: ReplayMemory, trace: Trace, stopwatch: Stopwatch) -> None:
        self._config, self._agent, self._memory, self._trace, self._stopwatch = config, agent, memory, trace, stopwatch
        self._threads = ThreadPoolExecutor(2)
        self._building: Future[None] | None = None
        self._finish: Callable[[], None] | None = None
        self.changes_acting = False  # whether the updates that have begun do
        self.steps_owed = 0  # agent steps since the last update
        self.recent: list[UpdateMetrics] = []
        self.surprise = Surprise()  # that does not count yet

    def build_graphs(self, steps: int, advance: int, stop: StopOnSignals) -> None:
        """Builds the graphs of the updates that will be due, which takes seconds, and learns nothing.

        Args:
            steps: agent steps from which the run will still learn.
            advance: agent steps at a time.
            stop: a request to stop ends the waiting at once; what is being built is built to its end.

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

        There is one update for every ``update_period`` agent steps since learning began, whatever the number of environments.

        Args:
            steps: agent steps so far.
            advance: those of them that were the last to be remembered.

        Returns:
            How many updates are due, and a function that waits for their batches.
        """
        memory, agent, settings = self._memory, self._agent, self._config
        if steps < settings.training.warmup_steps or not memory.can_sample():
            return 0, partial(memory.sample, 0)
        if not (self._finish or agent.updates) and agent.online.wants_center:
            agent.center(memory.mean_frame())
        due, self.steps_owed = divmod(self.steps_owed + advance, settings.training.update_period)
        progress, share = priority_schedule(settings.replay, steps)
        draw = partial(memory.sample, settings.agent.batch_size, due, progress, share)
        if not share:  # nor ever again: keeping them would cost a part in thirty of a run's time
            memory.priorities = None
        # Vectors are drawn sooner than another thread would have begun to.
        return due, draw if not due or settings.spec.vectors else self._threads.submit(draw).result

    def begin(self, count: int, draw: Callable[[], Batch]) -> None:
        """Begins so many updates, with batches that ``draw`` promised; the surprise of those before counts from now on."""
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
        update = partial(self._agent.update, batch, count)
        updated = update if self._config.spec.vectors else self._threads.submit(update).result

        def finish() -> None:
            metrics, surprise = updated()
            self.recent.append(metrics)
            self.surprise = Surprise(batch.place, surprise)
            self._trace.advance(count)

        self._finish = finish

    def finish(self) -> None:
        """Waits for the updates that have begun, and takes over what they measured."""
        if self._finish:
            with self._stopwatch.part("update"):
                self._finish()
            self._finish, self.changes_acting = None, False

    def close(self) -> None:
        """Ends the threads, but for one that is building graphs: nobody can interrupt the compiler."""
        busy = self._building is not None and not self._building.done()
        self._threads.shutdown(wait=not busy)
        self._threads = ThreadPoolExecutor(2)  # which takes no thread before it is used
