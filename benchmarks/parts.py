"""Measures one part of the pipeline alone, ours or a peer's, and prints one number.

    python -m benchmarks.parts update ours --batch 32 --precision bfloat16

The parts are *update* (milliseconds per gradient step), *act* (milliseconds for greedy actions),
*step* (agent steps per second of random play), *multiply* (GFLOP/s of a large matrix product) and
*limit* (milliseconds for the arithmetic of an update at that rate). The algorithm is plain DQN with
Adam and the network of Mnih et al. 2015, by default in float32. ``benchmarks.bench`` runs the parts
in turns.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atari_dqn.backend import startup

ACTIONS = ("NOOP", "FIRE", "RIGHT", "LEFT")
GAME = "BreakoutNoFrameskip-v4"
LEARNING_RATE = 1e-4
GAMMA = 0.99
FEWEST_CALLS = 5


def milliseconds(function: Callable[[], object], seconds: float = 4.0, warm_up: int = 5) -> float:
    """Calls a function for some seconds and returns the median time of a call in milliseconds."""
    for _ in range(warm_up):
        function()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < FEWEST_CALLS:
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1e3


class Transitions(NamedTuple):
    """A batch of B random transitions; observations are (B, 84, 84, 4)."""

    observation: NDArray[Any]
    action: NDArray[Any]
    reward: NDArray[Any]
    discount: NDArray[Any]
    next_observation: NDArray[Any]


def transitions(batch: int) -> Transitions:
    """Returns a batch of random transitions."""
    random = np.random.default_rng(0)
    frames = random.integers(256, size=(2, batch, 84, 84, 4), dtype=np.uint8)
    actions = random.integers(len(ACTIONS), size=batch).astype(np.int32)
    rewards = random.random(batch, np.float32)
    discounts = np.full(batch, GAMMA, np.float32)
    return Transitions(frames[0], actions, rewards, discounts, frames[1])


def our_agent(options: argparse.Namespace) -> Any:
    """Returns our agent for the recipe in ``options``, where "plain" means plain DQN."""
    from atari_dqn.config.resolve import load_config, parse_value
    from atari_dqn.runs.continuation import for_this_machine

    changes: dict[str, object] = {
        "machine.precision": options.precision,
        "machine.compile": parse_value(options.compile),
    }
    if options.batch:
        changes["agent.batch_size"] = options.batch
    if options.recipe == "plain":
        changes |= {"optimizer.name": "adam", "optimizer.learning_rate": LEARNING_RATE}
    config, _ = load_config(
        GAME, "nature" if options.recipe == "plain" else options.recipe, overrides=changes
    )
    machine = for_this_machine(config).machine
    startup.start(machine.intra_op_threads, machine.inter_op_threads)
    from atari_dqn.agent.agent import Agent

    return Agent(config, (4, 84, 84), ACTIONS)


def update_ours(options: argparse.Namespace) -> float:
    """Returns the milliseconds of our update for a given batch size."""
    from atari_dqn.backend.arrays import stacks_last
    from atari_dqn.replay.batch import Batch

    agent = our_agent(options)
    random = transitions(options.batch)
    batch = Batch(
        observation=stacks_last(np.moveaxis(random.observation, -1, 1)),
        action=random.action,
        reward=random.reward,
        discount=random.discount,
        next_observation=stacks_last(np.moveaxis(random.next_observation, -1, 1)),
        weight=np.ones_like(random.reward),
        indices=random.action.astype(np.int64),
    )
    return milliseconds(lambda: agent.update(batch))


def act_ours(options: argparse.Namespace) -> float:
    """Returns the milliseconds of our greedy actions for observations (N, 4, 84, 84)."""
    agent = our_agent(argparse.Namespace(**{**vars(options), "batch": None}))
    observations = np.random.default_rng(0).integers(
        256, size=(options.batch, 4, 84, 84), dtype=np.uint8
    )
    return milliseconds(lambda: agent.act(observations))


def keras_network() -> Any:
    """Builds the same network from stock Keras layers."""
    import keras

    convolution = keras.layers.Conv2D
    return keras.Sequential(
        [
            keras.Input((84, 84, 4), dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            convolution(32, 8, 4, activation="relu"),
            convolution(64, 4, 2, activation="relu"),
            convolution(64, 3, 1, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(512, activation="relu"),
            keras.layers.Dense(len(ACTIONS)),
        ]
    )


def update_keras(options: argparse.Namespace) -> float:
    """Returns the milliseconds of an update in stock Keras, in a ``tf.function``."""
    import keras
    import tensorflow as tf

    online, target = keras_network(), keras_network()
    optimizer = keras.optimizers.Adam(LEARNING_RATE)
    loss_of = keras.losses.Huber()

    @tf.function
    def learn(
        observation: Any, action: Any, reward: Any, discount: Any, next_observation: Any
    ) -> Any:
        targets = reward + discount * tf.reduce_max(target(next_observation), axis=1)
        with tf.GradientTape() as tape:
            values = tf.reduce_sum(online(observation) * tf.one_hot(action, len(ACTIONS)), axis=1)
            loss = loss_of(targets, values)
        gradients = tape.gradient(loss, online.trainable_variables)
        optimizer.apply_gradients(zip(gradients, online.trainable_variables, strict=True))
        return loss

    batch = transitions(options.batch)
    return milliseconds(lambda: learn(*batch))


def act_keras(options: argparse.Namespace) -> float:
    """Returns the milliseconds of greedy actions in stock Keras, in a ``tf.function``."""
    import tensorflow as tf

    network = tf.function(keras_network())
    frames = transitions(options.batch).observation
    return milliseconds(lambda: network(frames).numpy().argmax(axis=1))


def torch_network() -> Any:
    """Builds the same network from PyTorch layers."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(4, 32, 8, 4),
        nn.ReLU(),
        nn.Conv2d(32, 64, 4, 2),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(3136, 512),
        nn.ReLU(),
        nn.Linear(512, len(ACTIONS)),
    )


