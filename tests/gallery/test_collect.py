"""Tests the data, the page and the server of the gallery without a browser."""

import asyncio
import http.client
import json
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atari_dqn import errors
from atari_dqn.cli import main
from atari_dqn.errors import UserError
from atari_dqn.files.csv_files import read_columns
from atari_dqn.gallery.collect import collect
from atari_dqn.gallery.curves import thin, thinned_curve
from atari_dqn.gallery.page import CHARTS, as_script, write_page
from atari_dqn.gallery.serve import Server, find_file, live_page, requested_range
from atari_dqn.recording.episode_file import EvaluationFile, RecordingFile, parse
from tests.gallery import samples


def encoded(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode()


def with_file(videos: Path, **changes: Any) -> Path:
    """Writes a recording whose file is not really a video, which only a browser would notice."""
    file = videos.parent / "media.mp4"
    file.write_bytes(bytes(range(256)) * 4)
    return samples.write_recording(videos, {"mp4": file}, **changes)


# Curves


def test_a_thinned_line_keeps_its_ends_peaks_and_order() -> None:
    x = np.arange(10_000.0)
    y = np.sin(x / 900)
    y[[1234, 7777]] = 9, -9
    kept = thin(x, y, 200)
    assert len(kept) == 200
    assert (kept[0], kept[-1]) == (0, 9_999)
    assert (np.diff(kept) > 0).all()
    assert {1234, 7777} <= set(kept.tolist())


@given(st.lists(st.floats(-1e6, 1e6), max_size=60), st.integers(3, 20))
def test_a_line_is_thinned_to_the_requested_number_of_points(
    heights: list[float], points: int
) -> None:
    kept = thin(np.arange(len(heights), dtype=float), np.array(heights), points)
    assert len(kept) == min(len(heights), points)
    assert (np.diff(kept) > 0).all()


def test_a_curve_has_the_score_and_epsilon_at_each_step(tmp_path: Path) -> None:
    curve: Any = thinned_curve(samples.write_run(tmp_path, "run", top=20.0))
    assert len(curve["steps"]) == len(curve["score"]) == len(curve["epsilon"]) == 400
    assert (curve["steps"][-1], curve["score"][-1], curve["epsilon"][-1]) == (200_000, 20, 0)
    np.testing.assert_allclose(
        np.array(curve["steps"]) / 200_000, 1 - np.array(curve["epsilon"]), atol=1e-4
    )


def test_incomplete_rows_are_skipped_and_missing_columns_are_reported(
    tmp_path: Path,
) -> None:
    path = tmp_path / "episodes.csv"
    path.write_text(
        "steps,mean_100,seed\n10,1.5,3\n20,nan,3\n30,oops,3\n40,2.5,3\n50,2", encoding="utf-8"
    )
    assert read_columns(path, ("steps", "mean_100")).tolist() == [[10, 40], [1.5, 2.5]]
    with pytest.raises(
        UserError, match=r"episodes.csv' has no column 'epsilon'.*columns named steps, epsilon"
    ):
        read_columns(path, ("steps", "epsilon"))
    assert read_columns(tmp_path / "none.csv", ("steps",)).shape == (1, 0)
    assert thinned_curve(tmp_path) == {
        "steps": [10, 40],
        "score": [1.5, 2.5],
        "epsilon": [None, None],
    }


# Files that another program may have written


def test_valid_recording_and_evaluation_files_are_read() -> None:
    assert isinstance(parse(encoded(samples.recording())), RecordingFile)
    assert isinstance(parse(encoded(samples.evaluation(3.0))), EvaluationFile)


@pytest.mark.parametrize(
    ("rom", "frames", "at_limit"),
    [(None, 500, True), (None, 108_000, False), ("breakout", 500, False)],
)
def test_the_limit_of_a_task_is_told_from_the_frame_cap(
    rom: str | None, frames: int, at_limit: bool
) -> None:
    document = samples.recording(rom=rom)
    document["episode"] |= {"frames": frames, "cut_by_frame_cap": True}
    document["protocol"] |= {"frame_cap": 108_000}
    file = parse(encoded(document))
    assert isinstance(file, RecordingFile)
    assert file.reached_own_limit == at_limit


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        (b"{ no", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[]", "neither"),
        (b'{"kind": "page"}', "neither"),
        (encoded(samples.recording(format=2)), "format"),
        (encoded(samples.recording(steps=-1)), "steps"),
        (encoded(samples.recording(seconds=float("nan"))), "seconds"),
        (encoded(samples.recording(score=float("inf"))), "episode.score"),
        (encoded(samples.recording(run="x" * 1000)), "run"),
        (encoded(samples.recording(source="rumour")), "source"),
        (encoded(samples.evaluation(float("nan"))), "statistics.mean"),
    ],
)
def test_invalid_recording_and_evaluation_files_are_refused_with_a_reason(
    document: bytes, complaint: str
) -> None:
    with pytest.raises(UserError, match=complaint) as refused:
        parse(document)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "name",
    [
        "../a.mp4",
        "/a.mp4",
        "a/b.mp4",
        "..",
        "a\\b.mp4",
        "C:a.mp4",
        "http://a.b/c.mp4",
        "//h/a.mp4",
        ".hidden.mp4",
        "a\n.mp4",
        "",
    ],
)
def test_a_recording_may_only_name_files_in_its_own_folder(name: str) -> None:
    with pytest.raises(UserError, match=r"files\.mp4\.name"):
        parse(encoded(samples.recording(files={"mp4": {"name": name, "seconds": 1.0}})))


