"""Tests the training loop on a small pixel game: learning, continuing, stopping and failing."""

import csv
import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from atari_dqn.agent import agent as agent_module
from atari_dqn.agent.update_metrics import UpdateMetrics
from atari_dqn.backend.arrays import FrameStatistics
from atari_dqn.config.resolve import load_config
from atari_dqn.config.schema import Config
from atari_dqn.errors import UserError
from atari_dqn.replay.batch import Batch
from atari_dqn.replay.frame_files import FrameFiles
from atari_dqn.runs import checkpoint
from atari_dqn.training.loop import PARTS, Training
from atari_dqn.training.stopwatch import Stopwatch
from tests.catch import CatchGames

# Columns of metrics.csv that differ even between identical runs.
SHARES = {f"share_{part}" for part in (*PARTS, "other")}
MEASURED = dict.fromkeys({"steps_per_second", "resident_memory_mb", "wall_seconds", *SHARES}, "")
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
    "agent.target_rate": 1.0,
    "network.hidden_units": 64,
    "optimizer.learning_rate": 1e-3,
    "exploration.decay_steps": 3_000,
    "replay.capacity": 4_000,
    "machine.seed": 3,
}
# For tests of the loop that do not need an agent that plays well: it learns soon, from small
# batches, with a network that has fewer operations than a convolutional one.
QUICK: dict[str, Any] = {
    "training__warmup_steps": 200,
    "agent__batch_size": 8,
    "network__torso": "mlp",
    "network__mlp_layers": [16],
    "network__head": "q",
}


def config(**changes: Any) -> Config:
    """Returns settings of a small run; ``agent__n_step=1`` changes ``agent.n_step``."""
    return load_config(
        "breakout",
        overrides={**SMALL, **{name.replace("__", "."): value for name, value in changes.items()}},
    )[0]


def catch(tmp_path: Path, settings: Config, name: str = "run", **options: Any) -> Training:
    """Returns a training run on games of catch."""
    return Training(
        settings,
        tmp_path / name,
        tmp_path / "videos",
        games=CatchGames(settings.training.environments, **options),
    )


