"""Tests saving, loading and pruning checkpoints."""

import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atari_dqn.errors import UserError
from atari_dqn.runs import checkpoint

ARRAYS = {"weights": np.arange(12, dtype=np.float32).reshape(3, 4), "counters": np.array([5, 7])}


def write(run: Path, step: int, arrays: dict[str, Any] = ARRAYS) -> Path:
    return checkpoint.save(
        run,
        step,
        checkpoint.Contents(
            arrays, {"config.toml": lambda path: path.write_text("game = 'pong'\n")}, {"step": step}
        ),
    )


def test_a_saved_checkpoint_is_loaded_unchanged(tmp_path: Path) -> None:
    path = write(tmp_path, 40)
    stored = checkpoint.load(path)
    assert stored.path == path == tmp_path / "step-000000040"
    assert (stored.step, stored.notes) == (40, {"step": 40})
    assert checkpoint.step_of(path) == 40
    assert checkpoint.digest(stored.arrays) == checkpoint.digest(ARRAYS)


def test_loading_a_run_loads_its_newest_complete_checkpoint(tmp_path: Path) -> None:
    write(tmp_path, 40)
    newest = write(tmp_path, 1000)
    half = tmp_path / "step-000002000"
    half.mkdir()
    (half / "arrays.npz").write_bytes(b"half")
    assert checkpoint.load(tmp_path).path == newest
    checkpoint.prune(tmp_path, keep=1)
    assert checkpoint.in_run(tmp_path) == [newest]


@pytest.mark.parametrize("name", ["arrays.npz", "config.toml"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "flipped", "empty"])
def test_a_damaged_file_of_a_checkpoint_is_reported(tmp_path: Path, name: str, damage: str) -> None:
    file = write(tmp_path, 1) / name
    content = bytearray(file.read_bytes())
    if damage == "missing":
        file.unlink()
    else:
        content[len(content) // 2] ^= 1
        file.write_bytes(
            bytes({"truncated": content[:-1], "flipped": content, "empty": bytearray()}[damage])
        )
    with pytest.raises(UserError, match=f"damaged checkpoint: .*{name}"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("manifest", ["", "{", "[]", "null", "{}"])
def test_a_broken_manifest_is_reported(tmp_path: Path, manifest: str) -> None:
    (write(tmp_path, 1) / checkpoint.MANIFEST).write_text(manifest)
    with pytest.raises(UserError, match=r"damaged checkpoint: .*manifest.json"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("kind", ["files", "shared"])
@pytest.mark.parametrize("name", ["../config.toml", "/etc/hostname", "step-000000001/arrays.npz"])
def test_a_manifest_that_names_files_outside_its_checkpoint_is_refused(
    tmp_path: Path, kind: str, name: str
) -> None:
    file = write(tmp_path, 1) / checkpoint.MANIFEST
    manifest = json.loads(file.read_text())
    manifest[kind][name] = {"bytes": 0, "sha256": ""}
    del manifest["sha256"]
    checkpoint._write_manifest(file.parent, manifest)
    with pytest.raises(
        UserError, match=r"damaged checkpoint: .*manifest.json is not a valid manifest of format 4"
    ):
        checkpoint.load(tmp_path)
    checkpoint.prune(tmp_path, keep=1)
    assert file.is_file()


def test_shared_files_are_deleted_when_no_checkpoint_needs_them(tmp_path: Path) -> None:
    entries: dict[str, checkpoint.Entry] = {}
    names = {step: f"{step:09d}.npz" for step in (1, 2, 3)}
    for step, name in names.items():
        entries[name] = checkpoint.share(tmp_path, name, lambda path: path.write_text("frames"))
        if step == 3:
            del entries[names[1]], entries[names[2]]
        notes = {"evaluation": 5.0 if step == 1 else None, "keep": False}
        checkpoint.save(tmp_path, step, checkpoint.Contents(ARRAYS, {}, notes, entries))
        checkpoint.prune(tmp_path, keep=1)
        assert sorted(file.name for file in (tmp_path / "replay").iterdir()) == list(entries)
    best, newest = checkpoint.in_run(tmp_path)
    assert (best.name, newest.name) == ("step-000000001", "step-000000003")
    assert checkpoint.load(best).shared == {}
    assert list(checkpoint.load(newest).shared) == [names[3]]


@pytest.mark.parametrize("sealed", [True, False])
def test_a_checkpoint_of_another_format_is_refused(tmp_path: Path, sealed: bool) -> None:
    file = write(tmp_path, 1) / checkpoint.MANIFEST
    manifest = json.loads(file.read_text()) | {"format": 99}
    del manifest["sha256"]
    if sealed:
        checkpoint._write_manifest(file.parent, manifest)
    else:
        file.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="format 99"):
        checkpoint.load(tmp_path)


def test_any_flipped_bit_of_a_manifest_is_detected(tmp_path: Path) -> None:
    file = write(tmp_path, 1) / checkpoint.MANIFEST
    content = file.read_bytes()
    # White space does not change the meaning of JSON.
    blank = {index for index, byte in enumerate(content) if chr(byte).isspace()}
    for bit in range(8 * len(content)):
        if bit // 8 not in blank:
            changed = bytearray(content)
            changed[bit // 8] ^= 1 << bit % 8
            file.write_bytes(changed)
            with pytest.raises(UserError, match="damaged checkpoint: "):
                checkpoint.load(tmp_path)


def test_loading_without_any_checkpoint_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no complete checkpoint"):
        checkpoint.load(tmp_path)
    with pytest.raises(UserError, match="no checkpoint at"):
        checkpoint.load(tmp_path / "nothing")


def test_a_failed_write_keeps_the_previous_checkpoint(tmp_path: Path) -> None:
    before = write(tmp_path, 1)

    def full_disk(path: Path) -> None:
        path.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    kept = r"No space left on device; the newest complete checkpoint is '.*step-000000001'"
    with pytest.raises(UserError, match=kept):
        checkpoint.save(tmp_path, 2, checkpoint.Contents(ARRAYS, {"network.keras": full_disk}, {}))
    assert checkpoint.load(tmp_path).path == before
    assert list(tmp_path.iterdir()) == [before]


def test_a_checkpoint_with_pickled_objects_is_refused(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    path = write(tmp_path, 1, {"trap": np.array([Trap()], dtype=object)})
    (tmp_path / "sprung").unlink(missing_ok=True)
    with pytest.raises(UserError, match=r"is not a plain archive of arrays.*allow_pickle"):
        checkpoint.load(path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "other",
    [
        {**ARRAYS, "weights": ARRAYS["weights"] + 1},
        {**ARRAYS, "weights": ARRAYS["weights"].reshape(4, 3)},
        {**ARRAYS, "weights": ARRAYS["weights"].view(np.int32)},
        {"weight": ARRAYS["weights"], "counters": ARRAYS["counters"]},
    ],
)
def test_the_digest_depends_on_values_shapes_types_and_names(other: dict[str, Any]) -> None:
    assert checkpoint.digest(other) != checkpoint.digest(ARRAYS)
    assert checkpoint.digest(dict(reversed(ARRAYS.items()))) == checkpoint.digest(ARRAYS)
