"""What happens to a run when its files, or those of a stranger, are not what they should be; and
when it is killed.
"""

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
    """One bit in the middle is another."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.fixture
def run_directory(continued: Path, tmp_path: Path) -> Path:
    return shutil.copytree(
        continued / "checkpoints" / GAME / "first", tmp_path / "checkpoints" / GAME / "first"
    )


@pytest.mark.parametrize("name", [*FILES, "step-000001040/manifest.json"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(
    run_directory: Path, capsys: pytest.CaptureFixture[str], name: str, damage: str
) -> None:
    DAMAGES[damage](run_directory / name)
    with log_to_standard_error():
        stored = newest_sound(checkpoint.in_run(run_directory))
    assert stored is not None
    assert stored.step == 960
    said = capsys.readouterr().err
    if (name, damage) == ("step-000001040/manifest.json", "missing"):
        assert said == "", "a checkpoint without a manifest was never complete"
    else:
        assert f"damaged checkpoint: {run_directory / name} is" in said
        assert "the previous checkpoint is used" in said


@pytest.mark.parametrize("damage", DAMAGES)
def test_without_any_sound_checkpoint_the_damage_is_the_answer(
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


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one_and_ends_the_same(
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


def test_an_agent_needs_nothing_but_its_own_checkpoint(run_directory: Path, tmp_path: Path) -> None:
    alone = shutil.copytree(run_directory / "step-000001040", tmp_path / "agent")
    assert load_agent(alone).updates == load_agent(run_directory).updates > 0
    with pytest.raises(UserError, match=r"damaged checkpoint: .*replay/000000960.npz is missing"):
        checkpoint.load(alone)


class Trap:
    """Unpickling it would make a file."""

    def __init__(self, sprung: Path) -> None:
        self._sprung = sprung

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self._sprung,))


def vouch(run_directory: Path) -> None:
    """Makes the manifest of the newest checkpoint say that every file is what was written, as an
    attacker would.
    """
    path = checkpoint.in_run(run_directory)[-1] / checkpoint.MANIFEST
    manifest = json.loads(path.read_text())
    del manifest["sha256"]
    for folder, kind in ((path.parent, "files"), (run_directory / "replay", "shared")):
        for name, entry in manifest[kind].items():
            content = (folder / name).read_bytes()
            entry.update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    manifest["sha256"] = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(manifest))


def test_a_pickle_is_not_loaded(run_directory: Path, tmp_path: Path) -> None:
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
            vouch(run_directory)
            refuse(run_directory, file)
        file.write_bytes(pickle.dumps(trap[0]))
        vouch(run_directory)
        refuse(run_directory, file)
        file.write_bytes(sound)
    vouch(run_directory)
    assert load_agent(run_directory).updates > 0, (
        "the attacker's own checksums are no obstacle to what is harmless"
    )
    assert not sprung.exists()


def refuse(run_directory: Path, file: Path) -> None:
    """Everything that a continued run reads, up to the file that is refused."""

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
    assert sprung.exists(), "the trap works"
    sprung.unlink()
    vouch(run_directory)
    user = run_directory.parents[2]
    run("record", f"checkpoints/{GAME}/first", "--out", "episode.gif", "--epsilon", "1", cwd=user)
    run("train", "--game", GAME, "--run-dir", "first", "--total-steps", "1120", cwd=user)
    assert not sprung.exists()


def test_settings_that_name_a_module_import_nothing(run_directory: Path, tmp_path: Path) -> None:
    (tmp_path / "trap.py").write_text("from pathlib import Path\nPath('sprung').touch()\n")
    config = run_directory / FILES[2]
    config.write_text(config.read_text().replace(f'game = "{GAME}"', 'game = "trap:Env-v0"'))
    vouch(run_directory)
    answer = run("eval", f"checkpoints/{GAME}/first", cwd=tmp_path, expect=2)
    assert "unknown game 'trap:Env-v0'" in answer.stderr
    assert not (tmp_path / "sprung").exists()


def test_a_killed_run_ends_as_one_that_was_left_alone(tmp_path: Path) -> None:
    """The short form of 'make torture', on a game with sticky actions that cannot be restored by
    copying its emulator.
    """
    outcome = torture(
        "QbertDeterministic-v0", "default", steps=2_000, kills=3, seed=1, directory=tmp_path
    )
    assert outcome.kills >= 3
    assert outcome.while_writing >= 1
    assert outcome.same


@pytest.mark.slow
@pytest.mark.parametrize("recipe", FAMILY)
def test_a_killed_run_of_any_recipe_ends_as_one_that_was_left_alone(
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
