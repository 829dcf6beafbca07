"""A page of autodoc directives for each room, made from the files of the package."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = (
    "documents",
    "data",
    "reading",
    "connectors",
    "features",
    "policy",
    "model",
    "metrics",
    "training",
    "estimators",
    "forecasts",
    "record",
    "decisions",
    "portfolio",
    "casework",
    "serving",
)


def pages() -> dict[str, str]:
    """Return the text of each page by its name."""
    roots = {"obligor": "# obligor\n" + modules(["obligor.errors", "obligor.signing"])}
    return roots | {room: page(room) for room in ROOMS if (ROOT / room).is_dir()}


def page(room: str) -> str:
    """Return the page of one room: every module but the migrations."""
    names = []
    for path in sorted((ROOT / room).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if "migrations" in parts or "__pycache__" in parts:
            continue
        if parts[-1] == "__init__":
            continue
        names.append(".".join(("obligor", *parts)))
    directive = f"```{{eval-rst}}\n.. automodule:: obligor.{room}\n```\n"
    return f"# obligor.{room}\n\n{directive}\n{modules(names)}"


def modules(names: list[str]) -> str:
    """Return a section for each module."""
    sections = []
    for name in names:
        sections.append(f"## {name.removeprefix('obligor.')}\n")
        # Matplotlib writes a method `set` into every figure's class, in its own markup.
        options = "   :members:\n   :exclude-members: set\n"
        sections.append(f"```{{eval-rst}}\n.. automodule:: {name}\n{options}```\n")
    return "\n".join(sections)
