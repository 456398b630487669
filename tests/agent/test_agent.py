"""Tests the agent: updates, target network, resets, acting, and checks of its inputs."""

from functools import cache
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from atari_dqn.agent.agent import Agent
from atari_dqn.agent.pretrained import start_from
from atari_dqn.agent.update_metrics import UpdateMetrics
from atari_dqn.config.resolve import load_config
from atari_dqn.config.schema import Config
from atari_dqn.errors import UserError
from atari_dqn.networks.q_network import QNetwork
from atari_dqn.replay.batch import Batch

SHAPE = (2, 36, 36)
ACTIONS = ("NOOP", "FIRE", "RIGHT", "LEFT")


def config(**overrides: object) -> Config:
    """Returns settings of a small agent; ``agent__n_step=1`` overrides ``agent.n_step``."""
    defaults: dict[str, object] = {
        "agent.batch_size": 8,
        "agent.n_step": 3,
        "agent.target_period_updates": 1000,
    }
    defaults |= {"agent.target_rate": 1.0, "network.hidden_units": 16, "optimizer.epsilon": 1e-8}
    defaults |= {
        "network.deviation": 0.0,
        "network.motion": 1.0,
        "agent.munchausen": 0.0,
        "agent.munchausen_after_updates": 0,
        "optimizer.weight_decay_first": False,
    }  # the recipe's values suit real frames and long runs
    defaults |= {"machine.precision": "float32"}  # the tolerances below assume its rounding
    return load_config(
        "breakout",
        overrides={
            **defaults,
            **{name.replace("__", "."): value for name, value in overrides.items()},
        },
    )[0]


def joined(batches: list[Batch]) -> Batch:
    """Returns one batch with the transitions of several batches."""
    return Batch(*(np.concatenate(field) for field in zip(*batches, strict=True)))


def batch(seed: int = 0) -> Batch:
    """Returns eight random transitions."""
    random = np.random.default_rng(seed)
    return Batch(
        random.integers(256, size=(8, 36, 36, 2), dtype=np.uint8),
        random.integers(4, size=8).astype(np.int32),
        random.normal(size=8).astype(np.float32),
        random.choice([0.0, 0.9], size=8).astype(np.float32),
        random.integers(256, size=(8, 36, 36, 2), dtype=np.uint8),
        np.ones(8, np.float32),
        np.arange(8),
    )


def network_values(network: QNetwork, frames: np.ndarray) -> np.ndarray:
    """Returns the Q-values, shape (B, A), of frames, shape (B, height, width, stack)."""
    return np.asarray(network({"frames": frames}, training=False))[:, :, 0]


@pytest.mark.parametrize("double", [True, False])
def test_an_update_matches_a_loss_computed_by_hand(double: bool) -> None:
    agent = Agent(config(agent__double=double), SHAPE, ACTIONS)
    for variable in agent.target.weights.variables:
        variable.assign(variable + 0.05 * keras.random.normal(variable.shape, seed=1))
    data = batch()
    online, target = (
        network_values(network, data.next_observation) for network in (agent.online, agent.target)
    )
    best = (online if double else target).argmax(axis=1)
    target_values = data.reward + data.discount * target[np.arange(8), best]
    before = network_values(agent.online, data.observation)
    error = target_values - before[np.arange(8), data.action]
    loss = np.where(np.abs(error) <= 1, error**2 / 2, np.abs(error) - 0.5)
    metrics, td_errors = agent.update(data)
    assert metrics.loss.item() == pytest.approx(loss.mean(), rel=1e-4)
    assert metrics.td_error.item() == pytest.approx(np.abs(error).mean(), rel=1e-4)
    np.testing.assert_allclose(td_errors, np.abs(error), rtol=1e-4)
    assert metrics.mean_max_q.item() == pytest.approx(before.max(axis=1).mean(), rel=1e-3, abs=1e-5)
    assert metrics.gradient_norm.item() > 0


