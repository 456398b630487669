"""A small part of the fuzz in every run of the tests; all of it where there is time."""

import time

import pytest

from tests.fuzz import Place, fuzz_commands, fuzz_files

SEED = 1


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("fuzz") / "place")


@pytest.mark.parametrize("count", [40, pytest.param(560, marks=pytest.mark.slow)])
def test_every_command_line_is_answered_in_one_line(place: Place, count: int) -> None:
    assert fuzz_commands(place, count, SEED) == []


@pytest.mark.parametrize("count", [12, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.timeout(3_000)
def test_every_damaged_file_is_answered_in_one_line(place: Place, count: int) -> None:
    assert fuzz_files(place, count, SEED) == []


def test_what_commands_do_wrong_is_noticed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fuzz would be worth nothing if it could not fail."""
    monkeypatch.setattr("atari_dqn.games.ids.single_player_roms", lambda: 1 / 0)
    assert "ZeroDivisionError" in place.answer(["games"])
    monkeypatch.undo()

    def meddling() -> tuple[str, ...]:
        (place.victims / "thesis.txt").write_text("gone")
        return ()

    monkeypatch.setattr("atari_dqn.games.ids.single_player_roms", meddling)
    assert "changed what lies outside" in place.answer(["games"])
    monkeypatch.setattr("tests.fuzz.SECONDS", 1)
    monkeypatch.setattr("atari_dqn.games.ids.single_player_roms", lambda: time.sleep(60))
    assert place.answer(["games"]) == "no answer within 1 s"
