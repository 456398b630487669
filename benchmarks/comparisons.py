"""The comparisons of ``benchmarks.bench``: commands that print one number each."""

from collections.abc import Sequence
from typing import NamedTuple

TRAINING_STEPS = 12_000
FAMILY = (
    "nature",
    "default",
    "long",
    "double",
    "dueling",
    "prioritized",
    "c51",
    "qrdqn",
    "iqn",
    "munchausen-iqn",
    "rainbow",
)
# Plain DQN with the settings of Stable-Baselines3 in benchmarks/peer.py.
PLAIN = (
    "--config nature --training.environments 8 "
    "--optimizer.name adam --optimizer.learning_rate 1e-4 "
    "--optimizer.clip_norm 10 --replay.capacity 100000 --agent.target_period_updates 2500 "
    "--exploration.epsilon_start 0.05 --exploration.epsilon_end 0.05"
)
# The default recipe with as many trained samples per agent step as plain DQN.
EIGHT_SAMPLES = "--training.update_period 4 --agent.target_period_updates 32"
# CartPole with the settings in benchmarks/peer.py.
CARTPOLE = (
    "--game CartPole-v1 --agent.double false --agent.loss huber --agent.n_step 1 "
    "--network.mlp_activation relu "
    "--optimizer.learning_rate 1e-3 --optimizer.decay_updates 0 --replay.capacity 50000 "
    "--exploration.epsilon_start 0.05 --exploration.epsilon_end 0.05"
)


class Contender(NamedTuple):
    """A command that prints one number."""

    name: str
    arguments: str


class Comparison(NamedTuple):
    """A comparison of contenders by one number; ratios are relative to the first contender."""

    name: str
    unit: str
    contenders: Sequence[Contender]


def command(module: str, part: str, who: str = "ours", **options: object) -> str:
    """Returns a command line of ``benchmarks.parts`` or ``benchmarks.buffers``."""
    words = [f"--{name} {value}" for name, value in options.items()]
    return " ".join([f"benchmarks.{module} {part} {who}", *words])


def training(options: str = "") -> str:
    """Returns a command line of ``benchmarks.speed``."""
    return f"benchmarks.speed --steps {TRAINING_STEPS} {options}".strip()


PEER = f"benchmarks.peer --steps {TRAINING_STEPS // 2}"

COMPARISONS = [
    Comparison(
        "training, plain DQN, batch 32 every 4 agent steps",
        "agent steps/s",
        [
            Contender("Stable-Baselines3, 8 environments", f"{PEER} --environments 8"),
            Contender("Stable-Baselines3, 1 environment", f"{PEER} --environments 1"),
            Contender("ours, float32", training(f"{PLAIN} --machine.precision float32")),
            Contender("ours, bfloat16", training(f"{PLAIN} --machine.precision bfloat16")),
            *(
                Contender(
                    f"the default recipe, {about}{precision}",
                    training(f"{options} --machine.precision {precision}"),
                )
                for about, options in (("", ""), ("8 samples a step, ", EIGHT_SAMPLES))
                for precision in ("float32", "bfloat16")
            ),
        ],
    ),
    Comparison(
        "training, CartPole, batch 64 every agent step",
        "agent steps/s",
        [
            *(
                Contender(
                    f"Stable-Baselines3, {count} environments",
                    f"{PEER} --game CartPole-v1 --environments {count}",
                )
                for count in (1, 8)
            ),
            *(
                Contender(
                    f"ours, {count} environments",
                    training(f"{CARTPOLE} --training.environments {count}"),
                )
                for count in (1, 8)
            ),
        ],
    ),
    *(
        Comparison(
            f"update, plain DQN, batch {batch}",
            "ms",
            [
                Contender("stock Keras", command("parts", "update", "keras", batch=batch)),
                Contender("PyTorch", command("parts", "update", "torch", batch=batch)),
                Contender(
                    "PyTorch, bfloat16",
                    command("parts", "update", "torch", batch=batch, precision="bfloat16"),
                ),
                Contender("ours, float32", command("parts", "update", batch=batch)),
                Contender(
                    "ours, bfloat16", command("parts", "update", batch=batch, precision="bfloat16")
                ),
                *(
                    Contender(
                        f"arithmetic limit, {name}",
                        command("parts", "limit", "tensorflow", batch=batch, precision=name),
                    )
                    for name in ("float32", "bfloat16")
                ),
            ],
        )
        for batch in (32, 256)
    ),
    Comparison(
        "greedy actions for 8 environments",
        "ms",
        [
            Contender("stock Keras", command("parts", "act", "keras", batch=8)),
            Contender("PyTorch", command("parts", "act", "torch", batch=8)),
            Contender("ours", command("parts", "act", batch=8)),
        ],
    ),
    Comparison(
        "a batch of 32 from 10,000 frames",
        "ms",
        [
            Contender("Stable-Baselines3", command("buffers", "sample", "sb3")),
            Contender("ours, in memory", command("buffers", "sample")),
            Contender("ours, compressed", command("buffers", "sample", storage="compressed")),
        ],
    ),
    Comparison(
        "storing a transition",
        "microseconds",
        [
            Contender("Stable-Baselines3", command("buffers", "add", "sb3")),
            Contender("ours, in memory", command("buffers", "add")),
        ],
    ),
    Comparison(
        "resident memory of a transition, 50,000 stored",
        "bytes",
        [
            Contender("Stable-Baselines3", command("buffers", "memory", "sb3", frames=50_000)),
            Contender("ours, in memory", command("buffers", "memory", frames=50_000)),
        ],
    ),
    Comparison(
        "random play, 8 environments",
        "agent steps/s",
        [
            Contender("AtariVectorEnv", command("parts", "step", "raw", batch=8)),
            Contender("ours", command("parts", "step", batch=8)),
        ],
    ),
    Comparison(
        "matrix product of 2048",
        "GFLOP/s",
        [
            Contender(name, command("parts", "multiply", "tensorflow", precision=name))
            for name in ("float32", "bfloat16")
        ],
    ),
    *(
        Comparison(
            f"the family: update of 32 in {precision}",
            "ms",
            [
                Contender(
                    recipe, command("parts", "update", batch=32, recipe=recipe, precision=precision)
                )
                for recipe in FAMILY
            ],
        )
        for precision in ("float32", "bfloat16")
    ),
    Comparison(
        "growth: training, by environments",
        "agent steps/s",
        [
            Contender(f"{count}", training(f"--training.environments {count}"))
            for count in (1, 2, 4, 8, 16, 32)
        ],
    ),
    Comparison(
        "growth: update of the default network in bfloat16, by batch",
        "ms",
        [
            Contender(
                f"{batch}",
                command("parts", "update", batch=batch, recipe="default", precision="bfloat16"),
            )
            for batch in (32, 64, 128, 256, 512, 1024)
        ],
    ),
    Comparison(
        "growth: a batch of 32, by frames in memory",
        "ms",
        [
            Contender(f"{frames:,}", command("buffers", "sample", frames=frames))
            for frames in (10_000, 100_000, 1_000_000)
        ],
    ),
]
