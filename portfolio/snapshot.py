"""A portfolio: a ledger's customers on one day, scored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from obligor.arrays import Floats, Ints
from obligor.data.account import Account
from obligor.data.account_building import accounts_of, rates_of
from obligor.data.asof import KnownAccount, known_account, known_rows
from obligor.data.bureau import BureauReport, reports_of
from obligor.data.days import day_number
from obligor.data.groups import GroupTree
from obligor.data.ledger import Ledger
from obligor.data.money import minor_digits
from obligor.decisions.ageing import AgedAmounts, aged_amounts, exact_ageing
from obligor.decisions.bureau_reports import bureau_summaries
from obligor.decisions.facts import promises_of
from obligor.decisions.group_exposure import (
    GroupExposure,
    group_limit_on,
    stored_tree,
)
from obligor.errors import AsOfError
from obligor.features.build import account_features
from obligor.features.catalogue import NAMES
from obligor.model.pd_model import PdModel
from obligor.policy.credit.credit_file import NOTHING_ON_FILE, CreditFile
from obligor.policy.credit.facts import Facts
from obligor.policy.credit.groups import Group
from obligor.policy.credit.position import NO_REPORT, BureauSummary
from obligor.policy.credit.promise_ladder import Promise

Texts = NDArray[np.str_]


class PortfolioAgeing(NamedTuple):
    """What customers owe by age, in whole minor units of the reporting currency.

    Attributes
    ----------
    open_amount, unapplied : Floats
        What is open of each customer, and money that belongs to no item; shape (n,).
    first_items : Ints
        The overdue items of row n are ``first_items[n] .. first_items[n + 1] - 1``;
        shape (n + 1,).
    days_late : Ints
        Days past due of the overdue items, the oldest of a customer first.
    overdue : Floats
        What is open of each.
    """

    open_amount: Floats
    unapplied: Floats
    first_items: Ints
    days_late: Ints
    overdue: Floats

    def of(self, row: int) -> AgedAmounts:
        """Return what the customer of a row owes by age."""
        items = slice(self.first_items[row], self.first_items[row + 1])
        return AgedAmounts(
            open_amount=float(self.open_amount[row]),
            days_late=self.days_late[items],
            overdue=self.overdue[items],
            unapplied=float(self.unapplied[row]),
        )


def joined_ageing(amounts: Sequence[AgedAmounts]) -> PortfolioAgeing:
    """Return what some customers owe by age, customer after customer."""
    counts = [len(aged.overdue) for aged in amounts]
    return PortfolioAgeing(
        open_amount=np.array([aged.open_amount for aged in amounts]),
        unapplied=np.array([aged.unapplied for aged in amounts]),
        first_items=np.cumsum([0, *counts]),
        days_late=np.concatenate([aged.days_late for aged in amounts]),
        overdue=np.concatenate([aged.overdue for aged in amounts]),
    )


@dataclass(frozen=True)
class Portfolio:
    """Customers on one day; every array has shape (n,), and NaN if not known.

    Attributes
    ----------
    customer_ids : sequence of str
        The customers, in the order of the arrays.
    currency : str
        The reporting currency.
    as_of : date
        The day.
    pd_12m : Floats
        Probability of default within 12 months.
    features : mapping of str to Floats
        Features by name.
    equity, turnover : Floats
        Of the last statement, in the reporting currency.
    groups : mapping of str to Texts
        Further ways to break the figures down, such as ``sector``.
    promises : mapping of int to tuple of Promise
        By row, the settled promises of the customers who have made any.
    ageing : PortfolioAgeing, optional
        What is owed by age. Without it all that is past due counts as old as the
        oldest item.
    incomplete_rows : frozenset of int
        The rows of customers whose ledger may lack a part of what they owe.
    bureau : mapping of int to BureauSummary
        By row, what bureaus say of the customers they know.
    group_lines : mapping of int to tuple of Group
        By row, the groups with a limit that a customer belongs to.
    """

    customer_ids: Sequence[str]
    currency: str
    as_of: date
    pd_12m: Floats
    features: Mapping[str, Floats]
    equity: Floats
    turnover: Floats
    groups: Mapping[str, Texts]
    promises: Mapping[int, tuple[Promise, ...]] = field(default_factory=dict)
    ageing: PortfolioAgeing | None = None
    incomplete_rows: frozenset[int] = frozenset()
    bureau: Mapping[int, BureauSummary] = field(default_factory=dict)
    group_lines: Mapping[int, tuple[Group, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        """The number of customers."""
        return len(self.customer_ids)

    def facts(self, row: int) -> Facts:
        """Return the facts about the customer of a row."""
        features = {}
        for name, column in self.features.items():
            features[name] = float(column[row])
        ageing = None
        if self.ageing is not None:
            ageing = exact_ageing(self.ageing.of(row), self.currency)
        report = self.bureau.get(row, NO_REPORT)
        score = float("nan") if report.score is None else float(report.score)
        credit_file = NOTHING_ON_FILE
        if row in self.group_lines:
            credit_file = CreditFile(groups=self.group_lines[row])
        return Facts(
            pd_12m=float(self.pd_12m[row]),
            currency=self.currency,
            features=features,
            as_of=self.as_of,
            credit_file=credit_file,
            equity=float(self.equity[row]),
            turnover=float(self.turnover[row]),
            promises=self.promises.get(row, ()),
            customer_id=self.customer_ids[row],
            bureau_score=score,
            bureau_insolvency=report.has_insolvency,
            bureau_recommended_limit=report.recommended_limit,
            ageing=ageing,
            is_incomplete=row in self.incomplete_rows,
        )


@dataclass(frozen=True)
class StoredGroups:
    """Who belongs to whom, and what groups may owe.

    Attributes
    ----------
    tree : GroupTree
        The links of all groups, as known on a day.
    limits : mapping of str to Decimal
        By the customer who heads each group, in the reporting currency.
    """

    tree: GroupTree
    limits: Mapping[str, Decimal]

    def lines(self, owed: Mapping[str, Decimal]) -> dict[str, tuple[Group, ...]]:
        """Return the groups of each member, with what the others owe.

        Parameters
        ----------
        owed : mapping of str to Decimal
            What each customer owes.

        Returns
        -------
        dict of str to tuple of Group
            By customer, as `decisions.group_exposure.stored_tree` has them.
        """
        exposures = dict[str, list[GroupExposure]]()
        # The lowest groups first: a line goes upwards.
        depth = {head: len(self.tree.line_of(head)) for head in self.limits}
        for head in sorted(self.limits, key=lambda head: -depth[head]):
            members = self.tree.members_of(head)
            if members == [head]:
                continue
            own = [member for member in members if member in owed]
            total = sum([owed[member] for member in own], Decimal(0))
            for member in own:
                exposure = GroupExposure(
                    name=head,
                    amount=total - owed[member],
                    in_ledger=len(members) - 1,
                    not_in_ledger=0,
                    limit=self.limits[head],
                )
                exposures.setdefault(member, []).append(exposure)
        return {member: stored_tree(member, line) for member, line in exposures.items()}


class ActiveCustomers(NamedTuple):
    """The customers with an invoice known on a day.

    Attributes
    ----------
    accounts : list of KnownAccount
        Their accounts as known on that day.
    rows : Floats
        Their features, shape (n, features), in the order of the catalogue.
    group_limits : mapping of str to Decimal
        The limits of groups by the customer who heads each, with or without invoices.
    """

    accounts: list[KnownAccount]
    rows: Floats
    group_limits: Mapping[str, Decimal] = MappingProxyType({})


def active_on(
    accounts: Iterable[Account],
    as_of: date,
    model: PdModel | None = None,
    reports: Mapping[str, Sequence[BureauReport]] = MappingProxyType({}),
) -> ActiveCustomers:
    """Return the accounts with an invoice known on a day, and their features.

    Parameters
    ----------
    accounts : iterable of Account
        Every account of the ledger, the future included.
    as_of : date
        The day.
    model : PdModel, optional
        Says what is material for ``dpd_days``; without it the age of the oldest item
        counts.
    reports : mapping of str to sequence of BureauReport
        By customer, what bureaus say, the future included.

    Returns
    -------
    ActiveCustomers
        The features are those of the current edition of the catalogue.

    Raises
    ------
    AsOfError
        If there is none.
    """
    day = day_number(as_of)
    known_accounts = []
    group_limits = dict[str, Decimal]()
    for account in accounts:
        limit = group_limit_on(account, as_of)
        if limit is not None:
            group_limits[account.customer_id] = limit
        # A customer without an invoice has nothing to score or to collect.
        if (account.items.known_on <= day).any():
            known_accounts.append(known_account(account, as_of))
    if not known_accounts:
        raise AsOfError(
            f"no invoice was known on {as_of}", where="as_of", do="ask for a later day"
        )
    own_reports = [
        known_rows(reports.get(known.account.customer_id, ()), as_of)
        for known in known_accounts
    ]
    material = model.material if model else None
    rows = account_features(known_accounts, material, own_reports)
    return ActiveCustomers(known_accounts, rows, group_limits)


def days_with_invoices(accounts: Iterable[Account], days: Sequence[date]) -> list[date]:
    """Return the days on which an invoice was known; the last day always.

    A ledger that is younger than the months asked for is reviewed over those it has.
    """
    first_days = [
        int(account.items.known_on.min())
        for account in accounts
        if len(account.items.known_on)
    ]
    first_day = min(first_days, default=0)
    *earlier_days, last_day = days
    reviewed_days = [day for day in earlier_days if day_number(day) >= first_day]
    return [*reviewed_days, last_day]


def portfolio_of(
    customers: Sequence[KnownAccount],
    rows: Floats,
    model: PdModel,
    bureau: Mapping[str, BureauSummary] = MappingProxyType({}),
    group_limits: StoredGroups | None = None,
) -> Portfolio:
    """Return the portfolio of some customers, scored by a model.

    Parameters
    ----------
    customers : sequence of KnownAccount
        Their accounts as known on the same day; at least one.
    rows : Floats
        Their features, shape (n, features), in the order of the catalogue.
    model : PdModel
        The model that scores them.
    bureau : mapping of str to BureauSummary
        By customer, what bureaus say of those they report on.
    group_limits : StoredGroups, optional
        Who belongs to whom, and the limits of groups.

    Returns
    -------
    Portfolio
        With sectors and countries as groups if the ledger has them.
    """
    accounts = [customer.account for customer in customers]
    statements = np.array([account.last_statement() for account in accounts])
    texts = {
        "sector": np.array([account.sector for account in accounts]),
        "country": np.array([account.country for account in accounts]),
    }
    # A column without any text is not in the ledger.
    is_in_ledger = {name: (column != "").any() for name, column in texts.items()}
    groups = {name: texts[name] for name in texts if is_in_ledger[name]}
    # Column by column: each feature is read as one array.
    by_feature = np.ascontiguousarray(rows.T)
    promises = {}
    for row, customer in enumerate(customers):
        if settled := promises_of(customer):
            promises[row] = settled
    reported = {}
    if bureau:
        for row, account in enumerate(accounts):
            if account.customer_id in bureau:
                reported[row] = bureau[account.customer_id]
    ageing = joined_ageing([aged_amounts(customer) for customer in customers])
    customer_ids = [account.customer_id for account in accounts]
    lines = {}
    if group_limits is not None:
        owed = owed_amounts(ageing, accounts[0].currency)
        lines = group_limits.lines(dict(zip(customer_ids, owed, strict=True)))
    return Portfolio(
        customer_ids=customer_ids,
        currency=accounts[0].currency,
        as_of=customers[0].as_of,
        pd_12m=model.predict_pd_12m(model.own_columns(rows)),
        features=dict(zip(NAMES, by_feature, strict=True)),
        equity=statements[:, 0],
        turnover=statements[:, 1],
        groups=groups,
        promises=promises,
        ageing=ageing,
        incomplete_rows=frozenset(
            [row for row, account in enumerate(accounts) if account.is_incomplete]
        ),
        bureau=reported,
        group_lines={
            row: lines[customer_id]
            for row, customer_id in enumerate(customer_ids)
            if customer_id in lines
        },
    )


def owed_amounts(ageing: PortfolioAgeing, currency: str) -> list[Decimal]:
    """Return the net position of each customer, in the reporting currency."""
    digits = minor_digits(currency)
    minor_units = np.maximum(ageing.open_amount - ageing.unapplied, 0.0)
    return [Decimal(int(amount)).scaleb(-digits) for amount in minor_units.tolist()]


def ledger_accounts(ledger: Ledger) -> Iterator[Account]:
    """Give every account of a ledger, with the exchange rates it needs."""
    rates = rates_of(ledger)  # once for all accounts
    for account in accounts_of(ledger):
        foreign = {code: rates[code] for code in account.currencies if code in rates}
        yield replace(account, rates=foreign) if foreign else account


def ledger_summaries(ledger: Ledger, as_of: date) -> dict[str, BureauSummary]:
    """Return what bureaus had said by a day of the customers of a ledger."""
    reports = reports_of(ledger)
    if not reports:
        return {}
    rates = rates_of(ledger)
    accounts = {}
    for account in accounts_of(ledger):
        if account.customer_id in reports:
            accounts[account.customer_id] = replace(account, rates=rates)

    def account_with_rates(customer_id: str, currencies: Sequence[str]) -> Account:
        return accounts[customer_id]  # it has every rate of the ledger

    return bureau_summaries(reports, account_with_rates, as_of)
