"""Compares the ring buffer with a naive replay memory that keeps whole episodes in lists."""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from atari_dqn.errors import UserError
from atari_dqn.replay import capacity
from atari_dqn.replay.capacity import memory_needed
from atari_dqn.replay.frame_files import FrameFiles
from atari_dqn.replay.frames import RingLayout, Storage
from atari_dqn.replay.memory import ReplayMemory


class NaiveRow(NamedTuple):
    """A frame of an episode, with the action taken there and its outcome."""

    episode: list[int]  # all frames of the episode; shared by its rows and still growing
    position: int
    action: int
    reward: float
    discount: float
    last: bool


class NaiveReplay:
    """The history of one environment, as plain lists."""

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
        """Returns the rows that may be sampled when only the last ``capacity`` rows are kept."""
        oldest = len(self.rows) - capacity
        first = oldest + stack - 1 if oldest >= 0 else 0
        return [at for at in range(first, len(self.rows) - n) if not self.rows[at].last]

    def stack_at(self, row: NaiveRow, stack: int) -> list[int]:
        """Returns the frames of a stack that ends at a row; 0 stands for a blank frame."""
        return [
            row.episode[at] if at >= 0 else 0
            for at in range(row.position - stack + 1, row.position + 1)
        ]

    def transition(
        self, at: int, stack: int, n: int, gamma: float
    ) -> tuple[list[int], int, float, float, list[int]]:
        """Returns observation, action, n-step return, discount and next observation of a row."""
        reward = 0.0
        discount = 1.0
        ahead = 0
        while ahead < n and not self.rows[at + ahead].last:
            row = self.rows[at + ahead]
            reward += discount * row.reward
            discount *= gamma * row.discount
            ahead += 1
        start = self.rows[at]
        return (
            self.stack_at(start, stack),
            start.action,
            reward,
            discount,
            self.stack_at(self.rows[at + ahead], stack),
        )


def fill(
    memory: ReplayMemory,
    steps: Sequence[Sequence[tuple[float, float, bool]]],
    shape: tuple[int, ...] = (1,),
) -> list[NaiveReplay]:
    """Adds the same steps to a memory and to naive replay memories.

    Args:
        memory: to be filled.
        steps: (reward, discount, ended) of each environment, for each step.
        shape: of a frame; frames hold consecutive numbers.

    Returns:
        The naive replay memory of each environment.
    """
    naive = [NaiveReplay() for _ in range(memory.num_envs)]
    counter = iter(range(1, 10**6))

    def frames() -> np.ndarray:
        return np.array([next(counter) for _ in naive], np.int32).reshape(-1, *shape)

    first = frames()
    memory.start(first)
    for env, replay in enumerate(naive):
        replay.begin(first[env].item())
    for number, step in enumerate(steps):
        reward, discount, ended = (np.array(column) for column in zip(*step, strict=True))
        action = np.array([(number + env) % 7 for env in range(len(naive))], np.int32)
        frame = frames()
        first = frames()
        memory.add(
            action,
            reward.astype(np.float32),
            discount.astype(np.float32),
            frame,
            ended.astype(np.bool_),
            first,
        )
        for env, replay in enumerate(naive):
            replay.step(
                int(action[env]), step[env][0], step[env][1], frame[env].item(), bool(ended[env])
            )
            if ended[env]:
                replay.begin(first[env].item())
    return naive


def make(
    rows: int,
    envs: int,
    stack: int,
    n: int,
    seed: int = 1,
    storage: Storage = "memory",
    shape: tuple[int, ...] = (1,),
) -> ReplayMemory:
    """Returns an empty memory with ``rows`` frames for each environment."""
    return ReplayMemory(
        rows * envs,
        envs,
        shape,
        stack=stack,
        n_step=n,
        gamma=0.9,
        seed=seed,
        dtype=np.int32,
        storage=storage,
    )


# Reward, discount, and whether the episode ends.
one_step = st.tuples(
    st.sampled_from([-1.0, 0.0, 0.5, 2.0]),
    st.sampled_from([0.0, 1.0, 1.0]),
    st.sampled_from([False, False, False, True]),
)


