"""Source rows as bytes: one compressed text per customer, read and written in bulk.

Each table is stored column by column: days as whole numbers from 1970-01-01, amounts as
floats, texts one after the other. Columns can be added later: one that a customer's
bytes lack is empty.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa

from obligor.data.ledger import CONTRACTS, DAY_DTYPE, day_columns, number_columns

OWNER = "customer_id"
# The first day on which a row is no longer true; empty if it still is.
UNTIL = "until"
# The source's own `known_on`, if the row became known to us on a later day.
STATED_ON = "stated_on"
# Rows of a customer that could not be used: of which table, and their key.
SET_ASIDE = "set_aside"

# The number of a row in its table, its line, and the number of its file.
PLACE_COLUMNS = ("#row", "#line", "#file")
_TIME_COLUMNS = ("known_on", UNTIL, STATED_ON)
_SECONDS_PER_DAY = 86_400
# 2 us for a customer's 4 kB, which become 2; zlib takes 60 us to make 1.6 of them.
_CODEC = pa.Codec("lz4_raw")
# The length of all without compression, and of the header.
_HEAD = struct.Struct("<II")
_NO_DAY = -(2**31)
# Between texts, and in place of an empty one. A column with such a sign is JSON.
_SEPARATOR = "\x1e"
_EMPTY = "\x00"
_ALIKE = b"="
_JOINED = b"|"
_JSON = b"j"


def packed_rows(tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, bytes]]:
    """Yield every customer of some tables with the customer's rows as bytes.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Each has the column ``customer_id``; the rows of a customer keep their order.
    """
    filled = {table: frame for table, frame in tables.items() if len(frame)}
    owners = [pd.Index(frame[OWNER].to_numpy(object)) for frame in filled.values()]
    if not owners:
        return
    customer_ids = owners[0].append(owners[1:]).unique().sort_values()
    parts = [
        _PackedTable(table, frame, customer_ids) for table, frame in filled.items()
    ]
    for index, customer_id in enumerate(customer_ids.tolist()):
        header: dict[str, list[object]] = {}
        payload = list[bytes]()
        for part in parts:
            part.add(index, header, payload)
        yield customer_id, _compressed(orjson.dumps(header), payload)


def _compressed(header: bytes, payload: Sequence[bytes]) -> bytes:
    content = b"".join([header, *payload])
    head = _HEAD.pack(len(content), len(header))
    compressed: bytes = head + _CODEC.compress(content, asbytes=True)
    return compressed


class _Column(Protocol):
    """A column of which slices become bytes."""

    def packed(self, first: int, end: int) -> bytes:
        """Return some rows as bytes; nothing if all of them are empty."""


class _NumberColumn:
    def __init__(self, values: np.ndarray, empty: float) -> None:
        self._content = values.tobytes()
        self._width = values.itemsize
        self._empty = np.array(empty, dtype=values.dtype).tobytes()
        is_empty = np.isnan(values) if np.isnan(empty) else values == empty
        self._is_full = not is_empty.any()

    def packed(self, first: int, end: int) -> bytes:
        content = self._content[first * self._width : end * self._width]
        is_empty = not self._is_full and content == self._empty * (end - first)
        return b"" if is_empty else content


class _TextColumn:
    def __init__(self, cells: list[str | None]) -> None:
        self._cells = cells
        self._texts = [_EMPTY if cell is None else cell for cell in cells]
        distinct = set(self._texts)
        self._is_plain = not any(_SEPARATOR in text for text in distinct)
        # Not of ids: looking for equal ones takes as long as joining them.
        self._is_repeated = len(distinct) * 4 < len(cells) or _EMPTY in distinct

    def packed(self, first: int, end: int) -> bytes:
        texts = self._texts[first:end]
        if self._is_repeated and texts.count(texts[0]) == len(texts):
            return b"" if texts[0] == _EMPTY else _ALIKE + texts[0].encode()
        if self._is_plain:
            return _JOINED + _SEPARATOR.join(texts).encode()
        return _JSON + orjson.dumps(self._cells[first:end])


class _PackedTable:
    """A table's columns sorted by customer, and where each customer begins."""

    def __init__(
        self,
        table: str,
        frame: pd.DataFrame,
        customer_ids: pd.Index,
    ) -> None:
        customer = customer_ids.get_indexer(pd.Index(frame[OWNER].to_numpy(object)))
        order = np.argsort(customer, kind="stable")
        frame = frame.iloc[order]
        starts = np.searchsorted(customer[order], np.arange(len(customer_ids) + 1))
        self._table = table
        self._spans = list(pairwise(starts.tolist()))
        self._columns: dict[str, _Column] = {}
        for name in map(str, frame.columns):
            if name != OWNER and frame[name].notna().any():
                self._columns[name] = _packable(table, name, frame[name])

    def add(
        self,
        index: int,
        header: dict[str, list[object]],
        payload: list[bytes],
    ) -> None:
        """Add the rows of a customer to what is stored of the customer."""
        first, end = self._spans[index]
        if first == end:
            return
        lengths: dict[str, int] = {}
        for name, column in self._columns.items():
            content = column.packed(first, end)
            if content:
                lengths[name] = len(content)
                payload.append(content)
        header[self._table] = [end - first, lengths]


