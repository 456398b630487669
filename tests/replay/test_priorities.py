"""Tests prioritized sampling from the replay memory."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atari_dqn.replay.memory import ReplayMemory
from atari_dqn.replay.priorities import Priorities

NONE = np.empty(0, np.int64)


def memory(
    num_envs: int = 2, rows: int = 24, stack: int = 3, n_step: int = 2, exponent: float = 0.6
) -> ReplayMemory:
    return ReplayMemory(
        num_envs * rows,
        num_envs,
        (2, 2),
        stack=stack,
        n_step=n_step,
        gamma=0.9,
        seed=3,
        priority_exponent=exponent,
    )


def play(replay: ReplayMemory, steps: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    envs = replay.num_envs
    replay.start(np.zeros((envs, 2, 2), np.uint8))
    for _ in range(steps):
        frame = random.integers(256, size=(envs, 2, 2), dtype=np.uint8)
        ended = random.random(envs) < 0.15
        replay.add(
            np.zeros(envs, np.int32),
            np.ones(envs, np.float32),
            np.ones(envs, np.float32),
            frame,
            ended,
            frame,
        )


def sampleable_uniformly(replay: ReplayMemory) -> set[int]:
    """Returns every index that uniform sampling may return."""
    oldest = np.where(replay._size == replay.rows, replay._newest + replay.stack, 0)
    indices = set()
    for env, count in enumerate(replay._sampleable().tolist()):
        rows = (oldest[env] + np.arange(count)) % replay.rows
        indices |= {env * replay.rows + int(row) for row in rows if not replay._last[env, row]}
    return indices


@settings(max_examples=60)
@given(
    steps=st.integers(0, 80),
    seed=st.integers(0, 1000),
    stack=st.integers(1, 4),
    n_step=st.integers(1, 5),
    envs=st.integers(1, 3),
)
def test_exactly_the_uniformly_sampleable_transitions_have_a_priority(
    steps: int, seed: int, stack: int, n_step: int, envs: int
) -> None:
    replay = memory(envs, stack=stack, n_step=n_step)
    play(replay, steps, seed)
    assert replay.priorities is not None
    assert set(np.flatnonzero(replay.priorities._tree.leaves).tolist()) == sampleable_uniformly(
        replay
    )
    assert replay.priorities._count == len(sampleable_uniformly(replay))
    assert replay.can_sample() == bool(sampleable_uniformly(replay))


def test_equal_priorities_sample_uniformly_with_weight_one() -> None:
    replay = memory()
    play(replay, 50, seed=1)
    counts = np.zeros(48)
    for _ in range(400):
        batch = replay.sample(32, progress=0.4)
        np.testing.assert_array_equal(batch.weight, 1)
        counts += np.bincount(batch.indices, minlength=48)
    expected = 400 * 32 / len(sampleable_uniformly(replay))
    np.testing.assert_allclose(counts[counts > 0], expected, rtol=0.12)


def test_td_errors_set_the_sampling_rate_and_weights_correct_for_it() -> None:
    priorities = Priorities(4, exponent=0.5, importance_exponent=0.0)
    priorities.replace(NONE, np.array([0, 1, 3]))
    priorities.set(np.array([0, 1, 3]), np.array([1.0, -4.0, 16.0]))
    random = np.random.default_rng(0)
    index, weight = (
        np.concatenate(parts).ravel()
        for parts in zip(*(priorities.sample(70, 4, 1.0, random) for _ in range(75)), strict=True)
    )
    shares = np.bincount(index, minlength=4) / len(index)
    np.testing.assert_allclose(shares, np.array([1, 2, 0, 4]) / 7, atol=0.01)
    # With its weight, every index counts the same.
    np.testing.assert_allclose(
        [weight[index == k].sum() / len(index) for k in (0, 1, 3)], 1 / 7, atol=0.01
    )
    half = priorities.sample(70, 1, 0.5, random)
    np.testing.assert_allclose(half[1], np.array([1, 2**-0.5, 0, 0.5])[half[0]], rtol=1e-5)


def test_new_transitions_have_the_largest_priority_so_far() -> None:
    priorities = Priorities(8, exponent=1.0)
    priorities.replace(NONE, np.array([0]))
    priorities.set(np.array([0]), np.array([5.0]))
    priorities.set(np.array([0]), np.array([0.5]))
    priorities.replace(NONE, np.array([1]))
    np.testing.assert_allclose(priorities._tree.leaves[:2], [0.5, 5.0], rtol=1e-5)


def test_setting_the_priority_of_a_removed_transition_has_no_effect() -> None:
    priorities = Priorities(4, exponent=1.0)
    priorities.replace(NONE, np.arange(3))
    priorities.replace(np.array([1]), NONE)
    priorities.set(np.array([0, 1]), np.array([2.0, 7.0]))
    np.testing.assert_allclose(priorities._tree.leaves[:4], [2, 0, 1, 0], rtol=1e-5)
    priorities.set(np.array([1]), np.array([7.0]))
    assert priorities._tree.leaves[1] == 0


@pytest.mark.parametrize(("share", "by_priority"), [(1.0, 8), (0.5, 4), (0.2, 2), (0.0, 0)])
def test_only_the_given_share_of_each_batch_is_sampled_by_priority(
    share: float, by_priority: int
) -> None:
    """Only one transition has a priority, so all others come from the uniform part of the batch."""
    replay = memory()
    play(replay, 50, seed=1)
    assert replay.priorities is not None
    indices = np.array(sorted(sampleable_uniformly(replay)))
    replay.priorities.replace(indices, NONE)
    replay.priorities.replace(NONE, indices[3:4])
    rest = np.zeros(48)
    for _ in range(200):
        batch = replay.sample(8, 3, share=share)
        np.testing.assert_array_equal(batch.weight, 1)
        each = batch.indices.reshape(3, 8)
        np.testing.assert_array_equal(each[:, :by_priority], indices[3])
        rest += np.bincount(each[:, by_priority:].ravel(), minlength=48)
    np.testing.assert_allclose(rest[indices], 600 * (8 - by_priority) / len(indices), atol=50)


def test_the_uniform_part_of_a_batch_has_weight_one() -> None:
    replay = memory()
    play(replay, 50, seed=1)
    replay.set_priorities(replay.sample(8).indices, np.linspace(1, 9, 8, dtype=np.float32))
    weight = replay.sample(8, 2, progress=1.0, share=0.5).weight.reshape(2, 8)
    np.testing.assert_array_equal(weight[:, 4:], 1)
    np.testing.assert_array_equal(weight[:, :4].max(axis=1), 1)
    assert weight[:, :4].min() < 1


def test_a_restored_memory_samples_the_same_batches() -> None:
    one = memory()
    other = memory()
    play(one, 60, seed=2)
    batch = one.sample(8, progress=0.5)
    assert one.priorities is not None
    one.priorities.set(batch.indices, np.linspace(0, 3, 8))
    other.restore(one.arrays(), one.filled(np.zeros(2, np.int64)))
    for _ in range(5):
        samples = (replay.sample(16, 2, 0.7, share=0.5) for replay in (one, other))
        for left, right in zip(*samples, strict=True):
            np.testing.assert_array_equal(left, right)


def test_a_uniform_memory_has_no_priorities() -> None:
    replay = memory(exponent=0.0)
    play(replay, 40, seed=1)
    assert replay.priorities is None
    np.testing.assert_array_equal(replay.sample(16).weight, 1)
    with pytest.raises(KeyError):
        replay.arrays()["priorities"]


def test_the_last_td_error_counts_when_an_index_was_sampled_twice() -> None:
    priorities = Priorities(4, exponent=1.0)
    priorities.replace(NONE, np.arange(3))
    priorities.set(np.array([2, 0, 2]), np.array([9.0, 1.0, 3.0]))
    np.testing.assert_allclose(priorities._tree.leaves[:4], [1, 1, 3, 0], rtol=1e-5)