def test_recordings_that_link_out_of_the_folder_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "secret.mp4").write_bytes(b"x")
    folder = tmp_path / "videos" / "game"
    samples.write_json(folder / "one.json", samples.recording())
    (folder / "one.mp4").symlink_to(tmp_path / "secret.mp4")
    data, notes = collect(tmp_path / "none", tmp_path / "videos")
    assert data["recordings"] == []
    assert "its GIF or MP4 is not beside it" in notes[0]


# Runs and recordings


def test_recordings_are_grouped_by_run_and_sorted_by_training_step(tmp_path: Path) -> None:
    root = tmp_path / "checkpoints"
    videos = tmp_path / "videos"
    for name in ("seed10", "seed2"):
        samples.write_run(root, name)
    for steps in (200_000, 9_000, 100_000):
        with_file(videos, run="seed10", steps=steps)
    samples.write_json(videos / "x" / "evaluation.json", samples.evaluation(20.0, run="seed2"))
    data, notes = collect(root, videos)
    assert notes == []
    assert [run["name"] for run in data["runs"]] == ["seed2", "seed10"]
    assert [part["steps"] for part in data["recordings"]] == [9_000, 100_000, 200_000]
    assert {part["run"] for part in data["recordings"]} == {1}
    assert data["evaluations"][0]["run"] == 0
    assert data["games"] == [{"id": samples.BREAKOUT, "reference": (1.7, 30.5)}]
    first = data["runs"][0]
    assert first["settings"] is not None
    assert first["settings"]["optimizer.name"] == "adam"
    assert first["curve"] is not None
    assert (first["commit"], first["curve"]["steps"][-1]) == ("abc123", 200_000)


def test_recordings_are_listed_even_when_their_run_is_gone(
    tmp_path: Path,
) -> None:
    with_file(
        tmp_path / "videos",
        game="ALE/Breakout-v5",
        run="random",
        recipe=None,
        source="random",
        steps=0,
    )
    with_file(tmp_path / "videos", game="CartPole-v1", rom=None, run="pole", recipe="cartpole")
    data, _ = collect(tmp_path / "none", tmp_path / "videos")
    assert [(game["id"], game["reference"]) for game in data["games"]] == [
        ("ALE/Breakout-v5", (1.7, 30.5)),
        ("CartPole-v1", None),
    ]
    assert [(run["name"], run["recipe"], run["curve"]) for run in data["runs"]] == [
        ("random", None, None),
        ("pole", "cartpole", None),
    ]
    assert data["recordings"][0]["mp4"][0].startswith("ALE-Breakout-v5/random/step")


def test_runs_without_a_rom_or_without_episodes_are_listed(tmp_path: Path) -> None:
    samples.write_run(tmp_path, "pole", game="CartPole-v1", recipe="cartpole")
    samples.write_run(tmp_path, "begun", episodes=0)
    data, _ = collect(tmp_path, tmp_path / "videos")
    lengths = {run["name"]: len(run["curve"]["steps"]) for run in data["runs"] if run["curve"]}
    assert lengths == {"begun": 0, "pole": 400}
    assert [run["name"] for run in data["runs"]] == ["begun", "pole"]
    assert data["runs"][1]["rom"] is None


