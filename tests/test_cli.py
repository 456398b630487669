"""Tests how the command line is parsed."""

import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest

from atari_dqn import cli
from atari_dqn.commands.train import settings_request
from atari_dqn.config.resolve import parse_value


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Replaces every command and returns the list of the options that they receive."""
    found: list[Any] = []

    def store(options: Any) -> int:
        """Stores the options instead of running the command."""
        found.append(options)
        return 0

    load = cli.load_command
    monkeypatch.setattr(cli, "load_command", lambda name: replace(load(name), run=store))
    return found


def test_the_list_of_commands_names_the_commands_of_its_modules() -> None:
    defined: set[tuple[str, str]] = set()
    for module in {entry.module for entry in cli.COMMANDS.values()}:
        commands = import_module(f"atari_dqn.commands.{module}").COMMANDS
        defined |= {(name, module) for name in commands}
    assert defined == {(name, entry.module) for name, entry in cli.COMMANDS.items()}


def test_help_imports_no_command() -> None:
    code = "import sys; from atari_dqn import cli\ntry: cli.main(['--help'])\nfinally: "
    code += "print([name for name in sys.modules if 'atari_dqn.commands' in name], "
    code += "'pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *shown, last = done.stdout.splitlines()
    assert last == "[] False"
    for name, entry in cli.COMMANDS.items():
        assert f"{name} {entry.summary}" in " ".join(" ".join(shown).split())


VALUES = [
    "[2, 4]",
    "-1",
    "-1e-3",
    "-",
    "a b",
    " a",
    "-x y",
    "o'brien",
    'a"b',
    "a=b",
    "=",
    "a.b",
    "a,b",
    "é/ü",
    "$x",
    "a\tb",
    "a\nb",
    "{a = 1, b = '--c d'}",
    "# no comment",
    "1\nother = 2",
    "[1]\nb = 2",
    "1" * 5_000,
    "[" * 5_000,
]


@pytest.mark.parametrize(
    "value",
    [*VALUES, "--x", "--x.y", "--", "-h", "--help", "--x y"],
    ids=lambda value: ascii(value)[:20],
)
def test_any_text_after_an_equals_sign_is_accepted_as_a_value(
    received: list[Any], value: str
) -> None:
    assert cli.main(["train", "--game", "pong", f"--network.torso={value}", "--seed", "2"]) == 0
    assert received[0].overrides == {"network.torso": parse_value(value)}
    assert (received[0].game, received[0].seed) == ("pong", "2")


@pytest.mark.parametrize("value", [*VALUES, "-h"], ids=lambda value: ascii(value)[:20])
@pytest.mark.parametrize(
    "command",
    [["train", "--game", "pong"], ["random", "--game", "pong"], ["sweep"], ["config", "nature"]],
)
def test_any_text_in_a_separate_word_is_accepted_as_a_value(
    received: list[Any], value: str, command: list[str]
) -> None:
    assert cli.main([*command, "--network.torso", value, "--agent.n-step", "3"]) == 0
    assert received[0].overrides == {"network.torso": parse_value(value), "agent.n_step": 3}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[2, 4]", [2, 4]),
        ("-1", -1),
        ("1\nother = 2", "1\nother = 2"),
        ("1" * 5_000, "1" * 5_000),
        ("[" * 5_000, "[" * 5_000),
    ],
    ids=["list", "negative", "another key", "too many digits", "too deep"],
)
def test_a_value_is_parsed_from_its_whole_text(text: str, value: object) -> None:
    assert parse_value(text) == value


def test_settings_may_be_anywhere_on_the_command_line(received: list[Any]) -> None:
    assert (
        cli.main(
            [
                "--agent.gamma",
                "0.5",
                "config",
                "--agent.n_step",
                "5",
                "nature",
                "--game=pong",
                "--agent.double=false",
            ]
        )
        == 0
    )
    assert received[0].overrides == {"agent.gamma": 0.5, "agent.n_step": 5, "agent.double": False}
    assert (received[0].config, received[0].game) == ("nature", "pong")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--game", "pong", "--agent.gamma"], "--agent.gamma needs a value"),
        (
            ["train", "--game", "pong", "--agent.gamma", "--seed", "1"],
            "--agent.gamma needs a value",
        ),
        (
            ["train", "--game", "pong", "--agent.gamma", "--agent.double", "true"],
            "--agent.gamma needs a value",
        ),
        (["train", "--game", "pong", "--agent.gamma="], "--agent.gamma needs a value"),
        (["train", "--game", "pong", "--agent.gamma", ""], "--agent.gamma needs a value"),
        (["eval", "x", "--agent.gamma", "1"], "unknown argument '--agent.gamma'"),
        (["eval", "x", "--agent.gamma"], "unknown argument '--agent.gamma'"),
        (
            ["eval", "x", "--epsilon.x=1"],
            "unknown argument '--epsilon.x'; did you mean '--epsilon'?",
        ),
        (
            ["train", "--game", "pong", "--sed", "2"],
            "unknown argument '--sed'; did you mean '--seed'?",
        ),
        (["train", "--game", "pong", "word"], "unknown argument 'word'"),
        (["train", "--game", "pong", "--", "--agent.gamma", "1"], "unknown argument '--"),
    ],
)
def test_unknown_arguments_and_missing_values_are_refused(
    received: list[Any], capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert cli.main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message}")
    assert received == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["random", "--game", "pong", "--comand", "x"], "unknown argument '--comand'"),
        (
            ["random", "--game", "pong", "--vidoes", "x"],
            "unknown argument '--vidoes'; did you mean '--videos'?",
        ),
    ],
)
def test_suggested_options_are_those_of_the_command(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert cli.main(words) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


INTEGERS = [
    ("1e2", 100),
    ("1_0", 10),
    ("20.0", 20),
    ("1.5e1", 15),
    ("7", 7),
    ("1E+1", 10),
    ("007", 7),
]
NOT_INTEGERS = ["2.5", "1e-1", "many", "nan", "inf", "-1", "1e999999999", "", "1e", "0x10"]
OPTIONS = [
    ["eval", "x", "--episodes"],
    ["eval", "x", "--seed"],
    ["random", "--game", "pong", "--episodes"],
    ["sweep", "--episodes"],
]


@pytest.mark.parametrize(("text", "value"), INTEGERS)
@pytest.mark.parametrize(
    "words", [*OPTIONS, ["sweep", "--total-steps"], ["sweep", "--search"]], ids=" ".join
)
def test_an_option_accepts_integers_in_several_notations(
    received: list[Any], words: list[str], text: str, value: int
) -> None:
    assert cli.main([*words, text]) == 0
    found = getattr(received[0], words[-1].removeprefix("--").replace("-", "_"))
    assert (found, type(found)) == (value, int)


@pytest.mark.parametrize("text", NOT_INTEGERS)
@pytest.mark.parametrize("words", OPTIONS, ids=" ".join)
def test_an_option_that_is_not_a_valid_integer_is_refused(
    received: list[Any], capsys: pytest.CaptureFixture[str], words: list[str], text: str
) -> None:
    assert cli.main([*words, text]) == 2
    line = capsys.readouterr().err
    assert f"'{text}' is not a whole number from " in line or (
        text == "-1" and "expected one argument" in line
    )
    assert received == []


def test_a_sweep_accepts_as_many_steps_as_a_run(received: list[Any]) -> None:
    assert cli.main(["sweep", "--total-steps", "1e12", "--seeds", "1e1"]) == 0
    assert (received[0].total_steps, received[0].seeds) == (10**12, list(range(1, 11)))
    assert cli.main(["sweep", "--seeds", "1e9"]) == 2
    assert cli.main(["sweep", "--seeds", "1e0,5"]) == 0
    assert received[1].seeds == [1, 5]


def test_options_and_settings_of_a_run_accept_integers_in_several_notations(
    received: list[Any],
) -> None:
    settings = [
        "--agent.n_step",
        "2.0",
        "--network.mlp_layers",
        "[6.4e1]",
        "--training.log_period=1_000",
    ]
    words = [
        "train",
        "--game",
        "CartPole-v1",
        "--total-steps",
        "1e6",
        "--seed",
        "1e1",
        "--actors",
        "2.0",
        *settings,
    ]
    assert cli.main(words) == 0
    resolved = settings_request(received[0]).resolve()
    config = resolved.config
    assert (config.training.total_steps, config.machine.seed, config.machine.actors) == (
        1_000_000,
        10,
        2,
    )
    assert (config.agent.n_step, config.network.mlp_layers, config.training.log_period) == (
        2,
        [64],
        1000,
    )
    assert {"training.total_steps", "machine.seed", "agent.n_step"} <= resolved.requested


@pytest.mark.parametrize("option", ["--total-steps", "--training.total_steps"])
def test_both_spellings_of_the_total_steps_refuse_a_fraction(
    capsys: pytest.CaptureFixture[str], option: str
) -> None:
    assert cli.main(["train", "--game", "pong", option, "2.5"]) == 2
    answer = "error: settings: training.total_steps = 2.5: Input should be a valid integer"
    assert capsys.readouterr().err.startswith(answer)
