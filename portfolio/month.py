"""The portfolio at the end of a month: grades, and open items with their age."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd

from obligor.arrays import Floats, Ints
from obligor.data.account import Account
from obligor.data.asof import KnownAccount, known_rows
from obligor.data.bureau import BureauReport
from obligor.data.days import day_number
from obligor.data.groups import GroupLink, GroupTree
from obligor.data.money import minor_digits
from obligor.data.open_items import open_balances
from obligor.data.rates import closing_rates
from obligor.decisions.ageing import aged_amounts
from obligor.model.pd_model import PdModel
from obligor.policy.collecting.priority import DEFAULT_DPD_DAYS
from obligor.policy.rulebooks.rulebook import Rulebook, in_force
from obligor.portfolio.decide_many import decide_many
from obligor.portfolio.item_columns import Columns, stacked
from obligor.portfolio.snapshot import (
    Portfolio,
    StoredGroups,
    active_on,
    portfolio_of,
)

IN_DEFAULT = "default"


class KnownParties(NamedTuple):
    """What is known of customers besides their accounts, the future included.

    Attributes
    ----------
    reports : mapping of str to sequence of BureauReport
        By customer, what bureaus say: features of the model.
    links : sequence of GroupLink
        Who belongs to whom.
    """

    reports: Mapping[str, Sequence[BureauReport]] = MappingProxyType({})
    links: Sequence[GroupLink] = ()


@dataclass(frozen=True)
class Month:
    """The portfolio on the last day of a month.

    Attributes
    ----------
    portfolio : Portfolio
        The customers, scored.
    grade : Series of str
        By customer, ``1`` to ``10`` or ``default``.
    items : DataFrame
        One row per open item: ``invoice_id``, ``customer_id``, ``pd_12m``,
        ``open_amount`` (reporting currency), ``dpd_days`` (negative before due).
        Unapplied money of a customer counts against its oldest items.
    """

    portfolio: Portfolio
    grade: pd.Series[str]
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
        first_of_month = days[-1].replace(day=1)
        days.append(first_of_month - timedelta(days=1))
    return days[::-1]


def month_of(
    accounts: Iterable[Account],
    as_of: date,
    model: PdModel,
    rulebooks: Sequence[Rulebook],
    parties: KnownParties | None = None,
) -> Month:
    """Return the portfolio as it was known on a day, under the rules of that day.

    Parameters
    ----------
    accounts : iterable of Account
        Every account of the ledger, the future included.
    as_of : date
        The day.
    model : PdModel
        The model that scores the customers.
    rulebooks : sequence of Rulebook
        The released rulebooks; the one in force on the day decides.
    parties : KnownParties, optional
        What bureaus say of the customers, and who belongs to whom.

    Returns
    -------
    Month
        Portfolio, grades and open items.

    Raises
    ------
    AsOfError
        If no invoice or no rulebook was known by then.
    """
    parties = parties or KnownParties()
    customers = active_on(accounts, as_of, model, parties.reports)
    tree = GroupTree.of(known_rows(parties.links, as_of))
    groups = StoredGroups(tree, customers.group_limits)
    portfolio = portfolio_of(
        customers.accounts,
        customers.rows,
        model,
        group_limits=groups,
    )
    decisions = decide_many(portfolio, in_force(rulebooks, as_of))
    is_in_default = decisions.material_dpd_days > DEFAULT_DPD_DAYS
    # Default is a state of its own, whatever the grade of the model.
    grades = decisions.grade.astype("int64").astype(str)
    grade = pd.Series(
        np.where(is_in_default, IN_DEFAULT, grades).tolist(),
        index=pd.Index(portfolio.customer_ids),
    )
    items = [
        _open_items(customer, pd_12m)
        for customer, pd_12m in zip(customers.accounts, portfolio.pd_12m, strict=True)
    ]
    return Month(portfolio, grade, stacked(items))


def _open_items(customer: KnownAccount, pd_12m: float) -> Columns:
    """The open items of a customer, in the reporting currency, with their age."""
    account = customer.account
    due = account.items.due
    amounts = open_balances(account) * closing_rates(customer)
    if len(account.money.value):
        unapplied = aged_amounts(customer).unapplied
        major_units = unapplied / 10 ** minor_digits(account.currency)
        amounts = less_unapplied(amounts, due, major_units)
    rows = np.flatnonzero(amounts > 0)
    invoice_ids = [account.invoice_ids[row] for row in rows.tolist()]
    return {
        "invoice_id": np.array(invoice_ids, dtype=object),
        "customer_id": [account.customer_id] * len(rows),
        "pd_12m": np.full(len(rows), pd_12m),
        "open_amount": amounts[rows],
        "dpd_days": day_number(customer.as_of) - due[rows],
    }


def less_unapplied(
    amounts: Floats,
    due: Ints,
    unapplied: float,
) -> Floats:
    """Return what is left of items if money pays the oldest due first.

    Parameters
    ----------
    amounts : Floats
        What is open of each item, shape (n,).
    due : Ints
        The day on which each is due, shape (n,).
    unapplied : float
        The money, in the currency of the amounts.

    Returns
    -------
    Floats
        What is left of each, 0 or more, shape (n,).

    Examples
    --------
    >>> amounts = np.array([500.0, 300.0, 200.0])
    >>> less_unapplied(amounts, np.array([30, 10, 20]), 400.0).tolist()
    [500.0, 0.0, 100.0]
    """
    oldest_first = np.argsort(due, kind="stable")
    ordered = amounts[oldest_first]
    paid_before = np.cumsum(ordered) - ordered
    paid = np.clip(unapplied - paid_before, 0, ordered)
    left = np.empty(len(amounts))
    left[oldest_first] = ordered - paid
    return left
