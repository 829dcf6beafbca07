"""The ledger store: a checked ledger in SQL, from which one customer's account is read in microseconds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import sqlalchemy as sa

from data.account import Account, accounts_of, rates_of, unpacked
from data.errors import SchemaError, UnknownCustomerError
from data.ledger import Ledger

_METADATA = sa.MetaData()
CONNECTIONS = 8  # more than the threads a service answers with
MOST_AT_ONCE = 500  # customers asked for in one query
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
_ACCOUNT = sa.select(_ACCOUNTS.c.account).where(_ACCOUNTS.c.customer_id == sa.bindparam("key"))
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
        self._sql = {query: str(query.compile(dialect=self.engine.dialect)) for query in (_ACCOUNT, _RATE)}
        self._is_positional = self.engine.dialect.positional

    def write(self, ledger: Ledger) -> None:
        """Replace what is stored in one transaction: a reader sees the old ledger or the new one."""
        with self.engine.begin() as connection:
            for table in (_ACCOUNTS, _RATES):
                connection.execute(table.delete())
            rows = [{"customer_id": one.customer_id, "account": one.packed()} for one in accounts_of(ledger)]
            connection.execute(_ACCOUNTS.insert(), rows)
            rates = [{"currency": code, "rates": found.tobytes()} for code, found in rates_of(ledger).items()]
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
        with self.engine.connect() as connection:
            found = self._read(connection, _ACCOUNT, customer_id)
            if found is None:
                raise self._unknown(connection, customer_id)
            return self._with_rates(connection, unpacked(found), currencies)

    def accounts(self, customer_ids: Iterable[str]) -> dict[str, Account]:
        """Return the accounts of those customers that are known, without any rates but their own."""
        wanted, found = list(dict.fromkeys(customer_ids)), dict[str, Account]()
        with self.engine.connect() as connection:
            for start in range(0, len(wanted), MOST_AT_ONCE):
                part = wanted[start : start + MOST_AT_ONCE]
                query = sa.select(_ACCOUNTS).where(_ACCOUNTS.c.customer_id.in_(part))
                for customer_id, account in connection.execute(query):
                    found[customer_id] = self._with_rates(connection, unpacked(account), ())
        return found

    def customer_ids(self, limit: int = 100) -> list[str]:
        """Return the first customers by id."""
        column = _ACCOUNTS.c.customer_id
        with self.engine.connect() as connection:
            return list(connection.scalars(sa.select(column).order_by(column).limit(limit)))

    def _with_rates(self, connection: sa.Connection, account: Account, currencies: Sequence[str]) -> Account:
        wanted = {*account.currencies, *currencies} - {account.currency}
        if not wanted:
            return account
        rates = {code: self._read(connection, _RATE, code) for code in sorted(wanted)}
        return replace(
            account, rates={code: np.frombuffer(found).reshape(3, -1) for code, found in rates.items() if found}
        )

    def _read(self, connection: sa.Connection, query: sa.Select[Any], key: str) -> bytes | None:
        parameters: Any = (key,) if self._is_positional else {"key": key}
        found = connection.exec_driver_sql(self._sql[query], parameters).fetchone()
        return found[0] if found else None

    def _unknown(self, connection: sa.Connection, customer_id: str) -> SchemaError | UnknownCustomerError:
        if connection.scalar(sa.select(_ACCOUNTS.c.customer_id).limit(1)) is None:
            return SchemaError("no ledger is loaded", where="ledger store", do="run `obligor load`, or send a ledger")
        return UnknownCustomerError(
            f"no customer {customer_id!r} in the ledger", where="customer_id", do="load it or send its ledger"
        )


def _wal(connection: Any, _: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
