"""Tests runs with damaged files, with malicious files, and after being killed."""

import csv
import hashlib
import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from atari_dqn import load_agent
from atari_dqn.console import log_to_standard_error
from atari_dqn.errors import UserError
from atari_dqn.replay.frame_files import FrameFiles
from atari_dqn.runs import checkpoint
from atari_dqn.workflows.train import newest_sound
from tests import forked
from tests.acceptance.commands import GAME, run
from tests.config.test_resolve import FAMILY
from tests.torture import TASKS, torture

DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": lambda file: file.unlink(),
    "truncated": lambda file: os.truncate(file, file.stat().st_size // 2),
    "flipped": lambda file: file.write_bytes(flipped(file.read_bytes())),
}
FILES = (
    "step-000001040/arrays.npz",
    "step-000001040/network.keras",
    "step-000001040/config.toml",
    "replay/000001040.npz",
)


def flipped(content: bytes) -> bytes:
    """Flips one bit in the middle."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.fixture
def run_directory(continued: Path, tmp_path: Path) -> Path:
    return shutil.copytree(
        continued / "checkpoints" / GAME / "first", tmp_path / "checkpoints" / GAME / "first"
    )


@pytest.mark.parametrize("name", [*FILES, "step-000001040/manifest.json"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_reported_and_the_previous_one_is_used(
    run_directory: Path, capsys: pytest.CaptureFixture[str], name: str, damage: str
) -> None:
    DAMAGES[damage](run_directory / name)
    with log_to_standard_error():
        stored = newest_sound(checkpoint.in_run(run_directory))
    assert stored is not None
    assert stored.step == 960
    printed = capsys.readouterr().err
    if (name, damage) == ("step-000001040/manifest.json", "missing"):
        assert printed == "", "a checkpoint without a manifest was never complete"
    else:
        assert f"damaged checkpoint: {run_directory / name} is" in printed
        assert "the previous checkpoint is used" in printed


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_run_without_any_intact_checkpoint_is_an_error_and_deletes_nothing(
    run_directory: Path, damage: str
) -> None:
    needed_by_both = run_directory / "replay" / "000000960.npz"
    DAMAGES[damage](needed_by_both)
    answer = run(
        "train",
        "--game",
        GAME,
        "--run-dir",
        "first",
        "--total-steps",
        "1120",
        cwd=run_directory.parents[2],
        expect=2,
    )
    assert answer.stderr.splitlines()[-1].startswith("error: damaged checkpoint: ")
    assert "replay/000000960.npz is" in answer.stderr.splitlines()[-1]
    assert len(checkpoint.in_run(run_directory)) == 2, "nothing is deleted"


def test_a_run_continued_from_before_a_damaged_checkpoint_has_the_same_digest(
    continued: Path, run_directory: Path, tmp_path: Path
) -> None:
    DAMAGES["flipped"](run_directory / "step-000001040" / "manifest.json")
    sound = shutil.copytree(continued, tmp_path / "sound")
    digests = []
    for user in (sound, run_directory.parents[2]):
        answer = run(
            "train", "--game", GAME, "--run-dir", "first", "--total-steps", "1120", cwd=user
        )
        digests.append(run("digest", f"checkpoints/{GAME}/first", cwd=user).stdout)
    assert re.search(
        r"damaged checkpoint: .*manifest.json is .*; the previous checkpoint is used",
        answer.stderr,
    )
    assert "continuing at step 960" in answer.stderr
    assert digests[0] == digests[1]


def test_an_agent_needs_only_its_own_checkpoint_folder(run_directory: Path, tmp_path: Path) -> None:
    alone = shutil.copytree(run_directory / "step-000001040", tmp_path / "agent")
    assert load_agent(alone).updates == load_agent(run_directory).updates > 0
    with pytest.raises(UserError, match=r"damaged checkpoint: .*replay/000000960.npz is missing"):
        checkpoint.load(alone)


class Trap:
    """An object that creates a file when it is unpickled."""

    def __init__(self, sprung: Path) -> None:
        self._sprung = sprung

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self._sprung,))


def forge_checksums(run_directory: Path) -> None:
    """Updates the checksums in the newest manifest to match the files, as an attacker would."""
    path = checkpoint.in_run(run_directory)[-1] / checkpoint.MANIFEST
    manifest = json.loads(path.read_text())
    del manifest["sha256"]
    for folder, kind in ((path.parent, "files"), (run_directory / "replay", "shared")):
        for name, entry in manifest[kind].items():
            content = (folder / name).read_bytes()
            entry.update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    manifest["sha256"] = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(manifest))


def test_a_pickle_in_a_checkpoint_is_not_loaded(run_directory: Path, tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    trap = np.empty(1, object)
    trap[0] = Trap(sprung)
    arrays = run_directory / FILES[0]
    frames = run_directory / FILES[3]
    for file, content in (
        (arrays, checkpoint.read_arrays(arrays)),
        (frames, checkpoint.read_arrays(frames)),
    ):
        sound = file.read_bytes()
        for name in (next(iter(content)), "another"):
            np.savez(file, **(content | {name: trap}))  # type: ignore[arg-type]
            forge_checksums(run_directory)
            assert_refused(run_directory, file)
        file.write_bytes(pickle.dumps(trap[0]))
        forge_checksums(run_directory)
        assert_refused(run_directory, file)
        file.write_bytes(sound)
    forge_checksums(run_directory)
    assert load_agent(run_directory).updates > 0, "harmless files with updated checksums must load"
    assert not sprung.exists()


def assert_refused(run_directory: Path, file: Path) -> None:
    """Reads everything that a continued run reads, and expects the file to be refused."""

    def read() -> None:
        stored = checkpoint.load(run_directory)
        files = FrameFiles(run_directory)
        files.restore(stored.shared, stored.arrays["frame_files"])
        list(files.read())

    with pytest.raises(UserError, match=f"{file.name} is not a plain archive of arrays"):
        read()


def test_a_keras_file_that_runs_code_is_not_loaded(run_directory: Path, tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    path = str(sprung)
    trap = keras.layers.Lambda(
        lambda x: [__import__("pathlib").Path(path).open("w"), x][1], output_shape=(4,)
    )
    keras.Sequential([keras.Input((4,)), trap]).save(run_directory / FILES[1])
    keras.models.load_model(run_directory / FILES[1], safe_mode=False)(np.zeros((1, 4)))
    assert sprung.exists(), "the trap must work when Keras's safe mode is off"
    sprung.unlink()
    forge_checksums(run_directory)
    user = run_directory.parents[2]
    run("record", f"checkpoints/{GAME}/first", "--out", "episode.gif", "--epsilon", "1", cwd=user)
    run("train", "--game", GAME, "--run-dir", "first", "--total-steps", "1120", cwd=user)
    assert not sprung.exists()


def test_a_game_id_that_names_a_module_is_not_imported(run_directory: Path, tmp_path: Path) -> None:
    (tmp_path / "trap.py").write_text("from pathlib import Path\nPath('sprung').touch()\n")
    config = run_directory / FILES[2]
    config.write_text(config.read_text().replace(f'game = "{GAME}"', 'game = "trap:Env-v0"'))
    forge_checksums(run_directory)
    answer = run("eval", f"checkpoints/{GAME}/first", cwd=tmp_path, expect=2)
    assert "unknown game 'trap:Env-v0'" in answer.stderr
    assert not (tmp_path / "sprung").exists()


def test_a_killed_run_continues_to_the_same_digest(tmp_path: Path) -> None:
    """A short form of 'make torture', on a game with sticky actions.

    Such a game cannot be restored by copying the state of its emulator.
    """

    def start(arguments: list[str]) -> forked.Process:
        return forked.Process(arguments, tmp_path)

    options: dict[str, Any] = {"steps": 2_000, "kills": 3, "seed": 1, "directory": tmp_path}
    outcome = torture("QbertDeterministic-v0", "default", **options, start=start)
    assert outcome.kills >= 3
    assert outcome.while_writing >= 1
    assert outcome.same


@pytest.mark.slow
@pytest.mark.parametrize("recipe", FAMILY)
def test_a_killed_run_of_any_recipe_continues_to_the_same_digest(
    recipe: str, tmp_path: Path
) -> None:
    task = TASKS[FAMILY.index(recipe) % len(TASKS)]
    outcome = torture(task, recipe, steps=2_000, kills=2, seed=1, directory=tmp_path)
    assert outcome.kills == 2
    assert outcome.same
    with (tmp_path / task / "killed" / "metrics.csv").open(encoding="utf-8") as file:
        last = list(csv.DictReader(file))[-1]
    assert int(last["updates"]) >= 100
    assert float(last["loss"]) > 0
