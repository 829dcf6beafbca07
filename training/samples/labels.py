"""Who defaulted, and when: the only code that looks past an as-of date."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TypeAlias

import pandas as pd

from obligor.data.asof import KnownLedger
from obligor.data.ledger import Ledger, reporting_rates
from obligor.errors import SchemaError
from obligor.training.samples.config import DefaultDefinition
from obligor.training.samples.customer_defaults import customer_default_events
from obligor.training.samples.outcomes import (
    DIGITS,
    outcome_items,
    outcome_write_offs,
)

Days: TypeAlias = "pd.Series[pd.Timestamp]"
NumbersOfDays: TypeAlias = "pd.Series[float]"


def default_events(
    outcomes: KnownLedger, definition: DefaultDefinition
) -> pd.DataFrame:
    """Return the defaults up to a day, of items or of customers.

    Parameters
    ----------
    outcomes : KnownLedger
        What is known of the outcomes, from `data.asof.known_on`: an overdue day may
        pass without a row to show it.
    definition : DefaultDefinition
        Its `counts` tells whether a default is one of an item or of a customer.

    Returns
    -------
    DataFrame
        ``customer_id, default_on, cured_on``: see `item_default_events` and
        `customer_default_events`.

    Raises
    ------
    SchemaError
        If the materiality of the rulebook was not looked up.
    """
    if definition.materiality_from == "rulebook":
        raise SchemaError(
            "the materiality of the rulebook was not looked up",
            where="default.materiality_from",
            do="look it up with training.samples.materiality.with_materiality",
        )
    if definition.counts == "customer":
        return customer_default_events(outcomes, definition)
    return item_default_events(outcomes, definition)


def item_default_events(
    outcomes: KnownLedger,
    definition: DefaultDefinition,
    *,
    with_items: bool = False,
) -> pd.DataFrame:
    """Return each invoice that went into default up to a day.

    An invoice is in default from the day it is `dpd_days` past due with a material
    balance, or from a material write-off if that is earlier. An invoice that is billed
    after that day is in default from the day it was issued. A balance is valued at the
    rate of the day. Write-offs are material if those of the customer within 365 days
    reach the materiality together; a smaller one lowers the balance as a payment does.

    Parameters
    ----------
    outcomes : KnownLedger
        What is known of the outcomes, from `data.asof.known_on`.
    definition : DefaultDefinition
        Days past due and materiality.
    with_items : bool
        Whether ``invoice_id`` is among the columns.

    Returns
    -------
    DataFrame
        ``customer_id, due_on, payable_on, default_on, cured_on``. `payable_on` is the
        first day on which the invoice was due and issued. `cured_on` is the day the
        balance fell below materiality again; NaT if it has not. Defaults of days after
        `outcomes.as_of` are not included.
    """
    items = outcome_items(outcomes, definition.dpd_days)
    write_offs = outcome_write_offs(outcomes, items)
    is_material = write_offs["total"] >= definition.materiality
    written_off_on = _first_day(write_offs[is_material], "written_off_on", items.index)
    settlements = _settlements(outcomes.ledger, items, write_offs[~is_material])
    overdue_on = _material_overdue_days(items, settlements, definition)
    overdue_on = overdue_on.where(overdue_on <= pd.Timestamp(outcomes.as_of))
    items["default_on"] = _earlier(overdue_on, written_off_on)
    paid_up_on = _paid_up_days(settlements, definition, items.index)
    cured_on = paid_up_on.where(paid_up_on > items["default_on"])
    items["cured_on"] = _earlier(cured_on, written_off_on)
    is_default = items["default_on"].notna()
    columns = ["customer_id", "due_on", "payable_on", "default_on", "cured_on"]
    return items.loc[is_default, columns].reset_index(drop=not with_items)


def _settlements(
    ledger: Ledger, items: pd.DataFrame, small_write_offs: pd.DataFrame
) -> pd.DataFrame:
    """Return what lowered each balance in order of time, with what was owed."""
    columns = ["invoice_id", "paid_on", "amount"]
    payments = ledger["payments"][columns]
    differences = small_write_offs.rename(columns={"written_off_on": "paid_on"})
    rows = payments
    # A frame without rows would take the columns' types with it.
    if len(differences):
        rows = pd.concat([payments, differences[columns]])
    rows = rows.sort_values(["invoice_id", "paid_on"], kind="stable")
    owed = items[["amount", "currency", "issued_on", "rate", "overdue_on"]]
    rows = rows.join(
        owed.rename(columns={"amount": "owed"}),
        on="invoice_id",
        how="inner",
    )
    rows = rows.reset_index(drop=True)
    # A payment in advance is valued on the day of the invoice.
    on = rows["paid_on"].clip(lower=rows["issued_on"])
    return rows.assign(rate=reporting_rates(ledger, rows["currency"], on))


def _material_overdue_days(
    items: pd.DataFrame,
    settlements: pd.DataFrame,
    definition: DefaultDefinition,
) -> Days:
    """Return the day each invoice is `dpd_days` past due; NaT if the balance is low."""
    in_time = settlements[settlements["paid_on"] <= settlements["overdue_on"]]
    paid_in_time = in_time.groupby("invoice_id")["amount"].sum()
    paid = paid_in_time.reindex(items.index, fill_value=0.0)
    balance = (items["amount"] - paid).round(DIGITS) * items["rate"]
    is_material = (balance > 0) & (balance >= definition.materiality)
    return items["overdue_on"].where(is_material)


def _paid_up_days(
    settlements: pd.DataFrame,
    definition: DefaultDefinition,
    invoices: pd.Index,
) -> Days:
    """Return the first day on which less than the materiality was left to pay."""
    paid = settlements.groupby("invoice_id")["amount"].cumsum()
    left = (settlements["owed"] - paid).round(DIGITS) * settlements["rate"]
    is_low = (left <= 0) | (left < definition.materiality)
    return _first_day(settlements[is_low], "paid_on", invoices)


def _first_day(rows: pd.DataFrame, column: str, invoices: pd.Index) -> Days:
    return rows.groupby("invoice_id")[column].min().reindex(invoices)


def _earlier(first: Days, second: Days) -> Days:
    return pd.concat([first, second], axis=1).min(axis=1)


def customers_in_default(
    known_ledger: KnownLedger, definition: DefaultDefinition
) -> set[str]:
    """Return the customers in default on the as-of date.

    A customer stays in default until `cure_days` after the cure.
    """
    events = default_events(known_ledger, definition)
    cure_deadline = known_ledger.as_of - timedelta(days=definition.cure_days)
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
        From `default_events` of what is known by now.
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
    anchor_column = "payable_on" if definition.anchor == "due" else "default_on"
    days = (events[anchor_column] - pd.Timestamp(as_of)).dt.days
    is_inside = (days > 0) & (days <= definition.horizon_days)
    first = days[is_inside].groupby(events["customer_id"]).min()
    return first.reindex(customers).astype(float)
