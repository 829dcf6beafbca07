"""Small ASCII tables: a spec test is a table in and a table out.

A table is a text of ``a | b`` lines under a line of column names; a dash is an empty
cell. `ledger` reads such texts as the tables of a ledger. `spec` compares what the code
gives with a table that was written by hand, and prints both when they differ.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from numbers import Real
from typing import get_type_hints

import numpy as np
import pandas as pd

from obligor.data.account import Account
from obligor.data.account_building import account_of_rows
from obligor.data.ledger import (
    CONTRACTS,
    DAY_DTYPE,
    Ledger,
    day_columns,
    empty_table,
    number_columns,
)

EMPTY = "-"


def parse(text: str) -> list[dict[str, str]]:
    """Return the cells of a table, one mapping of column to text for each line."""
    header = columns_of(text)
    table_rows = []
    for line in text.strip().splitlines()[1:]:
        cells = [cell.strip() for cell in line.split("|")]
        table_rows.append(dict(zip(header, cells, strict=True)))
    return table_rows


def columns_of(text: str) -> list[str]:
    """Return the column names of a table."""
    first_line = text.strip().splitlines()[0]
    return [name.strip() for name in first_line.split("|")]


def table(name: str, text: str) -> pd.DataFrame:
    """Return a table of the ledger.

    Columns that the text leaves out are filled: ``known_on`` from the date of the
    event, ``kind`` as a payment, ``customer_id`` as ANNA, ``currency`` as EUR, figures
    of a statement as unknown.

    Parameters
    ----------
    name : str
        The table's name in `CONTRACTS`.
    text : str
        Its rows, as `parse` reads them.
    """
    frame = pd.DataFrame(
        parse(text),
        columns=columns_of(text),
        dtype="str",
    )
    frame = frame.where(frame != EMPTY)
    if frame.empty:
        return empty_table(name)
    for column in CONTRACTS[name].columns:
        if column not in frame:
            _fill(frame, name, column)
    for column in frame:
        if column in day_columns(name):
            frame[column] = pd.to_datetime(frame[column]).astype(DAY_DTYPE)
        elif column in number_columns(name):
            frame[column] = frame[column].astype("float64")
    return frame


def _fill(
    frame: pd.DataFrame,
    name: str,
    column: str,
) -> None:
    """Add a column that a source may leave out."""
    rule = CONTRACTS[name].columns[column]
    fills = (rule.metadata or {}).get("fills")
    if fills:
        frame[column] = frame[fills]
    elif column == "kind":
        frame[column] = "payment"
    elif column == "payment_id":
        frame[column] = [f"P{row}" for row in frame.index]
    elif column == "customer_id" and rule.required:
        frame[column] = "ANNA"
    elif column == "currency" and rule.required:
        frame[column] = "EUR"
    elif rule.required and rule.nullable:
        frame[column] = None


def ledger(**tables: str) -> Ledger:
    """Return a ledger in EUR from the texts of its tables.

    Without a table of customers, every customer of an invoice was registered on
    2020-01-01.
    """
    frames = {name: table(name, text) for name, text in tables.items()}
    frames.setdefault("payments", empty_table("payments"))
    if "customers" not in frames:
        ids = sorted(set(frames["invoices"]["customer_id"]))
        lines = "\n".join(f"{customer} | 2020-01-01" for customer in ids)
        text = f"customer_id | registered_on\n{lines}"
        frames["customers"] = table("customers", text)
    return Ledger(frames, "EUR")


def account(whole: Ledger, customer_id: str) -> Account:
    """Return one customer's account, built from its rows."""
    return account_of_rows(customer_id, whole.currency, rows(whole, customer_id))


def rows(whole: Ledger, customer_id: str) -> dict[str, list[dict[str, object]]]:
    """Return one customer's rows of a ledger by table, with every exchange rate."""
    invoices = whole["invoices"]
    is_own = invoices["customer_id"] == customer_id
    invoice_ids = set(invoices.loc[is_own, "invoice_id"])
    tables = {}
    for name in whole.tables:
        frame = whole[name]
        if "customer_id" in frame and "invoice_id" in frame:
            is_of_item = frame["invoice_id"].isin(invoice_ids)
            frame = frame[is_of_item | (frame["customer_id"] == customer_id)]
        elif "customer_id" in frame:
            frame = frame[frame["customer_id"] == customer_id]
        elif "invoice_id" in frame:
            frame = frame[frame["invoice_id"].isin(invoice_ids)]
        tables[name] = [
            {str(key): plain(value) for key, value in row.items()}
            for row in frame.to_dict("records")
        ]
    return tables


