"""What is known about each open invoice on a date.

Itself, how its customer has paid others, and the customer.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from obligor.arrays import Floats
from obligor.data.asof import KnownLedger
from obligor.data.ledger import reporting_rates
from obligor.data.rates import closing_rates_of
from obligor.features import catalogue

# Settled items of a customer that count as recent.
N_RECENT = 5
# Days beyond terms.
VERY_LATE_DAYS = 30
# An item counts as paid if no more of it was given up: bank charges, a cash discount
# taken too late. Discounts of 2 to 3% are usual.
LARGEST_DIFFERENCE = 0.05
# Features of the invoice and of how its customer pays; the customer's other features
# are those of the catalogue.
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
# Those of the first edition: a forecast counts every item, however small.
OF_CUSTOMER: catalogue.Edition = catalogue.EDITIONS[1]
NAMES: tuple[str, ...] = (*OWN, *OF_CUSTOMER.names)


def open_invoices(known: KnownLedger, customers: pd.DataFrame) -> pd.DataFrame:
    """Return the features of every invoice that is open on the as-of date.

    Parameters
    ----------
    known : KnownLedger
        The result of `data.asof.known_on`.
    customers : DataFrame
        The result of `build_features` on the same date.

    Returns
    -------
    DataFrame
        Index ``invoice_id``; ``customer_id``, ``due_on``, ``balance`` (reporting
        currency), and float64 columns in the order of `NAMES`.
    """
    day = pd.Timestamp(known.as_of)
    items = items_of(known)
    rows = items[items["balance"] > 0].copy()
    is_settled = items["settled_on"].notna()
    terms_days = _days(rows["due_on"] - rows["issued_on"])
    rows["terms_days"] = np.maximum(terms_days, 0)
    rows["age_days"] = _days(day - rows["issued_on"])
    rows["days_to_due"] = _days(rows["due_on"] - day)
    rows["due_weekday"] = rows["due_on"].dt.day_of_week.astype(float)
    rows["due_day_of_month"] = rows["due_on"].dt.day.astype(float)
    rows = rows.join(_habits(items[is_settled]), on="customer_id")
    rows["settled_count"] = rows["settled_count"].fillna(0.0)
    last_year = items[items["issued_on"] > day - pd.Timedelta(days=365)]
    usual_amount = last_year.groupby("customer_id")["amount"].mean()
    usual = usual_amount.reindex(rows["customer_id"]).to_numpy()
    rows["amount_to_usual"] = rows["amount"] / usual
    days_late = (-rows["days_to_due"]).clip(lower=0)
    customer = rows["customer_id"]
    rows["oldest_open_days_late"] = days_late.groupby(customer).transform("max")
    n_late = (days_late > 0).groupby(customer).transform("sum")
    rows["open_items_late"] = n_late.astype(float)
    rows = rows.join(customers[list(OF_CUSTOMER.names)], on="customer_id")
    return rows[["customer_id", "due_on", "balance", *NAMES]]


def items_of(known: KnownLedger) -> pd.DataFrame:
    """Return every known invoice with its balance and the day it was settled.

    Parameters
    ----------
    known : KnownLedger
        The result of `data.asof.known_on`.

    Returns
    -------
    DataFrame
        Index ``invoice_id``; ``customer_id``, ``issued_on``, ``due_on``, ``currency``;
        in the reporting currency ``amount`` (at the rate of its day) and ``balance``
        (at the closing rate); ``open_share`` of the amount; ``settled_on`` (NaT if it
        is not settled: an item is if at most `LARGEST_DIFFERENCE` of it was written
        off), ``is_disputed`` (1 or 0).
    """
    ledger = known.ledger
    columns = ["customer_id", "issued_on", "due_on", "amount", "currency"]
    items = ledger["invoices"].set_index("invoice_id")[columns]
    payments = ledger["payments"].groupby("invoice_id")
    paid = payments["amount"].sum().reindex(items.index, fill_value=0.0)
    write_offs = ledger["write_offs"].groupby("invoice_id")
    written_off = write_offs["amount"].sum().reindex(items.index, fill_value=0.0)
    unpaid = (items["amount"] - paid).round(6).clip(lower=0.0)
    balance = (unpaid - written_off).round(6).clip(lower=0.0)
    is_paid = unpaid <= LARGEST_DIFFERENCE * items["amount"]
    last_paid_on = payments["paid_on"].max().reindex(items.index)
    items["settled_on"] = last_paid_on.where(is_paid & (balance == 0))
    items["open_share"] = balance / items["amount"]
    items["balance"] = balance * closing_rates_of(known, items["currency"])
    rate = reporting_rates(ledger, items["currency"], items["issued_on"])
    items["amount"] = items["amount"] * rate
    disputes = ledger["disputes"]
    open_disputes = disputes.loc[disputes["resolved_on"].isna(), "invoice_id"]
    items["is_disputed"] = items.index.isin(open_disputes).astype(float)
    return items


def _habits(settled: pd.DataFrame) -> pd.DataFrame:
    """Return how each customer paid settled items: days late, early ones negative."""
    days_late = _days(settled["settled_on"] - settled["due_on"])
    items = settled.assign(days_late=days_late)
    items = items.sort_values("settled_on", kind="stable")
    items["is_very_late"] = items["days_late"] > VERY_LATE_DAYS
    by_customer = items.groupby("customer_id")
    late = by_customer["days_late"]
    recent = by_customer.tail(N_RECENT).groupby("customer_id")["days_late"]
    return pd.DataFrame(
        {
            "settled_count": late.size().astype(float),
            "days_late_median": late.median(),
            "days_late_p90": late.quantile(0.9),
            "days_late_last": late.last(),
            "days_late_spread": late.std(),
            "days_late_recent": recent.mean(),
            "share_very_late": by_customer["is_very_late"].mean(),
        }
    )


def _days(spans: pd.Series[pd.Timedelta]) -> Floats:
    return spans.dt.days.to_numpy().astype(np.float64)
