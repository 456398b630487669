"""Sample runs, recordings and evaluations for the gallery's tests.

Their pictures have one background color, which a test can search for in a screenshot.
"""

import csv
import json
import os
from pathlib import Path
from typing import Any

import imageio.v2
import imageio.v3
import numpy as np
from numpy.typing import NDArray

from atari_dqn.config.resolve import load_config

BREAKOUT = "BreakoutDeterministic-v4"
DEFAULT = load_config(BREAKOUT)[0].versioned_recipe
ORANGE = (230, 120, 20)
EVIL = "<script>alert(1)<&script>"


def protocol(**changes: Any) -> dict[str, Any]:
    environment = {"frame_skip": 4, "sticky_probability": 0.0, "noop_max": 1}
    names = {
        "name": "tutorial",
        "environment": environment,
        "frame_cap": 108_000,
        "actions": ["NOOP", "FIRE"],
    }
    return names | {"epsilon": 0.05, "seed": 1, "environments": 10} | changes


def pictures(
    seconds: float, color: tuple[int, int, int] = ORANGE, rate: int = 15
) -> list[NDArray[np.uint8]]:
    """Returns screens of one color with a moving white bar, in the shape of an Atari game."""
    screens = []
    for number in range(int(seconds * rate)):
        screen = np.full((104, 80, 3), color, np.uint8)
        screen[4 + number % 90 : 10 + number % 90] = 255
        screens.append(screen)
    return screens


def write_media(path: Path, seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gif":
        imageio.v3.imwrite(path, pictures(seconds), duration=70, loop=0)
        return
    with imageio.v2.get_writer(
        path, fps=15, codec="libx264", pixelformat="yuv420p", macro_block_size=2
    ) as writer:
        for picture in pictures(seconds):
            writer.append_data(picture)


def recording(**changes: Any) -> dict[str, Any]:
    """Returns the JSON of a recording that covers 4 s of game time."""
    score = changes.pop("score", 3.0)
    steps = changes.get("steps", 100_000)
    names = {
        "kind": "recording",
        "format": 1,
        "game": BREAKOUT,
        "rom": "breakout",
        "run": "default-seed1",
        "recipe": "default",
    }
    played = {
        "source": "training",
        "checkpoint": None,
        "steps": steps,
        "protocol": protocol(),
        "rank": "median",
    }
    episode = {
        "seed": 7,
        "environment": 0,
        "score": score,
        "steps": 60,
        "frames": 240,
        "cut_by_frame_cap": False,
    }
    ending = {
        "episode": episode,
        "actions": [0] * 60,
        "seconds": 4.0,
        "annotated": False,
        "screens_per_second": 60.0,
    }
    return (
        names | played | ending | {"files": {"mp4": {"name": "one.mp4", "seconds": 4.0}}} | changes
    )


def evaluation(mean: float, **changes: Any) -> dict[str, Any]:
    names = {
        "kind": "evaluation",
        "format": 1,
        "game": BREAKOUT,
        "rom": "breakout",
        "run": "default-seed1",
        "recipe": "default",
    }
    played = {"source": "evaluation", "checkpoint": None, "steps": 200_000, "protocol": protocol()}
    numbers = {
        "episodes": 30,
        "mean": mean,
        "standard_error": 1.5,
        "median": mean,
        "min": 0.0,
        "max": 2 * mean,
    }
    rest = {
        "human_normalised": (mean - 1.7) / 28.8,
        "cut_by_frame_cap": 0,
        "mean_length_steps": 300.0,
    }
    return names | played | {"statistics": numbers | rest, "episodes": []} | changes


def write_json(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")


def write_recording(videos: Path, media: dict[str, Path], **changes: Any) -> Path:
    """Writes a recording whose media files are hard links, and returns the path of its JSON."""
    document = recording(**changes)
    folder: Path = videos / document["game"].replace("/", "-") / document["run"]
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"step{document['steps']:09d}_score{document['episode']['score']:g}_{document['rank']}"
    document["files"] = {}
    for kind, file in media.items():
        os.link(file, folder / f"{stem}.{kind}")
        document["files"][kind] = {"name": f"{stem}.{kind}", "seconds": 4.0}
    write_json(folder / f"{stem}.json", document)
    return folder / f"{stem}.json"


def write_run(
    root: Path,
    name: str,
    game: str = BREAKOUT,
    recipe: str = "default",
    top: float = 20.0,
    episodes: int = 800,
    overrides: dict[str, Any] | None = None,
    started: str = "2026-11-20T10:15:00+0000",
) -> Path:
    """Writes a run of 200,000 agent steps and returns its directory.

    The score grows linearly to ``top`` while epsilon decays linearly to 0.
    """
    directory = root / game.replace("/", "-") / name
    directory.mkdir(parents=True)
    config, _ = load_config(game, recipe, overrides=overrides)
    (directory / "config.toml").write_text(config.to_toml(), encoding="utf-8")
    write_json(
        directory / "run.json",
        {"starts": [{"time": started, "commit": "abc123"}]},
    )
    with (directory / "episodes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["episode", "steps", "score", "mean_100", "length", "frames", "environment", "seed"]
        )
        for number in range(1, episodes + 1):
            score = top * number / episodes
            writer.writerow(
                [number, 200_000 * number // episodes, score, f"{score:.6g}", 250, 1000, 0, 1]
            )
    with (directory / "metrics.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["steps", "epsilon", "loss"])
        writer.writerows(
            [200_000 * part // 10, f"{1 - part / 10:.6g}", "nan"] for part in range(11)
        )
    return directory


def write_metrics(run: Path) -> None:
    """Replaces the metrics of a run by a loss that falls, and Q-values and a speed that rise."""
    rows = [
        f"{20_000 * part},{1 - part / 10:.6g},{1 / part},{part},{800 + part}\n"
        for part in range(1, 11)
    ]
    header = "steps,epsilon,loss,mean_max_q,steps_per_second\n"
    (run / "metrics.csv").write_text(header + "".join(rows), encoding="utf-8")