@settings(max_examples=150)
@given(data=st.data())
def test_every_sampleable_row_gives_the_transition_of_the_naive_memory(data: Any) -> None:
    envs = data.draw(st.integers(1, 3), "environments")
    stack = data.draw(st.integers(1, 4), "stack")
    n = data.draw(st.integers(1, 5), "n")
    rows = data.draw(st.integers(2 * (stack + n), 30), "rows")
    steps = data.draw(
        st.lists(st.lists(one_step, min_size=envs, max_size=envs), max_size=70), "steps"
    )
    shape = data.draw(st.sampled_from([(1,), (1, 1)]), "shape")
    storage = data.draw(st.sampled_from(["memory", "compressed", "disk"]), "storage")
    ring = make(rows, envs, stack, n, storage=storage, shape=shape)
    naive = fill(ring, steps, shape)
    indices = [(env, at) for env in range(envs) for at in naive[env].sampleable(rows, stack, n)]
    assert ring.can_sample() == bool(indices)
    if not indices:
        return
    env, at = (np.array(column) for column in zip(*indices, strict=True))
    batch = ring.gather(env, at % rows)
    for index, (environment, position) in enumerate(indices):
        observation, action, reward, discount, following = naive[environment].transition(
            position, stack, n, gamma=0.9
        )
        assert batch.observation[index].ravel().tolist() == observation
        assert batch.action[index] == action
        assert batch.reward[index] == pytest.approx(reward, abs=1e-5)
        assert batch.discount[index] == pytest.approx(discount, abs=1e-6)
        if discount > 0:
            assert batch.next_observation[index].ravel().tolist() == following


@pytest.mark.parametrize("length", [5, 25, 200])
def test_sampling_is_uniform_over_exactly_the_sampleable_rows(length: int) -> None:
    random = np.random.default_rng(0)
    steps = [[(1.0, 1.0, bool(random.random() < 0.1)) for _ in range(3)] for _ in range(length)]
    ring = make(rows=40, envs=3, stack=4, n=3)
    naive = fill(ring, steps)
    expected = {
        naive[env].stack_at(naive[env].rows[at], 1)[0]
        for env in range(3)
        for at in naive[env].sampleable(40, 4, 3)
    }
    sampled = ring.sample(200 * max(len(expected), 1)).observation[:, 0, 3]
    values, counts = np.unique(sampled, return_counts=True)
    assert set(values.tolist()) == expected
    # Each frame is sampled 200 times on average, and six standard deviations are 85.
    assert counts.min() > 115
    assert counts.max() < 285


def test_n_step_returns_match_values_computed_by_hand() -> None:
    """With gamma 0.5, a life is lost at the third step and the fifth step truncates the episode."""
    ring = ReplayMemory(40, 1, (1,), stack=2, n_step=3, gamma=0.5, seed=1, dtype=np.int32)
    fill(
        ring,
        [
            [(1, 1, False)],
            [(2, 1, False)],
            [(4, 0, False)],
            [(8, 1, False)],
            [(16, 1, True)],
            [(0, 1, False)],
        ]
        + [[(0, 1, False)]] * 3,
    )
    batch = ring.gather(np.zeros(5, np.int64), np.arange(5))
    assert batch.reward.tolist() == [1 + 0.5 * 2 + 0.25 * 4, 2 + 0.5 * 4, 4, 8 + 0.5 * 16, 16]
    assert batch.discount.tolist() == [0, 0, 0, 0.25, 0.5]
    # The episode has the frames 1, 2, 4, 6, 8 and 10; the target bootstraps from the last of them.
    assert batch.next_observation[:, 0].tolist() == [[4, 6], [6, 8], [8, 10], [8, 10], [8, 10]]


def test_stacks_at_the_start_of_an_episode_are_padded_with_zeros() -> None:
    ring = make(rows=20, envs=1, stack=4, n=1)
    fill(ring, [[(0.0, 1.0, number == 2)] for number in range(6)])
    first = ring.gather(np.array([0]), np.array([0])).observation[0, 0].tolist()
    assert first == [0, 0, 0, 1]
    next_episode = ring.gather(np.array([0]), np.array([5])).observation[0, 0].tolist()
    assert next_episode[:2] == [0, 0]
    assert next_episode[2] != 0


def test_the_seed_determines_the_sampled_batches() -> None:
    steps = [[(float(number), 1.0, False)] for number in range(30)]
    batches = []
    for seed in (1, 1, 2):
        ring = make(rows=40, envs=1, stack=2, n=1, seed=seed)
        fill(ring, steps)
        batches.append(ring.sample(16).reward.tolist())
    assert batches[0] == batches[1] != batches[2]


