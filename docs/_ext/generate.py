"""Write the pages that are made from the code, before Sphinx looks for sources."""

from __future__ import annotations

import shutil
from pathlib import Path

import api_pages
import cli_page
import configuration_page
import errors_page
import features_page
import http_page
import ledger_page
import rules_page
import specs_page

DOCS = Path(__file__).parents[1]
NOTEBOOKS = DOCS.parent / "notebooks"
ORPHAN = "---\norphan: true\n---\n\n"


def write_all() -> None:
    """Write every generated page whose text has changed, and remove the stale ones."""
    reference = DOCS / "reference" / "generated"
    pages = {
        "cli.md": cli_page.page(),
        "http.md": http_page.page(),
        "ledger.md": ledger_page.page(),
        "features.md": features_page.page(),
        "rules.md": rules_page.page(),
        "errors.md": errors_page.page(),
        "configuration.md": configuration_page.page(),
    }
    for name, text in specs_page.pages().items():
        pages[f"spec/{name}.md"] = text
    for name, text in api_pages.pages().items():
        pages[f"api/{name}.md"] = text
    for name, text in pages.items():
        write(reference / name, text)
    remove_others(reference, {reference / name for name in pages})
    copy_notebooks(DOCS / "tutorials" / "notebooks")


def write(path: Path, text: str) -> None:
    """Write a file unless it holds this text already, so that builds stay short."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def remove_others(folder: Path, expected: set[Path]) -> None:
    """Remove the pages of modules that are gone."""
    for path in folder.rglob("*.md"):
        if path not in expected:
            path.unlink()


def copy_notebooks(folder: Path) -> None:
    """Copy the notebooks beside the other tutorials; Sphinx reads no other folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in sorted(NOTEBOOKS.glob("*.ipynb")):
        target = folder / source.name
        if not target.exists() or target.read_bytes() != source.read_bytes():
            shutil.copyfile(source, target)
