"""Runs the notebook of the guide and stores what it shows: ``python -m tools.run_notebook``.

The stored outputs depend on the code only. Times, versions and the folders of this machine are left
out, and a digest of the code tells a test whether the outputs are those of this code.
"""

import hashlib
import tempfile
from pathlib import Path

import nbclient
import nbformat

NOTEBOOK = Path(__file__).parents[1] / "docs" / "guide" / "first_agent.ipynb"


def run(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Runs all cells in an empty folder and returns the same notebook, with outputs."""
    metadata = {"kernelspec": notebook.metadata.kernelspec, "language_info": {"name": "python"}}
    with tempfile.TemporaryDirectory() as folder:
        nbclient.NotebookClient(
            notebook,
            timeout=1200,
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": folder}},
        ).execute()
    notebook.metadata = nbformat.from_dict({**metadata, "code_digest": code_digest(notebook)})
    return notebook


def code_digest(notebook: nbformat.NotebookNode) -> str:
    """Returns the SHA-256 digest of the code of all cells."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\0".join(sources).encode()).hexdigest()


if __name__ == "__main__":
    nbformat.write(run(nbformat.read(NOTEBOOK, as_version=4)), NOTEBOOK)
