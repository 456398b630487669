"""An extension of Sphinx for this site: its own kinds of pages, links to code, and formulas.

* A notebook becomes a page: its text, its code, and what the code showed.
* The ``__init__.py`` of a folder becomes the API page of the modules in it.
* A link to a module leads to its place in the API reference.
* Formulas are MathML, which browsers show without a script.
"""

import ast
import inspect
import json
import re
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math import latex2mathml
from myst_parser.parsers.sphinx_ import MystParser
from pydantic import BaseModel
from pygments.lexers.special import TextLexer
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.domains.python import PyObject
from sphinx.parsers import RSTParser
from sphinx.pycode import ModuleAnalyzer
from sphinx.transforms import SphinxTransform
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "atari_dqn"
# What is quoted, or what would begin or end an emphasis, a substitution or a reference.
SPECIAL = re.compile(r"(``.+?``)|([*|](?=\S)|_(?!\w))", re.DOTALL)
# An array as Sphinx writes it, and as the code does.
ARRAY = re.compile(
    r"(?:~?numpy\.)?ndarray\[tuple\[(?:~?typing\.)?Any, \.\.\.\], "
    r"(?:~?numpy\.)?dtype\[([^\[\]]+)\]\]"
)
NDARRAY = r"~numpy.typing.NDArray[\1]"
FIELDS = ("attribute", "data")  # what Sphinx calls fields and constants
COLON = "\N{MODIFIER LETTER COLON}"  # stands for a colon while napoleon reads a docstring
COLORS = re.compile(r"\x1b\[[0-9;]*m")  # as a terminal shows them
LOGGER = logging.getLogger(__name__)
SIDEBARS: dict[tuple[Any, ...], str] = {}  # sidebars that several pages share


# Pages


class NotebookParser(MystParser):
    """A parser of notebooks, which makes Markdown of their cells."""

    supported = ("notebook",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        """Parses the JSON of a notebook into the document."""
        cells = []
        for cell in json.loads(inputstring)["cells"]:
            text = "".join(cell["source"])
            cells.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
            cells += [_as_markdown(output) for output in cell.get("outputs", [])]
        name = Path(document["source"]).name
        cells.append(f"[Download this notebook](path:{name})")
        super().parse("\n\n".join(cells), document)


def _as_markdown(output: dict[str, Any]) -> str:
    """Returns what a cell of a notebook showed, as a picture or as text without its colors."""
    data = output.get("data", {})
    for kind in ("image/png", "image/gif"):
        if kind in data:
            return f"![What the cell showed](data:{kind};base64,{''.join(data[kind]).strip()})"
    text = "".join(output.get("text", data.get("text/plain", "")))
    return f"```text\n{COLORS.sub('', text).rstrip()}\n```"


class PackageParser(RSTParser):
    """A parser of the ``__init__.py`` of a folder, which makes an API page of its modules."""

    supported = ("package",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        """Parses the page of the folder that the file is in into the document."""
        folder = Path(document["source"]).parent
        page = _top_page() if folder == PACKAGE else _folder_page(folder)
        super().parse(page, document)


def _top_page() -> str:
    """Returns the first page of the API reference, in reStructuredText."""
    import atari_dqn

    parts = ["API reference\n=============", ".. automodule:: atari_dqn\n   :no-members:"]
    parts.append(_heading("Public names"))
    for name in atari_dqn.__all__:
        found = getattr(atari_dqn, name)
        summary = _first_paragraph(inspect.getdoc(found))
        parts.append(f"* :py:obj:`{name} <{found.__module__}.{name}>`: {summary}")
    parts.append(_heading("Folders"))
    folders = [name for name in _map() if (PACKAGE / name).is_dir()]
    parts += [f"* :py:mod:`~atari_dqn.{name}`: {_summary(PACKAGE / name)}" for name in folders]
    pages = "".join(f"\n   /atari_dqn/{name}/__init__" for name in folders)
    parts.append(f".. toctree::\n   :hidden:\n{pages}")
    for name in _map():
        if name not in folders:
            describe_fields(f"atari_dqn.{name}")
            parts += [_heading(name), f".. automodule:: atari_dqn.{name}"]
    return "\n\n".join(parts)


def _folder_page(folder: Path) -> str:
    """Returns the API page of a folder, in reStructuredText."""
    package = f"atari_dqn.{folder.name}"
    parts = [f"{package}\n{'=' * len(package)}", f".. automodule:: {package}"]
    modules = sorted(folder.glob("[!_]*.py"))
    for path in modules:
        describe_fields(f"{package}.{path.stem}")
    parts += [f"* :py:mod:`~{package}.{path.stem}`: {_summary(path)}" for path in modules]
    for path in modules:
        parts.append(_heading(path.stem))
        if re.search(r"^(?:def|class) [a-zA-Z]", path.read_text(encoding="utf-8"), re.MULTILINE):
            source = f"../../_modules/atari_dqn/{folder.name}/{path.stem}.html"
            parts.append(f"Source: `{path.name} <{source}>`__")
        parts.append(f".. automodule:: {package}.{path.stem}")
    return "\n\n".join(parts)


def _heading(title: str) -> str:
    return f"{title}\n{'-' * len(title)}"


def _summary(path: Path) -> str:
    """Returns the first paragraph of the docstring of a module or folder, in one line."""
    file = path / "__init__.py" if path.is_dir() else path
    return _first_paragraph(ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))))


