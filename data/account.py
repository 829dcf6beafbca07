"""One customer's part of a ledger as whole numbers: what the gate, the feature kernel and the ledger store share.

Days are counted from 1970-01-01, amounts of items and events are whole minor units of the item's currency.
Arrays have one row per column of a table, so that every column lies together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np
import orjson
import pandas as pd
from numpy.typing import NDArray

from obligor.data.ledger import Ledger
from obligor.data.money import minor_digits

EPOCH = date(1970, 1, 1)
OPEN_END = 2**40  # the end of what has not ended: after every day
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

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


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


def day_number(day: date) -> int:
    """Return the days since 1970-01-01."""
    return (day - EPOCH).days


def day_of(number: int) -> date:
    """Return the day of a number."""
    return EPOCH + timedelta(days=int(number))


def accounts_of(ledger: Ledger) -> Iterator[Account]:
    """Give every customer's account, without rates.

    Parameters
    ----------
    ledger : Ledger
        A checked ledger.
    """
    customers = ledger["customers"].sort_values("customer_id", ignore_index=True)
    ids = pd.Index(customers["customer_id"])
    codes = pd.Index([ledger.currency]).append(
        pd.Index(ledger["invoices"]["currency"].unique())
    )
    codes = codes.append(
        pd.Index(ledger["limits"]["currency"].unique())
    ).drop_duplicates()
    units = np.array([10.0 ** minor_digits(code) for code in codes])
    invoices = ledger["invoices"].assign(
        customer=lambda f: ids.get_indexer(pd.Index(f["customer_id"]))
    )
    invoices = invoices.sort_values(["customer", "invoice_id"], ignore_index=True)
    currency = codes.get_indexer(pd.Index(invoices["currency"]))
    amount = minor(invoices["amount"], units[currency])
    items = np.stack(
        [
            days(invoices["issued_on"]),
            days(invoices["due_on"]),
            amount,
            currency,
            days(invoices["known_on"]),
        ]
    )
    events = events_of(ledger, pd.Index(invoices["invoice_id"]), units[currency])
    registered = np.stack(
        [days(customers["registered_on"]), days(customers["known_on"])]
    )
    limits, limit_of = _limits(ledger, ids, codes)
    statements, statement_of = _statements(ledger, ids)
    every = np.arange(len(ids) + 1)
    first_item = np.searchsorted(invoices["customer"].to_numpy(), every)
    first_event = np.searchsorted(events[ITEM], first_item)
    first_limit, first_statement = (
        np.searchsorted(limit_of, every),
        np.searchsorted(statement_of, every),
    )
    groups = [_texts(customers, name) for name in ("sector", "country")]
    names, invoice_ids, until = (
        ids.tolist(),
        invoices["invoice_id"].tolist(),
        ledger.observed_until,
    )
    for n, name in enumerate(names):
        a, b, c, d = (
            first_item[n],
            first_item[n + 1],
            first_event[n],
            first_event[n + 1],
        )
        mine = events[:, c:d].copy()
        mine[ITEM] -= a
        is_foreign = (
            items[CURRENCY, a:b].any()
            or limits[LIMIT_CURRENCY, first_limit[n] : first_limit[n + 1]].any()
        )
        yield Account(
            name,
            ledger.currency,
            tuple(codes) if is_foreign else (ledger.currency,),
            invoice_ids[a:b],
            registered[:, n : n + 1],
            items[:, a:b],
            mine,
            limits[:, first_limit[n] : first_limit[n + 1]],
            statements[:, first_statement[n] : first_statement[n + 1]],
            observed_until=until,
            sector=groups[0][n],
            country=groups[1][n],
        )


def _texts(customers: pd.DataFrame, name: str) -> list[str]:
    if name not in customers:
        return [""] * len(customers)
    return customers[name].astype("object").fillna("").tolist()


def rates_of(ledger: Ledger) -> dict[str, Floats]:
    """Return each foreign currency's rates by day, as `Account.rates` holds them."""
    rates = ledger["fx_rates"].sort_values(["currency", "rate_on"], kind="stable")
    return {
        str(code): np.stack(
            [days(rows["rate_on"]), rows["rate"], days(rows["known_on"])]
        ).astype(np.float64)
        for code, rows in rates.groupby("currency")
    }


def days(values: pd.Series[Any]) -> Ints:
    """Return the days since 1970-01-01."""
    return values.to_numpy().astype("datetime64[D]").astype("int64")


def minor(amount: pd.Series[float], units: Floats) -> Ints:
    """Return whole minor units."""
    return np.rint(amount.to_numpy() * units).astype("int64")


def events_of(ledger: Ledger, place: pd.Index, units: Floats) -> Ints:
    """Return every event, shape (7, n), by item and day; `place` finds an item, `units` are its minor units."""
    parts = []
    for order, (table, (kind, day, end)) in enumerate(EVENT_TABLES.items()):
        rows = ledger[table]
        item = place.get_indexer(pd.Index(rows["invoice_id"]))
        value = (
            np.zeros(len(rows), dtype=np.int64)
            if table == "disputes"
            else minor(rows["amount"], units[item])
        )
        kinds = np.full(len(rows), kind)
        if table == "payments":
            kinds[(rows["kind"] == "credit_note").to_numpy()] = CREDIT_NOTE
        ends = np.full(len(rows), OPEN_END)
        if end:
            has_end = rows[end].notna().to_numpy()
            ends[has_end] = days(rows[end][has_end])
        parts.append(
            np.stack(
                [
                    item,
                    days(rows[day]),
                    np.full(len(rows), order),
                    kinds,
                    value,
                    ends,
                    days(rows["known_on"]),
                ]
            )
        )
    events = np.concatenate(parts, axis=1).astype(np.int64)
    return np.ascontiguousarray(
        events[:, np.lexsort((events[ORDER], events[DAY], events[ITEM]))]
    )


