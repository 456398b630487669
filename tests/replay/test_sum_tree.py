"""Compares the sum tree with a plain array."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from atari_dqn.replay.sum_tree import SumTree

sizes = st.integers(1, 70)


@settings(max_examples=100)
@given(size=sizes, seed=st.integers(0, 10_000), changes=st.integers(1, 12))
def test_a_tree_matches_a_plain_array_after_any_changes(size: int, seed: int, changes: int) -> None:
    random = np.random.default_rng(seed)
    tree = SumTree(size)
    plain = np.zeros(size)
    for _ in range(changes):
        index = random.integers(size, size=random.integers(1, 9))
        value = random.choice([0.0, 0.5, 1.0, 7.0], size=len(index))
        tree.set(index, value)
        for leaf, number in zip(index, value, strict=True):
            plain[leaf] = number
    np.testing.assert_array_equal(tree.leaves, plain)
    assert tree.total == plain.sum()
    if tree.total == 0:
        return
    position = random.random(50) * tree.total
    expected = np.searchsorted(np.cumsum(plain), position, side="right")
    np.testing.assert_array_equal(tree.find(position), expected)


@settings(max_examples=50)
@given(size=sizes, seed=st.integers(0, 10_000))
def test_a_rebuilt_tree_is_bitwise_equal_to_an_updated_one(size: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    updated = SumTree(size)
    rebuilt = SumTree(size)
    for _ in range(10):
        index = random.integers(size, size=5)
        updated.set(index, random.random(5) ** 9)
    rebuilt.set_all(updated.leaves.copy())
    np.testing.assert_array_equal(updated._nodes, rebuilt._nodes)
    assert updated.total == rebuilt.total


def test_leaves_are_found_in_proportion_to_their_values() -> None:
    tree = SumTree(5)
    tree.set_all(np.array([1.0, 0.0, 2.0, 5.0, 0.0]))
    found = np.bincount(
        tree.find(np.random.default_rng(0).random(80_000) * tree.total), minlength=5
    )
    np.testing.assert_allclose(found / 80_000, [1 / 8, 0, 2 / 8, 5 / 8, 0], atol=0.005)


def test_a_zero_leaf_is_never_found_even_at_the_end() -> None:
    tree = SumTree(8)
    tree.set_all(np.array([0.1, 0.2, 0.3, 0, 0, 0, 0, 0]))
    assert tree.find(np.array([tree.total, np.nextafter(tree.total, 0)])).tolist() == [2, 2]
