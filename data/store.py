"""The ledger store: a checked ledger in SQL, from which one customer's account is read in milliseconds."""

from __future__ import annotations

from datetime import date
from typing import Any

import pandas as pd
import sqlalchemy as sa

from data.errors import SchemaError, UnknownCustomerError
from data.ledger import CONTRACTS, DAY, OF_INVOICE, Account, Ledger, day_columns, number_columns

_METADATA = sa.MetaData()
CONNECTIONS = 8  # more than the threads a service answers with
_OF_CUSTOMER = ("customers", "invoices", "limits", "financials")


def _table(name: str) -> sa.Table:
    days, numbers = day_columns(name), number_columns(name)
    keys = ("customer_id", "invoice_id")
    return sa.Table(
        name,
        _METADATA,
        *(
            sa.Column(column, sa.Date if column in days else sa.Float if column in numbers else sa.String,
                      index=column in keys)
            for column in CONTRACTS[name].columns
        ),
    )  # fmt: skip


_TABLES = {name: _table(name) for name in CONTRACTS}
_META = sa.Table(
    "ledger", _METADATA, sa.Column("currency", sa.String(3)), sa.Column("observed_until", sa.Date, nullable=True)
)
_ACCOUNT_QUERIES = {name: sa.select(_TABLES[name]).where(_TABLES[name].c.customer_id == sa.bindparam("customer_id"))
                    for name in _OF_CUSTOMER}  # fmt: skip
_ACCOUNT_QUERIES |= {
    name: sa.select(_TABLES[name])
    .join(_TABLES["invoices"], _TABLES["invoices"].c.invoice_id == _TABLES[name].c.invoice_id)
    .where(_TABLES["invoices"].c.customer_id == sa.bindparam("customer_id"))
    for name in OF_INVOICE
}


class LedgerStore:
    """A ledger in a database.

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

    def write(self, ledger: Ledger) -> None:
        """Replace what is stored in one transaction: a reader sees the old ledger or the new one."""
        with self.engine.begin() as connection:
            connection.execute(_META.delete())
            for name, table in _TABLES.items():
                connection.execute(table.delete())
                rows = _records(ledger[name], table)
                if rows:
                    connection.execute(table.insert(), rows)
            connection.execute(_META.insert(), {"currency": ledger.currency, "observed_until": ledger.observed_until})

    def account(self, customer_id: str) -> Account:
        """Return one customer's rows, the future included: `known_account` is the gate.

        Raises
        ------
        UnknownCustomerError
            Where the ledger holds no such customer.
        """
        key = {"customer_id": customer_id}
        with self.engine.connect() as connection:
            currency, observed_until = self._about(connection)
            rows = {
                name: [dict(row) for row in connection.execute(query, key).mappings()]
                for name, query in _ACCOUNT_QUERIES.items()
            }
            if not rows["customers"]:
                raise UnknownCustomerError(
                    f"no customer {customer_id!r} in the ledger", where="customer_id", do="load it or send its ledger"
                )
            if any(row["currency"] != currency for row in (*rows["invoices"], *rows["limits"])):
                rates = connection.execute(sa.select(_TABLES["fx_rates"])).mappings()
                rows["fx_rates"] = [dict(row) for row in rates]
        return Account(customer_id, currency, rows, observed_until)

    def customer_ids(self, limit: int = 100) -> list[str]:
        """Return the first customers by id."""
        column = _TABLES["customers"].c.customer_id
        with self.engine.connect() as connection:
            return list(connection.scalars(sa.select(column).order_by(column).limit(limit)))

    def _about(self, connection: sa.Connection) -> tuple[str, date]:
        found = connection.execute(sa.select(_META)).one_or_none()
        if found is None:
            raise SchemaError("no ledger is loaded", where="ledger store", do="run `obligor load`, or send a ledger")
        return found.currency, found.observed_until


def _wal(connection: Any, _: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")


def _records(frame: pd.DataFrame, table: sa.Table) -> list[dict[str, Any]]:
    """Rows as the database takes them: dates for days, None for what is not known."""
    columns = {}
    for column in table.columns:
        values = frame[column.name] if column.name in frame else pd.Series(index=frame.index, dtype=object)
        if values.dtype == DAY:
            columns[column.name] = values.dt.date.astype(object).where(values.notna(), None).tolist()
        else:
            columns[column.name] = values.astype(object).where(values.notna(), None).tolist()
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
