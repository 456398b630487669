from pathlib import Path

import pytest

from atari_dqn.commands.arguments import paths_of


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with runs of all kinds of names."""
    names = (
        "a b",
        "o'brien",
        "plain",
        "x1",
        "x2",
        "x10",
        "$c",
        "[1]",
        "é ü",
        "sub/y1",
        "sub/y 2",
        ".hidden",
        "a",
        "a*",
    )
    for name in names:
        (tmp_path / "here" / name).mkdir(parents=True)
    (tmp_path / "home" / "runs").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "here"


@pytest.mark.parametrize(
    ("words", "paths"),
    [
        # What exists is itself, whatever a shell would make of it.
        (["a b"], ["a b"]),
        (["o'brien"], ["o'brien"]),
        (["[1]"], ["[1]"]),
        (["a*"], ["a*"]),
        (["$c", "é ü"], ["$c", "é ü"]),
        # Several in one word.
        (["plain x1"], ["plain", "x1"]),
        (["'a b' plain"], ["a b", "plain"]),
        (['"o\'brien" x1'], ["o'brien", "x1"]),
        ([r"a\ b x1"], ["a b", "x1"]),
        (["o'brien x1"], ["o'brien", "x1"]),
        (["  plain\n x1\t"], ["plain", "x1"]),
        (["plain [1]"], ["plain", "[1]"]),
        (["plain #x1"], ["plain", "#x1"]),
        # Wildcards, sorted, relative to where one is.
        (["x*"], ["x1", "x10", "x2"]),
        (["x? plain"], ["x1", "x2", "plain"]),
        (["sub/*"], ["sub/y 2", "sub/y1"]),
        (["o'brien x[12]"], ["o'brien", "x1", "x2"]),
        (["*1*"], ["[1]", "x1", "x10"]),
        # What matches nothing stays as it is.
        (["nothing"], ["nothing"]),
        (["plain no*where"], ["plain", "no*where"]),
        (["o'neill x1"], ["o'neill", "x1"]),
        (["~nobody_of_that_name/x"], ["~nobody_of_that_name/x"]),
        ([" "], [" "]),
        ([], []),
    ],
)
def test_words_become_paths(here: Path, words: list[str], paths: list[str]) -> None:
    assert paths_of(words) == [Path(path) for path in paths]


def test_absolute_paths_and_the_home_directory(here: Path) -> None:
    assert paths_of([f"{here}/x?"]) == [here / "x1", here / "x2"]
    assert paths_of(["~/r* plain"]) == [here.parent / "home" / "runs", Path("plain")]


def test_a_word_may_be_longer_than_any_name(here: Path) -> None:
    assert paths_of([" ".join(["plain"] * 5_000)]) == [Path("plain")] * 5_000
    assert paths_of(["x" * 5_000]) == [Path("x" * 5_000)]
