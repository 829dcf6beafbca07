"""The source rows in the ledger store, which updates are compared with.

A decision never reads them: it reads the packed account beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from hashlib import blake2b
from itertools import chain, islice
from typing import NamedTuple, TypeVar

import orjson
import pandas as pd
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import OperationalError

from obligor.data.coverage import Coverage
from obligor.data.ledger import CONTRACTS, empty_table, sealed_columns
from obligor.data.ledger_tables import (
    ACCOUNTS,
    ADDITIONS,
    FACTS,
    IDS,
    METADATA,
    ROW_PARTS,
    ROWS,
)
from obligor.data.party_store import Seals, has_legal_ids, legal_owners
from obligor.data.row_packing import OWNER, UNTIL, packed_rows, unpacked_rows
from obligor.data.updating import first_rows
from obligor.errors import RecordError

# The customer of rows that belong to none, such as rates.
SHARED_OWNER = ""
# Below the 32,766 variables that SQLite allows in one statement.
IDS_AT_ONCE = 10_000
ROWS_AT_ONCE = 2_000
WAIT_MS = 60_000
_LOCK = 0x0B11605
STATE = "state"
# What rows are sealed for.
PURPOSE = "rows"
_HASH_BYTES = 8


class Indexed(NamedTuple):
    """Where the ids are that answer "whose is it"."""

    table: str
    column: str


# A document is named instead of its items, so that its id leads to a customer too.
INDEXED = {
    "invoices": Indexed("invoices", "invoice_id"),
    "payments": Indexed("payments", "payment_id"),
    "documents": Indexed("invoices", "document_id"),
}

Item = TypeVar("Item")


@dataclass(frozen=True)
class LedgerState:
    """What is true of the whole loaded ledger.

    Attributes
    ----------
    currency : str
        The reporting currency.
    currencies : tuple of str
        Every currency in use, in the order in which accounts number them.
    unapplied_policy : str
        What is done with money that belongs to no item.
    coverage : tuple of Coverage
        One for the first load, one for each day of updates.
    tables : frozenset of str
        The tables that were ever loaded.
    """

    currency: str
    currencies: tuple[str, ...]
    unapplied_policy: str
    coverage: tuple[Coverage, ...] = ()
    tables: frozenset[str] = field(default_factory=frozenset)

    @property
    def observed_until(self) -> date:
        """The last day that the ledger covers."""
        return self.coverage[-1].observed_until

    def updated(self, today: date, observed_until: date) -> LedgerState:
        """Return the state after an update; the same if it covers no further day."""
        last = self.coverage[-1]
        if observed_until <= last.observed_until:
            return self
        newest = Coverage(max(today, last.known_on), observed_until)
        if last.known_on == newest.known_on and len(self.coverage) > 1:
            return replace(self, coverage=(*self.coverage[:-1], newest))
        return replace(self, coverage=(*self.coverage, newest))

    def packed(self) -> bytes:
        """Return the state as JSON."""
        content = {
            "currency": self.currency,
            "currencies": self.currencies,
            "unapplied_policy": self.unapplied_policy,
            "coverage": [[row.known_on, row.observed_until] for row in self.coverage],
            "tables": sorted(self.tables),
        }
        return orjson.dumps(content)

    @classmethod
    def unpacked(cls, content: bytes) -> LedgerState:
        """Return the state that `packed` wrote."""
        values = orjson.loads(content)
        coverage = [
            Coverage(date.fromisoformat(known_on), date.fromisoformat(until))
            for known_on, until in values["coverage"]
        ]
        return cls(
            currency=values["currency"],
            currencies=tuple(values["currencies"]),
            unapplied_policy=values["unapplied_policy"],
            coverage=tuple(coverage),
            tables=frozenset(values["tables"]),
        )


@dataclass(frozen=True)
class StoredAccount:
    """A customer's packed account, to be written beside the rows it was built from."""

    customer_id: str
    account: bytes


@dataclass(frozen=True)
class PackedAccount:
    """A stored account and what was added to it since, both as bytes."""

    account: bytes
    addition: bytes | None


@dataclass(frozen=True)
class AddedPart:
    """Rows that were added to those of a customer, and what they add to the account.

    Attributes
    ----------
    customer_id : str
        The customer.
    number : int
        How many parts the customer had before.
    rows : bytes
        The rows.
    addition : bytes
        All that was added to the account by now.
    """

    customer_id: str
    number: int
    rows: bytes
    addition: bytes


