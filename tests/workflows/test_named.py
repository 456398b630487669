"""Tests which run or checkpoint a name means."""

import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atari_dqn.cli import main
from atari_dqn.commands import play
from atari_dqn.config.resolve import load_config
from atari_dqn.config.schema import Config
from atari_dqn.errors import UserError
from atari_dqn.evaluation.results import Episode, Evaluation
from atari_dqn.recording.episode_file import Origin, evaluation_json
from atari_dqn.runs import checkpoint
from atari_dqn.runs.directory import CONFIG
from atari_dqn.workflows import train
from atari_dqn.workflows.evaluate import EvaluationRequest, PlayerRequest
from atari_dqn.workflows.named import (
    known_scores,
    named_checkpoint,
    named_runs,
    typed_checkpoint,
)


class Home:
    """A directory of runs and one of recordings.

    Args:
        path: Directory that contains both.
    """

    def __init__(self, path: Path) -> None:
        self.root = path / "checkpoints"
        self.videos = path / "videos"
        self.age = 1_000.0

    def add(
        self, name: str, game: str, scores: dict[int, float | None], protocol: str | None = None
    ) -> Path:
        """Adds a run that is newer than all others.

        Args:
            name: Path of the run below the directory of runs.
            game: Environment id.
            scores: Score in training of each checkpoint by step, or None for no score.
            protocol: Protocol, or None for the game's own.
        """
        config, _ = load_config(game, protocol=protocol)
        run = self.root / name
        run.mkdir(parents=True)
        settings = config.to_toml()
        (run / CONFIG).write_text(settings, encoding="utf-8")
        for step, score in scores.items():
            notes = {} if score is None else {"evaluation": score}
            files = {CONFIG: lambda path: path.write_text(settings, encoding="utf-8")}
            checkpoint.save(run, step, checkpoint.Contents({"a": np.zeros(1)}, files, notes))
        self.age += 1_000
        os.utime(run, (self.age, self.age))
        return run

    def evaluate(self, path: Path, score: float, episodes: int, **changes: Any) -> None:
        """Writes an evaluation of a checkpoint."""
        config: Config = load_config(changes.pop("game"))[0]
        epsilon = changes.pop("epsilon", config.evaluation.epsilon)
        actions = np.zeros(3, np.uint8)
        played = [Episode(1, actions, score, 12, False, 0) for _ in range(episodes)]
        origin = Origin(
            "evaluation", path.parent.name, "default@1", str(path), checkpoint.step_of(path)
        )
        document = evaluation_json(Evaluation(config, played, epsilon, 1, ("A",)), origin)
        folder = self.videos / config.game.replace("/", "-") / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        number = len(list(folder.iterdir()))
        (folder / f"x_evaluation_{number}.json").write_text(json.dumps(document))

    def named(self, name: str | None, game: str | None = None) -> Path:
        return named_checkpoint(name, game, self.root, self.videos)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.chdir(tmp_path)
    return Home(Path())


def test_a_name_may_be_a_game_a_run_or_a_path(home: Home) -> None:
    pong = home.add("PongDeterministic-v4/a", "PongDeterministic-v4", {10: None})
    breakout = home.add("Breakout-v4/b", "Breakout-v4", {10: None})
    swept = home.add("sweep/ALE-Pong-v5/c", "ALE/Pong-v5", {10: None})
    cart = home.add("CartPole-v1/d", "CartPole-v1", {10: None})
    for name, run in (
        (None, cart),
        ("last", cart),
        ("breakout", breakout),
        ("cartpole", cart),
        ("Pong", swept),
        ("PongDeterministic-v4", pong),
        ("PongDeterministic-v0", swept),  # no run has this id
        ("a", pong),
        (str(pong), pong),
        (str(pong / "step-000000010"), pong / "step-000000010"),
    ):
        assert home.named(name) == run
    assert home.named("last", "pong") == swept
    assert home.named("last", "PongDeterministic-v4") == pong
    Path("breakout").mkdir()
    assert home.named("breakout") == Path("breakout")


