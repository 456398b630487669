import http.client
import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
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
    """A recording whose file is no video at all, which only a browser would notice."""
    file = videos.parent / "media.mp4"
    file.write_bytes(bytes(range(256)) * 4)
    return samples.write_recording(videos, {"mp4": file}, **changes)


# Curves


def test_a_thinned_line_keeps_its_ends_its_peaks_and_its_order() -> None:
    x = np.arange(10_000.0)
    y = np.sin(x / 900)
    y[[1234, 7777]] = 9, -9
    kept = thin(x, y, 200)
    assert len(kept) == 200
    assert (kept[0], kept[-1]) == (0, 9_999)
    assert (np.diff(kept) > 0).all()
    assert {1234, 7777} <= set(kept.tolist())


@given(st.lists(st.floats(-1e6, 1e6), max_size=60), st.integers(3, 20))
def test_a_line_is_thinned_to_as_many_points_as_are_wanted(
    heights: list[float], points: int
) -> None:
    kept = thin(np.arange(len(heights), dtype=float), np.array(heights), points)
    assert len(kept) == min(len(heights), points)
    assert (np.diff(kept) > 0).all()


def test_a_curve_has_score_and_epsilon_by_step(tmp_path: Path) -> None:
    curve: Any = thinned_curve(samples.write_run(tmp_path, "run", top=20.0))
    assert len(curve["steps"]) == len(curve["score"]) == len(curve["epsilon"]) == 400
    assert (curve["steps"][-1], curve["score"][-1], curve["epsilon"][-1]) == (200_000, 20, 0)
    np.testing.assert_allclose(
        np.array(curve["steps"]) / 200_000, 1 - np.array(curve["epsilon"]), atol=1e-4
    )


def test_rows_that_are_being_written_and_columns_that_are_missing_do_no_harm(
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


# What others may have written


def test_what_follows_the_contract_is_read() -> None:
    assert isinstance(parse(encoded(samples.recording())), RecordingFile)
    assert isinstance(parse(encoded(samples.evaluation(3.0))), EvaluationFile)


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
def test_what_does_not_is_refused_with_a_reason(document: bytes, complaint: str) -> None:
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
def test_files_of_a_recording_lie_beside_it(name: str) -> None:
    with pytest.raises(UserError, match=r"files\.mp4\.name"):
        parse(encoded(samples.recording(files={"mp4": {"name": name, "seconds": 1.0}})))


def test_links_that_lead_out_of_the_folder_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "secret.mp4").write_bytes(b"x")
    folder = tmp_path / "videos" / "game"
    samples.write_json(folder / "one.json", samples.recording())
    (folder / "one.mp4").symlink_to(tmp_path / "secret.mp4")
    data, notes = collect(tmp_path / "none", tmp_path / "videos")
    assert data["recordings"] == []
    assert "its GIF or MP4 is not beside it" in notes[0]


# Runs and recordings


def test_recordings_stand_with_their_runs_in_the_order_of_training(tmp_path: Path) -> None:
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


