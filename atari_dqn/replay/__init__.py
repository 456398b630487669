"""The replay memory."""

from atari_dqn.free_memory import free_memory
from atari_dqn.replay.batch import Batch
from atari_dqn.replay.blocks import pack, unpack
from atari_dqn.replay.capacity import memory_needed
from atari_dqn.replay.files import FrameFiles
from atari_dqn.replay.making import make_memory
from atari_dqn.replay.memory import ReplayMemory
from atari_dqn.replay.priorities import priority_schedule

__all__ = [
    "Batch",
    "FrameFiles",
    "ReplayMemory",
    "free_memory",
    "make_memory",
    "memory_needed",
    "pack",
    "priority_schedule",
    "unpack",
]