def test_the_chosen_run_is_logged(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    run = home.add("Pong/a", "Pong", {10: 3.0})
    with caplog.at_level(logging.INFO):
        home.named("last")
        home.named("pong")
        home.named("best")
    assert caplog.messages == [
        f"newest run: {run}",
        f"newest run of pong: {run}",
        f"best of 1 evaluated checkpoint: step-000000010 of {run}, mean score 3.00 over 5 episodes "
        "(protocol tutorial)",
    ]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("brekout", "breakout"),
        ("lats", "last"),
        ("beste", "best"),
        ("checkpoints/Pong/defualt-seed1", "checkpoints/Pong/default-seed1"),
        ("defualt-seed1", "default-seed1"),
        ("checkpoints/Pong/default-seed1/step-10", "checkpoints/Pong/default-seed1/step-000000010"),
        ("checkpoints/relesed/pong", "checkpoints/released/pong"),
        ("Mountaincar-v0", "MountainCar-v0"),
    ],
)
def test_a_mistyped_name_is_an_error_with_the_nearest_name(
    home: Home, typed: str, meant: str
) -> None:
    home.add("Pong/default-seed1", "Pong", {10: None})
    (home.root / "released" / "pong").mkdir(parents=True)
    with pytest.raises(UserError, match=rf"no checkpoint at '{typed}'.*; did you mean '{meant}'\?"):
        home.named(typed)


def test_two_runs_of_one_name_are_not_chosen_between(home: Home) -> None:
    home.add("Pong/a", "Pong", {10: None})
    home.add("Breakout/a", "Breakout", {10: None})
    with pytest.raises(UserError, match="no checkpoint at 'a'"):
        home.named("a")


def test_best_is_the_checkpoint_with_the_best_known_score(home: Home) -> None:
    first = home.add("Pong/a", "Pong", {10: 3.0, 20: 9.0, 30: 5.0})
    second = home.add("Pong/b", "Pong", {10: 1.0, 20: None})
    home.add("Pong/damaged", "Pong", {10: 20.0})
    (home.root / "Pong/damaged/step-000000010/manifest.json").write_text("{}")
    assert home.named("best") == first / "step-000000020"
    # Another protocol, another seed's directory and fewer episodes do not count.
    home.evaluate(second / "step-000000020", 19.0, 30, game="Pong", epsilon=0.5)
    home.evaluate(first / "step-000000020", -20.0, 2, game="Pong")
    assert home.named("best", "pong") == first / "step-000000020"
    home.evaluate(second / "step-000000020", 10.0, 30, game="Pong")
    assert home.named("best") == second / "step-000000020"
    # More episodes replace a lucky score.
    home.evaluate(second / "step-000000020", 2.0, 40, game="Pong")
    (known,) = [one for one in known_scores(second, home.videos) if one.path.name[-2:] == "20"]
    assert (known.score, known.episodes) == (2.0, 40)
    assert home.named("best") == first / "step-000000020"


