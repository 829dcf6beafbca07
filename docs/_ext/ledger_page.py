"""The reference of the ledger's tables, from the contracts a ledger is checked by."""

from __future__ import annotations

import pandera.pandas as pa
from myst_text import code, escape, table

from obligor.data.ledger import (
    CONTRACTS,
    DEFAULTS,
    REQUIRED_TABLES,
    sealed_columns,
)


def page() -> str:
    """Return one section for each table."""
    return "\n".join(table_section(name) for name in CONTRACTS)


def table_section(name: str) -> str:
    """Return the columns of one table."""
    need = "required" if name in REQUIRED_TABLES else "optional"
    columns = CONTRACTS[name].columns
    rows = [
        (code(key), kind(column), rule(name, key, column))
        for key, column in columns.items()
    ]
    return f"## {name}\n\nThis table is {need}.\n\n" + table(
        ("column", "type", "rule"), rows
    )


def kind(column: pa.Column) -> str:
    """Return the type of a column in one word."""
    if (column.metadata or {}).get("kind") == "day":
        return "date"
    return "number" if "float" in str(column.dtype) else "text"


def rule(table_name: str, key: str, column: pa.Column) -> str:
    """Return what a column must hold, and what fills it if it is absent."""
    parts = [str(check.error) for check in column.checks if check.error]
    if column.unique:
        parts.append("unique")
    if column.nullable:
        parts.append("may be empty")
    fills = (column.metadata or {}).get("fills")
    if fills:
        parts.append(f"taken from {code(fills)} if your source has no such column")
    default = DEFAULTS.get(table_name, {}).get(key)
    if default:
        parts.append(f"{code(default)} if absent")
    if not column.required:
        parts.append("the column may be absent")
    if key in sealed_columns(table_name):
        parts.append("encrypted where it is stored")
    return "; ".join(part if "`" in part else escape(part) for part in parts)
