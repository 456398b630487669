"""Checks the documents: examples run, generated pages are up to date, and links are valid."""

import re
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

from atari_dqn.config.document import as_markdown
from atari_dqn.config.resolve import load_config
from atari_dqn.config.schema import SECTIONS

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


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_notebook_runs(tmp_path: Path) -> None:
    notebook = nbformat.read(ROOT / "docs" / "guide" / "first_agent.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), (
        "the notebook must be saved without outputs"
    )
    nbclient.NotebookClient(
        notebook, timeout=1200, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    printed = "".join(output.get("text", "") for output in outputs)
    assert "complete: True" in printed
    assert printed.count("human-normalized") == 2
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    assert sum("image/gif" in output.get("data", {}) for output in outputs) == 1


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
