"""The choices of a training run as a page, from the class that reads them."""

from __future__ import annotations

import inspect
import re

from myst_text import code, escape, table
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from obligor.training.samples.config import TrainingConfig


def page() -> str:
    """Return a table for the top level and one for each section of the file."""
    top = {
        name: field
        for name, field in TrainingConfig.model_fields.items()
        if not isinstance(field.default, BaseModel)
    }
    parts = ["## Top level\n", field_table(TrainingConfig, top)]
    for name, field in TrainingConfig.model_fields.items():
        if isinstance(field.default, BaseModel):
            kind = type(field.default)
            summary = (inspect.getdoc(kind) or "").split("\n\n")[0]
            parts.append(f"## [{name}]\n")
            parts.append(escape(summary) + "\n")
            parts.append(field_table(kind, dict(kind.model_fields)))
    return "\n".join(parts)


def field_table(kind: type[BaseModel], fields: dict[str, FieldInfo]) -> str:
    """Return a row for each field: default, range, meaning."""
    meanings = attribute_texts(inspect.getdoc(kind) or "")
    rows = []
    for name, field in fields.items():
        limits = ", ".join(str(entry) for entry in field.metadata)
        rows.append(
            (
                code(name),
                code(str(field.default)),
                escape(readable(limits)),
                escape(meanings.get(name, "")),
            )
        )
    return table(("key", "default", "range", "meaning"), rows)


def readable(limits: str) -> str:
    """Return the bounds pydantic prints in plain signs.

    Examples
    --------
    >>> readable("Ge(ge=1), Le(le=365)")
    '>= 1, <= 365'
    """
    signs = {"Ge": ">=", "Gt": ">", "Le": "<=", "Lt": "<"}
    pairs = re.findall(r"(Ge|Gt|Le|Lt)\(\w+=([-\d.]+)\)", limits)
    return ", ".join(f"{signs[name]} {number}" for name, number in pairs)


def attribute_texts(docstring: str) -> dict[str, str]:
    """Return the texts of a numpydoc Attributes section by attribute."""
    _, _, section = docstring.partition("Attributes\n----------\n")
    texts: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        if line and not line.startswith(" "):
            names = [part.strip() for part in line.split(":")[0].split(",")]
        elif line.strip():
            for name in names:
                texts[name] = f"{texts.get(name, '')} {line.strip()}".strip()
    return texts
