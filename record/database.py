"""The record's database: opened, migrated, read and written in transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from obligor.errors import RecordError
from obligor.record.encryption import Vault, pseudonym
from obligor.record.sqlite_turn import SqliteTurn
from obligor.record.tables import SECRETS, migrate

CONNECTIONS = 8  # more than the threads a service answers with
MOST_CACHED_KEYS = 20_000  # customers' keys in memory
INDEX_KEY = "index key"
_MIGRATION_LOCK = 0x0B11604
_PRAGMAS = (
    "journal_mode=WAL",
    # NORMAL loses acknowledged entries on a power cut.
    "synchronous=FULL",
    "busy_timeout=5000",
    "secure_delete=ON",
)
# A row of any query; its columns are attributes.
DatabaseRow = sa.Row[*tuple[Any, ...]]


class RecordDatabase:
    """The record's database and the keys to it.

    Parameters
    ----------
    engine : Engine
        Of SQLAlchemy.
    vault : Vault
        Wraps the customers' keys.
    index_key : bytes
        The key of the pseudonyms.
    turn : callable
        Gives a context in which this process is the only one that writes.
    """

    def __init__(
        self,
        engine: sa.Engine,
        vault: Vault,
        index_key: bytes,
        turn: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self.engine = engine
        self.vault = vault
        self.turn = turn
        self._index_key = index_key
        self._cached_unwrap = lru_cache(maxsize=MOST_CACHED_KEYS)(vault.unwrap)

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is SQLite; otherwise it is PostgreSQL."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Give a connection with one transaction, committed whole or not at all."""
        with self.turn(), _transaction(self.engine) as connection:
            yield connection

    @contextmanager
    def writing_derived(self) -> Iterator[sa.Connection]:
        """Give a transaction for rows that can be derived from the entries again.

        On SQLite its commit does not wait for the disk, and so does not hold up answers
        that are recorded meanwhile. A power cut may take the whole transaction back,
        never a part of it.
        """
        with self.turn(), self.engine.connect() as connection:
            if not self.is_sqlite:
                yield connection
                connection.commit()
                return
            connection.exec_driver_sql("PRAGMA synchronous=NORMAL")
            try:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                yield connection
                connection.commit()
            finally:
                connection.rollback()
                connection.exec_driver_sql("PRAGMA synchronous=FULL")

    def rows(
        self, query: sa.Executable, values: Mapping[str, object] | None = None
    ) -> Sequence[DatabaseRow]:
        """Return every row of a query.

        Parameters
        ----------
        query : Executable
            The query.
        values : mapping of str to object, optional
            The values of its parameters: a query that is made once and run often costs
            less than one that is made each time.

        Returns
        -------
        sequence of Row
            The columns are attributes.

        Raises
        ------
        RecordError
            If the database cannot be read.
        """
        try:
            with self.engine.connect() as connection:
                return connection.execute(query, values).all()
        except sa.exc.SQLAlchemyError as error:
            raise RecordError(
                f"the record cannot be read ({type(error).__name__})",
                do="check the database; it may be damaged",
            ) from None

    def pseudonym(self, text: str) -> str:
        """Return what stands for a customer's id, or a request, in the tables."""
        return pseudonym(self._index_key, text)

    def customer_key(
        self,
        wrapped: bytes,
        customer_ref: str,
    ) -> bytes:
        """Return a customer's key, unwrapped; the last ones used are cached."""
        return self._cached_unwrap(wrapped, customer_ref)

    def forget_keys(self) -> None:
        """Drop the cached keys, because one of them was destroyed."""
        self._cached_unwrap.cache_clear()

    def close(self) -> None:
        """Close every connection; the next call opens new ones."""
        self.engine.dispose()


def open_database(url: str, vault: Vault) -> RecordDatabase:
    """Open the record's database, and make it or bring it up to date if needed.

    SQLite runs with a write-ahead log and ``synchronous=FULL``.

    Raises
    ------
    RecordError
        If it cannot be opened or written, is of a version before the first, or was
        written under another data key.
    """
    engine = sa.create_engine(url, pool_size=CONNECTIONS)
    turn: Callable[[], AbstractContextManager[None]] = nullcontext
    try:
        if engine.dialect.name == "sqlite":
            sa.event.listen(engine, "connect", _set_durable)
            if engine.url.database:
                turn = SqliteTurn(Path(engine.url.database))
        _refuse_first_layout(engine)
        with turn(), _transaction(engine) as connection:
            if engine.dialect.name != "sqlite":
                lock = sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)
                connection.execute(sa.select(lock))
            migrate(connection)
            index_key = _index_key(connection, vault)
    except (sa.exc.SQLAlchemyError, OSError) as error:
        raise unwritten(error) from None
    return RecordDatabase(engine, vault, index_key, turn)


def unwritten(error: Exception) -> RecordError:
    """Return the error that says an entry could not be made durable."""
    # The class only: the statement holds customer data.
    kind = type(error).__name__
    return RecordError(
        f"the decision could not be recorded, so it is not given ({kind})",
        where="record",
        do="check disk space and the database, then send the same request again",
    )


@contextmanager
def _transaction(engine: sa.Engine) -> Iterator[sa.Connection]:
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection
        connection.commit()


def _refuse_first_layout(engine: sa.Engine) -> None:
    """Refuse a database from before entries were encrypted."""
    with engine.connect() as connection:
        names = sa.inspect(connection).get_table_names()
    if "decisions" in names:
        raise RecordError(
            "the database was written by an earlier version",
            where="record",
            do="keep it, and set OBLIGOR_RECORD_URL to another database",
        )


def _index_key(connection: sa.Connection, vault: Vault) -> bytes:
    """Return the key of the pseudonyms, made when the database is first opened."""
    query = sa.select(SECRETS.c.wrapped).where(SECRETS.c.name == INDEX_KEY)
    wrapped = connection.scalar(query)
    if wrapped is None:
        wrapped = vault.wrap(vault.new_key(), INDEX_KEY)
        secret = {"name": INDEX_KEY, "wrapped": wrapped}
        connection.execute(SECRETS.insert().values(secret))
    return vault.unwrap(wrapped, INDEX_KEY)


def _set_durable(connection: sqlite3.Connection, _: object) -> None:
    # Transactions begin where we say so, not with the driver's first statement.
    connection.isolation_level = None
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