def rows(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a CSV file."""
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("head", [pytest.param("q", marks=pytest.mark.slow), "dueling"])
def test_an_agent_learns_a_small_pixel_game(head: str, tmp_path: Path) -> None:
    """Random play scores about -0.7 a game and perfect play 1."""
    # The learning rate decays, as in the recipe, so that the final score does not depend on the
    # last few updates.
    settings = config(
        training__total_steps=12_000,
        network__head=head,
        exploration__epsilon_end=0.01,
        optimizer__decay_updates=2_700,
    )
    training = catch(tmp_path, settings)
    assert training.run()
    metrics = rows(tmp_path / "run" / "metrics.csv")
    early_score = float(metrics[1]["score"])
    assert early_score < -0.3
    assert training.episodes.mean_score > 0.9
    documented = {
        "score",
        "length",
        "epsilon",
        "loss",
        "mean_max_q",
        "td_error",
        "gradient_norm",
        "updates",
        "steps",
        "frames",
    }
    assert documented | {"replay_fill", "episodes"} | MEASURED.keys() == set(metrics[0])
    # Perfect play earns 1 at the end of a game, so the best Q-value is about gamma^(steps left),
    # which is between 0.93 and 1.
    assert 0.7 < float(metrics[-1]["mean_max_q"]) < 1.1
    assert (
        len(rows(tmp_path / "run" / "episodes.csv")) == training.episodes.count == 4 * (3_000 // 8)
    )


def test_the_warm_up_does_not_wait_for_the_graphs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catch(tmp_path, config(training__total_steps=600), "usual").run()
    training = catch(tmp_path, config(training__total_steps=600))
    stepped = threading.Event()
    build_graphs = training.agent.graph_builder
    step = training.step

    def late_builder(counts: Sequence[int]) -> Callable[[], None]:
        build = build_graphs(counts)

        def build_late() -> None:
            assert stepped.wait(timeout=60)
            build()

        return build_late

    def noticed_step(observation: NDArray[Any]) -> NDArray[Any]:
        stepped.set()
        return step(observation)

    monkeypatch.setattr(training.agent, "graph_builder", late_builder)
    monkeypatch.setattr(training, "step", noticed_step)
    assert training.run()
    assert run_digest(tmp_path / "run") == run_digest(tmp_path / "usual")


def test_learning_does_not_depend_on_how_often_a_run_logs_and_saves(tmp_path: Path) -> None:
    rarely = catch(tmp_path, config(training__total_steps=700, **QUICK), "seldom")
    often = {
        "training__log_period": 50,
        "training__checkpoint_period": 100,
        "training__keep_period": 300,
    }
    frequently = catch(tmp_path, config(training__total_steps=700, **QUICK, **often), "often")
    for training in (rarely, frequently):
        assert training.run()
    assert len(rows(tmp_path / "often" / "metrics.csv")) > len(
        rows(tmp_path / "seldom" / "metrics.csv")
    )
    for name, array in rarely.agent.arrays().items():
        np.testing.assert_array_equal(frequently.agent.arrays()[name], array)


@pytest.mark.parametrize(
    ("environments", "period", "total"),
    [(1, 4, 600), (4, 4, 600), (8, 4, 600), (8, 16, 600), (3, 2, 597), (8, 3, 600)],
)
def test_updates_per_agent_step_do_not_depend_on_the_number_of_environments(
    tmp_path: Path, environments: int, period: int, total: int
) -> None:
    settings = config(
        training__environments=environments,
        training__update_period=period,
        training__total_steps=total,
        **QUICK,
    )
    training = catch(tmp_path, settings)
    updates: list[int] = []

    def counted(batch: Batch, count: int) -> tuple[UpdateMetrics, Any]:
        updates.append(count)
        return UpdateMetrics.joined([]), np.zeros(len(batch.action))

    training.agent.update = counted  # type: ignore
    # Neither the graphs of the updates nor the actions matter here.
    training.agent.graph_builder = lambda counts: lambda: None  # type: ignore
    training.agent.explore = lambda observation: np.zeros(environments, np.int32)  # type: ignore
    training.run()
    assert training.steps == -(-total // environments) * environments
    assert abs(sum(updates) - (training.steps - 200) / period) <= 1 + environments / period


def test_the_warmup_acts_randomly_and_makes_no_updates(tmp_path: Path) -> None:
    settings = config(
        training__total_steps=400, training__warmup_steps=400, exploration__epsilon_start=0.0
    )
    training = catch(tmp_path, settings)
    queries: list[None] = []
    training.agent.explore = lambda observation: queries.append(None)  # type: ignore
    training.run()
    assert training.agent.updates == 0
    assert queries == []
    actions = training.memory._action[:, :50]
    assert set(np.unique(actions)) == {0, 1, 2}


def test_frames_are_centered_on_their_warmup_mean_which_a_continued_run_keeps(
    tmp_path: Path,
) -> None:
    standardized: dict[str, object] = {"network__center": True, "network__deviation": 0.04}
    training = catch(tmp_path, config(**standardized, training__total_steps=520))
    found: list[FrameStatistics] = []
    center = training.agent.center
    training.agent.center = lambda each: (found.append(each), center(each))[1]  # type: ignore
    training.run()
    ((mean, deviation),) = found
    seen = training.memory._frames._frames[:, :110]  # type: ignore[attr-defined]
    assert mean.shape == (36, 36)
    np.testing.assert_allclose(mean, seen.mean(axis=(0, 1)), atol=4)
    assert deviation == pytest.approx((seen - mean).std(), rel=0.05)
    again = catch(tmp_path, config(**standardized, training__total_steps=700))
    assert again.restore(checkpoint.load(tmp_path / "run"))
    again.run()
    for network in (again.agent.online, again.agent.target):
        first = network.weights.layers[1]
        np.testing.assert_array_equal(first.mean[0, :, :, 0], mean)
        np.testing.assert_allclose(first.scale, 0.04 / deviation, rtol=1e-6)


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


def test_the_same_seed_gives_the_same_run_and_another_seed_a_different_one(tmp_path: Path) -> None:
    digests = []
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        settings = config(training__total_steps=500, machine__seed=seed, **QUICK)
        training = catch(tmp_path, settings, name)
        training.run()
        arrays = training.arrays()
        digests.append(
            checkpoint.digest(
                {key: arrays[key] for key in ("episodes/scores", "random", "memory/random")}
            )
        )
    assert digests[0] == digests[1] != digests[2]


def run_digest(run: Path) -> str:
    """Returns a digest of everything in the newest checkpoint that the rest of a run depends on."""
    stored = checkpoint.load(run)
    files = FrameFiles(run)
    files.restore(stored.shared, stored.arrays["frame_files"])
    arrays = {name: array for name, array in stored.arrays.items() if name != "frame_files"}
    rows = arrays["memory/action"].shape[1]
    return checkpoint.digest(arrays | {"frames": files.digest(arrays["memory/added"], rows)})


# The target network acts, so that acting and learning overlap.
OVERLAPPING = {
    "agent__act_with_target": True,
    "agent__target_period_updates": 4,
    "agent__target_rate": 0.1,
}
# Priorities are used for the first 900 agent steps only.
PRIORITIZED = {"replay__priority_exponent": 0.5, "replay__priority_steps": 900}


@pytest.mark.parametrize(
    "changes",
    [
        {"replay__storage": "memory"},
        {"replay__storage": "compressed", "machine__precision": "bfloat16"},
        {"replay__storage": "disk"},
        OVERLAPPING | PRIORITIZED,
    ],
    ids=["memory", "compressed", "disk", "overlapping"],
)
def test_a_run_continued_twice_equals_an_uninterrupted_one(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    settings = {**QUICK, "training__checkpoint_period": 300, "replay__capacity": 600, **changes}
    catch(tmp_path, config(training__total_steps=1_100, **settings), "whole").run()
    for total in (500, 800, 1_100):
        part = catch(tmp_path, config(training__total_steps=total, **settings), "parts")
        saved = checkpoint.in_run(tmp_path / "parts")
        if saved:
            assert part.restore(checkpoint.load(saved[-1]))
        assert part.run()
    assert run_digest(tmp_path / "parts") == run_digest(tmp_path / "whole")
    for name in ("episodes.csv", "metrics.csv"):
        whole, parts = (
            [{**row, **MEASURED} for row in rows(tmp_path / run / name)]
            for run in ("whole", "parts")
        )
        assert whole == parts


def test_overlapping_acting_and_learning_does_not_change_the_result(tmp_path: Path) -> None:
    settings = config(**OVERLAPPING, **PRIORITIZED, **QUICK, training__total_steps=1_200)
    overlapping, sequential = (catch(tmp_path, settings, name) for name in ("together", "alone"))
    begin = overlapping.learner.start
    overlapped = []
    waited = sequential.learner.start

    def watched(*due: Any) -> None:
        begin(*due)
        overlapped.append(not overlapping.learner.changes_acting)

    def waiting(*due: Any) -> None:
        waited(*due)
        sequential.learner.finish()

    overlapping.learner.start, sequential.learner.start = watched, waiting  # type: ignore
    overlapping.run()
    sequential.run()
    assert run_digest(tmp_path / "together") == run_digest(tmp_path / "alone")
    assert 0 < sum(overlapped) < len(overlapped)


# Thirty updates are due in each step.
MANY_UPDATES: dict[str, Any] = {
    **QUICK,
    "training__environments": 30,
    "training__update_period": 1,
    "training__total_steps": 390,
    "replay__capacity": 6_000,
    "agent__batch_size": 4,
}


@pytest.mark.parametrize(
    "changes",
    [{"agent__act_with_target": False}, OVERLAPPING | PRIORITIZED],
    ids=["the newest weights act", "the target network acts"],
)
def test_a_stop_between_updates_finishes_one_call_and_defers_the_rest(
    tmp_path: Path, changes: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thirty updates are due in each step, and a signal arrives while they are computed."""
    # Two updates in each call make a small graph. The period of the target network is even, so that
    # no call is shorter.
    monkeypatch.setattr(agent_module, "UPDATES_TOGETHER", 2)
    settings = config(**(MANY_UPDATES | changes))
    whole = catch(tmp_path, settings, "whole")
    assert whole.run()
    stopped = catch(tmp_path, settings, "stopped")
    update = stopped.agent.update
    calls = itertools.count(1)
    calls_after_stop: list[int] = []

    def interrupted(batch: Batch, count: int) -> tuple[UpdateMetrics, Any]:
        if next(calls) == 10:
            os.kill(os.getpid(), signal.SIGINT)
            while not stopped.stop.requested:
                time.sleep(0.01)
        if stopped.stop.requested:
            calls_after_stop.append(count)
        return update(batch, count)

    stopped.agent.update = interrupted  # type: ignore
    assert not stopped.run()
    assert len(calls_after_stop) == 1, "only the call in progress may finish after the signal"
    assert int(stopped.arrays()["learning/count"]) > 0
    again = catch(tmp_path, settings, "stopped")
    assert again.restore(checkpoint.load(tmp_path / "stopped"))
    assert again.run()
    assert run_digest(tmp_path / "stopped") == run_digest(tmp_path / "whole")
    stopped.agent.update = update  # type: ignore
    assert stopped.run(), "the stopped run can also continue in the same process"
    for name, array in whole.agent.arrays().items():
        np.testing.assert_array_equal(stopped.agent.arrays()[name], array)


def test_a_run_stopped_in_its_last_step_still_makes_all_updates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_module, "UPDATES_TOGETHER", 2)
    settings = config(**MANY_UPDATES)
    whole = catch(tmp_path, settings, "whole")
    whole.run()
    stopped = catch(tmp_path, settings, "stopped")
    step = stopped.step

    def interrupted(observation: Any) -> Any:
        if stopped.steps == 360:
            os.kill(os.getpid(), signal.SIGINT)
        return step(observation)

    stopped.step = interrupted  # type: ignore[method-assign]
    assert stopped.run()
    assert stopped.agent.updates == whole.agent.updates
    assert run_digest(tmp_path / "stopped") == run_digest(tmp_path / "whole")


