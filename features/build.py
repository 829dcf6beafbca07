"""The kernel over a whole ledger (compiled) or one account (plain): features in catalogue order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import cache
from math import nan
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data.asof import KnownAccount, KnownLedger
from data.ledger import Ledger, no_rate, reporting_rates
from data.money import minor_digits
from features import kernel
from features.catalogue import NAMES

_EPOCH = date(1970, 1, 1)
_OPEN_END = 2**40  # the end of what has not ended: after every day
# table -> (kind, day column, end column); the order in which same-day events of an item are taken
_EVENTS = {
    "promises": (kernel.PROMISE, "promised_on", "pay_by"),
    "disputes": (kernel.DISPUTE, "opened_on", "resolved_on"),
    "payments": (kernel.PAYMENT, "paid_on", None),
    "write_offs": (kernel.WRITE_OFF, "written_off_on", None),
}


def build_features(known: KnownLedger) -> pd.DataFrame:
    """Return the features of every customer known on the as-of date.

    Parameters
    ----------
    known : KnownLedger
        From `data.asof.known_on`: nothing later can be in it.

    Returns
    -------
    DataFrame
        Index ``customer_id``, one float64 column per catalogue entry, NaN where not known.
    """
    ledger, as_of = known.ledger, (known.as_of - _EPOCH).days
    customers = ledger["customers"]["customer_id"].sort_values().to_numpy()
    invoices = ledger["invoices"].assign(customer=lambda f: pd.Index(customers).get_indexer(f["customer_id"]))
    invoices = invoices.sort_values(["customer", "invoice_id"], ignore_index=True)
    firsts = np.searchsorted(invoices["customer"].to_numpy(), np.arange(len(customers) + 1))
    units = _units(invoices["currency"])
    starts, events = _events(ledger, invoices, units)
    items = (
        _days(invoices["issued_on"]),
        _days(invoices["due_on"]),
        _minor(invoices["amount"], units),
        reporting_rates(ledger, invoices["currency"], invoices["issued_on"]) / units,
        starts,
    )
    out = np.empty((len(customers), len(NAMES)))
    _compiled()(as_of, _standing(ledger, customers), items, events, firsts, np.empty(kernel.WORK), out)
    return pd.DataFrame(out, index=pd.Index(customers, name="customer_id"), columns=list(NAMES))


def account_features(known: KnownAccount) -> list[float]:
    """Return the features of one account in catalogue order: the same kernel, plain.

    Parameters
    ----------
    known : KnownAccount
        From `data.asof.known_account`.
    """
    account = known.account
    invoices = sorted(account["invoices"], key=lambda row: row["invoice_id"])  # the order of the batch
    events_of: dict[str, list[tuple[int, int, int, int]]] = {row["invoice_id"]: [] for row in invoices}
    currency_of = {row["invoice_id"]: row["currency"] for row in invoices}
    for table, (kind, day, end) in _EVENTS.items():
        for row in account[table]:
            invoice_id = row["invoice_id"]
            events_of[invoice_id].append(_event(row, table, kind, day, end, currency_of[invoice_id]))
    starts, events = [0], list[tuple[int, int, int, int]]()
    for row in invoices:
        events += sorted(events_of[row["invoice_id"]], key=lambda event: event[1])
        starts.append(len(events))
    items = (
        [(row["issued_on"] - _EPOCH).days for row in invoices],
        [(row["due_on"] - _EPOCH).days for row in invoices],
        [_minor_units(row["amount"], row["currency"]) for row in invoices],
        [_rate(known, row["currency"], row["issued_on"]) / 10 ** minor_digits(row["currency"]) for row in invoices],
        starts,
    )
    columns = tuple(zip(*events, strict=True)) or ((), (), (), ())
    work, out = [0.0] * kernel.WORK, [nan] * len(NAMES)
    as_of = (known.as_of - _EPOCH).days
    kernel.customer_features(as_of, _account_standing(known), items, columns, 0, len(invoices), work, out)  # type: ignore[arg-type]
    return out


@cache
def _compiled() -> Callable[..., None]:
    """The kernel and the loop over customers, compiled (and kept on disk) by numba."""
    import numba  # here, since a serving process never needs it

    for name in kernel.customer_features.__globals__:
        function = getattr(kernel, name)
        if callable(function) and getattr(function, "__module__", "") == kernel.__name__:
            numba.extending.register_jitable(function)
    return numba.njit(cache=True)(kernel.all_customers)  # type: ignore[no-any-return]


def _days(values: pd.Series[Any]) -> NDArray[np.int64]:
    return values.to_numpy().astype("datetime64[D]").astype("int64")


def _units(currency: pd.Series[str]) -> NDArray[np.float64]:
    """Minor units per major unit of each row's currency."""
    codes, names = pd.factorize(currency)
    return np.array([10.0 ** minor_digits(name) for name in names])[codes]


