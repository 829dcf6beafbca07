"""Rows on disk in buckets of customers, so that a ledger of any size fits in memory.

What happened to an invoice does not name its customer: it is first put with the invoice
by the invoice's id, and then with its customer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from obligor.arrays import Ints
from obligor.data.ledger import OF_INVOICE
from obligor.data.row_packing import OWNER, packed_rows, unpacked_rows

_LENGTH = struct.Struct("<I")
_CUSTOMER = "#customer"
_EXCLUDED = "\x00excluded"
_DOCUMENTS = "documents"

Tables = dict[str, pd.DataFrame]


class Spool:
    """Takes the tables of a ledger in any order, and gives them by customers.

    Parameters
    ----------
    folder : Path
        An empty folder; what is in it afterwards is worth nothing to anybody.
    n_buckets : int
        Into how many buckets the customers are divided.
    """

    def __init__(self, folder: Path, n_buckets: int) -> None:
        self.n_buckets = n_buckets
        self._by_customer = _Buckets(folder / "customers", n_buckets)
        self._by_invoice = _Buckets(folder / "invoices", n_buckets)
        self._columns: dict[str, dict[str, None]] = {}
        # Few rows: they name neither a customer nor an invoice.
        self._others: dict[str, list[pd.DataFrame]] = {}
        # Ids of invoices that several customers have.
        self.contested_ids = set[str]()
        # How many rows were dropped, because their invoice is left out.
        self.n_excluded: dict[str, int] = {}

    def add(self, table: str, frame: pd.DataFrame) -> None:
        """Add rows of a table.

        Parameters
        ----------
        table : str
            The table.
        frame : DataFrame
            Its rows, with `PLACE_COLUMNS`.
        """
        columns = self._columns.setdefault(table, {})
        columns.update(dict.fromkeys(map(str, frame.columns)))
        if table in OF_INVOICE and "invoice_id" in frame:
            has_invoice = frame["invoice_id"].notna()
            self._by_invoice.add(table, frame[has_invoice], "invoice_id")
            frame = frame[~has_invoice]
        elif table == "invoices" and {"invoice_id", OWNER} <= set(frame):
            owners = frame[["invoice_id", OWNER]].dropna()
            self._by_invoice.add("invoices", owners, "invoice_id")
            if "document_id" in frame:
                # A document is named instead of its items.
                documents = frame[["document_id", OWNER]].dropna().drop_duplicates()
                documents = documents.set_axis(["invoice_id", OWNER], axis=1)
                self._by_invoice.add(_DOCUMENTS, documents, "invoice_id")
        if OWNER in frame:
            has_customer = frame[OWNER].notna()
            self._by_customer.add(table, frame[has_customer], OWNER)
            frame = frame[~has_customer]
        if len(frame):
            self._others.setdefault(table, []).append(frame)

    def exclude(self, invoice_ids: pd.Index) -> None:
        """Leave out what happened to some invoices."""
        ids = pd.Series(invoice_ids, dtype="str")
        frame = pd.DataFrame({"invoice_id": ids, OWNER: _EXCLUDED})
        self._by_invoice.add("invoices", frame, "invoice_id")

    def join(self) -> Iterator[int]:
        """Put what happened to invoices with their customers; yield each bucket."""
        for bucket in range(self.n_buckets):
            tables = self._by_invoice.read(bucket)
            owners = self._owners(tables.pop("invoices", None))
            owners = _with_documents(owners, tables.pop(_DOCUMENTS, None))
            for table, frame in tables.items():
                owner = frame["invoice_id"].map(owners).astype("str")
                is_excluded = owner == _EXCLUDED
                n_excluded = int(is_excluded.sum())
                if n_excluded:
                    earlier = self.n_excluded.get(table, 0)
                    self.n_excluded[table] = earlier + n_excluded
                rest = frame[~is_excluded].assign(**{_CUSTOMER: owner[~is_excluded]})
                if OWNER in rest:
                    rest[_CUSTOMER] = rest[_CUSTOMER].fillna(rest[OWNER])
                # Of an unknown invoice: the check of any bucket finds that out.
                rest[_CUSTOMER] = rest[_CUSTOMER].fillna(rest["invoice_id"])
                self._by_customer.add(table, rest, _CUSTOMER)
            yield bucket

    def _owners(self, invoices: pd.DataFrame | None) -> pd.Series:
        if invoices is None:
            return pd.Series(dtype="str")
        pairs = invoices[["invoice_id", OWNER]].drop_duplicates()
        is_included = pairs[pairs[OWNER] != _EXCLUDED]
        is_contested = is_included["invoice_id"].duplicated(keep=False)
        self.contested_ids.update(is_included.loc[is_contested, "invoice_id"])
        # An invoice that is both left out and read is read.
        ordered = pd.concat([is_included, pairs[pairs[OWNER] == _EXCLUDED]])
        owners: pd.Series = ordered.drop_duplicates("invoice_id").set_index(
            "invoice_id"
        )[OWNER]
        return owners

    def buckets(self) -> Iterator[Tables]:
        """Yield all tables of some customers after the other; rows by their number."""
        for bucket in range(self.n_buckets):
            tables = self._by_customer.read(bucket)
            if bucket == 0:
                self._add_others(tables)
            if tables:
                yield {
                    table: _numbered(frame).reindex(columns=list(self._columns[table]))
                    for table, frame in tables.items()
                }

    def _add_others(self, tables: Tables) -> None:
        for table, frames in self._others.items():
            others = pd.concat(frames)
            own = tables.get(table)
            tables[table] = others if own is None else pd.concat([own, others])


def _with_documents(owners: pd.Series, documents: pd.DataFrame | None) -> pd.Series:
    """Return the owners of invoices and, by their ids, those of documents.

    An invoice is meant rather than a document of the same id; a document of several
    customers is nobody's.
    """
    if documents is None:
        return owners
    pairs = documents[["invoice_id", OWNER]].drop_duplicates()
    pairs = pairs[~pairs["invoice_id"].duplicated(keep=False)]
    own = pairs.set_index("invoice_id")[OWNER].drop(owners.index, errors="ignore")
    both: pd.Series = pd.concat([owners, own])
    return both


def _numbered(frame: pd.DataFrame) -> pd.DataFrame:
    """Return rows in the order of their source, with its numbers as labels."""
    numbered = frame.drop(columns=_CUSTOMER, errors="ignore")
    numbered.index = pd.Index(numbered["#row"].to_numpy().astype("int64"))
    return numbered.sort_index()


class _Buckets:
    """Files of rows, one for each bucket."""

    def __init__(self, folder: Path, n_buckets: int) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._n_buckets = n_buckets

    def add(
        self,
        table: str,
        frame: pd.DataFrame,
        column: str,
    ) -> None:
        """Add rows to the buckets of a column's texts.

        Parameters
        ----------
        table : str
            The table.
        frame : DataFrame
            Its rows.
        column : str
            The column.
        """
        if frame.empty:
            return
        bucket = bucket_of(frame[column], self._n_buckets)
        named = frame.rename(columns={OWNER: _renamed(OWNER)})
        named[OWNER] = pd.Series(bucket.astype("str"), index=frame.index, dtype="str")
        for name, content in packed_rows({table: named}):
            with (self._folder / name).open("ab") as file:
                file.write(_LENGTH.pack(len(content)) + content)

    def read(self, bucket: int) -> Tables:
        """Return the rows of a bucket, and delete them on disk."""
        path = self._folder / str(bucket)
        if not path.exists():
            return {}
        tables = unpacked_rows(_records(path))
        path.unlink()
        return {table: _restored(frame) for table, frame in tables.items()}


def _records(path: Path) -> Iterator[tuple[str, bytes]]:
    with path.open("rb") as file:
        while head := file.read(_LENGTH.size):
            (length,) = _LENGTH.unpack(head)
            yield path.name, file.read(length)


def _renamed(name: str) -> str:
    return f"{name} "


def _restored(frame: pd.DataFrame) -> pd.DataFrame:
    """Return rows with their own column of customers, without columns of no cells."""
    frame = frame.drop(columns=OWNER).rename(columns={_renamed(OWNER): OWNER})
    return frame.dropna(axis="columns", how="all")


def bucket_of(texts: pd.Series, n_buckets: int) -> Ints:
    """Return the bucket of each text."""
    hashes = pd.util.hash_array(texts.to_numpy(dtype=object), categorize=False)
    buckets: Ints = (hashes % np.uint64(n_buckets)).astype(np.int64)
    return buckets
