import signal

import hypothesis

from atari_dqn.backend import startup

# Once, before any test module imports TensorFlow by itself.
startup.start()

# A shell has what it starts in the background ignore Ctrl-C, and nohup a terminal that goes away.
# So would every process that a test sends such a signal to.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# A busy machine is no failure.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")