def update_torch(options: argparse.Namespace) -> float:
    """Returns the milliseconds of an update in eager PyTorch; bfloat16 uses ``autocast``.

    CleanRL and Stable-Baselines3 train in this way.
    """
    import torch

    online, target = torch_network(), torch_network()
    optimizer = torch.optim.Adam(online.parameters(), LEARNING_RATE)
    batch = transitions(options.batch)
    observation = np.ascontiguousarray(np.moveaxis(batch.observation, -1, 1))
    next_observation = np.ascontiguousarray(np.moveaxis(batch.next_observation, -1, 1))

    def learn() -> None:
        frames = torch.from_numpy(observation)
        next_frames = torch.from_numpy(next_observation)
        action = torch.from_numpy(batch.action).long().unsqueeze(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bfloat16"):
            with torch.no_grad():
                best = target(next_frames.float() / 255).float().max(1).values
            values = online(frames.float() / 255).float().gather(1, action).squeeze(1)
            targets = torch.from_numpy(batch.reward) + torch.from_numpy(batch.discount) * best
            loss = torch.nn.functional.smooth_l1_loss(values, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return milliseconds(learn)


def act_torch(options: argparse.Namespace) -> float:
    """Returns the milliseconds of greedy actions in eager PyTorch."""
    import torch

    network = torch_network()
    frames = np.random.default_rng(0).integers(256, size=(options.batch, 4, 84, 84), dtype=np.uint8)

    def act() -> object:
        with torch.no_grad():
            return network(torch.from_numpy(frames).float() / 255).argmax(1).numpy()

    return milliseconds(act)


def step_ours(options: argparse.Namespace) -> float:
    """Returns the agent steps per second of random play through our environments."""
    from atari_dqn.config.resolve import load_config
    from atari_dqn.environments.environments import Environments, make_games

    config, _ = load_config(GAME)
    games = make_games(config.spec, config.environment, options.batch, config.environment.frame_cap)
    environments = Environments(games, config.environment, 1, games.seed_steps)
    environments.reset()

    def step(actions: NDArray[np.int32]) -> None:
        environments.send(actions)
        environments.recv()

    return steps_per_second(step, options.batch)


def step_raw(options: argparse.Namespace) -> float:
    """Returns the agent steps per second of random play in ale-py's ``AtariVectorEnv``."""
    from ale_py.vector_env import AtariVectorEnv

    games = AtariVectorEnv(
        "breakout", options.batch, noop_max=30, use_fire_reset=False, reward_clipping=False
    )
    games.reset(seed=1)
    return steps_per_second(games.step, options.batch)


def steps_per_second(
    step: Callable[[NDArray[np.int32]], object], environments: int, seconds: float = 20.0
) -> float:
    """Returns the agent steps per second of random play, after one second of warm-up.

    The default duration is long enough for our environments to be reseeded.
    """
    random = np.random.default_rng(0)

    def play(duration: float) -> float:
        count = 0
        begin = time.perf_counter()
        while (elapsed := time.perf_counter() - begin) < duration:
            step(random.integers(len(ACTIONS), size=environments).astype(np.int32))
            count += environments
        return count / elapsed

    play(1.0)
    return play(seconds)


def multiply(options: argparse.Namespace) -> float:
    """Returns the GFLOP/s of the product of two matrices of 2048 x 2048."""
    startup.start()
    import tensorflow as tf

    random = np.random.default_rng(0)
    left, right = (
        tf.cast(random.random((2048, 2048), np.float32), options.precision) for _ in range(2)
    )
    product = tf.function(lambda: tf.matmul(left, right))
    return 2 * 2048**3 / milliseconds(product) / 1e6


def limit(options: argparse.Namespace) -> float:
    """Returns the milliseconds for the arithmetic of a plain DQN update at ``multiply``'s rate."""
    rate = multiply(options)  # first, because it starts TensorFlow
    return operations(options.batch) / rate / 1e6


def operations(batch: int) -> int:
    """Returns the number of additions and multiplications in an update of plain DQN.

    An update has two forward passes, the gradient of each kernel, and the gradient of each layer's
    input except the first. That is 68 million operations per transition.
    """
    layers = [layer for layer in keras_network().layers if hasattr(layer, "kernel")]
    products = [
        int(np.prod(layer.kernel.shape) * np.prod(layer.output.shape[1:-1])) for layer in layers
    ]
    return 2 * batch * (3 * sum(products) + sum(products[1:]))


PARTS: dict[str, dict[str, Callable[[argparse.Namespace], float]]] = {
    "update": {"ours": update_ours, "keras": update_keras, "torch": update_torch},
    "act": {"ours": act_ours, "keras": act_keras, "torch": act_torch},
    "step": {"ours": step_ours, "raw": step_raw},
    "multiply": {"tensorflow": multiply},
    "limit": {"tensorflow": limit},
}


def main() -> None:
    """Measures one part and prints the number."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("who", choices=sorted({who for part in PARTS.values() for who in part}))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--compile", choices=("auto", "true", "false"), default="auto")
    parser.add_argument("--recipe", default="plain")
    options = parser.parse_args()
    if options.who not in PARTS[options.part]:
        parser.error(f"{options.part} has only {', '.join(PARTS[options.part])}")
    print(PARTS[options.part][options.who](options))


if __name__ == "__main__":
    main()