def test_periodic_evaluations_of_a_run_are_read(tmp_path: Path) -> None:
    run = samples.write_run(tmp_path, "run")
    (run / "evaluations.csv").write_text(
        "steps,mean,median\n50000,3.5,3\n100000,7.25,7\n", encoding="utf-8"
    )
    data, _ = collect(tmp_path, tmp_path / "videos")
    assert data["runs"][0]["evaluations"] == {"steps": [50_000, 100_000], "mean": [3.5, 7.25]}


def test_protocols_differ_by_epsilon_but_not_by_seed(tmp_path: Path) -> None:
    different: list[dict[str, Any]] = [{"seed": 1}, {"seed": 2}, {"epsilon": 0.001}]
    for number, changes in enumerate(different):
        samples.write_json(
            tmp_path / f"{number}.json",
            samples.evaluation(1.0, protocol=samples.protocol(**changes)),
        )
    data, _ = collect(tmp_path / "none", tmp_path)
    assert sorted(part["protocol"] for part in data["evaluations"]) == [0, 0, 1]
    assert [protocol["epsilon"] for protocol in data["protocols"]] == ["0.05", "0.001"]


def test_unreadable_runs_and_recordings_are_skipped_with_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "checkpoints"
    videos = tmp_path / "videos"
    samples.write_run(root, "sound")
    broken = samples.write_run(root, "broken")
    (broken / "config.toml").write_text("no toml", encoding="utf-8")
    nameless = samples.write_run(root, "nameless")
    (nameless / "config.toml").write_text("game = 3", encoding="utf-8")
    (samples.write_run(root, "odd") / "run.json").write_text('{"starts": 3}', encoding="utf-8")
    with_file(videos)
    (videos / "bad.json").write_text("{", encoding="utf-8")
    (videos / "bare.gif").write_bytes(b"GIF")
    with_file(videos, steps=5).with_suffix(".mp4").unlink()
    assert main(["gallery", "--root", str(root), "--videos", str(videos)]) == 0
    printed = capsys.readouterr()
    assert (
        printed.out
        == f"{videos / 'index.html'}: 3 runs, 0 released agents, 1 recordings, 0 evaluations\n"
    )
    notes = printed.err.splitlines()
    assert len(notes) == 5
    assert all(note.startswith("note: ") for note in notes)
    for part in (
        "bad.json' is skipped: not valid JSON",
        "not beside it",
        "cannot be read",
        "names no game",
        "1 GIF or MP4",
    ):
        assert part in printed.err


def test_a_gallery_without_any_runs_is_a_one_line_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gallery", "--root", str(tmp_path / "c"), "--videos", str(tmp_path / "v")]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: no runs in ")
    assert printed.err.count("\n") == 1
    assert not (tmp_path / "v").exists()


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = with_file(tmp_path / "videos")
    assert collect(tmp_path, tmp_path / "videos")[0]["recordings"][0]["score"] == 3
    document = json.loads(path.read_text())
    document["episode"]["score"] = 44.0
    samples.write_json(path, document)
    assert collect(tmp_path, tmp_path / "videos")[0]["recordings"][0]["score"] == 44


def test_runs_released_agents_and_random_play_are_told_apart(tmp_path: Path) -> None:
    root = tmp_path / "checkpoints"
    videos = tmp_path / "videos"
    samples.write_run(root, "mine")
    agent = samples.write_run(root, "agent")
    (root / "released").mkdir()
    agent.rename(root / "released" / "agent")
    samples.write_json(
        root / "released" / "agent" / "agent_evaluation_1.json",
        samples.evaluation(9.0, run="agent"),
    )
    samples.write_json(
        videos / "random.json", samples.evaluation(1.5, run="random", recipe=None, source="random")
    )
    data, notes = collect(root, videos)
    assert notes == []
    assert {run["name"]: run["kind"] for run in data["runs"]} == {
        "agent": "released",
        "mine": "run",
        "random": "random",
    }
    assert [(part["run"], part["mean"]) for part in data["evaluations"]] == [(0, 9), (2, 1.5)]
    assert [line["recipe"] for line in data["leaderboard"]] == [samples.DEFAULT]


