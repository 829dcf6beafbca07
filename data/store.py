"""The ledger store: a checked ledger in SQL, one row per customer.

One customer's account is read in microseconds. Beside the accounts are the source rows
that they were built from, which updates are compared with (`data.row_store`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from sqlite3 import Connection
from typing import TypeAlias

import numpy as np
import orjson
import pandas as pd
import sqlalchemy as sa

from obligor.data.account import Account, Rates, unpacked
from obligor.data.addition import unpacked_addition, with_addition
from obligor.data.bureau import BureauReport
from obligor.data.coverage import Coverage
from obligor.data.ledger import Ledger
from obligor.data.ledger_tables import ACCOUNTS, ADDITIONS, FACTS, METADATA, RATES
from obligor.data.left_out import LeftOut
from obligor.data.party_store import BUREAU_QUERY, PROFILE_QUERY, PartyStore, Seals
from obligor.data.profiles import Profile
from obligor.data.row_building import nothing_set_aside, write_first
from obligor.data.row_store import STATE, LedgerState, RowStore
from obligor.errors import ObligorError, RecordError, SchemaError, UnknownCustomerError

# More connections than the threads a service answers with.
CONNECTIONS = 8
_EXPORTED_ON = "exported_on"
_LEFT_OUT = "left_out"
_ACCOUNTS = sa.select(ACCOUNTS.c.account, ADDITIONS.c.addition).select_from(
    ACCOUNTS.outerjoin(ADDITIONS, ACCOUNTS.c.customer_id == ADDITIONS.c.customer_id)
)
_ACCOUNT = _ACCOUNTS.where(ACCOUNTS.c.customer_id == sa.bindparam("key"))
_Query: TypeAlias = "sa.Select[tuple[bytes]] | sa.Select[tuple[bytes, bytes]]"
_RATE = sa.select(RATES.c.rates).where(RATES.c.currency == sa.bindparam("key"))
_FACT = sa.select(FACTS.c.value).where(FACTS.c.name == sa.bindparam("key"))


class LedgerStore:
    """A ledger in a database, one row per customer.

    Parameters
    ----------
    url : str
        A SQLAlchemy URL, e.g. ``sqlite:///store/ledger.db``.
    open_seals : callable, optional
        Opens what seals names and reports; without it none can be stored.
    """

    def __init__(self, url: str, open_seals: Callable[[], Seals] | None = None) -> None:
        # Parameters hold customers' data: they stay out of the driver's messages.
        self.engine = sa.create_engine(
            url,
            pool_size=CONNECTIONS,
            hide_parameters=True,
        )
        if self.engine.dialect.name == "sqlite":
            sa.event.listen(self.engine, "connect", _use_wal)
        METADATA.create_all(self.engine)
        self.parties = PartyStore(self.engine, open_seals)
        self.rows = RowStore(self.engine, lambda: self.parties.seals)
        # Compiled once: compiling a query takes ten times as long as running it.
        self._sql: dict[_Query, str] = {
            query: str(query.compile(dialect=self.engine.dialect))
            for query in (_ACCOUNT, _RATE, _FACT, BUREAU_QUERY, PROFILE_QUERY)
        }
        self._is_positional = self.engine.dialect.positional
        self._reader = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._thread = threading.local()
        self._state_value = b""
        self._coverage: tuple[Coverage, ...] = ()

    def write(self, ledger: Ledger, set_aside: pd.DataFrame | None = None) -> None:
        """Replace the stored ledger in one transaction.

        Whoever reads meanwhile sees the old ledger or the new one, never a mixture.

        Parameters
        ----------
        ledger : Ledger
            A checked ledger.
        set_aside : DataFrame, optional
            Rows that could not be used: ``customer_id``, ``table`` and ``key``.
        """
        if set_aside is None:
            set_aside = nothing_set_aside()
        party_rows = self.parties.rows_of(ledger)
        with self.rows.writing() as connection:
            self.rows.clear(connection)
            self.parties.replace(connection, party_rows)
            write_first(self.rows, connection, ledger, set_aside)
            write_export_day(connection, ledger.exported_on)

    def updatable_state(self, connection: sa.Connection) -> LedgerState:
        """Return the state of the loaded ledger.

        Raises
        ------
        SchemaError
            If no ledger is loaded, or one that an earlier version loaded.
        """
        state = self.rows.state(connection)
        if state is not None:
            return state
        if connection.scalar(sa.select(ACCOUNTS.c.customer_id).limit(1)) is None:
            raise _not_loaded()
        raise SchemaError(
            "the ledger was loaded by an earlier version, which stored no source rows",
            where="ledger store",
            do="load the whole ledger once with `obligor load --replace`",
        )

    def exported_on(self) -> date | None:
        """Return the day of the export of the loaded ledger; None if not stated."""
        value = self._read(_FACT, _EXPORTED_ON)
        return date.fromisoformat(value.decode()) if value else None

    def left_out(self) -> dict[str, str]:
        """Return what the last loads left out, as a sentence for each table."""
        value = self._read(_FACT, _LEFT_OUT)
        sentences: dict[str, str] = orjson.loads(value) if value else {}
        return sentences

    def note_left_out(
        self,
        tables: Iterable[str],
        losses: Iterable[LeftOut],
        currency: str,
    ) -> None:
        """Keep what a load left out, so that decisions can repeat it.

        Parameters
        ----------
        tables : iterable of str
            The tables that were loaded; what was kept of others stays.
        losses : iterable of LeftOut
            What was left out of them.
        currency : str
            The reporting currency.
        """
        sentences = self.left_out()
        for table in tables:
            sentences.pop(table, None)
        for loss in losses:
            sentences[loss.table] = loss.sentence(currency)
        with self.rows.writing() as connection:
            is_own = FACTS.c.name == _LEFT_OUT
            connection.execute(FACTS.delete().where(is_own))
            row = {"name": _LEFT_OUT, "value": orjson.dumps(sentences)}
            connection.execute(FACTS.insert(), [row])

    def account(self, customer_id: str, currencies: Sequence[str] = ()) -> Account:
        """Return one customer's account, the future included.

        Parameters
        ----------
        customer_id : str
            The customer's id in the ledger.
        currencies : sequence of str
            Currencies whose rates are needed besides those of the account.

        Raises
        ------
        UnknownCustomerError
            If the ledger has no such customer.
        SchemaError
            If no ledger is loaded.
        """
        row = self._row(_ACCOUNT, customer_id)
        if row is None:
            raise self.unknown(customer_id)
        return self._completed(_account_of(row), currencies, self.coverage())

    def accounts(self, customer_ids: Iterable[str]) -> dict[str, Account]:
        """Return the accounts of those customers that the ledger has.

        Each has the rates of its own currencies.
        """
        accounts = {}
        coverage = self.coverage()
        for customer_id in dict.fromkeys(customer_ids):
            row = self._row(_ACCOUNT, customer_id)
            if row:
                account = _account_of(row)
                accounts[customer_id] = self._completed(account, (), coverage)
        return accounts

    def every(self) -> Iterator[Account]:
        """Yield every account, with the rates of its own currencies."""
        rates: dict[str, Rates] = {}
        coverage = self.coverage()
        with self.engine.connect() as connection:
            in_chunks = connection.execution_options(yield_per=1000)
            for row in in_chunks.execute(_ACCOUNTS):
                account = _covered(_account_of(row), coverage)
                if len(account.currencies) == 1:
                    yield account
                    continue
                for currency in {*account.currencies} - {account.currency, *rates}:
                    rates.update(self._with_rates(account, (currency,)).rates)
                own = {
                    code: rates[code] for code in account.currencies if code in rates
                }
                yield replace(account, rates=own)

    def reports(self, customer_id: str) -> tuple[BureauReport, ...]:
        """Return what others say of a customer, the future included.

        `data.asof.known_rows` is the gate that removes what was not known on a day.

        Raises
        ------
        RecordError
            If the key they are sealed under is gone.
        """
        sealed = self._read(BUREAU_QUERY, customer_id)
        return self.parties.opened_reports(customer_id, sealed)

    def profile(self, customer_id: str) -> Profile:
        """Return who a customer is; an empty profile if nothing is known.

        Raises
        ------
        RecordError
            If the key it is sealed under is gone.
        """
        sealed = self._read(PROFILE_QUERY, customer_id)
        return self.parties.opened_profile(customer_id, sealed)

    def customer_ids(self, limit: int = 100) -> list[str]:
        """Return the first customers by id."""
        column = ACCOUNTS.c.customer_id
        query = sa.select(column).order_by(column).limit(limit)
        with self.engine.connect() as connection:
            return list(connection.scalars(query))

    def erase(self, customer_id: str, stand_in: str) -> int:
        """Delete every row about a customer; `rewrite` removes what is left of them.

        Parameters
        ----------
        customer_id : str
            The customer.
        stand_in : str
            A random id that takes the customer's place above others of its group.

        Returns
        -------
        int
            How many rows were deleted or changed; 0 if the store has none.
        """
        ids = [customer_id, *self._lei_of(customer_id)]
        with self.rows.writing() as connection:
            children = self.parties.children_of(connection, customer_id)
            self.rows.rename_parent(connection, children, ids, stand_in)
            self.rows.erase_from_groups(connection, ids, stand_in)
            n_rows = self.parties.erase(connection, customer_id, stand_in)
            for table in METADATA.sorted_tables:
                if "customer_id" in table.c:
                    is_own = table.c.customer_id == customer_id
                    n_rows += connection.execute(table.delete().where(is_own)).rowcount
        return n_rows

    def _lei_of(self, customer_id: str) -> list[str]:
        """Return the LEI of a customer, which stands for it in tables of groups."""
        try:
            lei = self.profile(customer_id).lei
        except ObligorError:
            # Without its key nobody can read it; the erasure goes on.
            return []
        return [lei] if lei else []

    def rewrite(self) -> None:
        """Leave no copy of a deleted row: not in free pages, not in the log.

        It does nothing in PostgreSQL, where ``VACUUM FULL`` does it.

        Raises
        ------
        RecordError
            If somebody reads the file for so long that its log cannot be cut.
        """
        if self.engine.dialect.name != "sqlite":
            return
        autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        with autocommit.connect() as connection:
            connection.exec_driver_sql("PRAGMA busy_timeout=30000")
            connection.exec_driver_sql("VACUUM")
            is_busy, *_ = connection.exec_driver_sql(
                "PRAGMA wal_checkpoint(TRUNCATE)"
            ).one()
        if is_busy:
            raise RecordError(
                "the rows are deleted, but the file is being read, so that copies of "
                "them remain in it",
                where="ledger store",
                do="erase the customer again",
            )

    def coverage(self) -> tuple[Coverage, ...]:
        """Return how far the loaded ledger reaches; empty for an earlier version's."""
        value = self._read(_FACT, STATE)
        if value is None:
            return ()
        # Parsed once: 1 us for the comparison, 20 us for the parsing.
        if value != self._state_value:
            self._coverage = LedgerState.unpacked(value).coverage
            self._state_value = value
        return self._coverage

    def _completed(
        self,
        account: Account,
        currencies: Sequence[str],
        coverage: tuple[Coverage, ...],
    ) -> Account:
        """Return an account with its rates, and with what the ledger covers."""
        return self._with_rates(_covered(account, coverage), currencies)

    def _with_rates(self, account: Account, currencies: Sequence[str]) -> Account:
        foreign = {*account.currencies, *currencies} - {account.currency}
        if not foreign:
            return account
        rates = {}
        for currency in sorted(foreign):
            packed = self._read(_RATE, currency)
            if packed:
                rates[currency] = Rates(*np.frombuffer(packed).reshape(3, -1))
        return replace(account, rates=rates)

    def _read(self, query: sa.Select[tuple[bytes]], key: str) -> bytes | None:
        """Return the only cell that a query selects; None if it selects no row."""
        row = self._row(query, key)
        return bytes(row[0]) if row else None

    def _row(self, query: _Query, key: str) -> Sequence[bytes] | None:
        """Run a query on this thread's cursor, once more if the connection broke."""
        try:
            return self._fetch(query, key)
        except self.engine.dialect.loaded_dbapi.Error:
            self._thread.connection.invalidate()
            del self._thread.cursor
            return self._fetch(query, key)

    def _fetch(self, query: _Query, key: str) -> Sequence[bytes] | None:
        # Past SQLAlchemy, whose execution takes six times as long as the query.
        thread = self._thread
        if not hasattr(thread, "cursor"):
            thread.connection = self._reader.connect()
            thread.cursor = thread.connection.connection.cursor()
        parameters = (key,) if self._is_positional else {"key": key}
        thread.cursor.execute(self._sql[query], parameters)
        row: Sequence[bytes] | None = thread.cursor.fetchone()
        return row

    def unknown(self, customer_id: str) -> SchemaError | UnknownCustomerError:
        """Return the error to raise about a customer that the ledger does not have."""
        if not self.customer_ids(1):
            return _not_loaded()
        return UnknownCustomerError(
            f"no customer {customer_id!r} in the ledger",
            where="customer_id",
            do="load it or send its ledger",
        )


def _account_of(row: Sequence[bytes | None]) -> Account:
    """Return the account of a row of `_ACCOUNTS`, with what was added to it."""
    packed, addition = row
    account = unpacked(bytes(packed or b""))
    if addition is None:
        return account
    return with_addition(account, unpacked_addition(bytes(addition)))


def _covered(account: Account, coverage: tuple[Coverage, ...]) -> Account:
    """Return an account with what the loaded ledger covers."""
    if not coverage:
        return account
    return replace(
        account,
        observed_until=coverage[-1].observed_until,
        coverage=coverage,
    )


def _not_loaded() -> SchemaError:
    return SchemaError(
        "no ledger is loaded",
        where="ledger store",
        do="run `obligor load`, or send a ledger",
    )


def write_export_day(connection: sa.Connection, exported_on: date | None) -> None:
    """State the day of the export, or that it is not stated any more."""
    connection.execute(FACTS.delete().where(FACTS.c.name == _EXPORTED_ON))
    if exported_on is not None:
        value = exported_on.isoformat().encode()
        connection.execute(FACTS.insert(), {"name": _EXPORTED_ON, "value": value})


def _use_wal(connection: Connection, _: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
