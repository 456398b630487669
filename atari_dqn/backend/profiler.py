"""Traces updates with TensorFlow's profiler."""

from pathlib import Path

from atari_dqn.files.atomic_write import check_no_link, check_there


class Trace:
    """A profiler trace of some updates, which TensorBoard displays on its profile page.

    Args:
        directory: The run directory, which TensorBoard reads.
        updates: Number of updates to trace. With 0 there is no trace.
        after: Updates of this process to skip first, because the first ones are not typical.
    """

    def __init__(self, directory: Path, updates: int, after: int = 100) -> None:
        self._directory = directory
        self._start = after if updates else -1
        self._end = after + updates
        self._done = 0
        self._running = False

    def advance(self, updates: int) -> None:
        """Counts updates, and starts or ends the trace when it is due.

        Args:
            updates: Number of updates since the last call.
        """
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
        """Ends a running trace, and writes it to the run directory."""
        import tensorflow as tf

        if self._running:
            tf.profiler.experimental.stop()
            self._running = False
            self._start = -1