def test_priorities_are_saved_only_while_they_are_used(tmp_path: Path) -> None:
    for total, kept in ((600, True), (1_000, False)):
        training = catch(
            tmp_path, config(training__total_steps=total, **PRIORITIZED, **QUICK), f"until-{total}"
        )
        training.run()
        assert ("memory/priorities" in training.arrays()) == kept


def test_a_run_continued_after_a_kill_rewrites_log_lines_past_its_checkpoint(
    tmp_path: Path,
) -> None:
    """After a kill, the logs are ahead of the newest checkpoint."""
    settings = config(**QUICK, training__total_steps=800, training__checkpoint_period=300)
    catch(tmp_path, settings, "whole").run()
    killed = catch(tmp_path, settings, "killed")
    begin = killed.learner.start
    killed.learner.start = lambda *due: 1 / 0 if killed.steps == 700 else begin(*due)  # type: ignore
    with pytest.raises(ZeroDivisionError):
        killed.run()
    again = catch(tmp_path, settings, "killed")
    again.restore(checkpoint.load(tmp_path / "killed"))
    assert again.steps == 600
    again.run()
    assert run_digest(tmp_path / "killed") == run_digest(tmp_path / "whole")
    assert len(rows(tmp_path / "killed" / "episodes.csv")) == len(
        rows(tmp_path / "whole" / "episodes.csv")
    )


