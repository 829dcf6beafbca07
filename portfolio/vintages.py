"""Vintages: the share of each month's invoices that is still unpaid."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from obligor.data.account import CREDIT_NOTE, PAYMENT, Account, select
from obligor.data.asof import KnownAccount
from obligor.data.days import day_number, day_of
from obligor.data.rates import item_rates
from obligor.portfolio.item_columns import Columns, stacked
from obligor.portfolio.snapshot import active_on

HORIZONS = (0, 30, 60, 90, 120)  # days past due at which a vintage is measured


def vintages(accounts: Iterable[Account], as_of: date) -> pd.DataFrame:
    """Return the unpaid share of each month's invoices at every horizon.

    An invoice keeps the rate of its day, so that a rate that moves is no payment.

    Parameters
    ----------
    accounts : iterable of Account
        Every account of the ledger, the future included.
    as_of : date
        The day whose knowledge counts.

    Returns
    -------
    DataFrame
        Index: month of issue; columns: ``amount`` and the horizons in days past due. A
        share is NaN if its day has not come for every invoice.

    Raises
    ------
    AsOfError
        If no invoice was known by then.
    """
    customers = active_on(accounts, as_of)
    items = stacked([_unpaid(customer) for customer in customers.accounts])
    issued_on = [day_of(day) for day in items.pop("issued")]
    items["month"] = [day.strftime("%Y-%m") for day in issued_on]
    by_month = items.groupby("month")
    total = by_month["amount"].sum()
    columns: dict[Hashable, pd.Series[float]] = {"amount": total}
    for days in HORIZONS:
        is_missing = items[days].isna()
        # One invoice too young for the horizon makes the share of its month unknown.
        is_to_come = is_missing.groupby(items["month"]).any()
        share = by_month[days].sum() / total
        columns[days] = share.mask(is_to_come)
    return pd.DataFrame(columns)


def _unpaid(customer: KnownAccount) -> Columns:
    """Per item its amount and what was unpaid at every horizon, NaN if that is to come.

    Amounts are in the reporting currency.
    """
    account = customer.account
    as_of = day_number(customer.as_of)
    due = account.items.due
    amount = account.items.amount
    rates = item_rates(account)
    # A written-off invoice is still unpaid.
    is_settling = np.isin(account.events.kind, (PAYMENT, CREDIT_NOTE))
    settling = select(account.events, is_settling)
    columns: dict[Hashable, ArrayLike] = {
        "issued": account.items.issued,
        "amount": amount * rates,
    }
    for days in HORIZONS:
        last_day = due + days
        in_time = select(settling, settling.day <= last_day[settling.item])
        paid = np.zeros(len(due))
        np.add.at(paid, in_time.item, in_time.value)
        # An overpaid item is not owed a negative amount.
        unpaid = np.maximum(amount - paid, 0) * rates
        columns[days] = np.where(last_day <= as_of, unpaid, np.nan)
    return columns


def draw_vintages(shares: pd.DataFrame, path: Path) -> None:
    """Draw the unpaid share of each month's invoices as a PNG file."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    positions = np.linspace(0, 0.9, len(HORIZONS))
    colours = colormaps["viridis"](positions)
    for days, colour in zip(HORIZONS, colours, strict=True):
        axes.plot(
            shares.index,
            shares[days],
            color=colour,
            marker=".",
            label=f"{days} days past due",
        )
    axes.set(
        title="Unpaid share of invoices by month of issue",
        xlabel="month of issue",
        ylabel="unpaid share of the amount invoiced",
    )
    # Shares of 0, as of a portfolio paid in time, have no place on a log scale.
    if (shares[list(HORIZONS)] > 0).to_numpy().any():
        axes.set_yscale("log")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axes.tick_params(axis="x", rotation=60)
    figure.legend(title="measured", loc="outside right upper")
    figure.savefig(path, dpi=120)
