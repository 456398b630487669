"""Tests how words of the command line become paths."""

from pathlib import Path

import pytest

from atari_dqn.commands.arguments import paths_of


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Creates and enters a directory of runs whose names are awkward for a shell."""
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
        # A word that exists as a path is that path, even if a shell would expand it.
        (["a b"], ["a b"]),
        (["o'brien"], ["o'brien"]),
        (["[1]"], ["[1]"]),
        (["a*"], ["a*"]),
        (["$c", "é ü"], ["$c", "é ü"]),
        # One word may hold several paths, quoted as in a shell.
        (["plain x1"], ["plain", "x1"]),
        (["'a b' plain"], ["a b", "plain"]),
        (['"o\'brien" x1'], ["o'brien", "x1"]),
        ([r"a\ b x1"], ["a b", "x1"]),
        (["o'brien x1"], ["o'brien", "x1"]),
        (["  plain\n x1\t"], ["plain", "x1"]),
        (["plain [1]"], ["plain", "[1]"]),
        (["plain #x1"], ["plain", "#x1"]),
        # Wildcards expand relative to the working directory, sorted.
        (["x*"], ["x1", "x10", "x2"]),
        (["x? plain"], ["x1", "x2", "plain"]),
        (["sub/*"], ["sub/y 2", "sub/y1"]),
        (["o'brien x[12]"], ["o'brien", "x1", "x2"]),
        (["*1*"], ["[1]", "x1", "x10"]),
        # A word that matches nothing stays unchanged.
        (["nothing"], ["nothing"]),
        (["plain no*where"], ["plain", "no*where"]),
        (["o'neill x1"], ["o'neill", "x1"]),
        (["~nobody_of_that_name/x"], ["~nobody_of_that_name/x"]),
        ([" "], [" "]),
        ([], []),
    ],
)
def test_words_are_split_and_expanded_into_paths(
    here: Path, words: list[str], paths: list[str]
) -> None:
    assert paths_of(words) == [Path(path) for path in paths]


def test_absolute_paths_and_the_home_directory_are_expanded(here: Path) -> None:
    assert paths_of([f"{here}/x?"]) == [here / "x1", here / "x2"]
    assert paths_of(["~/r* plain"]) == [here.parent / "home" / "runs", Path("plain")]


def test_a_word_longer_than_any_file_name_is_accepted(here: Path) -> None:
    assert paths_of([" ".join(["plain"] * 5_000)]) == [Path("plain")] * 5_000
    assert paths_of(["x" * 5_000]) == [Path("x" * 5_000)]