def _packable(table: str, name: str, values: pd.Series) -> _Column:
    if _is_day(table, name):
        seconds = values.to_numpy().astype(DAY_DTYPE).astype("int64")
        numbers = (seconds // _SECONDS_PER_DAY).astype("int32")
        numbers[values.isna().to_numpy()] = _NO_DAY
        return _NumberColumn(numbers, _NO_DAY)
    if _is_number(table, name):
        return _NumberColumn(values.to_numpy(dtype="float64", na_value=np.nan), np.nan)
    cells = values.to_numpy(dtype="object", copy=True)
    cells[values.isna().to_numpy()] = None
    return _TextColumn(cells.tolist())


def _is_day(table: str, name: str) -> bool:
    is_of_contract = table in CONTRACTS and name in day_columns(table)
    return is_of_contract or name in _TIME_COLUMNS


def _is_number(table: str, name: str) -> bool:
    is_of_contract = table in CONTRACTS and name in number_columns(table)
    # Those of a spool, which say where a row was.
    return is_of_contract or name in PLACE_COLUMNS


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
    for customer_id, compressed in packed:
        n_bytes, offset = _HEAD.unpack_from(compressed)
        content = _CODEC.decompress(compressed[_HEAD.size :], n_bytes, asbytes=True)
        header = orjson.loads(content[:offset])
        for table, (n_rows, lengths) in header.items():
            if table not in tables:
                tables[table] = _UnpackedTable(table)
            tables[table].begin(customer_id, n_rows)
            for name, length in lengths.items():
                end = offset + length
                tables[table].add(name, n_rows, content[offset:end])
                offset = end
    return {name: table.frame() for name, table in tables.items()}


class _UnpackedTable:
    """Collects the rows of one table, customer by customer."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._customer_ids: list[str] = []
        self._row_counts: list[int] = []
        self._n_rows = 0
        self._columns: dict[str, _UnpackedColumn] = {}

    def begin(self, customer_id: str, n_rows: int) -> None:
        """Begin with the rows of a customer."""
        self._customer_ids.append(customer_id)
        self._row_counts.append(n_rows)
        self._n_rows += n_rows

    def add(
        self,
        name: str,
        n_rows: int,
        content: bytes,
    ) -> None:
        """Add a column of the customer that was begun last."""
        column = self._columns.get(name)
        if column is None:
            column = _UnpackedColumn(self._table, name)
            self._columns[name] = column
        column.add(self._n_rows - n_rows, n_rows, content)

    def frame(self) -> pd.DataFrame:
        """Return the rows."""
        owners = np.repeat(
            np.array(self._customer_ids, dtype="object"), self._row_counts
        )
        series = {OWNER: pd.Series(owners, dtype="str")}
        for name in (*self._names(), *_TIME_COLUMNS):
            column = self._columns.get(name) or _UnpackedColumn(self._table, name)
            series[name] = column.series(self._n_rows)
        return pd.DataFrame(series)

    def _names(self) -> list[str]:
        """Return the names of the contract's columns first, then any others."""
        names = list(CONTRACTS[self._table].columns) if self._table in CONTRACTS else []
        names += [name for name in self._columns if name not in names]
        return [name for name in names if name not in (OWNER, *_TIME_COLUMNS)]


class _UnpackedColumn:
    """Collects one column; a customer without it has empty cells."""

    def __init__(self, table: str, name: str) -> None:
        self._is_day = _is_day(table, name)
        self._is_number = _is_number(table, name)
        self._parts: list[bytes] = []
        self._texts: list[str | None] = []
        self._n_rows = 0
        self._empty = np.array(_NO_DAY, dtype="int32").tobytes()
        if self._is_number:
            self._empty = np.array(np.nan, dtype="float64").tobytes()

    def add(
        self,
        first: int,
        n_rows: int,
        content: bytes,
    ) -> None:
        """Add rows that begin at a row of the table."""
        self._fill(first)
        self._n_rows += n_rows
        if self._is_day or self._is_number:
            self._parts.append(content)
        elif content[:1] == _ALIKE:
            self._texts.extend([content[1:].decode()] * n_rows)
        elif content[:1] == _JOINED:
            text = content[1:].decode()
            cells: list[str | None] = [*text.split(_SEPARATOR)]
            if _EMPTY in text:
                cells = [None if cell == _EMPTY else cell for cell in cells]
            self._texts.extend(cells)
        else:
            self._texts.extend(orjson.loads(content[1:]))

    def series(self, n_rows: int) -> pd.Series:
        """Return the column in the ledger's type."""
        self._fill(n_rows)
        if self._is_day:
            numbers = np.frombuffer(b"".join(self._parts), dtype="int32")
            return _days(numbers)
        if self._is_number:
            return pd.Series(np.frombuffer(b"".join(self._parts), dtype="float64"))
        return pd.Series(self._texts, dtype="str")

    def _fill(self, n_rows: int) -> None:
        """Fill the rows that were left out."""
        n_missing = n_rows - self._n_rows
        if not n_missing:
            return
        self._n_rows = n_rows
        if self._is_day or self._is_number:
            self._parts.append(self._empty * n_missing)
        else:
            self._texts.extend([None] * n_missing)


def _days(numbers: np.ndarray) -> pd.Series:
    """Return day numbers as a column of days."""
    days = (numbers.astype("int64") * _SECONDS_PER_DAY).astype(DAY_DTYPE)
    days[numbers == _NO_DAY] = np.datetime64("NaT")
    return pd.Series(days)
