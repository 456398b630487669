"""A report as text."""

from collections.abc import Sequence
from typing import Any

from atari_dqn.report.results import LAST_PART, TRAINING


def as_text(tables: Sequence[dict[str, Any]]) -> str:
    """The tables for a terminal."""
    texts = [_table(table) for table in tables]
    if len(tables) > 1:
        texts.append(
            f"{len(tables)} tables, because protocols or lengths differ; scores compare only within a table."
        )
    return "\n\n".join(texts)


def title(table: dict[str, Any]) -> str:
    """What a table's scores are."""
    count = f"{table['runs']} run{'' if table['runs'] == 1 else 's'}"
    what = (
        f"Training scores of the last {LAST_PART:.0%}"
        if table["measure"] == TRAINING
        else "Evaluations"
    )
    return f"{what}: protocol '{table['protocol']}', {table['steps']:,} agent steps, {count}"


def describe_conditions(conditions: dict[str, str]) -> str:
    """The rest of a protocol, in a line."""
    told = {
        name: text
        for name, text in conditions.items()
        if name != "protocol" and text not in ("false", "{}")
    }
    return ", ".join(name if text == "true" else f"{name} {text}" for name, text in told.items())


def footnotes(table: dict[str, Any]) -> list[str]:
    """The protocols of the published scores beside a table's own."""
    return list(
        dict.fromkeys(entry["protocol"] for game in table["games"] for entry in game["published"])
    )


def _table(table: dict[str, Any]) -> str:
    notes = footnotes(table)
    lines = [title(table), describe_conditions(table["conditions"]), ""]
    for game in table["games"]:
        normal = {recipe: numbers["human_normalised"] for recipe, numbers in game["scores"].items()}
        lines.append(game["game"])
        for recipe, numbers in game["scores"].items():
            human = "" if normal[recipe] is None else f", human-normalised {normal[recipe]:.3f}"
            lines.append(
                f"  {recipe:<22} {numbers['mean']:>10.1f}{spread(numbers)}{human}{exploring(numbers)}"
            )
        for entry in game["published"]:
            note = (
                "this protocol"
                if entry["same_protocol"]
                else f"another protocol ({notes.index(entry['protocol']) + 1})"
            )
            lines.append(f"    {entry['agent']:<20} {entry['score']:>10.1f}  {note}")
    lines += [f"({number}) {note}" for number, note in enumerate(notes, 1)]
    return "\n".join([*lines, *_overall(table["overall"])])


def spread(numbers: dict[str, Any]) -> str:
    """How many runs a mean is of, and how far they lie apart."""
    if numbers["interval"] is None:
        return " (one run)"
    low, high = numbers["interval"]
    return f" [{low:.1f}, {high:.1f}] ({numbers['runs']} runs from {numbers['min']:.1f} to {numbers['max']:.1f})"


def exploring(numbers: dict[str, Any]) -> str:
    """How training scores were explored with; nothing for evaluations, where the protocol says it."""
    return f"; {numbers['exploration']}" if numbers["exploration"] else ""


def _overall(overall: dict[str, Any] | None) -> list[str]:
    if overall is None:
        return []
    names = ", ".join(overall["games"])
    count = "1 game" if len(overall["games"]) == 1 else f"{len(overall['games'])} games"
    lines = ["", f"Human-normalised, over {count} ({names}); 95 % stratified bootstrap intervals"]
    for recipe, numbers in overall["recipes"].items():
        texts = [
            f"{name} {entry['value']:.3f} [{entry['interval'][0]:.3f}, {entry['interval'][1]:.3f}]"
            for name, entry in numbers.items()
            if name != "runs"
        ]
        lines.append(f"  {recipe:<22} {', '.join(texts)}")
    for pair in overall["improvements"]:
        low, high = pair["interval"]
        lines.append(
            f"  P({pair['recipe']} better than {pair['over']}) = {pair['probability']:.2f} [{low:.2f}, {high:.2f}]"
        )
    return lines