class RowStore:
    """Reads and writes source rows within a transaction.

    Parameters
    ----------
    engine : Engine
        Of the ledger store.
    open_seals : callable
        Opens what seals personal cells, if there are any.
    """

    def __init__(self, engine: sa.Engine, open_seals: Callable[[], Seals]) -> None:
        self.engine = engine
        self._open_seals = open_seals

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Give a connection with one transaction; one process writes at a time.

        Raises
        ------
        RecordError
            If another process writes for a minute, or the database cannot write.
        """
        try:
            with self.engine.connect() as connection:
                self._lock(connection)
                yield connection
                connection.commit()
        except OperationalError as error:
            raise _cannot_write(error) from None

    def _lock(self, connection: sa.Connection) -> None:
        if self.engine.dialect.name == "sqlite":
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {WAIT_MS}")
            # Reading first and locking then would fail if another one has written.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            return
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {WAIT_MS}")
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        connection.exec_driver_sql("SET LOCAL lock_timeout = 0")

    def state(self, connection: sa.Connection) -> LedgerState | None:
        """Return the state; None if nothing is loaded, or by an earlier version."""
        query = sa.select(FACTS.c.value).where(FACTS.c.name == STATE)
        content = connection.scalar(query)
        return None if content is None else LedgerState.unpacked(bytes(content))

    def save_state(self, connection: sa.Connection, state: LedgerState) -> None:
        """Write the state."""
        connection.execute(FACTS.delete().where(FACTS.c.name == STATE))
        row = {"name": STATE, "value": state.packed()}
        connection.execute(FACTS.insert(), [row])

    # --- whose rows they are

    def owners(
        self,
        connection: sa.Connection,
        table: str,
        ids: pd.Series,
    ) -> pd.DataFrame:
        """Return the customers who may have rows with some ids.

        Parameters
        ----------
        connection : Connection
            In a transaction.
        table : str
            One of `INDEXED`.
        ids : Series of str
            Ids of invoices, payments or documents.

        Returns
        -------
        DataFrame
            Columns ``id`` and ``customer_id``: no row for an unknown id, several for
            one that more than one customer has. A pair can be wrong, if two ids have
            one hash; it is never missing.
        """
        unique_ids = ids.dropna().unique().tolist()
        by_hash = {id_hash(table, value): value for value in unique_ids}
        pairs = list[tuple[str, str]]()
        for chunk in _chunks(by_hash, IDS_AT_ONCE):
            query = sa.select(IDS.c.id_hash, IDS.c.customer_id).where(
                IDS.c.id_hash.in_(chunk)
            )
            for hashed, customer_id in connection.execute(query):
                pairs.append((by_hash[hashed], customer_id))
        return pd.DataFrame(pairs, columns=["id", OWNER], dtype="str")

    def owner_of(
        self,
        connection: sa.Connection,
        table: str,
        ids: pd.Series,
    ) -> pd.Series:
        """Return the customer who has the rows with some ids now, by id.

        Parameters
        ----------
        connection : Connection
            In a transaction.
        table : str
            One of `INDEXED`.
        ids : Series of str
            Ids of invoices, payments or documents; an unknown one is missing from the
            result.
        """
        pairs = self.owners(connection, table, ids)
        is_shared = pairs["id"].duplicated(keep=False)
        if not is_shared.any():
            unique_owners: pd.Series = pairs.set_index("id")[OWNER]
            return unique_owners
        # It moved from one customer to another: the rows tell who has it now.
        moved_ids = pairs.loc[is_shared, "id"].unique()
        tables = self.read(connection, pairs.loc[is_shared, OWNER].unique())
        home, column = INDEXED[table]
        rows = tables.get(home, pd.DataFrame()).reindex(columns=[column, OWNER, UNTIL])
        rows = rows[rows[UNTIL].isna() & rows[column].isin(moved_ids)]
        rows = rows.drop_duplicates([column, OWNER])
        if table == "documents":
            # One of several customers is nobody's, as in a first load.
            rows = rows[~rows[column].duplicated(keep=False)]
        current = rows.drop_duplicates(column).set_index(column)[OWNER]
        owners: pd.Series = pd.concat(
            [pairs[~is_shared].set_index("id")[OWNER], current]
        )
        return owners

    def known_customers(
        self, connection: sa.Connection, customer_ids: Iterable[str]
    ) -> set[str]:
        """Return those of some customers that the store has."""
        present = set[str]()
        for chunk in _chunks(customer_ids, IDS_AT_ONCE):
            query = sa.select(ROWS.c.customer_id).where(ROWS.c.customer_id.in_(chunk))
            present.update(connection.scalars(query))
        return present

    def every_customer(self, connection: sa.Connection) -> list[str]:
        """Return every customer, by id."""
        query = sa.select(ROWS.c.customer_id).order_by(ROWS.c.customer_id)
        return list(connection.scalars(query))

    # --- rows

    def read(
        self, connection: sa.Connection, customer_ids: Iterable[str]
    ) -> dict[str, pd.DataFrame]:
        """Return the rows of some customers, by table; nothing for an unknown one."""
        unique_ids = list(dict.fromkeys(customer_ids))
        whole = self._packed(connection, unique_ids)
        return unpacked_rows(chain(whole, _parts(connection, unique_ids)))

    def read_shared(self, connection: sa.Connection, table: str) -> pd.DataFrame:
        """Return the rows of a table whose rows belong to no customer."""
        query = sa.select(FACTS.c.value).where(FACTS.c.name == f"rows {table}")
        content = connection.scalar(query)
        if content is None:
            return first_rows(empty_table(table)).assign(**{OWNER: SHARED_OWNER})
        packed = bytes(content)
        if sealed_columns(table):
            seals = self._open_seals()
            packed = seals.opened_all(PURPOSE, {SHARED_OWNER: packed})[SHARED_OWNER]
        return unpacked_rows([(SHARED_OWNER, packed)])[table]

    def write_shared(
        self,
        connection: sa.Connection,
        table: str,
        frame: pd.DataFrame,
    ) -> None:
        """Replace the rows of a table whose rows belong to no customer.

        Parameters
        ----------
        connection : Connection
            In a transaction.
        table : str
            Such as ``fx_rates``.
        frame : DataFrame
            Its rows.
        """
        name = f"rows {table}"
        connection.execute(FACTS.delete().where(FACTS.c.name == name))
        owned = frame.assign(**{OWNER: SHARED_OWNER})
        packed = dict(packed_rows({table: owned}))
        if packed and sealed_columns(table):
            packed = self._open_seals().sealed(PURPOSE, packed)
        rows = [{"name": name, "value": content} for content in packed.values()]
        if rows:
            connection.execute(FACTS.insert(), rows)

    def _packed(
        self, connection: sa.Connection, customer_ids: Iterable[str]
    ) -> Iterator[tuple[str, bytes]]:
        """Yield customers with their packed rows, the sealed ones after the others."""
        for chunk in _chunks(customer_ids, IDS_AT_ONCE):
            query = sa.select(ROWS).where(ROWS.c.customer_id.in_(chunk))
            sealed_rows: dict[str, bytes] = {}
            for customer_id, content, sealed in connection.execute(query):
                if content:
                    yield customer_id, bytes(content)
                if sealed:
                    sealed_rows[customer_id] = bytes(sealed)
            if sealed_rows:
                # All keys at once: one at a time they take 0.2 ms each.
                opened = self._open_seals().opened_all(PURPOSE, sealed_rows)
                yield from opened.items()

    def _packed_columns(
        self, tables: Mapping[str, pd.DataFrame]
    ) -> Iterator[dict[str, object]]:
        """Yield the row of each customer in the table of rows."""
        plain, personal = divided(tables)
        sealed = dict(packed_rows(personal))
        if sealed:
            sealed = self._open_seals().sealed(PURPOSE, sealed)
        for customer_id, content in packed_rows(plain):
            yield {
                "customer_id": customer_id,
                "rows": content,
                "sealed_rows": sealed.pop(customer_id, b""),
            }
        for customer_id, content in sealed.items():
            yield {"customer_id": customer_id, "rows": b"", "sealed_rows": content}

    def write(
        self,
        connection: sa.Connection,
        tables: Mapping[str, pd.DataFrame],
        accounts: Iterable[StoredAccount],
    ) -> None:
        """Write all rows of some customers, and the accounts that were built from them.

        Parameters
        ----------
        connection : Connection
            In a transaction.
        tables : mapping of str to DataFrame
            Every row of these customers.
        accounts : iterable of StoredAccount
            Their accounts.
        """
        self._write_rows(connection, tables)
        for accounts_chunk in _chunks(accounts, ROWS_AT_ONCE):
            _replace(
                connection, ACCOUNTS, [vars(account) for account in accounts_chunk]
            )
            customer_ids = [account.customer_id for account in accounts_chunk]
            for table in (ROW_PARTS, ADDITIONS):
                is_whole = table.c.customer_id.in_(customer_ids)
                connection.execute(table.delete().where(is_whole))

    def _write_rows(
        self, connection: sa.Connection, tables: Mapping[str, pd.DataFrame]
    ) -> None:
        for rows in _chunks(self._packed_columns(tables), ROWS_AT_ONCE):
            _replace(connection, ROWS, rows)

    def packed_accounts(
        self, connection: sa.Connection, customer_ids: Iterable[str]
    ) -> dict[str, PackedAccount]:
        """Return the stored accounts of some customers; nothing for an unknown one."""
        accounts = dict[str, PackedAccount]()
        joined = ACCOUNTS.outerjoin(
            ADDITIONS, ACCOUNTS.c.customer_id == ADDITIONS.c.customer_id
        )
        columns = (ACCOUNTS.c.customer_id, ACCOUNTS.c.account, ADDITIONS.c.addition)
        query = sa.select(*columns).select_from(joined)
        for chunk in _chunks(customer_ids, IDS_AT_ONCE):
            of_chunk = query.where(ACCOUNTS.c.customer_id.in_(chunk))
            for customer_id, account, addition in connection.execute(of_chunk):
                added = None if addition is None else bytes(addition)
                accounts[customer_id] = PackedAccount(bytes(account), added)
        return accounts

    def write_parts(
        self, connection: sa.Connection, parts: Iterable[AddedPart]
    ) -> None:
        """Write rows that were added to those of some customers."""
        for chunk in _chunks(parts, ROWS_AT_ONCE):
            rows = [
                {
                    "customer_id": part.customer_id,
                    "number": part.number,
                    "rows": part.rows,
                }
                for part in chunk
            ]
            connection.execute(ROW_PARTS.insert(), rows)
            additions: list[dict[str, object]] = [
                {"customer_id": part.customer_id, "addition": part.addition}
                for part in chunk
            ]
            _replace(connection, ADDITIONS, additions)

    def write_ids(
        self, connection: sa.Connection, tables: Mapping[str, pd.DataFrame]
    ) -> None:
        """Note whose the invoices and payments of some tables are."""
        self.insert_ids(connection, sorted(ids_of(tables)))

    def insert_ids(
        self, connection: sa.Connection, pairs: Iterable[tuple[int, str]]
    ) -> None:
        """Note whose some ids are: hash and customer, in order.

        In the order of the index, 400,000 are written a second; in any other, a tenth.
        """
        insert = _insert(connection, IDS).on_conflict_do_nothing()
        for chunk in _chunks(pairs, ROWS_AT_ONCE):
            rows = [
                {"id_hash": hashed, "customer_id": customer_id}
                for hashed, customer_id in chunk
            ]
            connection.execute(insert, rows)

    def clear(self, connection: sa.Connection) -> None:
        """Remove everything."""
        for table in METADATA.sorted_tables:
            connection.execute(table.delete())

    def erase_from_groups(
        self,
        connection: sa.Connection,
        ids: Iterable[str],
        stand_in: str,
    ) -> None:
        """Remove a customer from the rows about groups, which belong to no customer.

        Parameters
        ----------
        connection : Connection
            In the transaction that erases.
        ids : iterable of str
            What names the customer there: its id, and its LEI.
        stand_in : str
            A random id that takes its place above others.
        """
        groups = self.read_shared(connection, "groups")
        is_above = groups["parent_id"].isin(list(ids))
        is_below = groups["child_id"].isin(list(ids))
        if is_above.any() or is_below.any():
            parent_id = groups["parent_id"].mask(is_above, stand_in)
            others = groups.assign(parent_id=parent_id)[~is_below]
            self.write_shared(connection, "groups", others)

    def rename_parent(
        self,
        connection: sa.Connection,
        child_ids: Iterable[str],
        parent_ids: Iterable[str],
        stand_in: str,
    ) -> None:
        """Replace the parent in the rows of some customers.

        Parameters
        ----------
        connection : Connection
            In the transaction that erases the parent.
        child_ids : iterable of str
            The customers below it, now or at any time.
        parent_ids : iterable of str
            What names the parent.
        stand_in : str
            A random id that takes its place.
        """
        # Only the customers change: what was added to their rows stays beside them.
        tables = unpacked_rows(self._packed(connection, child_ids))
        customers = tables.get("customers")
        if customers is None or "parent_id" not in customers:
            return
        is_below = customers["parent_id"].isin(list(parent_ids))
        parent_id = customers["parent_id"].mask(is_below, stand_in)
        tables["customers"] = customers.assign(parent_id=parent_id)
        self._write_rows(connection, tables)

    def legal_owners(
        self,
        connection: sa.Connection,
        kind: str,
        ids: Iterable[str],
    ) -> list[tuple[str, str]]:
        """Return the customers that have one of some legal ids.

        Parameters
        ----------
        connection : Connection
            To the store.
        kind : {"vat_id", "registration_id", "lei"}
            What the ids are.
        ids : iterable of str
            The ids, as `compact_id` returns them.

        Returns
        -------
        list of tuple of str
            Id and customer.
        """
        if not has_legal_ids(connection):
            return []
        return legal_owners(connection, self._open_seals(), kind, ids)


def _cannot_write(error: OperationalError) -> RecordError:
    """Return the error of a database that does not write."""
    reason = type(error.orig).__name__
    what = f"the ledger store cannot be written ({reason})"
    if "locked" in str(error.orig) or reason == "LockNotAvailable":
        what = "the ledger is being loaded by another process"
    return RecordError(
        what,
        where="ledger store",
        do="try again: what is stored by now stays, and is not stored twice",
    )


def divided(
    tables: Mapping[str, pd.DataFrame],
) -> tuple[dict[str, pd.DataFrame], dict[str, pd.DataFrame]]:
    """Return the rows without personal or confidential cells, and those with some.

    The rows of a customer in one table stay together.
    """
    plain = {}
    personal = {}
    for table, frame in tables.items():
        names = sealed_columns(table) if table in CONTRACTS else []
        cells = frame[[name for name in names if name in frame]]
        has_any = cells.notna().any(axis=1)
        if not has_any.any():
            plain[table] = frame
            continue
        is_personal = frame[OWNER].isin(frame.loc[has_any, OWNER].unique())
        plain[table] = frame[~is_personal]
        personal[table] = frame[is_personal]
    return plain, personal


def ids_of(tables: Mapping[str, pd.DataFrame]) -> set[tuple[int, str]]:
    """Return the hash and the customer of each id of some tables."""
    pairs = set[tuple[int, str]]()
    for table, (home, column) in INDEXED.items():
        frame = tables.get(home)
        if frame is not None and column in frame:
            owned = frame[[column, OWNER]].dropna()
            if table == "documents":
                owned = owned.drop_duplicates()
            hashes = [id_hash(table, value) for value in owned[column].tolist()]
            pairs.update(zip(hashes, owned[OWNER].tolist(), strict=True))
    return pairs


def id_hash(table: str, value: str) -> int:
    """Return what stands for an id in the index: 64 bits, with a sign.

    Examples
    --------
    >>> id_hash("invoices", "R-1") == id_hash("payments", "R-1")
    False
    """
    digest = blake2b(f"{table} {value}".encode(), digest_size=_HASH_BYTES)
    return int.from_bytes(digest.digest(), "big", signed=True)


def _parts(
    connection: sa.Connection, customer_ids: Iterable[str]
) -> Iterator[tuple[str, bytes]]:
    """Yield customers with the rows that were added to theirs, in their order."""
    for chunk in _chunks(customer_ids, IDS_AT_ONCE):
        query = (
            sa.select(ROW_PARTS.c.customer_id, ROW_PARTS.c.rows)
            .where(ROW_PARTS.c.customer_id.in_(chunk))
            .order_by(ROW_PARTS.c.customer_id, ROW_PARTS.c.number)
        )
        for customer_id, content in connection.execute(query):
            yield customer_id, bytes(content)


def _chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _replace(
    connection: sa.Connection,
    table: sa.Table,
    rows: list[dict[str, object]],
) -> None:
    """Insert rows of customers, or put them in the place of those that are there."""
    insert = _insert(connection, table)
    new_cells = {
        column.name: insert.excluded[column.name]
        for column in table.columns
        if not column.primary_key
    }
    upsert = insert.on_conflict_do_update(
        index_elements=list(table.primary_key), set_=new_cells
    )
    connection.execute(upsert, rows)


def _insert(
    connection: sa.Connection, table: sa.Table
) -> sqlite.Insert | postgresql.Insert:
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


def create_tables(engine: sa.Engine) -> None:
    """Create the tables of a ledger store that are not there yet."""
    METADATA.create_all(engine)
