"""The ledger store: a checked ledger in SQL, from which one customer's account is read in microseconds."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import sqlalchemy as sa

from obligor.data.account import Account, Rates, packed_columns, unpacked
from obligor.data.account_building import accounts_of, rates_of
from obligor.data.ledger import Ledger
from obligor.errors import SchemaError, UnknownCustomerError

_METADATA = sa.MetaData()
CONNECTIONS = 8  # more than the threads a service answers with
_ACCOUNTS = sa.Table(
    "accounts",
    _METADATA,
    sa.Column("customer_id", sa.String, primary_key=True),
    sa.Column("account", sa.LargeBinary, nullable=False),
)
_RATES = sa.Table(
    "rates",
    _METADATA,
    sa.Column("currency", sa.String(3), primary_key=True),
    sa.Column("rates", sa.LargeBinary, nullable=False),
)
_ACCOUNT = sa.select(_ACCOUNTS.c.account).where(
    _ACCOUNTS.c.customer_id == sa.bindparam("key")
)
_RATE = sa.select(_RATES.c.rates).where(_RATES.c.currency == sa.bindparam("key"))


class LedgerStore:
    """A ledger in a database, one row per customer: what is asked for together lies together.

    Parameters
    ----------
    url : str
        A SQLAlchemy URL, e.g. ``sqlite:///store/ledger.db``.
    """

    def __init__(self, url: str) -> None:
        self.engine = sa.create_engine(url, pool_size=CONNECTIONS)
        if self.engine.dialect.name == "sqlite":
            sa.event.listen(self.engine, "connect", _wal)
        _METADATA.create_all(self.engine)
        # As text, since compiling a query costs ten times its run.
        self._sql = {
            query: str(query.compile(dialect=self.engine.dialect))
            for query in (_ACCOUNT, _RATE)
        }
        self._is_positional = self.engine.dialect.positional
        self._reader, self._mine = (
            self.engine.execution_options(isolation_level="AUTOCOMMIT"),
            threading.local(),
        )

    def write(self, ledger: Ledger) -> None:
        """Replace what is stored in one transaction: a reader sees the old ledger or the new one."""
        with self.engine.begin() as connection:
            for table in (_ACCOUNTS, _RATES):
                connection.execute(table.delete())
            rows = [
                {"customer_id": one.customer_id, "account": one.packed()}
                for one in accounts_of(ledger)
            ]
            connection.execute(_ACCOUNTS.insert(), rows)
            rates = [
                {"currency": code, "rates": packed_columns(found)}
                for code, found in rates_of(ledger).items()
            ]
            if rates:
                connection.execute(_RATES.insert(), rates)

    def account(self, customer_id: str, currencies: Sequence[str] = ()) -> Account:
        """Return one customer's account, the future included: `known_account` is the gate.

        Parameters
        ----------
        currencies : sequence of str
            Further currencies whose rates are wanted.

        Raises
        ------
        UnknownCustomerError
            Where the ledger holds no such customer.
        """
        found = self._read(_ACCOUNT, customer_id)
        if found is None:
            raise self.unknown(customer_id)
        return self._with_rates(unpacked(found), currencies)

    def accounts(self, customer_ids: Iterable[str]) -> dict[str, Account]:
        """Return the accounts of those customers that are known, without any rates but their own."""
        found = {
            customer_id: self._read(_ACCOUNT, customer_id)
            for customer_id in dict.fromkeys(customer_ids)
        }
        return {
            name: self._with_rates(unpacked(account), ())
            for name, account in found.items()
            if account
        }

    def every(self) -> Iterator[Account]:
        """Give every account, without any rates but those its currencies need."""
        rates = dict[str, Any]()
        with self.engine.connect() as connection:
            for packed in connection.execution_options(yield_per=1000).scalars(
                sa.select(_ACCOUNTS.c.account)
            ):
                account = unpacked(packed)
                for code in {*account.currencies} - {account.currency, *rates}:
                    rates |= self._with_rates(account, (code,)).rates
                yield replace(
                    account,
                    rates={
                        code: rates[code]
                        for code in account.currencies
                        if code in rates
                    },
                )

    def customer_ids(self, limit: int = 100) -> list[str]:
        """Return the first customers by id."""
        column = _ACCOUNTS.c.customer_id
        with self.engine.connect() as connection:
            return list(
                connection.scalars(sa.select(column).order_by(column).limit(limit))
            )

    def _with_rates(self, account: Account, currencies: Sequence[str]) -> Account:
        wanted = {*account.currencies, *currencies} - {account.currency}
        if not wanted:
            return account
        rates = {code: self._read(_RATE, code) for code in sorted(wanted)}
        return replace(
            account,
            rates={
                code: Rates(*np.frombuffer(found).reshape(3, -1))
                for code, found in rates.items()
                if found
            },
        )

    def _read(self, query: sa.Select[Any], key: str) -> bytes | None:
        """Run one of the two queries on this thread's own cursor: SQLAlchemy's way costs six times its run."""
        parameters: Any = (key,) if self._is_positional else {"key": key}
        for is_last in (False, True):
            try:
                if not hasattr(self._mine, "cursor"):
                    self._mine.connection = self._reader.connect()
                    self._mine.cursor = self._mine.connection.connection.cursor()
                self._mine.cursor.execute(self._sql[query], parameters)
                found = self._mine.cursor.fetchone()
                return bytes(found[0]) if found else None
            except self.engine.dialect.loaded_dbapi.Error:
                # A connection that broke: once more with a new one.
                self._mine.connection.invalidate()
                del self._mine.cursor
                if is_last:
                    raise
        raise AssertionError("unreachable")

    def unknown(self, customer_id: str) -> SchemaError | UnknownCustomerError:
        """Return the error to raise about a customer that is not there."""
        if not self.customer_ids(1):
            return SchemaError(
                "no ledger is loaded",
                where="ledger store",
                do="run `obligor load`, or send a ledger",
            )
        return UnknownCustomerError(
            f"no customer {customer_id!r} in the ledger",
            where="customer_id",
            do="load it or send its ledger",
        )


def _wal(connection: Any, _: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