@pytest.mark.parametrize("double", [True, False])
def test_munchausen_can_begin_after_some_updates(double: bool) -> None:
    """Until then updates are plain ones; from then on they have the bonus and the soft policy."""
    settings: dict[str, Any] = {"agent__double": double, "optimizer__learning_rate": 1e-3}
    settings |= {"network__torso": "mlp", "network__mlp_layers": [16]}
    late = Agent(
        config(**settings, agent__munchausen=0.9, agent__munchausen_after_updates=3), SHAPE, ACTIONS
    )
    plain = Agent(config(**settings, agent__munchausen=0.0), SHAPE, ACTIONS)
    early = Agent(config(**settings, agent__munchausen=0.9), SHAPE, ACTIONS)
    batches = [batch(seed) for seed in range(4)]
    at_first = late.arrays()
    expected = plain.update(joined(batches[:3]), 3)[0].loss
    early.restore(plain.arrays())
    after = early.update(batches[3])[0].loss
    for calls in ([batches[:3], batches[3:]], [batches]):
        late.restore(at_first)
        losses = np.concatenate([late.update(joined(call), len(call))[0].loss for call in calls])
        np.testing.assert_allclose(losses, [*expected, *after], rtol=1e-5)
    assert not np.allclose(after, plain.update(batches[3])[0].loss, rtol=1e-2)


def test_repeated_updates_fit_the_batch_and_change_only_the_online_network() -> None:
    agent = Agent(config(optimizer__learning_rate=1e-3), SHAPE, ACTIONS)
    data = batch()
    target_before = [variable.numpy() for variable in agent.target.weights.variables]
    first = agent.update(data)[0].loss.item()
    for _ in range(100):
        last = agent.update(data)[0].loss.item()
    assert last < 0.05 * first
    for variable, before in zip(agent.target.weights.variables, target_before, strict=True):
        np.testing.assert_array_equal(variable, before)


def test_the_target_network_is_copied_every_n_updates() -> None:
    agent = Agent(config(agent__target_period_updates=3), SHAPE, ACTIONS)
    same = []
    for number in range(6):
        agent.update(batch(number))
        pairs = zip(agent.online.weights.variables, agent.target.weights.variables, strict=True)
        same.append(all(np.array_equal(online, target) for online, target in pairs))
    assert same == [False, False, True, False, False, True]


