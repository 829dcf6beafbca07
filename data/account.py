"""One customer's part of a ledger as whole numbers: what the gate, the feature kernel and the ledger store share.

Days are counted from 1970-01-01, amounts of items and events are whole minor units of the item's currency.
Arrays have one row per column of a table, so that every column lies together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from obligor.arrays import Floats, Ints
from obligor.data.days import OPEN_END

# What can happen to an item after it was issued.
PAYMENT, CREDIT_NOTE, WRITE_OFF, DISPUTE, PROMISE = 0, 1, 2, 3, 4

# Columns of items, of events, of limits, of statements, of rates.
ISSUED, DUE, AMOUNT, CURRENCY, ITEM_KNOWN = range(5)

ITEM, DAY, ORDER, KIND, VALUE, END, EVENT_KNOWN = range(7)

LIMIT_KNOWN, LIMIT, LIMIT_CURRENCY = range(3)

(
    PERIOD_END,
    STATEMENT_KNOWN,
    EQUITY_RATIO,
    CURRENT_RATIO,
    NET_MARGIN,
    EQUITY,
    TURNOVER,
) = range(7)

RATE_ON, RATE, RATE_KNOWN = range(3)

# table -> (kind, day column, end column); the order in which same-day events of an item are taken
EVENT_TABLES = {
    "promises": (PROMISE, "promised_on", "pay_by"),
    "disputes": (DISPUTE, "opened_on", "resolved_on"),
    "payments": (PAYMENT, "paid_on", None),
    "write_offs": (WRITE_OFF, "written_off_on", None),
}

AMOUNTS = ("equity", "turnover")

RATIOS = (
    ("equity", "total_assets"),
    ("current_assets", "current_liabilities"),
    ("net_income", "turnover"),
)

_SHAPES = (
    ("registered", 2),
    ("items", 5),
    ("events", 7),
    ("limits", 3),
    ("statements", 7),
)

_FLOATS = ("limits", "statements")


@dataclass(frozen=True)
class Account:
    """One customer's part of a ledger, the future included: `data.asof.known_account` is the gate.

    Attributes
    ----------
    currency : str
        The reporting currency.
    currencies : tuple of str
        What the currency columns count through; the reporting currency first.
    invoice_ids : sequence of str
        The items' names, in the order of `items`: sorted.
    registered : array of int, shape (2, 0 or 1)
        Day of registration, day it became known.
    items, events : arrays of int
        One column per item, and per event by item and day; rows as named above.
    limits, statements : arrays of float
        One column per limit by the day it became known, and per statement by period and that day.
    rates : mapping of str to array of float
        Of each foreign currency: day, rate into the reporting currency, day it became known, by day.
    observed_until : date, optional
        The last day the ledger knows of; None for rows sent along.
    learnt_until : int, optional
        The last day anything but a rate was learnt, where that was worked out: `last_learnt`.
    sector, country : str
        Of the customer, empty where not known.
    """

    customer_id: str
    currency: str
    currencies: tuple[str, ...]
    invoice_ids: Sequence[str]
    registered: Ints
    items: Ints
    events: Ints
    limits: Floats
    statements: Floats
    rates: Mapping[str, Floats] = field(default_factory=dict)
    observed_until: date | None = None
    learnt_until: int | None = None
    sector: str = ""
    country: str = ""

    def last_learnt(self) -> int:
        """Return the last day on which anything but a rate became known: from then on nothing is hidden."""
        resolved = self.events[
            END, (self.events[KIND] == DISPUTE) & (self.events[END] < OPEN_END)
        ]
        columns = (
            self.registered[1],
            self.items[ITEM_KNOWN],
            self.events[EVENT_KNOWN],
            resolved,
            self.limits[LIMIT_KNOWN],
            self.statements[STATEMENT_KNOWN],
        )
        return max((int(column.max()) for column in columns if len(column)), default=0)

    def last_statement(self) -> tuple[float, float]:
        """Return equity and turnover of the last statement, NaN where not known."""
        equity, turnover = (
            self.statements[EQUITY:, -1].tolist()
            if self.statements.shape[1]
            else (np.nan, np.nan)
        )
        return equity, turnover

    def packed(self) -> bytes:
        """Return the account without its rates as bytes; `unpacked` reads them."""
        arrays = [getattr(self, name) for name, _ in _SHAPES]
        head = np.array([array.shape[1] for array in arrays], dtype=np.int64)
        names = {
            "customer_id": self.customer_id,
            "currencies": self.currencies,
            "observed_until": self.observed_until,
            "learnt_until": self.last_learnt(),
            "invoice_ids": list(self.invoice_ids),
            "sector": self.sector,
            "country": self.country,
        }
        return b"".join(
            [
                head.tobytes(),
                *(array.tobytes() for array in arrays),
                orjson.dumps(names),
            ]
        )


def unpacked(packed: bytes) -> Account:
    """Return the account that `Account.packed` wrote."""
    head, at = (
        np.frombuffer(packed, dtype=np.int64, count=len(_SHAPES)),
        8 * len(_SHAPES),
    )
    arrays: dict[str, Any] = {}
    for (name, rows), columns in zip(_SHAPES, head.tolist(), strict=True):
        kind = np.float64 if name in _FLOATS else np.int64
        array: NDArray[Any] = np.frombuffer(
            packed, dtype=kind, count=rows * columns, offset=at
        )
        arrays[name], at = array.reshape(rows, columns), at + array.nbytes
    names = orjson.loads(memoryview(packed)[at:])
    until = names["observed_until"]
    return Account(
        customer_id=names["customer_id"],
        currency=names["currencies"][0],
        currencies=tuple(names["currencies"]),
        invoice_ids=names["invoice_ids"],
        observed_until=until and date.fromisoformat(until),
        learnt_until=names["learnt_until"],
        sector=names.get(
            "sector", ""
        ),  # a ledger that was loaded by an earlier version
        country=names.get("country", ""),
        **arrays,
    )
