"""The replay memory."""

from atari_dqn.replay.memory import Batch, ReplayMemory, free_memory, memory_needed

__all__ = ["Batch", "ReplayMemory", "free_memory", "memory_needed"]
