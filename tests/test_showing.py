"""Failures while evaluating, recording or showing never end or delay training."""

import os
import random
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from atari_dqn.backend.arrays import stacks_last
from atari_dqn.backend.keras_backend import keras
from atari_dqn.commands import play as playing
from atari_dqn.config.resolve import load_config
from atari_dqn.config.schema import Config
from atari_dqn.console import STANDARD_ERROR, log_to_standard_error
from atari_dqn.errors import UserError
from atari_dqn.evaluation.evaluate import evaluate
from atari_dqn.recording import render
from atari_dqn.recording.render import EpisodeChangedError, write_recording, write_recordings
from atari_dqn.runs import checkpoint
from atari_dqn.runs.signals import StopOnSignals
from atari_dqn.training import periodic_evaluation
from atari_dqn.training.loop import PeriodicTask, Training
from tests.acceptance.commands import run_in_process


class UnseededEnvironment(gymnasium.Env[Any, Any]):
    """Episodes whose rewards or lengths do not depend on the seed."""

    metadata = {"render_modes": [], "render_fps": 5}  # noqa: RUF012
    observation_space = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
    action_space = gymnasium.spaces.Discrete(3)

    def __init__(self, render_mode: str | None = None, length: bool = False) -> None:
        self.render_mode = render_mode
        self._length = length

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._left = random.randint(3, 30) if self._length else 8
        return np.zeros(3, np.float32), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._left -= 1
        earned = 1.0 if self._length else random.random()
        return np.zeros(3, np.float32), earned, self._left == 0, False, {}


gymnasium.register("LuckyRewards-v0", f"{__name__}:UnseededEnvironment")
gymnasium.register("LuckyLengths-v0", f"{__name__}:UnseededEnvironment", kwargs={"length": True})


def settings(game: str = "CartPole-v1", **changes: object) -> Config:
    small = {
        "training.total_steps": 400,
        "training.environments": 4,
        "training.warmup_steps": 400,
        "training.update_period": 4,
        "network.mlp_layers": [16],
        "training.evaluation_period": 100,
        "training.checkpoint_period": 100,
        "training.evaluation_episodes": 2,
        "training.keep_checkpoints": 9,
        "evaluation.frame_cap": 40,
        "replay.capacity": 2000,
    }
    named = {name.replace("__", "."): value for name, value in changes.items()}
    return load_config(game, "cartpole", overrides=small | named)[0]


def train(tmp_path: Path, config: Config) -> Training:
    training = Training(config, tmp_path / "run", tmp_path / "videos")
    with log_to_standard_error():
        assert training.run()
    return training


@pytest.mark.parametrize("game", ["LuckyRewards-v0", "LuckyLengths-v0"])
def test_an_environment_that_ignores_its_seed_is_scored_but_not_recorded(
    game: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path, settings(game, training__evaluation_period=200))
    notes = capsys.readouterr().err
    assert notes.count("evaluation mean ") == 2
    assert notes.count("; not recorded: replaying the episode's seed and actions") == 2
    assert not list(tmp_path.glob("videos/**/*.*")), "no partial files may be left"
    rows = (tmp_path / "run" / "evaluations.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["steps", "200", "400"]


def no_encoder(tmp_path: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "nowhere"))


