"""Scores that the recipes reached in measured runs, by agent steps.

``data/measured_scores.csv`` is written from ``docs/results``: training scores of Atari games, which
are means over seeds, and evaluations of the other tasks.
"""

import csv
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np


class MeasuredScore(NamedTuple):
    """The score of a recipe after a number of agent steps."""

    recipe: str  # with its version
    game: str  # ale-py's name of an Atari game, or the id of another task
    protocol: str
    agent_steps: int
    score: float


@cache
def measured_scores() -> tuple[MeasuredScore, ...]:
    """Returns all measured scores, by recipe, game and ascending agent steps."""
    text = (files("atari_dqn.games") / "data" / "measured_scores.csv").read_text(encoding="utf-8")
    return tuple(
        MeasuredScore(
            row["recipe"],
            row["game"],
            row["protocol"],
            int(row["agent_steps"]),
            float(row["score"]),
        )
        for row in csv.DictReader(text.splitlines())
    )


def most_measured_steps(recipe: str) -> int | None:
    """Returns the agent steps of the longest measured run of any version of a recipe, or None.

    >>> most_measured_steps("long"), most_measured_steps("my-recipe")
    (2500000, None)
    """
    steps = [row.agent_steps for row in measured_scores() if row.recipe.partition("@")[0] == recipe]
    return max(steps, default=None)


def measured_score(recipe: str, game: str, agent_steps: int) -> tuple[float, str] | None:
    """Returns the measured score of a run, and the protocol under which it was measured.

    Between measured numbers of agent steps, the score is interpolated. After the last one, it is
    the last.

    Args:
        recipe: The recipe with its version.
        game: Ale-py's name of an Atari game, or the id of another task.
        agent_steps: Agent steps of the run.

    Returns:
        The score and the protocol, or None if this recipe was not measured on this game, or only
        after more agent steps.

    >>> measured_score("long@1", "breakout", 2_500_000)
    (250.9, 'dopamine')
    """
    rows = [row for row in measured_scores() if (row.recipe, row.game) == (recipe, game)]
    if not rows or agent_steps < rows[0].agent_steps:
        return None
    score = np.interp(agent_steps, [row.agent_steps for row in rows], [row.score for row in rows])
    return float(score), rows[0].protocol
