"""The ring against a naive replay that keeps whole episodes in lists."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atari_dqn.errors import UserError
from atari_dqn.replay import ReplayMemory, memory
from atari_dqn.replay.memory import free_memory, memory_needed


class NaiveRow(NamedTuple):
    """A frame in its episode, and what followed it."""

    episode: list[int]  # all frames of the episode, growing
    position: int
    action: int
    reward: float
    discount: float
    last: bool


class NaiveReplay:
    """One environment's history as plain lists."""

    def __init__(self) -> None:
        self.rows: list[NaiveRow] = []

    def begin(self, frame: int) -> None:
        self.rows.append(NaiveRow([frame], 0, 0, 0.0, 0.0, False))

    def step(self, action: int, reward: float, discount: float, frame: int, ended: bool) -> None:
        self.rows[-1] = self.rows[-1]._replace(action=action, reward=reward, discount=discount)
        newest = self.rows[-1]
        newest.episode.append(frame)
        self.rows.append(NaiveRow(newest.episode, newest.position + 1, 0, 0.0, 0.0, ended))

    def sampleable(self, capacity: int, stack: int, n: int) -> list[int]:
        oldest = len(self.rows) - capacity
        first = oldest + stack - 1 if oldest >= 0 else 0
        return [at for at in range(first, len(self.rows) - n) if not self.rows[at].last]

    def stack_at(self, row: NaiveRow, stack: int) -> list[int]:
        return [row.episode[at] if at >= 0 else 0 for at in range(row.position - stack + 1, row.position + 1)]

    def transition(self, at: int, stack: int, n: int, gamma: float) -> tuple[list[int], int, float, float, list[int]]:
        reward, discount, ahead = 0.0, 1.0, 0
        while ahead < n and not self.rows[at + ahead].last:
            row = self.rows[at + ahead]
            reward += discount * row.reward
            discount *= gamma * row.discount
            ahead += 1
        start = self.rows[at]
        return self.stack_at(start, stack), start.action, reward, discount, self.stack_at(self.rows[at + ahead], stack)


def fill(memory: ReplayMemory, steps: Sequence[Sequence[tuple[float, float, bool]]]) -> list[NaiveReplay]:
    """Feeds the same steps, (reward, discount, ended) for each environment, to the ring and to naive replays."""
    naive = [NaiveReplay() for _ in range(memory.num_envs)]
    counter = iter(range(1, 10**6))

    def frames() -> np.ndarray:
        return np.array([[next(counter)] for _ in naive], np.int32)

    first = frames()
    memory.start(first)
    for env, replay in enumerate(naive):
        replay.begin(int(first[env, 0]))
    for number, step in enumerate(steps):
        reward, discount, ended = (np.array(column) for column in zip(*step, strict=True))
        action = np.array([(number + env) % 7 for env in range(len(naive))], np.int32)
        frame, first = frames(), frames()
        memory.add(action, reward.astype(np.float32), discount.astype(np.float32), frame, ended.astype(np.bool_), first)
        for env, replay in enumerate(naive):
            replay.step(int(action[env]), step[env][0], step[env][1], int(frame[env, 0]), bool(ended[env]))
            if ended[env]:
                replay.begin(int(first[env, 0]))
    return naive


def make(rows: int, envs: int, stack: int, n: int, gamma: float = 0.9, seed: int = 1) -> ReplayMemory:
    return ReplayMemory(rows * envs, envs, (1,), stack=stack, n_step=n, gamma=gamma, seed=seed, dtype=np.int32)


one_step = st.tuples(
    st.sampled_from([-1.0, 0.0, 0.5, 2.0]),
    st.sampled_from([0.0, 1.0, 1.0]),
    st.sampled_from([False, False, False, True]),
)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_every_row_that_may_be_sampled_gives_the_naive_transition(data: Any) -> None:
    envs = data.draw(st.integers(1, 3), "environments")
    stack, n = data.draw(st.integers(1, 4), "stack"), data.draw(st.integers(1, 5), "n")
    rows = data.draw(st.integers(2 * (stack + n), 30), "rows")
    steps = data.draw(st.lists(st.lists(one_step, min_size=envs, max_size=envs), max_size=70), "steps")
    ring = make(rows, envs, stack, n)
    naive = fill(ring, steps)
    places = [(env, at) for env in range(envs) for at in naive[env].sampleable(rows, stack, n)]
    assert ring.can_sample() == bool(places)
    if not places:
        return
    env, at = (np.array(column) for column in zip(*places, strict=True))
    batch = ring.gather(env, at % rows)
    for index, (environment, position) in enumerate(places):
        observation, action, reward, discount, following = naive[environment].transition(position, stack, n, gamma=0.9)
        ahead = batch.offset[index]
        assert batch.frames[index, :stack, 0].tolist() == observation
        assert batch.action[index] == action
        assert batch.reward[index] == pytest.approx(reward, abs=1e-5)
        assert batch.discount[index] == pytest.approx(discount, abs=1e-6)
        if discount > 0:
            assert batch.frames[index, ahead : ahead + stack, 0].tolist() == following


