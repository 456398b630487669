"""Checks the structure in docs/design/architecture.md: imports run downwards, without cycles."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "atari_dqn"
PRINTING = ("cli.py", "console.py", "commands/")
ENTRIES = ("__init__.py", "__main__.py")  # they may import from every folder
LONGEST_SENTENCE = 90


def folder_map() -> dict[str, str]:
    """Returns the sentence of each folder and file in docs/design/architecture.md, in its order."""
    text = (ROOT / "docs" / "design" / "architecture.md").read_text(encoding="utf-8")
    block = re.search(r"```folders\n(.*?)```", text, re.DOTALL)
    assert block is not None
    joined = re.sub(r"\n\s+", " ", block[1])  # continuation lines are indented
    return dict(re.findall(r"^(\S+)\s+(.*)$", joined, re.MULTILINE))


def path_of(module: str) -> Path:
    """Returns the file of a module or package."""
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imports() -> dict[str, set[str]]:
    """Returns, for each module, the modules of this package that it imports anywhere."""
    found: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        if path.parent == PACKAGE and path.name in ENTRIES:
            continue
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        names = found.setdefault(module, set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names.update(
                    alias.name for alias in node.names if alias.name.startswith("atari_dqn.")
                )
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("atari_dqn"):
                inner = [f"{node.module}.{alias.name}" for alias in node.names]
                names.update(
                    name if path_of(name).exists() else name.rpartition(".")[0] for name in inner
                )
        names.discard(module)
    return found


def folder_of(module: str) -> str:
    """Returns the folder of a module, such as ``replay/``, or its file if it is in no folder."""
    parts = module.split(".")[1:]
    return f"{parts[0]}/" if (PACKAGE / parts[0]).is_dir() else f"{parts[0]}.py"


def test_the_architecture_page_lists_every_folder_and_file() -> None:
    assert sorted(folder_map()) == sorted({folder_of(module) for module in imports()})


@pytest.mark.parametrize(("name", "sentence"), folder_map().items())
def test_the_architecture_page_describes_each_folder_as_its_docstring_does(
    name: str, sentence: str
) -> None:
    path = PACKAGE / name
    source = path / "__init__.py" if path.is_dir() else path
    docstring = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    assert docstring.split("\n\n")[0].replace("\n", " ") == sentence
    assert len(sentence) <= LONGEST_SENTENCE


def test_folders_import_only_from_folders_below_them() -> None:
    level = {name: number for number, name in enumerate(folder_map())}
    upwards = {
        f"{module} imports {used}"
        for module, targets in imports().items()
        for used in targets
        if level[folder_of(used)] < level[folder_of(module)]
    }
    assert upwards == set()


def test_modules_have_no_circular_imports() -> None:
    assert len(list(TopologicalSorter(imports()).static_order())) == len(imports())


def test_importing_a_folder_loads_nothing() -> None:
    for path in PACKAGE.glob("*/__init__.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert [type(node) for node in tree.body] == [ast.Expr], (
            f"{path} contains more than its docstring"
        )


def test_only_the_command_line_prints() -> None:
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        if not name.startswith(PRINTING):
            nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            names = {node.id for node in nodes if isinstance(node, ast.Name)}
            assert not names & {"print", "say", "say_notes"}, name


def test_no_module_uses_eval_exec_or_pickle() -> None:
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        called = {
            node.func.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        imported = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        assert not called & {"eval", "exec", "__import__"}, path
        assert not imported & {"pickle", "marshal", "shelve", "dill", "cloudpickle"}, path
