"""Creates the replay memory from the settings."""

from pathlib import Path

from atari_dqn.backend.arrays import observation_dtype
from atari_dqn.config.schema import Config
from atari_dqn.replay.memory import ReplayMemory


def make_memory(
    config: Config, num_envs: int, observation_shape: tuple[int, ...], directory: Path | None
) -> ReplayMemory:
    """Returns an empty replay memory with the given settings.

    Args:
        config: settings of the run.
        num_envs: number of environments.
        observation_shape: (stack, *frame_shape).
        directory: directory for the file of frames, with the storage ``disk``; None means the
            system's temporary directory.
    """
    stack, *frame_shape = observation_shape
    return ReplayMemory(
        config.replay.capacity,
        num_envs,
        tuple(frame_shape),
        stack=stack,
        n_step=config.agent.n_step,
        gamma=config.agent.gamma,
        seed=config.machine.seed,
        priority_exponent=config.replay.priority_exponent,
        importance_exponent=config.replay.importance_exponent,
        dtype=observation_dtype(observation_shape),
        storage=config.replay.storage,
        directory=directory,
    )