@pytest.mark.parametrize("length", [5, 25, 200])
def test_exactly_the_rows_that_may_be_sampled_are_and_evenly(length: int) -> None:
    random = np.random.default_rng(0)
    steps = [[(1.0, 1.0, bool(random.random() < 0.1)) for _ in range(3)] for _ in range(length)]
    ring = make(rows=40, envs=3, stack=4, n=3)
    naive = fill(ring, steps)
    expected = {naive[env].stack_at(naive[env].rows[at], 1)[0] for env in range(3) for at in naive[env].sampleable(40, 4, 3)}
    drawn = ring.sample(200 * max(len(expected), 1)).frames[:, 3, 0]
    values, counts = np.unique(drawn, return_counts=True)
    assert set(values.tolist()) == expected
    # 200 draws each on average: six standard deviations are 85.
    assert counts.min() > 115
    assert counts.max() < 285


def test_n_step_returns_by_hand() -> None:
    """Rewards 1, 2, 4, 8 with gamma 0.5; a life is lost at the third step; the fifth truncates the episode."""
    ring = ReplayMemory(40, 1, (1,), stack=2, n_step=3, gamma=0.5, seed=1, dtype=np.int32)
    fill(
        ring,
        [[(1, 1, False)], [(2, 1, False)], [(4, 0, False)], [(8, 1, False)], [(16, 1, True)], [(0, 1, False)]]
        + [[(0, 1, False)]] * 3,
    )
    batch = ring.gather(np.zeros(5, np.int64), np.arange(5))
    assert batch.reward.tolist() == [1 + 0.5 * 2 + 0.25 * 4, 2 + 0.5 * 4, 4, 8 + 0.5 * 16, 16]
    assert batch.discount.tolist() == [0, 0, 0, 0.25, 0.5]
    assert batch.offset.tolist() == [3, 3, 3, 2, 1]
    # The frame before the truncation is the one to bootstrap from, not the next episode's first.
    assert batch.frames[3, 2:4, 0].tolist() == batch.frames[4, 1:3, 0].tolist()


def test_the_first_frames_of_an_episode_are_padded_with_zeros() -> None:
    ring = make(rows=20, envs=1, stack=4, n=1)
    fill(ring, [[(0.0, 1.0, number == 2)] for number in range(6)])
    first = ring.gather(np.array([0]), np.array([0])).frames[0, :4, 0].tolist()
    assert first == [0, 0, 0, 1]
    after_the_end = ring.gather(np.array([0]), np.array([5])).frames[0, :4, 0].tolist()
    assert after_the_end[:2] == [0, 0]
    assert after_the_end[2] != 0


def test_the_same_seed_draws_the_same_and_another_seed_something_else() -> None:
    steps = [[(float(number), 1.0, False)] for number in range(30)]
    batches = []
    for seed in (1, 1, 2):
        ring = make(rows=40, envs=1, stack=2, n=1, seed=seed)
        fill(ring, steps)
        batches.append(ring.sample(16).reward.tolist())
    assert batches[0] == batches[1] != batches[2]


def test_a_memory_that_does_not_fit_is_refused_with_a_capacity_that_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 1_500_000_000)
    with pytest.raises(
        UserError, match=r"replay.capacity = 1000000 needs 7.07 GB, and 1.50 GB are free.*--replay.capacity 141000"
    ):
        ReplayMemory(1_000_000, 16, (84, 84), stack=4, n_step=1, gamma=0.99, seed=1)
    ReplayMemory(141_000, 16, (84, 84), stack=4, n_step=1, gamma=0.99, seed=1)


def test_a_memory_shorter_than_its_windows_is_refused() -> None:
    with pytest.raises(UserError, match=r"replay.capacity = 100 leaves 6 frames to each of 16 environments"):
        ReplayMemory(100, 16, (84, 84), stack=4, n_step=1, gamma=0.99, seed=1)


def test_a_million_frames_take_seven_gigabytes() -> None:
    assert memory_needed(1_000_000, 1, 84 * 84, window=5) == pytest.approx(7.07e9, rel=0.001)
    assert 0 < free_memory() < 2**50


@pytest.mark.parametrize(("limit", "used", "cache", "free"), [("1000", "400", 300, 900), ("max", "400", 0, None)])
def test_the_limit_of_a_container_counts(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, limit: str, used: str, cache: int, free: int | None
) -> None:
    (tmp_path / "memory.max").write_text(limit)
    (tmp_path / "memory.current").write_text(used)
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {cache}\n")
    unlimited = free_memory()
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert free_memory() == free if free is not None else free_memory() == pytest.approx(unlimited, rel=0.2)
