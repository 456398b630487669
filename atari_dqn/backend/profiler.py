"""Traces of updates by TensorFlow's profiler."""

from pathlib import Path

from atari_dqn.files.atomic_write import check_no_link, check_there


class Trace:
    """A trace of some updates by TensorFlow's profiler, which TensorBoard's profile page shows.

    Args:
        directory: of the run, which TensorBoard reads.
        updates: number of updates to trace; 0 for none.
        after: updates of this process before the first that is traced; they are not typical.
    """

    def __init__(self, directory: Path, updates: int, after: int = 100) -> None:
        self._directory = directory
        self._start = after if updates else -1
        self._end = after + updates
        self._done = 0
        self._running = False

    def advance(self, updates: int) -> None:
        """Counts updates that were made, and starts or ends the trace when it is time."""
        import tensorflow as tf

        self._done += updates
        if self._running and self._done >= self._end:
            self.close()
        elif not self._running and 0 <= self._start <= self._done < self._end:
            check_there(self._directory)
            for name in ("plugins", "plugins/profile"):
                check_no_link(self._directory / name)
            tf.profiler.experimental.start(str(self._directory))
            self._running = True

    def close(self) -> None:
        """Writes what was traced, if anything."""
        import tensorflow as tf

        if self._running:
            tf.profiler.experimental.stop()
            self._running = False
            self._start = -1
