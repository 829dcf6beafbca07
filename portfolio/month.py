"""The portfolio at the ends of months."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

from obligor.data.account import Account
from obligor.data.asof import KnownAccount
from obligor.data.days import day_number
from obligor.data.open_items import open_balances
from obligor.data.rates import item_rates
from obligor.model.pd_model import PdModel
from obligor.policy.collecting.priority import DEFAULT_DPD_DAYS
from obligor.policy.rulebooks.rulebook import Rulebook, in_force
from obligor.portfolio.decide_many import Portfolio, simulate
from obligor.portfolio.snapshot import active_on, portfolio_of


@dataclass(frozen=True)
class Month:
    """The last day of a month: the portfolio, each customer's grade, and every open item with its age."""

    portfolio: Portfolio
    grade: pd.Series[Any]
    items: pd.DataFrame


def month_ends(as_of: date, months: int) -> list[date]:
    """Return `as_of` and the last days of the months before it, oldest first.

    Examples
    --------
    >>> month_ends(date(2025, 3, 15), 2)
    [datetime.date(2025, 1, 31), datetime.date(2025, 2, 28), datetime.date(2025, 3, 15)]
    """
    days = [as_of]
    while len(days) <= months:
        days.append(days[-1].replace(day=1) - timedelta(days=1))
    return days[::-1]


def month_of(
    accounts: Iterable[Account],
    as_of: date,
    model: PdModel,
    rulebooks: Sequence[Rulebook],
) -> Month:
    """Return the portfolio as it was known on a day, under the rules of that day.

    Raises
    ------
    AsOfError
        Where no invoice was known by then.
    """
    known, rows = active_on(accounts, as_of)
    portfolio = portfolio_of(known, rows, model)
    found = simulate(portfolio, in_force(rulebooks, as_of))
    ids = pd.Index(portfolio.customer_ids)
    in_default = portfolio.features["dpd_days"] > DEFAULT_DPD_DAYS
    grade = pd.Series(
        np.where(in_default, "default", found.grade.astype("int64").astype(str)),
        index=ids,
    )
    return Month(
        portfolio,
        grade,
        _stacked(
            [_open_items(*one) for one in zip(known, portfolio.pd_12m, strict=True)]
        ),
    )


def _stacked(parts: Sequence[dict[Any, Any]]) -> pd.DataFrame:
    """One frame of many short tables: a frame for each would take a millisecond."""
    return pd.DataFrame(
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    )


def _open_items(known: KnownAccount, pd_12m: float) -> dict[Any, Any]:
    account, today = known.account, day_number(known.as_of)
    balance = open_balances(account)
    place = np.flatnonzero(balance > 0)
    return {
        "invoice_id": np.array(
            [account.invoice_ids[n] for n in place.tolist()], dtype=object
        ),
        "customer_id": [account.customer_id] * len(place),
        "pd_12m": np.full(len(place), pd_12m),
        "open_amount": balance[place] * item_rates(account)[place],
        "dpd_days": today - account.items.due[place],
    }