def _limits(ledger: Ledger, ids: pd.Index, codes: pd.Index) -> tuple[Floats, Ints]:
    rows = ledger["limits"]
    rows = rows.assign(customer=ids.get_indexer(pd.Index(rows["customer_id"])))
    rows = rows.sort_values(["customer", "known_on"], kind="stable")
    limits = np.stack(
        [
            days(rows["known_on"]),
            rows["amount"],
            codes.get_indexer(pd.Index(rows["currency"])),
        ]
    )
    return limits.astype(np.float64), rows["customer"].to_numpy()


def _statements(ledger: Ledger, ids: pd.Index) -> tuple[Floats, Ints]:
    rows = ledger["financials"]
    rows = rows.assign(customer=ids.get_indexer(pd.Index(rows["customer_id"])))
    rows = rows.sort_values(["customer", "period_end", "known_on"], kind="stable")
    ratios = [rows[part] / rows[whole].where(rows[whole] > 0) for part, whole in RATIOS]
    columns: list[Any] = [
        days(rows["period_end"]),
        days(rows["known_on"]),
        *ratios,
        *(rows[name] for name in AMOUNTS),
    ]
    statements = np.stack(columns).astype(np.float64)
    return statements, rows["customer"].to_numpy()


def account_of_rows(
    customer_id: str,
    currency: str,
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    observed_until: date | None = None,
) -> Account:
    """Return the account of plain rows, dates and amounts as they were sent.

    Parameters
    ----------
    rows : mapping of str to sequence of mapping
        Per table of the ledger, every row with its `known_on`; events only of the items among them.
    """
    invoices = sorted(
        rows.get("invoices", ()), key=lambda row: row["invoice_id"]
    )  # the order of a ledger
    limits = sorted(rows.get("limits", ()), key=lambda row: row["known_on"])
    codes = tuple(
        dict.fromkeys([currency, *(row["currency"] for row in (*invoices, *limits))])
    )
    place, code = (
        {row["invoice_id"]: n for n, row in enumerate(invoices)},
        {name: n for n, name in enumerate(codes)},
    )
    events = [
        (
            place[row["invoice_id"]],
            *_event(row, table, order, invoices[place[row["invoice_id"]]]["currency"]),
        )
        for order, table in enumerate(EVENT_TABLES)
        for row in rows.get(table, ())
    ]
    statements = sorted(
        rows.get("financials", ()), key=lambda row: (row["period_end"], row["known_on"])
    )
    return Account(
        customer_id=customer_id,
        currency=currency,
        currencies=codes,
        invoice_ids=list(place),
        registered=_columns(
            [
                (day_number(r["registered_on"]), day_number(r["known_on"]))
                for r in rows.get("customers", ())
            ],
            2,
        ),
        items=_columns(
            [
                (
                    day_number(r["issued_on"]),
                    day_number(r["due_on"]),
                    _minor_units(r["amount"], r["currency"]),
                    code[r["currency"]],
                    day_number(r["known_on"]),
                )
                for r in invoices
            ],
            5,
        ),
        events=_columns(sorted(events, key=lambda event: event[:3]), 7),
        limits=_columns(
            [
                (day_number(r["known_on"]), float(r["amount"]), code[r["currency"]])
                for r in limits
            ],
            3,
            np.float64,
        ),
        statements=_columns(
            [
                (
                    day_number(r["period_end"]),
                    day_number(r["known_on"]),
                    *(_quotient(r, part, whole) for part, whole in RATIOS),
                    *(
                        np.nan if r.get(name) is None else float(r[name])
                        for name in AMOUNTS
                    ),
                )
                for r in statements
            ],
            7,
            np.float64,
        ),
        rates=_rates_of_rows(rows.get("fx_rates", ())),
        observed_until=observed_until,
    )


def _columns(
    rows: Sequence[tuple[Any, ...]], width: int, kind: Any = np.int64
) -> NDArray[Any]:
    return np.ascontiguousarray(np.array(rows, dtype=kind).reshape(-1, width).T)


def _event(
    row: Mapping[str, Any], table: str, order: int, currency: str
) -> tuple[int, ...]:
    kind, day, end = EVENT_TABLES[table]
    kind = CREDIT_NOTE if row.get("kind") == "credit_note" else kind
    value = 0 if table == "disputes" else _minor_units(row["amount"], currency)
    until = day_number(row[end]) if end and row[end] is not None else OPEN_END
    return day_number(row[day]), order, kind, value, until, day_number(row["known_on"])


def _minor_units(amount: float, currency: str) -> int:
    return round(float(amount) * float(10 ** minor_digits(currency)))


def _quotient(statement: Mapping[str, Any], part: str, whole: str) -> float:
    values: Sequence[float | None] = [statement.get(part), statement.get(whole)]
    if values[0] is None or not values[1] or values[1] <= 0:
        return np.nan
    return float(values[0]) / float(values[1])


def _rates_of_rows(rows: Sequence[Mapping[str, Any]]) -> dict[str, Floats]:
    found: dict[str, list[tuple[int, float, int]]] = {}
    for row in sorted(rows, key=lambda row: row["rate_on"]):
        rate = (
            day_number(row["rate_on"]),
            float(row["rate"]),
            day_number(row["known_on"]),
        )
        found.setdefault(row["currency"], []).append(rate)
    return {code: _columns(rates, 3, np.float64) for code, rates in found.items()}
