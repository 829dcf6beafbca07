"""The spec tests as pages, read from their source.

The convention: a module's docstring gives the page its title and text; each test gives
a section, titled by its name, with its docstring below; each table in it (a text of
several lines assigned to a name) is printed with that name as its caption, in order.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

from myst_text import block

SPECS = Path(__file__).parents[2] / "tests" / "spec"


def pages() -> dict[str, str]:
    """Return the text of each page by its name."""
    return {
        path.stem.removeprefix("test_"): page(path)
        for path in sorted(SPECS.glob("test_*.py"))
    }


def page(path: Path) -> str:
    """Return the page of one module of spec tests."""
    module = ast.parse(path.read_text(encoding="utf-8"))
    title, _, text = (ast.get_docstring(module) or path.stem).partition("\n")
    parts = [f"# {title.rstrip('.')}\n", cleandoc(text) + "\n"]
    parts.extend(block(table, caption=name) for name, table in tables(module.body))
    tests = (
        node
        for node in module.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )
    parts.extend(section(test) for test in tests)
    relative = path.relative_to(SPECS.parents[1])
    parts.append(f"\nPrinted from `{relative}`, which the gate runs.\n")
    return "\n".join(parts)


def section(test: ast.FunctionDef) -> str:
    """Return the section of one test."""
    title = test.name.removeprefix("test_").replace("_", " ")
    parts = [f"## {title[:1].upper()}{title[1:]}\n"]
    docstring = ast.get_docstring(test)
    if docstring:
        parts.append(docstring + "\n")
    parts.extend(block(table, caption=name) for name, table in tables(test.body))
    return "\n".join(parts)


def tables(statements: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Yield each text of several lines that is assigned to a name, in order.

    Examples
    --------
    >>> module = ast.parse("PAYMENTS = 'invoice_id | amount\\\\n A1 | 400'")
    >>> list(tables(module.body))
    [('payments', 'invoice_id | amount\\nA1 | 400')]
    """
    for statement in statements:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = statement.targets[0]
            value = statement.value
            if not isinstance(target, ast.Name) or not isinstance(value, ast.Constant):
                continue
            if isinstance(value.value, str) and "\n" in value.value:
                name = target.id.lower().replace("_", " ")
                yield name, cleandoc(value.value)
