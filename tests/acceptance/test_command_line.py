"""Runs the commands as a user does, on the real Breakout."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atari_dqn import load_agent
from atari_dqn.config.resolve import config_directory, read_recipe
from atari_dqn.gallery.collect import collect
from tests import forked
from tests.acceptance.commands import GAME, SMALL, run, run_anew, run_in_process


def test_training_writes_checkpoint_logs_settings_and_circumstances(trained: Path) -> None:
    run_directory = trained / "checkpoints" / GAME / "first"
    assert (run_directory / "step-000000960" / "manifest.json").is_file()
    assert list(run_directory.glob("events.out.tfevents.*"))
    with (run_directory / "metrics.csv").open() as file:
        metrics = list(csv.DictReader(file))
    assert [row["steps"] for row in metrics] == ["200", "400", "600", "800", "960"][: len(metrics)]
    assert int(metrics[-1]["frames"]) == pytest.approx(4 * int(metrics[-1]["steps"]), rel=0.01)
    assert int(metrics[-1]["updates"]) > 0
    settings = tomllib.loads((run_directory / "config.toml").read_text())
    assert (settings["training"]["total_steps"], settings["replay"]["capacity"]) == (960, 5000)
    circumstances = json.loads((run_directory / "run.json").read_text())["starts"]
    assert circumstances[0]["packages"]["tensorflow"]
    assert set(circumstances[0]) == {
        "time",
        "command",
        "commit",
        "python",
        "platform",
        "machine",
        "packages",
    }


def test_a_complete_run_is_reported_as_such_and_can_be_extended(
    trained: Path, tmp_path: Path
) -> None:
    user = shutil.copytree(trained, tmp_path / "user")
    command = ("train", "--game", GAME, "--run-dir", "first", *SMALL)
    assert "is complete: 960 agent steps" in run(*command, "--total-steps", "960", cwd=user).stdout
    extended = run(*command, "--total-steps", "1040", cwd=user)
    assert "continuing at step 960" in extended.stderr
    assert "complete: 1,040 agent steps" in extended.stdout


def test_a_run_keeps_the_version_of_its_recipe(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    command = ("train", "--game", "CartPole-v1", "--config", "mine.toml", "--run-dir", "kept")
    shipped = (config_directory() / "cartpole.toml").read_text(encoding="utf-8")
    _, version, settings = re.split(r"^(version = \d+)$", shipped, flags=re.MULTILINE)
    assert version
    mine.write_text(f"version = 7\n{settings}", encoding="utf-8")
    short = ["--training.evaluation_period", "0", "--training.warmup_steps", "200"]
    short += ["--training.update_period", "8", "--network.mlp_layers", "[16]"]
    begun = run(*command, *short, "--total-steps", "400", cwd=tmp_path)
    assert "recipe: mine@7" in begun.stderr
    mine.write_text(f"version = 8\n{settings}", encoding="utf-8")
    continued = run(*command, *short, "--total-steps", "800", cwd=tmp_path)
    assert "this run keeps mine@7; a new one has mine@8" in continued.stderr
    stored = tmp_path / "checkpoints" / "CartPole-v1" / "kept" / "config.toml"
    assert tomllib.loads(stored.read_text(encoding="utf-8"))["recipe_version"] == 7


def test_last_needs_a_run(tmp_path: Path) -> None:
    answer = run_in_process("eval", "last", cwd=tmp_path, expect=2)
    assert "there is no run with a checkpoint in 'checkpoints'" in answer.stderr


def test_a_periodic_evaluation_is_recorded(tmp_path: Path) -> None:
    command = ("train", "--game", GAME, "--run-dir", "seen", "--total-steps", "400", *SMALL)
    run(*command, "--training.evaluation_period", "400", cwd=tmp_path)
    (gif,) = (tmp_path / "videos" / GAME / "seen").glob(
        f"{GAME}_seen_step000000400_score*_median_training.gif"
    )
    with Image.open(gif) as image:
        assert image.size == (160, 210)
    assert json.loads(gif.with_suffix(".json").read_text())["source"] == "training"


def test_evaluation_prints_a_summary_and_writes_json_gif_and_mp4(trained: Path) -> None:
    checkpoint = f"checkpoints/{GAME}/first"
    command = ("eval", checkpoint, "--episodes", "3", "--annotated")
    answers = [start(*command, cwd=trained).stdout for start in (run_anew, run)]
    assert answers[0] == answers[1]
    for part in (
        *(
            "game ",
            "agent ",
            f"recipe            default@{read_recipe('default').version}",
            "protocol ",
            "3 episodes in 3 environments, epsilon 0.05",
            "mean ",
            "standard error",
            "median",
        ),
        *(
            "human-normalized",
            "0 of 3 episodes",
            "random 1.7, human 30.5",
            "up to 29 no-ops",
            "no sticky actions,",
        ),
    ):
        assert part in answers[0]
    videos = trained / "videos" / GAME / "first"
    collected, notes = collect(trained / "checkpoints", trained / "videos")
    assert notes == []
    assert {part["rank"] for part in collected["recordings"]} == {"median", "best", "worst"}
    (written,) = videos.glob(f"{GAME}_first_step000000960_evaluation_tutorial_seed1.json")
    result = json.loads(written.read_text())
    assert result["statistics"]["episodes"] == len(result["episodes"]) == 3
    assert result["protocol"]["epsilon"] == 0.05
    assert f"mean {result['statistics']['mean']:.2f}" in answers[0]
    assert [result[name] for name in ("kind", "run", "recipe", "source")] == [
        "evaluation",
        "first",
        f"default@{read_recipe('default').version}",
        "evaluation",
    ]
    for rank in ("median", "best", "worst", "median_annotated"):
        rank, _, annotated = rank.partition("_")
        beginning = f"{GAME}_first_step000000960_score*_{rank}_tutorial_seed1"
        end = f"_{annotated}" if annotated else ""
        (described,) = videos.glob(f"{beginning}{end}.json")
        document = json.loads(described.read_text())
        assert (document["rank"], document["annotated"], document["checkpoint"]) == (
            rank,
            bool(annotated),
            result["checkpoint"],
        )
        assert document["episode"] in result["episodes"]
        for file in document["files"].values():
            assert (videos / file["name"]).stat().st_size > 1000
            assert described.with_suffix(".gif").name.removeprefix(f"{GAME}_first_") in answers[0]
    assert f"files in          {videos.relative_to(trained)}\n" in answers[0]


def test_an_agent_is_evaluated_under_another_protocol_of_its_game(trained: Path) -> None:
    command = (
        "eval",
        f"checkpoints/{GAME}/first",
        "--game",
        "breakout",
        "--protocol",
        "nature",
        "--episodes",
        "2",
    )
    answer = run_in_process(*command, cwd=trained).stdout
    for part in (
        "Breakout (rom breakout)",
        "nature: frame skip 4, no sticky actions, max-pooling",
        "at most 18,000 frames an episode",
    ):
        assert part in answer
    (written,) = (trained / "videos" / "Breakout" / "first").glob("*_evaluation_nature_seed1.json")
    assert json.loads(written.read_text())["protocol"]["name"] == "nature"
    answer = run_in_process(
        "eval",
        f"checkpoints/{GAME}/first",
        "--game",
        "ALE/Breakout-v5",
        "--episodes",
        "2",
        cwd=trained,
    ).stdout
    for part in (
        "ALE/Breakout-v5 (rom breakout)",
        "tutorial: frame skip 4, sticky probability 0.25, max-pooling",
        "epsilon 0.05",
    ):
        assert part in answer


@pytest.mark.parametrize(
    ("game", "said"),
    [(GAME, "weights from "), ("Pong", "the actions differ, so the output layers are new")],
)
def test_a_run_can_start_from_the_weights_of_another_run(
    trained: Path, tmp_path: Path, game: str, said: str
) -> None:
    origin = trained / "checkpoints" / GAME / "first"
    idle = ("--training.warmup_steps", "480")
    command = (
        "train",
        "--game",
        game,
        "--run-dir",
        "second",
        "--total-steps",
        "480",
        "--init-from",
        str(origin),
        *SMALL,
        *idle,
    )
    assert said in run(*command, cwd=tmp_path).stderr
    theirs = load_agent(origin)
    ours = load_agent(tmp_path / "checkpoints" / game / "second")
    same = [
        np.array_equal(a, b)
        for a, b in zip(
            theirs.acting.weights.get_weights(), ours.online.weights.get_weights(), strict=False
        )
    ]
    # These are kernel and bias of three convolutions, of the hidden layer and of the output layer,
    # and the mean frame and its scale, which are kept until the first update.
    assert sum(same) == (12 if game == GAME else 10)


def test_a_recorded_episode_can_be_rendered_again_from_its_json(trained: Path) -> None:
    answer = run("record", "last", "--out", "shown/episode.gif", cwd=trained)
    assert answer.stdout.startswith("shown/episode.gif: an episode of ")
    with Image.open(trained / "shown" / "episode.gif") as image:
        assert getattr(image, "n_frames", 1) > 1
    again = run("record", "--replay", "shown/episode.json", "--out", "shown/again.gif", cwd=trained)
    assert again.stdout == answer.stdout.replace("episode.gif", "again.gif")
    assert (trained / "shown" / "again.gif").read_bytes() == (
        trained / "shown" / "episode.gif"
    ).read_bytes()


def test_the_frames_command_writes_a_figure(tmp_path: Path) -> None:
    assert (
        run("frames", "--game", GAME, "--out", "new/frames.png", cwd=tmp_path).stdout
        == "new/frames.png\n"
    )
    with Image.open(tmp_path / "new" / "frames.png") as image:
        assert image.width > 4 * 160


def test_the_digest_of_a_run_is_reproducible(trained: Path) -> None:
    newest = ("digest", "last")
    named = ("digest", f"checkpoints/{GAME}/first")
    one, two = (run(*command, cwd=trained).stdout for command in (newest, named))
    assert one == two
    assert len(one.strip()) == 64


def test_a_network_is_exported_as_keras_onnx_and_savedmodel(trained: Path, tmp_path: Path) -> None:
    checkpoint = str(trained / "checkpoints" / GAME / "first")
    for name in ("agent.keras", "agent.onnx", "agent"):
        answer = (run if name == "agent" else run_in_process)(
            "export", checkpoint, "--out", name, cwd=tmp_path
        ).stdout
        assert f"{name}: Q-values of NOOP, FIRE, RIGHT, LEFT" in answer
        assert f"largest difference from the agent on 264 observations of {GAME}: " in answer
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "agent",
        "agent.keras",
        "agent.onnx",
    ]
    again = run_in_process("export", checkpoint, "--out", "agent", cwd=tmp_path, expect=2)
    assert "there is already a folder 'agent'" in again.stderr


def test_inter_op_and_environment_threads_do_not_change_the_result(tmp_path: Path) -> None:
    def train(name: str, steps: str, inter: str, environments: str) -> None:
        threads = [
            f"--machine.{kind}_threads={count}"
            for kind, count in (("inter_op", inter), ("environment", environments))
        ]
        command = ("train", "--game", GAME, "--total-steps", steps, "--run-dir", name)
        # The seed of Python's hashes differs between the two runs.
        start = run_anew if name == "one" else run
        start(*command, *SMALL, *threads, *intra_op, cwd=tmp_path)

    intra_op = ("--machine.intra_op_threads", "2")
    train("one", "800", "1", "1")
    train("two", "400", "1", "2")
    train("two", "800", "3", "1")
    digests = [
        run_in_process("digest", f"checkpoints/{GAME}/{name}", cwd=tmp_path).stdout
        for name in ("one", "two")
    ]
    assert digests[0] == digests[1]


def test_a_closed_pipe_causes_no_traceback(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "atari_dqn.cli", "games"]
    answer = subprocess.run(command, cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (answer.returncode, answer.stderr) == (1, "")


def test_a_random_agent_is_evaluated_and_recorded(tmp_path: Path) -> None:
    answer = run("random", "--game", GAME, "--episodes", "4", cwd=tmp_path)
    assert "agent             uniformly random actions" in answer.stdout
    assert "epsilon 1," in answer.stdout
    assert len(list((tmp_path / "videos" / GAME / "random").iterdir())) == 3 * 3 + 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_the_run_and_prints_how_to_continue(
    tmp_path: Path, number: signal.Signals
) -> None:
    command = ["train", "--game", GAME, "--run-dir", "stopped", *SMALL]
    process = forked.Process(command, tmp_path, env={**os.environ, "COLUMNS": "120"})
    metrics = tmp_path / "checkpoints" / GAME / "stopped" / "metrics.csv"
    while not metrics.is_file() or metrics.read_text().count("\n") < 3:
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.index("stopping after this step") < errors.index("and saved; to continue:")
    assert f"\n  atari-dqn train --game {GAME} --run-dir stopped\n" in errors
    (saved,) = (tmp_path / "checkpoints" / GAME / "stopped").glob("step-*/manifest.json")
    step = int(saved.parent.name.removeprefix("step-"))
    continued = run(
        "train", "--game", GAME, "--run-dir", "last", "--total-steps", str(step + 32), cwd=tmp_path
    )
    assert f"continuing at step {step:,}" in continued.stderr
    assert f"complete: {step + 32} agent steps" in continued.stdout


def test_the_games_command_lists_every_game(tmp_path: Path) -> None:
    lines = run("games", cwd=tmp_path).stdout.splitlines()
    assert len(lines) >= 104
    assert any(
        line.startswith("breakout ") and "BreakoutDeterministic-v4" in line for line in lines
    )


def test_the_config_command_prints_valid_toml_with_descriptions(tmp_path: Path) -> None:
    text = run("config", "--agent.gamma", "0.5", "nature", cwd=tmp_path).stdout
    settings = tomllib.loads(text)
    assert settings["agent"]["gamma"] == 0.5
    assert settings["replay"]["capacity"] == 1_000_000
    assert "agent steps" in text
    assert "Mnih et al. 2015" in text
