"""Evaluations and environments in words."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atari_dqn.config.schema import Config
from atari_dqn.environments.environments import make_game
from atari_dqn.evaluation.evaluate import Evaluation
from atari_dqn.games.ids import reference_scores


def describe(evaluation: Evaluation, agent: str) -> str:
    """The whole result in one block of text: agent, protocol, score."""
    config, numbers = evaluation.config, evaluation.statistics()
    rom, error = config.rom or "", numbers["standard_error"]
    unit = "frames" if rom else "agent steps"
    margin = "" if error is None else f" +- {error:.2f} (standard error)"
    lines = {
        "game": f"{config.game} (rom {rom})" if rom else config.game,
        "agent": agent,
        "protocol": f"{config.protocol}: {describe_environment(config)}",
        "evaluation": f"{numbers['episodes']} episodes in {evaluation.environments} environments, "
        f"epsilon {evaluation.epsilon:g}, cap {config.evaluation.frame_cap} {unit}, seed {evaluation.seed}",
        "score": f"mean {numbers['mean']:.2f}{margin}, "
        f"median {numbers['median']:g}, min {numbers['min']:g}, max {numbers['max']:g}",
        "human-normalised": "no published scores for this game",
        "length": f"mean {numbers['mean_length_steps']:.0f} agent steps",
        "cut by the cap": f"{numbers['cut_by_frame_cap']} of {numbers['episodes']} episodes",
    }
    if numbers["human_normalised"] is not None:
        random, human = reference_scores()[rom]
        lines["human-normalised"] = (
            f"{numbers['human_normalised']:.3f} (random {random:g}, human {human:g})"
        )
    return "\n".join(f"{name:<17} {text}" for name, text in lines.items())


def describe_first_values(
    values: Callable[[NDArray[Any]], NDArray[np.float32]], config: Config
) -> str:
    """What an agent thinks that each action is worth as an episode begins, always the same one of
    the run's seed.
    """
    game = make_game(config.spec, config.environment, config.evaluation.frame_cap)
    observation, _ = game.reset(config.machine.seed)
    pairs = zip(game.action_names, values(observation[np.newaxis])[0], strict=True)
    return ", ".join(f"{name} {value:.3f}" for name, value in pairs)


def describe_environment(config: Config) -> str:
    """What the environment settings mean, in words."""
    settings = config.environment
    if config.spec.vectors:
        parts = [
            f"{settings.stack} vectors" if settings.stack > 1 else "vectors",
            "every step played as it is",
        ]
        parts += ["time feature"] if settings.time_feature else []
        parts += ["rescaled to -1..1"] if settings.rescale else []
        return ", ".join([*parts, *(f"{name} {value}" for name, value in settings.kwargs.items())])
    skip = settings.frame_skip
    fires = [
        when
        for pressed, when in (
            (settings.fire_at_reset, "at reset"),
            (settings.fire_after_life_loss, "after a lost life"),
        )
        if pressed
    ]
    parts = [
        f"frame skip {skip}"
        if isinstance(skip, int)
        else f"frame skip {skip[0]} to {skip[1]} at random",
        f"sticky {settings.sticky_probability:g}",
        "max-pool" if settings.max_pool else "no max-pool",
        f"{'full' if settings.full_actions else 'minimal'} action set",
        f"up to {settings.noop_max - 1} no-ops" if settings.noop_max > 1 else "no no-ops",
        f"FIRE {' and '.join(fires)}" if fires else "no FIRE pressed",
        f"{settings.stack} frames of {settings.height}x{settings.width}",
    ]
    return ", ".join(parts)
