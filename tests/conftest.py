"""Prepares every test process."""

import gc
import os
import signal

import hypothesis

from atari_dqn.backend import startup

# One thread computes each operation, here and in the processes that tests start: other test
# processes keep the other cores busy, and threads that wait for tiny operations only burn time.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

# This has to happen before any test module imports TensorFlow itself.
startup.start()

# Processes started in the background of a shell ignore Ctrl-C, and those started by nohup ignore
# hangups. Their children inherit this, so tests that send these signals would fail.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Slow examples on a busy machine must not count as failures.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def pytest_collection_finish() -> None:
    """Exempts what importing made from garbage collection, which would go through it each time."""
    gc.collect()
    gc.freeze()
