"""Building accounts: from the tables of a ledger, or from the plain rows of a request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from obligor.arrays import Floats, Ints
from obligor.data.account import (
    AMOUNTS,
    CREDIT_NOTE,
    CURRENCY,
    DAY,
    EVENT_TABLES,
    ITEM,
    LIMIT_CURRENCY,
    ORDER,
    RATIOS,
    Account,
)
from obligor.data.days import OPEN_END, day_number, days
from obligor.data.ledger import Ledger
from obligor.data.money import minor_digits


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
