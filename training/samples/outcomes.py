"""Items and write-offs of a known ledger, as definitions of default read them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pandas as pd

from obligor.data.account import OLDEST_FIRST
from obligor.data.asof import KnownLedger, known_on
from obligor.data.ledger import Ledger, reporting_rates

DIGITS = 6  # a sum of floats leaves less than this of a paid invoice
# Write-offs of a customer within these days count together.
WRITE_OFF_WINDOW = "365D"


def known_outcomes(ledger: Ledger, until: date) -> KnownLedger:
    """Return what is known on a day of who paid.

    A customer's money without an item pays the oldest one, also if the ledger leaves
    money as it was allocated: whoever has paid enough is not in default.

    Parameters
    ----------
    ledger : Ledger
        The whole ledger.
    until : date
        The day whose knowledge counts.

    Raises
    ------
    AsOfError
        If no invoice was known by then.
    """
    return known_on(replace(ledger, unapplied_policy=OLDEST_FIRST), until)


def outcome_items(outcomes: KnownLedger, dpd_days: int) -> pd.DataFrame:
    """Return each invoice with the day on which it is past due for so many days.

    Parameters
    ----------
    outcomes : KnownLedger
        What is known of the outcomes, from `data.asof.known_on`.
    dpd_days : int
        Days past due.

    Returns
    -------
    DataFrame
        The invoices by ``invoice_id``, with ``overdue_on``, ``payable_on`` (the first
        day on which it was due and issued) and ``rate`` into the reporting currency on
        the day of `overdue_on`.
    """
    items = outcomes.ledger["invoices"].set_index("invoice_id")
    days = pd.Timedelta(days=dpd_days).as_unit("s")
    # Before it was issued, nobody could know of a default, or prevent it.
    items["overdue_on"] = (items["due_on"] + days).clip(lower=items["issued_on"])
    items["payable_on"] = items["due_on"].clip(lower=items["issued_on"])
    items["rate"] = reporting_rates(
        outcomes.ledger, items["currency"], items["overdue_on"]
    )
    return items


def outcome_write_offs(outcomes: KnownLedger, items: pd.DataFrame) -> pd.DataFrame:
    """Return the write-offs, with those of the customer in the last 365 days.

    Parameters
    ----------
    outcomes : KnownLedger
        What is known of the outcomes.
    items : DataFrame
        From `outcome_items`.

    Returns
    -------
    DataFrame
        ``invoice_id, customer_id, written_off_on, amount``, and ``total``: what was
        written off of the customer's items in the 365 days to the end of that day, at
        the rates of the days, in the reporting currency.
    """
    rows = outcomes.ledger["write_offs"].join(
        items[["customer_id", "currency", "issued_on"]],
        on="invoice_id",
        how="inner",
    )
    rows = rows.reset_index(drop=True)
    on = rows["written_off_on"].clip(lower=rows["issued_on"])
    rows["value"] = rows["amount"] * reporting_rates(
        outcomes.ledger, rows["currency"], on
    )
    by_day = rows.groupby(["customer_id", "written_off_on"])["value"].sum()
    of_customer = by_day.reset_index("customer_id").groupby("customer_id")["value"]
    total = of_customer.rolling(WRITE_OFF_WINDOW).sum().round(DIGITS).rename("total")
    return rows.join(total, on=["customer_id", "written_off_on"])
