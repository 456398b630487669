"""Trains an agent of Stable-Baselines3 for some minutes, and saves its policy at regular times.

    python -m benchmarks.race_peer dqn PongNoFrameskip-v4 --minutes 30 --out race/dqn

The settings are those of rl-baselines3-zoo for Atari games (hyperparams/dqn.yml and ppo.yml), with
its preprocessing. They are meant for 10 million steps. ``dqn-short`` is DQN with the random steps
at the beginning and the decay of epsilon shortened in proportion to the steps that fit in the time.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ale_py
import gymnasium
import psutil
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_atari_env
from stable_baselines3.common.vec_env import VecFrameStack

PLANNED_STEPS = 10_000_000
RANDOM_STEPS = 100_000
DECAY_SHARE = 0.1
POLICIES = 15
SEED = 1


class SavePolicies(BaseCallback):  # type: ignore[misc]
    """Saves the policy at equal intervals, and stops the training when the time is over.

    Args:
        folder: Where to save. The files are named after the steps.
        seconds: Time since this process started, after which the training stops.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        super().__init__()
        self._folder = folder
        self._started = psutil.Process().create_time()
        self._interval = seconds / POLICIES
        self._saved = 0

    def _on_step(self) -> bool:
        if time.time() - self._started >= (self._saved + 1) * self._interval:
            self._saved += 1
            self.model.policy.save(self._folder / f"policy-{self.num_timesteps:09d}.zip")
        return self._saved < POLICIES


def linear(start: float) -> Callable[[float], float]:
    """Returns a schedule that falls from a value to 0 over the planned steps."""
    return lambda remaining: start * remaining


def dqn(game: str, steps: int) -> BaseAlgorithm:
    """Returns DQN.

    Args:
        game: Environment id.
        steps: Number of steps to which the exploration is fitted.
    """
    return DQN(
        "CnnPolicy",
        VecFrameStack(make_atari_env(game, n_envs=1, seed=SEED), 4),
        buffer_size=100_000,
        learning_rate=1e-4,
        batch_size=32,
        learning_starts=RANDOM_STEPS * steps // PLANNED_STEPS,
        target_update_interval=1_000,
        train_freq=4,
        gradient_steps=1,
        exploration_fraction=DECAY_SHARE * steps / PLANNED_STEPS,
        exploration_final_eps=0.01,
        seed=SEED,
    )


def ppo(game: str) -> BaseAlgorithm:
    """Returns PPO."""
    return PPO(
        "CnnPolicy",
        VecFrameStack(make_atari_env(game, n_envs=8, seed=SEED), 4),
        n_steps=128,
        n_epochs=4,
        batch_size=256,
        learning_rate=linear(2.5e-4),
        clip_range=linear(0.1),
        vf_coef=0.5,
        ent_coef=0.01,
        seed=SEED,
    )


def build(name: str, game: str, steps: int) -> BaseAlgorithm:
    """Returns a contender by its name."""
    algorithms: dict[str, Callable[[], Any]] = {
        "dqn": lambda: dqn(game, PLANNED_STEPS),
        "dqn-short": lambda: dqn(game, steps),
        "ppo": lambda: ppo(game),
    }
    return algorithms[name]()


def main() -> None:
    """Trains one contender."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=("dqn", "dqn-short", "ppo"))
    parser.add_argument("game")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--steps", type=int, default=500_000, help="steps that fit in the time")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    gymnasium.register_envs(ale_py)
    options.out.mkdir(parents=True, exist_ok=True)
    saving = SavePolicies(options.out, 60 * options.minutes)
    build(options.name, options.game, options.steps).learn(PLANNED_STEPS, callback=saving)


if __name__ == "__main__":
    main()
