"""Formats a report as plain text."""

from collections.abc import Sequence

from atari_dqn.console import wrapped
from atari_dqn.report.results import EPISODES_AT_MILESTONE, LAST_PART, TRAINING
from atari_dqn.report.tables import GameRow, Interval, Overall, RecipeScore, Table

NEXT_LINE = 6  # spaces before the rest of a row
TIMES_EXPLAINED = (
    f"Minutes: training time on the machine of each run until its last {EPISODES_AT_MILESTONE} "
    "episodes have a mean human-normalized score of 1 (human) or 2 (twice human)."
)


def as_text(tables: Sequence[Table], width: int | None = None) -> str:
    """Returns the tables as text.

    Args:
        tables: The tables.
        width: Columns of the terminal, or None for rows of any length.
    """
    texts = [_table(table, width) for table in tables]
    if len(tables) > 1:
        texts.append(
            f"{len(tables)} tables, because protocols or lengths differ. "
            "Compare scores only within a table."
        )
    return "\n\n".join(texts)


def title(table: Table) -> str:
    """Returns the title of a table: measure, protocol, training length and number of runs."""
    measure = "Evaluations"
    if table.measure == TRAINING:
        measure = f"Training scores of the last {LAST_PART:.0%}"
    count = f"{table.runs} run{'' if table.runs == 1 else 's'}"
    return f"{measure}: protocol '{table.protocol}', {table.steps:,} agent steps, {count}"


def describe_conditions(conditions: dict[str, str]) -> str:
    """Returns conditions on one line, without the protocol's name and settings that are off."""
    parts = []
    for name, text in conditions.items():
        if name == "protocol" or text in ("false", "{}"):
            continue
        parts.append(name if text == "true" else f"{name} {text}")
    return ", ".join(parts)


def footnotes(table: Table) -> list[str]:
    """Returns the protocols of a table's published scores, as its footnotes."""
    protocols = [published.protocol for game in table.games for published in game.published]
    return list(dict.fromkeys(protocols))


def spread(score: RecipeScore) -> str:
    """Returns the interval of a mean score, the number of runs and their range, as text."""
    if score.interval is None:
        return " (one run)"
    low, high = score.interval
    extremes = f"{score.runs} runs from {score.min:.1f} to {score.max:.1f}"
    return f" [{low:.1f}, {high:.1f}] ({extremes})"


def bounds(interval: Interval | None, decimals: int) -> str:
    """Returns an interval as text that follows its value; empty without an interval."""
    if interval is None:
        return ""
    return f" [{interval.low:.{decimals}f}, {interval.high:.{decimals}f}]"


def has_intervals(overall: Overall) -> bool:
    """Returns whether any statistic has an interval, which needs several runs of a game."""
    of_recipes = (numbers.estimates.values() for numbers in overall.recipes.values())
    return any(estimate.interval for estimates in of_recipes for estimate in estimates)


def explained_intervals(overall: Overall) -> str:
    """Returns the kind of the intervals, as text that ends a title; empty without intervals."""
    return "; 95 % stratified bootstrap intervals" if has_intervals(overall) else ""


def exploring(score: RecipeScore) -> str:
    """Returns how training episodes explored, as text; empty for evaluations."""
    return f"; {score.exploration}" if score.exploration else ""


def milestones(score: RecipeScore) -> list[str]:
    """Returns the minutes of training until each milestone, as texts."""
    return [
        f"{name} {'after ' if reached else ''}{minutes_to(score, name)}"
        for name, reached in score.minutes.items()
    ]


def minutes_to(score: RecipeScore, milestone: str) -> str:
    """Returns the minutes of training until a milestone as text, over all runs that reached it."""
    minutes = score.minutes[milestone]
    if not minutes:
        return "not reached"
    least, most = (f"{value:.1f}" for value in (minutes[0], minutes[-1]))
    text = f"{least} min" if least == most else f"{least} to {most} min"
    return text if len(minutes) == score.runs else f"{text} ({len(minutes)} of {score.runs} runs)"


def timed(table: Table) -> bool:
    """Returns whether a table has times until milestones."""
    return any(score.minutes for game in table.games for score in game.scores.values())


def _table(table: Table, width: int | None) -> str:
    notes = footnotes(table)
    lines = [title(table), describe_conditions(table.conditions), ""]
    for game in table.games:
        lines += _game(game, notes, width)
    lines += [f"({number}) {note}" for number, note in enumerate(notes, 1)]
    if timed(table):
        lines += ["", *wrapped(TIMES_EXPLAINED, width, hanging="").splitlines()]
    if table.overall is not None:
        lines += _overall(table.overall, width)
    return "\n".join(lines)


def _game(game: GameRow, notes: Sequence[str], width: int | None) -> list[str]:
    lines = [game.game]
    for recipe, score in game.scores.items():
        human = ""
        if score.human_normalised is not None:
            human = f", human-normalized {score.human_normalised:.3f}"
        row = f"  {recipe:<22} {score.mean:>10.1f}"
        times = [f"; {text}" for text in milestones(score)]
        lines += _row(row, [spread(score), human, exploring(score), *times], width)
    for published in game.published:
        note = "this protocol"
        if not published.same_protocol:
            note = f"another protocol ({notes.index(published.protocol) + 1})"
        lines.append(f"    {published.agent:<20} {published.score:>10.1f}  {note}")
    return lines


def _overall(overall: Overall, width: int | None) -> list[str]:
    names = ", ".join(overall.games)
    count = "1 game" if len(overall.games) == 1 else f"{len(overall.games)} games"
    lines = ["", f"Human-normalized, over {count} ({names}){explained_intervals(overall)}"]
    for recipe, numbers in overall.recipes.items():
        first, *others = [
            f"{name} {estimate.value:.3f}{bounds(estimate.interval, 3)}"
            for name, estimate in numbers.estimates.items()
        ]
        lines += _row(f"  {recipe:<22} {first}", [f", {text}" for text in others], width)
    for pair in overall.improvements:
        better = f"P({pair.recipe} better than {pair.over})"
        lines.append(f"  {better} = {pair.probability:.2f}{bounds(pair.interval, 2)}")
    return lines


def _row(row: str, parts: Sequence[str], width: int | None) -> list[str]:
    """Returns a row with further parts, on several lines if the terminal is too narrow for one.

    Args:
        row: Beginning of the row.
        parts: Its other parts, each with the punctuation that separates it from the part before.
        width: Columns of the terminal, or None for rows of any length.
    """
    lines = [row]
    for part in parts:
        if width is not None and len(lines[-1] + part) > width:
            lines.append(f"{'':<{NEXT_LINE}}{part.lstrip(' ,;')}")
        else:
            lines[-1] += part
    return lines
