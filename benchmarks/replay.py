"""Measures the three storages of the replay memory on random play: size and sampling time.

    python -m benchmarks.replay --out replay.json

The output is a table, and the same numbers as JSON. Batches are 32 transitions with 3-step returns.
The storages take turns, and each time is the median with the first and third quartile. Run nothing
else at the same time.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from atari_dqn.config.resolve import load_config
from atari_dqn.environments.environments import Environments, make_games
from atari_dqn.replay.blocks import BLOCK
from atari_dqn.replay.frames import Storage
from atari_dqn.replay.memory import ReplayMemory

GAMES = (
    "breakout",
    "pong",
    "boxing",
    "seaquest",
    "space_invaders",
    "qbert",
    "montezuma_revenge",
    "video_pinball",
)
STORAGES: tuple[Storage, ...] = ("memory", "compressed", "disk")
ENVIRONMENTS = 16
BATCH = 32


def measure(game: str, frames: int, repeats: int, directory: Path) -> dict[str, Any]:
    """Fills a memory for each storage with the same random play, and samples them in turns."""
    config, _ = load_config(game, protocol="dopamine")
    games = make_games(config.spec, config.environment, ENVIRONMENTS, config.environment.frame_cap)
    environments = Environments(games, config.environment, seed=1)
    stack, *frame_shape = games.observation_shape
    memories = {
        storage: ReplayMemory(
            frames,
            ENVIRONMENTS,
            tuple(frame_shape),
            stack=stack,
            n_step=3,
            gamma=0.99,
            seed=1,
            storage=storage,
            directory=directory,
        )
        for storage in STORAGES
    }
    random = np.random.default_rng(1)
    first = environments.reset()[:, -1]
    for memory in memories.values():
        memory.start(first)
    adding = dict.fromkeys(STORAGES, 0.0)
    for _ in range(frames // ENVIRONMENTS):
        executed = environments.send(
            random.integers(len(games.action_names), size=ENVIRONMENTS).astype(np.int32)
        )
        step = environments.recv()
        frame = step.observation[:, -1]
        first_frame = step.current[:, -1]
        for storage, memory in memories.items():
            start = time.perf_counter()
            memory.add(executed, step.reward, step.discount, frame, step.ended, first_frame)
            adding[storage] += time.perf_counter() - start
    times: dict[Storage, list[float]] = {storage: [] for storage in STORAGES}
    for _ in range(repeats):
        batches = []
        for storage, memory in memories.items():
            start = time.perf_counter()
            batches.append(memory.sample(BATCH).observation)
            times[storage].append(time.perf_counter() - start)
        assert all((batch == batches[0]).all() for batch in batches)
    blocks = list(memories["compressed"].filled(np.zeros(ENVIRONMENTS, np.int64)))
    packed = sum(len(block.packed) for block in blocks) / (len(blocks) * BLOCK)
    quartiles = {storage: np.quantile(times[storage], (0.25, 0.5, 0.75)) for storage in STORAGES}
    return {
        "game": game,
        "packed_bytes_per_frame": packed,
        "sample_ms": {storage: (quartiles[storage] * 1e3).tolist() for storage in STORAGES},
        "add_us_per_frame": {storage: adding[storage] / frames * 1e6 for storage in STORAGES},
    }


def main() -> None:
    """Measures every game and prints a row for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--games", nargs="+", default=GAMES)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=500)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    print(
        "| game | bytes/frame packed | sample of 32, ms: memory | compressed | disk "
        "| add, us/frame: memory | compressed | disk |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    results = []
    for game in options.games:
        with tempfile.TemporaryDirectory() as directory:
            result = measure(game, options.frames, options.repeats, Path(directory))
        samples = [
            f"{median:.2f} ({low:.2f}-{high:.2f})"
            for low, median, high in result["sample_ms"].values()
        ]
        added = [f"{microseconds:.0f}" for microseconds in result["add_us_per_frame"].values()]
        cells = [game, f"{result['packed_bytes_per_frame']:.0f}", *samples, *added]
        print("|", " | ".join(cells), "|", flush=True)
        results.append(result)
    if options.out is not None:
        options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
