"""What is known about each open invoice on a date: itself, how its customer has paid others, and the customer."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from obligor.data.asof import KnownLedger
from obligor.data.ledger import reporting_rates
from obligor.features import catalogue

LAST = 5  # settled items of a customer that count as recent
VERY_LATE = 30  # days beyond terms
# Of the invoice itself and of its customer's habits; the customer's other features are the catalogue's.
OWN: tuple[str, ...] = (
    "amount",
    "amount_to_usual",
    "open_share",
    "terms_days",
    "age_days",
    "days_to_due",
    "due_weekday",
    "due_day_of_month",
    "is_disputed",
    "settled_count",
    "days_late_median",
    "days_late_p90",
    "days_late_last",
    "days_late_recent",
    "days_late_spread",
    "share_very_late",
    "oldest_open_days_late",
    "open_items_late",
)
NAMES: tuple[str, ...] = (*OWN, *catalogue.NAMES)


def open_invoices(known: KnownLedger, customers: pd.DataFrame) -> pd.DataFrame:
    """Return the features of every invoice that is open on the as-of date.

    Parameters
    ----------
    known : KnownLedger
        From `data.asof.known_on`.
    customers : DataFrame
        From `build_features` on the same date.

    Returns
    -------
    DataFrame
        Index ``invoice_id``; ``customer_id``, ``due_on``, ``balance`` (reporting currency), and float64 columns in the
        order of `NAMES`.
    """
    day, items = pd.Timestamp(known.as_of), items_of(known)
    is_open = items["settled_on"].isna() & ~items["is_written_off"]
    found = items[is_open].copy()
    found["open_share"] = found["balance"] / found["amount"]
    found["terms_days"] = _days(found["due_on"] - found["issued_on"])
    found["age_days"] = _days(day - found["issued_on"])
    found["days_to_due"] = _days(found["due_on"] - day)
    found["due_weekday"] = found["due_on"].dt.day_of_week.astype(float)
    found["due_day_of_month"] = found["due_on"].dt.day.astype(float)
    found = found.join(
        _habits(items[~is_open & ~items["is_written_off"]]), on="customer_id"
    )
    found["settled_count"] = found["settled_count"].fillna(0.0)
    usual = (
        items[items["issued_on"] > day - pd.Timedelta(days=365)]
        .groupby("customer_id")["amount"]
        .mean()
    )
    found["amount_to_usual"] = (
        found["amount"] / usual.reindex(found["customer_id"]).to_numpy()
    )
    late = (-found["days_to_due"]).clip(lower=0)
    found["oldest_open_days_late"] = late.groupby(found["customer_id"]).transform("max")
    found["open_items_late"] = (
        (late > 0).groupby(found["customer_id"]).transform("sum").astype(float)
    )
    found = found.join(customers[list(catalogue.NAMES)], on="customer_id")
    return found[["customer_id", "due_on", "balance", *NAMES]]


def items_of(known: KnownLedger) -> pd.DataFrame:
    """Return every known invoice with what is open of it and the day it was settled, NaT while it is not.

    Parameters
    ----------
    known : KnownLedger
        From `data.asof.known_on`.

    Returns
    -------
    DataFrame
        Index ``invoice_id``; ``customer_id, issued_on, due_on, amount, balance`` (reporting currency), ``settled_on,
        is_written_off, is_disputed``.
    """
    ledger = known.ledger
    items = ledger["invoices"].set_index("invoice_id")[
        ["customer_id", "issued_on", "due_on", "amount", "currency"]
    ]
    rate = reporting_rates(ledger, items["currency"], items["issued_on"])
    paid = (
        ledger["payments"]
        .groupby("invoice_id")
        .agg(paid=("amount", "sum"), last_on=("paid_on", "max"))
    )
    paid = paid.reindex(items.index)
    balance = (items["amount"] - paid["paid"].fillna(0.0)).round(6)
    items["settled_on"] = paid["last_on"].where(balance <= 0)
    items["balance"], items["amount"] = balance * rate, items["amount"] * rate
    items["is_written_off"] = items.index.isin(ledger["write_offs"]["invoice_id"])
    disputes = ledger["disputes"]
    items["is_disputed"] = items.index.isin(
        disputes.loc[disputes["resolved_on"].isna(), "invoice_id"]
    ).astype(float)
    return items


def _habits(settled: pd.DataFrame) -> pd.DataFrame:
    """How each customer paid what is settled: days beyond the due date, early ones negative."""
    late = settled.assign(
        late=_days(settled["settled_on"] - settled["due_on"])
    ).sort_values("settled_on", kind="stable")
    of = late.groupby("customer_id")["late"]
    return pd.DataFrame(
        {
            "settled_count": of.size().astype(float),
            "days_late_median": of.median(),
            "days_late_p90": of.quantile(0.9),
            "days_late_last": of.last(),
            "days_late_spread": of.std(),
            "days_late_recent": late.groupby("customer_id")
            .tail(LAST)
            .groupby("customer_id")["late"]
            .mean(),
            "share_very_late": (late["late"] > VERY_LATE)
            .groupby(late["customer_id"])
            .mean(),
        }
    )


def _days(spans: pd.Series[pd.Timedelta]) -> NDArray[np.float64]:
    return spans.dt.days.to_numpy().astype(np.float64)
