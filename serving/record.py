"""The record: append-only, durable before any answer leaves, one entry per idempotency key.

Decisions, order checks, resolutions of cases and contacts of collectors are entries of one log.
"""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import date, datetime
from pathlib import Path
from typing import Any, BinaryIO

import sqlalchemy as sa

from data.errors import ConflictError, RecordError, UnknownDecisionError
from data.store import CONNECTIONS

_METADATA = sa.MetaData()
_DECISIONS = sa.Table(
    "decisions",
    _METADATA,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    # From here on the fields of `Entry`, in their order.
    sa.Column("decision_id", sa.String(36), nullable=False, unique=True),
    sa.Column("kind", sa.String(10), nullable=False),
    sa.Column("customer_id", sa.String(128), nullable=False, index=True),
    sa.Column("as_of", sa.Date, nullable=False),
    sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("idempotency_key", sa.String(300), nullable=True, unique=True),
    sa.Column("request_sha256", sa.String(64), nullable=False),
    sa.Column("outcome", sa.String(12), nullable=False),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("about", sa.String(36), nullable=True, index=True),
    sa.Column("pd_12m", sa.Float, nullable=True),
    sa.Column("grade", sa.Integer, nullable=True),
    # Money as whole minor units: an SQLite Numeric loses cents past 2**53.
    sa.Column("limit_minor", sa.BigInteger, nullable=True),
    sa.Column("currency", sa.String(3), nullable=True),
    sa.Column("model_sha256", sa.String(64), nullable=True),
    sa.Column("policy_sha256", sa.String(64), nullable=True),
    sa.Index("decisions_by_kind", "kind", "outcome", "about"),
)
for _action in ("UPDATE", "DELETE"):
    sa.event.listen(
        _DECISIONS,
        "after_create",
        sa.DDL(  # type: ignore[no-untyped-call]
            f"CREATE TRIGGER decisions_no_{_action.lower()} BEFORE {_action} ON decisions "
            "BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END"
        ).execute_if(dialect="sqlite"),
    )


@dataclass(frozen=True)
class Entry:
    """One entry as it is kept; `body` is the exact text of the answer.

    Attributes
    ----------
    kind : {"decision", "order", "resolution", "contact"}
        A decision that refers, or an order that is held, is a case; its id is the decision's.
    about : str, optional
        The case a resolution, or a decision made again, is about.
    """

    decision_id: str
    kind: str
    customer_id: str
    as_of: date
    recorded_at: datetime
    idempotency_key: str | None
    request_sha256: str
    outcome: str
    request: str
    body: str
    about: str | None = None
    pd_12m: float | None = None
    grade: int | None = None
    limit_minor: int | None = None
    currency: str | None = None
    model_sha256: str | None = None
    policy_sha256: str | None = None


@dataclass(frozen=True)
class Kept:
    """What the log says of an entry."""

    kind: str
    outcome: str
    request: str
    body: str


@dataclass(frozen=True)
class Case:
    """A case: the entry that opened it, and those about it."""

    opening: Kept
    later: tuple[Kept, ...]

    @property
    def is_closed(self) -> bool:
        """Whether it was resolved, or approved when decided again."""
        return any(one.outcome in CLOSING for one in self.later)


# A decision or order with one of these opens a case; an entry about it with one of those closes it.
OPENING, CLOSING = ("refer", "hold"), ("approve", "release", "decline")
_CASE_COLUMNS = sa.select(
    *(_DECISIONS.c[name] for name in ("decision_id", "about", "kind", "outcome", "request", "body"))
)


def _is_case(row: sa.Row[Any]) -> bool:
    return row.about is None and row.kind in ("decision", "order") and row.outcome in OPENING


def _kept(row: sa.Row[Any]) -> Kept:
    return Kept(str(row.kind), str(row.outcome), str(row.request), str(row.body))


_FIELDS = tuple(field.name for field in fields(Entry))


