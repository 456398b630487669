"""Every kind of damage to every kind of file gives a one-line error that names the file."""

import codecs
import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lz4.block
import numpy as np
import pytest
from numpy.typing import NDArray

from atari_dqn.agent.agent import Agent
from atari_dqn.agent.pretrained import load_agent
from atari_dqn.cli import main
from atari_dqn.commands.sweep import requested_plan
from atari_dqn.config.resolve import load_config, read_config
from atari_dqn.config.schema import Config
from atari_dqn.console import log_to_standard_error
from atari_dqn.errors import UserError
from atari_dqn.files.csv_files import last_row, read_columns
from atari_dqn.files.reading import read_bytes, read_json, read_text, read_toml
from atari_dqn.gallery.collect import collect
from atari_dqn.recording.episode_file import read_episode
from atari_dqn.replay.blocks import Block, pack, unpack
from atari_dqn.replay.frame_files import FrameFiles, read_blocks, write_blocks
from atari_dqn.replay.memory import ReplayMemory
from atari_dqn.report.learning_curves import read_curve
from atari_dqn.report.results import read_results
from atari_dqn.runs import checkpoint
from atari_dqn.runs.circumstances import read_starts, write_circumstances
from atari_dqn.runs.continuation import own_config
from atari_dqn.runs.directory import unfinished
from atari_dqn.sweep.plan import read_plan
from atari_dqn.training.loop import Training
from atari_dqn.workflows.train import newest_sound
from tests.agent.test_agent import ACTIONS, SHAPE
from tests.agent.test_agent import config as agent_config
from tests.gallery import samples
from tests.report.test_results import make_run
from tests.training.test_loop import catch
from tests.training.test_loop import config as small

SOUND_TOML = '[training]\ntotal_steps = 400\n[agent]\nloss = "huber"\n'
CSV = "steps,score,mean_100\n10,1,1\n20,3,2\n"


def one_line(error: pytest.ExceptionInfo[UserError], path: Path) -> str:
    text = str(error.value)
    assert str(path) in text, text
    assert len(text.splitlines()) == 1, text
    return text


# The readers of each kind of file


def _recipe(path: Path) -> object:
    return load_config("breakout", str(path))[0].training.total_steps


def _curve(path: Path) -> object:
    (path.parent / "config.toml").write_text(load_config("breakout")[0].to_toml())
    return read_curve(path.parent).score.tolist()


def _report(path: Path) -> object:
    return read_results([path], path.parent / "videos")[0][0].score


def _columns(path: Path) -> object:
    return read_columns(path, ("steps", "score")).tolist()


READERS: dict[str, tuple[str, Callable[[Path], object], str, object]] = {
    "text": ("a.txt", read_text, "some text", "some text"),
    "toml": ("a.toml", read_toml, "a = 1", {"a": 1}),
    "json": ("a.json", read_json, '{"a": 1, "a": 2}', {"a": 2}),
    "settings": (
        "config.toml",
        lambda path: read_config(path).game,
        load_config("Pong")[0].to_toml(),
        "Pong",
    ),
    "recipe": ("mine.toml", _recipe, SOUND_TOML, 400),
    "plan": ("plan.toml", read_plan, 'games = ["pong"]', {"games": ["pong"]}),
    "recording": (
        "one.json",
        lambda path: read_episode(path).run,
        json.dumps(samples.recording()),
        "default-seed1",
    ),
    "evaluation": ("one.json", _report, json.dumps(samples.evaluation(3.0)), 3.0),
    "starts": ("run.json", read_starts, '{"starts": [{"commit": "a"}]}', [{"commit": "a"}]),
    "columns": ("episodes.csv", _columns, CSV, [[10, 20], [1, 3]]),
    "curve": ("episodes.csv", _curve, CSV, [1, 3]),
    "last row": ("metrics.csv", last_row, CSV, {"steps": 20, "score": 3, "mean_100": 2}),
}
TEXT = ("json", "toml", "settings", "recipe", "plan", "recording", "evaluation", "starts")
TABLES = ("toml", "settings", "recipe", "plan")
JSON = ("json", "recording", "evaluation", "starts")

