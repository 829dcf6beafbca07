"""Writing to the record: entries are durable before any answer leaves.

Decisions, order checks, resolutions of cases and contacts are entries of one log. Texts
about a customer are encrypted under the customer's key of the month; the hash of each
entry's leaf goes into the tree of `obligor.record.merkle_log`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPICursor

from obligor.errors import ConflictError, RecordError
from obligor.record.database import RecordDatabase, unwritten
from obligor.record.encryption import encrypt
from obligor.record.entry import LEAF_COLUMNS, Entry, StoredEntry, key_owner
from obligor.record.merkle import leaf_hash
from obligor.record.statement import Statement
from obligor.record.tables import CUSTOMER, CUSTOMERS, ENTRIES


class _Owner(NamedTuple):
    """Which customer key encrypts an entry.

    There is one key per customer and month, so retention can delete month by month.
    """

    customer_id: str
    month: str
    is_natural_person: bool


class _CustomerKey(NamedTuple):
    customer_ref: str
    key: bytes


class RecordWriter:
    """Appends entries to the record.

    Parameters
    ----------
    database : RecordDatabase
        On SQLite, each append is one ``BEGIN IMMEDIATE`` transaction.
    """

    def __init__(self, database: RecordDatabase) -> None:
        self._database = database
        self._statements = _Statements(database.engine.dialect)
        self._lock = threading.Lock()
        self._connection: sa.PoolProxiedConnection | None = None

    def append(self, entries: Sequence[Entry]) -> list[bytes]:
        """Make entries durable in one transaction, or raise and keep none of them.

        Returns
        -------
        list of bytes
            The hash of each entry's leaf.

        Raises
        ------
        ConflictError
            If another writer used an idempotency key meanwhile: look the key up, and
            answer what is stored.
        RecordError
            If the database cannot write (disk full, locked, gone).
        """
        if not entries:
            return []
        # The driver's own errors: the writer does not go through SQLAlchemy.
        driver = self._database.engine.dialect.loaded_dbapi
        try:
            with self._lock, self._database.turn():
                return self._append_in_transaction(entries)
        except driver.IntegrityError:
            raise ConflictError(
                "another request with this idempotency key was recorded a moment ago",
                do="answer what is stored",
            ) from None
        except (driver.Error, sa.exc.SQLAlchemyError) as error:
            raise unwritten(error) from None

    def close(self) -> None:
        """Close the connection; the next append opens a new one."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _append_in_transaction(self, entries: Sequence[Entry]) -> list[bytes]:
        connection = self._connection or self._database.engine.raw_connection()
        # After an error the connection is given up: its state is unknown.
        self._connection = None
        try:
            cursor = connection.cursor()
            if self._database.is_sqlite:
                cursor.execute("BEGIN IMMEDIATE")
            hashes = self._insert(cursor, entries)
            connection.commit()
        except BaseException as error:
            connection.invalidate(error if isinstance(error, Exception) else None)
            raise
        self._connection = connection
        return hashes

    def _insert(
        self,
        cursor: DBAPICursor,
        entries: Sequence[Entry],
    ) -> list[bytes]:
        """Insert entries in a transaction; return the hashes of their leaves."""
        # Every key before the first entry: alternating reads with encryption cost 5 us
        # an entry.
        owners = [_owner(entry) for entry in entries]
        keys = {owner: self._key_of(cursor, *owner) for owner in dict.fromkeys(owners)}
        hashes = list[bytes]()
        rows = list[Any]()
        for entry, owner in zip(entries, owners, strict=True):
            columns = self._encrypted(entry, *keys[owner])
            columns["leaf_hash"] = leaf_hash(StoredEntry(columns).leaf())
            hashes.append(columns["leaf_hash"])
            rows.append(self._statements.entry.values(columns))
        cursor.executemany(self._statements.entry.text, rows)
        return hashes

    def _key_of(
        self,
        cursor: DBAPICursor,
        customer_id: str,
        month: str,
        is_person: bool,
    ) -> _CustomerKey:
        """Return a customer's reference and key of a month, made for the first entry.

        It is read each time, because the customer may have been erased meanwhile.

        Parameters
        ----------
        cursor : DBAPICursor
            In the transaction that writes the entry.
        customer_id : str
            The customer, or the service (`key_owner`).
        month : str
            Such as ``2025-01``.
        is_person : bool
            Whether the customer is a natural person; once true it stays true.

        Raises
        ------
        RecordError
            If the key can be neither read nor made.
        """
        lookup = {"lookup": self._database.pseudonym(customer_id), "month": month}
        row = self._customer_row(cursor, lookup)
        if row is None:
            self._make_customer(cursor, lookup, is_person)
            # Another process may have made it first: the stored one is used.
            row = self._customer_row(cursor, lookup)
        if row is None:
            raise RecordError(
                "the customer's key could not be made",
                where="record",
                do="send the same request again",
            )
        customer_ref, wrapped, was_person = row
        if is_person and not was_person:
            mark = self._statements.mark_person
            values = {"ref": customer_ref, "is_natural_person": True}
            cursor.execute(mark.text, mark.values(values))
        key = self._database.customer_key(bytes(wrapped), customer_ref)
        return _CustomerKey(customer_ref, key)

    def _customer_row(
        self,
        cursor: DBAPICursor,
        lookup: dict[str, str],
    ) -> tuple[str, bytes, bool] | None:
        select = self._statements.customer
        cursor.execute(select.text, select.values(lookup))
        row: tuple[str, bytes, bool] | None = cursor.fetchone()
        return row

    def _make_customer(
        self,
        cursor: DBAPICursor,
        lookup: dict[str, str],
        is_person: bool,
    ) -> None:
        vault = self._database.vault
        # Random, so that the reference says nothing of the customer after an erasure.
        customer_ref = vault.random(16).hex()
        row = {
            **lookup,
            "customer_ref": customer_ref,
            "wrapped": vault.wrap(vault.new_key(), customer_ref),
            "is_natural_person": is_person,
        }
        insert = self._statements.new_customer
        cursor.execute(insert.text, insert.values(row))

    def _encrypted(
        self,
        entry: Entry,
        customer_ref: str,
        key: bytes,
    ) -> dict[str, Any]:
        """Return the columns of an entry, its texts encrypted; all but the leaf's hash.

        Parameters
        ----------
        entry : Entry
            The entry.
        customer_ref : str
            The reference that stands for its customer and month.
        key : bytes
            The customer's key of the month.
        """
        columns = entry.plain_columns()
        columns["customer_ref"] = customer_ref
        columns["key_ref"] = None
        if entry.idempotency_key is not None:
            columns["key_ref"] = self._database.pseudonym(entry.idempotency_key)
        columns["request_ref"] = self._database.pseudonym(entry.request)
        texts = {
            "request": entry.request.encode(),
            "body": entry.body.encode(),
            "inputs": entry.inputs,
        }
        random = self._database.vault.random
        for name, text in texts.items():
            # Bound to entry and column: moved elsewhere, it cannot be decrypted.
            context = f"{name} of {entry.entry_id}"
            columns[name] = (
                None if text is None else encrypt(key, text, context, random)
            )
        return columns