def test_a_recording_outside_the_recordings_is_skipped(tmp_path: Path) -> None:
    released = tmp_path / "checkpoints" / "released"
    samples.write_run(tmp_path / "checkpoints", "agent").parent.rename(released)
    samples.write_json(released / "agent" / "a_evaluation_b.json", samples.recording())
    data, notes = collect(tmp_path / "checkpoints", tmp_path / "videos")
    assert data["recordings"] == []
    assert "must be below the directory of all recordings" in notes[0]


def test_runs_know_when_they_were_started_last(tmp_path: Path) -> None:
    run = samples.write_run(tmp_path, "run")
    starts = [{"time": "2026-11-20T10:15:00+0000", "commit": "abc123"}]
    later = {"time": "2026-11-21T12:15:00+0200", "commit": "def456"}
    samples.write_json(run / "run.json", {"starts": [*starts, later]})
    found = collect(tmp_path, tmp_path / "videos")[0]["runs"][0]
    assert found["newest"] == datetime(2026, 11, 21, 10, 15, tzinfo=UTC).timestamp()
    assert (found["started"], found["commit"]) == ("2026-11-20T10:15:00+0000", "abc123")
    samples.write_json(run / "run.json", {"starts": [*starts, {"time": "noon"}]})
    found = collect(tmp_path, tmp_path / "videos")[0]["runs"][0]
    assert found["newest"] == (run / "config.toml").stat().st_mtime
    assert found["commit"] == "abc123"


def test_loss_max_q_and_speed_are_read_where_they_were_logged(tmp_path: Path) -> None:
    run = samples.write_run(tmp_path, "run")
    found: Any = collect(tmp_path, tmp_path / "videos")[0]["runs"][0]["progress"]
    assert found["max_q"] == {"steps": [], "values": []}
    (run / "metrics.csv").write_text(
        "steps,epsilon,loss,mean_max_q,steps_per_second\n"
        "1000,1,nan,nan,900.5\n2000,0.5,0.25,1.5,800\n",
        encoding="utf-8",
    )
    found = collect(tmp_path, tmp_path / "videos")[0]["runs"][0]["progress"]
    assert found == {
        "loss": {"steps": [2000], "values": [0.25]},
        "max_q": {"steps": [2000], "values": [1.5]},
        "speed": {"steps": [1000, 2000], "values": [900.5, 800]},
    }


@pytest.mark.parametrize(
    ("started_by", "expected"),
    [
        (
            "make",
            [
                "make train GAME=BreakoutDeterministic-v4 RUN={run}",
                "make eval CKPT={run}",
                "make train GAME=BreakoutDeterministic-v4 RUN={done} STEPS=400000",
                "make eval CKPT={done}",
            ],
        ),
        (
            "",
            [
                "atari-dqn train --game BreakoutDeterministic-v4 --run-dir {run}",
                "atari-dqn eval {run}",
                "atari-dqn train --game BreakoutDeterministic-v4 --run-dir {done} "
                "--total-steps 400000",
                "atari-dqn eval {done}",
            ],
        ),
    ],
)
def test_each_run_has_the_commands_to_continue_and_to_evaluate_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started_by: str, expected: list[str]
) -> None:
    monkeypatch.setenv("ATARI_DQN_STARTED_BY", started_by)
    begun = samples.write_run(tmp_path, "begun it's")
    done = samples.write_run(tmp_path, "done", overrides={"training.total_steps": 200_000})
    data, _ = collect(tmp_path, tmp_path / "videos")
    texts = [command["text"] for run in data["runs"] for command in run["commands"]]
    quoted = shlex.quote(str(begun))
    assert texts == [text.format(run=quoted, done=done) for text in expected]


# The leaderboard


