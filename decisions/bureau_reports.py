"""What bureaus say of customers, as the rules take it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal

import numpy as np

from obligor.data.account import Account
from obligor.data.asof import KnownAccount, known_account, known_rows
from obligor.data.bureau import BureauFacts, BureauReport, bureau_facts
from obligor.data.days import day_number
from obligor.data.money import round_money
from obligor.data.rates import rates_on
from obligor.errors import AsOfError
from obligor.policy.credit.position import BureauSummary, decimal_of

# Returns a customer's account with the rates of some currencies besides its own.
AccountWithRates = Callable[[str, Sequence[str]], Account]


def in_reporting_currency(
    known: KnownAccount, amount: Decimal, currency: str
) -> Decimal:
    """Return an amount in the reporting currency, at the last rate known.

    Parameters
    ----------
    known : KnownAccount
        The account whose rates are used.
    amount : Decimal
        The amount.
    currency : str
        Its currency.

    Returns
    -------
    Decimal
        Rounded to minor units.

    Raises
    ------
    SchemaError
        If there is no rate for the currency.
    """
    days = np.array([day_number(known.as_of)])
    rate = rates_on(known.account, currency, days)[0]
    exact_rate = Decimal(str(float(rate)))
    return round_money(amount * exact_rate, known.account.currency)


def lowest_limit(known: KnownAccount, bureau: BureauFacts) -> Decimal | None:
    """Return the lowest limit that a bureau recommends, in the reporting currency.

    Raises
    ------
    SchemaError
        If there is no rate for its currency.
    """
    reporting_currency = known.account.currency
    limits = []
    for limit in bureau.recommended_limits:
        currency = limit.currency or reporting_currency
        limits.append(in_reporting_currency(known, limit.amount, currency))
    return min(limits, default=None)


def bureau_summaries(
    reports: Mapping[str, Sequence[BureauReport]],
    account_of: AccountWithRates,
    as_of: date,
) -> dict[str, BureauSummary]:
    """Return what bureaus had said by a day of those customers they report on.

    Parameters
    ----------
    reports : mapping of str to sequence of BureauReport
        The reports by customer, the future included.
    account_of : callable
        Returns the account of a customer, with the rates that its reports need.
    as_of : date
        The day.

    Returns
    -------
    dict of str to BureauSummary
        By customer; without those whom no report was known of, or no invoice.

    Raises
    ------
    SchemaError
        If there is no rate for the currency of a recommended limit.
    """
    summaries = {}
    for customer_id, every_report in reports.items():
        known_reports = known_rows(every_report, as_of)
        if not known_reports:
            continue
        bureau = bureau_facts(known_reports)
        currencies = [limit.currency for limit in bureau.recommended_limits]
        foreign = [currency for currency in currencies if currency]
        try:
            known = known_account(account_of(customer_id, foreign), as_of)
        except AsOfError:
            continue
        summaries[customer_id] = BureauSummary(
            score=decimal_of(bureau.score),
            has_insolvency=bureau.is_insolvent,
            recommended_limit=lowest_limit(known, bureau),
        )
    return summaries
