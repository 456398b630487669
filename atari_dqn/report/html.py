"""Formats a report as a single HTML file with embedded pictures."""

import base64
import io
from collections.abc import Callable, Sequence
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from matplotlib import rc_context
from matplotlib.figure import Figure

from atari_dqn.report.results import MILESTONES
from atari_dqn.report.tables import AGGREGATES, Overall, Table
from atari_dqn.report.text import (
    TIMES_EXPLAINED,
    bounds,
    describe_conditions,
    exploring,
    footnotes,
    has_intervals,
    minutes_to,
    spread,
    timed,
    title,
)


class Pictures(NamedTuple):
    """The pictures of a table, as data URLs."""

    intervals: str
    profiles: str


def as_page(tables: Sequence[Table]) -> str:
    """Returns an HTML page with the tables, and pictures of intervals and performance profiles."""
    environment = Environment(
        loader=PackageLoader("atari_dqn.report"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
    )
    shared = (
        bounds,
        describe_conditions,
        exploring,
        footnotes,
        has_intervals,
        minutes_to,
        spread,
        timed,
        title,
    )
    for function in shared:
        environment.globals[function.__name__] = function
    pictures = [_pictures(table.overall) for table in tables]
    pairs = list(zip(tables, pictures, strict=True))
    return environment.get_template("report.html").render(
        tables=pairs,
        aggregates=AGGREGATES,
        milestones=MILESTONES,
        times_explained=TIMES_EXPLAINED,
    )


def _pictures(overall: Overall | None) -> Pictures | None:
    if overall is None:
        return None
    return Pictures(
        intervals=_picture(_draw_intervals, overall, height=1.2 + 0.5 * len(overall.recipes)),
        profiles=_picture(_draw_profiles, overall, height=4),
    )


def _picture(draw: Callable[[Figure, Overall], None], overall: Overall, height: float) -> str:
    """Draws a picture and returns it as the data URL of an SVG.

    Args:
        draw: Function that draws on a figure.
        overall: Statistics to draw.
        height: Height in inches.
    """
    svg = io.BytesIO()
    # Text between dollar signs in the name of a recipe is not a formula.
    with rc_context({"text.parse_math": False}):
        figure = Figure(figsize=(9, height), layout="constrained")
        draw(figure, overall)
        figure.savefig(svg, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.getvalue()).decode()}"


def _draw_intervals(figure: Figure, overall: Overall) -> None:
    """Draws each statistic of each recipe with its interval.

    Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice",
    figure 9.
    """
    recipes = list(overall.recipes)
    all_axes = figure.subplots(1, len(AGGREGATES), sharey=True)
    all_axes[0].invert_yaxis()
    for axes, name in zip(all_axes, AGGREGATES, strict=True):
        for row, recipe in enumerate(recipes):
            estimate = overall.recipes[recipe].estimates[name]
            if estimate.interval is not None:
                low, high = estimate.interval
                axes.barh(row, high - low, left=low, color=f"C{row}", alpha=0.5)
            axes.plot([estimate.value] * 2, [row - 0.4, row + 0.4], color="black", linewidth=2)
        axes.use_sticky_edges = False
        axes.set_title(name)
        axes.set_yticks(range(len(recipes)), recipes)
        axes.grid(axis="x", alpha=0.3)


def _draw_profiles(figure: Figure, overall: Overall) -> None:
    """Draws the share of runs above each score (Agarwal et al. 2021, figure 7)."""
    axes = figure.subplots()
    scores = overall.thresholds
    reached = [1.0]
    for index, (recipe, profile) in enumerate(overall.profiles.items()):
        color = f"C{index}"
        axes.step(scores, profile.share, color=color, label=recipe, where="post")
        axes.fill_between(
            scores,
            profile.low,
            profile.high,
            color=color,
            alpha=0.2,
            linewidth=0,
            step="post",
        )
        shares = zip(scores, profile.high, strict=True)
        reached += [score for score, share in shares if share > 0]
    axes.set(
        xlabel="human-normalized score",
        ylabel="share of runs above it",
        xlim=(0, max(reached) * 1.05),
        ylim=(0, 1.02),
    )
    axes.grid(alpha=0.3)
    axes.legend()
