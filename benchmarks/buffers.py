"""Measures a replay memory alone, ours or Stable-Baselines3's, and prints one number.

    python -m benchmarks.buffers sample ours --frames 100000

The parts are *sample* (milliseconds per batch), *add* (microseconds per transition) and *memory*
(resident bytes per transition).
"""

import argparse
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from atari_dqn.replay.memory import ReplayMemory
from benchmarks.parts import milliseconds

ENVIRONMENTS = 8
EPISODE = 200

Fill = Callable[[Iterator[NDArray[np.uint8]]], None]
Sample = Callable[[], object]


def our_memory(storage: str, frames: int, batch: int) -> tuple[Fill, Sample]:
    """Returns our memory, which stores each frame once."""
    kind: Any = storage
    memory = ReplayMemory(
        frames, ENVIRONMENTS, (84, 84), stack=4, n_step=1, gamma=0.99, seed=1, storage=kind
    )
    action = np.zeros(ENVIRONMENTS, np.int32)
    reward = np.zeros(ENVIRONMENTS, np.float32)

    def fill(play: Iterator[NDArray[np.uint8]]) -> None:
        memory.start(next(play))
        for number, frame in enumerate(play):
            ended = np.full(ENVIRONMENTS, number % EPISODE == EPISODE - 1)
            memory.add(action, reward, reward + 1, frame, ended, frame)

    return fill, lambda: memory.sample(batch)


def sb3_buffer(_: str, frames: int, batch: int) -> tuple[Fill, Sample]:
    """Returns Stable-Baselines3's buffer, which stores every observation as a whole stack."""
    from gymnasium.spaces import Box, Discrete
    from stable_baselines3.common.buffers import ReplayBuffer

    buffer = ReplayBuffer(
        frames, Box(0, 255, (4, 84, 84), np.uint8), Discrete(4), n_envs=ENVIRONMENTS
    )
    infos: list[dict[str, Any]] = [{}] * ENVIRONMENTS
    zeros = np.zeros(ENVIRONMENTS, np.float32)

    def fill(play: Iterator[NDArray[np.uint8]]) -> None:
        for frame in play:
            stack = np.repeat(frame[:, np.newaxis], 4, axis=1)
            buffer.add(stack, stack, zeros.astype(np.int64), zeros, zeros, infos)

    return fill, lambda: buffer.sample(batch)


def play() -> Iterator[NDArray[np.uint8]]:
    """Yields frames (environments, 84, 84) with a changing patch, without end."""
    random = np.random.default_rng(0)
    while True:
        frame = np.zeros((ENVIRONMENTS, 84, 84), np.uint8)
        frame[:, 30:50, 30:50] = random.integers(256, size=(ENVIRONMENTS, 20, 20), dtype=np.uint8)
        yield frame


def main() -> None:
    """Fills a memory and prints the requested number."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("sample", "add", "memory"))
    parser.add_argument("who", choices=("ours", "sb3"))
    parser.add_argument("--storage", choices=("memory", "compressed", "disk"), default="memory")
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=32)
    options = parser.parse_args()
    before = psutil.Process().memory_info().rss
    make = our_memory if options.who == "ours" else sb3_buffer
    fill, sample = make(options.storage, options.frames, options.batch)
    rounds = options.frames // ENVIRONMENTS
    begin = time.perf_counter()
    for _ in islice(play(), rounds):
        pass
    playing = time.perf_counter() - begin
    begin = time.perf_counter()
    fill(islice(play(), rounds))
    filling = time.perf_counter() - begin - playing
    if options.part == "sample":
        # As in training, one batch is in use while the next is sampled.
        batches = deque[object](maxlen=2)
        print(milliseconds(lambda: batches.append(sample())))
    elif options.part == "add":
        print(filling / options.frames * 1e6)
    else:
        print((psutil.Process().memory_info().rss - before) / options.frames)


if __name__ == "__main__":
    main()