def _first_paragraph(docstring: str | None) -> str:
    return _escaped((docstring or "").split("\n\n")[0].replace("\n", " "))


def _map() -> list[str]:
    """Returns the public folders and modules of the package in the order of the architecture page.

    What the page does not name comes last.
    """
    found = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    found |= {path.stem for path in PACKAGE.glob("[!_]*.py")}
    page = (ROOT / "docs" / "design" / "architecture.md").read_text(encoding="utf-8")
    block = re.search(r"```folders\n(.*?)```", page, re.DOTALL)
    named = re.findall(r"^(\w+)(?:/|\.py)\s", block[1] if block else "", re.MULTILINE)
    return [name for name in named if name in found] + sorted(found - set(named))


def add_toctrees(app: Sphinx, docname: str, source: list[str]) -> None:
    """Appends the lists of pages in ``conf.py`` to the pages that they belong to."""
    for caption, pages in app.config.toctrees.get(docname, {}).items():
        entries = "\n".join(f"/{page}" for page in pages)
        source[0] += (
            f"\n\n```{{toctree}}\n:hidden:\n:glob:\n:caption: {caption}\n\n{entries}\n```\n"
        )


def share_sidebar(app: Sphinx, page: str, *event: Any) -> None:
    """Makes the sidebar once for all pages of source code in folders of the same depth.

    It lists none of them, so it is the same but for the dots in its links. Otherwise it would be
    made for each of them, which takes a third of the build.
    """
    if not page.startswith("_modules/"):
        return
    context = event[1]
    depth = page.count("/")
    context["toctree"] = partial(_sidebar, context["toctree"], depth)


def _sidebar(make: Callable[..., str], depth: int, **options: Any) -> str:
    place = (depth, *sorted(options.items()))
    if place not in SIDEBARS:
        SIDEBARS[place] = make(**options)
    return SIDEBARS[place]


# Links and formulas


class LinkToCode(SphinxTransform):
    """A transform of links to Python files.

    Those to a module of the package lead to its place in the API reference, others to a copy.
    """

    default_priority = 10

    def apply(self, **kwargs: Any) -> None:
        """Replaces the links of one document."""
        for node in list(self.document.findall(addnodes.pending_xref)):
            path = ROOT / f"{node['reftarget']}.py"
            if node.get("refdomain") != "doc" or not path.is_file():
                continue
            options = {"refdoc": self.env.docname, "refexplicit": True, "refwarn": True}
            if PACKAGE in path.parents and not path.stem.startswith("_"):
                module = node["reftarget"].replace("/", ".")
                link = addnodes.pending_xref(refdomain="py", reftype="mod", **options)
                link["reftarget"] = module
            else:
                link = addnodes.download_reference(reftarget=f"/{node['reftarget']}.py", **options)
            link += node.children
            node.replace_self(link)


def visit_math(self: HTML5Translator, node: nodes.math | nodes.math_block) -> None:
    """Writes a formula as MathML."""
    block = isinstance(node, nodes.math_block)
    try:
        formula = latex2mathml.tex2mathml(node.astext(), as_block=block)
    except (SyntaxError, ValueError) as error:
        LOGGER.warning("formula %r: %s", node.astext(), error, location=node)
        formula = self.encode(node.astext())
    self.body.append(f"<div class='formula'>{formula}</div>" if block else formula)
    raise nodes.SkipNode


# Docstrings


def shorten_signature(*event: Any) -> tuple[str, str] | None:
    """Returns the parameters and the result of a function with arrays written as in the code.

    A section of the settings has none: its fields follow.
    """
    found = event[3]
    parameters, result = event[-2:]
    if parameters is None:
        return None
    if isinstance(found, type) and issubclass(found, BaseModel):
        return "", ""
    return ARRAY.sub(NDARRAY, parameters), ARRAY.sub(NDARRAY, result or "")