class Record:
    """The record in a database.

    Parameters
    ----------
    url : str
        A SQLAlchemy URL. On SQLite: WAL, ``synchronous=FULL`` (NORMAL loses acknowledged records on a
        power cut), one ``BEGIN IMMEDIATE`` transaction per append.
    """

    def __init__(self, url: str) -> None:
        self.engine = sa.create_engine(url, pool_size=CONNECTIONS)
        self._lock = threading.Lock()
        self._writer: sa.PoolProxiedConnection | None = None
        # As text, on a connection of its own: SQLAlchemy's way around one INSERT costs ten times its run.
        compiled = _DECISIONS.insert().compile(dialect=self.engine.dialect, column_keys=list(_FIELDS))
        self._insert, self._is_sqlite = str(compiled), self.engine.dialect.name == "sqlite"
        self._turns: BinaryIO | None = None
        if self._is_sqlite:
            if self.engine.url.database:
                self._turns = _opened(Path(f"{self.engine.url.database}.turn"))
            sa.event.listen(self.engine, "connect", _durable)
        try:
            _METADATA.create_all(self.engine)
            columns = {column["name"] for column in sa.inspect(self.engine).get_columns(_DECISIONS.name)}
        except sa.exc.SQLAlchemyError as error:
            raise _unwritten(error) from None
        missing = sorted(set(_DECISIONS.c.keys()) - columns)
        if missing:
            do = "keep it where it is, and give OBLIGOR_RECORD_URL another place"
            raise RecordError(f"is of an earlier version: it lacks {missing}", where="record", do=do)

    def append(self, entries: Sequence[Entry]) -> None:
        """Make entries durable in one transaction, or raise and keep none of them.

        Raises
        ------
        ConflictError
            Where an idempotency key was taken by another writer meanwhile: look it up and answer that.
        RecordError
            Where the database cannot write (disk full, locked, gone).
        """
        if not entries:
            return
        driver = self.engine.dialect.loaded_dbapi
        rows = [_as_text(entry) if self._is_sqlite else vars(entry) for entry in entries]
        try:
            with self._lock, self._turn():
                self._write(rows)
        except driver.IntegrityError:
            raise ConflictError("the idempotency key was used a moment ago", do="answer what is stored") from None
        except (driver.Error, sa.exc.SQLAlchemyError) as error:
            raise _unwritten(error) from None

    def _write(self, rows: Sequence[Any]) -> None:
        """One transaction; after an error the connection is given up, as nobody knows its state."""
        if self._writer is None:
            self._writer = self.engine.raw_connection()
        try:
            cursor = self._writer.cursor()
            if self._is_sqlite:
                cursor.execute("BEGIN IMMEDIATE")
            cursor.executemany(self._insert, rows)
            self._writer.commit()
        except BaseException as error:
            writer, self._writer = self._writer, None
            writer.invalidate(error if isinstance(error, Exception) else None)
            raise

    def close(self) -> None:
        """Close every connection; the next call opens new ones."""
        with self._lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            self.engine.dispose()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One process commits at a time: waiting for SQLite's own lock took up to 535 ms, for this 15."""
        if self._turns is None:
            yield
            return
        fcntl.flock(self._turns, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._turns, fcntl.LOCK_UN)

    def body_of(self, decision_id: str) -> str:
        """Return the stored answer of a decision; `UnknownDecisionError` where there is none."""
        found = self._rows(sa.select(_DECISIONS.c.body).where(_DECISIONS.c.decision_id == decision_id))
        if not found:
            raise UnknownDecisionError(f"no decision {decision_id!r}", where="decision_id")
        return str(found[0].body)

    def bodies_of_customer(self, customer_id: str, limit: int = 100) -> list[str]:
        """Return the stored decisions about a customer, newest first."""
        return [body for _, body in self.last_of_customer(customer_id, limit)]

    def last_of_customer(self, customer_id: str, limit: int) -> list[tuple[str, str]]:
        """Return request and answer of the last decisions about a customer, newest first."""
        query = (
            sa.select(_DECISIONS.c.request, _DECISIONS.c.body)
            .where(_DECISIONS.c.customer_id == customer_id, _DECISIONS.c.kind == "decision")
            .order_by(_DECISIONS.c.seq.desc())
            .limit(limit)
        )
        return [(str(row.request), str(row.body)) for row in self._rows(query)]

    def case(self, case_id: str) -> Case:
        """Return the decision or order check that is a case, with every entry about it, oldest first.

        Raises
        ------
        UnknownDecisionError
            Where there is none of that id, or it was no case.
        """
        is_meant = sa.or_(_DECISIONS.c.decision_id == case_id, _DECISIONS.c.about == case_id)
        rows = self._rows(_CASE_COLUMNS.where(is_meant).order_by(_DECISIONS.c.seq))
        if not rows or rows[0].decision_id != case_id or not _is_case(rows[0]):
            raise UnknownDecisionError(f"no case {case_id!r}", where="case_id", do="GET /v1/cases lists the open ones")
        opening, *later = (_kept(row) for row in rows)
        return Case(opening, tuple(later))

    def open_cases(self, limit: int = 200) -> list[str]:
        """Return the ids of the oldest cases nobody has resolved."""
        later = _DECISIONS.alias()
        is_closed = sa.exists().where(later.c.about == _DECISIONS.c.decision_id, later.c.outcome.in_(CLOSING))
        query = (
            sa.select(_DECISIONS.c.decision_id)
            .where(_DECISIONS.c.about.is_(None), _DECISIONS.c.outcome.in_(OPENING), ~is_closed)
            .order_by(_DECISIONS.c.seq)
            .limit(limit)
        )
        return [str(row.decision_id) for row in self._rows(query)]

    def contacts(self, first: date, last: date) -> dict[str, list[str]]:
        """Return the contacts of each customer made on days from the first to the last, in the order recorded."""
        found = dict[str, list[str]]()
        query = sa.select(_DECISIONS.c.customer_id, _DECISIONS.c.body).order_by(_DECISIONS.c.seq)
        for row in self._rows(query.where(_DECISIONS.c.kind == "contact", _DECISIONS.c.as_of.between(first, last))):
            found.setdefault(str(row.customer_id), []).append(str(row.body))
        return found

    def last_filed(self, as_of: date) -> dict[str, str]:
        """Return the last request about each customer, made for a day up to `as_of`, where it had something on file."""
        last = (
            sa.select(sa.func.max(_DECISIONS.c.seq))
            .where(_DECISIONS.c.kind == "decision", _DECISIONS.c.as_of <= as_of)
            .group_by(_DECISIONS.c.customer_id)
        )
        query = sa.select(_DECISIONS.c.customer_id, _DECISIONS.c.request).where(
            _DECISIONS.c.seq.in_(last), _DECISIONS.c.request.like('%"file":{%')
        )
        return {str(row.customer_id): str(row.request) for row in self._rows(query)}

    def answered(self, idempotency_key: str, request_sha256: str) -> str | None:
        """Return the stored answer to a key, None where it is new.

        Raises
        ------
        ConflictError
            Where the key came with another request before.
        """
        query = sa.select(_DECISIONS.c.body, _DECISIONS.c.request_sha256).where(
            _DECISIONS.c.idempotency_key == idempotency_key
        )
        found = self._rows(query)
        if not found:
            return None
        if found[0].request_sha256 != request_sha256:
            raise ConflictError(
                "the key was used with another request",
                where="Idempotency-Key",
                expected="one key per request",
                do="use a new key",
            )
        return str(found[0].body)

    def _rows(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        try:
            with self.engine.connect() as connection:
                return connection.execute(query).all()
        except sa.exc.SQLAlchemyError as error:
            raise RecordError(f"the record cannot be read ({type(error).__name__})", do="check the database") from None


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("ab")
    except OSError as error:
        raise _unwritten(error) from None


def _durable(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions begin where `append` says
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000"):
        connection.execute(f"PRAGMA {pragma}")


def _as_text(entry: Entry) -> tuple[Any, ...]:
    """Dates as SQLAlchemy keeps them in SQLite."""
    recorded_at = entry.recorded_at.replace(tzinfo=None).isoformat(" ", "microseconds")
    return tuple((vars(entry) | {"as_of": entry.as_of.isoformat(), "recorded_at": recorded_at}).values())


def _unwritten(error: Exception) -> RecordError:
    # The class only: the statement holds customer data.
    return RecordError(
        f"the decision could not be recorded, so it is not given ({type(error).__name__})",
        where="record",
        do="check disk space and the database, then send the same request again",
    )
