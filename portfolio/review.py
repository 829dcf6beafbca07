"""A portfolio under review over some months.

Provisions per invoice, migration of grades, roll rates, vintages and stress.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pandas as pd

from obligor.data.account import Account
from obligor.policy.rulebooks.rulebook import Rulebook
from obligor.portfolio.migration import (
    implied_loss_rates,
    migration,
    no_moves,
    no_rolls,
    roll_rates,
    unknown_loss_rates,
)
from obligor.portfolio.month import Month
from obligor.portfolio.provisions import provisions
from obligor.portfolio.stress import stress
from obligor.portfolio.vintages import vintages


@dataclass(frozen=True)
class Review:
    """The review as of the last of some months.

    Attributes
    ----------
    currency : str
        The reporting currency of every amount.
    provisions : DataFrame
        Open invoices with both provisions.
    migration, roll_rates : DataFrame
        Moves between grades and between age buckets, added up over the months.
    implied_loss_rates : dict of str to float
        By age bucket, the loss rate that the roll rates imply; None if not known.
    unknown_loss_rates : dict of str to str
        Why the loss rate of a bucket is not known.
    vintages : DataFrame
        Unpaid shares by month of issue.
    stress : dict
        Figures before and after each scenario.
    """

    currency: str
    provisions: pd.DataFrame
    migration: pd.DataFrame
    roll_rates: pd.DataFrame
    implied_loss_rates: dict[str, float | None]
    unknown_loss_rates: dict[str, str]
    vintages: pd.DataFrame
    stress: dict[str, dict[str, Any]]


def review(
    accounts: Iterable[Account],
    months: Sequence[Month],
    rulebook: Rulebook,
    sector: str | None = None,
) -> Review:
    """Review a portfolio over some months; the moves between them are added up.

    Parameters
    ----------
    accounts : iterable of Account
        Every account of the ledger, the future included.
    months : sequence of Month
        The portfolio at the ends of the months, oldest first. Moves need two or more;
        of a single month nothing has moved yet.
    rulebook : Rulebook
        The rules in force at the last of them.
    sector : str, optional
        The sector that is stressed; default the one with the largest limits.

    Returns
    -------
    Review
        As of the last month.

    Raises
    ------
    SchemaError
        If no customer is in the sector.
    """
    last_month = months[-1]
    migrations = [no_moves()]
    rolls = [no_rolls()]
    for before, after in pairwise(months):
        migrations.append(migration(before, after))
        rolls.append(roll_rates(before, after))
    all_rolls = _added_up(rolls)
    lgd = float(rulebook.parameters["lgd"])
    return Review(
        currency=last_month.portfolio.currency,
        provisions=provisions(last_month, rulebook),
        migration=_added_up(migrations),
        roll_rates=all_rolls,
        implied_loss_rates=implied_loss_rates(all_rolls, lgd),
        unknown_loss_rates=unknown_loss_rates(all_rolls),
        vintages=vintages(accounts, last_month.portfolio.as_of),
        stress=stress(last_month.portfolio, rulebook, sector),
    )


def _added_up(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    first, *others = tables
    return sum(others, first)
