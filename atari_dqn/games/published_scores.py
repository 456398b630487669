"""Published scores of Dopamine, of papers at 200 million frames, and of Atari 100k.

``data/README.md`` lists the sources.
"""

import csv
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from atari_dqn.errors import UserError, nearest

# The protocol that corresponds to Dopamine's training scores: sticky actions with probability 0.25,
# epsilon 0.01, and episodes that do not end when a life is lost.
DOPAMINE_PROTOCOL = "dopamine"
# Columns of Dopamine's table, by millions of emulator frames.
DOPAMINE_MILLIONS = {10: "10M", 40: "40M", 50: "50M", 100: "100M", 200: "200M(last5it)"}


class Normalized(NamedTuple):
    """The human-normalized scores of all runs of an agent, by game.

    Attributes:
        games: ale-py's names of the games.
        scores: the scores (runs,) of each game.
    """

    games: tuple[str, ...]
    scores: list[NDArray[np.float64]]


def dopamine(rom: str, millions: int, network: str = "CNN") -> dict[str, float]:
    """Returns the mean training score of each Dopamine agent on a game, by name of the agent.

    The dictionary is empty if the table does not contain the game.

    Args:
        rom: ale-py's name of the game.
        millions: number of emulator frames in millions, which must be in ``DOPAMINE_MILLIONS``.
        network: ``CNN`` (the Nature torso, rerun in JAX), ``Impala``, or ``legacy``.

    Raises:
        UserError: there are no scores for this number of frames or this network.

    >>> dopamine("breakout", 10)["IQN"]
    79.13
    """
    if millions not in DOPAMINE_MILLIONS:
        known = ", ".join(map(str, DOPAMINE_MILLIONS))
        raise UserError(f"Dopamine has scores for {known} million frames, not for {millions}")
    networks = sorted({row["net"] for row in _table("dopamine_baselines")})
    if network not in networks:
        known = ", ".join(networks)
        hint = nearest(network, networks)
        raise UserError(f"Dopamine has scores for the networks {known}, not for '{network}'{hint}")
    column = DOPAMINE_MILLIONS[millions]
    return {
        row["agent"]: float(row[column])
        for row in _table("dopamine_baselines")
        if row["game"] == rom and row["net"] == network
    }


def at_200_million(rom: str) -> dict[str, float]:
    """Returns each agent's published score on a game after 200 million frames, by ``paper:agent``.

    Episodes start with no-ops. Most scores are evaluations of the best agent.

    >>> round(at_200_million("pong")["rainbow:rainbow"], 1)
    20.9
    """
    scores: dict[str, float] = {}
    for row in _table("noop_published"):
        if row["game"] == rom:
            agents = {name: score for name, score in row.items() if name != "game" and score}
            scores |= {name: float(score) for name, score in agents.items()}
    return scores


def atari_100k(agent: str) -> Normalized:
    """Returns every published run of an agent after 100,000 agent steps.

    Scores are normalized by the random and human scores of the same source.

    Raises:
        UserError: there are no published runs of this agent.
    """
    agents = sorted({row["agent"] for row in _table("atari100k_runs")})
    if agent not in agents:
        hint = nearest(agent, agents)
        raise UserError(f"published runs exist for {', '.join(agents)}, not for '{agent}'{hint}")
    bounds = {
        row["game"]: (float(row["random"]), float(row["human"]))
        for row in _table("atari100k_published")
    }
    raw: dict[str, list[float]] = {game: [] for game in bounds}
    for row in _table("atari100k_runs"):
        if row["agent"] == agent:
            raw[row["game"]].append(float(row["score"]))
    scores = [
        (np.array(raw[game]) - random) / (human - random)
        for game, (random, human) in bounds.items()
    ]
    return Normalized(tuple(bounds), scores)


@cache
def _table(name: str) -> tuple[dict[str, str], ...]:
    text = files("atari_dqn.games").joinpath(f"data/{name}.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))
