"""Measures how fast Stable-Baselines3's DQN trains, and prints agent steps per second.

    python -m benchmarks.peer --environments 8 --steps 6000

The algorithm is plain DQN. An Atari game is learned with the network of Mnih et al. 2015, batches
of 32, one update every 4 agent steps, a replay buffer of 100,000 transitions, and Adam with a
learning rate of 1e-4. ``CartPole-v1`` is learned with 16 hidden units, batches of 64, one update
every agent step, and a target network with soft updates.
"""

import argparse
import statistics
import time

import ale_py
import gymnasium
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_atari_env, make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecFrameStack

WARM_UP = 1_000
WINDOW = 500


class Windows(BaseCallback):  # type: ignore[misc]
    """Stores the speed of every 500 agent steps during learning."""

    def __init__(self) -> None:
        super().__init__()
        self.speeds: list[float] = []
        self._steps = WARM_UP
        self._time = float("nan")

    def _on_step(self) -> bool:
        if self.num_timesteps - self._steps >= WINDOW:
            now = time.perf_counter()
            self.speeds.append((self.num_timesteps - self._steps) / (now - self._time))
            self._steps = self.num_timesteps
            self._time = now
        return True


def atari(game: str, count: int, processes: bool) -> DQN:
    """Returns DQN for an Atari game."""
    several = SubprocVecEnv if processes else DummyVecEnv
    return DQN(
        "CnnPolicy",
        VecFrameStack(make_atari_env(game, n_envs=count, seed=1, vec_env_cls=several), 4),
        buffer_size=100_000,
        learning_starts=WARM_UP,
        batch_size=32,
        learning_rate=1e-4,
        # Environments step together, so several updates follow each step to keep the ratio.
        train_freq=4 if count == 1 else 1,
        gradient_steps=1 if count == 1 else count // 4,
        target_update_interval=10_000,
        exploration_initial_eps=0.05,
    )


def cartpole(count: int) -> DQN:
    """Returns DQN for CartPole."""
    return DQN(
        "MlpPolicy",
        make_vec_env("CartPole-v1", n_envs=count, seed=1),
        buffer_size=50_000,
        learning_starts=WARM_UP,
        batch_size=64,
        learning_rate=1e-3,
        train_freq=1,
        gradient_steps=count,
        target_update_interval=1,
        tau=0.01,
        exploration_initial_eps=0.05,
        policy_kwargs={"net_arch": [16]},
    )


def main() -> None:
    """Trains for some steps and prints the median speed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--game", default="BreakoutNoFrameskip-v4")
    parser.add_argument("--environments", type=int, default=8)
    parser.add_argument("--processes", action="store_true", help="a process for each environment")
    parser.add_argument("--steps", type=int, default=6_000)
    options = parser.parse_args()
    gymnasium.register_envs(ale_py)
    count = options.environments
    model = (
        cartpole(count)
        if options.game == "CartPole-v1"
        else atari(options.game, count, options.processes)
    )
    windows = Windows()
    model.learn(options.steps, callback=windows)
    print(statistics.median(windows.speeds[1:]))


if __name__ == "__main__":
    main()
