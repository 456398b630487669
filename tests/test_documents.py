"""The documents say what is so: examples run, generated pages are in step, links lead somewhere."""

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def examples(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.DOTALL)


def test_the_python_examples_run_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "examples"}
    blocks = examples("python.md")
    assert len(blocks) == 7
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), names)
    assert names["complete"]
    assert names["actions"].shape == (2,)
    assert names["still"].statistics()["episodes"] == 2
    assert names["observations"].shape == (32, 4, 84, 84)
    assert 9 <= names["result"].statistics()["mean"] <= 10, "naming the lamp that is lit is learnt"
    for written in ("first.gif", "lamp.gif", "runs/small"):
        assert (tmp_path / written).exists()