def test_a_loss_of_nan_stops_the_run_without_saving_a_checkpoint(tmp_path: Path) -> None:
    training = catch(tmp_path, config(training__checkpoint_period=700))
    update = training.agent.update

    def diverging(batch: Batch, count: int) -> tuple[UpdateMetrics, Any]:
        nan_metrics = UpdateMetrics(*np.full((4, 1), np.nan)), np.full(len(batch.action), np.nan)
        return (
            update(batch, count) if training.agent.updates < 260 else nan_metrics
        )  # from about 1,540 agent steps on

    training.agent.update = diverging  # type: ignore
    with pytest.raises(
        UserError,
        match=r"no longer a finite number, near step 2,000; a learning rate below 0.001",
    ):
        training.run()
    assert [path.name for path in checkpoint.in_run(tmp_path / "run")] == [
        "step-000000700",
        "step-000001400",
    ]


def test_a_run_continues_from_its_last_checkpoint_after_an_environment_crash(
    tmp_path: Path,
) -> None:
    class CrashingGames(CatchGames):
        steps = 0

        def recv(self) -> Any:
            self.steps += 1
            if self.steps == 150:
                raise RuntimeError("the emulator is gone")
            return super().recv()

    training = Training(
        config(training__checkpoint_period=250, **QUICK),
        tmp_path / "run",
        tmp_path / "videos",
        games=CrashingGames(4),
    )
    with pytest.raises(RuntimeError, match="the emulator is gone"):
        training.run()
    settings = config(training__total_steps=700, **QUICK)
    again = catch(tmp_path, settings)
    again.restore(checkpoint.load(tmp_path / "run"))
    assert again.steps == 500
    again.run()
    catch(tmp_path, settings, "whole").run()
    assert run_digest(tmp_path / "run") == run_digest(tmp_path / "whole")


