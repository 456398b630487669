"""The structure that docs/architecture.md promises: imports run downwards, without a circle, between modules of one idea."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "atari_dqn"


def layers() -> list[set[str]]:
    """The layers of docs/architecture.md, topmost first."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    block = re.search(r"```layers\n(.*?)```", text, re.DOTALL)
    assert block is not None
    return [set(line.split(" · ")) for line in block[1].strip().splitlines()]


def module_name(path: Path) -> str:
    """``replay`` for everything in the replay folder, else the module's own name."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        if path.parent == PACKAGE and path.name in ("__init__.py", "__main__.py"):
            continue
        names = found.setdefault(module_name(path), set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "atari_dqn":
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("atari_dqn."):
                names.add((node.module or "").split(".")[1])
            elif isinstance(node, ast.Import):
                names.update(alias.name.split(".")[1] for alias in node.names if alias.name.startswith("atari_dqn."))
        names.discard(module_name(path))
    return found


def test_every_module_stands_in_exactly_one_layer() -> None:
    named = [name for layer in layers() for name in layer]
    assert sorted(named) == sorted(imports())


def test_imports_run_downwards_only() -> None:
    level = {name: number for number, layer in enumerate(layers()) for name in layer}
    upward = [(name, used) for name, targets in imports().items() for used in targets if level[used] < level[name]]
    assert upward == []


def test_imports_have_no_circle() -> None:
    assert len(list(TopologicalSorter(imports()).static_order())) == len(imports())


def test_nothing_is_loaded_that_could_run_code() -> None:
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
        imported = {
            alias.name for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names
        }
        assert not called & {"eval", "exec", "__import__"}, path
        assert not imported & {"pickle", "marshal", "shelve", "dill", "cloudpickle"}, path