# Missing permissions are not a case, since root may read every file.
NOT_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "directory": (lambda path: path.mkdir(), "it is a directory, not a file"),
    "pipe": (lambda path: os.mkfifo(path), "it is a pipe, not a file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "it is a device, not a file"),
    "loop": (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    "link to nothing": (lambda path: path.symlink_to("nothing"), "No such file or directory"),
}
ENCODINGS = {
    "utf-16": (
        "UTF-16, as PowerShell writes it: save it as UTF-8",
        codecs.BOM_UTF16_LE,
        "utf-16-le",
    ),
    "utf-16-be": (
        "UTF-16, as PowerShell writes it: save it as UTF-8",
        codecs.BOM_UTF16_BE,
        "utf-16-be",
    ),
    "utf-32": ("UTF-32", codecs.BOM_UTF32_LE, "utf-32-le"),
    "utf-32-be": ("UTF-32", codecs.BOM_UTF32_BE, "utf-32-be"),
}


@pytest.mark.parametrize("reader", READERS)
def test_an_intact_file_is_read_with_or_without_a_byte_order_mark(
    tmp_path: Path, reader: str
) -> None:
    name, read, text, expected = READERS[reader]
    path = tmp_path / name
    for number, content in enumerate((text.encode(), codecs.BOM_UTF8 + text.encode())):
        path.write_bytes(content.replace(b"\n", b"\r\n") if number else content)
        assert read(path) == expected


@pytest.mark.parametrize("kind", NOT_FILES)
@pytest.mark.parametrize("reader", READERS)
def test_a_path_that_is_not_a_regular_file_is_a_one_line_error(
    tmp_path: Path, reader: str, kind: str
) -> None:
    name, read, *_ = READERS[reader]
    make, reason = NOT_FILES[kind]
    make(tmp_path / name)
    if reader == "evaluation" and kind == "directory":
        reason = "contains no complete run and no evaluation"
    with pytest.raises(UserError) as error:
        read(tmp_path / name)
    assert reason in one_line(error, tmp_path / name)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("reader", READERS)
def test_a_file_in_another_encoding_is_a_one_line_error(
    tmp_path: Path, reader: str, encoding: str
) -> None:
    name, read, text, _ = READERS[reader]
    reason, mark, codec = ENCODINGS[encoding]
    (tmp_path / name).write_bytes(mark + text.encode(codec))
    with pytest.raises(UserError) as error:
        read(tmp_path / name)
    assert f"is not UTF-8 text but {reason}" in one_line(error, tmp_path / name)


@pytest.mark.parametrize("reader", ["text", *TEXT])
def test_bytes_that_are_not_utf_8_are_a_one_line_error(tmp_path: Path, reader: str) -> None:
    name, read, text, _ = READERS[reader]
    (tmp_path / name).write_bytes(text.encode() + b"\n# caf\xe9")
    with pytest.raises(UserError, match="is not UTF-8 text: byte") as error:
        read(tmp_path / name)
    one_line(error, tmp_path / name)


BROKEN = {
    **{(reader, "torn"): "{" if reader in JSON else "[a" for reader in TEXT},
    **{(reader, "too many digits"): '{"a": ' + "9" * 5000 + "}" for reader in JSON},
    **{(reader, "too many digits"): "a = " + "9" * 5000 for reader in TABLES},
    **{(reader, "too many hexadecimal digits"): "a = 0x" + "f" * 9000 for reader in TABLES},
    **{(reader, "deeply nested"): "[" * 100_000 for reader in JSON},
    **{(reader, "deeply nested"): "a = " + "[" * 100_000 for reader in TABLES},
    **{(reader, "empty"): "" for reader in JSON},
    **{(reader, "another structure"): "[1, 2]" for reader in ("recording", "evaluation", "starts")},
}


@pytest.mark.parametrize(("reader", "damage"), BROKEN)
def test_malformed_text_is_a_one_line_error(tmp_path: Path, reader: str, damage: str) -> None:
    name, read, *_ = READERS[reader]
    (tmp_path / name).write_text(BROKEN[reader, damage])
    with pytest.raises(UserError) as error:
        read(tmp_path / name)
    one_line(error, tmp_path / name)


def test_a_file_that_is_too_large_is_a_one_line_error(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"x" * 11)
    assert read_bytes(path, 11) == b"x" * 11
    with pytest.raises(UserError, match="is too large") as error:
        read_bytes(path, 10)
    one_line(error, path)
    os.truncate(path, 2**40)
    with pytest.raises(UserError, match="is too large: at most 64 MiB are read"):
        read_text(path)


@pytest.mark.parametrize("name", ["zero\0byte", "lone\ud800surrogate"])
def test_an_impossible_file_name_is_a_one_line_error(name: str) -> None:
    with pytest.raises(UserError, match="is not a valid file name"):
        read_bytes(Path(name))


@pytest.mark.parametrize(
    "content", ["", '{"starts": [', '{"starts": 3}', "[]", '{"starts": [1]}', "\0\0\0"]
)
def test_a_damaged_run_json_is_replaced_with_a_note(tmp_path: Path, content: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(content)
    (note,) = write_circumstances(tmp_path, load_config("Pong")[0])
    assert str(path) in note
    assert note.endswith("; a new file replaces it")
    assert len(read_starts(path)) == 1
    assert write_circumstances(tmp_path, load_config("Pong")[0]) == []
    assert len(read_starts(path)) == 2


@pytest.mark.parametrize("settings", ["3", "[1]", '"x"'])
def test_a_plan_whose_settings_are_not_a_table_is_refused(tmp_path: Path, settings: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(f'games = ["pong"]\nsettings = {settings}\n')
    names = ("games", "seeds", "configs", "protocol", "total_steps", "episodes", "search")
    options: Any = type(
        "Options", (), dict.fromkeys(names) | {"plan": str(path), "set": None, "overrides": {}}
    )
    with pytest.raises(UserError, match="settings"):
        requested_plan(options, tmp_path)


# CSV

TOLERATED: dict[str, tuple[bytes, list[list[float]]]] = {
    "a byte order mark": (codecs.BOM_UTF8 + b"steps,score\n1,2\n", [[1], [2]]),
    "line endings of Windows": (b"steps,score\r\n1,2\r\n3,4\r\n", [[1, 3], [2, 4]]),
    "a torn last line": (b"steps,score\n1,2\n3,4", [[1], [2]]),
    "a torn header": (b"steps,sco", [[], []]),
    "zero bytes": (b"steps,score\n1,2\n\0\0\0\0\0\n3,4\n", [[1, 3], [2, 4]]),
    "zero bytes at the end": (b"steps,score\n1,2\n" + bytes(4096), [[1], [2]]),
    "rows with missing or extra cells": (b"steps,score\n1\n1,2,3\n4,5\n", [[4], [5]]),
    "quoted cells": (b'"steps","score"\n"1","2"\n3,"4"\n', [[1, 3], [2, 4]]),
    "a quote without an end": (b'steps,score\n1,"2\n3,4\n', [[1, 3], [2, 4]]),
    "a giant cell": (b"steps,score\n1," + b"9" * 200_000 + b"\n3,4\n", [[3], [4]]),
    "a giant quoted cell": (b'steps,score\n1,"' + b"9" * 200_000 + b'"\n3,4\n', [[3], [4]]),
    "bytes that are not text": (b"steps,score\n\xff\xfe,2\n3,4\n", [[3], [4]]),
    "cells that are not finite numbers": (b"steps,score\n1,nan\n2,inf\n3,x\n4,5\n", [[4], [5]]),
    "other columns": (b"a,steps,score\n0,1,2\n", [[1], [2]]),
    "an empty file": (b"", [[], []]),
}


@pytest.mark.parametrize("kind", TOLERATED)
def test_tables_damaged_by_spreadsheets_or_power_failures_are_read(
    tmp_path: Path, kind: str
) -> None:
    content, expected = TOLERATED[kind]
    (tmp_path / "a.csv").write_bytes(content)
    assert read_columns(tmp_path / "a.csv", ("steps", "score")).tolist() == expected


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("steps;score\n1;2\n", "separates its columns with semicolons"),
        ("steps,points\n1,2\n", "has no column 'score'"),
        ("steps,scores\n1,2\n", "did you mean 'scores'?"),
    ],
)
def test_a_table_without_the_required_columns_is_a_one_line_error(
    tmp_path: Path, content: str, reason: str
) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(UserError) as error:
        read_columns(tmp_path / "a.csv", ("steps", "score"))
    text = one_line(error, tmp_path / "a.csv")
    assert reason in text
    assert "expected columns named steps, score" in text


# A damaged run never keeps others from being reported or shown


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


BAD_RUNS: dict[str, Callable[[Path], object]] = {
    "settings of UTF-16": lambda run: (run / "config.toml").write_text("[a]", "utf-16"),
    "settings as a folder": lambda run: replace_by_folder(run / "config.toml"),
    "semicolons": lambda run: (run / "episodes.csv").write_text("steps;score;mean_100\n1;2;3\n"),
    "another column": lambda run: (run / "episodes.csv").write_text("when,points\n1,2\n"),
    "episodes as a folder": lambda run: replace_by_folder(run / "episodes.csv"),
}


@pytest.fixture
def two_runs(tmp_path: Path) -> tuple[Path, Path]:
    good, bad = (
        make_run(tmp_path / "checkpoints", "Pong", name, [1.0] * 20) for name in ("good", "bad")
    )
    for run in (good, bad):
        metrics = "steps,score,epsilon,wall_seconds\n1000,0,0.1,9\n"
        (run / "metrics.csv").write_text(metrics)
    return good, bad


@pytest.mark.parametrize("kind", BAD_RUNS)
def test_a_damaged_run_is_skipped_by_the_report(two_runs: tuple[Path, Path], kind: str) -> None:
    good, bad = two_runs
    BAD_RUNS[kind](bad)
    for paths in ([good, bad], [good.parent]):
        found, notes = read_results(paths, good.parent / "videos")
        assert [result.run for result in found] == ["good"]
        assert any(str(bad) in note for note in notes)
    with pytest.raises(UserError) as error:
        read_results([bad], good.parent / "videos")
    one_line(error, bad)


@pytest.mark.parametrize("kind", BAD_RUNS)
def test_a_damaged_run_is_skipped_by_the_plot(
    two_runs: tuple[Path, Path], kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = two_runs
    BAD_RUNS[kind](bad)
    assert main(["plot", str(bad), str(good), "--out", str(tmp_path / "curves")]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{tmp_path}/curves.png\n{tmp_path}/curves.svg\n"
    (note,) = captured.err.splitlines()
    assert note.startswith("note: ")
    assert str(bad) in note
    assert note.endswith("; the run is left out")
    assert main(["plot", str(bad), "--out", str(tmp_path / "curves")]) == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize("kind", BAD_RUNS)
def test_a_damaged_run_is_skipped_by_the_gallery(
    two_runs: tuple[Path, Path], kind: str, tmp_path: Path
) -> None:
    _, bad = two_runs
    BAD_RUNS[kind](bad)
    data, notes = collect(tmp_path / "checkpoints", tmp_path / "videos")
    assert [run["name"] for run in data["runs"]] == ["good"]
    (note,) = notes
    assert note.startswith(f"'{bad}' is skipped: ")


# Archives of arrays


def archive(
    file: Path, members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED, twice: str = ""
) -> Path:
    with zipfile.ZipFile(file, "w", compression) as written:
        for name, content in members.items():
            written.writestr(f"{name}.npy", content)
            if name == twice:
                written.writestr(name, content)
    return file


def npy(array: NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=True)
    return stream.getvalue()


def header(shape: tuple[int, ...], descr: str = "<f8", content: bytes = b"") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": descr, "fortran_order": False, "shape": shape}
    )
    return stream.getvalue() + content


BAD_ARCHIVES: dict[str, Callable[[Path], object]] = {
    "a shape larger than the data": lambda file: archive(file, {"a": header((10**12,))}),
    "a shape that overflows": lambda file: archive(file, {"a": header((10**9, 10**9, 10**9))}),
    "a shape smaller than the data": lambda file: archive(
        file, {"a": header((1,), content=bytes(80))}
    ),
    "a negative length": lambda file: archive(file, {"a": header((-1,), content=bytes(8))}),
    "objects": lambda file: archive(file, {"a": npy(np.array([{}], object))}),
    "objects in a record": lambda file: archive(file, {"a": header((0,), "|O")}),
    "words": lambda file: archive(file, {"a": npy(np.array(["word"]))}),
    "compressed": lambda file: archive(file, {"a": npy(np.zeros(10**6))}, zipfile.ZIP_DEFLATED),
    "a member that is not an array": lambda file: archive(file, {"a": b"words"}),
    "an unreadable header": lambda file: archive(
        file, {"a": b"\x93NUMPY\x01\x00\x10\x00{'descr': ((((((("}
    ),
    "a header of another version": lambda file: archive(
        file, {"a": b"\x93NUMPY\x09\x00\x10\x00{'descr': "}
    ),
    "not an archive": lambda file: file.write_bytes(b"words"),
    "an empty file": lambda file: file.write_bytes(b""),
    "cut off": lambda file: os.truncate(archive(file, {"a": npy(np.zeros(10**4))}), 10**4),
    "two members of one name": lambda file: archive(file, {"a": npy(np.zeros(1))}, twice="a"),
}


@pytest.mark.parametrize("kind", BAD_ARCHIVES)
def test_a_malformed_archive_of_arrays_is_a_one_line_error(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "arrays.npz"
    BAD_ARCHIVES[kind](file)
    with pytest.raises(UserError, match="is not a plain archive of arrays") as error:
        checkpoint.read_arrays(file)
    one_line(error, file)


def test_arrays_of_every_saved_type_are_read_back(tmp_path: Path) -> None:
    kinds = (np.bool_, np.uint8, np.int32, np.int64, np.uint64, np.float16, np.float32, np.float64)
    arrays = {np.dtype(kind).name: np.ones((2, 3), kind) for kind in kinds}
    arrays |= {
        "scalar": np.array(5),
        "empty": np.empty((0, 4)),
        "fortran": np.asfortranarray(np.eye(3)),
    }
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    found = checkpoint.read_arrays(tmp_path / "a.npz")
    assert checkpoint.digest(found) == checkpoint.digest(arrays)


def test_arrays_larger_than_the_free_memory_are_a_one_line_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "a.npz", a=np.zeros(1000))
    monkeypatch.setattr(checkpoint, "memory_left", lambda: 7999)
    with pytest.raises(UserError, match="does not fit into free memory") as error:
        checkpoint.read_arrays(tmp_path / "a.npz")
    one_line(error, tmp_path / "a.npz")


# Blocks of frames


def block_of_claimed_size(size: int) -> bytes:
    return size.to_bytes(4, "little") + pack(np.zeros(64, np.uint8))[4:]


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\1\0",
        block_of_claimed_size(63),
        block_of_claimed_size(2**32 - 1),
        block_of_claimed_size(64)[:-3],
    ],
)
def test_a_block_of_frames_with_a_wrong_size_is_refused(packed: bytes) -> None:
    with pytest.raises(ValueError, match="a block of frames"):
        unpack(packed, 64)
    if packed != block_of_claimed_size(63):  # a size of 63 is wrong only for an expected size of 64
        with pytest.raises(ValueError, match="a block of frames"):
            unpack(packed)
    assert unpack(block_of_claimed_size(64), 64) == unpack(block_of_claimed_size(64)) == bytes(64)


