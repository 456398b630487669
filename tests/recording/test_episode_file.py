"""Tests the JSON files of evaluations and recordings."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atari_dqn.config.resolve import load_config
from atari_dqn.errors import UserError
from atari_dqn.evaluation.evaluate import evaluate
from atari_dqn.evaluation.results import Evaluation
from atari_dqn.recording.episode_file import (
    RANDOM_PLAY,
    Ending,
    EvaluatedEpisode,
    EvaluationFile,
    RecordedFile,
    RecordingFile,
    evaluation_json,
    parse,
    read_episode,
)
from tests.gallery import samples


def evaluated() -> Evaluation:
    config, _ = load_config("CartPole-v1", overrides={"evaluation.frame_cap": 20})
    return evaluate(
        lambda observations: np.zeros(len(observations), np.int32), config, seed=1, episodes=3
    )


def test_an_evaluation_file_can_be_read_back() -> None:
    result = evaluated()
    document = evaluation_json(result, RANDOM_PLAY)
    file = parse(json.dumps(document))
    assert isinstance(file, EvaluationFile)
    assert (file.run, file.source, file.steps) == ("random", "random", 0)
    numbers: dict[str, Any] = dict(result.statistics())
    del numbers["mean_length_steps"]
    assert file.statistics.model_dump() == numbers
    assert file.protocol.conditions()["epsilon"] == f"{result.epsilon:g}"


def test_a_recording_file_can_be_read_back_by_both_readers(tmp_path: Path) -> None:
    episode = EvaluatedEpisode.of_rank(evaluated(), "median", RANDOM_PLAY)
    files: dict[Ending, RecordedFile] = {"gif": RecordedFile(name="a:b.gif", seconds=1.0)}
    described = episode.describe(files, screens_per_second=50)
    described.write(tmp_path / "a.json")
    assert read_episode(tmp_path / "a.json") == described
    with pytest.raises(UserError, match="not a plain file name"):
        parse((tmp_path / "a.json").read_text())
    document = json.loads((tmp_path / "a.json").read_text())
    document["files"]["gif"]["name"] = "a.gif"
    summary = parse(json.dumps(document))
    assert isinstance(summary, RecordingFile)
    assert (summary.episode.score, summary.rank) == (episode.episode.score, "median")


def test_settings_missing_in_an_old_recording_get_their_default_values(
    tmp_path: Path,
) -> None:
    samples.write_json(tmp_path / "old.json", samples.recording())
    environment = read_episode(tmp_path / "old.json").protocol.environment
    assert environment["sticky_probability"] == 0
    assert environment["rescale"] is False
    assert "frame_cap" not in environment


def test_recordings_with_unknown_fields_are_listed_but_not_replayed(tmp_path: Path) -> None:
    document = samples.recording(
        more=1,
        protocol=samples.protocol(environment={"gravity": 9.8}),
        files={"mp4": {"name": "a.mp4", "seconds": 1.0}, "gif": None, "webm": 3},
    )
    file = parse(json.dumps(document))
    assert isinstance(file, RecordingFile)
    assert list(file.files) == ["mp4"]
    assert file.protocol.conditions()["gravity"] == "9.8"
    samples.write_json(tmp_path / "new.json", samples.recording(more=1))
    with pytest.raises(UserError, match="more: Extra inputs are not permitted"):
        read_episode(tmp_path / "new.json")
    samples.write_json(
        tmp_path / "new.json",
        samples.recording(protocol=samples.protocol(environment={"gravity": 9.8})),
    )
    with pytest.raises(UserError, match=r"protocol\.environment\.gravity: Extra inputs"):
        read_episode(tmp_path / "new.json")
