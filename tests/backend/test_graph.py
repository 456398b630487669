"""Compares compiled graphs with the Python functions that they are traced from."""

import numpy as np
import pytest
import tensorflow as tf

from atari_dqn.backend.graph import Graph


@pytest.mark.parametrize("compiled", [False, True])
def test_graphs_match_their_functions_and_read_the_current_variables(
    compiled: bool,
) -> None:
    scale = tf.Variable(2.0)

    def function(pair: tuple[tf.Tensor, tf.Tensor], power: int) -> tuple[tf.Tensor, tf.Tensor]:
        scale.assign_add(1.0)
        return scale * pair[0] ** power, tf.reduce_sum(pair[1])

    graph = Graph(function, compiled)
    random = np.random.default_rng(1)
    for call, (rows, power) in enumerate([(3, 1), (5, 1), (3, 2), (3, 1), (5, 1)]):
        left, right = (random.normal(size=(rows, 2)).astype(np.float32) for _ in range(2))
        scaled, total = graph((tf.constant(left), tf.constant(right)), power)
        np.testing.assert_allclose(scaled, (3.0 + call) * left**power, rtol=1e-5)
        np.testing.assert_allclose(total, right.sum(), rtol=1e-4)
    assert scale.numpy() == 7.0


def test_a_graph_is_traced_once_for_each_number_of_rows_and_constant() -> None:
    traces = []

    def function(rows: tf.Tensor, constant: int) -> tf.Tensor:
        traces.append((rows.shape[0], constant))
        return rows + constant

    graph = Graph(function)
    for rows, constant in [(2, 1), (3, 1), (2, 1), (2, 2), (3, 1)]:
        assert len(graph(tf.zeros(rows), constant)[0]) == rows
    assert traces == [(2, 1), (3, 1), (2, 2)]
    any_rows = Graph(lambda rows: function(rows, 5), signature=[tf.TensorSpec([None])])
    traces.clear()
    assert [any_rows(tf.zeros(rows))[0].shape[0] for rows in (2, 3, 4)] == [2, 3, 4]
    assert traces == [(None, 5)]
