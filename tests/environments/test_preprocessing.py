"""Compares the pixels of ale-py's C++ environment, our reference and Gymnasium's wrappers."""

import hashlib

import ale_py
import gymnasium
import numpy as np
import pytest
from ale_py import roms
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

from atari_dqn.backend.arrays import stacks_last
from atari_dqn.config.schema import EnvironmentSettings
from atari_dqn.environments.atari_game import ReferenceGame
from atari_dqn.environments.preprocessing import grayscale
from atari_dqn.environments.vector import CppGames, SerialGames, Transitions, VectorGame

GAMES = [
    "breakout",
    "pong",
    "qbert",
    "seaquest",
    "space_invaders",
    "montezuma_revenge",
    "boxing",
    "video_pinball",
]


def reference_games(rom: str, settings: EnvironmentSettings, count: int, cap: int) -> SerialGames:
    return SerialGames([ReferenceGame(rom, settings, cap) for _ in range(count)])


def play(games: VectorGame, steps: int, seed: int, first_seeds: list[int]) -> list[Transitions]:
    """Plays random actions and resets ended games with increasing seeds."""
    random = np.random.default_rng(seed)
    seeds = np.array(first_seeds, np.int32)
    games.reset(np.ones(games.num_envs, np.bool_), seeds)
    answers = []
    for _ in range(steps):
        games.send(random.integers(len(games.action_names), size=games.num_envs).astype(np.int32))
        answers.append(games.recv())
        ended = answers[-1].terminated | answers[-1].truncated
        if ended.any():
            seeds = seeds + 1000
            observation, _ = games.reset(ended, seeds[ended])
            answers.append(answers[-1]._replace(observation=observation))
    return answers


def assert_same(one: list[Transitions], other: list[Transitions]) -> None:
    assert len(one) == len(other)
    for step, (first, second) in enumerate(zip(one, other, strict=True)):
        for name, left, right in zip(Transitions._fields, first, second, strict=True):
            np.testing.assert_array_equal(
                left, right, err_msg=f"{name} at step {step}", strict=True
            )


@pytest.mark.parametrize("rom", GAMES)
def test_the_cpp_path_the_reference_and_gymnasiums_wrappers_agree(rom: str) -> None:
    settings = EnvironmentSettings(noop_max=0)
    fast = CppGames(rom, settings, 1, 108_000)
    readable = ReferenceGame(rom, settings, 108_000)
    name = gymnasium.make(
        f"ALE/{ale_py.registration.rom_id_to_name(rom)}-v5",
        frameskip=1,
        repeat_action_probability=0.0,
        max_num_frames_per_episode=108_000,
    )
    wrapped = FrameStackObservation(AtariPreprocessing(name, noop_max=0), 4, padding_type="zero")
    random = np.random.default_rng(0)
    over = True
    steps = 0
    while steps < 1000:
        if over:
            first, lives = fast.reset(np.ones(1, np.bool_), np.array([steps], np.int32))
            second, second_lives = readable.reset(steps)
            third, _ = wrapped.reset(seed=steps)
            np.testing.assert_array_equal(first[0], second)
            np.testing.assert_array_equal(first[0], third)
            assert lives[0] == second_lives
        action = int(random.integers(len(readable.action_names)))
        fast.send(np.array([action], np.int32))
        answer = fast.recv()
        outcome = readable.step(action)
        third, reward, terminated, truncated, info = wrapped.step(action)
        np.testing.assert_array_equal(answer.observation[0], outcome.observation)
        np.testing.assert_array_equal(answer.observation[0], third)
        assert answer.reward[0] == outcome.reward == reward
        assert answer.terminated[0] == outcome.terminated == terminated
        assert answer.truncated[0] == outcome.truncated == truncated
        over = outcome.terminated or outcome.truncated
        assert outcome.lives == info["lives"]
        assert answer.lives[0] == (0 if over else outcome.lives)
        steps += 1
    wrapped.close()


@pytest.mark.parametrize(
    ("rom", "settings"),
    [
        (
            "breakout",
            EnvironmentSettings(sticky_probability=0.25, fire_at_reset=True, max_pool=False),
        ),
        ("qbert", EnvironmentSettings(sticky_probability=0.25)),
        ("space_invaders", EnvironmentSettings(frame_skip=3, fire_at_reset=True)),
        ("seaquest", EnvironmentSettings(full_actions=True, stack=2, height=100, width=60)),
        ("pong", EnvironmentSettings(frame_skip=1, noop_max=100, stack=1)),
        ("ice_hockey", EnvironmentSettings(frame_skip=5, sticky_probability=0.1, noop_max=1)),
    ],
)
def test_both_paths_agree_under_every_setting(rom: str, settings: EnvironmentSettings) -> None:
    cap = 300
    seeds = [3, 2**31 - 200_000, 77]
    fast = play(CppGames(rom, settings, 3, cap, threads=2), 320, 1, seeds)
    readable = play(reference_games(rom, settings, 3, cap), 320, 1, seeds)
    assert_same(fast, readable)
    assert any(answer.truncated.any() or answer.terminated.any() for answer in fast)


def test_the_number_of_threads_does_not_change_any_result() -> None:
    settings = EnvironmentSettings(sticky_probability=0.25)
    runs = [
        play(CppGames("qbert", settings, 4, 108_000, threads), 200, 2, [1, 2, 3, 4])
        for threads in (1, 2)
    ]
    assert_same(*runs)


