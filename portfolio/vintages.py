"""What is still unpaid of each month of issue."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from obligor.data.account import CREDIT_NOTE, PAYMENT, Account, select
from obligor.data.asof import KnownAccount
from obligor.data.days import day_number, day_of
from obligor.data.rates import item_rates
from obligor.portfolio.month import _stacked
from obligor.portfolio.snapshot import active_on

HORIZONS = (0, 30, 60, 90, 120)  # days past due at which a vintage is looked at


def vintages(accounts: Iterable[Account], as_of: date) -> pd.DataFrame:
    """Return the unpaid share of each month's invoices, so many days past due; NaN where that day is yet to come.

    Returns
    -------
    DataFrame
        Index: month of issue; columns: ``amount`` and the horizons in days.
    """
    known, _ = active_on(accounts, as_of)
    frame = _stacked([_unpaid(one) for one in known])
    frame["month"] = [day_of(day).strftime("%Y-%m") for day in frame.pop("issued")]
    total = frame.groupby("month")["amount"].sum()
    shares = dict[Any, Any]()
    for days in HORIZONS:
        unpaid = frame[days].isna().groupby(frame["month"]).any()
        shares[days] = (frame.groupby("month")[days].sum() / total).mask(unpaid)
    return pd.DataFrame({"amount": total, **shares})


def _unpaid(known: KnownAccount) -> dict[Any, Any]:
    account, today = known.account, day_number(known.as_of)
    rates, due = item_rates(account), account.items.due
    settling = select(
        account.events, np.isin(account.events.kind, (PAYMENT, CREDIT_NOTE))
    )
    columns: dict[Any, Any] = {
        "issued": account.items.issued,
        "amount": account.items.amount * rates,
    }
    for days in HORIZONS:
        paid = np.zeros(len(due))
        in_time = select(settling, settling.day <= due[settling.item] + days)
        np.add.at(paid, in_time.item, in_time.value)
        left = np.maximum(account.items.amount - paid, 0) * rates
        columns[days] = np.where(due + days <= today, left, np.nan)
    return columns


def draw_vintages(found: pd.DataFrame, path: Path) -> None:
    """Draw the unpaid share of each month's invoices as a PNG file."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for days, colour in zip(
        HORIZONS,
        colormaps["viridis"](np.linspace(0, 0.9, len(HORIZONS))),
        strict=True,
    ):
        axes.plot(
            found.index,
            found[days],
            color=colour,
            marker=".",
            label=f"{days} days past due",
        )
    axes.set(
        title="Unpaid share of invoices by month of issue",
        xlabel="month of issue",
        ylabel="unpaid share of the amount invoiced",
    )
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axes.tick_params(axis="x", rotation=60)
    figure.legend(title="looked at", loc="outside right upper")
    figure.savefig(path, dpi=120)
