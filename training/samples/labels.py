"""Who defaulted, and when: the only code of the project that looks past an as-of date."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TypeAlias

import pandas as pd

from obligor.data.asof import KnownLedger
from obligor.data.ledger import Ledger, reporting_rates
from obligor.training.samples.config import DefaultDefinition

Days: TypeAlias = "pd.Series[float]"


def default_events(
    ledger: Ledger,
    definition: DefaultDefinition,
    until: date,
    *,
    with_items: bool = False,
) -> pd.DataFrame:
    """Return each item that went into default up to a day.

    An item is in default from the day it is `dpd_days` past due with a material balance, or from
    its write-off where that came first.

    Parameters
    ----------
    ledger : Ledger
        What is known at the end of `until`.
    until : date
        The last day the ledger speaks of: a due day may pass without any row to show it.
    with_items : bool
        Whether ``invoice_id`` is among the columns.

    Returns
    -------
    DataFrame
        ``customer_id, due_on, default_on, cured_on``; `cured_on` is the day the balance fell below
        materiality again, NaT while it has not. Days not yet reached are not in it.
    """
    items = ledger["invoices"].set_index("invoice_id")
    items["rate"] = reporting_rates(ledger, items["currency"], items["issued_on"])
    items["reaches_on"] = items["due_on"] + pd.Timedelta(days=definition.dpd_days)
    settled = ledger["payments"].sort_values(["invoice_id", "paid_on"], kind="stable")
    settled = settled[["invoice_id", "paid_on", "amount"]].join(
        items[["amount", "rate", "reaches_on"]].rename(columns={"amount": "owed"}),
        on="invoice_id",
        how="inner",
    )
    settled = settled.reset_index(drop=True)
    in_time = (
        settled[settled["paid_on"] <= settled["reaches_on"]]
        .groupby("invoice_id")["amount"]
        .sum()
    )
    balance = (items["amount"] - in_time.reindex(items.index, fill_value=0.0)).round(
        6
    ) * items["rate"]
    written_off = (
        ledger["write_offs"]
        .groupby("invoice_id")["written_off_on"]
        .min()
        .reindex(items.index)
    )
    is_material = (balance > 0) & (balance >= definition.materiality)
    reached = items["reaches_on"].where(
        is_material & (items["reaches_on"] <= pd.Timestamp(until))
    )
    items["default_on"] = pd.concat([reached, written_off], axis=1).min(axis=1)
    settled["left"] = (
        settled["owed"] - settled.groupby("invoice_id")["amount"].cumsum()
    ).round(6) * settled["rate"]
    is_low = (settled["left"] <= 0) | (settled["left"] < definition.materiality)
    paid_up = (
        settled[is_low].groupby("invoice_id")["paid_on"].min().reindex(items.index)
    )
    items["cured_on"] = pd.concat(
        [paid_up.where(paid_up > items["default_on"]), written_off],
        axis=1,
    ).min(axis=1)
    events = items.loc[
        items["default_on"].notna(), ["customer_id", "due_on", "default_on", "cured_on"]
    ]
    return events.reset_index(drop=not with_items)


def customers_in_default(known: KnownLedger, definition: DefaultDefinition) -> set[str]:
    """Return who is in default on the as-of date, or was until less than `cure_days` before."""
    events = default_events(known.ledger, definition, known.as_of)
    is_cured = events["cured_on"] < pd.Timestamp(
        known.as_of - timedelta(days=definition.cure_days)
    )
    return set(events.loc[~is_cured, "customer_id"])


def days_to_default(
    events: pd.DataFrame,
    customers: pd.Index,
    as_of: date,
    definition: DefaultDefinition,
) -> Days:
    """Return the days from the as-of date to each customer's first default in (as_of, as_of + horizon], else NaN.

    Parameters
    ----------
    events : DataFrame
        From `default_events` of the whole ledger.
    customers : Index
        The customers asked about.
    as_of : date
        The day before the window.
    definition : DefaultDefinition
        Its `anchor` says which day of an event must lie in the window.
    """
    day = events["due_on" if definition.anchor == "due" else "default_on"]
    days = (day - pd.Timestamp(as_of)).dt.days
    is_inside = (days > 0) & (days <= definition.horizon_days)
    first = days[is_inside].groupby(events["customer_id"]).min()
    return first.reindex(customers).astype(float)
