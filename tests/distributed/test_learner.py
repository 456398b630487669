"""Tests how a learner inserts the experience of its actors."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from atari_dqn.distributed.experience import (
    Experience,
    StoredStep,
    insert,
    pack_experience,
)
from atari_dqn.replay.memory import ReplayMemory
from atari_dqn.training.episodes import FinishedEpisode

SHAPE = (6, 5)
ENVS = 3
ROUNDS = 4


def memory(
    environments: int, rows: int = 60, exponent: float = 1.0, n_step: int = 3
) -> ReplayMemory:
    options: dict[str, Any] = {
        "stack": 2,
        "n_step": n_step,
        "gamma": 0.9,
        "seed": 1,
        "priority_exponent": exponent,
    }
    return ReplayMemory(rows * environments, environments, SHAPE, **options)


class RandomActor:
    """An actor without a network.

    It acts at random, and the priority of a transition depends only on its contents.
    """

    def __init__(self, seed: int, n_step: int) -> None:
        self.random = np.random.default_rng(seed)
        self.memory = memory(ENVS, rows=40, n_step=n_step)
        self.began = False

    def frames(self) -> NDArray[np.uint8]:
        return self.random.integers(256, size=(ENVS, *SHAPE), dtype=np.uint8)

    def work(self) -> Experience:
        before = self.memory.added(np.arange(ENVS))
        start = None
        if not self.began:
            start = self.frames()
            self.began = True
            self.memory.start(start)
        steps = []
        ended = []
        for _ in range(ROUNDS):
            over = self.random.random(ENVS) < 0.2
            row = StoredStep(
                reward=self.random.normal(size=ENVS).astype(np.float32),
                discount=(self.random.random(ENVS) < 0.9).astype(np.float32),
                action=self.random.integers(4, size=ENVS, dtype=np.int32),
                frame=self.frames(),
                ended=over,
                first_frame=self.frames(),
            )
            self.memory.add(*row)
            steps.append(row)
            ended += [FinishedEpisode(1.0, 2, 8, int(env), 7) for env in np.flatnonzero(over)]
        complete = self.memory.completed(np.arange(ENVS), before)
        priorities = [priorities_at(self.memory, indices) for indices in complete]
        return pack_experience(steps, start, priorities, ended, 4)


def priorities_at(ring: ReplayMemory, indices: NDArray[np.int64]) -> NDArray[np.float32]:
    """Returns priorities that depend on the transitions' contents, not on where they are stored."""
    batch = ring.gather(*np.divmod(indices, ring.rows))
    parts = (
        batch.observation.astype(np.float64).sum(axis=(1, 2, 3)),
        batch.next_observation[:, 0, 0, 0],
        batch.action,
        batch.reward,
    )
    return np.asarray(
        np.abs(
            sum(part * factor for part, factor in zip(parts, (1.0, 0.1, 3.0, 7.0), strict=True))
        ),
        np.float32,
    )


def deliveries(seed: int, count: int, n_step: int) -> Iterator[tuple[int, Experience]]:
    """Yields the experience of three actors in random order; sometimes a new actor replaces one."""
    random = np.random.default_rng(seed)
    actors = [RandomActor(number, n_step) for number in range(3)]
    for number in range(count):
        index = int(random.integers(3))
        if random.random() < 0.1:
            actors[index] = RandomActor(100 + number, n_step)
        yield index, actors[index].work()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n_step", [1, 3])
def test_every_transition_arrives_with_the_priority_computed_by_its_actor(
    seed: int, n_step: int
) -> None:
    learner = memory(3 * ENVS, n_step=n_step)
    assert learner.priorities is not None
    given = 0
    largest = set()
    for index, experience in deliveries(seed, 120, n_step):
        largest.add(float(learner.priorities.arrays()["largest_priority"]))
        insert(learner, index * ENVS + np.arange(ENVS), experience)
        given += sum(map(len, experience.priorities))
    priorities = learner.priorities.arrays()["priorities"]
    indices = np.flatnonzero(priorities > 0)
    expected = priorities_at(learner, indices) + learner.priorities.LEAST
    right = np.isclose(priorities[indices], expected, rtol=1e-5)
    assert right.mean() > 0.8
    # The last transitions of a dead actor are completed by the first frames of its successor, and
    # get the priority of new transitions.
    assert set(priorities[indices[~right]]) <= largest
    assert given > len(indices), "the ring buffer has overwritten its oldest transitions"


def test_inserting_one_actors_experience_leaves_other_environments_unchanged() -> None:
    together = memory(3 * ENVS)
    alone = [memory(ENVS) for _ in range(3)]
    for index, experience in deliveries(5, 60, 3):
        insert(together, index * ENVS + np.arange(ENVS), experience)
        insert(alone[index], np.arange(ENVS), experience)
    for index, single in enumerate(alone):
        for env in range(ENVS):
            rows = np.arange(60)[single._action[env] >= 0]
            wanted = single.gather(np.full(60, env), rows)
            found = together.gather(np.full(60, index * ENVS + env), rows)
            for name in ("observation", "action", "reward", "discount", "next_observation"):
                np.testing.assert_array_equal(
                    getattr(found, name), getattr(wanted, name), err_msg=name
                )


def test_a_transition_never_spans_a_dead_actor_and_its_successor() -> None:
    ring = memory(1, n_step=3)
    frame = np.zeros((1, *SHAPE), np.uint8)
    one = np.ones(1, np.float32)
    no = np.zeros(1, np.bool_)
    ring.start(frame)
    for number in range(1, 4):
        ring.add(np.zeros(1, np.int32), one, one, frame + number, no, frame)
    ring.start(frame + 100)
    for number in range(101, 105):
        ring.add(np.zeros(1, np.int32), one, one, frame + number, no, frame)
    batch = ring.gather(np.zeros(8, np.int64), np.arange(8))
    assert batch.next_observation[:3, 0, 0, -1].tolist() == [3, 3, 3]
    np.testing.assert_allclose(batch.discount[:3], [0.9**3, 0.9**2, 0.9], rtol=1e-6)
    assert batch.observation[4, 0, 0].tolist() == [0, 100], (
        "frames before the first one of an episode are blank"
    )
    assert ring.priorities is not None
    assert ring.priorities.arrays()["priorities"][3] == 0, "no action followed its last frame"


def test_similar_frames_are_sent_compressed() -> None:
    frame = np.zeros((ENVS, 84, 84), np.uint8)
    row = StoredStep(
        np.zeros(ENVS, np.int32),
        np.zeros(ENVS, np.float32),
        np.ones(ENVS, np.float32),
        frame,
        np.zeros(ENVS, np.bool_),
        frame,
    )
    experience = pack_experience([row] * 20, None, [], [], 0)
    assert experience.steps == 20 * ENVS
    assert experience.nbytes / experience.steps < 100
