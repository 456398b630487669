"""Runs a small part of the fuzzer in every test run, and all of it in the slow tests."""

import time

import pytest

from tests.fuzz import Workplace, fuzz_commands, fuzz_files

SEED = 1


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return Workplace(tmp_path_factory.mktemp("fuzz") / "place")


@pytest.mark.parametrize("count", [40, pytest.param(560, marks=pytest.mark.slow)])
def test_random_command_lines_are_answered_in_one_line(workplace: Workplace, count: int) -> None:
    assert fuzz_commands(workplace, count, SEED) == []


@pytest.mark.parametrize("count", [12, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.timeout(3_000)
def test_randomly_damaged_files_are_answered_in_one_line(workplace: Workplace, count: int) -> None:
    assert fuzz_files(workplace, count, SEED) == []


def test_the_fuzzer_detects_exceptions_changed_files_and_hangs(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fuzzer would be worthless if it could not fail."""
    monkeypatch.setattr("atari_dqn.games.ids.single_player_roms", lambda: 1 / 0)
    assert "ZeroDivisionError" in workplace.answer(["games"])
    monkeypatch.undo()

    def meddling() -> tuple[str, ...]:
        (workplace.victims / "thesis.txt").write_text("gone")
        return ()

    monkeypatch.setattr("atari_dqn.games.ids.single_player_roms", meddling)
    assert "changed what lies outside" in workplace.answer(["games"])
    monkeypatch.setattr("tests.fuzz.SECONDS", 1)
    monkeypatch.setattr("atari_dqn.games.ids.single_player_roms", lambda: time.sleep(60))
    assert workplace.answer(["games"]) == "no answer within 1 s"
