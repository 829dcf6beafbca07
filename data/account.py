"""One customer's part of a ledger, as columns of whole numbers.

The gate, the feature kernel and the ledger store share this form. Days are counted from
1970-01-01. Amounts of items and events are whole minor units of the item's currency.
Each table is a NamedTuple of arrays of one length: numba compiles code that reads
``items.due[n]``, and a column is never mistaken for another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray

from obligor.arrays import Bools, Floats, Ints
from obligor.data.days import OPEN_END

# What can happen to an item after it was issued: the values of `Events.kind`.
PAYMENT = 0
CREDIT_NOTE = 1
WRITE_OFF = 2
DISPUTE = 3
PROMISE = 4


class EventTable(NamedTuple):
    """How a table of the ledger becomes events."""

    kind: int
    day_column: str
    end_column: str | None


# Same-day events of an item are taken in this order.
EVENT_TABLES = {
    "promises": EventTable(PROMISE, "promised_on", "pay_by"),
    "disputes": EventTable(DISPUTE, "opened_on", "resolved_on"),
    "payments": EventTable(PAYMENT, "paid_on", None),
    "write_offs": EventTable(WRITE_OFF, "written_off_on", None),
}

# The ratios of a statement: each is one column over another.
RATIOS = {
    "equity_ratio": ("equity", "total_assets"),
    "current_ratio": ("current_assets", "current_liabilities"),
    "net_margin": ("net_income", "turnover"),
}


class Registration(NamedTuple):
    """When the customer was registered; no row if that is not known."""

    day: Ints
    known_on: Ints


class Items(NamedTuple):
    """The invoices, by id; ``currency`` is an index into `Account.currencies`."""

    issued: Ints
    due: Ints
    amount: Ints
    currency: Ints
    known_on: Ints


class Events(NamedTuple):
    """What happened to the items, by item, day and order.

    Attributes
    ----------
    item : array of int
        Index of the item.
    day : array of int
        The day of the event.
    order : array of int
        Its place among the events of one item and day: the order of `EVENT_TABLES`.
    kind : array of int
        ``PAYMENT``, ``CREDIT_NOTE``, ``WRITE_OFF``, ``DISPUTE`` or ``PROMISE``.
    value : array of int
        Minor units; 0 for a dispute.
    end : array of int
        The day to pay by of a promise, the day of resolution of a dispute, `OPEN_END`
        if there is none.
    known_on : array of int
        The day on which the event became known.
    """

    item: Ints
    day: Ints
    order: Ints
    kind: Ints
    value: Ints
    end: Ints
    known_on: Ints


class Limits(NamedTuple):
    """Credit limits by the day they became known, amounts in major units."""

    known_on: Floats
    amount: Floats
    currency: Floats


class Statements(NamedTuple):
    """Financial statements by period and the day they became known; NaN if unknown."""

    period_end: Floats
    known_on: Floats
    equity_ratio: Floats
    current_ratio: Floats
    net_margin: Floats
    equity: Floats
    turnover: Floats


class Rates(NamedTuple):
    """A currency's rates into the reporting currency, by day."""

    day: Floats
    rate: Floats
    known_on: Floats


Table = TypeVar(
    "Table",
    Registration,
    Items,
    Events,
    Limits,
    Statements,
    Rates,
)


def select(table: Table, rows: Bools | Ints | slice) -> Table:
    """Return some rows of a table of columns.

    Examples
    --------
    >>> rates = Rates(np.array([1.0, 2.0]), np.array([0.9, 0.8]), np.array([1.0, 5.0]))
    >>> select(rates, rates.known_on <= 3).rate.tolist()
    [0.9]
    """
    if isinstance(rows, np.ndarray) and rows.dtype.kind == "b":
        # Turned into indices once: 1.5 instead of 1.9 us for 7 columns.
        rows = rows.nonzero()[0]
    return type(table)(*[column[rows] for column in table])


