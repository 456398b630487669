"""Training with actors in processes of their own, on this machine or on others."""

from atari_dqn.distributed.learner import DistributedTraining

__all__ = ["DistributedTraining"]
