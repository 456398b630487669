"""``python -m atari_dqn`` is the command ``atari-dqn``."""

from atari_dqn.cli import command

command()
