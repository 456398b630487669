"""Deep Q-learning on Atari games from pixels: train, evaluate, and review what was learnt.

Importing the package registers the ``*Deterministic-v0/-v4`` environment ids with Gymnasium.
"""

from atari_dqn.games import register_deterministic_ids

register_deterministic_ids()