BAD_INDICES: dict[str, dict[str, NDArray[Any]]] = {
    "no index": {"data": np.zeros(3, np.uint8)},
    "words": {"index": np.zeros(3, np.int64), "data": np.zeros(3, np.uint8)},
    "floats": {"index": np.zeros((1, 3)), "data": np.zeros(0, np.uint8)},
    "longer than the data": {"index": np.array([[0, 0, 9]]), "data": np.zeros(3, np.uint8)},
    "shorter than the data": {"index": np.array([[0, 0, 2]]), "data": np.zeros(3, np.uint8)},
    "a negative length": {
        "index": np.array([[0, 0, -1], [0, 0, 4]]),
        "data": np.zeros(3, np.uint8),
    },
}


@pytest.mark.parametrize("kind", BAD_INDICES)
def test_a_file_of_frames_with_a_wrong_index_is_a_one_line_error(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "000000001.npz"
    np.savez(file, **BAD_INDICES[kind])  # type: ignore[arg-type]
    with pytest.raises(UserError, match="damaged checkpoint") as error:
        list(read_blocks(file))
    one_line(error, file)


def memory(storage: Any) -> ReplayMemory:
    return ReplayMemory(64, 2, (4, 4), stack=2, n_step=1, gamma=0.9, seed=1, storage=storage)


def filled_memory() -> ReplayMemory:
    ring = memory("memory")
    ring.start(np.zeros((2, 4, 4), np.uint8))
    for number in range(40):
        frames = np.full((2, 4, 4), number, np.uint8)
        zeros = np.zeros(2, np.float32)
        ring.add(np.zeros(2, np.int32), zeros, zeros + 1, frames, np.zeros(2, np.bool_), frames)
    return ring


BAD_BLOCKS = {
    "environment too large": {"env": 2},
    "negative environment": {"env": -1},
    "number too large": {"number": 99},
    "negative number": {"number": -1},
    "another size": {"packed": pack(np.zeros(16, np.uint8))},
    "a huge size": {"packed": block_of_claimed_size(2**31)},
    "not a block": {"packed": lz4.block.compress(bytes(128))[:-3]},
}


@pytest.mark.parametrize("storage", ["memory", "compressed", "disk"])
@pytest.mark.parametrize("kind", BAD_BLOCKS)
def test_a_block_of_frames_that_does_not_fit_the_memory_is_refused(kind: str, storage: str) -> None:
    ring = filled_memory()
    blocks = list(ring.filled(np.zeros(2, np.int64)))
    memory(storage).restore(ring.arrays(), blocks)
    bad = [*blocks[:-1], blocks[-1]._replace(**BAD_BLOCKS[kind])]  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"block"):
        memory(storage).restore(ring.arrays(), bad)


