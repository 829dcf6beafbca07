"""Rows that are sent one by one, as JSON values, read as a table of the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from obligor.data.findings import Finding
from obligor.data.ledger import (
    CONTRACTS,
    DAY_DTYPE,
    DEFAULTS,
    day_columns,
    number_columns,
)

Cell = str | int | float | bool | None
JsonRow = Mapping[str, Cell]
# A larger amount is not exact to the cent as a float.
MOST_AMOUNT = 1e13
LONGEST_TEXT = 500
_DAY = "a date such as 2026-01-31"
_NUMBER = "a number"
_TEXT = f"a printable text of up to {LONGEST_TEXT} characters"


@dataclass(frozen=True)
class SentRows:
    """Rows as a table, and what could not be read of them."""

    frame: pd.DataFrame
    findings: list[Finding]


def read_rows(table: str, rows: Sequence[JsonRow]) -> SentRows:
    """Read rows of a table; a cell that cannot be read is a finding, not an error.

    Parameters
    ----------
    table : str
        One of `CONTRACTS`.
    rows : sequence of mapping
        Column to cell; a missing cell and an empty one are the same.

    Returns
    -------
    SentRows
        The rows numbered from 0, in the ledger's types.

    Examples
    --------
    >>> sent = read_rows("limits", [{"customer_id": "ANNA", "amount": "1e3", "x": 1}])
    >>> [(finding.row, finding.column) for finding in sent.findings]
    [(0, 'x')]
    >>> sent.frame["amount"].tolist()
    [1000.0]
    """
    columns = CONTRACTS[table].columns
    findings = _unknown_names(table, rows)
    frame = pd.DataFrame(index=pd.RangeIndex(len(rows)))
    for name, rule in columns.items():
        cells = [row.get(name) for row in rows]
        is_stated = any(cell is not None for cell in cells)
        default = DEFAULTS.get(table, {}).get(name)
        if default is not None:
            cells = [default if cell is None else cell for cell in cells]
        elif not is_stated and not rule.required:
            continue
        reader = _CellReader(table, name, findings)
        frame[name] = reader.column(cells)
    _fill_known_on(table, frame)
    return SentRows(frame, findings)


def _unknown_names(table: str, rows: Sequence[JsonRow]) -> list[Finding]:
    names = list(CONTRACTS[table].columns)
    return [
        Finding(
            level="quarantine",
            table=table,
            column=name,
            row=number,
            what="the field is unknown",
            expected=f"one of {', '.join(names)}",
        )
        for number, row in enumerate(rows)
        for name in row
        if name not in names
    ]


def _fill_known_on(table: str, frame: pd.DataFrame) -> None:
    """Fill a missing `known_on`; nothing is known before it happened."""
    rule = CONTRACTS[table].columns["known_on"]
    fills = (rule.metadata or {}).get("fills")
    if fills:
        frame["known_on"] = frame[["known_on", fills]].max(axis=1)


class _CellReader:
    """Reads the cells of one column."""

    def __init__(
        self,
        table: str,
        name: str,
        findings: list[Finding],
    ) -> None:
        self._table = table
        self._name = name
        self._findings = findings

    def column(self, cells: list[Cell]) -> pd.Series:
        if self._name in day_columns(self._table):
            return self._days(cells)
        if self._name in number_columns(self._table):
            numbers = [self._number(row, cell) for row, cell in enumerate(cells)]
            return pd.Series(np.array(numbers, dtype="float64"))
        texts = [self._text(row, cell) for row, cell in enumerate(cells)]
        return pd.Series(texts, dtype="str")

    def _days(self, cells: list[Cell]) -> pd.Series:
        texts = [cell if isinstance(cell, str) else None for cell in cells]
        days = pd.to_datetime(
            pd.Series(texts, dtype="str"), format="%Y-%m-%d", errors="coerce"
        )
        for row in np.flatnonzero(days.isna()).tolist():
            if cells[row] not in (None, ""):
                self._report(row, _DAY)
        return days.astype(DAY_DTYPE)

    def _number(self, row: int, cell: Cell) -> float:
        if cell is None or cell == "":
            return np.nan
        try:
            number = np.nan if isinstance(cell, bool) else float(cell)
        except ValueError:
            number = np.nan
        if not abs(number) <= MOST_AMOUNT:
            self._report(row, f"{_NUMBER} up to {MOST_AMOUNT:.0e}")
            return np.nan
        return number

    def _text(self, row: int, cell: Cell) -> str | None:
        if cell is None or cell == "":
            return None
        if isinstance(cell, str) and len(cell) <= LONGEST_TEXT and cell.isprintable():
            return cell.strip() or None
        self._report(row, _TEXT)
        return None

    def _report(self, row: int, expected: str) -> None:
        self._findings.append(
            Finding(
                level="quarantine",
                table=self._table,
                column=self._name,
                row=row,
                what="the value cannot be read",
                expected=expected,
            )
        )
