import csv
import itertools
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from atari_dqn.agent.update_metrics import UpdateMetrics
from atari_dqn.config.resolve import load_config
from atari_dqn.config.schema import Config
from atari_dqn.errors import UserError
from atari_dqn.replay.batch import Batch
from atari_dqn.replay.frame_files import FrameFiles
from atari_dqn.runs import checkpoint
from atari_dqn.training.loop import PARTS, Training
from tests.catch import CatchGames

# What differs between any two runs.
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


def config(**changes: Any) -> Config:
    return load_config(
        "breakout",
        overrides={**SMALL, **{name.replace("__", "."): value for name, value in changes.items()}},
    )[0]


def catch(tmp_path: Path, settings: Config, name: str = "run", **options: Any) -> Training:
    return Training(
        settings,
        tmp_path / name,
        tmp_path / "videos",
        games=CatchGames(settings.training.environments, **options),
    )


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("head", [pytest.param("q", marks=pytest.mark.slow), "dueling"])
def test_it_learns_a_small_pixel_game(head: str, tmp_path: Path) -> None:
    """Random play scores about -0.7 a game, perfect play 1; at epsilon 0.05 chance alone would lose
    one game in twenty.
    """
    # Steps shrink, as in the recipe, so that the score at the end is not what the last few updates
    # happened to do.
    training = catch(
        tmp_path,
        config(network__head=head, exploration__epsilon_end=0.01, optimizer__decay_updates=1_800),
    )
    assert training.run()
    metrics = rows(tmp_path / "run" / "metrics.csv")
    early = float(metrics[1]["score"])
    assert early < -0.3
    assert training.episodes.mean_score > 0.9
    promised = {
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
    assert promised | {"replay_fill", "episodes"} | MEASURED.keys() == set(metrics[0])
    # Perfect play earns 1 at the end, so the best value of a state is near gamma^(steps left): 0.93
    # to 1.
    assert 0.7 < float(metrics[-1]["mean_max_q"]) < 1.1
    assert (
        len(rows(tmp_path / "run" / "episodes.csv")) == training.episodes.count == 4 * (2_000 // 8)
    )


def test_nothing_that_is_learnt_depends_on_how_often_a_run_tells_and_saves(tmp_path: Path) -> None:
    seldom = catch(tmp_path, config(training__total_steps=1_200), "seldom")
    often = {
        "training__log_period": 50,
        "training__checkpoint_period": 100,
        "training__keep_period": 300,
    }
    talkative = catch(tmp_path, config(training__total_steps=1_200, **often), "often")
    for training in (seldom, talkative):
        assert training.run()
    assert len(rows(tmp_path / "often" / "metrics.csv")) > len(
        rows(tmp_path / "seldom" / "metrics.csv")
    )
    for name, array in seldom.agent.arrays().items():
        np.testing.assert_array_equal(talkative.agent.arrays()[name], array)


@pytest.mark.parametrize(
    ("environments", "period", "total"),
    [(1, 4, 1000), (4, 4, 1000), (8, 4, 1000), (8, 16, 1000), (3, 2, 999), (8, 3, 1000)],
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
    updates: list[int] = []

    def counted(batch: Batch, count: int) -> tuple[UpdateMetrics, Any]:
        updates.append(count)
        return UpdateMetrics.joined([]), np.zeros(len(batch.action))

    training.agent.update = counted  # type: ignore
    training.run()
    assert training.steps == -(-total // environments) * environments
    assert abs(sum(updates) - (training.steps - 200) / period) <= 1 + environments / period


def test_the_warmup_is_random_and_unlearnt(tmp_path: Path) -> None:
    settings = config(
        training__total_steps=400, training__warmup_steps=400, exploration__epsilon_start=0.0
    )
    training = catch(tmp_path, settings)
    asked: list[None] = []
    training.agent.explore = lambda observation: asked.append(None)  # type: ignore
    training.run()
    assert training.agent.updates == 0
    assert asked == []
    actions = training.memory._action[:, :50]
    assert set(np.unique(actions)) == {0, 1, 2}


def test_frames_are_centred_on_the_mean_of_the_warmup_and_a_continued_run_keeps_it(
    tmp_path: Path,
) -> None:
    training = catch(tmp_path, config(network__center=True, training__total_steps=520))
    means: list[NDArray[np.float32]] = []
    learn = training.agent.center
    training.agent.center = lambda mean: (means.append(mean), learn(mean))[1]  # type: ignore
    training.run()
    (mean,) = means
    seen = training.memory._frames._frames[:, :110]  # type: ignore[attr-defined]
    assert mean.shape == (36, 36)
    np.testing.assert_allclose(mean, seen.mean(axis=(0, 1)), atol=4)
    again = catch(tmp_path, config(network__center=True, training__total_steps=700))
    assert again.restore(checkpoint.load(tmp_path / "run"))
    again.run()
    for network in (again.agent.online, again.agent.target):
        np.testing.assert_array_equal(network.weights.layers[1].mean[0, :, :, 0], mean)


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
            checkpoint.digest(
                {key: arrays[key] for key in ("episodes/scores", "random", "memory/random")}
            )
        )
    assert digests[0] == digests[1] != digests[2]


def everything(run: Path) -> str:
    """Digest of all that the rest of a run depends on."""
    stored = checkpoint.load(run)
    files = FrameFiles(run)
    files.restore(stored.shared, stored.arrays["frame_files"])
    arrays = {name: array for name, array in stored.arrays.items() if name != "frame_files"}
    rows = arrays["memory/action"].shape[1]
    return checkpoint.digest(arrays | {"frames": files.digest(arrays["memory/added"], rows)})


# The target network plays, so that acting and learning overlap; surprise counts until half of the
# run is over.
OVERLAPPING = {
    "agent__act_with_target": True,
    "agent__target_period_updates": 4,
    "agent__target_rate": 0.1,
}
SURPRISING = {"replay__priority_exponent": 0.5, "replay__priority_steps": 900}


@pytest.mark.parametrize(
    "special",
    [
        {"replay__storage": "memory"},
        {"replay__storage": "compressed", "machine__precision": "bfloat16"},
        {"replay__storage": "disk"},
        OVERLAPPING | SURPRISING,
    ],
    ids=["memory", "compressed", "disk", "overlapping"],
)
def test_an_interrupted_run_ends_as_one_that_never_was(
    tmp_path: Path, special: dict[str, object]
) -> None:
    settings = {"training__checkpoint_period": 400, "replay__capacity": 600, **special}
    catch(tmp_path, config(training__total_steps=1_800, **settings), "whole").run()
    for total in (700, 1_300, 1_800):
        part = catch(tmp_path, config(training__total_steps=total, **settings), "parts")
        saved = checkpoint.in_run(tmp_path / "parts")
        if saved:
            assert part.restore(checkpoint.load(saved[-1]))
        assert part.run()
    assert everything(tmp_path / "parts") == everything(tmp_path / "whole")
    for name in ("episodes.csv", "metrics.csv"):
        whole, parts = (
            [{**row, **MEASURED} for row in rows(tmp_path / run / name)]
            for run in ("whole", "parts")
        )
        assert whole == parts


def test_what_overlaps_learns_as_what_does_not(tmp_path: Path) -> None:
    settings = config(**OVERLAPPING, **SURPRISING, training__total_steps=2_000)
    together, alone = (catch(tmp_path, settings, name) for name in ("together", "alone"))
    begin = together.learner.start
    overlapped = []
    waited = alone.learner.start

    def watched(*due: Any) -> None:
        begin(*due)
        overlapped.append(not together.learner.changes_acting)

    def waiting(*due: Any) -> None:
        waited(*due)
        alone.learner.finish()

    together.learner.start, alone.learner.start = watched, waiting  # type: ignore
    together.run()
    alone.run()
    assert everything(tmp_path / "together") == everything(tmp_path / "alone")
    assert 0 < sum(overlapped) < len(overlapped)


@pytest.mark.parametrize(
    "special",
    [{"agent__act_with_target": False}, OVERLAPPING | SURPRISING],
    ids=["the newest weights act", "the target network acts"],
)
def test_a_stop_among_many_updates_waits_for_one_call_and_the_rest_is_made_later(
    tmp_path: Path, special: dict[str, object]
) -> None:
    """Thirty updates are due in each step; a signal comes while they are made."""
    many = {
        "training__environments": 30,
        "training__update_period": 1,
        "training__total_steps": 900,
    }
    settings = config(**many, replay__capacity=6_000, agent__batch_size=4, **special)
    whole = catch(tmp_path, settings, "whole")
    whole.run()
    stopped = catch(tmp_path, settings, "stopped")
    update = stopped.agent.update
    calls = itertools.count(1)
    since: list[int] = []

    def interrupted(batch: Batch, count: int) -> tuple[UpdateMetrics, Any]:
        if next(calls) == 10:
            os.kill(os.getpid(), signal.SIGINT)
            while not stopped.stop.requested:
                time.sleep(0.01)
        if stopped.stop.requested:
            since.append(count)
        return update(batch, count)

    stopped.agent.update = interrupted  # type: ignore
    assert not stopped.run()
    assert len(since) == 1, "the call that was under way"
    assert int(stopped.arrays()["learning/count"]) > 0
    again = catch(tmp_path, settings, "stopped")
    assert again.restore(checkpoint.load(tmp_path / "stopped"))
    assert again.run()
    assert everything(tmp_path / "stopped") == everything(tmp_path / "whole")
    stopped.agent.update = update  # type: ignore
    assert stopped.run(), "and in the same process, too"
    for name, array in whole.agent.arrays().items():
        np.testing.assert_array_equal(stopped.agent.arrays()[name], array)


def test_a_run_that_is_stopped_in_its_last_step_has_made_all_updates(tmp_path: Path) -> None:
    many = {
        "training__environments": 30,
        "training__update_period": 1,
        "training__total_steps": 900,
        "training__evaluation_period": 0,
    }
    settings = config(**many, replay__capacity=6_000, agent__batch_size=4)
    whole = catch(tmp_path, settings, "whole")
    whole.run()
    stopped = catch(tmp_path, settings, "stopped")
    step = stopped.step

    def interrupted(observation: Any) -> Any:
        if stopped.steps == 870:
            os.kill(os.getpid(), signal.SIGINT)
        return step(observation)

    stopped.step = interrupted  # type: ignore[method-assign]
    assert stopped.run()
    assert stopped.agent.updates == whole.agent.updates
    assert everything(tmp_path / "stopped") == everything(tmp_path / "whole")


def test_priorities_are_kept_as_long_as_they_count(tmp_path: Path) -> None:
    for total, kept in ((800, True), (1_200, False)):
        training = catch(
            tmp_path, config(training__total_steps=total, **SURPRISING), f"until-{total}"
        )
        training.run()
        assert ("memory/priorities" in training.arrays()) == kept


def test_a_run_goes_on_from_before_its_last_lines(tmp_path: Path) -> None:
    """As after a kill: the logs are ahead of the newest checkpoint, and what they are ahead is
    written again.
    """
    settings = {"training__checkpoint_period": 600}
    catch(tmp_path, config(training__total_steps=1_600, **settings), "whole").run()
    killed = catch(tmp_path, config(training__total_steps=1_600, **settings), "killed")
    begin = killed.learner.start
    killed.learner.start = lambda *due: 1 / 0 if killed.steps == 1_400 else begin(*due)  # type: ignore
    with pytest.raises(ZeroDivisionError):
        killed.run()
    again = catch(tmp_path, config(training__total_steps=1_600, **settings), "killed")
    again.restore(checkpoint.load(tmp_path / "killed"))
    assert again.steps == 1_200
    again.run()
    assert everything(tmp_path / "killed") == everything(tmp_path / "whole")
    assert len(rows(tmp_path / "killed" / "episodes.csv")) == len(
        rows(tmp_path / "whole" / "episodes.csv")
    )


def test_a_loss_that_is_no_number_stops_the_run_and_is_not_saved(tmp_path: Path) -> None:
    training = catch(tmp_path, config(training__checkpoint_period=700))
    update = training.agent.update

    def diverging(batch: Batch, count: int) -> tuple[UpdateMetrics, Any]:
        lost = UpdateMetrics(*np.full((4, 1), np.nan)), np.full(len(batch.action), np.nan)
        return (
            update(batch, count) if training.agent.updates < 260 else lost
        )  # after some 1,540 agent steps

    training.agent.update = diverging  # type: ignore
    with pytest.raises(
        UserError,
        match=r"no longer a finite number, near step 2000; a learning rate below 0.001",
    ):
        training.run()
    assert [path.name for path in checkpoint.in_run(tmp_path / "run")] == [
        "step-000000700",
        "step-000001400",
    ]


def test_an_environment_that_crashes_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    class CrashingGames(CatchGames):
        steps = 0

        def recv(self) -> Any:
            self.steps += 1
            if self.steps == 300:
                raise RuntimeError("the emulator is gone")
            return super().recv()

    training = Training(
        config(training__checkpoint_period=500),
        tmp_path / "run",
        tmp_path / "videos",
        games=CrashingGames(4),
    )
    with pytest.raises(RuntimeError, match="the emulator is gone"):
        training.run()
    again = catch(tmp_path, config(training__total_steps=1_400))
    again.restore(checkpoint.load(tmp_path / "run"))
    assert again.steps == 1_000
    again.run()
    catch(tmp_path, config(training__total_steps=1_400), "whole").run()
    assert everything(tmp_path / "run") == everything(tmp_path / "whole")


def test_games_that_do_not_repeat_themselves_are_noticed(tmp_path: Path) -> None:
    class FickleGames(CatchGames):
        def reset(self, mask: NDArray[np.bool_], seeds: NDArray[np.int32]) -> Any:
            return super().reset(
                mask, np.random.default_rng().integers(2**31, size=len(seeds), dtype=np.int32)
            )

    settings = config(training__total_steps=400, training__environments=16)
    Training(settings, tmp_path / "run", tmp_path / "videos", games=FickleGames(16)).run()
    again = Training(settings, tmp_path / "run", tmp_path / "videos", games=FickleGames(16))
    assert not again.restore(checkpoint.load(tmp_path / "run"))


def test_a_clock_that_jumps_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catch(tmp_path, config(training__total_steps=1_000), "steady").run()
    jumps = itertools.cycle([0.0, 4e9, 1e9])
    monkeypatch.setattr(time, "time", lambda: next(jumps))
    training = catch(tmp_path, config(training__total_steps=1_000), "jumping")
    training.run()
    assert everything(tmp_path / "jumping") == everything(tmp_path / "steady")
    assert 0 < training.stopwatch.wall < 600


def test_the_time_is_accounted_for(tmp_path: Path) -> None:
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


def test_a_checkpoint_of_another_environment_is_refused(tmp_path: Path) -> None:
    catch(tmp_path, config(training__total_steps=400)).run()

    class OtherActions(CatchGames):
        action_names = ("LEFT", "STAY", "JUMP")

    other = Training(config(), tmp_path / "other", tmp_path / "videos", games=OtherActions(4))
    with pytest.raises(UserError, match="belongs to another environment"):
        other.restore(checkpoint.load(tmp_path / "run"))


def test_old_checkpoints_go_and_the_newest_stay(tmp_path: Path) -> None:
    training = catch(
        tmp_path,
        config(
            training__total_steps=1_000,
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
