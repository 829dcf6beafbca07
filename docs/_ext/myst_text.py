"""Markdown that the generated pages are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def escape(text: str) -> str:
    """Make a text safe inside a table cell.

    Examples
    --------
    >>> escape("a|b < c*")
    'a\\\\|b &lt; c\\\\*'
    """
    line = " ".join(text.split())
    return line.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def code(text: str) -> str:
    """Return a text as inline code that may stand in a table cell."""
    line = " ".join(text.split()).replace("|", "\\|")
    return f"`{line}`" if line else ""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a pipe table; the cells are escaped by the caller."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines.extend("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join(lines) + "\n"


def block(text: str, language: str = "text", caption: str = "") -> str:
    """Return a fenced code block, with a caption if one is given."""
    if caption:
        opening = f"```{{code-block}} {language}\n:caption: {caption}\n"
    else:
        opening = f"```{language}"
    return f"{opening}\n{text.rstrip()}\n```\n"
