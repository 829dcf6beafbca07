"""Which rows of a source are read: `where`, `where_present`, and footers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date

import numpy as np
import pandas as pd

from obligor.arrays import Bools
from obligor.data.column_reading import (
    EMPTY_VALUES,
    ColumnReading,
    is_missing,
    text_of,
    texts_of,
)
from obligor.data.findings import Finding
from obligor.data.ledger import CONTRACTS, day_columns
from obligor.errors import SchemaError
from obligor.reading.amounts import parse_amounts
from obligor.reading.conditions import Comparison, Condition
from obligor.reading.dates import parse_days
from obligor.reading.mapping import TableMapping, columns_of

_ORDERINGS = ("<", "<=", ">", ">=")
# The first word of a line that sums up others, in English, German and Chinese.
_SUM = re.compile(
    r"(grand |sub)?-?\s*totals?\b.*|(gesamt|zwischen)?summe\b.*|gesamt|sum|saldo"
    r"|合计.*|总计.*|小计.*",
    re.IGNORECASE,
)


def source_column(mapping: TableMapping, frame: pd.DataFrame, name: str) -> pd.Series:
    """Return a column of a source.

    Parameters
    ----------
    mapping : TableMapping
        Of the table, for the message.
    frame : DataFrame
        The source.
    name : str
        The source's own name of the column.

    Raises
    ------
    SchemaError
        If there is no such column.
    """
    for spelling in (name, name.strip()):
        if spelling in frame:
            return frame[spelling]
    raise SchemaError(
        f"no column {name!r}",
        where=f"[{mapping.table}]",
        expected=f"one of {list(frame.columns)}",
        do="state header_row, if the header is another line",
    )


def source_names(mapping: TableMapping) -> set[str]:
    """Return the source's own names of all columns that a mapping reads."""
    names = {mapping.where_present}
    for column in columns_of(mapping.table):
        rule = mapping.rule(column)
        names.update(rule.columns)
        if not isinstance(rule.plus_days, int):
            names.update(rule.plus_days)
    if mapping.sign_by is not None:
        names.add(mapping.sign_by.column)
    if mapping.where is not None:
        names.update(_compared_names(mapping.where))
    return {name.strip() for name in names}


def _compared_names(condition: Condition) -> Iterator[str]:
    if isinstance(condition, Comparison):
        yield condition.column
        return
    for part in condition.parts:
        yield from _compared_names(part)


