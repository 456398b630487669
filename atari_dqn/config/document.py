"""Every setting in words: as a TOML file with comments, and as a page."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, get_args, get_origin

import tomli_w
from pydantic.fields import FieldInfo

from atari_dqn.config.learning_schema import MOST_CHANNELS, MOST_UNITS, Channels, Units
from atari_dqn.config.schema import PROTOCOL_SECTIONS, RECIPE_SECTIONS, SECTIONS, Config

INTRODUCTION = """\
# Settings

Made from the schema by `make docs`. Any setting can be given on the command line (`--section.key VALUE`; with make,
`ARGS="--section.key VALUE"`) or in a TOML file of your own (`CONFIG=my.toml`, `PROTOCOL=my.toml`). The values are those of
"""

_TYPES: dict[Any, str] = {
    bool: "`true`, `false`",
    int: "whole number",
    float: "number",
    str: "name",
    list[Channels]: f"list of whole numbers > 0, <= {MOST_CHANNELS}",
    list[Units]: f"list of whole numbers > 0, <= {MOST_UNITS}",
    dict[str, Any]: "table",
}
_BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


class Row(NamedTuple):
    """One setting; ``value`` as TOML writes it."""

    key: str
    value: str
    allowed: str
    unit: str
    meaning: str
    source: str


def as_toml(config: Config) -> str:
    """The settings of a run as a TOML file that says what each means."""
    blocks = []
    for section in SECTIONS:
        lines = [f"[{section}]"]
        for row in _rows(config, section):
            about = "; ".join(text for text in (row.meaning, row.unit, row.source) if text)
            lines.append(f"{row.key} = {row.value}  # {about}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def as_markdown(config: Config) -> str:
    """The settings of a run as a page of tables."""
    lines = [
        f"{INTRODUCTION}{config.game} with recipe `{config.recipe}` and protocol `{config.protocol}`."
    ]
    for section, settings in SECTIONS.items():
        owner = (
            "protocols"
            if section in PROTOCOL_SECTIONS
            else "recipes"
            if section in RECIPE_SECTIONS
            else "the command line"
        )
        lines += [
            "",
            f"## {section}",
            "",
            f"{(settings.__doc__ or '').splitlines()[0]} Set in {owner}.",
            "",
        ]
        lines += [
            "| setting | value | allowed | unit | meaning | source |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for row in _rows(config, section):
            cells = (
                f"`{row.key}`",
                f"`{row.value}`",
                row.allowed,
                row.unit,
                row.meaning,
                row.source,
            )
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _rows(config: Config, section: str) -> Iterator[Row]:
    for key, field in SECTIONS[section].model_fields.items():
        extra: dict[str, Any] = (
            field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        )
        # In a list of one, so that a table is written on the same line.
        value = tomli_w.dumps(
            {key: [getattr(getattr(config, section), key)]}, multiline_strings=False
        )
        shown = " ".join(value.partition(" = ")[2].split()).removeprefix("[ ").removesuffix(", ]")
        yield Row(
            key, shown, _allowed(field), extra["unit"], field.description or "", extra["source"]
        )


def _allowed(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(field.annotation))
    bounds = [
        f"{sign} {getattr(bound, name):g}"
        for bound in field.metadata
        for name, sign in _BOUNDS.items()
        if hasattr(bound, name)
    ]
    return f"{_TYPES.get(field.annotation, 'whole number, or two in a list')} {', '.join(bounds)}".strip()
