"""Late interest and compensation under the law of the customer's country."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from obligor.data.money import round_money
from obligor.policy.collecting.debt import Debt
from obligor.policy.rulebooks.rulebook import Rulebook

# Member states of the EU: directive 2011/7/EU on late payment.
_EU_CODES = """
AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK
"""
EU = frozenset(_EU_CODES.split())
_LAWS = {"CN": "cn", "GB": "gb"}
_YEAR = Decimal(365)


@dataclass(frozen=True)
class LateInterest:
    """The interest and fee that the law adds to a debt.

    Attributes
    ----------
    amount : Decimal
        Interest so far, in the reporting currency.
    fee : Decimal
        Compensation for all items, in `fee_currency`.
    fee_currency : str
        The currency of the law.
    because : str
        The law.
    """

    amount: Decimal
    fee: Decimal
    fee_currency: str
    because: str


def late_interest(debt: Debt, rulebook: Rulebook) -> LateInterest:
    """Return amount x rate x days / 365 by the law of the country, and its fee.

    The rates and fees of each law, with their sources, are in the rulebook.

    Examples
    --------
    >>> from obligor.policy.rulebooks.rulebook import RULES, read_rulebook
    >>> debt = Debt(
    ...     customer_id="C",
    ...     currency="EUR",
    ...     overdue=Decimal(1000),
    ...     dpd_days=Decimal(73),
    ...     pd_12m=Decimal("0.1"),
    ...     customer_class="general",
    ...     amount_days=Decimal(73000),
    ...     country="CN",
    ... )
    >>> rules = read_rulebook(RULES / "2000-01-01")
    >>> late_interest(debt, rules).amount  # 1000 x .0005 x 73
    Decimal('36.50')
    """
    law = "eu" if debt.country in EU else _LAWS.get(debt.country, "other")
    evaluation = rulebook.tables["late_interest"](country=law)
    rate_per_year = evaluation.number("rate_per_year")
    # The sum over items of amount x days, as items are late by different days.
    interest = debt.amount_days * rate_per_year / _YEAR
    return LateInterest(
        amount=round_money(interest, debt.currency),
        fee=evaluation.number("fee_per_item") * debt.n_items,
        fee_currency=str(evaluation.outputs["fee_currency"]),
        because=evaluation.because,
    )
