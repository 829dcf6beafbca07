"""Updating a loaded ledger.

An update goes customer by customer, in batches of one transaction each. What a killed
process has finished stays; a second run finds those rows stored, and goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

import numpy as np
import pandas as pd
import sqlalchemy as sa

from obligor.arrays import Ints
from obligor.data.appending import Appender
from obligor.data.batch_update import BatchUpdate, Ended, Snapshot
from obligor.data.bookkeeping import ACCOUNT_TABLES
from obligor.data.checks import LedgerCheck
from obligor.data.ledger import Ledger
from obligor.data.loaded_ledger import LoadedLedger
from obligor.data.row_building import (
    earlier_masters,
    ledger_of_rows,
    nothing_set_aside,
    packed_accounts,
    parts_of,
    write_rates,
)
from obligor.data.row_ownership import (
    Lookup,
    Ownership,
    is_shared,
    no_lookup,
    owned_tables,
)
from obligor.data.row_packing import OWNER, SET_ASIDE, UNTIL
from obligor.data.row_store import LedgerState
from obligor.data.store import LedgerStore, write_export_day
from obligor.data.stored_ledger import StoredLedger
from obligor.data.updating import (
    SAME,
    TAKEN,
    VERDICTS,
    Tables,
    has_made_up_ids,
    key_texts,
    merge,
    rows_of,
)
from obligor.errors import SchemaError

# With 40 invoices each, a batch takes 150 MB and 2 s.
CUSTOMERS_AT_ONCE = 4_000

# Called with the rows done so far and the rows of all.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Arrival:
    """Checked rows that arrive together.

    Attributes
    ----------
    ledger : Ledger
        The good rows. They may refer to rows of the store.
    set_aside : DataFrame
        Rows that could not be used: ``customer_id``, ``table`` and ``key``.
    snapshot : Snapshot, optional
        Which tables name everything there is, so that what they lack is over.
    has_ids : bool
        Whether the ids are certainly the sender's, even if they are like those that we
        make up for a source without any.
    """

    ledger: Ledger
    set_aside: pd.DataFrame
    snapshot: Snapshot | None = None
    has_ids: bool = False


def arrival_of(check: LedgerCheck, stored: StoredLedger | None = None) -> Arrival:
    """Return the rows of a checked ledger, and those that it could not use.

    Parameters
    ----------
    check : LedgerCheck
        The outcome of a check that did not refuse the ledger.
    stored : StoredLedger, optional
        The loaded ledger that the rows may refer to.
    """
    lookup = stored.owners if stored else no_lookup
    ownership = Ownership(lookup)
    for tables in (check.ledger.tables, check.quarantined):
        for table in ("invoices", "payments"):
            if table in tables:
                ownership.learn(table, tables[table])
    marks = [nothing_set_aside()]
    for table in ACCOUNT_TABLES:
        if table in check.quarantined:
            lost = _lost_rows(check, table)
            mark = pd.DataFrame({OWNER: ownership.of_rows(table, lost)})
            mark["table"] = table
            mark["key"] = key_texts(table, lost)
            marks.append(mark)
    set_aside = pd.concat(marks, ignore_index=True)
    set_aside = set_aside[_has_customer(set_aside[OWNER], check, lookup)]
    return Arrival(check.ledger, set_aside.drop_duplicates(ignore_index=True))


def _lost_rows(check: LedgerCheck, table: str) -> pd.DataFrame:
    """Return the rows that were set aside, but for those that repeat a used one."""
    rows = check.quarantined[table]
    both = pd.concat([check.ledger[table], rows]).reindex(columns=rows.columns)
    is_repeated = both.duplicated().to_numpy()[len(both) - len(rows) :]
    return rows[~is_repeated]


def _has_customer(
    owner: pd.Series,
    check: LedgerCheck,
    lookup: Lookup,
) -> pd.Series:
    """Return which rows are of a customer that the ledger has."""
    is_new = owner.isin(check.ledger["customers"][OWNER])
    return owner.notna() & (is_new | owner.isin(lookup("customers", owner)))


@dataclass
class UpdateResult:
    """What became of the rows of an update.

    Attributes
    ----------
    verdicts : dict of str to array of int
        For each table `TAKEN`, `SAME` or `CHANGED` for each row, in its order.
    touched : set of str
        The customers whose account was built anew.
    ended : Ended
        The rows that a snapshot ended.
    """

    verdicts: dict[str, Ints] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    ended: Ended = field(default_factory=Ended)

    def counts(self, table: str) -> dict[str, int]:
        """Return how many rows of a table have each verdict, by its name."""
        verdicts = self.verdicts.get(table, np.empty(0, dtype=np.int64))
        numbers = np.bincount(verdicts, minlength=len(VERDICTS))
        return dict(zip(VERDICTS, numbers.tolist(), strict=True))


@dataclass(frozen=True)
class _Batch:
    """The rows of some customers, and their positions among all rows of a table."""

    customer_ids: pd.Index
    tables: Tables
    positions: Mapping[str, Ints]
    snapshot: Snapshot | None = None

    def n_rows(self) -> int:
        return sum(map(len, self.tables.values()))


@dataclass
class UpdateCounts:
    """How many rows of each table have each verdict, by its name, over several updates.

    Attributes
    ----------
    by_table : dict of str to dict of str to int
        The counts.
    """

    by_table: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, result: UpdateResult) -> None:
        """Add the rows of another update."""
        for table in result.verdicts:
            counts = self.by_table.setdefault(table, dict.fromkeys(VERDICTS, 0))
            for verdict, number in result.counts(table).items():
                counts[verdict] += number


class LedgerUpdate:
    """Brings a loaded ledger up to date.

    Parameters
    ----------
    store : LedgerStore
        Where the ledger is loaded.
    today : date
        The day from which on what arrives is known.
    progress : callable
        Called after each batch.
    """

    def __init__(
        self,
        store: LedgerStore,
        today: date,
        progress: Progress = lambda n_done, n_all: None,
    ) -> None:
        self._store = store
        self._rows = store.rows
        self._today = today
        self._day = pd.Timestamp(today).as_unit("s")
        self._progress = progress
        self._is_dated = False
        self._has_payment_ids = True

    def apply(self, arrival: Arrival) -> UpdateResult:
        """Update the store, one transaction for each batch of customers.

        Parameters
        ----------
        arrival : Arrival
            The rows.

        Returns
        -------
        UpdateResult
            What became of each row.

        Raises
        ------
        SchemaError
            If no ledger is loaded that can be updated.
        """
        result = UpdateResult()
        with self._rows.writing() as connection:
            batches = self._begin(connection, arrival, result)
        n_all = max(1, sum(batch.n_rows() for batch in batches))
        n_done = 0
        for batch in batches:
            with self._rows.writing() as connection:
                self._apply_batch(connection, batch, result)
            n_done += batch.n_rows()
            self._progress(n_done, n_all)
        if _names_parents(arrival.ledger):
            with self._rows.writing() as connection:
                self._write_links(connection)
        return result

    def apply_at_once(
        self, arrival_of_loaded: Callable[[LoadedLedger], Arrival]
    ) -> UpdateResult:
        """Check rows and update the store in one transaction.

        Parameters
        ----------
        arrival_of_loaded : callable
            Checks the rows against the loaded ledger.

        Returns
        -------
        UpdateResult
            What became of each row.

        Raises
        ------
        SchemaError
            If no ledger is loaded that can be updated.
        """
        result = UpdateResult()
        with self._rows.writing() as connection:
            state = self._store.updatable_state(connection)
            loaded = LoadedLedger(self._rows, connection, state)
            arrival = arrival_of_loaded(loaded)
            for batch in self._begin(connection, arrival, result):
                self._apply_batch(connection, batch, result)
            if _names_parents(arrival.ledger):
                self._write_links(connection)
        return result

    def _write_links(self, connection: sa.Connection) -> None:
        """Work out anew who belongs to whom; that takes all customers."""
        state = self._store.updatable_state(connection)
        parts = list[pd.DataFrame]()
        customer_ids = self._rows.every_customer(connection)
        for start in range(0, len(customer_ids), CUSTOMERS_AT_ONCE):
            part_ids = customer_ids[start : start + CUSTOMERS_AT_ONCE]
            rows = self._rows.read(connection, part_ids)
            parts.append(ledger_of_rows(rows, state)["customers"])
        groups = self._rows.read_shared(connection, "groups")
        tables = {
            "customers": pd.concat(parts, ignore_index=True),
            "groups": groups[groups[UNTIL].isna()],
        }
        ledger = Ledger(tables, state.currency)
        self._store.parties.update_links(connection, ledger, self._today)

    def _begin(
        self,
        connection: sa.Connection,
        arrival: Arrival,
        result: UpdateResult,
    ) -> list[_Batch]:
        """Update what is true of the whole ledger; return the rows of customers."""
        ledger = arrival.ledger
        self._is_dated = ledger.exported_on is not None
        self._has_payment_ids = arrival.has_ids or not has_made_up_ids(
            ledger["payments"]
        )
        state = self._updatable_state(connection, ledger)
        self._merge_shared(connection, ledger, result)
        if any(len(frame) for frame in ledger.tables.values()):
            self._rows.save_state(connection, self._extended(state, ledger))
        tables = owned_tables(
            ledger, LoadedLedger(self._rows, connection, state).owners
        )
        if len(arrival.set_aside):
            marks = arrival.set_aside.assign(known_on=self._day)
            tables[SET_ASIDE] = marks.reset_index(drop=True)
        for table, frame in tables.items():
            result.verdicts[table] = np.full(len(frame), SAME)
        neighbours = self._neighbours(connection, tables)
        batches = list(_batches(tables, neighbours))
        if arrival.snapshot is None:
            return batches
        batches = [replace(batch, snapshot=arrival.snapshot) for batch in batches]
        return [*batches, *self._others(connection, batches, arrival.snapshot)]

    def _write_export_day(self, connection: sa.Connection) -> None:
        """Have questions without a day be about one on which the rows are known."""
        write_export_day(connection, self._today if self._is_dated else None)

    def _others(
        self,
        connection: sa.Connection,
        batches: Sequence[_Batch],
        snapshot: Snapshot,
    ) -> Iterator[_Batch]:
        """Yield the customers of whom a snapshot lists nothing."""
        listed = set[str]()
        for batch in batches:
            listed.update(batch.customer_ids)
        others = [
            customer_id
            for customer_id in self._rows.every_customer(connection)
            if customer_id not in listed
        ]
        for start in range(0, len(others), CUSTOMERS_AT_ONCE):
            customer_ids = pd.Index(others[start : start + CUSTOMERS_AT_ONCE])
            yield _Batch(customer_ids, {}, {}, snapshot)

    def _updatable_state(
        self, connection: sa.Connection, ledger: Ledger
    ) -> LedgerState:
        state = self._store.updatable_state(connection)
        if state.currency != ledger.currency:
            raise SchemaError(
                f"the loaded ledger is in {state.currency}, this one is in "
                f"{ledger.currency}",
                where="currency",
                expected="one reporting currency",
                do="correct the mapping, or load the whole ledger with --replace",
            )
        return state

    def _extended(self, state: LedgerState, ledger: Ledger) -> LedgerState:
        """Return the state with the currencies and tables that are new."""
        currencies = dict.fromkeys(state.currencies)
        for frame in ledger.tables.values():
            if "currency" in frame:
                currencies.update(dict.fromkeys(frame["currency"].dropna().unique()))
        observed_until = ledger.exported_on or self._today
        covered = state.updated(self._today, observed_until)
        return replace(
            covered,
            currencies=tuple(currencies),
            tables=covered.tables | set(ledger.tables),
        )

    def _merge_shared(
        self,
        connection: sa.Connection,
        ledger: Ledger,
        result: UpdateResult,
    ) -> None:
        for table in filter(is_shared, ledger.tables):
            stored = self._rows.read_shared(connection, table)
            arrived = ledger[table].assign(**{OWNER: ""})
            update = merge(table, stored, arrived, self._day)
            result.verdicts[table] = update.verdicts
            if (update.verdicts != SAME).any():
                self._rows.write_shared(connection, table, update.frame)
                self._write_export_day(connection)
                if table == "fx_rates":
                    rates = Ledger({table: update.frame}, ledger.currency)
                    write_rates(connection, rates)

    def _neighbours(self, connection: sa.Connection, tables: Tables) -> pd.Index:
        """Return the customers between whom invoices and payments may move.

        They are updated in one transaction.
        """
        neighbours = list[pd.Series]()
        for table, column in (("invoices", "invoice_id"), ("payments", "payment_id")):
            if table not in tables:
                continue
            arrived = tables[table][[column, OWNER]].rename(columns={column: "id"})
            stored = self._rows.owners(connection, table, arrived["id"])
            pairs = arrived.merge(stored, on="id", suffixes=("", "_stored"))
            differs = pairs[OWNER] != pairs[f"{OWNER}_stored"]
            neighbours.append(pairs.loc[differs, OWNER])
            neighbours.append(pairs.loc[differs, f"{OWNER}_stored"])
        return pd.Index(pd.concat(neighbours).unique()) if neighbours else pd.Index([])

    def _apply_batch(
        self,
        connection: sa.Connection,
        batch: _Batch,
        result: UpdateResult,
    ) -> None:
        if batch.snapshot is None and self._has_payment_ids:
            batch = self._appended(connection, batch, result)
        if batch.customer_ids.empty:
            return
        stored = self._rows.read(connection, batch.customer_ids)
        update = BatchUpdate(stored, self._day, self._has_payment_ids)
        for table, arrived in batch.tables.items():
            verdicts = update.merge(table, arrived)
            result.verdicts[table][batch.positions[table]] = verdicts
        update.clear_marks(batch.tables)
        update.follow_invoices()
        if batch.snapshot is not None:
            state = self._store.updatable_state(connection)
            result.ended.add(update.end_missing(batch.snapshot, state))
        if update.touched:
            result.touched |= update.touched
            touched = pd.Index(sorted(update.touched))
            self._write(connection, update.frames, touched)
            self._rows.write_ids(connection, update.new_rows)

    def _appended(
        self,
        connection: sa.Connection,
        batch: _Batch,
        result: UpdateResult,
    ) -> _Batch:
        """Add the rows that change no stored one; return the batch without them."""
        state = self._store.updatable_state(connection)
        appender = Appender(self._rows, connection, state, self._day)
        customer_ids = appender.append(batch.tables)
        if customer_ids.empty:
            return batch
        self._write_export_day(connection)
        result.touched.update(customer_ids)
        tables = {}
        positions = {}
        for table, frame in batch.tables.items():
            is_added = rows_of(frame, customer_ids)
            result.verdicts[table][batch.positions[table][is_added]] = TAKEN
            tables[table] = frame[~is_added]
            positions[table] = batch.positions[table][~is_added]
        return _Batch(
            customer_ids=batch.customer_ids.difference(customer_ids),
            tables=tables,
            positions=positions,
        )

    def _write(
        self,
        connection: sa.Connection,
        frames: Tables,
        touched: pd.Index,
    ) -> None:
        """Write the rows of the touched customers, and the accounts they make."""
        state = self._store.updatable_state(connection)
        self._write_export_day(connection)
        own = {table: frame[rows_of(frame, touched)] for table, frame in frames.items()}
        shared = {
            table: self._rows.read_shared(connection, table)
            for table in filter(is_shared, state.tables)
        }
        for part in parts_of(own):
            ledger = ledger_of_rows({**part, **shared}, state)
            accounts = packed_accounts(ledger, state, earlier_masters(part))
            self._rows.write(connection, part, accounts)
            customer_ids = ledger["customers"][OWNER].tolist()
            self._store.parties.update(connection, ledger, customer_ids)


def _names_parents(ledger: Ledger) -> bool:
    """Return whether rows may say who belongs to whom."""
    named = {"parent_id", "lei"} & set(ledger["customers"].columns)
    return "groups" in ledger.tables or ("customers" in ledger.tables and bool(named))


def _batches(tables: Tables, neighbours: pd.Index) -> Iterator[_Batch]:
    """Yield the rows in batches of customers; neighbours are in the first batch."""
    owners = [pd.Index(frame[OWNER]) for frame in tables.values() if len(frame)]
    if not owners:
        return
    customer_ids = owners[0].append(owners[1:]).unique().sort_values()
    is_neighbour = neighbours.get_indexer(customer_ids) >= 0
    number = (np.cumsum(~is_neighbour) - 1) // CUSTOMERS_AT_ONCE
    number[is_neighbour] = 0
    by_table = {}
    for table, frame in tables.items():
        row_number = number[customer_ids.get_indexer(pd.Index(frame[OWNER]))]
        by_table[table] = row_number
    for batch_number in range(int(number.max()) + 1):
        positions = {}
        for table, row_number in by_table.items():
            own = np.flatnonzero(row_number == batch_number)
            if len(own):
                positions[table] = own
        batch_ids = customer_ids[number == batch_number]
        if batch_number == 0:
            batch_ids = batch_ids.union(neighbours)
        yield _Batch(
            customer_ids=batch_ids,
            tables={table: tables[table].iloc[own] for table, own in positions.items()},
            positions=positions,
        )