def encoder_dies(tmp_path: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("IMAGEIO_FFMPEG_EXE", shutil.which("false") or "false")


def file_instead_of_folder(tmp_path: Path, patch: pytest.MonkeyPatch) -> None:
    (tmp_path / "videos").write_text("mine")


def failing(*arguments: Any, **options: Any) -> Any:
    raise ZeroDivisionError("of somebody's own code")


def evaluation_fails(tmp_path: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(periodic_evaluation, "evaluate", failing)


def rendering_fails(tmp_path: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(render, "make_game", failing)


FAULTS: dict[str, tuple[Callable[[Path, pytest.MonkeyPatch], None], str]] = {
    "no encoder": (no_encoder, ".mp4' could not be written: "),
    "an encoder that dies": (encoder_dies, ".mp4' could not be written: "),
    "a file for the folder": (file_instead_of_folder, "; not recorded: '"),
    "a failing evaluation": (evaluation_fails, "no evaluation: ZeroDivisionError: of somebody's"),
    "failing rendering": (rendering_fails, "; not recorded: ZeroDivisionError: of somebody's own"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failed_evaluation_or_recording_is_a_note_and_training_continues(
    fault: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    prepare, expected = FAULTS[fault]
    prepare(tmp_path, monkeypatch)
    training = train(tmp_path, settings(training__total_steps=200))
    notes = capsys.readouterr().err + caplog.text
    assert notes.count(expected) == 2, "each evaluation must print one note"
    assert training.steps == 200
    assert [path.name for path in checkpoint.in_run(tmp_path / "run")] == [
        "step-000000100",
        "step-000000200",
    ]
    suffixes = {path.suffix for path in tmp_path.glob("videos/*")}
    assert suffixes == ({".gif", ".json"} if "encoder" in fault else set())
    assert not list(tmp_path.glob("videos/.*"))
    traceback = tmp_path / "run" / "errors.log"
    assert traceback.exists() == (fault == "a failing evaluation")
    if traceback.exists():
        assert "in failing\n" in traceback.read_text()


def test_a_deleted_folder_of_recordings_is_created_again(tmp_path: Path) -> None:
    config = settings(training__total_steps=200)
    training = Training(config, tmp_path / "run", tmp_path / "videos")
    save = training.save

    def save_and_delete() -> None:
        save()
        shutil.rmtree(tmp_path / "videos", ignore_errors=True)

    training.periodic_tasks[1] = PeriodicTask(100, "checkpoint", save_and_delete)
    assert training.run()
    assert len(list((tmp_path / "videos").glob("*.gif"))) == 1


def test_a_checkpoint_is_written_before_its_evaluation_and_then_stores_the_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []

    def evaluated(agent: Any, origin: Any, *rest: Any) -> float:
        found.append((origin.steps, [path.name for path in checkpoint.in_run(tmp_path / "run")]))
        return float(origin.steps)

    monkeypatch.setattr("atari_dqn.training.loop.evaluate_shortly", evaluated)
    train(tmp_path, settings(training__total_steps=250))
    names = ["step-000000100", "step-000000200", "step-000000252"]
    assert found == [(100, names[:1]), (200, names[:2]), (252, names)]
    for path in checkpoint.in_run(tmp_path / "run"):
        stored = checkpoint.load(path)
        assert stored.notes["evaluation"] == stored.step


class SignalingPolicy:
    """A policy that counts its steps and sends a signal to its own process at the third step."""

    def __init__(self, number: signal.Signals) -> None:
        self._number = number
        self.steps = 0

    def __call__(self, observations: Any) -> Any:
        self.steps += 1
        if self.steps == 3:
            os.kill(os.getpid(), self._number)
        return np.zeros(len(observations), np.int32)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_interrupts_an_evaluation_which_the_continued_run_repeats(
    number: signal.Signals, tmp_path: Path
) -> None:
    config = settings(training__total_steps=200)
    training = Training(config, tmp_path / "run", tmp_path / "videos")
    policy = SignalingPolicy(number)
    training.agent.act = policy  # type: ignore[method-assign]
    assert not training.run()
    assert (training.steps, policy.steps) == (100, 3)
    assert (tmp_path / "run" / "evaluations.csv").read_text() == ""

    again = Training(config, tmp_path / "run", tmp_path / "videos")
    again.restore(checkpoint.load(tmp_path / "run"))
    assert again.run()
    whole = train(tmp_path / "whole", config)
    ours, expected = (
        {name: array.tolist() for name, array in each.arrays().items() if name != "evaluation"}
        for each in (again, whole)
    )
    assert ours == expected
    rows = [
        (folder / "run" / "evaluations.csv").read_text()
        for folder in (tmp_path, tmp_path / "whole")
    ]
    assert rows[0] == rows[1]
    assert rows[0].count("\n") == 3


def test_an_interrupted_last_evaluation_is_repeated(tmp_path: Path) -> None:
    config = settings(training__total_steps=40)
    training = Training(config, tmp_path / "run", tmp_path / "videos")
    act = training.agent.act
    training.agent.act = SignalingPolicy(signal.SIGINT)  # type: ignore[method-assign]
    assert not training.run()
    assert training.steps == 40
    training.agent.act = act  # type: ignore[method-assign]
    assert training.run()
    assert checkpoint.load(tmp_path / "run").notes["evaluation"] == training.evaluation
    assert (tmp_path / "run" / "evaluations.csv").read_text().count("\n") == 2


def test_the_score_of_an_evaluation_is_not_written_into_a_linked_checkpoint(tmp_path: Path) -> None:
    training = train(tmp_path, settings(training__total_steps=40, training__evaluation_period=0))
    (saved,) = checkpoint.in_run(tmp_path / "run")
    away = saved.rename(tmp_path / "away")
    saved.symlink_to(away)
    before = (away / checkpoint.MANIFEST).read_bytes()
    assert training.saved_at == 40
    again = Training(settings(training__total_steps=40), tmp_path / "run", tmp_path / "videos")
    again.restore(checkpoint.load(saved))
    assert again.run()
    assert (tmp_path / "run" / "evaluations.csv").read_text().count("\n") == 2
    assert (away / checkpoint.MANIFEST).read_bytes() == before


def test_a_signal_interrupts_a_recording_and_leaves_no_partial_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    replay_screens = render.replay_screens

    def stopping(game: Any, episode: Any) -> Any:
        for screen in replay_screens(game, episode):
            seen.append(screen)
            if len(seen) == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            yield screen

    monkeypatch.setattr(render, "replay_screens", stopping)
    training = Training(settings(training__total_steps=200), tmp_path / "run", tmp_path / "videos")
    assert not training.run()
    assert len(seen) == 3
    assert list((tmp_path / "videos").iterdir()) == []
    assert (tmp_path / "run" / "evaluations.csv").read_text() == ""


def test_a_stopped_run_can_be_continued_from_python(tmp_path: Path) -> None:
    config = settings(training__total_steps=600, training__evaluation_period=0)
    training = Training(config, tmp_path / "run", tmp_path / "videos")
    step = training.step

    def stopping(observation: Any) -> Any:
        if training.steps == 480:
            os.kill(os.getpid(), signal.SIGINT)
        return step(observation)

    training.step = stopping  # type: ignore[method-assign]
    assert not training.run()
    assert training.steps == 484
    training.step = step  # type: ignore[method-assign]
    assert training.run()
    assert training.steps == 600
    assert training.run(), "running a complete run again must succeed"


def test_a_run_stopped_while_graphs_are_built_is_saved_unchanged(tmp_path: Path) -> None:
    config = settings(training__total_steps=480, training__evaluation_period=0)
    training = Training(config, tmp_path / "run", tmp_path / "videos")
    take_steps = training.agent._take_steps
    restore = training.agent.restore
    saved = threading.Event()
    calls: list[None] = []

    def stopping(*arguments: Any) -> Any:
        answer = take_steps(*arguments)
        calls.append(None)
        if len(calls) == 1:
            for variable in training.agent.online.weights.variables:
                variable.assign(variable + 1.0)  # stands for a change by learning
            os.kill(os.getpid(), signal.SIGINT)
        return answer

    def restoring(arrays: Any) -> None:
        saved.wait()
        restore(arrays)

    training.agent._take_steps = stopping  # type: ignore[method-assign, assignment]
    training.agent.restore = restoring  # type: ignore[method-assign]
    assert not training.run()
    assert training.steps <= config.training.warmup_steps
    saved.set()
    again = Training(config, tmp_path / "run", tmp_path / "videos")
    stored = checkpoint.load(tmp_path / "run")
    assert again.restore(stored)
    observations = np.random.default_rng(1).normal(size=(8, 1, 4)).astype(np.float32)
    network = keras.models.load_model(stored.path / "network.keras")
    values = again.agent.values(observations)
    np.testing.assert_allclose(network(stacks_last(observations)), values, rtol=1e-4, atol=1e-5)
    assert again.run()
    whole = train(tmp_path / "whole", config)
    assert training.run(), "the stopped run can also continue in the same process"
    for name, array in whole.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array)
        np.testing.assert_array_equal(training.arrays()[name], array)


def test_a_closed_reader_of_standard_error_requests_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with StopOnSignals() as stop:
        assert not stop.requested
        monkeypatch.setattr(STANDARD_ERROR, "reader_gone", True)
        assert stop.requested


@pytest.mark.parametrize(("kind", "limit"), [("gif", "max_seconds"), ("mp4", "max_mp4_seconds")])
def test_recordings_are_cut_at_their_maximum_duration(
    kind: str, limit: str, tmp_path: Path
) -> None:
    config, _ = load_config("CliffWalking-v1", "cartpole", overrides={f"recording.{limit}": 2})
    config = config.model_copy(
        update={"evaluation": config.evaluation.model_copy(update={"frame_cap": 40})}
    )
    result = evaluate(
        lambda seen: np.zeros(len(seen), np.int32), config, seed=1, episodes=1, epsilon=0.0
    )
    recorded = write_recording(tmp_path / f"a.{kind}", config, result.episodes[0])
    assert recorded.seconds == pytest.approx(2, abs=0.3)
    assert recorded.episode_seconds == pytest.approx(40 / recorded.screens_per_second)


def test_an_evaluation_is_kept_when_its_recordings_fail(tmp_path: Path) -> None:
    out = run_in_process("random", "--game", "LuckyRewards-v0", "--episodes", "3", cwd=tmp_path)
    assert "score             mean " in out.stdout
    assert (
        out.stderr.count("note: the ")
        == out.stderr.count("is not recorded: replaying the episode")
        >= 2
    )
    (written,) = tmp_path.glob("videos/*/*/*")
    assert written.name.endswith("_evaluation_classic_seed1.json")


def test_recording_an_episode_that_cannot_be_reproduced_is_an_error(tmp_path: Path) -> None:
    config = settings("LuckyRewards-v0")
    result = evaluate(lambda seen: np.zeros(len(seen), np.int32), config, seed=1, episodes=1)
    with pytest.raises(EpisodeChangedError, match="gave a different episode"):
        write_recording(tmp_path / "a.gif", config, result.episodes[0])
    assert list(tmp_path.iterdir()) == []


def test_a_recording_replaces_a_link_but_not_its_target(tmp_path: Path) -> None:
    config = settings()
    result = evaluate(lambda seen: np.zeros(len(seen), np.int32), config, seed=1, episodes=1)
    precious = tmp_path / "precious"
    precious.write_text("mine")
    paths: dict[Any, Path] = {kind: tmp_path / f"a.{kind}" for kind in ("gif", "mp4")}
    for path in paths.values():
        path.symlink_to(precious)
        path.with_name(f".writing-{path.name}").symlink_to(precious)
    write_recordings(paths, config, result.episodes[0])
    assert precious.read_text() == "mine"
    assert not any(path.is_symlink() for path in tmp_path.iterdir())


def test_no_child_process_inherits_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inherited = []
    begin = subprocess.Popen.__init__

    def watched(process: Any, command: Any, *arguments: Any, **options: Any) -> None:
        from_nothing = os.path.samestat(os.stat(0), Path(os.devnull).stat())
        if options.get("stdin") is None and not from_nothing:
            inherited.append(command)
        begin(process, command, *arguments, **options)

    with Path(__file__).open() as own:
        kept = os.dup(0)
        os.dup2(own.fileno(), 0)  # a standard input that could be read
        try:
            monkeypatch.setattr(subprocess.Popen, "__init__", watched)
            config = settings()
            result = evaluate(
                lambda seen: np.zeros(len(seen), np.int32), config, seed=1, episodes=1
            )
            write_recording(tmp_path / "a.mp4", config, result.episodes[0])
            with pytest.raises(UserError):
                playing.watch(_watch_options())
        finally:
            os.dup2(kept, 0)
            os.close(kept)
    assert inherited == []


def _watch_options() -> Any:
    """Removes the display from the environment and returns options of ``watch``."""
    from argparse import Namespace

    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        os.environ.pop(name, None)
    return Namespace(checkpoint="random", game=None, protocol=None)
