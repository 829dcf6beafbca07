"""Source rows as bytes: one compressed text per customer, read and written in bulk.

Each table is stored column by column. Days are whole numbers, counted from 1970-01-01.
Columns of rows can be added later: a column that a customer's bytes lack is empty.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

import numpy as np
import orjson
import pandas as pd

from obligor.data.ledger import CONTRACTS, DAY_DTYPE, day_columns, number_columns

OWNER = "customer_id"
# The first day on which a row is no longer true; empty if it still is.
UNTIL = "until"
# The source's own `known_on`, if the row became known to us on a later day.
STATED_ON = "stated_on"
# Rows of a customer that could not be used: of which table, and their key.
SET_ASIDE = "set_aside"

_TIME_COLUMNS = ("known_on", UNTIL, STATED_ON)
_SECONDS_PER_DAY = 86_400
# Level 1 makes a fifth of the text in 40 us a customer; level 6 saves a tenth more in
# three times the time.
_LEVEL = 1

Cells = list[object]


def packed_rows(tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, bytes]]:
    """Yield every customer of some tables with the customer's rows as bytes.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Each has the column ``customer_id``; the rows of a customer keep their order.
    """
    filled = {table: frame for table, frame in tables.items() if len(frame)}
    owners = [pd.Index(frame[OWNER]) for frame in filled.values()]
    if not owners:
        return
    customer_ids = owners[0].append(owners[1:]).unique().sort_values()
    parts = [
        _PackedTable.of(table, frame, customer_ids) for table, frame in filled.items()
    ]
    for index, customer_id in enumerate(customer_ids.tolist()):
        own = {}
        for part in parts:
            columns = part.of_customer(index)
            if columns is not None:
                own[part.table] = columns
        yield customer_id, zlib.compress(orjson.dumps(own), _LEVEL)


class _PackedTable:
    """A table's columns as lists sorted by customer, and where each begins."""

    def __init__(
        self,
        table: str,
        columns: dict[str, Cells],
        starts: list[int],
    ) -> None:
        self.table = table
        self._columns = columns
        self._spans = list(pairwise(starts))

    @classmethod
    def of(
        cls,
        table: str,
        frame: pd.DataFrame,
        customer_ids: pd.Index,
    ) -> _PackedTable:
        customer = customer_ids.get_indexer(pd.Index(frame[OWNER]))
        order = np.argsort(customer, kind="stable")
        frame = frame.iloc[order]
        starts = np.searchsorted(customer[order], np.arange(len(customer_ids) + 1))
        columns = {}
        for name in map(str, frame.columns):
            is_empty = frame[name].isna()
            if name != OWNER and not is_empty.all():
                columns[name] = _cells(table, name, frame[name], is_empty)
        return cls(table, columns, starts.tolist())

    def of_customer(self, index: int) -> dict[str, Cells | int] | None:
        first, end = self._spans[index]
        if first == end:
            return None
        own: dict[str, Cells | int] = {"": end - first}
        for name, cells in self._columns.items():
            own[name] = cells[first:end]
        return own


def _cells(
    table: str,
    name: str,
    values: pd.Series,
    is_empty: pd.Series,
) -> Cells:
    """Return a column as JSON values: days as numbers, None for an empty cell."""
    if _is_day(table, name):
        seconds = values.to_numpy().astype(DAY_DTYPE).astype("int64")
        cells = (seconds // _SECONDS_PER_DAY).astype("object")
    else:
        cells = values.to_numpy(dtype="object", copy=True)
    if is_empty.any():
        cells[is_empty.to_numpy()] = None
    listed: Cells = cells.tolist()
    return listed


def _is_day(table: str, name: str) -> bool:
    is_of_contract = table in CONTRACTS and name in day_columns(table)
    return is_of_contract or name in _TIME_COLUMNS


def unpacked_rows(packed: Iterable[tuple[str, bytes]]) -> dict[str, pd.DataFrame]:
    """Return the tables that `packed_rows` wrote, with the rows of all customers.

    Parameters
    ----------
    packed : iterable of tuple of str and bytes
        Each customer with its bytes.

    Returns
    -------
    dict of str to DataFrame
        Each has the columns ``customer_id``, ``known_on``, ``until`` and ``stated_on``.
    """
    tables: dict[str, _UnpackedTable] = {}
    for customer_id, content in packed:
        for table, columns in orjson.loads(zlib.decompress(content)).items():
            if table not in tables:
                tables[table] = _UnpackedTable(table)
            tables[table].add(customer_id, columns)
    return {name: table.frame() for name, table in tables.items()}


class _UnpackedTable:
    """Collects the rows of one table, customer by customer."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._customer_ids: list[str] = []
        self._row_counts: list[int] = []
        self._columns: dict[str, Cells] = {}
        self._n_rows = 0

    def add(self, customer_id: str, columns: dict[str, Cells | int]) -> None:
        n_rows = columns.pop("")
        assert isinstance(n_rows, int)
        for name, cells in columns.items():
            assert isinstance(cells, list)
            column = self._columns.get(name)
            if column is None:
                column = [None] * self._n_rows
                self._columns[name] = column
            elif len(column) < self._n_rows:
                column.extend([None] * (self._n_rows - len(column)))
            column.extend(cells)
        self._customer_ids.append(customer_id)
        self._row_counts.append(n_rows)
        self._n_rows += n_rows

    def frame(self) -> pd.DataFrame:
        owners = np.repeat(
            np.array(self._customer_ids, dtype="object"), self._row_counts
        )
        series = {OWNER: pd.Series(owners, dtype="str")}
        for name in (*self._names(), *_TIME_COLUMNS):
            cells = self._columns.get(name, [])
            cells = cells + [None] * (self._n_rows - len(cells))
            series[name] = _column(self._table, name, cells)
        return pd.DataFrame(series)

    def _names(self) -> list[str]:
        """Return the names of the contract's columns first, then any others."""
        names = list(CONTRACTS[self._table].columns) if self._table in CONTRACTS else []
        names += [name for name in self._columns if name not in names]
        return [name for name in names if name not in (OWNER, *_TIME_COLUMNS)]


def _column(table: str, name: str, cells: Cells) -> pd.Series:
    """Return a column in the ledger's type."""
    if _is_day(table, name):
        return days_column(np.array(cells, dtype="float64"))
    if table in CONTRACTS and name in number_columns(table):
        return pd.Series(np.array(cells, dtype="float64"))
    return pd.Series(cells, dtype="str")


def days_column(numbers: np.ndarray) -> pd.Series:
    """Return day numbers as a column of days; NaN is an empty day."""
    days = np.full(len(numbers), np.datetime64("NaT"), dtype=DAY_DTYPE)
    is_filled = np.isfinite(numbers)
    seconds = numbers[is_filled].astype("int64") * _SECONDS_PER_DAY
    days[is_filled] = seconds.astype(DAY_DTYPE)
    return pd.Series(days)