@dataclass(frozen=True)
class Account:
    """One customer's part of a ledger, the future included.

    `data.asof.known_account` is the gate that removes what was not known on a day.

    Attributes
    ----------
    customer_id : str
        The customer's id in the ledger.
    currency : str
        The reporting currency.
    currencies : tuple of str
        The currencies of items and limits; the reporting currency first.
    invoice_ids : sequence of str
        The ids of the items, sorted, in the order of `items`.
    registered : Registration
        At most one row.
    items : Items
        One row per invoice.
    events : Events
        One row per payment, credit note, write-off, dispute and promise.
    limits : Limits
        One row per credit limit.
    statements : Statements
        One row per statement.
    rates : mapping of str to Rates
        The rates of each foreign currency.
    observed_until : date, optional
        The last day the ledger knows of; None for rows sent with a request.
    learnt_until : int, optional
        The result of `last_learnt`, if it was computed when the account was stored.
    sector, country : str
        Of the customer; empty if not known.
    """

    customer_id: str
    currency: str
    currencies: tuple[str, ...]
    invoice_ids: Sequence[str]
    registered: Registration
    items: Items
    events: Events
    limits: Limits
    statements: Statements
    rates: Mapping[str, Rates] = field(default_factory=dict)
    observed_until: date | None = None
    learnt_until: int | None = None
    sector: str = ""
    country: str = ""

    def last_learnt(self) -> int:
        """Return the last day on which anything but a rate became known.

        From that day on the gate has nothing to hide.
        """
        is_resolved = (self.events.kind == DISPUTE) & (self.events.end < OPEN_END)
        columns = (
            self.registered.known_on,
            self.items.known_on,
            self.events.known_on,
            self.events.end[is_resolved],
            self.limits.known_on,
            self.statements.known_on,
        )
        last_days = [int(column.max()) for column in columns if len(column)]
        return max(last_days, default=0)

    def last_statement(self) -> tuple[float, float]:
        """Return equity and turnover of the last statement, NaN if not known."""
        equity = self.statements.equity
        turnover = self.statements.turnover
        if not len(equity):
            return np.nan, np.nan
        return float(equity[-1]), float(turnover[-1])

    def packed(self) -> bytes:
        """Return the account without its rates as bytes; `unpacked` reads them."""
        # Stored ledgers and recorded inputs have this form: it must not change.
        tables = (
            self.registered,
            self.items,
            self.events,
            self.limits,
            self.statements,
        )
        row_counts = np.array([len(table[0]) for table in tables], dtype=np.int64)
        texts = {
            "customer_id": self.customer_id,
            "currencies": self.currencies,
            "observed_until": self.observed_until,
            "learnt_until": self.last_learnt(),
            "invoice_ids": list(self.invoice_ids),
            "sector": self.sector,
            "country": self.country,
        }
        parts = [row_counts.tobytes()]
        parts.extend(packed_columns(table) for table in tables)
        parts.append(orjson.dumps(texts))
        return b"".join(parts)


def packed_columns(columns: Iterable[NDArray[np.int64] | NDArray[np.float64]]) -> bytes:
    """Return columns as bytes, one after the other."""
    return b"".join([column.tobytes() for column in columns])


# The row counts of the five tables come first.
_HEAD = 5


def unpacked(packed: bytes) -> Account:
    """Return the account that `Account.packed` wrote.

    The columns are views of the bytes, so nothing may write into them.
    """
    # Views of the one buffer: 11 us an account, of which 3 us make the columns.
    head = np.frombuffer(packed, np.int64, _HEAD)
    n_registered, n_items, n_events, n_limits, n_statements = head.tolist()
    offset = head.nbytes
    registered = np.frombuffer(packed, np.int64, 2 * n_registered, offset)
    offset += registered.nbytes
    items = np.frombuffer(packed, np.int64, 5 * n_items, offset)
    offset += items.nbytes
    events = np.frombuffer(packed, np.int64, 7 * n_events, offset)
    offset += events.nbytes
    limits = np.frombuffer(packed, np.float64, 3 * n_limits, offset)
    offset += limits.nbytes
    statements = np.frombuffer(packed, np.float64, 7 * n_statements, offset)
    offset += statements.nbytes
    texts = orjson.loads(memoryview(packed)[offset:])
    until = texts["observed_until"]
    return Account(
        customer_id=texts["customer_id"],
        currency=texts["currencies"][0],
        currencies=tuple(texts["currencies"]),
        invoice_ids=texts["invoice_ids"],
        registered=Registration(*registered.reshape(2, n_registered)),
        items=Items(*items.reshape(5, n_items)),
        events=Events(*events.reshape(7, n_events)),
        limits=Limits(*limits.reshape(3, n_limits)),
        statements=Statements(*statements.reshape(7, n_statements)),
        observed_until=until and date.fromisoformat(until),
        learnt_until=texts["learnt_until"],
        # A ledger loaded by an earlier version has neither sector nor country.
        sector=texts.get("sector", ""),
        country=texts.get("country", ""),
    )