def plain(value: object) -> object:
    """Return a cell of a frame as plain Python: None if empty, days as dates."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return None
    return value.date() if isinstance(value, pd.Timestamp) else value


def spec(
    subject: Callable[..., object] | pd.DataFrame | Iterable[object], expected: str
) -> None:
    """Assert that the code gives a table, line by line, in its order.

    Only the columns named in `expected` are compared.

    Parameters
    ----------
    subject : callable, DataFrame, or iterable of rows
        A row is a mapping or an object with attributes. A callable is called once for
        each line: the columns named like its parameters are its arguments, converted to
        the annotated types, and the row it returns is compared with the others. If
        there is only one other column, it may return the value itself.
    expected : str
        The table, as `parse` reads it. Cells are compared by value: a dash with None or
        NaN, ``yes`` and ``no`` with bool, ``2024-01-31`` with a date, ``0.25`` or
        ``1/4`` with a number, ``a, b`` with a sequence; an enumeration by its value.

    Examples
    --------
    >>> def tomorrow(as_of: date) -> dict[str, object]:
    ...     return {"day": date.fromordinal(as_of.toordinal() + 1)}
    >>> spec(tomorrow, '''
    ...     as_of      | day
    ...     2024-02-28 | 2024-02-29
    ...     2024-12-31 | 2025-01-01
    ... ''')
    >>> spec([{"name": "ANNA", "share": 1 / 3}], '''
    ...     name | share
    ...     ANNA | 1/3
    ... ''')
    """
    columns = columns_of(expected)
    expected_rows = parse(expected)
    if callable(subject):
        assert expected_rows, "a table of questions needs at least one line"
        actual_rows = [_answered(subject, row) for row in expected_rows]
    elif isinstance(subject, pd.DataFrame):
        has_named_index = subject.index.name is not None
        frame = subject.reset_index(drop=not has_named_index)
        actual_rows = [dict(row) for row in frame.to_dict("records")]
    else:
        actual_rows = [_row(item, columns) for item in subject]
    if not _are_equal(actual_rows, expected_rows):
        raise AssertionError(
            "the tables differ\n"
            f"expected:\n{_text(expected_rows, columns)}\n"
            f"actual:\n{_text(actual_rows, columns)}"
        )


Row = Mapping[str, object]
SCALARS = (str, bool, int, float, Decimal, date, Enum, list, type(None))


def _answered(question: Callable[..., object], row: Mapping[str, str]) -> Row:
    """Call a function with the cells named like its parameters; add what it returns."""
    types = get_type_hints(question)
    arguments = {}
    for name in inspect.signature(question).parameters:
        if name in row:
            arguments[name] = _argument(row[name], types[name])
    answer = question(**arguments)
    others = [column for column in row if column not in arguments]
    return {**row, **_row(answer, others)}


def _argument(cell: str, kind: object) -> object:
    """Convert a cell to the type of a parameter."""
    if cell == EMPTY:
        return None
    for type_, convert in CONVERSIONS.items():
        if kind in (type_, type_ | None):
            return convert(cell)
    return cell


CONVERSIONS: dict[type, Callable[[str], object]] = {
    bool: lambda cell: {"yes": True, "no": False}[cell],
    date: date.fromisoformat,
    Decimal: Decimal,
    float: float,
    int: int,
}


def _row(item: object, columns: list[str]) -> Row:
    """Return an item as a mapping of column to value."""
    if isinstance(item, pd.Series):
        return {str(name): value for name, value in item.items()}
    if isinstance(item, Mapping):
        return item
    if isinstance(item, SCALARS):
        (column,) = columns
        return {column: item}
    return {column: getattr(item, column) for column in columns}


def _are_equal(actual_rows: list[Row], expected_rows: list[dict[str, str]]) -> bool:
    if len(actual_rows) != len(expected_rows):
        return False
    for actual, expected in zip(actual_rows, expected_rows, strict=True):
        for column, cell in expected.items():
            if not _is_equal(actual[column], cell):
                return False
    return True


def _is_equal(value: object, cell: str) -> bool:
    """Return whether a value is what a cell says."""
    value = plain(value)
    if cell == EMPTY or value is None:
        return _cell(value) == cell
    if isinstance(value, Decimal):
        return value == Decimal(cell)
    if isinstance(value, Real) and not isinstance(value, bool):
        return math.isclose(float(value), float(Fraction(cell)), rel_tol=1e-12)
    return _cell(value) == cell


def _cell(value: object) -> str:
    """Return a value as a cell shows it."""
    value = plain(value)
    if value is None:
        return EMPTY
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value)) or EMPTY
    return str(value)


def _text(rows_: Iterable[Row], columns: list[str]) -> str:
    """Return rows as an ASCII table with aligned columns."""
    body = [[_cell(row.get(column)) for column in columns] for row in rows_]
    lines = [columns, *body]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    padded = []
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        padded.append(" | ".join(cells).rstrip())
    return "\n".join(padded)