class _Statements:
    """What the writer runs, compiled once for the database's dialect."""

    def __init__(self, dialect: sa.Dialect) -> None:
        insert = sqlite.insert if dialect.name == "sqlite" else postgresql.insert
        self.entry = Statement(
            insert(ENTRIES), dialect, columns=(*LEAF_COLUMNS, "leaf_hash")
        )
        self.new_customer = Statement(
            insert(CUSTOMERS).on_conflict_do_nothing(),
            dialect,
            columns=("customer_ref", "lookup", "month", "wrapped", "is_natural_person"),
        )
        self.customer = Statement(
            sa.select(
                CUSTOMER.customer_ref,
                CUSTOMER.wrapped,
                CUSTOMER.is_natural_person,
            ).where(
                CUSTOMER.lookup == sa.bindparam("lookup"),
                CUSTOMER.month == sa.bindparam("month"),
            ),
            dialect,
        )
        self.mark_person = Statement(
            sa.update(CUSTOMERS)
            .where(CUSTOMER.customer_ref == sa.bindparam("ref"))
            .values(is_natural_person=True),
            dialect,
        )


def _owner(entry: Entry) -> _Owner:
    return _Owner(
        customer_id=key_owner(entry.customer_id),
        month=entry.recorded_at.strftime("%Y-%m"),
        is_natural_person=entry.is_natural_person,
    )
