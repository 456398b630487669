"""Compares gradients in bfloat16 with those in float32, on the games of the panel.

    python -m benchmarks.precision --steps 50000

An agent is trained in bfloat16 first. Both gradients are then computed from its weights and the
same batches. The table has the cosine of each pair of gradients, for all weights and for the first
layer, mean and least of all batches. A cosine of 1 means the same direction.
"""

import argparse
import tempfile
import tomllib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atari_dqn.agent.agent import Agent
from atari_dqn.backend.arrays import as_tensor
from atari_dqn.backend.tensorflow_backend import tf
from atari_dqn.config.resolve import load_config
from atari_dqn.replay.batch import Batch
from atari_dqn.training.loop import Training

PANEL = Path("configs/sweeps/panel.toml")
BATCHES = 50


def gradients(agent: Agent, batch: Batch) -> list[NDArray[np.float32]]:
    """Returns the gradient of the loss on a batch, for each weight of the online network."""
    step = agent.gradient_step
    target = step.td_target(batch)
    weights = agent.online.computing.trainable_variables
    with tf.GradientTape() as tape:
        _, losses = step.transition_losses(batch, target)
        loss = tf.reduce_mean(batch.weight * losses)
    return [tf.cast(part, tf.float32).numpy().ravel() for part in tape.gradient(loss, weights)]


def cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Returns the cosine of the angle between two vectors."""
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def compare(game: str, recipe: str, steps: int) -> NDArray[np.float64]:
    """Trains an agent, and compares its gradients in both precisions.

    Args:
        game: id of the game.
        recipe: the recipe.
        steps: agent steps of training.

    Returns:
        Cosines (BATCHES, 2) of the gradients of all weights, and of the first layer's kernel.
    """
    settings = {"training.total_steps": steps, "training.evaluation_period": 0}
    configs = [
        load_config(game, recipe, overrides={**settings, "machine.precision": precision})[0]
        for precision in ("bfloat16", "float32")
    ]
    with tempfile.TemporaryDirectory() as directory:
        training = Training(configs[0], Path(directory) / "run", Path(directory) / "videos")
        training.run()
        agents = [
            Agent(config, training.agent.observation_shape, training.agent.action_names)
            for config in configs
        ]
        for agent in agents:
            agent.restore(training.agent.arrays())
        cosines = []
        for _ in range(BATCHES):
            sampled = training.memory.sample(configs[0].agent.batch_size)
            batch = Batch(*(as_tensor(field) for field in sampled))
            rounded, exact = (gradients(agent, batch) for agent in agents)
            whole = cosine(np.concatenate(rounded), np.concatenate(exact))
            cosines.append((whole, cosine(rounded[0], exact[0])))
    return np.array(cosines)


def main() -> None:
    """Measures every game and prints a row for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    games = tomllib.loads(PANEL.read_text(encoding="utf-8"))["games"]
    parser.add_argument("--games", nargs="+", default=games)
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--steps", type=int, default=50_000, help="agent steps of training")
    options = parser.parse_args()
    print("| game | all weights: mean | least | first layer: mean | least |")
    print("| --- | --- | --- | --- | --- |")
    for game in options.games:
        cosines = compare(game, options.recipe, options.steps)
        means = cosines.mean(axis=0)
        least = cosines.min(axis=0)
        cells = [f"{value:.4f}" for pair in zip(means, least, strict=True) for value in pair]
        print("|", " | ".join([game, *cells]), "|", flush=True)


if __name__ == "__main__":
    main()