def _minor(amount: pd.Series[float], units: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(amount.to_numpy() * units).astype("int64")


def _minor_units(amount: float, currency: str) -> int:
    return round(float(amount) * float(10 ** minor_digits(currency)))


def _rate(known: KnownAccount, currency: str, on: date) -> float:
    if currency == known.account.currency:
        return 1.0
    found = [row for row in known.account["fx_rates"] if row["currency"] == currency and row["rate_on"] <= on]
    if not found:
        raise no_rate(currency, known.account.currency, on)
    return float(max(found, key=lambda row: row["rate_on"])["rate"])


def _events(
    ledger: Ledger, invoices: pd.DataFrame, units: NDArray[np.float64]
) -> tuple[NDArray[Any], tuple[NDArray[Any], ...]]:
    """Start of each item's events, and the events' kinds, days, amounts, ends in that order."""
    place = pd.Index(invoices["invoice_id"])
    parts = []
    for order, (table, (kind, day, end)) in enumerate(_EVENTS.items()):
        rows = ledger[table]
        item = place.get_indexer(pd.Index(rows["invoice_id"]))
        if table == "disputes":
            value = rows["resolved_on"].isna().to_numpy().astype("int64")
        else:
            value = _minor(rows["amount"], units[item])
        kinds = np.full(len(rows), kind, dtype="int64")
        if table == "payments":
            kinds[(rows["kind"] == "credit_note").to_numpy()] = kernel.CREDIT_NOTE
        ends = _days(rows[end].fillna(rows[day])) if table == "promises" and end else np.full(len(rows), _OPEN_END)
        parts.append(np.column_stack([item, _days(rows[day]), np.full(len(rows), order), kinds, value, ends]))
    table_ = np.concatenate(parts).astype("int64")
    table_ = table_[np.lexsort((table_[:, 2], table_[:, 1], table_[:, 0]))]
    starts = np.searchsorted(table_[:, 0], np.arange(len(invoices) + 1))
    kinds, days, values, ends = (np.ascontiguousarray(table_[:, column]) for column in (3, 1, 4, 5))
    return starts, (kinds, days, values, ends)


def _event(
    row: Mapping[str, Any], table: str, kind: int, day: str, end: str | None, currency: str
) -> tuple[int, int, int, int]:
    happened = (row[day] - _EPOCH).days
    if table == "disputes":
        return kind, happened, int(row["resolved_on"] is None), _OPEN_END
    if row.get("kind") == "credit_note":
        kind = kernel.CREDIT_NOTE
    until = (row[end] - _EPOCH).days if table == "promises" and end else _OPEN_END
    return kind, happened, _minor_units(row["amount"], currency), until


def _standing(ledger: Ledger, customers: NDArray[Any]) -> NDArray[np.float64]:
    """Registration day, limit and financial ratios per customer; NaN where not known."""
    registered = ledger["customers"].set_index("customer_id")["registered_on"].reindex(customers)
    limits = ledger["limits"]
    limits = limits.assign(value=limits["amount"] * reporting_rates(ledger, limits["currency"], limits["known_on"]))
    limit = limits.sort_values("known_on", kind="stable").groupby("customer_id")["value"].last().reindex(customers)
    last = ledger["financials"].sort_values(["period_end", "known_on"], kind="stable")
    last = last.groupby("customer_id").tail(1).set_index("customer_id").reindex(customers)
    columns: list[Any] = [
        _days(registered).astype(float),
        limit,
        last["equity"] / last["total_assets"],
        last["current_assets"] / last["current_liabilities"].where(last["current_liabilities"] > 0),
        last["net_income"] / last["turnover"].where(last["turnover"] > 0),
    ]
    return np.column_stack([np.asarray(column, dtype=np.float64) for column in columns])


def _account_standing(known: KnownAccount) -> list[float]:
    account = known.account
    registered = [row["registered_on"] for row in account["customers"]]
    limit = nan
    limits = sorted(account["limits"], key=lambda row: row["known_on"])
    if limits:
        limit = float(limits[-1]["amount"]) * _rate(known, limits[-1]["currency"], limits[-1]["known_on"])
    statements = sorted(account["financials"], key=lambda row: (row["period_end"], row["known_on"]))
    statement = statements[-1] if statements else {}
    return [
        float((registered[0] - _EPOCH).days) if registered else nan,
        limit,
        _quotient(statement, "equity", "total_assets"),
        _quotient(statement, "current_assets", "current_liabilities"),
        _quotient(statement, "net_income", "turnover"),
    ]


def _quotient(statement: Mapping[str, Any], part: str, whole: str) -> float:
    values: Sequence[float | None] = [statement.get(part), statement.get(whole)]
    if values[0] is None or not values[1] or values[1] <= 0:
        return nan
    return float(values[0]) / float(values[1])
