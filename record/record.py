"""The record: append-only, durable before any answer leaves, one entry per idempotency key.

Decisions, order checks, resolutions of cases and contacts of collectors are entries of one log. What is said about a
customer is sealed under the customer's key; the hash of each entry's leaf goes into the tree of `serving.tree`.
"""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import sqlalchemy as sa

from obligor.errors import ConflictError, ErasedError, RecordError, UnknownDecisionError
from obligor.record.encryption import Vault, pseudonym, seal, unseal
from obligor.record.entry import (
    CLOSING,
    COLUMNS,
    OPENING,
    Case,
    Entry,
    OpenedEntry,
    Row,
    Statement,
    row_of,
)
from obligor.record.merkle import leaf_hash
from obligor.record.tables import CUSTOMERS, ENTRIES, SECRETS, migrate

CONNECTIONS = 8  # more than the threads a service answers with
MOST_KEYS = 20_000  # customers' keys kept at hand
INDEX_KEY = "index key"


_SEALED = sa.select(
    *(
        ENTRIES.c[name]
        for name in (
            "entry_id",
            "kind",
            "about",
            "customer_ref",
            "outcome",
            "request",
            "body",
            "leaf_hash",
            "made_by",
        )
    ),
    CUSTOMERS.c.wrapped,
).join(CUSTOMERS, CUSTOMERS.c.customer_ref == ENTRIES.c.customer_ref)


