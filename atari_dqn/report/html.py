"""A report as one HTML file that holds everything it shows."""

import base64
import io
from collections.abc import Callable, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from matplotlib import rc_context
from matplotlib.figure import Figure

from atari_dqn.report.tables import AGGREGATES
from atari_dqn.report.text import describe_conditions, exploring, footnotes, spread, title


def as_page(tables: Sequence[dict[str, Any]]) -> str:
    """HTML with the tables, and with pictures of their intervals and performance profiles."""
    environment = Environment(
        loader=PackageLoader("atari_dqn.report"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
    )
    words = (title, describe_conditions, exploring, footnotes, spread)
    environment.globals |= {word.__name__: word for word in words}
    pictures = [_pictures(table["overall"]) if table["overall"] else None for table in tables]
    shown = list(zip(tables, pictures, strict=True))
    return environment.get_template("report.html").render(tables=shown, aggregates=AGGREGATES)


def _pictures(overall: dict[str, Any]) -> dict[str, str]:
    height = 1.2 + 0.5 * len(overall["recipes"])
    return {
        "intervals": _picture(_draw_intervals, overall, height),
        "profiles": _picture(_draw_profiles, overall, 4),
    }


def _picture(
    draw: Callable[[Figure, dict[str, Any]], None], overall: dict[str, Any], height: float
) -> str:
    """An SVG as an address that holds it."""
    written = io.BytesIO()
    # What stands between two dollar signs in the name of a recipe is no mathematics.
    with rc_context({"text.parse_math": False}):
        figure = Figure(figsize=(9, height), layout="constrained")
        draw(figure, overall)
        figure.savefig(written, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(written.getvalue()).decode()}"


def _draw_intervals(figure: Figure, overall: dict[str, Any]) -> None:
    """Each statistic of each recipe with its interval: Agarwal et al. 2021, figure 9."""
    recipes = list(overall["recipes"])
    every = figure.subplots(1, len(AGGREGATES), sharey=True)
    every[0].invert_yaxis()
    for axes, name in zip(every, AGGREGATES, strict=True):
        for place, recipe in enumerate(recipes):
            entry = overall["recipes"][recipe][name]
            low, high = entry["interval"]
            axes.barh(place, high - low, left=low, color=f"C{place}", alpha=0.5)
            axes.plot([entry["value"]] * 2, [place - 0.4, place + 0.4], color="black", linewidth=2)
        axes.use_sticky_edges = False
        axes.set_title(name)
        axes.set_yticks(range(len(recipes)), recipes)
        axes.grid(axis="x", alpha=0.3)


def _draw_profiles(figure: Figure, overall: dict[str, Any]) -> None:
    """Share of runs above each score: ibid., figure 7."""
    axes, scores = figure.subplots(), overall["thresholds"]
    reached = 1.0
    for place, (recipe, profile) in enumerate(overall["profiles"].items()):
        axes.step(scores, profile["share"], color=f"C{place}", label=recipe, where="post")
        axes.fill_between(
            scores,
            profile["low"],
            profile["high"],
            color=f"C{place}",
            alpha=0.2,
            linewidth=0,
            step="post",
        )
        reached = max(
            [
                reached,
                *(score for score, share in zip(scores, profile["high"], strict=True) if share > 0),
            ]
        )
    axes.set(
        xlabel="human-normalised score",
        ylabel="share of runs above it",
        xlim=(0, reached * 1.05),
        ylim=(0, 1.02),
    )
    axes.grid(alpha=0.3)
    axes.legend()
