"""Describes evaluations and environments as text."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atari_dqn.config.schema import Config, EnvironmentSettings
from atari_dqn.environments.environments import make_game
from atari_dqn.evaluation.results import Evaluation
from atari_dqn.games import gymnasium_tasks
from atari_dqn.games.ids import reference_scores


def describe(evaluation: Evaluation, agent: str, recipe: str | None = None) -> str:
    """Returns the result of an evaluation as lines of text: game, agent, protocol and score.

    Args:
        evaluation: The evaluation.
        agent: Description of the agent.
        recipe: Recipe that the agent was trained with, with its version. None if it was not
            trained.
    """
    config = evaluation.config
    numbers = evaluation.statistics()
    rom = config.rom or ""
    lines = {
        "game": f"{config.game} (rom {rom})" if rom else config.game,
        "agent": agent,
        **({} if recipe is None else {"recipe": recipe}),
        "protocol": f"{config.protocol}: {describe_environment(config)}",
        "evaluation": _describe_conditions(evaluation),
        "score": _describe_score(evaluation),
        "human-normalized": "no published scores for this game",
        "length": f"mean {numbers['mean_length_steps']:,.0f} agent steps",
        **_describe_truncations(evaluation),
    }
    if numbers["human_normalised"] is not None:
        random, human = reference_scores()[rom]
        lines["human-normalized"] = (
            f"{numbers['human_normalised']:.3f} (random {random:g}, human {human:g})"
        )
    return "\n".join(f"{name:<17} {text}" for name, text in lines.items())


def describe_first_values(
    values: Callable[[NDArray[Any]], NDArray[np.float32]], config: Config
) -> str:
    """Returns the Q-value of each action in the first state of an episode, as text.

    The episode's seed is ``machine.seed``, so the state is the same at every call.

    Args:
        values: Function from observations (1, *observation_shape) to Q-values (1, A).
        config: Settings with the game to play.
    """
    game = make_game(config.spec, config.environment, config.evaluation.frame_cap)
    observation, _ = game.reset(config.machine.seed)
    pairs = zip(game.action_names, values(observation[np.newaxis])[0], strict=True)
    return ", ".join(f"{name}: {value:.3f}" for name, value in pairs)


def describe_environment(config: Config) -> str:
    """Returns a description of the environment's settings as text."""
    describe_settings = _describe_vectors if config.spec.vectors else _describe_frames
    return ", ".join(describe_settings(config.environment))


def _describe_conditions(evaluation: Evaluation) -> str:
    config = evaluation.config
    return (
        f"{len(evaluation.episodes)} episodes in {evaluation.environments} environments, "
        f"epsilon {evaluation.epsilon:g}, seed {evaluation.seed}, "
        f"at most {_describe_cap(config)} an episode"
    )


def _describe_cap(config: Config) -> str:
    """Returns the frame cap, in agent steps for a game that has no frames."""
    unit = "frames" if config.rom else "agent steps"
    return f"{config.evaluation.frame_cap:,} {unit}"


def _describe_truncations(evaluation: Evaluation) -> dict[str, str]:
    """Returns lines about the episodes that the task's own limit ended, and the frame cap."""
    config = evaluation.config
    episodes = len(evaluation.episodes)
    limit = None
    if config.rom is None:
        limit = gymnasium_tasks.kind(config.game, config.environment.kwargs).limit
    at_limit = evaluation.at_own_limit()
    cut = evaluation.statistics()["cut_by_frame_cap"] - at_limit
    lines = {}
    if at_limit or limit is not None:
        steps = "" if limit is None else f" of {limit} steps"
        lines["limit"] = f"{at_limit} of {episodes} episodes reached the task's limit{steps}"
    if cut or limit is None:
        lines["cut off"] = f"{cut} of {episodes} episodes, after {_describe_cap(config)}"
    return lines


def _describe_score(evaluation: Evaluation) -> str:
    numbers = evaluation.statistics()
    error = numbers["standard_error"]
    margin = "" if error is None else f" +- {error:.2f} (standard error)"
    return (
        f"mean {numbers['mean']:.2f}{margin}, median {numbers['median']:g}, "
        f"min {numbers['min']:g}, max {numbers['max']:g}"
    )


def _describe_vectors(settings: EnvironmentSettings) -> list[str]:
    parts = ["no frame skip"]
    parts.append(f"input of {settings.stack} vector" + ("s" if settings.stack > 1 else ""))
    if settings.time_feature:
        parts.append("time feature")
    if settings.rescale:
        parts.append("rescaled to -1..1")
    parts += [f"{name} {value}" for name, value in settings.kwargs.items()]
    return parts


def _describe_frames(settings: EnvironmentSettings) -> list[str]:
    skip = settings.frame_skip
    if isinstance(skip, list):
        parts = [f"frame skip {skip[0]} to {skip[1]} at random"]
    else:
        parts = [f"frame skip {skip}"]
    no_ops = max(settings.noop_max - 1, 0)
    sticky = settings.sticky_probability
    fires = []
    if settings.fire_at_reset:
        fires.append("at reset")
    if settings.fire_after_life_loss:
        fires.append("after a lost life")
    return [
        *parts,
        f"sticky probability {sticky:g}" if sticky else "no sticky actions",
        "max-pooling" if settings.max_pool else "no max-pooling",
        f"{'full' if settings.full_actions else 'minimal'} action set",
        f"starts with up to {no_ops} no-ops" if no_ops else "starts without no-ops",
        f"automatic FIRE {' and '.join(fires)}" if fires else "no automatic FIRE",
        f"input of {settings.stack} frames, {settings.height}x{settings.width}",
    ]