def test_the_digest_of_incomplete_frames_is_refused(tmp_path: Path) -> None:
    ring = filled_memory()
    (tmp_path / "replay").mkdir()
    files = FrameFiles(tmp_path)
    files.write("000000040.npz", ring)
    added = ring.arrays()["added"]
    first, *rest = list(files.read())
    whole = files.digest(added, 32, 16)
    write_blocks(tmp_path / "replay" / "000000040.npz", [first, *rest])
    assert (files.digest(added, 32, 16) == whole).all()
    write_blocks(tmp_path / "replay" / "000000040.npz", rest[1:])
    with pytest.raises(KeyError, match="block"):
        files.digest(added, 32, 16)
    write_blocks(tmp_path / "replay" / "000000040.npz", [*rest, Block(0, 1, first.packed)])


# Manifests


def reseal(directory: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes a manifest and updates all its checksums, as an attacker would."""
    path = directory / checkpoint.MANIFEST
    manifest = json.loads(path.read_text())
    del manifest["sha256"]
    for folder, kind in ((directory, "files"), (directory.parent / "replay", "shared")):
        for name, entry in manifest[kind].items():
            content = (folder / name).read_bytes()
            entry.update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    change(manifest)
    seal = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(manifest | {"sha256": seal}))


def put(manifest: dict[str, Any], field: str, value: Any) -> None:
    *outer, last = field.split("/")
    for name in outer:
        manifest = manifest[name]
    manifest[last] = value


WRONG_VALUES = ["words", 3.5, -1, None, [1], {"a": 1}, 2**70, True, [["a"]]]
FIELDS = [
    *(
        "step",
        "files",
        "shared",
        "notes",
        "files/arrays.npz",
        "files/arrays.npz/bytes",
        "files/arrays.npz/sha256",
    ),
    *(
        "notes/keep",
        "notes/evaluation",
        "notes/observation_shape",
        "notes/actions",
        "notes/logs",
        "notes/time",
    ),
    *("agent_only",),
]
VALID: list[tuple[str, Any]] = [
    *(("notes/keep", True), ("agent_only", True), ("notes/time", None), ("notes", {"a": 1})),
    *(("notes/evaluation", value) for value in (3.5, -1, None, 2**70)),
    *(("notes/observation_shape", [1]), ("notes/logs", {"a": 1})),
]


@pytest.mark.parametrize("field", FIELDS)
def test_a_manifest_with_wrong_types_is_a_damaged_checkpoint(tmp_path: Path, field: str) -> None:
    notes = {
        "keep": False,
        "evaluation": 1.0,
        "observation_shape": [2, 3, 3],
        "actions": ["A"],
        "logs": {},
    }
    notes["time"] = {"wall": 1.0, "parts": {}}
    saved = checkpoint.save(tmp_path, 1, checkpoint.Contents({"a": np.zeros(1)}, {}, notes))
    for value in WRONG_VALUES:
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        copy = shutil.copytree(saved, tmp_path / "copy" / saved.name)
        reseal(copy, lambda manifest, value=value: put(manifest, field, value))  # type: ignore[misc]
        if any(
            field == name and value == valid and type(value) is type(valid) for name, valid in VALID
        ):
            checkpoint.load(copy)
            continue
        with pytest.raises(UserError, match="damaged checkpoint: ") as error:
            checkpoint.load(copy)
        one_line(error, copy)
        checkpoint.prune(copy.parent, 1)
        assert (copy / checkpoint.MANIFEST).is_file()


# Wrong arrays in a checkpoint whose checksums are right


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Training, Path]:
    folder = tmp_path_factory.mktemp("arrays")
    settings = small(
        training__total_steps=1200, replay__priority_exponent=0.5, training__checkpoint_period=600
    )
    training = catch(folder, settings)
    training.run()
    again = catch(folder, settings)
    assert again.restore(checkpoint.load(folder / "run"))
    return again, folder / "run"


ARRAY_DAMAGES: dict[str, Callable[[NDArray[Any]], NDArray[Any] | None]] = {
    "missing": lambda array: None,
    "of another shape": lambda array: array[np.newaxis],
    "of another kind": lambda array: np.ones(array.shape, np.complex64),
}


@pytest.mark.parametrize("kind", ARRAY_DAMAGES)
def test_missing_or_malformed_arrays_are_a_damaged_checkpoint(
    trained: tuple[Training, Path], kind: str
) -> None:
    training, run = trained
    stored = checkpoint.load(run)
    assert len(stored.arrays) > 40
    for name, array in stored.arrays.items():
        changed = ARRAY_DAMAGES[kind](array)
        arrays = stored.arrays | {name: changed}
        if changed is None:
            del arrays[name]
        if not array.size or (kind == "missing" and name == "memory/priorities"):
            continue  # an empty array cannot be wrong, and priorities are optional
        with pytest.raises(
            UserError, match=r"damaged checkpoint: |the checkpoint is of a different network: "
        ) as error:
            training.restore(stored._replace(arrays=arrays))  # type: ignore[arg-type]
        assert len(str(error.value).splitlines()) == 1
    assert training.restore(stored)


BAD_VALUES: dict[str, tuple[str, Callable[[NDArray[Any]], NDArray[Any]]]] = {
    "fewer actions than lengths": ("environments/actions", lambda array: array[:-1]),
    "an action that does not exist": ("environments/actions", lambda array: array * 0 + 200),
    "a negative length": ("environments/lengths", lambda array: array - 10**6),
    "a negative number of frames": ("memory/added", lambda array: array - 10**6),
    "more frames than were saved": ("memory/added", lambda array: array + 1),
    "priorities of NaN": ("memory/priorities", lambda array: array * np.nan),
    "negative priorities": ("memory/priorities", lambda array: array - 10.0),
}


@pytest.mark.parametrize("kind", BAD_VALUES)
def test_impossible_values_are_a_damaged_checkpoint(
    trained: tuple[Training, Path], kind: str
) -> None:
    training, run = trained
    stored = checkpoint.load(run)
    name, change = BAD_VALUES[kind]
    with pytest.raises(UserError, match="damaged checkpoint: ") as error:
        training.restore(
            stored._replace(arrays=stored.arrays | {name: change(stored.arrays[name])})
        )
    one_line(error, stored.path)


@pytest.mark.parametrize("note", ["observation_shape", "actions", "time", "logs"])
def test_missing_notes_are_a_damaged_checkpoint(trained: tuple[Training, Path], note: str) -> None:
    training, run = trained
    stored = checkpoint.load(run)
    notes = {name: value for name, value in stored.notes.items() if name != note}
    with pytest.raises(UserError, match=f"damaged checkpoint: .*'{note}' is missing"):
        training.restore(stored._replace(notes=notes))


def test_an_error_of_the_environment_is_not_reported_as_a_damaged_checkpoint(
    trained: tuple[Training, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    training, run = trained

    def broken(*_: Any) -> Any:
        raise ValueError("of the environment's own")

    monkeypatch.setattr(training.environments._games, "reset", broken)
    with pytest.raises(ValueError, match="of the environment's own"):
        training.restore(checkpoint.load(run))


# The checkpoint from which a run continues


@pytest.fixture
def run(trained: tuple[Training, Path], tmp_path: Path) -> Path:
    """Returns a run with two checkpoints, the older of which has the better evaluation."""
    directory = shutil.copytree(trained[1], tmp_path / "run")
    older, newer = checkpoint.in_run(directory)
    reseal(older, lambda manifest: manifest["notes"].update(evaluation=5.0))
    reseal(newer, lambda manifest: manifest["notes"].update(evaluation=1.0))
    (directory / "config.toml").write_bytes((newer / "config.toml").read_bytes())
    return directory


def remove_frames(directory: Path) -> None:
    """Removes the frames from a manifest without marking it as ``agent_only``.

    Earlier versions wrote such manifests for checkpoints that were kept for their agents.
    """
    reseal(directory, lambda manifest: manifest.update(shared={}))
    manifest = json.loads((directory / checkpoint.MANIFEST).read_text())
    manifest.pop("agent_only", None)


@pytest.mark.parametrize("marked", [True, False])
def test_a_checkpoint_kept_only_for_its_agent_is_not_continued(
    run: Path, marked: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    older, newer = checkpoint.in_run(run)
    if marked:
        checkpoint.prune(run, 1)
        assert json.loads((older / checkpoint.MANIFEST).read_text())["agent_only"] is True
    else:
        remove_frames(older)
    assert checkpoint.is_agent_only(older)
    assert checkpoint.load(older).agent_only
    assert not checkpoint.is_agent_only(newer)
    assert checkpoint.to_continue_from(run) == newer
    assert load_agent(older).updates > 0
    with pytest.raises(
        UserError, match="contains an agent, but no training state to continue from"
    ):
        newest_sound([older])
    assert main(["digest", str(older)]) == 2
    assert "contains an agent, but no training state" in capsys.readouterr().err
    shutil.rmtree(newer)
    assert checkpoint.to_continue_from(run) is None
    assert unfinished(run.parent) == []


@pytest.mark.parametrize("marked", [True, False])
def test_a_newer_agent_only_checkpoint_is_skipped_with_a_note(
    run: Path, marked: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    older, newer = checkpoint.in_run(run)
    remove_frames(newer)
    if marked:
        reseal(newer, lambda manifest: manifest.update(agent_only=True))
    with log_to_standard_error():
        stored = newest_sound(checkpoint.in_run(run))
    assert stored is not None
    assert stored.path == older
    (note,) = capsys.readouterr().err.splitlines()
    assert note.startswith(
        f"note: '{newer}' contains an agent, but no training state to continue from"
    )
    assert note.endswith("the previous checkpoint is used")
    assert checkpoint.to_continue_from(run) == older


def test_damaged_checkpoints_do_not_count_among_those_to_keep(tmp_path: Path) -> None:
    names = [f"{step:09d}.npz" for step in range(1, 6)]
    entries = {
        name: checkpoint.share(tmp_path, name, lambda path: path.write_text("frames"))
        for name in names
    }
    for step, name in enumerate(names, 1):
        saved = checkpoint.save(
            tmp_path, step, checkpoint.Contents({"a": np.zeros(9)}, {}, {}, {name: entries[name]})
        )
        if step in (4, 5):
            os.truncate(saved / checkpoint.ARRAYS, 9)
    checkpoint.prune(tmp_path, 2)
    assert [checkpoint.step_of(path) for path in checkpoint.in_run(tmp_path)] == [2, 3, 4, 5]
    assert {path.name for path in (tmp_path / "replay").iterdir()} == set(names[1:])
    (tmp_path / "replay" / names[2]).write_text("Frames")
    checkpoint.prune(tmp_path, 1)
    left = [checkpoint.step_of(path) for path in checkpoint.in_run(tmp_path)]
    assert left == [2, 3, 4, 5], "checkpoint 3 is damaged as well, since its frames are"


def test_a_process_hashes_each_file_at_most_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[tuple[int, int]] = []
    file_digest = hashlib.file_digest

    def count(stream: Any, algorithm: str) -> Any:
        status = os.fstat(stream.fileno())
        hashed.append((status.st_ino, status.st_mtime_ns))
        return file_digest(stream, algorithm)

    monkeypatch.setattr(hashlib, "file_digest", count)
    for step in range(1, 5):
        name = f"{step:09d}.npz"
        entry = checkpoint.share(tmp_path, name, lambda path: path.write_text("frames"))
        checkpoint.save(
            tmp_path,
            step,
            checkpoint.Contents({"a": np.zeros(step)}, {}, {"keep": True}, {name: entry}),
        )
        checkpoint.prune(tmp_path, 2)
    assert len(hashed) == len(set(hashed)) == 8


def test_a_complete_checkpoint_exists_at_every_moment_of_a_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each change in the folder, exactly one checkpoint exists: the old or the new one."""
    checkpoint.save(tmp_path, 7, checkpoint.Contents({"a": np.zeros(1)}, {}, {}))
    seen: list[float] = []

    def checking(change: Callable[..., Any]) -> Callable[..., Any]:
        def check(*arguments: Any, **options: Any) -> Any:
            result = change(*arguments, **options)
            (found,) = checkpoint.in_run(tmp_path)
            seen.append(float(checkpoint.load(found).arrays["a"][0]))
            return result

        return check

    for name in ("rename", "replace", "unlink", "mkdir"):
        monkeypatch.setattr(Path, name, checking(getattr(Path, name)))
    monkeypatch.setattr(shutil, "rmtree", checking(shutil.rmtree))
    checkpoint.save(tmp_path, 7, checkpoint.Contents({"a": np.ones(1)}, {}, {}))
    assert seen == sorted(seen)
    assert set(seen) == {0.0, 1.0}
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000007"]


@pytest.mark.parametrize("finished", [True, False])
def test_leftovers_of_an_interrupted_replacement_are_used_or_deleted(
    tmp_path: Path, finished: bool
) -> None:
    saved = checkpoint.save(tmp_path, 7, checkpoint.Contents({"a": np.zeros(1)}, {}, {}))
    leftover = shutil.copytree(saved, tmp_path / "step-000000007.replaced")
    if not finished:
        shutil.rmtree(saved)
        assert checkpoint.find(tmp_path) == leftover
        assert checkpoint.load(tmp_path).step == 7
        checkpoint.save(tmp_path, 7, checkpoint.Contents({"a": np.ones(1)}, {}, {}))
    checkpoint.prune(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000007"]


# The settings of a continued run


def change_setting(path: Path, **changes: Any) -> None:
    text = read_config(path).model_dump()
    for name, value in changes.items():
        section, key = name.split("__")
        text[section][key] = value
    path.write_text(Config.model_validate(text).to_toml())


@pytest.mark.parametrize(
    ("name", "value"),
    [("agent__gamma", 0.5), ("machine__seed", 9), ("optimizer__learning_rate", 0.25)],
)
def test_a_hand_edited_setting_that_must_not_change_is_a_one_line_error(
    run: Path, name: str, value: Any
) -> None:
    path = run / "config.toml"
    saved = checkpoint.in_run(run)[-1]
    stored = getattr(getattr(read_config(path), name.split("__")[0]), name.split("__")[1])
    change_setting(path, **{name: value})
    with pytest.raises(UserError) as error:
        own_config(run, saved)
    text = one_line(error, path)
    assert f"has {name.replace('__', '.')} = {value}, but the run was trained with {stored}" in text


@pytest.mark.parametrize(
    ("name", "value"), [("training__total_steps", 99), ("training__log_period", 7)]
)
def test_a_hand_edited_setting_that_may_change_is_used(run: Path, name: str, value: Any) -> None:
    change_setting(run / "config.toml", **{name: value})
    config, notes = own_config(run, checkpoint.in_run(run)[-1])
    section, key = name.split("__")
    assert getattr(getattr(config, section), key) == value
    assert notes == []


@pytest.mark.parametrize("damage", ["missing", "torn", "utf-16", "folder"])
def test_unreadable_settings_are_replaced_by_those_of_the_checkpoint(
    run: Path, damage: str
) -> None:
    path = run / "config.toml"
    saved = checkpoint.in_run(run)[-1]
    text = path.read_text()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        path.write_text(
            text if damage == "utf-16" else text[:40], "utf-16" if damage == "utf-16" else "utf-8"
        )
    config, (note,) = own_config(run, saved)
    assert config == read_config(saved / "config.toml")
    assert str(path) in note
    assert note.endswith(f"; the settings in '{saved}' are used")


# Weights that are not finite


@pytest.mark.parametrize(
    ("value", "what"), [(np.nan, "NaN"), (np.inf, "infinite"), (-np.inf, "infinite")]
)
@pytest.mark.parametrize("network", ["online", "target"])
def test_weights_that_are_not_finite_are_a_one_line_error(
    tmp_path: Path, network: str, value: float, what: str
) -> None:
    agent = Agent(agent_config(), SHAPE, ACTIONS)
    arrays = {f"agent/{name}": array.copy() for name, array in agent.arrays().items()}
    damaged = next(
        name
        for name, array in arrays.items()
        if name.startswith(f"agent/{network}/") and array.ndim > 1
    )
    arrays[damaged].flat[3] = value
    files = {"config.toml": lambda path: path.write_text(agent.config.to_toml())}
    notes = {"observation_shape": SHAPE, "actions": ACTIONS}
    saved = checkpoint.save(tmp_path, 1, checkpoint.Contents(arrays, files, notes))
    with pytest.raises(UserError, match=f"some of its weights are {what}") as error:
        load_agent(saved)
    one_line(error, saved)
    assert main(["export", str(saved), "--out", str(tmp_path / "agent.keras")]) == 2
    assert not (tmp_path / "agent.keras").exists()