class Record:
    """The record in a database.

    Parameters
    ----------
    url : str
        A SQLAlchemy URL. On SQLite: WAL, ``synchronous=FULL`` (NORMAL loses acknowledged records on a
        power cut), one ``BEGIN IMMEDIATE`` transaction per append.
    vault : Vault
        Wraps the customers' keys.
    """

    def __init__(self, url: str, vault: Vault) -> None:
        self.engine = sa.create_engine(url, pool_size=CONNECTIONS)
        self.vault, self._lock = vault, threading.Lock()
        self._writer: sa.PoolProxiedConnection | None = None
        self._is_sqlite = self.engine.dialect.name == "sqlite"
        self._unwrapped = lru_cache(maxsize=MOST_KEYS)(vault.unwrap)
        self._turns: BinaryIO | None = None
        if self._is_sqlite:
            if self.engine.url.database:
                self._turns = _opened(Path(f"{self.engine.url.database}.turn"))
            sa.event.listen(self.engine, "connect", _durable)
        try:
            self._index_key = self._prepare()
        except sa.exc.SQLAlchemyError as error:
            raise _unwritten(error) from None
        # As text, on a connection of its own: SQLAlchemy's way around one INSERT costs ten times its run.
        insert = _dialect_insert(self.engine.dialect.name)
        self._insert = Statement(
            insert(ENTRIES), self.engine.dialect, (*Row._fields, "leaf_hash")
        )
        fresh = insert(CUSTOMERS).on_conflict_do_nothing()
        columns = ("customer_ref", "lookup", "month", "wrapped", "is_natural_person")
        self._new_customer = Statement(fresh, self.engine.dialect, columns)
        known = sa.select(
            CUSTOMERS.c.customer_ref, CUSTOMERS.c.wrapped, CUSTOMERS.c.is_natural_person
        )
        is_meant = (CUSTOMERS.c.lookup == sa.bindparam("lookup")) & (
            CUSTOMERS.c.month == sa.bindparam("month")
        )
        self._customer = Statement(
            known.where(is_meant), self.engine.dialect, ("lookup", "month")
        )
        person = (
            CUSTOMERS.update()
            .where(CUSTOMERS.c.customer_ref == sa.bindparam("ref"))
            .values(is_natural_person=True)
        )
        self._person = Statement(person, self.engine.dialect, ("ref",))

    def _prepare(self) -> bytes:
        """Bring the tables up to date; return the key of the pseudonyms, made with the first record."""
        with self.engine.connect() as connection:
            names = sa.inspect(connection).get_table_names()
        if "decisions" in names:
            do = "keep it where it is, and give OBLIGOR_RECORD_URL another place"
            raise RecordError("is of an earlier version", where="record", do=do)
        with self.writing() as connection:
            if not self._is_sqlite:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATING)))
            migrate(connection)
            query = sa.select(SECRETS.c.wrapped).where(SECRETS.c.name == INDEX_KEY)
            wrapped = connection.scalar(query)
            if wrapped is None:
                wrapped = self.vault.wrap(self.vault.new_key(), INDEX_KEY)
                connection.execute(
                    SECRETS.insert().values(name=INDEX_KEY, wrapped=wrapped)
                )
        return self.vault.unwrap(wrapped, INDEX_KEY)

    def append(self, entries: Sequence[Entry]) -> list[bytes]:
        """Make entries durable in one transaction, or raise and keep none of them; return their leaves' hashes.

        Raises
        ------
        ConflictError
            Where an idempotency key was taken by another writer meanwhile: look it up and answer that.
        RecordError
            Where the database cannot write (disk full, locked, gone).
        """
        if not entries:
            return []
        driver = self.engine.dialect.loaded_dbapi
        try:
            with self._lock, self.turn():
                return self._write(entries)
        except driver.IntegrityError:
            raise ConflictError(
                "the idempotency key was used a moment ago", do="answer what is stored"
            ) from None
        except (driver.Error, sa.exc.SQLAlchemyError) as error:
            raise _unwritten(error) from None

    def _write(self, entries: Sequence[Entry]) -> list[bytes]:
        """One transaction; after an error the connection is given up, as nobody knows its state."""
        if self._writer is None:
            self._writer = self.engine.raw_connection()
        try:
            cursor = self._writer.cursor()
            if self._is_sqlite:
                cursor.execute("BEGIN IMMEDIATE")
            keys = {
                whose: self._key_of(cursor, *whose)
                for whose in dict.fromkeys(map(_whose, entries))
            }
            rows = [self._sealed(entry, *keys[_whose(entry)]) for entry in entries]
            hashes = [leaf_hash(row.leaf()) for row in rows]
            plain = (
                row._asdict() | {"leaf_hash": hash_}
                for row, hash_ in zip(rows, hashes, strict=True)
            )
            cursor.executemany(
                self._insert.text,
                [self._insert.values(row, self._is_sqlite) for row in plain],
            )
            self._writer.commit()
        except BaseException as error:
            writer, self._writer = self._writer, None
            writer.invalidate(error if isinstance(error, Exception) else None)
            raise
        return hashes

    def _key_of(
        self, cursor: Any, customer_id: str, month: str, is_person: bool
    ) -> tuple[str, bytes]:
        """The customer's reference and key of a month, made with the first entry; read anew, as it may be erased."""
        asked = {"lookup": pseudonym(self._index_key, customer_id), "month": month}
        for _ in range(2):
            cursor.execute(
                self._customer.text, self._customer.values(asked, self._is_sqlite)
            )
            if found := cursor.fetchone():
                ref = str(found[0])
                if is_person and not found[2]:
                    cursor.execute(
                        self._person.text,
                        self._person.values(
                            {"ref": ref, "is_natural_person": True}, self._is_sqlite
                        ),
                    )
                return ref, self._unwrapped(bytes(found[1]), ref)
            ref = self.vault.random(16).hex()
            wrapped = self.vault.wrap(self.vault.new_key(), ref)
            row = {
                **asked,
                "customer_ref": ref,
                "wrapped": wrapped,
                "is_natural_person": is_person,
            }
            cursor.execute(
                self._new_customer.text, self._new_customer.values(row, self._is_sqlite)
            )
        raise RecordError(
            "a customer's key cannot be made",
            where="record",
            do="send the same request again",
        )

    def _sealed(self, entry: Entry, ref: str, key: bytes) -> Row:
        def sealed(name: str, text: bytes) -> bytes:
            return seal(key, text, f"{name} of {entry.decision_id}", self.vault.random)

        told = entry.idempotency_key
        return Row(
            entry_id=entry.decision_id,
            kind=entry.kind,
            about=entry.about,
            customer_ref=ref,
            as_of=entry.as_of,
            recorded_at=entry.recorded_at,
            key_ref=None if told is None else pseudonym(self._index_key, told),
            request_ref=pseudonym(self._index_key, entry.request),
            outcome=entry.outcome,
            pd_12m=entry.pd_12m,
            grade=entry.grade,
            limit_minor=entry.limit_minor,
            currency=entry.currency,
            model_sha256=entry.model_sha256,
            policy_sha256=entry.policy_sha256,
            is_filed=entry.is_filed,
            request=sealed("request", entry.request.encode()),
            body=sealed("body", entry.body.encode()),
            inputs=None if entry.inputs is None else sealed("inputs", entry.inputs),
            made_by=entry.made_by,
        )

    def pseudonym(self, text: str) -> str:
        """Return what stands for a customer's id, or for a request, in the tables."""
        return pseudonym(self._index_key, text)

    def forget_keys(self) -> None:
        """Drop the keys at hand: one of them was destroyed."""
        self._unwrapped.cache_clear()

    def close(self) -> None:
        """Close every connection; the next call opens new ones."""
        with self._lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            self.engine.dispose()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One process commits at a time: waiting for SQLite's own lock took up to 535 ms, for this 15."""
        if self._turns is None:
            yield
            return
        fcntl.flock(self._turns, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._turns, fcntl.LOCK_UN)

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """One transaction besides `append`, whole or not at all."""
        with self.turn(), self.engine.connect() as connection:
            if self._is_sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.commit()

    def kept(self, entry_id: str) -> OpenedEntry:
        """Return an entry, opened.

        Raises
        ------
        UnknownDecisionError
            Where there is none of that id.
        ErasedError
            Where its customer was erased.
        """
        found = self._rows(_SEALED.where(ENTRIES.c.entry_id == entry_id))
        if not found:
            raise UnknownDecisionError(f"no decision {entry_id!r}", where="decision_id")
        return self._opened(found[0])

    def body_of(self, entry_id: str) -> str:
        """Return the stored answer of an entry; raises as `kept`."""
        return self.kept(entry_id).body

    def bodies_of_customer(self, customer_id: str, limit: int = 100) -> list[str]:
        """Return the stored decisions about a customer, newest first."""
        return [body for _, body in self.last_of_customer(customer_id, limit)]

    def last_of_customer(self, customer_id: str, limit: int) -> list[tuple[str, str]]:
        """Return request and answer of the last decisions about a customer, newest first."""
        lookup = pseudonym(self._index_key, customer_id)
        query = _SEALED.where(
            CUSTOMERS.c.lookup == lookup, ENTRIES.c.kind == "decision"
        )
        found = (
            self._opened(row)
            for row in self._rows(query.order_by(ENTRIES.c.seq.desc()).limit(limit))
        )
        return [(one.request, one.body) for one in found]

    def case(self, case_id: str) -> Case:
        """Return the decision or order check that is a case, with every entry about it, oldest first.

        Raises
        ------
        UnknownDecisionError
            Where there is none of that id, or it was no case.
        ErasedError
            Where its customer was erased.
        """
        is_meant = sa.or_(ENTRIES.c.entry_id == case_id, ENTRIES.c.about == case_id)
        rows = self._rows(_SEALED.where(is_meant).order_by(ENTRIES.c.seq))
        if not rows or rows[0].entry_id != case_id or not _is_case(rows[0]):
            raise UnknownDecisionError(
                f"no case {case_id!r}",
                where="case_id",
                do="GET /v1/cases lists the open ones",
            )
        opening, *later = (self._opened(row) for row in rows)
        return Case(opening, tuple(later))

    def open_cases(self, limit: int = 200) -> list[str]:
        """Return the ids of the oldest cases nobody has resolved."""
        later = ENTRIES.alias()
        is_closed = sa.exists().where(
            later.c.about == ENTRIES.c.entry_id, later.c.outcome.in_(CLOSING)
        )
        query = (
            sa.select(ENTRIES.c.entry_id)
            .join(CUSTOMERS, CUSTOMERS.c.customer_ref == ENTRIES.c.customer_ref)
            .where(
                ENTRIES.c.kind.in_(("decision", "order")),
                ENTRIES.c.outcome.in_(OPENING),
                ENTRIES.c.about.is_(None),
                CUSTOMERS.c.wrapped.isnot(None),
                ~is_closed,
            )
            .order_by(ENTRIES.c.seq)
            .limit(limit)
        )
        return [str(row.entry_id) for row in self._rows(query)]

    def contacts(self, first: date, last: date) -> list[str]:
        """Return the contacts made on days from the first to the last, in the order recorded."""
        query = _SEALED.where(
            ENTRIES.c.kind == "contact", ENTRIES.c.as_of.between(first, last)
        )
        query = query.where(CUSTOMERS.c.wrapped.isnot(None)).order_by(ENTRIES.c.seq)
        return [self._opened(row).body for row in self._rows(query)]

    def last_filed(self, as_of: date) -> list[str]:
        """Return the last request about each customer up to a day, where it had something on file."""
        last = (
            sa.select(sa.func.max(ENTRIES.c.seq))
            .join(CUSTOMERS, CUSTOMERS.c.customer_ref == ENTRIES.c.customer_ref)
            .where(ENTRIES.c.kind == "decision", ENTRIES.c.as_of <= as_of)
            .group_by(CUSTOMERS.c.lookup)
        )
        query = _SEALED.where(
            ENTRIES.c.seq.in_(last), ENTRIES.c.is_filed, CUSTOMERS.c.wrapped.isnot(None)
        )
        return [self._opened(row).request for row in self._rows(query)]

    def answered(self, idempotency_key: str, request: str) -> OpenedEntry | None:
        """Return the entry that answers a key, None where it is new.

        Raises
        ------
        ConflictError
            Where the key came with another request before.
        """
        query = _SEALED.add_columns(ENTRIES.c.request_ref)
        found = self._rows(
            query.where(
                ENTRIES.c.key_ref == pseudonym(self._index_key, idempotency_key)
            )
        )
        if not found:
            return None
        if found[0].request_ref != pseudonym(self._index_key, request):
            raise ConflictError(
                "the key was used with another request",
                where="Idempotency-Key",
                expected="one key per request",
                do="use a new key",
            )
        return self._opened(found[0])

    def row(self, entry_id: str) -> Row:
        """Return an entry as it is kept; `UnknownDecisionError` where there is none."""
        found = self._rows(sa.select(*COLUMNS).where(ENTRIES.c.entry_id == entry_id))
        if not found:
            raise UnknownDecisionError(f"no decision {entry_id!r}", where="decision_id")
        return row_of(found[0])

    def ids(self, kinds: Sequence[str]) -> list[str]:
        """Return the ids of the entries of some kinds, in the order recorded."""
        query = (
            sa.select(ENTRIES.c.entry_id)
            .where(ENTRIES.c.kind.in_(kinds))
            .order_by(ENTRIES.c.seq)
        )
        return [str(row.entry_id) for row in self._rows(query)]

    def inputs_of(self, entry_id: str) -> bytes:
        """Return what a decision was made from; raises as `kept`."""
        query = sa.select(
            ENTRIES.c.customer_ref, ENTRIES.c.inputs, CUSTOMERS.c.wrapped
        ).join(CUSTOMERS, CUSTOMERS.c.customer_ref == ENTRIES.c.customer_ref)
        found = self._rows(query.where(ENTRIES.c.entry_id == entry_id))
        if not found or found[0].inputs is None:
            raise UnknownDecisionError(
                f"no inputs of {entry_id!r}", where="decision_id"
            )
        return unseal(
            self._key(found[0], entry_id), found[0].inputs, f"inputs of {entry_id}"
        )

    def _opened(self, row: sa.Row[Any]) -> OpenedEntry:
        key = self._key(row, row.entry_id)
        request, body = (
            unseal(key, getattr(row, name), f"{name} of {row.entry_id}").decode()
            for name in ("request", "body")
        )
        return OpenedEntry(
            row.entry_id,
            row.kind,
            row.outcome,
            request,
            body,
            row.leaf_hash,
            row.made_by,
        )

    def _key(self, row: sa.Row[Any], entry_id: str) -> bytes:
        if row.wrapped is None:
            do = "the record still proves that it was made"
            raise ErasedError("the customer was erased", where=entry_id, do=do)
        return self._unwrapped(row.wrapped, row.customer_ref)

    def _rows(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        try:
            with self.engine.connect() as connection:
                return connection.execute(query).all()
        except sa.exc.SQLAlchemyError as error:
            raise RecordError(
                f"the record cannot be read ({type(error).__name__})",
                do="check the database",
            ) from None


_MIGRATING = 0x0B11604


def _dialect_insert(name: str) -> Any:
    from sqlalchemy.dialects import postgresql, sqlite

    return sqlite.insert if name == "sqlite" else postgresql.insert


def _whose(entry: Entry) -> tuple[str, str, bool]:
    """Whose key seals an entry, and of which month: what is old enough is forgotten month by month."""
    return (
        entry.customer_id,
        entry.recorded_at.strftime("%Y-%m"),
        entry.is_natural_person,
    )


def _is_case(row: sa.Row[Any]) -> bool:
    return (
        row.about is None
        and row.kind in ("decision", "order")
        and row.outcome in OPENING
    )


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("ab")
    except OSError as error:
        raise _unwritten(error) from None


def _durable(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions begin where `append` says
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "busy_timeout=5000",
        "secure_delete=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _unwritten(error: Exception) -> RecordError:
    # The class only: the statement holds customer data.
    return RecordError(
        f"the decision could not be recorded, so it is not given ({type(error).__name__})",
        where="record",
        do="check disk space and the database, then send the same request again",
    )
