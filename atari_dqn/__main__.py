"""``python -m atari_dqn`` runs the command ``atari-dqn``."""

from atari_dqn.cli import command

if __name__ == "__main__":
    command()
