"""One customer's part of a ledger, as columns of whole numbers.

The gate, the feature kernel and the ledger store share this form. Days are counted from
1970-01-01. Amounts of items and events are whole minor units of the item's currency.
Each table is a NamedTuple of arrays of one length: numba compiles code that reads
``items.due[n]``, and a column is never mistaken for another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray

from obligor.arrays import Bools, Floats, Ints
from obligor.data.coverage import Coverage
from obligor.data.days import OPEN_END

# What can happen to an item after it was issued: the values of `Events.kind`.
PAYMENT = 0
CREDIT_NOTE = 1
WRITE_OFF = 2
DISPUTE = 3
PROMISE = 4
# These are in stored accounts only: the gate turns them into what they change.
EXTENSION = 5
CANCELLATION = 6

# How amounts are counted. The first is that of ledgers stored before version 0.2.0: an
# overpayment is forgotten, an open item keeps the rate of the day it was issued.
FIRST_ACCOUNTING = 1
ACCOUNTING = 2

# What is done with money that belongs to no item.
OLDEST_FIRST = "oldest_first"
AS_ALLOCATED = "as_allocated"


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
    "extensions": EventTable(EXTENSION, "extended_on", "due_on"),
    "cancellations": EventTable(CANCELLATION, "cancelled_on", None),
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
    """The items, by id; ``currency`` is an index into `Account.currencies`.

    Several rows of one id are versions of it: ``until`` is the first day on which a
    row is no longer true, `OPEN_END` if it still is. Items of one ``document`` number
    are parts of one invoice.
    """

    issued: Ints
    due: Ints
    amount: Ints
    currency: Ints
    known_on: Ints
    until: Ints
    document: Ints


class Events(NamedTuple):
    """What happened to the items, by item, day and order.

    Attributes
    ----------
    item : array of int
        Index of the item, of its first version if there are several.
    day : array of int
        The day of the event.
    order : array of int
        Its place among the events of one item and day: the order of `EVENT_TABLES`.
    kind : array of int
        ``PAYMENT``, ``CREDIT_NOTE``, ``WRITE_OFF``, ``DISPUTE`` or ``PROMISE``; in a
        stored account ``EXTENSION`` and ``CANCELLATION`` too.
    value : array of int
        Minor units. In a stored account a negative value undoes an earlier event of
        the same kind. The disputed amount of a dispute, 0 if it is the whole item.
    end : array of int
        The day to pay by of a promise, the day of resolution of a dispute, the new due
        day of an extension, the day of what a negative value undoes; `OPEN_END` if
        there is none.
    known_on : array of int
        The day on which the event became known.
    until : array of int
        The first day on which the row is no longer true; `OPEN_END` if it still is.
    """

    item: Ints
    day: Ints
    order: Ints
    kind: Ints
    value: Ints
    end: Ints
    known_on: Ints
    until: Ints


class Money(NamedTuple):
    """The customer's money without an item, by day and kind.

    Attributes
    ----------
    day : array of int
        The day on which it came.
    kind : array of int
        ``PAYMENT`` or ``CREDIT_NOTE``.
    value : array of int
        Minor units of its currency. In a stored account a negative value takes from
        earlier money: it was returned, paid out, or allocated to an item.
    currency : array of int
        Index into `Account.currencies`.
    end : array of int
        The day of the money a negative value takes from; `OPEN_END` if not known.
    known_on, until : array of int
        As in `Events`.
    document : array of int
        The number of the document it is for, as in `Items`; -1 if there is none.
    """

    day: Ints
    kind: Ints
    value: Ints
    currency: Ints
    end: Ints
    known_on: Ints
    until: Ints
    document: Ints


class Returned(NamedTuple):
    """The payments that came back: what they undo is among events and money.

    Attributes
    ----------
    day : array of int
        The day on which a payment came back.
    number : array of int
        The payment; rows of one number are parts of one payment.
    known_on, until : array of int
        As in `Events`.
    """

    day: Ints
    number: Ints
    known_on: Ints
    until: Ints


def none_returned() -> Returned:
    """Return a table of returned payments without rows."""
    return Returned(*[np.empty(0, dtype=np.int64) for _ in Returned._fields])


def no_money() -> Money:
    """Return a table of money without rows."""
    return Money(*[np.empty(0, dtype=np.int64) for _ in Money._fields])


class EarlierMaster(NamedTuple):
    """What was true of a customer until a day, if it changed then.

    Attributes
    ----------
    until : int
        The first day on which it was no longer true.
    registered_on, known_on : int
        As in `Registration`.
    sector, country : str
        As in `Account`.
    set_aside : int
        As in `Account`.
    group_limit : float, optional
        As in `Account`.
    """

    until: int
    registered_on: int
    known_on: int
    sector: str
    country: str
    set_aside: int
    group_limit: float | None = None


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


Columns: TypeAlias = tuple[NDArray[np.int64] | NDArray[np.float64], ...]
Table = TypeVar(
    "Table",
    Registration,
    Items,
    Events,
    Money,
    Limits,
    Returned,
    Statements,
    Rates,
)


def currencies_in_use(items: Items, limits: Limits, money: Money) -> int:
    """Return how many currencies are needed, counted up to the last one in use.

    Parameters
    ----------
    items : Items
        Of an account.
    limits : Limits
        Of the same account.
    money : Money
        Of the same account.

    Examples
    --------
    >>> empty = np.empty(0)
    >>> limits = Limits(*[np.array([0.0, 2.0])] * len(Limits._fields))
    >>> currencies_in_use(Items(*[empty] * len(Items._fields)), limits, no_money())
    3
    """
    last = 0
    for currency in (items.currency, limits.currency, money.currency):
        if len(currency):
            last = max(last, int(currency.max()))
    return last + 1


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
        The currencies of items, money and limits; the reporting currency first.
    invoice_ids : sequence of str
        The ids of the items, sorted, in the order of `items`.
    registered : Registration
        At most one row.
    items : Items
        One row per item, or per version of it.
    events : Events
        One row per payment, credit note, write-off, dispute and promise of an item.
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
    money : Money
        Money of the customer without an item; behind the gate, what is left of it.
    accounting : int
        `FIRST_ACCOUNTING` for what an earlier version stored, else `ACCOUNTING`.
    unapplied_policy : str
        `OLDEST_FIRST`: money without an item pays the oldest items. `AS_ALLOCATED`:
        it stays as it is.
    set_aside : int
        Rows of the customer that could not be used.
    is_plain : bool, optional
        Whether there is nothing to settle, if it was computed when the account was
        stored.
    earlier : tuple of EarlierMaster
        What was true of the customer before, by day; empty behind the gate.
    coverage : sequence of Coverage
        How far the loaded ledger reaches; not packed.
    has_unmatched : bool
        Behind the gate: whether a row that undoes something found nothing to undo.
    returned : Returned
        The payments that came back.
    group_limit : float, optional
        What the customer and all below it may owe together, in the reporting currency.
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
    money: Money = field(default_factory=no_money)
    accounting: int = ACCOUNTING
    unapplied_policy: str = OLDEST_FIRST
    set_aside: int = 0
    is_plain: bool | None = None
    has_unmatched: bool = False
    earlier: tuple[EarlierMaster, ...] = ()
    coverage: Sequence[Coverage] = ()
    returned: Returned = field(default_factory=none_returned)
    group_limit: float | None = None

    @property
    def is_incomplete(self) -> bool:
        """Whether the ledger may lack a part of what the customer owes."""
        return self.set_aside > 0 or self.has_unmatched

    def last_learnt(self) -> int:
        """Return the last day on which anything but a rate became known.

        From that day on the gate has nothing to hide.
        """
        is_resolved = (self.events.kind == DISPUTE) & (self.events.end < OPEN_END)
        columns: list[Ints | Floats] = [
            self.registered.known_on,
            self.items.known_on,
            self.events.known_on,
            self.events.end[is_resolved],
            self.limits.known_on,
            self.statements.known_on,
            self.money.known_on,
        ]
        ends = (self.items.until, self.events.until, self.money.until)
        columns.extend(until[until < OPEN_END] for until in ends)
        columns.append(np.array([row.until for row in self.earlier], dtype=np.int64))
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
        # Stored ledgers and recorded inputs have these forms: they must not change.
        texts: dict[str, object] = {
            "customer_id": self.customer_id,
            "currencies": self.currencies,
            "observed_until": self.observed_until,
            "learnt_until": self.last_learnt(),
            "invoice_ids": list(self.invoice_ids),
            "sector": self.sector,
            "country": self.country,
        }
        if self.accounting == FIRST_ACCOUNTING:
            tables = self._first_tables()
            row_counts = [len(table[0]) for table in tables]
        else:
            tables = self._tables()
            row_counts = [-self.accounting, *(len(table[0]) for table in tables)]
            texts["unapplied_policy"] = self.unapplied_policy
            texts["set_aside"] = self.set_aside
            texts["is_plain"] = self.is_plain
            texts["has_unmatched"] = self.has_unmatched
            if self.earlier:
                texts["earlier"] = [tuple(row) for row in self.earlier]
            if len(self.returned.day):
                texts["returned"] = [column.tolist() for column in self.returned]
            if self.group_limit is not None:
                texts["group_limit"] = self.group_limit
        parts = [np.array(row_counts, dtype=np.int64).tobytes()]
        parts.extend(packed_columns(table) for table in tables)
        parts.append(orjson.dumps(texts))
        return b"".join(parts)

    def _tables(self) -> list[Columns]:
        return [
            self.registered,
            self.items,
            self.events,
            self.limits,
            self.statements,
            self.money,
        ]

    def _first_tables(self) -> list[Columns]:
        """Return the tables of the first form, whose rows are true for ever."""
        items = self.items[:5]
        events = self.events[:7]
        return [
            self.registered,
            items,
            events,
            self.limits,
            self.statements,
        ]


def packed_columns(columns: Columns) -> bytes:
    """Return columns as bytes, one after the other."""
    return b"".join([column.tobytes() for column in columns])


# A packed account begins with the row counts of its tables. Before them comes, in all
# forms but the first, minus the number of the accounting.
_FIRST_HEAD = 5
_HEAD = 7


def unpacked(packed: bytes) -> Account:
    """Return the account that `Account.packed` wrote.

    The columns are views of the bytes, so nothing may write into them.
    """
    # Views of the one buffer: 13 us an account, of which 4 us make the columns.
    head = np.frombuffer(packed, np.int64, _HEAD).tolist()
    if head[0] >= 0:
        return _first_account(packed, head[:_FIRST_HEAD])
    _, n_registered, n_items, n_events, n_limits, n_statements, n_money = head
    offset = 8 * _HEAD
    registered = np.frombuffer(packed, np.int64, 2 * n_registered, offset)
    offset += registered.nbytes
    items = np.frombuffer(packed, np.int64, 7 * n_items, offset)
    offset += items.nbytes
    events = np.frombuffer(packed, np.int64, 8 * n_events, offset)
    offset += events.nbytes
    limits = np.frombuffer(packed, np.float64, 3 * n_limits, offset)
    offset += limits.nbytes
    statements = np.frombuffer(packed, np.float64, 7 * n_statements, offset)
    offset += statements.nbytes
    money = np.frombuffer(packed, np.int64, 8 * n_money, offset)
    offset += money.nbytes
    texts = orjson.loads(memoryview(packed)[offset:])
    until = texts["observed_until"]
    return Account(
        customer_id=texts["customer_id"],
        currency=texts["currencies"][0],
        currencies=tuple(texts["currencies"]),
        invoice_ids=texts["invoice_ids"],
        registered=Registration(*registered.reshape(2, n_registered)),
        items=Items(*items.reshape(7, n_items)),
        events=Events(*events.reshape(8, n_events)),
        limits=Limits(*limits.reshape(3, n_limits)),
        statements=Statements(*statements.reshape(7, n_statements)),
        observed_until=until and date.fromisoformat(until),
        learnt_until=texts["learnt_until"],
        sector=texts["sector"],
        country=texts["country"],
        money=Money(*money.reshape(8, n_money)),
        unapplied_policy=texts["unapplied_policy"],
        set_aside=texts["set_aside"],
        is_plain=texts["is_plain"],
        has_unmatched=texts["has_unmatched"],
        earlier=tuple(EarlierMaster(*row) for row in texts.get("earlier", ())),
        returned=_unpacked_returned(texts.get("returned")),
        group_limit=texts.get("group_limit"),
    )


def _unpacked_returned(columns: Sequence[Sequence[int]] | None) -> Returned:
    """Return the payments that came back; most accounts have none."""
    if columns is None:
        return none_returned()
    return Returned(*[np.array(column, dtype=np.int64) for column in columns])


def _first_account(packed: bytes, row_counts: Sequence[int]) -> Account:
    """Return an account that was packed in the first form."""
    n_registered, n_items, n_events, n_limits, n_statements = row_counts
    offset = 8 * _FIRST_HEAD
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
    items = items.reshape(5, n_items)
    items = items.reshape(5, n_items)
    item_until = np.full(n_items, OPEN_END)
    event_until = np.full(n_events, OPEN_END)
    return Account(
        customer_id=texts["customer_id"],
        currency=texts["currencies"][0],
        currencies=tuple(texts["currencies"]),
        invoice_ids=texts["invoice_ids"],
        registered=Registration(*registered.reshape(2, n_registered)),
        items=Items._make([*items, item_until, np.arange(n_items)]),
        events=Events._make([*events.reshape(7, n_events), event_until]),
        limits=Limits(*limits.reshape(3, n_limits)),
        statements=Statements(*statements.reshape(7, n_statements)),
        observed_until=until and date.fromisoformat(until),
        learnt_until=texts["learnt_until"],
        # The very first ledgers have neither sector nor country.
        sector=texts.get("sector", ""),
        country=texts.get("country", ""),
        accounting=FIRST_ACCOUNTING,
    )
