"""Loading a ledger for the first time, customers by customers, in one transaction."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import sqlalchemy as sa

from obligor.data.ledger import Ledger
from obligor.data.party_store import PartyStore
from obligor.data.row_building import (
    EVER,
    counts_of,
    packed_accounts,
    write_rates,
)
from obligor.data.row_ownership import is_shared, owned_tables
from obligor.data.row_packing import OWNER, SET_ASIDE
from obligor.data.row_store import LedgerState, RowStore, ids_of
from obligor.data.updating import first_rows

# Ids are sorted in so many parts.
_PARTS = 256
_SEPARATOR = "\x00"
_LENGTH = struct.Struct("<II")


class FirstLoad:
    """Writes a ledger part by part; nobody sees anything before the end.

    Parameters
    ----------
    rows : RowStore
        Writes the rows.
    parties : PartyStore
        Writes names, reports and groups.
    connection : Connection
        In a transaction.
    state : LedgerState
        What is true of the whole ledger.
    folder : Path
        An empty folder for what is sorted.
    """

    def __init__(
        self,
        rows: RowStore,
        parties: PartyStore,
        connection: sa.Connection,
        state: LedgerState,
        folder: Path,
    ) -> None:
        self._rows = rows
        self._parties = parties
        self._connection = connection
        self._state = state
        self._ids = _SortedIds(folder)
        self._parents: list[pd.DataFrame] = []

    def add(self, ledger: Ledger, set_aside: pd.DataFrame) -> None:
        """Write all rows of some customers, who are written once.

        Parameters
        ----------
        ledger : Ledger
            Their rows, checked, and the rows of no customer, such as rates.
        set_aside : DataFrame
            Rows that could not be used: ``customer_id``, ``table`` and ``key``.
        """
        owned = owned_tables(ledger)
        tables = {table: first_rows(frame) for table, frame in owned.items()}
        complete = replace(ledger, set_aside=counts_of(set_aside))
        if len(set_aside):
            # Nobody knows since when they are missing: they count for every day.
            tables[SET_ASIDE] = first_rows(set_aside.assign(known_on=EVER))
        accounts = packed_accounts(complete, self._state, {})
        self._rows.write(self._connection, tables, accounts)
        self._parties.add(self._connection, ledger)
        self._ids.add(tables)
        self._parents.append(_naming_parents(ledger["customers"]))

    def finish(self, shared: Ledger) -> None:
        """Write what belongs to no customer.

        Parameters
        ----------
        shared : Ledger
            The rates and the groups.
        """
        for pairs in self._ids.parts():
            self._rows.insert_ids(self._connection, pairs)
        for table in filter(is_shared, shared.tables):
            frame = first_rows(shared[table]).assign(**{OWNER: ""})
            self._rows.write_shared(self._connection, table, frame)
        write_rates(self._connection, shared)
        customers = pd.concat(self._parents, ignore_index=True)
        with_parents = {**shared.tables, "customers": customers}
        groups = replace(shared, tables=with_parents)
        self._parties.add_links(self._connection, groups)
        self._rows.save_state(self._connection, self._state)


def _naming_parents(customers: pd.DataFrame) -> pd.DataFrame:
    """Return the customers who name a parent or have an LEI, by which others do.

    The others would be kept until the end for nothing.
    """
    columns = [OWNER, "parent_id", "lei", "known_on"]
    named = customers.reindex(columns=columns)
    named[["parent_id", "lei"]] = named[["parent_id", "lei"]].astype("str")
    return named[named[["parent_id", "lei"]].notna().any(axis=1)]


class _SortedIds:
    """Ids on disk, in parts of which each is sorted in memory.

    In the order of the index 400,000 are written a second, in any other a tenth.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder

    def add(self, tables: Mapping[str, pd.DataFrame]) -> None:
        """Add the ids of invoices and payments, and those of customers."""
        pairs = sorted(ids_of(tables))
        if not pairs:
            return
        hashes = np.array([hashed for hashed, _ in pairs], dtype=np.int64)
        part = (hashes >> 56) + _PARTS // 2
        starts = np.searchsorted(part, np.arange(_PARTS + 1))
        for number in np.unique(part).tolist():
            first, end = starts[number], starts[number + 1]
            customers = _SEPARATOR.join(
                [owner for _, owner in pairs[first:end]]
            ).encode()
            own_hashes = hashes[first:end].tobytes()
            head = _LENGTH.pack(len(own_hashes), len(customers))
            with (self._folder / f"{number:03d}").open("ab") as file:
                file.write(head + own_hashes + customers)

    def parts(self) -> Iterator[list[tuple[int, str]]]:
        """Yield the pairs of hash and customer in the order of the index."""
        for path in sorted(self._folder.iterdir()):
            pairs = set[tuple[int, str]]()
            with path.open("rb") as file:
                while head := file.read(_LENGTH.size):
                    n_hashes, n_customers = _LENGTH.unpack(head)
                    hashes = np.frombuffer(file.read(n_hashes), dtype=np.int64)
                    customers = file.read(n_customers).decode().split(_SEPARATOR)
                    pairs.update(zip(hashes.tolist(), customers, strict=True))
            path.unlink()
            yield sorted(pairs)