def test_the_leaderboard_has_means_and_intervals_over_seeds(tmp_path: Path) -> None:
    root = tmp_path / "checkpoints"
    videos = tmp_path / "videos"
    scores = {1: 10.0, 2: 20.0, 3: 60.0}
    for seed, score in scores.items():
        samples.write_run(root, f"seed{seed}", overrides={"machine.seed": seed})
        samples.write_json(
            videos / f"{seed}.json",
            samples.evaluation(score, run=f"seed{seed}", steps=1_000 * seed),
        )
    samples.write_json(videos / "early.json", samples.evaluation(99.0, run="seed1", steps=10))
    samples.write_run(root, "changed", overrides={"agent.n_step": 9})
    samples.write_json(videos / "changed.json", samples.evaluation(40.0, run="changed"))
    samples.write_json(
        videos / "other.json",
        samples.evaluation(5.0, run="seed3", protocol=samples.protocol(epsilon=0.5)),
    )
    lines = collect(root, videos)[0]["leaderboard"]
    assert [(line["recipe"], line["seeds"], line["mean"]) for line in lines] == [
        (f"{samples.DEFAULT}, agent.n_step=9", 1, 40),
        (samples.DEFAULT, 3, 30),
        (samples.DEFAULT, 1, 5),
    ]
    changed, default, _ = lines
    assert changed["interval"] is None
    assert default["interval"] is not None
    low, high = default["interval"]
    assert 10 <= low < 30 < high <= 60
    assert (default["best"], default["steps"]) == (60, [1_000, 3_000])
    assert default["human_normalised"] == pytest.approx((30 - 1.7) / 28.8)


def test_two_runs_of_one_seed_count_once_in_the_leaderboard(tmp_path: Path) -> None:
    for name, steps in (("short", 1_000), ("long", 2_000)):
        samples.write_run(tmp_path, name)
        samples.write_json(
            tmp_path / f"{name}.json", samples.evaluation(float(steps), run=name, steps=steps)
        )
    (line,) = collect(tmp_path, tmp_path)[0]["leaderboard"]
    assert (line["seeds"], line["mean"], line["interval"]) == (1, 2_000, None)


# The page


@given(st.dictionaries(st.text(), st.text()))
def test_no_text_can_break_out_of_the_data_script(texts: dict[str, str]) -> None:
    script = as_script({"texts": texts})
    assert script.isascii()
    assert not set(script.splitlines()[0].removesuffix(";")[30:]) & set("<>&\u2028\u2029")
    assert json.loads(script.removeprefix("window.galleryData = ").partition(";\nwindow")[0]) == {
        "texts": texts
    }


