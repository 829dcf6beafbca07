"""Who defaulted, and when: the only code that looks past an as-of date."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TypeAlias

import pandas as pd

from obligor.data.asof import KnownLedger
from obligor.data.ledger import Ledger, reporting_rates
from obligor.training.samples.config import DefaultDefinition

Days: TypeAlias = "pd.Series[pd.Timestamp]"
NumbersOfDays: TypeAlias = "pd.Series[float]"

DIGITS = 6  # a sum of floats leaves less than this of a paid invoice


def default_events(
    ledger: Ledger,
    definition: DefaultDefinition,
    until: date,
    *,
    with_items: bool = False,
) -> pd.DataFrame:
    """Return each invoice that went into default up to a day.

    An invoice is in default from the day it is `dpd_days` past due with a material
    balance, or from its write-off if that is earlier. An invoice that is billed after
    that day is in default from the day it was issued.

    Parameters
    ----------
    ledger : Ledger
        What is known at the end of `until`.
    definition : DefaultDefinition
        Days past due and materiality.
    until : date
        The last day the ledger covers: a due day may pass without a row to show it.
    with_items : bool
        Whether ``invoice_id`` is among the columns.

    Returns
    -------
    DataFrame
        ``customer_id, due_on, default_on, cured_on``. `cured_on` is the day the
        balance fell below materiality again; NaT if it has not. Defaults of days
        after `until` are not included.
    """
    items = ledger["invoices"].set_index("invoice_id")
    items["rate"] = reporting_rates(ledger, items["currency"], items["issued_on"])
    dpd_days = pd.Timedelta(days=definition.dpd_days)
    # Before it was issued, nobody could know of a default, or prevent it.
    items["overdue_on"] = (items["due_on"] + dpd_days).clip(lower=items["issued_on"])
    payments = _payments_with_items(ledger, items)
    written_off_on = _first_day(ledger["write_offs"], "written_off_on", items.index)
    overdue_on = _material_overdue_days(items, payments, definition, until)
    items["default_on"] = _earlier(overdue_on, written_off_on)
    paid_up_on = _paid_up_days(payments, definition, items.index)
    cured_on = paid_up_on.where(paid_up_on > items["default_on"])
    items["cured_on"] = _earlier(cured_on, written_off_on)
    is_default = items["default_on"].notna()
    columns = ["customer_id", "due_on", "default_on", "cured_on"]
    return items.loc[is_default, columns].reset_index(drop=not with_items)


def _payments_with_items(ledger: Ledger, items: pd.DataFrame) -> pd.DataFrame:
    """Return each payment in order of time, with what its invoice owed."""
    payments = ledger["payments"].sort_values(["invoice_id", "paid_on"], kind="stable")
    owed = items[["amount", "rate", "overdue_on"]].rename(columns={"amount": "owed"})
    with_items = payments[["invoice_id", "paid_on", "amount"]].join(
        owed,
        on="invoice_id",
        how="inner",
    )
    return with_items.reset_index(drop=True)


def _material_overdue_days(
    items: pd.DataFrame,
    payments: pd.DataFrame,
    definition: DefaultDefinition,
    until: date,
) -> Days:
    """Return the day each invoice is `dpd_days` past due; NaT if the balance is low."""
    in_time = payments[payments["paid_on"] <= payments["overdue_on"]]
    paid_in_time = in_time.groupby("invoice_id")["amount"].sum()
    paid = paid_in_time.reindex(items.index, fill_value=0.0)
    balance = (items["amount"] - paid).round(DIGITS) * items["rate"]
    is_material = (balance > 0) & (balance >= definition.materiality)
    is_reached = items["overdue_on"] <= pd.Timestamp(until)
    return items["overdue_on"].where(is_material & is_reached)


def _paid_up_days(
    payments: pd.DataFrame,
    definition: DefaultDefinition,
    invoices: pd.Index,
) -> Days:
    """Return the first day on which less than the materiality was left to pay."""
    paid = payments.groupby("invoice_id")["amount"].cumsum()
    left = (payments["owed"] - paid).round(DIGITS) * payments["rate"]
    is_low = (left <= 0) | (left < definition.materiality)
    return _first_day(payments[is_low], "paid_on", invoices)


def _first_day(rows: pd.DataFrame, column: str, invoices: pd.Index) -> Days:
    return rows.groupby("invoice_id")[column].min().reindex(invoices)


def _earlier(first: Days, second: Days) -> Days:
    return pd.concat([first, second], axis=1).min(axis=1)


def customers_in_default(known: KnownLedger, definition: DefaultDefinition) -> set[str]:
    """Return the customers in default on the as-of date.

    A customer stays in default until `cure_days` after the cure.
    """
    events = default_events(known.ledger, definition, known.as_of)
    cure_deadline = known.as_of - timedelta(days=definition.cure_days)
    is_cured = events["cured_on"] < pd.Timestamp(cure_deadline)
    return set(events.loc[~is_cured, "customer_id"])


def days_to_default(
    events: pd.DataFrame,
    customers: pd.Index,
    as_of: date,
    definition: DefaultDefinition,
) -> NumbersOfDays:
    """Return the days from the as-of date to each customer's first default.

    Parameters
    ----------
    events : DataFrame
        From `default_events` of the whole ledger.
    customers : Index
        Customer ids; the index of the result.
    as_of : date
        The day before the performance window ``(as_of, as_of + horizon]``.
    definition : DefaultDefinition
        Its `anchor` tells which day of an event must lie in the window.

    Returns
    -------
    Series of float
        From 1 to `horizon_days`; NaN without a default in the window.
    """
    anchor_column = "due_on" if definition.anchor == "due" else "default_on"
    days = (events[anchor_column] - pd.Timestamp(as_of)).dt.days
    is_inside = (days > 0) & (days <= definition.horizon_days)
    first = days[is_inside].groupby(events["customer_id"]).min()
    return first.reindex(customers).astype(float)
