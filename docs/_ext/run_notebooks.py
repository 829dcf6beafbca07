"""Run notebooks and store their outputs, which the documentation shows.

Usage: ``python docs/_ext/run_notebooks.py notebooks/*.ipynb``, or `make run-notebooks`.
The gate runs them too, by nbmake; it does not compare outputs, because they hold times.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

TEMPORARY_FOLDER = re.compile(r"/tmp/tmp\w+")
SECONDS_PER_CELL = 300


def run(path: Path) -> None:
    """Run one notebook and write it with its outputs, without times and folders."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=SECONDS_PER_CELL,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [tidy(output) for output in cell.outputs if shown(output)]
    notebook.metadata.pop("language_info", None)
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, path)


def shown(output: nbformat.NotebookNode) -> bool:
    """Return whether an output is meant for readers: standard error is not."""
    return not (output.output_type == "stream" and output.name == "stderr")


def tidy(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return an output without the names of temporary folders."""
    if "text" in output:
        output.text = TEMPORARY_FOLDER.sub("/tmp/folder", output.text)
    for media, content in output.get("data", {}).items():
        if media.startswith("text/"):
            output.data[media] = TEMPORARY_FOLDER.sub("/tmp/folder", content)
    return output


if __name__ == "__main__":
    for name in sys.argv[1:]:
        run(Path(name))
        print(name)