def test_best_of_several_games_compares_human_normalized_scores(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    pong = home.add("Pong/a", "Pong", {10: 14.6})  # as a human
    breakout = home.add("Breakout/b", "Breakout", {10: 20.0})  # below a human
    with caplog.at_level(logging.INFO):
        assert home.named("best") == pong / "step-000000010"
    assert "human-normalized 1.000" in caplog.text
    assert home.named("best", "breakout") == breakout / "step-000000010"
    cart = home.add("CartPole-v1/c", "CartPole-v1", {10: 500.0})
    with pytest.raises(
        UserError, match=r"CartPole-v1 has no human-normalized score.*--game chooses one of Cart"
    ):
        home.named("best")
    assert home.named("best", "cartpole") == cart / "step-000000010"


def test_best_without_an_evaluation_is_an_error(home: Home) -> None:
    home.add("Pong/a", "Pong", {10: None})
    with pytest.raises(UserError, match=r"no checkpoint of pong .*'atari-dqn eval pong' evaluates"):
        home.named("best", "pong")


def test_scores_of_other_protocols_are_marked(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    home.add("Pong/a", "Pong", {10: 3.0})
    home.add("Pong/b", "Pong", {10: 4.0}, protocol="dopamine")
    with caplog.at_level(logging.INFO):
        home.named("best")
    assert caplog.text.rstrip().endswith("(protocol dopamine, compared across protocols)")


def test_reports_accept_the_newest_run_and_games(home: Home) -> None:
    first = home.add("Pong/a", "Pong", {10: None})
    second = home.add("Pong/b", "Pong", {10: None})
    assert named_runs([Path("last")], home.root) == [second]
    assert named_runs([Path("pong"), Path("nowhere")], home.root) == [
        first,
        second,
        Path("nowhere"),
    ]


def test_a_run_that_is_given_twice_counts_once(home: Home) -> None:
    """Twice the same run would narrow the interval of a curve."""
    first = home.add("Pong/a", "Pong", {10: None})
    second = home.add("Pong/b", "Pong", {10: None})
    assert named_runs([first, first, second], home.root) == [first, second]
    assert named_runs([second, Path("last"), Path("pong")], home.root) == [second, first]


@pytest.mark.parametrize(
    ("words", "game"),
    [
        ([], None),
        (["last", "--game", "pong"], None),  # it only chooses the run
        (["last", "--game", "pong", "--protocol", "dopamine"], "pong"),
        (["best", "--game", "PongDeterministic-v4"], "PongDeterministic-v4"),
        (["pong", "--game", "pong"], "pong"),
    ],
)
def test_a_bare_name_only_chooses_a_run(
    home: Home, monkeypatch: pytest.MonkeyPatch, words: list[str], game: str | None
) -> None:
    run = home.add("Pong/a", "Pong", {10: 3.0})
    requests: list[PlayerRequest] = []

    def stand_in(player: PlayerRequest, request: EvaluationRequest) -> list[str]:
        requests.append(player)
        return []

    monkeypatch.setattr(play, "evaluate_checkpoint", stand_in)
    assert main(["eval", *words]) == 0
    assert requests[0].game == game
    assert requests[0].checkpoint in (run, run / "step-000000010")


@pytest.mark.parametrize(
    ("name", "question"),
    [
        ("fisrt", "; did you mean 'first'?"),
        ("second", "; did you mean 'checkpoints/Pong/second'?"),
        ("zzz", ""),
    ],
)
def test_a_name_that_begins_a_new_run_is_reported(
    home: Home,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    question: str,
) -> None:
    home.add("PongDeterministic-v4/first", "PongDeterministic-v4", {10: None})
    home.add("Pong/second", "Pong", {10: None})

    def stand_in(job: Any) -> train.RunOutcome:
        return train.RunOutcome(
            train.RunState.COMPLETE, job.directory, job.config, 0, job.directory
        )

    monkeypatch.setattr(train, "_train", stand_in)
    assert main(["train", "--game", "PongDeterministic-v4", "--run-dir", name]) == 0
    errors = capsys.readouterr().err
    assert f"note: this is a new run: checkpoints/PongDeterministic-v4/{name}{question}\n" in errors


def test_a_run_of_another_game_is_not_continued(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    run = home.add("Breakout/first", "Breakout", {10: None})
    assert main(["train", "--game", "pong", "--run-dir", str(run)]) == 2
    assert "error: " in capsys.readouterr().err


def test_a_suggested_name_means_the_run_and_anything_else_is_a_path(home: Home) -> None:
    only, pong, twice, other, step = (
        home.add(f"Pong/{name}", "Pong", {10: None}) for name in ("only", "pong", "twice", "a", "b")
    )
    home.add("Breakout/twice", "breakout", {10: None})
    assert typed_checkpoint(only, home.root) == "only"
    for path in (pong, twice, only / "step-000000010", home.root / "Pong" / "missing"):
        assert typed_checkpoint(path, home.root) == path.as_posix()
    for path in (only, pong, twice, other, step):
        typed = typed_checkpoint(path, home.root)
        assert named_checkpoint(typed, None, home.root, home.videos) == path