def test_reseeding_some_environments_does_not_disturb_the_others() -> None:
    def answers(at_the_end: list[int]) -> list[np.ndarray]:
        games = CppGames("qbert", EnvironmentSettings(sticky_probability=0.25), 3, 100)
        random = np.random.default_rng(0)
        everywhere = np.ones(3, np.bool_)
        seen = [games.reset(everywhere, np.array([1, 2, 3], np.int32))[0]]
        while len(seen) < 60:
            games.send(random.integers(len(games.action_names), size=3).astype(np.int32))
            answer = games.recv()
            seen.append(answer.observation)
            if answer.truncated.all():
                seen.append(games.reset(everywhere, np.array(at_the_end, np.int32))[0])
        return seen

    unseeded = answers([-1, -1, -1])
    seeded = answers([-1, 7, -1])
    all_seeded = answers([8, 7, 9])
    for one, other in zip(unseeded, seeded, strict=True):
        np.testing.assert_array_equal(one[[0, 2]], other[[0, 2]])
    for one, other in zip(seeded, all_seeded, strict=True):
        np.testing.assert_array_equal(one[1], other[1])
    assert any((one[1] != other[1]).any() for one, other in zip(unseeded, seeded, strict=True))


def test_random_frame_skips_are_determined_by_the_seed() -> None:
    settings = EnvironmentSettings(frame_skip=[2, 4], noop_max=0, max_pool=False)
    runs = [play(reference_games("pong", settings, 2, 108_000), 300, 1, [5, 6]) for _ in range(2)]
    assert_same(*runs)
    skips = np.concatenate([answer.frames for answer in runs[0]])
    assert set(skips.tolist()) == {2, 3, 4}
    assert not np.array_equal(
        [answer.frames[0] for answer in runs[0]], [answer.frames[1] for answer in runs[0]]
    )


@pytest.mark.parametrize("rom", GAMES)
def test_the_emulators_grayscale_is_the_luminance_of_its_colors(rom: str) -> None:
    emulator = ale_py.ALEInterface()
    path = roms.get_rom_path(rom)
    assert path is not None
    emulator.loadROM(path)
    for _ in range(100):
        emulator.act(emulator.getMinimalActionSet()[-1])
    np.testing.assert_array_equal(grayscale(emulator.getScreenRGB()), emulator.getScreenGrayscale())


@pytest.mark.parametrize(
    ("rom", "digest"),
    [
        ("breakout", "ba02e9b35aa169f9"),
        ("pong", "c785210053ee8784"),
        ("qbert", "e8a54b996d71d7d6"),
        ("seaquest", "27c983d8a0674cf6"),
        ("space_invaders", "ffe6d8498d5831d1"),
        ("montezuma_revenge", "d6374a4a27b7f216"),
    ],
)
def test_observations_have_their_recorded_digests(rom: str, digest: str) -> None:
    answers = play(
        CppGames(rom, EnvironmentSettings(sticky_probability=0.25), 2, 108_000), 300, 4, [11, 12]
    )
    seen = hashlib.sha256()
    for answer in answers:
        seen.update(answer.observation.tobytes() + answer.reward.tobytes())
    assert seen.hexdigest()[:16] == digest


@pytest.mark.parametrize("shape", [(3, 4, 84, 84), (1, 2, 5, 7), (2, 3, 1)])
def test_frame_stacks_are_interleaved_into_aligned_contiguous_memory(
    shape: tuple[int, ...],
) -> None:
    observations = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
    for _ in range(20):
        interleaved = stacks_last(observations)
        np.testing.assert_array_equal(interleaved, np.moveaxis(observations, 1, -1))
        assert interleaved.ctypes.data % 64 == 0
        assert interleaved.flags.c_contiguous


def test_without_max_pooling_the_last_step_of_a_game_repeats_the_frame_before_it() -> None:
    settings = EnvironmentSettings(max_pool=False, noop_max=0)
    for games in (
        CppGames("breakout", settings, 2, 108_000),
        reference_games("breakout", settings, 2, 108_000),
    ):
        random = np.random.default_rng(5)
        early_ends = 0
        games.reset(np.ones(2, np.bool_), np.array([1, 2], np.int32))
        while not early_ends:
            games.send(random.integers(4, size=2).astype(np.int32))
            answer = games.recv()
            last = answer.observation[answer.terminated]
            np.testing.assert_array_equal(last[:, -1], last[:, -2])
            early_ends += int((answer.frames[answer.terminated] < 4).sum())
            if answer.terminated.any():
                games.reset(
                    answer.terminated,
                    random.integers(1_000, size=answer.terminated.sum(), dtype=np.int32),
                )


@pytest.mark.parametrize("max_pool", [True, False])
@pytest.mark.parametrize(("cap", "frames"), [(3, 4), (10, 12), (11, 12), (12, 12), (13, 16)])
def test_a_frame_cap_within_a_step_is_rounded_up_to_the_whole_step(
    cap: int, frames: int, max_pool: bool
) -> None:
    settings = EnvironmentSettings(max_pool=max_pool)
    steps = frames // 4
    fast, readable = (
        play(games, steps, 1, [3, 9])
        for games in (CppGames("pong", settings, 2, cap), reference_games("pong", settings, 2, cap))
    )
    assert_same(fast, readable)
    assert [bool(answer.truncated.any()) for answer in fast[:steps]] == [False] * (steps - 1) + [
        True
    ]
    assert [answer.frames.tolist() for answer in fast[:steps]] == [[4, 4]] * steps


def test_a_frame_cap_truncates_a_random_frame_skip_exactly() -> None:
    game = ReferenceGame("pong", EnvironmentSettings(frame_skip=[2, 4], noop_max=0), 11)
    game.reset(1)
    outcomes = [game.step(0)]
    while not outcomes[-1].truncated:
        outcomes.append(game.step(0))
    assert sum(outcome.frames for outcome in outcomes) == 11