def test_the_page_is_self_contained_and_can_be_zipped(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    with_file(videos)
    page = write_page(videos, collect(tmp_path, videos)[0])
    html = page.read_text(encoding="utf-8")
    assert "http:" not in html.replace("http-equiv", "")
    assert "https:" not in html
    named = {part.split('"')[0] for part in html.split('="gallery/')[1:]}
    assert {"theme.js", "data.js", "gallery.css"} <= named
    assert {path.name for path in (videos / "gallery").iterdir()} == named | {CHARTS}
    with zipfile.ZipFile(tmp_path / "page.zip", "w") as archive:
        for path in videos.rglob("*"):
            archive.write(path, path.relative_to(videos))
    assert zipfile.ZipFile(tmp_path / "page.zip").testzip() is None


def test_an_index_page_of_another_program_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<p>mine", encoding="utf-8")
    with pytest.raises(UserError, match="left as it is"):
        write_page(tmp_path, collect(tmp_path, tmp_path)[0])


def test_missing_gallery_packages_are_a_one_line_error_that_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(errors, "find_spec", lambda name: None if name == "plotly" else name)
    assert main(["gallery", "--videos", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        "error: the page needs jinja2, plotly and tornado: 'make gallery' installs them, "
        "as does pip install 'atari-dqn[gallery]'\n"
    )


def test_a_port_without_live_and_a_port_in_use_are_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gallery", "--videos", str(tmp_path), "--port", "1234"]) == 2
    assert "--port needs --live" in capsys.readouterr().err
    with Server(tmp_path, 0) as server:
        taken = str(server.port)
        assert (
            main(
                [
                    "gallery",
                    "--root",
                    str(tmp_path),
                    "--videos",
                    str(tmp_path),
                    "--live",
                    "--port",
                    taken,
                ]
            )
            == 2
        )
    assert f"port {taken} cannot be used" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# The server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    videos = tmp_path_factory.mktemp("served") / "videos"
    (videos.parent / "secret.json").parent.mkdir(exist_ok=True)
    (videos.parent / "secret.json").write_text("{}", encoding="utf-8")
    videos.mkdir()
    (videos / "index.html").write_text("<p>page", encoding="utf-8")
    (videos / "a b#.mp4").write_bytes(bytes(range(256)) * 1000)
    (videos / ".hidden.json").write_text("{}", encoding="utf-8")
    (videos / "run.py").write_text("", encoding="utf-8")
    (videos / "out.json").symlink_to(videos.parent / "secret.json")
    with Server(videos, 0) as running:
        running.start()
        yield running


def request(
    server: Server, target: str, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.putrequest(method, target, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    result = (answer.status, dict(answer.getheaders()), answer.read())
    connection.close()
    return result


def test_the_server_accepts_only_requests_to_localhost(server: Server) -> None:
    assert server.host == "127.0.0.1"
    assert request(server, "/")[0] == 200
    assert request(server, "/", Host="localhost:80")[0] == 200
    assert request(server, "/", Host="elsewhere.example")[0] == 421


def test_the_server_sends_whole_files_and_byte_ranges(server: Server) -> None:
    whole = bytes(range(256)) * 1000
    status, headers, body = request(server, "/a%20b%23.mp4?t=1")
    assert (status, body, headers["Content-Type"], headers["Accept-Ranges"]) == (
        200,
        whole,
        "video/mp4",
        "bytes",
    )
    status, headers, body = request(server, "/a%20b%23.mp4", Range="bytes=1000-200999")
    assert (status, body, headers["Content-Range"]) == (
        206,
        whole[1000:201_000],
        "bytes 1000-200999/256000",
    )
    assert request(server, "/a%20b%23.mp4", Range="bytes=-3")[2] == whole[-3:]
    assert request(server, "/a%20b%23.mp4", Range="bytes=256000-")[0] == 416
    status, headers, body = request(server, "/a%20b%23.mp4", method="HEAD")
    assert (status, body, headers["Content-Length"]) == (200, b"", "256000")


@pytest.mark.parametrize(
    "target",
    [
        "/../secret.json",
        "/%2e%2e/secret.json",
        "/..%2fsecret.json",
        "/x/../../secret.json",
        "//etc/passwd",
        "/..\\secret.json",
        "/out.json",
        "/.hidden.json",
        "/run.py",
        "/gallery",
        "/a%00.mp4",
        "/" + "x" * 5000 + ".mp4",
        "http://elsewhere.example/secret.json",
    ],
)
def test_files_that_are_hidden_outside_or_not_media_are_not_sent(
    server: Server, target: str
) -> None:
    assert request(server, target)[0] in (404, 421)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_the_server_refuses_methods_that_change_files(server: Server, method: str) -> None:
    assert request(server, "/index.html", method=method)[0] == 501


async def answers_at_once(server: Server, count: int) -> list[bytes]:
    """Opens many connections, asks for a part of a file in each, and reads when all are open."""
    connections = await asyncio.gather(
        *(asyncio.open_connection("127.0.0.1", server.port) for _ in range(count))
    )
    for number, (_, writer) in enumerate(connections):
        writer.write(
            f"GET /a%20b%23.mp4 HTTP/1.1\r\nHost: localhost\r\n"
            f"Range: bytes={number}-\r\n\r\n".encode()
        )
    bodies = []
    for number, (reader, writer) in reversed(list(enumerate(connections))):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 206 ")
        bodies.append(await reader.readexactly(256_000 - number))
        writer.close()
    return bodies[::-1]


def test_a_hundred_simultaneous_requests_are_answered_with_their_own_bytes(server: Server) -> None:
    whole = bytes(range(256)) * 1000
    bodies = asyncio.run(asyncio.wait_for(answers_at_once(server, 100), 60))
    assert bodies == [whole[number:] for number in range(100)]


def test_a_request_is_answered_while_a_hundred_connections_read_nothing(server: Server) -> None:
    idle = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=20) for _ in range(100)]
    for connection in idle:
        connection.request("GET", "/a%20b%23.mp4")
    assert request(server, "/")[2] == b"<p>page"
    for connection in idle:
        assert len(connection.getresponse().read()) == 256_000
        connection.close()


def test_a_file_that_the_browser_has_is_not_sent_again(server: Server) -> None:
    _, headers, _ = request(server, "/index.html")
    status, _, body = request(server, "/index.html", **{"If-None-Match": headers["Etag"]})
    assert (status, body) == (304, b"")
    assert request(server, "/index.html", **{"If-None-Match": '"older"'})[2] == b"<p>page"


def test_every_answer_forbids_guessing_types_and_names_no_server(server: Server) -> None:
    for target in ("/", "/none.html"):
        _, headers, _ = request(server, target)
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "Server" not in headers


def test_a_server_stops_while_pages_are_open(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "index.html").write_text("<p>page", encoding="utf-8")
    with Server(tmp_path, 0) as stopping:
        stopping.start()
        connection = http.client.HTTPConnection("127.0.0.1", stopping.port, timeout=20)
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"<p>page"
    connection.close()
    assert caplog.records == []
    with Server(tmp_path, stopping.port):
        pass


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Creates a served folder with a page and with links to a secret outside the folder."""
    outside = tmp_path_factory.mktemp("outside").resolve()
    (outside / "secret.html").write_text("secret")
    folder = outside / "served"
    (folder / "gallery").mkdir(parents=True)
    (folder / "index.html").write_text("page")
    (folder / "gallery" / "data.js").write_text("data")
    (folder / "link.html").symlink_to(outside / "secret.html")
    (folder / "up").symlink_to(outside)
    return folder


PARTS = ["index.html", "gallery", "data.js", "secret.html", "link.html", "up", "..", ".", "%2e%2e"]


@given(st.text(max_size=60) | st.lists(st.sampled_from(PARTS), max_size=5).map("/".join))
def test_no_request_finds_a_file_outside_the_served_folder(served: Path, target: str) -> None:
    found = find_file(served, "/" + target)
    assert found is None or found.resolve().is_relative_to(served)


def test_files_in_the_served_folder_are_found_but_links_are_not_followed(served: Path) -> None:
    assert find_file(served, "/index.html") == served / "index.html"
    assert find_file(served, "/gallery/data.js") == served / "gallery" / "data.js"
    assert find_file(served, "/link.html") is None
    assert find_file(served, "/up/secret.html") is None


@given(
    st.text(max_size=20) | st.from_regex(r"bytes=\d{0,4}-\d{0,4}", fullmatch=True),
    st.integers(0, 2000),
)
def test_a_requested_byte_range_lies_within_the_file(header: str, size: int) -> None:
    try:
        part = requested_range(header, size)
    except ValueError:
        return
    assert part is None or 0 <= part[0] < part[1] <= size


def follow(root: Path, videos: Path) -> None:
    with live_page(root, videos, 0) as page:
        page.follow()


def test_a_live_page_adds_new_recordings_and_stops_at_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = tmp_path / "videos"
    seen = []

    def sleep(seconds: float) -> None:
        seen.append((videos / "gallery" / "data.js").read_text())
        if len(seen) == 1:
            with_file(videos, run="new")
        elif len(seen) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("atari_dqn.gallery.serve.time.sleep", sleep)
    follow(tmp_path / "checkpoints", videos)
    assert ['"name":"new"' in text for text in seen] == [False, True, True]
    assert '"live":true' in seen[-1]
    assert '"live":false' in (videos / "gallery" / "data.js").read_text(), (
        "a page opened from disk has no server to poll"
    )


def test_the_wheel_contains_the_templates_and_static_files(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent.parent
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(
        build,
        cwd=root,
        check=True,
        capture_output=True,
        env=os.environ | {"SOURCE_DATE_EPOCH": "1700000000"},
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        f"atari_dqn/gallery/{name}"
        for name in ("templates/index.html", "static/app.js", "static/gallery.css")
    } <= names


def test_deleting_the_followed_folder_is_a_one_line_error_and_does_not_recreate_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = tmp_path / "videos"
    monkeypatch.setattr("atari_dqn.gallery.serve.time.sleep", lambda seconds: shutil.rmtree(videos))
    with pytest.raises(UserError, match=r"videos' has been deleted, and the page with it$"):
        follow(tmp_path / "checkpoints", videos)
    assert list(tmp_path.iterdir()) == []
