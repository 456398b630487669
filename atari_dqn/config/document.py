"""Descriptions of all settings, as a commented TOML file and as a Markdown page."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, get_args, get_origin

import tomli_w
from pydantic.fields import FieldInfo

from atari_dqn.config.learning_schema import MOST_CHANNELS, MOST_UNITS, Channels, Units
from atari_dqn.config.schema import PROTOCOL_SECTIONS, RECIPE_SECTIONS, SECTIONS, Config

INTRODUCTION = (
    "# Settings\n\n"
    "This page lists every setting. You can change each of them on the command line "
    "(`--section.key VALUE`;\n"
    'with make, `ARGS="--section.key VALUE"`) or in a TOML file of your own '
    "(`CONFIG=my.toml`,\n"
    "`PROTOCOL=my.toml`). `make docs` generates the page from the schema. The values are those of\n"
)

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
    """The texts that describe one setting; ``value`` is its value in TOML."""

    key: str
    value: str
    allowed: str
    unit: str
    meaning: str
    source: str


def as_toml(config: Config) -> str:
    """Returns the text of a TOML file with the settings of a run and a comment for each of them."""
    blocks = []
    for section in SECTIONS:
        lines = [f"[{section}]"]
        for row in _rows(config, section):
            about = "; ".join(text for text in (row.meaning, row.unit, row.source) if text)
            lines.append(f"{row.key} = {row.value}  # {about}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def as_markdown(config: Config) -> str:
    """Returns the settings of a run as a Markdown page with a table for each section."""
    names = f"recipe `{config.versioned_recipe}` and protocol `{config.protocol}`"
    lines = [f"{INTRODUCTION}{config.game} with {names}."]
    for section, settings in SECTIONS.items():
        summary = (settings.__doc__ or "").splitlines()[0]
        lines += ["", f"## {section}", "", f"{summary} Set {_owner(section)}.", ""]
        lines.append("| setting | value | allowed | unit | meaning | source |")
        lines.append("| --- | --- | --- | --- | --- | --- |")
        for row in _rows(config, section):
            lines.append(
                f"| `{row.key}` | `{row.value}` | {row.allowed} | {row.unit} "
                f"| {row.meaning} | {row.source} |"
            )
    return "\n".join(lines) + "\n"


def _owner(section: str) -> str:
    """Returns the words for where the settings of a section are set."""
    if section in PROTOCOL_SECTIONS:
        return "in protocols"
    return "in recipes" if section in RECIPE_SECTIONS else "on the command line"


def _rows(config: Config, section: str) -> Iterator[Row]:
    for key, field in SECTIONS[section].model_fields.items():
        extra: Any = field.json_schema_extra
        value = _as_toml_value(getattr(getattr(config, section), key))
        meaning = field.description or ""
        yield Row(key, value, _allowed(field), extra["unit"], meaning, extra["source"])


def _as_toml_value(value: Any) -> str:
    """Returns a value as TOML writes it, on one line."""
    # tomli_w writes a table on one line only if it is inside a list.
    document = tomli_w.dumps({"value": [value]}, multiline_strings=False)
    words = document.partition(" = ")[2].split()
    return " ".join(words).removeprefix("[ ").removesuffix(", ]")


def _allowed(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        choices = [
            str(choice).lower() if isinstance(choice, bool) else choice
            for choice in get_args(field.annotation)
        ]
        return ", ".join(f"`{choice}`" for choice in choices)
    bounds = [
        f"{sign} {getattr(bound, name):g}"
        for bound in field.metadata
        for name, sign in _BOUNDS.items()
        if hasattr(bound, name)
    ]
    kind = _TYPES.get(field.annotation, "whole number, or two in a list")
    return f"{kind} {', '.join(bounds)}".strip()
