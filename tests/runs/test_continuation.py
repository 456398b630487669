"""Tests which settings a continued run may change, and how automatic ones are resolved."""

from pathlib import Path

import pytest

from atari_dqn.config.resolve import load_config
from atari_dqn.config.schema import Config
from atari_dqn.errors import UserError
from atari_dqn.runs import continuation
from atari_dqn.runs.continuation import differing_settings, for_this_machine, merge, notes_on_speed


def config(**overrides: object) -> Config:
    return load_config(
        "ALE/Pong-v5",
        overrides={name.replace("__", "."): value for name, value in overrides.items()},
    )[0]


def test_a_continued_run_keeps_its_settings_except_for_a_new_total() -> None:
    stored = config(agent__gamma=0.9, training__total_steps=100)
    requested = config(training__total_steps=500)
    merged = merge(stored, requested, {"training.total_steps"})
    assert merged.agent.gamma == 0.9
    assert merged.training.total_steps == 500
    assert merge(stored, requested, set()) == stored


def test_a_continued_run_may_use_another_replay_storage() -> None:
    merged = merge(config(), config(replay__storage="disk", agent__gamma=0.9), {"replay.storage"})
    assert merged == config(replay__storage="disk")


PERIODS = [
    f"training.{what}"
    for what in (
        "log_period",
        "checkpoint_period",
        "keep_period",
        "evaluation_period",
        "evaluation_episodes",
    )
]


@pytest.mark.parametrize(
    "what", [*PERIODS, "machine.environment_threads", "machine.inter_op_threads"]
)
def test_settings_that_do_not_affect_learning_may_change_in_a_continued_run(what: str) -> None:
    requested = config(**{what.replace(".", "__"): 7})
    assert merge(config(), requested, {what}) == requested


@pytest.mark.parametrize(
    ("cores", "batch_size", "requested", "threads"),
    [
        (8, 32, 3, 3),
        (8, 32, 0, 4),
        (8, 64, 0, 4),
        (8, 65, 0, 8),
        (2, 32, 0, 1),
        (1, 32, 0, 1),
        (1, 256, 0, 1),
    ],
)
def test_thread_counts_are_resolved_for_this_machine(
    cores: int, batch_size: int, requested: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(continuation, "usable_cores", lambda: cores)
    machine = for_this_machine(
        config(machine__intra_op_threads=requested, agent__batch_size=batch_size)
    ).machine
    assert (machine.intra_op_threads, machine.inter_op_threads, machine.environment_threads) == (
        threads,
        cores,
        cores,
    )


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fpu amx_bf16 sse", "bfloat16"), ("fpu avx512_bf16", "bfloat16"), ("fpu avx512f", "float32")],
)
def test_automatic_precision_is_resolved_from_the_processor(
    flags: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    automatic = config(machine__precision="auto")
    named = config(machine__precision="float32")
    vectors, _ = load_config("CartPole-v1")
    monkeypatch.setattr(Path, "read_text", lambda path, encoding: f"flags\t: {flags}\n")
    assert for_this_machine(automatic).machine.precision == expected
    assert for_this_machine(named).machine.precision == "float32"
    assert (vectors.machine.precision, for_this_machine(vectors).machine.precision) == (
        "auto",
        "float32",
    )


@pytest.mark.parametrize(("has", "slow"), [("fpu avx2", True), ("fpu avx2 avx512_bf16", False)])
def test_a_note_warns_about_bfloat16_without_hardware_support(
    has: str, slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    requested = config(machine__precision="bfloat16")
    other = config(machine__precision="float32")
    monkeypatch.setattr(Path, "read_text", lambda path, encoding: f"flags\t: {has}\n")
    assert [("bfloat16" in note) for note in notes_on_speed(requested)] == [True] * slow
    assert notes_on_speed(other) == []


@pytest.mark.parametrize(
    "given", ["agent.gamma", "recipe", "protocol", "machine.seed", "machine.intra_op_threads"]
)
def test_a_run_is_not_continued_with_different_settings(given: str) -> None:
    stored = config(agent__gamma=0.9).model_copy(update={"recipe": "mine", "protocol": "dopamine"})
    with pytest.raises(UserError, match=f"this run has {given} = "):
        merge(stored, config(machine__seed=2, machine__intra_op_threads=2), {given})


def test_differing_settings_are_those_that_deviate_from_the_majority() -> None:
    alike = config(machine__seed=2, training__total_steps=5)
    other = config(agent__n_step=7, network__torso="impala")
    assert differing_settings([config(), other, alike]) == [
        {},
        {"agent.n_step": "7", "network.torso": "impala"},
        {},
    ]
    assert differing_settings([config(), other], ["network"]) == [{}, {"network.torso": "impala"}]
    assert differing_settings([]) == []