@pytest.mark.parametrize(
    ("storage", "free", "message"),
    [
        (
            "memory",
            1_500_000_000,
            r"needs 7.07 GB, but only 1.00 GB of memory are free.*--replay.capacity 141000",
        ),
        (
            "auto",
            900_000_000,
            r"needs 0.90 GB, but only 0.40 GB of memory are free.*--replay.capacity 446000",
        ),
    ],
)
def test_a_memory_that_does_not_fit_is_refused_with_a_capacity_that_fits(
    monkeypatch: pytest.MonkeyPatch, storage: Any, free: int, message: str
) -> None:
    monkeypatch.setattr(capacity, "memory_left", lambda: free)
    shape: dict[str, Any] = {"stack": 4, "n_step": 1, "gamma": 0.99, "seed": 1, "storage": storage}
    with pytest.raises(UserError, match="replay.capacity = 1000000 " + message) as error:
        ReplayMemory(1_000_000, 16, (84, 84), **shape)
    ReplayMemory(
        int(str(error.value).split("--replay.capacity ")[1].rstrip(")")), 16, (84, 84), **shape
    )


def test_auto_storage_compresses_frames_that_need_over_half_of_the_free_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(capacity, "memory_left", lambda: 2_500_000_000)
    chosen = [
        ReplayMemory(frames, 4, (84, 84), stack=4, n_step=1, gamma=0.99, seed=1).storage
        for frames in (140_000, 145_000)
    ]
    assert chosen == ["memory", "compressed"]


def test_a_disk_with_too_little_space_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda directory: SimpleNamespace(free=1_000_000_000))
    with pytest.raises(
        UserError,
        match=r"needs 1.41 GB, but only 0.50 GB are free on the disk of '.*--replay.capacity 70000",
    ):
        ReplayMemory(
            200_000,
            4,
            (84, 84),
            stack=4,
            n_step=1,
            gamma=0.99,
            seed=1,
            storage="disk",
            directory=tmp_path,
        )
    assert list(tmp_path.iterdir()) == []


def test_a_capacity_too_small_for_stacks_and_returns_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"replay.capacity = 100 leaves 6 frames for each of 16 environments"
    ):
        ReplayMemory(100, 16, (84, 84), stack=4, n_step=1, gamma=0.99, seed=1)


@pytest.mark.parametrize("storage", ["memory", "compressed", "disk"])
def test_frame_statistics_leave_out_environments_without_frames(storage: Storage) -> None:
    """Actors deliver one after another, so the warm-up can end before each of them has."""
    statistics = []
    for num_envs, env in ((1, 0), (3, 1)):
        ring = ReplayMemory(
            100 * num_envs, num_envs, (2, 2), stack=2, n_step=1, gamma=0.99, seed=1, storage=storage
        )
        grow_one(ring, np.array([env]), frames=range(10, 90))
        statistics.append(ring.frame_statistics())
    alone, among_others = statistics
    np.testing.assert_array_equal(among_others.mean, alone.mean)
    assert among_others.deviation == alone.deviation
    np.testing.assert_allclose(alone.mean, np.full((2, 2), 49), atol=0.5)


def grow_one(ring: ReplayMemory, env: NDArray[np.int64], frames: Iterable[int]) -> None:
    """Adds an episode of frames of one gray value each to the environment ``env`` (1,)."""
    pictures = [np.full((1, *ring.frame_shape), value, np.uint8) for value in frames]
    ring.start(pictures[0], env)
    zero = np.zeros(1, np.float32)
    for picture in pictures[1:]:
        ring.add(np.zeros(1, np.int32), zero, zero + 1, picture, zero > 0, picture, env)


def test_a_million_frames_need_seven_gigabytes() -> None:
    layout = RingLayout(1_000_000, 1, 5, (84, 84), np.dtype(np.uint8))
    assert memory_needed("memory", layout) == pytest.approx(7.07e9, rel=0.001)
    assert memory_needed("disk", layout) == 14_000_000


def grow(ring: ReplayMemory, random: np.random.Generator, steps: int) -> None:
    """Adds random steps to a memory; each ends its episode with probability 0.1."""
    size = ring.num_envs
    if not len(ring):
        ring.start(random.integers(1000, size=(size, 1), dtype=np.int32))
    for _ in range(steps):
        frames = random.integers(1000, size=(2, size, 1), dtype=np.int32)
        reward = random.random(size, np.float32)
        ended = random.random(size) < 0.1
        ring.add(
            random.integers(4, size=size, dtype=np.int32),
            reward,
            (~ended).astype(np.float32),
            frames[0],
            ended,
            frames[1],
        )


