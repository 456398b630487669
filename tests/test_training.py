import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atari_dqn import checkpoint
from atari_dqn.config import load_config
from atari_dqn.settings import Config
from atari_dqn.training import Training
from tests.catch import CatchGames

SMALL = {
    "training.total_steps": 8_000,
    "training.environments": 4,
    "training.warmup_steps": 500,
    "training.update_period": 4,
    "training.log_period": 500,
    "training.evaluation_period": 0,
    "training.checkpoint_period": 0,
    "agent.batch_size": 32,
    "agent.n_step": 2,
    "agent.target_period_updates": 100,
    "network.hidden_units": 64,
    "optimizer.learning_rate": 1e-3,
    "exploration.decay_steps": 3_000,
    "replay.capacity": 4_000,
    "machine.seed": 3,
}


def config(**changes: Any) -> Config:
    return load_config("breakout", overrides={**SMALL, **{name.replace("__", "."): value for name, value in changes.items()}})[
        0
    ]


def catch(tmp_path: Path, settings: Config, name: str = "run", **options: Any) -> Training:
    return Training(settings, tmp_path / name, tmp_path / "videos", games=CatchGames(settings.training.environments, **options))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("head", ["q", "dueling"])
def test_it_learns_a_small_pixel_game(head: str, tmp_path: Path) -> None:
    """Random play scores about -0.7 a game, perfect play 1."""
    training = catch(tmp_path, config(network__head=head))
    assert training.run()
    metrics = rows(tmp_path / "run" / "metrics.csv")
    early = float(metrics[1]["score"])
    assert early < -0.3
    assert training.episodes.mean_score > 0.9
    promised = {"score", "length", "epsilon", "loss", "mean_max_q", "td_error", "gradient_norm", "updates", "steps", "frames"}
    assert promised | {"steps_per_second", "resident_memory_mb", "replay_fill", "episodes", "wall_seconds"} == set(metrics[0])
    # Perfect play earns 1 at the end, so the best value of a state is near gamma^(steps left): 0.93 to 1.
    assert 0.7 < float(metrics[-1]["mean_max_q"]) < 1.1
    assert len(rows(tmp_path / "run" / "episodes.csv")) == training.episodes.count == 4 * (2_000 // 8)


@pytest.mark.parametrize(
    ("environments", "period", "total"), [(1, 4, 1000), (4, 4, 1000), (8, 4, 1000), (8, 16, 1000), (3, 2, 999), (8, 3, 1000)]
)
def test_updates_for_each_agent_step_do_not_depend_on_the_number_of_environments(
    tmp_path: Path, environments: int, period: int, total: int
) -> None:
    settings = config(
        training__environments=environments,
        training__update_period=period,
        training__total_steps=total,
        training__warmup_steps=200,
    )
    training = catch(tmp_path, settings)
    updates: list[None] = []
    training.agent.update = lambda batch: updates.append(None) or (0.0, 0.0, 0.0, 0.0)  # type: ignore
    training.run()
    assert training.steps == -(-total // environments) * environments
    assert abs(len(updates) - (training.steps - 200) / period) <= 1 + environments / period


def test_the_warmup_is_random_and_unlearnt(tmp_path: Path) -> None:
    settings = config(training__total_steps=400, training__warmup_steps=400, exploration__epsilon_start=0.0)
    training = catch(tmp_path, settings)
    asked: list[None] = []
    training.agent.act = lambda observation: asked.append(None)  # type: ignore
    training.run()
    assert training.agent.updates == 0
    assert asked == []
    actions = training.memory._action[:, :50]
    assert set(np.unique(actions)) == {0, 1, 2}


def test_rewards_are_clipped_for_learning_and_logged_raw(tmp_path: Path) -> None:
    class DoubledCatch(CatchGames):
        def recv(self) -> Any:
            answer = super().recv()
            return answer._replace(reward=answer.reward * 5)

    settings = config(training__total_steps=400, training__warmup_steps=400)
    training = Training(settings, tmp_path / "run", tmp_path / "videos", games=DoubledCatch(4))
    training.run()
    assert {abs(float(row["score"])) for row in rows(tmp_path / "run" / "episodes.csv")} == {5.0}
    assert set(np.unique(training.memory._reward)) <= {-1.0, 0.0, 1.0}


def test_truncation_bootstraps_and_termination_does_not(tmp_path: Path) -> None:
    settings = config(training__total_steps=200, training__warmup_steps=200, agent__n_step=1)
    truncated = catch(tmp_path, settings, "truncated", truncate_after=4)
    truncated.run()
    terminated = catch(tmp_path, settings, "terminated")
    terminated.run()
    assert (truncated.memory.sample(200).discount == np.float32(0.99)).all()
    assert set(np.unique(terminated.memory.sample(500).discount)) == {0.0, np.float32(0.99)}


def test_the_same_seed_learns_the_same(tmp_path: Path) -> None:
    digests = []
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        training = catch(tmp_path, config(training__total_steps=800, machine__seed=seed), name)
        training.run()
        arrays = training.arrays()
        digests.append(
            checkpoint.digest({key: arrays[key] for key in ("episodes/scores", "random/exploration", "random/replay")})
        )
    assert digests[0] == digests[1] != digests[2]


def test_a_run_continues_from_its_checkpoint(tmp_path: Path) -> None:
    first = catch(tmp_path, config(training__total_steps=2_000))
    first.run()
    weights = first.agent.arrays()
    second = catch(tmp_path, config(training__total_steps=3_000, machine__seed=3))
    second.restore(checkpoint.load(tmp_path / "run"))
    assert (second.steps, second.frames, second.agent.updates) == (first.steps, first.frames, first.agent.updates)
    for name, array in second.agent.arrays().items():
        np.testing.assert_array_equal(array, weights[name], err_msg=name)
    played = set(first.environments.episode_seeds.tolist())
    second.run()
    assert second.steps == 3_000
    # The replay is empty after a restart, so learning waits for another warm-up.
    assert second.agent.updates - first.agent.updates == pytest.approx((1_000 - 500) / 4, abs=2)
    steps = [int(row["steps"]) for row in rows(tmp_path / "run" / "metrics.csv")]
    assert steps == sorted(set(steps))
    assert steps[-1] == 3_000
    assert not played & set(second.environments.episode_seeds.tolist()), "no episode is played twice"


def test_old_checkpoints_go_and_the_newest_stay(tmp_path: Path) -> None:
    training = catch(
        tmp_path, config(training__total_steps=1_000, training__checkpoint_period=200, training__keep_checkpoints=3)
    )
    training.run()
    assert [path.name for path in checkpoint.in_run(tmp_path / "run")] == ["step-000000600", "step-000000800", "step-000001000"]
