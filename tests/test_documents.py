"""Checks the documents: examples run, generated pages are up to date, and links are valid."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell

from atari_dqn.config.document import as_markdown
from atari_dqn.config.resolve import load_config
from atari_dqn.config.schema import SECTIONS
from tools import run_notebook

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


def examples(page: str) -> list[str]:
    return re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.DOTALL
    )


@pytest.mark.slow
def test_the_python_examples_run_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "examples"}
    blocks = examples("guide/python.md")
    assert len(blocks) == 7
    for block in blocks:
        exec(compile(block, "docs/guide/python.md", "exec"), names)
    assert names["complete"]
    assert names["actions"].shape == (2,)
    assert names["still"].statistics()["episodes"] == 2
    assert names["batch"].observation.shape == (32, 84, 84, 4)
    assert 9 <= names["result"].statistics()["mean"] <= 10, (
        "the agent must learn to name the lit lamp"
    )
    for written in ("first.gif", "lamp.gif", "runs/small"):
        assert (tmp_path / written).exists()


def shown(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """Returns the outputs of all cells, after checking that none of them is missing."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not any(output.output_type == "error" for output in outputs)
    printed = "".join(output.get("text", "") for output in outputs)
    assert "complete: True" in printed
    assert printed.count("human-normalized") == 2
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    assert sum("image/gif" in output.get("data", {}) for output in outputs) == 1
    return outputs


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_notebook_runs() -> None:
    notebook = nbformat.read(run_notebook.NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    shown(run_notebook.run(notebook))


def test_the_notebook_shows_what_its_code_gives() -> None:
    notebook = nbformat.read(run_notebook.NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    again = "run 'python -m tools.run_notebook'"
    assert notebook.metadata.code_digest == run_notebook.code_digest(notebook), again
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)], again
    assert all(cell.outputs for cell in code[1:]), again
    assert code[0].outputs == [], "the package was installed already"
    for output in shown(notebook):
        text = output.get("text", "") + output.get("data", {}).get("text/plain", "")
        found = re.search(r"(?:^|[\s'\"(=])(/|~/|[A-Z]:\\)[\w.-]+[/\\]", text)
        assert found is None, f"an output names a folder of some machine: {found}"
    assert run_notebook.NOTEBOOK.stat().st_size < 500_000


@pytest.mark.parametrize("address", ["", "https://host/o'brien/atari_dqn"])
def test_the_notebook_installs_the_package_only_where_it_is_missing(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = nbformat.read(run_notebook.NOTEBOOK, as_version=4)
    cell = next(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert cell.count('REPOSITORY = ""') == 1
    shell = InteractiveShell()
    asked: list[str] = []
    shell.register_magic_function(asked.append, magic_name="pip")
    shell.run_cell(cell).raise_error()
    assert asked == []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    filled = cell.replace('REPOSITORY = ""', f'REPOSITORY = "{address}"')
    if address:
        shell.run_cell(filled).raise_error()
        assert asked == [f'install --quiet "git+{address}"']
    else:
        with pytest.raises(ValueError, match="write the repository's address into REPOSITORY"):
            shell.run_cell(filled).raise_error()


def test_the_settings_page_is_up_to_date_with_the_schema() -> None:
    config, _ = load_config("BreakoutDeterministic-v4")
    page = ROOT / "docs" / "reference" / "settings.md"
    assert page.read_text(encoding="utf-8") == as_markdown(config), "'make docs' updates the page"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_existing_files(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)|<img[^>]* src=\"([^\"]+)\"", text):
        link = "".join(target)
        assert link.startswith("https://") or (page.parent / link).is_file(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_and_settings_named_in_a_page_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    (targets,) = re.findall(
        r"^TARGETS := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert set(re.findall(r"(?:^    |`)make ([a-z-]+)", text, re.MULTILINE)) <= set(targets.split())
    for section, key in re.findall(r"--([a-z]+)\.([a-z_0-9]+)", text):
        assert (section, key) == ("section", "key") or key in SECTIONS[section].model_fields, (
            f"{section}.{key}"
        )
