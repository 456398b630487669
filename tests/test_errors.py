"""Tests how messages are escaped, shortened and put on one line."""

import unicodedata
from pathlib import Path
from typing import Any

import pytest

from atari_dqn.cli import main
from atari_dqn.config.resolve import load_config, read_config
from atari_dqn.console import say_notes
from atari_dqn.errors import LONGEST_MESSAGE, LONGEST_VALUE, UserError, one_line, shorten
from atari_dqn.recording.episode_file import read_episode
from atari_dqn.sweep.plan import make_plan

CONTROLS = [chr(number) for number in (*range(0x01, 0x0A), *range(0x0B, 0x20), *range(0x7F, 0xA0))]
DIRECTIONAL = [*"\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u061c"]
OTHERS = ["\u2028", "\u2029", "\ufeff", "\u200b", "\udc80", "\U000e0041", "\ue000"]


@pytest.mark.parametrize(
    "letter", [*CONTROLS, *DIRECTIONAL, *OTHERS], ids=lambda letter: f"{ord(letter):x}"
)
def test_control_and_invisible_characters_are_escaped(letter: str) -> None:
    line = one_line(f"before{letter}after")
    assert line == f"before{letter.encode('unicode_escape').decode()}after"
    assert not [one for one in line if unicodedata.category(one).startswith("C")]


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("first\nsecond\r\n  third\n", "first second third"),
        ("é, ü, 漢字, 🎮 and 'o'brien' stay", "é, ü, 漢字, 🎮 and 'o'brien' stay"),
        ("", ""),
    ],
)
def test_a_message_is_put_on_one_line(message: str, line: str) -> None:
    assert one_line(message) == line


LONG = "x" * 10_000
SPACED = "ab " * 3_000


@pytest.mark.parametrize(
    "value",
    [LONG, SPACED, "\x1b" * 5_000, "a b'c " * 2_000],
    ids=["word", "words", "escapes", "apostrophes"],
)
@pytest.mark.parametrize(
    "message",
    [
        "unknown game '{}' today",
        'a name "{}" today',
        "settings: a.b = '{}': today",
        "['{}', 1] today",
    ],
)
def test_a_long_quoted_value_is_shortened_and_the_rest_is_kept(message: str, value: str) -> None:
    before, after = message.split("{}")
    line = one_line(message.format(value))
    assert line.startswith(before)
    assert line.endswith("..." + after)
    assert len(line) == len(before) + LONGEST_VALUE + len(after)


def test_a_long_unquoted_word_is_shortened_but_prose_is_not() -> None:
    assert one_line(f"before {LONG} after") == f"before {'x' * (LONGEST_VALUE - 3)}... after"
    prose = "it's 'a' and o'brien's 'b', " * 10
    assert one_line(prose) == prose.strip()
    assert shorten("x" * LONGEST_VALUE) == "x" * LONGEST_VALUE
    assert len(one_line("'' " * 5_000)) == LONGEST_MESSAGE


NASTY = "\x1b]0;title\x07\u202e\x9b2J"
LONG_TEXTS = {
    "a word": NASTY + "z" * 100_000,
    "words": NASTY + "z y " * 25_000,
    "lines": f"{NASTY}\n" + "z'\n" * 30_000,
}


@pytest.mark.parametrize("text", LONG_TEXTS.values(), ids=LONG_TEXTS)
@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--game", "TEXT"],
        ["train", "--game", "pong", "--config", "TEXT"],
        ["train", "--game", "pong", "--protocol", "TEXT"],
        ["train", "--game", "pong", "--agent.gamma", "TEXT"],
        ["train", "--game", "pong", "--agent.gamma=TEXT"],
        ["train", "--game", "pong", "--network.torso", "TEXT"],
        ["train", "--game", "pong", "--environment.frame_skip", "TEXT"],
        ["train", "--game", "pong", "--environment.kwargs", "TEXT"],
        ["train", "--game", "pong", "--agent.TEXT", "1"],
        ["train", "--game", "pong", "--agent.TEXT"],
        ["train", "--game", "pong", "--TEXT"],
        ["train", "--game", "pong", "TEXT"],
        ["train", "--game", "pong", "--total-steps", "TEXT"],
        ["train", "--game", "pong", "--init-from", "TEXT"],
        ["eval", "TEXT"],
        ["eval", "x", "--episodes", "TEXT"],
        ["eval", "x", "--epsilon", "TEXT"],
        ["record", "--replay", "TEXT", "--out", "a.gif"],
        ["record", "x", "--out", "TEXT"],
        ["export", "x", "--out", "TEXT"],
        ["sweep", "--games", "TEXT"],
        ["sweep", "--games", "pong", "--set", "TEXT"],
        ["sweep", "--games", "pong", "--set", "agent.gamma=TEXT"],
        ["sweep", "--games", "pong", "--set", "agent.gamma=1..TEXT"],
        ["sweep", "--games", "pong", "--seeds", "TEXT"],
        ["sweep", "--games", "pong", "--gpus", "TEXT"],
        ["sweep", "--games", "pong", "--plan", "TEXT"],
        ["plot", "TEXT"],
        ["report", "TEXT"],
        ["TEXT"],
    ],
    ids=" ".join,
)
def test_command_line_errors_escape_and_shorten_the_given_text(
    arguments: list[str],
    text: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([argument.replace("TEXT", text) for argument in arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert line.isprintable()
    assert line.count("z") <= LONGEST_VALUE
    assert len(line) < LONGEST_VALUE + 500


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("environment.frame_skip", f"[{', '.join(['2'] * 20_000)}]"),
        ("environment.kwargs", f"{{a = '{'z' * 20_000}'}}"),
        ("network.mlp_layers", f"[{', '.join(['2'] * 20_000)}]"),
        ("training.total_steps", "1" * 100_000),
        ("training.total_steps", "1" * 4_000),
        ("agent.n_step", "[" * 100_000),
    ],
)
def test_errors_shorten_long_values_of_any_type(
    setting: str,
    value: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--game", "pong", f"--{setting}", value]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert len(line) < LONGEST_VALUE + 300


def test_notes_are_printed_like_errors(capsys: pytest.CaptureFixture[str]) -> None:
    say_notes(["fine", "a\x1b[2J\nb '" + LONG + "'"])
    assert (
        capsys.readouterr().err
        == f"note: fine\nnote: a\\x1b[2J b '{'x' * (LONGEST_VALUE - 3)}...'\n"
    )


def config_file(folder: Path) -> object:
    path = folder / "config.toml"
    path.write_text(f'game = "pong"\n[agent]\ngamma = "{LONG}"', encoding="utf-8")
    return read_config(path)


def recording(folder: Path) -> object:
    path = folder / "episode.json"
    path.write_text(f'{{"{LONG}": 1}}', encoding="utf-8")
    return read_episode(path)


@pytest.mark.parametrize(
    "read",
    [
        lambda folder: load_config("pong", overrides={"agent.gamma": LONG}),
        lambda folder: load_config("pong", overrides={"network.mlp_layers": [LONG]}),
        lambda folder: load_config("pong", overrides={"environment.frame_skip": [2] * 10_000}),
        lambda folder: make_plan({"games": ["pong"], "seeds": LONG}),
        lambda folder: make_plan({"games": ["pong"], "settings": {"agent.gamma": {"low": LONG}}}),
        config_file,
        recording,
    ],
    ids=["a setting", "an element", "a list", "a sweep", "a range", "a file", "a recording"],
)
def test_long_values_are_also_shortened_in_caught_exceptions(read: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path)
    assert len(str(caught.value).replace(str(tmp_path), "")) < LONGEST_VALUE + 200
