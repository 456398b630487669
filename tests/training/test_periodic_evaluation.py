"""Tests the short evaluations during training."""

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

from atari_dqn.agent.agent import Agent
from atari_dqn.config.resolve import load_config
from atari_dqn.environments.environments import make_game
from atari_dqn.recording.episode_file import Origin
from atari_dqn.training.logs import RunLogs
from atari_dqn.training.periodic_evaluation import evaluate_shortly


def test_a_short_evaluation_is_logged_with_its_recording_and_q_values(tmp_path: Path) -> None:
    small = {"evaluation.frame_cap": 200, "training.evaluation_episodes": 3}
    config, _ = load_config("CartPole-v1", overrides=small)
    game = make_game(config.spec, config.environment, config.evaluation.frame_cap)
    agent = Agent(config, game.observation_shape, game.action_names)
    logs = RunLogs(tmp_path, 500, 1_000)
    logs.settings(500, config.to_toml())
    origin = Origin("training", "run", "cartpole", None, 500)
    mean = evaluate_shortly(agent, origin, tmp_path / "videos", logs)
    logs.close()
    gif, described, mp4 = sorted((tmp_path / "videos").iterdir())
    assert (mp4.stem, mp4.suffix) == (gif.stem, ".mp4")
    data = json.loads(described.read_text())
    assert (
        gif.name
        == f"CartPole-v1_run_step000000500_score{data['episode']['score']:g}_median_training.gif"
    )
    assert (
        data["source"],
        data["steps"],
        data["checkpoint"],
        list(data["files"]),
    ) == (
        "training",
        500,
        None,
        ["gif", "mp4"],
    )
    with (tmp_path / "evaluations.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["steps"], row["episodes"], float(row["mean"])) == ("500", "3", float(f"{mean:.6g}"))

    board = EventAccumulator(str(tmp_path), size_guidance={"tensors": 0, "images": 0})
    board.Reload()
    assert [event.step for event in board.Tensors("evaluation/mean")] == [500]
    assert tensor_util.make_ndarray(
        board.Tensors("evaluation/mean")[0].tensor_proto
    ).item() == np.float32(mean)
    (image,) = board.Images("evaluation/median_episode")
    assert (image.step, image.width, image.height) == (500, 600, 400)
    assert image.encoded_image_string == gif.read_bytes()
    with Image.open(gif) as shown:
        assert getattr(shown, "n_frames", 1) > 1
    (settings,) = board.Tensors("settings")
    assert config.to_toml() in tensor_util.make_ndarray(settings.tensor_proto).item().decode()
    for name in game.action_names:
        (histogram,) = board.Tensors(f"q_values/{name}")
        assert (
            tensor_util.make_ndarray(histogram.tensor_proto)[:, 2].sum()
            == data["episode"]["steps"] + 1
        )