@settings(max_examples=60)
@given(st.data())
def test_a_memory_written_in_parts_continues_identically_in_any_storage(
    data: st.DataObject,
) -> None:
    rows = data.draw(st.integers(12, 60), "rows")
    envs = data.draw(st.integers(1, 3), "envs")
    storages: st.SearchStrategy[Storage] = st.sampled_from(["memory", "compressed", "disk"])
    ring = make(rows, envs, 3, 2, storage=data.draw(storages, "storage"))
    random = np.random.default_rng(data.draw(st.integers(0, 99), "seed"))
    with TemporaryDirectory() as folder:
        files = FrameFiles(Path(folder))
        for part in range(data.draw(st.integers(1, 4), "parts")):
            grow(ring, random, data.draw(st.integers(1, 90), "steps"))
            files.write(f"{part}.npz", ring)
        arrays = {name: array.copy() for name, array in ring.arrays().items()}
        again = make(rows, envs, 3, 2, seed=77, storage=data.draw(storages, "other storage"))
        read = FrameFiles(Path(folder))
        read.restore(files.entries, files.ends())
        again.restore(arrays, read.read())
        # Frames in one file have the same digest as the same frames in several files.
        whole = FrameFiles(Path(folder))
        whole.write("whole.npz", again)
        added = arrays["added"]
        np.testing.assert_array_equal(whole.digest(added, rows), files.digest(added, rows))
    for _ in range(3):
        state = random.bit_generator.state
        grow(ring, random, 30)
        random.bit_generator.state = state
        grow(again, random, 30)
        for one, other in zip(ring.sample(20), again.sample(20), strict=True):
            np.testing.assert_array_equal(one, other)


class SampleableReference:
    """Keeps all starts and steps in lists, and derives from them which rows may be sampled."""

    def __init__(self, envs: int) -> None:
        self.last: list[list[bool]] = [[] for _ in range(envs)]

    def start(self, env: int) -> None:
        if self.last[env]:
            self.last[env][-1] = True
        self.last[env].append(False)

    def step(self, env: int, ended: bool) -> None:
        self.last[env].append(ended)
        if ended:
            self.last[env].append(False)

    def sampleable(self, rows: int, stack: int, n: int) -> set[tuple[int, int]]:
        """Returns the (environment, row) pairs that may be sampled."""
        found = set()
        for env, last in enumerate(self.last):
            full = len(last) >= rows
            first = len(last) - rows + stack - 1 if full else 0
            found |= {(env, at % rows) for at in range(first, len(last) - n) if not last[at]}
        return found


@settings(max_examples=300)
@given(data=st.data())
def test_can_sample_is_true_exactly_when_there_is_a_sampleable_row(data: Any) -> None:
    envs = data.draw(st.integers(1, 3), "environments")
    stack = data.draw(st.integers(1, 4), "stack")
    n = data.draw(st.integers(1, 3), "n")
    exponent = data.draw(st.sampled_from([0.0, 0.5]), "priority exponent")
    rows = data.draw(st.integers(2 * (stack + n), 2 * (stack + n) + 6), "rows")
    ring = ReplayMemory(
        rows * envs,
        envs,
        (1,),
        stack=stack,
        n_step=n,
        gamma=0.9,
        seed=1,
        dtype=np.int32,
        priority_exponent=exponent,
    )
    reference = SampleableReference(envs)
    one = st.tuples(st.sampled_from(["start", "step", "end"]), st.integers(0, envs - 1))
    beginning = [("start", env) for env in range(envs)]
    for what, env in beginning + data.draw(st.lists(one, max_size=40), "what happens"):
        chosen = np.array([env])
        frame = np.zeros((1, 1), np.int32)
        if what == "start":
            ring.start(frame, chosen)
            reference.start(env)
        else:
            ended = np.array([what == "end"])
            ring.add(
                np.zeros(1, np.int32),
                np.zeros(1, np.float32),
                np.ones(1, np.float32),
                frame,
                ended,
                frame,
                chosen,
            )
            reference.step(env, what == "end")
        allowed = reference.sampleable(rows, stack, n)
        assert ring.can_sample() == bool(allowed)
        if allowed:
            assert set(zip(*np.divmod(ring.sample(8).indices, rows), strict=True)) <= allowed
        else:
            with pytest.raises(ValueError, match="nothing to sample"):
                ring.sample(8)


def test_a_memory_with_starts_but_no_steps_cannot_be_sampled() -> None:
    ring = make(rows=40, envs=2, stack=4, n=1)
    for _ in range(100):
        ring.start(np.zeros((2, 1), np.int32))
        assert not ring.can_sample()
    with pytest.raises(ValueError, match="nothing to sample"):
        ring.sample(1)
    assert len(ring.sample(0).action) == 0