def selected_rows(
    mapping: TableMapping, frame: pd.DataFrame
) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows that a mapping reads, and what is to be told about the others.

    Parameters
    ----------
    mapping : TableMapping
        Its `where` and `where_present`.
    frame : DataFrame
        All rows of the source.

    Returns
    -------
    tuple of DataFrame and list of str
        The rows, and a sentence on how many `where` takes.
    """
    notes = []
    if mapping.where_present:
        column = source_column(mapping, frame, mapping.where_present)
        empty = (*EMPTY_VALUES, *mapping.empty)
        frame = frame[texts_of(column, empty).notna().to_numpy()]
    if mapping.where is not None:
        n_rows = len(frame)
        frame = frame[holds(mapping.where, frame, mapping)]
        notes.append(f"where takes {len(frame):,} of {n_rows:,} rows")
    return frame, notes


def holds(condition: Condition, frame: pd.DataFrame, mapping: TableMapping) -> Bools:
    """Return whether a condition holds in each row, shape (n,).

    Parameters
    ----------
    condition : Condition
        What must hold.
    frame : DataFrame, shape (n, ...)
        The source.
    mapping : TableMapping
        How its numbers and dates are written.

    Raises
    ------
    SchemaError
        If it names no column of the source, or the column cannot be compared so.
    """
    if isinstance(condition, Comparison):
        return _compared(condition, frame, mapping)
    parts = [holds(part, frame, mapping) for part in condition.parts]
    join = np.logical_and if condition.word == "and" else np.logical_or
    result: Bools = join.reduce(parts)
    return result


def _compared(
    comparison: Comparison, frame: pd.DataFrame, mapping: TableMapping
) -> Bools:
    column = source_column(mapping, frame, comparison.column)
    if comparison.operator in _ORDERINGS:
        is_true = _ordered(comparison, column, mapping)
    else:
        is_true = _is_any_of(comparison, column, mapping)
        if comparison.operator in ("!=", "not in"):
            is_true = ~is_true
    result: Bools = is_true.to_numpy(dtype=bool)
    return result


def _is_any_of(
    comparison: Comparison, column: pd.Series, mapping: TableMapping
) -> pd.Series:
    texts = texts_of(column, ("", *mapping.empty)).fillna("")
    words = [value.strip() for value in comparison.values if isinstance(value, str)]
    is_true = texts.isin(words)
    numbers = [value for value in comparison.values if not isinstance(value, str)]
    if numbers:
        is_true |= _numbers(comparison, column, mapping).isin(numbers)
    return is_true


def _ordered(
    comparison: Comparison, column: pd.Series, mapping: TableMapping
) -> pd.Series:
    (value,) = comparison.values
    if not isinstance(value, str):
        return _compare(comparison, _numbers(comparison, column, mapping), value)
    try:
        day = date.fromisoformat(value)
    except ValueError:
        raise SchemaError(
            f"where: {value!r} is not a date",
            where=f"[{mapping.table}]",
            expected="a number, or a date such as '2024-12-31', after < and >",
        ) from None
    date_format = mapping.date_formats.get("*", "")
    reading = parse_days(column, date_format, zone=mapping.zone)
    _require_readable(comparison, column, reading, mapping)
    return _compare(comparison, reading.values, pd.Timestamp(day))


def _compare(
    comparison: Comparison,
    values: pd.Series,
    limit: float | pd.Timestamp,
) -> pd.Series:
    """Return whether each value is on the right side of a limit; nothing never is."""
    if comparison.operator == "<":
        return values < limit
    if comparison.operator == "<=":
        return values <= limit
    if comparison.operator == ">":
        return values > limit
    return values >= limit


def _numbers(
    comparison: Comparison, column: pd.Series, mapping: TableMapping
) -> pd.Series:
    texts = column if column.dtype.kind in "iuf" else texts_of(column, mapping.empty)
    reading = parse_amounts(texts, mapping.numbers)
    _require_readable(comparison, texts, reading, mapping)
    return reading.values


def _require_readable(
    comparison: Comparison,
    column: pd.Series,
    reading: ColumnReading,
    mapping: TableMapping,
) -> None:
    """Refuse to compare a column if a cell of it cannot be read for that."""
    texts = texts_of(column, EMPTY_VALUES)
    unreadable = texts[texts.notna() & reading.values.isna()]
    if len(unreadable):
        reason = reading.refusal or f"{unreadable.iloc[0]!r} is of another type"
        raise SchemaError(
            f"where: {comparison.column} cannot be compared: {reason}",
            where=f"[{mapping.table}]",
            expected=reading.choice or "a text in quotes, or a column of numbers",
        )


def footer_rows(
    table: str,
    frame: pd.DataFrame,
    raw: pd.DataFrame,
) -> Iterator[Finding]:
    """Yield a note for each row that sums up others, or ends the file.

    Such a row has no dates. Few of its cells are filled, one with a word for a sum; or
    it is below all items and names no customer, or has one filled cell at most.

    Parameters
    ----------
    table : str
        Our table.
    frame : DataFrame, shape (n, ...)
        Our columns of it, as texts or in the source's own types.
    raw : DataFrame, shape (n, ...)
        The source's own columns.
    """
    days = [column for column in day_columns(table) if column in frame]
    references = [
        name
        for name, column in CONTRACTS[table].columns.items()
        if name in ("customer_id", "invoice_id") and not column.unique
    ]
    if not days or not references or frame.empty:
        return
    has_day = _is_filled(frame[days])
    has_reference = _is_filled(frame[[key for key in references if key in frame]])
    days_below = has_day[::-1].cummax()[::-1]
    # Rows without a date are few: the others need not be looked at.
    for row in frame.index[~has_day]:
        cells = [text_of(cell) for cell in raw.loc[row] if not is_missing(cell)]
        texts = [text for text in cells if text not in EMPTY_VALUES]
        has_word = any(_SUM.fullmatch(text) for text in texts)
        # A row of a customer whose name is Total has more cells.
        is_sum = has_word and len(texts) <= max(2, len(raw.columns) // 2)
        is_last = not days_below[row]
        if is_sum or (is_last and (not has_reference[row] or len(texts) <= 1)):
            yield Finding(
                level="note",
                table=table,
                column="",
                row=int(row),
                what="the row has no customer and no dates; skipped as a footer",
                expected="",
            )


def _is_filled(frame: pd.DataFrame) -> pd.Series:
    """Return whether a row has a cell that holds something else than TOTAL."""
    is_filled = pd.Series(False, index=frame.index)
    for column in frame:
        texts = texts_of(frame[column], EMPTY_VALUES)
        is_filled |= texts.notna() & ~texts.str.fullmatch(_SUM).eq(True)
    return is_filled