def test_restoring_detects_environments_that_are_not_reproducible(tmp_path: Path) -> None:
    class UnseededGames(CatchGames):
        def reset(self, mask: NDArray[np.bool_], seeds: NDArray[np.int32]) -> Any:
            return super().reset(
                mask, np.random.default_rng().integers(2**31, size=len(seeds), dtype=np.int32)
            )

    settings = config(training__total_steps=400, training__environments=16)
    Training(settings, tmp_path / "run", tmp_path / "videos", games=UnseededGames(16)).run()
    again = Training(settings, tmp_path / "run", tmp_path / "videos", games=UnseededGames(16))
    assert not again.restore(checkpoint.load(tmp_path / "run"))


def test_jumps_of_the_system_clock_do_not_affect_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(training__total_steps=600, training__log_period=250, **QUICK)
    catch(tmp_path, settings, "steady").run()
    jumps = itertools.cycle([0.0, 4e9, 1e9])
    monkeypatch.setattr(time, "time", lambda: next(jumps))
    training = catch(tmp_path, settings, "jumping")
    training.run()
    assert run_digest(tmp_path / "jumping") == run_digest(tmp_path / "steady")
    assert 0 < training.stopwatch.wall < 600


def test_the_logged_shares_of_time_add_up_to_one(tmp_path: Path) -> None:
    training = catch(tmp_path, config(training__total_steps=1_000))
    training.run()
    for row in rows(tmp_path / "run" / "metrics.csv"):
        assert sum(float(row[name]) for name in SHARES) == pytest.approx(1, abs=1e-4)
    spent = training.stopwatch.seconds
    assert spent["update"] > spent["sample"] > 0
    assert sum(spent.values()) < training.stopwatch.wall
    again = catch(tmp_path, config())
    again.restore(checkpoint.load(tmp_path / "run"))
    assert again.stopwatch.seconds["update"] == spent["update"]


def test_a_stopwatch_adds_up_runs_and_leaves_out_the_time_between_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stopwatch = Stopwatch(["act"])
    for seconds, pause in ((5.0, 1_000.0), (7.0, 50.0)):
        with stopwatch.running(steps=0), stopwatch.part("act"):
            now[0] += seconds
        now[0] += pause
    assert stopwatch.wall == stopwatch.seconds["act"] == 12
    again = Stopwatch(["act"])
    again.restore(stopwatch.state())
    with again.running(steps=0):
        now[0] += 3
    assert again.wall == 15


@pytest.mark.parametrize("total", [400, 500, 612])
def test_the_steps_after_the_last_period_of_the_log_are_logged_too(
    tmp_path: Path, total: int
) -> None:
    settings = config(training__total_steps=total, training__log_period=500, **QUICK)
    catch(tmp_path, settings).run()
    logged = [int(row["steps"]) for row in rows(tmp_path / "run" / "metrics.csv")]
    assert logged == sorted({500, total} if total > 500 else {total})
    updates = [float(row["updates"]) for row in rows(tmp_path / "run" / "metrics.csv")]
    assert updates[-1] == (total - 200) // 4
    longer = config(training__total_steps=700, training__log_period=500, **QUICK)
    again = catch(tmp_path, longer)
    again.restore(checkpoint.load(tmp_path / "run"))
    again.run()
    logged = [int(row["steps"]) for row in rows(tmp_path / "run" / "metrics.csv")]
    assert logged == [500, 700]


def test_a_checkpoint_of_another_environment_is_refused(tmp_path: Path) -> None:
    catch(tmp_path, config(training__total_steps=400)).run()

    class OtherActions(CatchGames):
        action_names = ("LEFT", "STAY", "JUMP")

    other = Training(config(), tmp_path / "other", tmp_path / "videos", games=OtherActions(4))
    with pytest.raises(UserError, match="belongs to another environment"):
        other.restore(checkpoint.load(tmp_path / "run"))


def test_only_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    training = catch(
        tmp_path,
        config(
            training__total_steps=1_000,
            training__warmup_steps=1_000,
            training__checkpoint_period=200,
            training__keep_checkpoints=3,
        ),
    )
    training.run()
    assert [path.name for path in checkpoint.in_run(tmp_path / "run")] == [
        "step-000000600",
        "step-000000800",
        "step-000001000",
    ]
