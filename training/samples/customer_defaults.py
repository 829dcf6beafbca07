"""Defaults of whole customers: the materiality of Regulation (EU) 2018/171.

A customer is in default while all that is `dpd_days` past due together is more than an
amount and more than a share of what the customer owes. The rules of a rulebook count
the same way (`policy.credit.ageing`).
"""

from __future__ import annotations

import pandas as pd

from obligor.data.asof import KnownLedger
from obligor.data.ledger import reporting_rates
from obligor.training.samples.config import DefaultDefinition
from obligor.training.samples.outcomes import (
    DIGITS,
    outcome_items,
    outcome_write_offs,
)

_STATE = ["owed", "overdue"]


def customer_default_events(
    outcomes: KnownLedger, definition: DefaultDefinition
) -> pd.DataFrame:
    """Return each spell of default of a customer up to a day.

    Parameters
    ----------
    outcomes : KnownLedger
        What is known of the outcomes, from `data.asof.known_on`.
    definition : DefaultDefinition
        Days past due, materiality and its share.

    Returns
    -------
    DataFrame
        ``customer_id, default_on, cured_on`` (NaT if it is not cured). A material
        write-off is a default that is cured on its day.
    """
    items = outcome_items(outcomes, definition.dpd_days)
    write_offs = outcome_write_offs(outcomes, items)
    states = _states(outcomes, items, write_offs)
    states["threshold"] = (states["owed"] * definition.materiality_share).clip(
        lower=definition.materiality
    )
    spells = _spells(states["overdue"] > states["threshold"])
    lost = write_offs.join(states["threshold"], on=["customer_id", "written_off_on"])
    lost = lost[lost["total"] > lost["threshold"]]
    losses = pd.DataFrame(
        {
            "customer_id": lost["customer_id"],
            "default_on": lost["written_off_on"],
            "cured_on": lost["written_off_on"],
        }
    )
    frames = [frame for frame in (spells, losses) if len(frame)]
    return pd.concat(frames, ignore_index=True) if frames else spells


def _states(
    outcomes: KnownLedger,
    items: pd.DataFrame,
    write_offs: pd.DataFrame,
) -> pd.DataFrame:
    """Return what each customer owes, and what is overdue, on every day of a change.

    An item keeps the rate of the day on which it is overdue.
    """
    settlements = _settlements(outcomes, items, write_offs)
    value = items["amount"] * items["rate"]
    settled = -settlements["part"] * settlements["rate"]
    settled_on = settlements["paid_on"]
    money = outcomes.money
    money_rate = reporting_rates(outcomes.ledger, money["currency"], money["day"])
    left_over = -money["amount"] * money_rate
    changes = [
        _changes(items["customer_id"], items["issued_on"], owed=value),
        _changes(items["customer_id"], items["overdue_on"], overdue=value),
        _changes(
            settlements["customer_id"],
            settled_on.clip(lower=settlements["issued_on"]),
            owed=settled,
        ),
        # What is paid before that day is not overdue on it.
        _changes(
            settlements["customer_id"],
            settled_on.clip(lower=settlements["overdue_on"]),
            overdue=settled,
        ),
        _changes(
            money["customer_id"],
            money["day"],
            owed=left_over,
            overdue=left_over,
        ),
    ]
    # Of a ledger whose invoices are all cancelled nothing is left.
    with_rows = [frame for frame in changes if len(frame)] or changes[:1]
    rows = pd.concat(with_rows)
    rows = rows[rows["day"] <= pd.Timestamp(outcomes.as_of)]
    by_day = rows.groupby(["customer_id", "day"])[_STATE].sum()
    states = by_day.groupby(level="customer_id").cumsum().round(DIGITS)
    return states.rename_axis(["customer_id", "day"])


def _settlements(
    outcomes: KnownLedger,
    items: pd.DataFrame,
    write_offs: pd.DataFrame,
) -> pd.DataFrame:
    """Return what lowered each item in order of time; no more than the item counts."""
    payments = outcomes.ledger["payments"][["invoice_id", "paid_on", "amount"]]
    given_up = write_offs.rename(columns={"written_off_on": "paid_on"})
    frames = [payments, given_up[list(payments.columns)]]
    rows = pd.concat([frame for frame in frames if len(frame)] or [payments])
    rows = rows.sort_values(["invoice_id", "paid_on"], kind="stable")
    of_items = items[["customer_id", "issued_on", "overdue_on", "rate", "amount"]]
    rows = rows.join(
        of_items.rename(columns={"amount": "owed"}),
        on="invoice_id",
        how="inner",
    )
    rows = rows.reset_index(drop=True)
    by_item = rows.groupby("invoice_id")["amount"]
    settled = by_item.cumsum().clip(upper=rows["owed"])
    settled_before = settled.groupby(rows["invoice_id"]).shift(fill_value=0.0)
    return rows.assign(part=settled - settled_before)


def _changes(
    customers: pd.Series[str],
    days: pd.Series[pd.Timestamp],
    owed: pd.Series[float] | None = None,
    overdue: pd.Series[float] | None = None,
) -> pd.DataFrame:
    """Return by how much the amounts of customers change on days."""
    return pd.DataFrame(
        {
            "customer_id": customers.to_numpy(),
            "day": days.to_numpy(),
            "owed": 0.0 if owed is None else owed.to_numpy(),
            "overdue": 0.0 if overdue is None else overdue.to_numpy(),
        }
    )


def _spells(is_material: pd.Series[bool]) -> pd.DataFrame:
    """Return the spells of days on which a customer is in default, without a gap."""
    by_customer = is_material.groupby(level="customer_id")
    was_material = by_customer.shift(fill_value=False)
    starts = is_material & ~was_material
    ends = ~is_material & was_material
    number = starts.groupby(level="customer_id").cumsum().rename("number")
    rows = number.reset_index()
    keys = ["customer_id", "number"]
    first = rows[starts.to_numpy()].set_index(keys)["day"].rename("default_on")
    last = rows[ends.to_numpy()].set_index(keys)["day"].rename("cured_on")
    spells = pd.concat([first, last], axis=1)
    return spells.reset_index().drop(columns="number")