@pytest.mark.parametrize(
    ("precision", "period", "rate"),
    [("float32", 3, 1.0), ("bfloat16", 3, 1.0), ("float32", 1, 0.1)],
)
def test_several_updates_in_one_call_equal_the_same_updates_one_by_one(
    precision: str, period: int, rate: float
) -> None:
    settings = config(
        machine__precision=precision, agent__target_period_updates=period, agent__target_rate=rate
    )
    batches = [batch(number) for number in range(5)]
    one = Agent(settings, SHAPE, ACTIONS)
    other = Agent(settings, SHAPE, ACTIONS)
    single = [one.update(data)[0] for data in batches]
    together = [other.update(joined(some), len(some))[0] for some in (batches[:1], batches[1:])]
    assert one.updates == other.updates == 5
    np.testing.assert_allclose(
        UpdateMetrics.joined(single), UpdateMetrics.joined(together), rtol=1e-4
    )
    for name, array in one.arrays().items():
        np.testing.assert_allclose(array, other.arrays()[name], rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("returns", ["mean", "categorical", "quantile"])
def test_an_xla_compiled_update_on_vectors_equals_an_uncompiled_one(returns: str) -> None:
    settings = {"network.returns": returns, "network.head": "dueling", "agent.double": True}
    settings["network.mlp_layers"] = [32]
    agents = [
        Agent(load_config("CartPole-v1", overrides=settings)[0], (1, 4), ("0", "1"))
        for _ in range(2)
    ]
    agents[1]._take_steps = tf.function(agents[1]._compute_steps)
    data = batch()._replace(
        observation=np.ones((8, 4, 1), np.float32), next_observation=np.ones((8, 4, 1), np.float32)
    )
    compiled, plain = (
        UpdateMetrics.joined([agent.update(data, count)[0] for count in (2, 1)]) for agent in agents
    )
    np.testing.assert_allclose(compiled, plain, rtol=1e-3)
    np.testing.assert_allclose(
        agents[0].values(np.ones((3, 1, 4), np.float32)),
        agents[1].values(np.ones((3, 1, 4), np.float32)),
        rtol=1e-3,
    )


def test_bfloat16_weights_are_rounded_copies_of_the_trained_float32_weights() -> None:
    agent = Agent(
        config(machine__precision="bfloat16", optimizer__learning_rate=1e-5), SHAPE, ACTIONS
    )
    before = [variable.numpy() for variable in agent.online.weights.trainable_variables]
    agent.update(batch())
    learning, computing = (
        network.trainable_variables for network in (agent.online.weights, agent.online.computing)
    )
    for variable, rounded, old in zip(learning, computing, before, strict=True):
        assert variable.dtype == "float32"
        np.testing.assert_array_equal(tf.cast(variable.value, rounded.dtype), rounded)
        assert not np.array_equal(variable, old), (
            f"{variable.path}: an update smaller than the rounding must not be lost"
        )
    assert {str(variable.dtype) for variable in agent.online.computing.variables} == {
        "float32",
        "bfloat16",
    }
    exact = Agent(config(), SHAPE, ACTIONS)
    for variable, old in zip(exact.online.weights.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(
            variable, old, err_msg="both precisions start from the same weights"
        )


def test_acting_is_greedy_and_rows_of_a_batch_are_independent() -> None:
    agent = Agent(config(), SHAPE, ACTIONS)
    observations = np.random.default_rng(0).integers(256, size=(5, *SHAPE), dtype=np.uint8)
    values = agent.values(observations)
    np.testing.assert_allclose(
        values,
        network_values(agent.online, observations.transpose(0, 2, 3, 1)),
        rtol=1e-5,
        atol=1e-6,
    )
    assert agent.act(observations).tolist() == values.argmax(axis=1).tolist()
    for index in range(5):
        np.testing.assert_allclose(
            agent.values(observations[index : index + 1])[0], values[index], rtol=1e-4, atol=1e-5
        )


def test_a_restored_agent_continues_like_the_original() -> None:
    one = Agent(config(agent__target_period_updates=4), SHAPE, ACTIONS)
    for number in range(6):
        one.update(batch(number))
    other = Agent(config(agent__target_period_updates=4, machine__seed=99), SHAPE, ACTIONS)
    other.restore(one.arrays())
    for number in range(6, 10):
        metrics = one.update(batch(number))[0]
        other_metrics = other.update(batch(number))[0]
        assert metrics.loss.item() == pytest.approx(other_metrics.loss.item(), rel=1e-5)
    for name, array in one.arrays().items():
        np.testing.assert_allclose(array, other.arrays()[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_gradients_agree_with_finite_differences() -> None:
    """A small step along the direction of an update changes the loss linearly, downwards."""
    agent = Agent(config(optimizer__clip_norm=0.0), SHAPE, ACTIONS)
    data = batch()
    weights = [variable.numpy() for variable in agent.online.weights.trainable_variables]
    loss = agent.update(data)[0].loss.item()
    step = [
        variable.numpy() - weight
        for variable, weight in zip(agent.online.weights.trainable_variables, weights, strict=True)
    ]
    length = np.sqrt(sum(float((part**2).sum()) for part in step))
    losses = []
    for size in (-1e-3, 1e-3):
        for variable, weight, part in zip(
            agent.online.weights.trainable_variables, weights, step, strict=True
        ):
            variable.assign(weight + size * part / length)
        losses.append(agent.update(data)[0].loss.item())
    slope = (losses[1] - losses[0]) / 2e-3
    assert slope < 0, "the direction of the update must lower the loss"
    assert loss == pytest.approx(np.mean(losses), rel=1e-3)


@pytest.mark.parametrize("head", ["q", "dueling"])
def test_an_agent_can_start_from_the_weights_of_another_agent(head: str) -> None:
    other = Agent(config(network__head=head, machine__seed=2), SHAPE, ACTIONS)
    agent = Agent(config(network__head=head), SHAPE, ACTIONS)
    assert start_from(agent, other)
    for pairs in (
        zip(agent.online.weights.variables, other.online.weights.variables, strict=True),
        agent_pairs(agent),
    ):
        for mine, its in pairs:
            np.testing.assert_array_equal(mine, its)


@pytest.mark.parametrize(
    ("head", "outputs"), [("q", {"q_values"}), ("dueling", {"value", "advantage"})]
)
def test_output_layers_are_reinitialized_when_the_weights_come_from_another_game(
    head: str, outputs: set[str]
) -> None:
    other = Agent(config(network__head=head, machine__seed=2), SHAPE, ["NOOP", "UP"])
    agent = Agent(config(network__head=head), SHAPE, ACTIONS)
    before = {variable.path: variable.numpy() for variable in agent.online.weights.variables}
    assert not start_from(agent, other)
    theirs = {variable.path: variable.numpy() for variable in other.online.weights.variables}
    for path, value in (
        (variable.path, variable.numpy()) for variable in agent.online.weights.variables
    ):
        expected = before if path.split("/")[0] in outputs else theirs
        np.testing.assert_array_equal(value, expected[path], err_msg=path)


@pytest.mark.parametrize("with_target", [True, False])
def test_act_with_target_decides_which_network_acts_and_is_copied_from(
    with_target: bool,
) -> None:
    agent = Agent(config(agent__act_with_target=with_target), SHAPE, ACTIONS)
    data = batch()
    agent.update(data)
    online, target = (
        network_values(network, data.observation) for network in (agent.online, agent.target)
    )
    assert not np.allclose(online, target, atol=1e-5)
    np.testing.assert_allclose(
        agent.values(np.moveaxis(data.observation, -1, 1)),
        target if with_target else online,
        atol=1e-6,
    )
    successor = Agent(config(machine__seed=2), SHAPE, ACTIONS)
    start_from(successor, agent)
    np.testing.assert_allclose(
        network_values(successor.online, data.observation),
        target if with_target else online,
        atol=1e-6,
    )


def agent_pairs(agent: Agent) -> "zip[tuple[keras.Variable, keras.Variable]]":
    """Returns pairs of the online network's and the target network's variables."""
    return zip(agent.online.weights.variables, agent.target.weights.variables, strict=True)


@pytest.mark.parametrize(
    ("change", "shape", "message"),
    [
        ({"network__head": "dueling"}, SHAPE, "its head is dueling, this run's q"),
        ({"network__hidden_units": 32}, SHAPE, "its hidden_units is 32, this run's 16"),
        ({}, (3, 36, 36), r"its observations is \(3, 36, 36\), this run's \(2, 36, 36\)"),
    ],
)
def test_starting_from_a_different_network_is_refused(
    change: dict[str, object], shape: tuple[int, ...], message: str
) -> None:
    other = Agent(
        config(network__head="q", **{**change})
        if "network__head" not in change
        else config(**change),
        shape,
        ACTIONS,
    )
    agent = Agent(config(network__head="q"), SHAPE, ACTIONS)
    with pytest.raises(UserError, match=message):
        start_from(agent, other)


def test_restoring_arrays_of_a_different_network_is_refused() -> None:
    agent = Agent(config(), SHAPE, ACTIONS)
    arrays = Agent(config(network__hidden_units=8), SHAPE, ACTIONS).arrays()
    with pytest.raises(
        UserError,
        match=r"is of a different network: \w+/kernel is \(\d+, 8\), expected \(\d+, 16\)",
    ):
        agent.restore(arrays)
    with pytest.raises(UserError, match="is missing"):
        agent.restore({"updates": np.array(1)})


def test_a_reset_reinitializes_the_head_and_shrinks_and_perturbs_the_torso() -> None:
    settings = config(
        agent__reset_period_updates=3, agent__reset_keep=0.75, optimizer__learning_rate=1e-3
    )
    agent = Agent(settings, SHAPE, ACTIONS)
    same = Agent(config(optimizer__learning_rate=1e-3), SHAPE, ACTIONS)
    for number in range(3):
        agent.update(batch(number))
        same.update(batch(number))
    fresh = agent._build("fresh", "float32", 3)
    for layer, trained, new in zip(
        agent.online.weights.layers, same.online.weights.layers, fresh.layers, strict=True
    ):
        torso = layer.name.startswith("convolution")
        for weight, old_weight, fresh_weight in zip(
            layer.get_weights(), trained.get_weights(), new.get_weights(), strict=True
        ):
            np.testing.assert_allclose(
                weight,
                0.75 * old_weight + 0.25 * fresh_weight if torso else fresh_weight,
                rtol=1e-3,
                atol=1e-5,
            )
    for mine, its in agent_pairs(agent):
        np.testing.assert_array_equal(mine, its)
    moments = [variable for variable in agent.optimizer.variables if len(variable.shape)]
    assert moments
    assert all(not np.any(variable) for variable in moments)
    assert int(agent.optimizer.iterations) == 3
    again = Agent(settings, SHAPE, ACTIONS)
    again.update(joined([batch(number) for number in range(3)]), 3)
    for mine, its in zip(
        agent.online.weights.variables, again.online.weights.variables, strict=True
    ):
        np.testing.assert_allclose(
            mine,
            its,
            rtol=1e-3,
            atol=1e-5,
            err_msg="a reset also happens between updates of one call",
        )


def test_network_noise_affects_exploration_but_never_values() -> None:
    agent = Agent(config(network__noisy=True, network__noisy_sigma=5.0), SHAPE, ACTIONS)
    observations = np.random.default_rng(1).integers(256, size=(8, *SHAPE), dtype=np.uint8)
    explored = [agent.values_with_noise(observations) for _ in range(10)]
    assert len({tuple(values.argmax(axis=-1)) for values in explored}) > 1
    np.testing.assert_array_equal(agent.values(observations), agent.values(observations))
    quiet = Agent(config(), SHAPE, ACTIONS)
    same = quiet.values(observations)
    np.testing.assert_array_equal(quiet.values_with_noise(observations), same)
    assert quiet._noisy_passes == 0


def test_equal_sample_weights_scale_the_loss() -> None:
    one = Agent(config(), SHAPE, ACTIONS)
    other = Agent(config(), SHAPE, ACTIONS)
    data = batch()
    half = data._replace(weight=np.full(8, 0.5, np.float32))
    whole_loss, half_loss = (
        agent.update(which)[0].loss.item() for agent, which in ((one, data), (other, half))
    )
    assert half_loss == pytest.approx(whole_loss / 2, rel=1e-5)


@cache
def picture_agent() -> Agent:
    return Agent(config(), SHAPE, ACTIONS)


@cache
def vector_agent() -> Agent:
    return Agent(
        load_config("CartPole-v1", overrides={"environment.stack": 2})[0], (2, 4), ("LEFT", "RIGHT")
    )


BYTES = np.random.default_rng(0).integers(256, size=(3, *SHAPE), dtype=np.uint8)


@pytest.mark.parametrize(
    ("observations", "message"),
    [
        (
            BYTES[0],
            r"shape \(2, 36, 36\) and type uint8; expected: \(N, 2, 36, 36\), uint8; "
            r"a single .* observations\[np.newaxis\]",
        ),
        (
            np.moveaxis(BYTES, 1, -1),
            r"expected: \(N, 2, 36, 36\), uint8; the stack axis comes before the rows: ",
        ),
        (
            BYTES / np.float32(255),
            r"type float32; expected: \(N, 2, 36, 36\), uint8; pictures are bytes from 0 to 255",
        ),
        (BYTES.astype(np.float64), "type float64; expected: .*, uint8; pictures are bytes"),
        (BYTES.astype(np.int64), "type int64; expected: .*, uint8; pictures are bytes"),
        (BYTES.astype(np.int8), "type int8; expected"),
        (BYTES.tolist(), "type int64; expected"),
        (
            BYTES[:, :, :30],
            r"shape \(3, 2, 30, 36\) and type uint8; expected: \(N, 2, 36, 36\), uint8$",
        ),
        (BYTES[:, :1], r"shape \(3, 1, 36, 36\)"),
        (np.zeros((0, 2, 30, 36), np.uint8), r"shape \(0, 2, 30, 36\)"),
        (np.uint8(3), r"shape \(\) "),
    ],
)
@pytest.mark.parametrize("method", ["values", "act", "values_with_noise"])
def test_image_batches_of_a_wrong_shape_order_or_type_are_refused(
    method: str, observations: object, message: str
) -> None:
    with pytest.raises(UserError, match=message) as error:
        getattr(picture_agent(), method)(observations)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "dtype", [np.float32, np.float64, np.float16, np.int8, np.int64, np.uint16]
)
def test_vector_observations_may_have_any_numeric_type(dtype: type) -> None:
    agent = vector_agent()
    numbers = np.arange(24).reshape(3, 2, 4)
    expected = agent.values(numbers.astype(np.float32))
    np.testing.assert_array_equal(agent.values(numbers.astype(dtype)), expected)
    np.testing.assert_array_equal(agent.act(numbers.astype(dtype)), expected.argmax(axis=1))
    np.testing.assert_array_equal(agent.act(numbers.tolist()), expected.argmax(axis=1))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("observations", "message"),
    [
        (
            np.zeros((2, 4)),
            r"expected: \(N, 2, 4\), numbers; a single observation needs a batch axis",
        ),
        (
            np.zeros((3, 4, 2)),
            r"shape \(3, 4, 2\) and type float64; expected: \(N, 2, 4\), numbers$",
        ),
        (np.zeros((3, 2, 4), np.complex64), "type complex64; expected"),
        (np.full((3, 2, 4), np.nan), "contain NaN"),
    ],
)
def test_vector_batches_of_a_wrong_shape_or_with_nan_are_refused(
    observations: np.ndarray, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        vector_agent().act(observations)


@pytest.mark.parametrize("settings", [{}, {"network__noisy": True}])
def test_an_empty_batch_returns_empty_values_and_actions(settings: dict[str, object]) -> None:
    agents = [Agent(config(**settings), SHAPE, ACTIONS), vector_agent()]
    for agent in agents:
        none = np.zeros(
            (0, *agent.observation_shape),
            np.uint8 if len(agent.observation_shape) == 3 else np.float32,
        )
        assert agent.values(none).shape == (0, agent.num_actions)
        assert agent.act(none).shape == (0,)
