"""Exported networks: Keras, ONNX and TensorFlow load them without this package."""

import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atari_dqn.agent.agent import Agent
from atari_dqn.agent.export import export_network, save_network, stock_network
from atari_dqn.backend.arrays import FrameStatistics
from tests.agent.test_agent import ACTIONS, SHAPE, config

KINDS: list[dict[str, Any]] = [
    {"head": "q"},
    {"head": "q", "center": True, "deviation": 0.04, "motion": 6.0},
    {"head": "dueling", "returns": "categorical", "noisy": True},
    {"head": "dueling", "returns": "quantile", "layer_norm": True},
    {"head": "q", "returns": "implicit"},
    {
        "head": "dueling",
        "returns": "implicit",
        "noisy": True,
        "torso": "impala",
        "spectral_norm": True,
        "center": True,
    },
    {
        "head": "q",
        "torso": "impala",
        "impala_channels": [8],
        "impala_blocks": 1,
        "impala_stride": 2,
        "center": True,
        "contrast": 4.0,
    },
    {"head": "q", "torso": "mlp", "noisy": True},
]


def test_keras_alone_opens_the_saved_file_and_computes_the_agents_values(
    tmp_path: Path,
) -> None:
    """The file is loaded in Keras's safe mode, by a process that never imports this package."""
    observations = np.random.default_rng(0).integers(256, size=(3, *SHAPE), dtype=np.uint8)
    np.save(tmp_path / "frames.npy", np.moveaxis(observations, 1, -1))
    agents = [
        Agent(config(**{f"network__{name}": value for name, value in kind.items()}), SHAPE, ACTIONS)
        for kind in KINDS
    ]
    for number, agent in enumerate(agents):
        for variable in agent.acting.weights.trainable_variables:  # so that no bias is zero
            variable.assign_add(0.01 * np.random.default_rng(number).normal(size=variable.shape))
        if agent.online.centers_frames:
            agent.center(FrameStatistics(observations[0, 0].astype(np.float32), 20.0))
        save_network(agent, tmp_path / f"{number}.keras")
    script = (
        "import keras, numpy, sys\n"
        f"for number in range({len(agents)}):\n"
        "    network = keras.models.load_model(f'{number}.keras')\n"
        "    numpy.save(f'{number}.npy', network(numpy.load('frames.npy')))\n"
        "assert not any(name.startswith('atari_dqn') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True)
    for number, agent in enumerate(agents):
        values = np.load(tmp_path / f"{number}.npy")
        np.testing.assert_allclose(
            values, agent.values(observations), rtol=1e-4, atol=1e-5, err_msg=str(KINDS[number])
        )


# The programs get one folder for each exported network.
LOAD_AND_RUN = {
    "agent.onnx": (
        "import numpy, onnxruntime, sys\n"
        "for folder in sys.argv[1:]:\n"
        "    session = onnxruntime.InferenceSession(f'{folder}/agent.onnx')\n"
        "    (frames,) = session.get_inputs()\n"
        "    (values,) = session.get_outputs()\n"
        "    assert (frames.name, values.name) == ('frames', 'values')\n"
        "    assert (frames.shape[0], frames.type) == ('batch', 'tensor(uint8)')\n"
        "    given = {'frames': numpy.load(f'{folder}/frames.npy')}\n"
        "    numpy.save(f'{folder}/values.npy', session.run(None, given)[0])\n"
        "loaded = {name.split('.')[0] for name in sys.modules}\n"
        "assert not loaded & {'tensorflow', 'keras', 'atari_dqn'}\n"
    ),
    "agent": (
        "import numpy, sys, tensorflow\n"
        "for folder in sys.argv[1:]:\n"
        "    loaded = tensorflow.saved_model.load(f'{folder}/agent')\n"
        "    values = loaded.serve(numpy.load(f'{folder}/frames.npy'))\n"
        "    numpy.save(f'{folder}/values.npy', values)\n"
        "assert not any(name.startswith('atari_dqn') for name in sys.modules)\n"
    ),
}


@pytest.mark.parametrize("name", list(LOAD_AND_RUN))
def test_onnx_and_savedmodel_exports_compute_the_agents_values(tmp_path: Path, name: str) -> None:
    observations = np.random.default_rng(0).integers(256, size=(5, *SHAPE), dtype=np.uint8)
    exported: dict[Path, tuple[Agent, float]] = {}
    for kind in (KINDS[1], KINDS[2], KINDS[5]):
        settings = {f"network__{setting}": value for setting, value in kind.items()}
        agent = Agent(config(**settings), SHAPE, ACTIONS)
        if agent.online.centers_frames:
            agent.center(FrameStatistics(np.full(SHAPE[1:], 40, np.float32), 20.0))
        folder = tmp_path / str(len(exported))
        folder.mkdir()
        exported[folder] = agent, export_network(agent, folder / name, observations)
        assert [path.name for path in folder.iterdir()] == [name]
        np.save(folder / "frames.npy", np.moveaxis(observations, 1, -1))
    program = [sys.executable, "-c", LOAD_AND_RUN[name], *map(str, exported)]
    subprocess.run(program, cwd=tmp_path, check=True, capture_output=True)
    for folder, (agent, difference) in exported.items():
        values = np.load(folder / "values.npy")
        expected = agent.values(observations)
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)
        assert np.abs(values - expected).max() == pytest.approx(difference, abs=1e-6)


def test_an_export_creates_its_folder(tmp_path: Path) -> None:
    agent = Agent(config(), SHAPE, ACTIONS)
    observations = np.zeros((2, *SHAPE), np.uint8)
    export_network(agent, tmp_path / "some" / "folder" / "pong.keras", observations)
    assert [path.name for path in tmp_path.rglob("*.keras")] == ["pong.keras"]


def test_an_export_whose_values_differ_from_the_agent_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, other = (Agent(config(machine__seed=seed), SHAPE, ACTIONS) for seed in (1, 2))
    observations = np.random.default_rng(0).integers(256, size=(5, *SHAPE), dtype=np.uint8)
    monkeypatch.setattr(agent, "values", other.values)
    with pytest.raises(RuntimeError, match="differs from the agent"):
        export_network(agent, tmp_path / "agent.keras", observations)
    assert list(tmp_path.iterdir()) == []


def test_a_bfloat16_agent_saves_its_float32_weights(tmp_path: Path) -> None:
    import keras

    agent = Agent(config(machine__precision="bfloat16"), SHAPE, ACTIONS)
    save_network(agent, tmp_path / "network.keras")
    stored = keras.models.load_model(tmp_path / "network.keras").get_weights()
    for mine, its in zip(agent.acting.weights.trainable_variables, stored, strict=True):
        np.testing.assert_array_equal(mine, its)


def test_the_file_is_written_even_when_the_clock_is_at_1970(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 0.0)
    save_network(Agent(config(), SHAPE, ACTIONS), tmp_path / "network.keras")
    with zipfile.ZipFile(tmp_path / "network.keras") as file:
        assert {info.date_time for info in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_export_of_a_compiled_network_has_built_in_layers() -> None:
    compiled, plain = (
        Agent(config(network__torso="impala", machine__compile=value), SHAPE, ACTIONS)
        for value in (True, False)
    )
    observations = np.random.default_rng(0).integers(256, size=(5, *SHAPE), dtype=np.uint8)
    network = stock_network(compiled)
    assert all(type(layer).__module__.startswith("keras.") for layer in network.layers)
    values = network(np.moveaxis(observations, 1, -1))
    np.testing.assert_allclose(values, plain.values(observations), rtol=1e-4, atol=1e-5)