def shorten_description(*event: Any) -> None:
    """Writes the type of a field as in the code, and drops the base that all classes have."""
    content = event[-1]
    for annotation in content.parent.findall(addnodes.desc_annotation):
        short = ARRAY.sub(NDARRAY, annotation.astext()).replace("~numpy.typing.", "")
        short = re.sub(r"Annotated\[(\w+), FieldInfo\(.*\)\]", r"\1", short)
        if short != annotation.astext():
            annotation[:] = [nodes.Text(short)]
    if content.children and content[0].astext() == "Bases: object":
        content.remove(content[0])


def describe_fields(module: str) -> None:
    """Gives the constants and fields of a module the comments behind them as their docstrings.

    A setting has its description.
    """
    loaded = import_module(module)
    found = _comments(Path(str(loaded.__file__)))
    for name, section in vars(loaded).items():
        if isinstance(section, type) and issubclass(section, BaseModel):
            for key, field in section.model_fields.items():
                if field.description:
                    found[name, key] = field.description
    analyzer = ModuleAnalyzer.for_module(module)
    analyzer.analyze()
    for place, description in found.items():
        analyzer.attr_docs.setdefault(place, [description, ""])


def _comments(path: Path) -> dict[tuple[str, str], str]:
    """Returns the comments behind assignments by the class, or nothing, and the name."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    body = ast.parse(text).body
    found = {}
    for owner in [None, *(node for node in body if isinstance(node, ast.ClassDef))]:
        for node in owner.body if owner else body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.end_lineno:
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                behind = lines[node.end_lineno - 1].encode()[node.end_col_offset :].decode().strip()
                if isinstance(target, ast.Name) and behind.startswith("# "):
                    found[owner.name if owner else "", target.id] = behind.removeprefix("# ")
    return found


def prepare_docstring(*event: Any) -> None:
    """Makes reStructuredText of the lines of a docstring, before napoleon reads them."""
    kind, lines = event[1], event[-1]
    if lines and lines[0].startswith("Alias for field number"):
        lines.clear()
    escape(lines)
    if kind in FIELDS:
        # Napoleon would take what is before a colon for a type.
        lines[:] = [line.replace(":", COLON) for line in lines]


def restore_colons(*event: Any) -> None:
    """Undoes what ``prepare_docstring`` does to colons."""
    lines = event[-1]
    lines[:] = [line.replace(COLON, ":") for line in lines]


def module_of_source(app: Sphinx, module: str, name: str) -> str | None:
    """Returns the module itself for a constant of a built-in type, which has no other source."""
    found = getattr(sys.modules.get(module), name, None)
    return module if getattr(found, "__module__", None) == "builtins" else None


def escape(lines: list[str]) -> None:
    """Makes reStructuredText of a docstring, which is written as plain text.

    An indented block that follows a colon is kept as it is: docstrings show timelines, tables and
    commands in this way. So are examples. Elsewhere only quotes and lists have a meaning.
    """
    blocks = re.split(r"\n(?: *\n)+", "\n".join(lines))
    introduced = None  # indentation of the line that introduces a block that is kept
    for index, block in enumerate(blocks):
        indent = len(block) - len(block.lstrip())
        if block.lstrip().startswith(">>>") or (introduced is not None and indent > introduced):
            continue
        blocks[index] = _escaped(block)
        introduced = None
        if block.endswith(":"):
            last = block.rpartition("\n")[2]
            introduced = len(last) - len(last.lstrip())
            following = blocks[index + 1] if index + 1 < len(blocks) else ""
            if len(following) - len(following.lstrip()) > introduced:
                blocks[index] = blocks[index].rstrip(":") + "::"
    lines[:] = "\n\n".join(blocks).split("\n")


def _escaped(text: str) -> str:
    return SPECIAL.sub(lambda match: match[1] or f"\\{match[2]}", text)


def setup(app: Sphinx) -> dict[str, Any]:
    """Adds all of this to Sphinx."""
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"
    app.add_config_value("toctrees", {}, "env")
    app.add_source_parser(NotebookParser)
    app.add_source_parser(PackageParser)
    app.add_transform(LinkToCode)
    app.add_lexer("folders", TextLexer)
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
    app.connect("source-read", add_toctrees)
    app.connect("html-page-context", share_sidebar, priority=400)  # before the theme, which has 500
    app.connect("autodoc-process-signature", shorten_signature)
    app.connect("object-description-transform", shorten_description)
    app.connect("viewcode-follow-imported", module_of_source)
    # Before and after napoleon, which has the usual 500.
    app.connect("autodoc-process-docstring", prepare_docstring, priority=400)
    app.connect("autodoc-process-docstring", restore_colons, priority=600)
    return {"parallel_read_safe": True}