def test_recordings_whose_run_is_gone_are_shown_alone_under_ids_with_slashes_too(
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


def test_a_run_of_vectors_and_one_that_has_only_begun_are_shown(tmp_path: Path) -> None:
    samples.write_run(tmp_path, "pole", game="CartPole-v1", recipe="cartpole")
    samples.write_run(tmp_path, "begun", episodes=0)
    data, _ = collect(tmp_path, tmp_path / "videos")
    lengths = {run["name"]: len(run["curve"]["steps"]) for run in data["runs"] if run["curve"]}
    assert lengths == {"begun": 0, "pole": 400}
    assert [run["name"] for run in data["runs"]] == ["begun", "pole"]
    assert data["runs"][1]["rom"] is None


def test_short_evaluations_in_training_are_read(tmp_path: Path) -> None:
    run = samples.write_run(tmp_path, "run")
    (run / "evaluations.csv").write_text(
        "steps,mean,median\n50000,3.5,3\n100000,7.25,7\n", encoding="utf-8"
    )
    data, _ = collect(tmp_path, tmp_path / "videos")
    assert data["runs"][0]["evaluations"] == {"steps": [50_000, 100_000], "mean": [3.5, 7.25]}


def test_two_seeds_are_one_protocol_and_two_epsilons_are_two(tmp_path: Path) -> None:
    different: list[dict[str, Any]] = [{"seed": 1}, {"seed": 2}, {"epsilon": 0.001}]
    for number, changes in enumerate(different):
        samples.write_json(
            tmp_path / f"{number}.json",
            samples.evaluation(1.0, protocol=samples.protocol(**changes)),
        )
    data, _ = collect(tmp_path / "none", tmp_path)
    assert sorted(part["protocol"] for part in data["evaluations"]) == [0, 0, 1]
    assert [protocol["epsilon"] for protocol in data["protocols"]] == ["0.05", "0.001"]


def test_what_is_broken_is_skipped_with_a_note(
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
    said = capsys.readouterr()
    assert said.out == f"{videos / 'index.html'}: 3 runs, 1 recordings, 0 evaluations\n"
    notes = said.err.splitlines()
    assert len(notes) == 5
    assert all(note.startswith("note: ") for note in notes)
    for part in (
        "bad.json' is skipped: not valid JSON",
        "not beside it",
        "cannot be read",
        "names no game",
        "1 GIF or MP4",
    ):
        assert part in said.err


def test_nothing_at_all_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gallery", "--root", str(tmp_path / "c"), "--videos", str(tmp_path / "v")]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: no runs in ")
    assert said.err.count("\n") == 1
    assert not (tmp_path / "v").exists()


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = with_file(tmp_path / "videos")
    assert collect(tmp_path, tmp_path / "videos")[0]["recordings"][0]["score"] == 3
    document = json.loads(path.read_text())
    document["episode"]["score"] = 44.0
    samples.write_json(path, document)
    assert collect(tmp_path, tmp_path / "videos")[0]["recordings"][0]["score"] == 44


# The page


@given(st.dictionaries(st.text(), st.text()))
def test_no_text_can_leave_the_script_that_holds_it(texts: dict[str, str]) -> None:
    script = as_script({"texts": texts})
    assert script.isascii()
    assert not set(script.splitlines()[0].removesuffix(";")[30:]) & set("<>&\u2028\u2029")
    assert json.loads(script.removeprefix("window.galleryData = ").partition(";\nwindow")[0]) == {
        "texts": texts
    }


def test_the_page_needs_nothing_but_its_folder_and_can_be_zipped(tmp_path: Path) -> None:
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


def test_a_page_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<p>mine", encoding="utf-8")
    with pytest.raises(UserError, match="left as it is"):
        write_page(tmp_path, collect(tmp_path, tmp_path)[0])


def test_without_its_packages_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(errors, "find_spec", lambda name: None if name == "plotly" else name)
    assert main(["gallery", "--videos", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        "error: the page needs jinja2 and plotly: 'make gallery' installs them, "
        "as does pip install 'atari-dqn[gallery]'\n"
    )


def test_a_port_without_a_server_and_a_port_that_is_taken_are_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gallery", "--videos", str(tmp_path), "--port", "1234"]) == 2
    assert "--port needs --live" in capsys.readouterr().err
    with Server(tmp_path, 0) as server:
        taken = str(server.server_port)
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
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def ask(
    server: Server, target: str, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.putrequest(method, target, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    result = (answer.status, dict(answer.getheaders()), answer.read())
    connection.close()
    return result


def test_it_listens_to_this_machine_only(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert ask(server, "/")[0] == 200
    assert ask(server, "/", Host="localhost:80")[0] == 200
    assert ask(server, "/", Host="elsewhere.example")[0] == 421


def test_whole_files_and_parts_of_them_are_sent(server: Server) -> None:
    whole = bytes(range(256)) * 1000
    status, headers, body = ask(server, "/a%20b%23.mp4?t=1")
    assert (status, body, headers["Content-Type"], headers["Accept-Ranges"]) == (
        200,
        whole,
        "video/mp4",
        "bytes",
    )
    status, headers, body = ask(server, "/a%20b%23.mp4", Range="bytes=1000-200999")
    assert (status, body, headers["Content-Range"]) == (
        206,
        whole[1000:201_000],
        "bytes 1000-200999/256000",
    )
    assert ask(server, "/a%20b%23.mp4", Range="bytes=-3")[2] == whole[-3:]
    assert ask(server, "/a%20b%23.mp4", Range="bytes=256000-")[0] == 416
    status, headers, body = ask(server, "/a%20b%23.mp4", method="HEAD")
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
def test_nothing_else_is_sent(server: Server, target: str) -> None:
    assert ask(server, target)[0] in (404, 421)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_can_be_changed(server: Server, method: str) -> None:
    assert ask(server, "/index.html", method=method)[0] == 501


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A served folder with a page, a secret beside the folder, and links that lead to it."""
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
def test_whatever_is_asked_for_lies_in_the_folder(served: Path, target: str) -> None:
    found = find_file(served, "/" + target)
    assert found is None or found.resolve().is_relative_to(served)


def test_what_lies_in_the_folder_is_found(served: Path) -> None:
    assert find_file(served, "/index.html") == served / "index.html"
    assert find_file(served, "/gallery/data.js") == served / "gallery" / "data.js"
    assert find_file(served, "/link.html") is None
    assert find_file(served, "/up/secret.html") is None


@given(
    st.text(max_size=20) | st.from_regex(r"bytes=\d{0,4}-\d{0,4}", fullmatch=True),
    st.integers(0, 2000),
)
def test_a_part_lies_in_the_file(header: str, size: int) -> None:
    try:
        part = requested_range(header, size)
    except ValueError:
        return
    assert part is None or 0 <= part[0] < part[1] <= size


def follow(root: Path, videos: Path) -> None:
    with live_page(root, videos, 0) as page:
        page.follow()


def test_following_a_run_writes_what_is_new_and_ends_with_ctrl_c(
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
        "from disk it has nobody to ask"
    )


def test_the_wheel_has_what_the_page_is_made_of(tmp_path: Path) -> None:
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


def test_a_folder_that_is_deleted_while_it_is_followed_is_one_line_and_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = tmp_path / "videos"
    monkeypatch.setattr("atari_dqn.gallery.serve.time.sleep", lambda seconds: shutil.rmtree(videos))
    with pytest.raises(UserError, match=r"videos' has been deleted, and the page with it$"):
        follow(tmp_path / "checkpoints", videos)
    assert list(tmp_path.iterdir()) == []
