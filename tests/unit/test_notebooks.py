"""The notebooks as they are stored: executed, with their pictures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def outputs_of(path: Path) -> list[dict[str, object]]:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    outputs = []
    for cell in notebook["cells"]:
        outputs += cell.get("outputs", [])
    return outputs


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_stored_executed_with_pictures(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    counts = [
        cell["execution_count"]
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]
    assert counts == list(range(1, len(counts) + 1))
    outputs = outputs_of(path)
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert pictures
    for output in outputs:
        assert output["output_type"] != "error"
        text = "".join(output.get("data", {}).get("text/plain", ""))
        # A figure that was not drawn leaves its size behind.
        assert "<Figure" not in text or output in pictures


def test_no_module_chooses_how_pictures_are_drawn() -> None:
    for path in ROOT.rglob("*.py"):
        if ".venv" in path.parts or "tests" in path.parts:
            continue
        chosen = re.search(r"matplotlib\.use\(|switch_backend", path.read_text("utf-8"))
        assert chosen is None, path


def test_a_notebook_trains_on_a_table_in_a_dataframe() -> None:
    text = (ROOT / "notebooks" / "06-table-in-a-dataframe.ipynb").read_text("utf-8")
    assert "obligor.PdClassifier" in text
    assert "pd.DataFrame" in text
