"""What credit must earn: the price floor of an order, and what an early-payment discount is worth in a year."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from obligor.data.money import round_money
from obligor.policy.economics import pd_until
from obligor.policy.rulebooks.rulebook import Rulebook

_YEAR = Decimal(365)


@dataclass(frozen=True)
class PriceFloor:
    """The lowest price on credit that pays for the credit: cash price + financing + expected loss + capital."""

    cash_price: Decimal
    financing: Decimal
    expected_loss: Decimal
    capital_charge: Decimal
    amount: Decimal
    currency: str


def price_floor(
    cash_price: Decimal,
    days: Decimal,
    deposit_share: Decimal,
    pd_12m: Decimal,
    capital: Decimal,
    currency: str,
    rulebook: Rulebook,
) -> PriceFloor:
    """Return the price floor of an order on credit.

    Parameters
    ----------
    cash_price : Decimal
        What is asked for in cash.
    days : Decimal
        Terms plus the days this customer pays beyond them.
    deposit_share : Decimal
        Share paid in advance; it costs nothing.
    capital : Decimal
        Basel capital per unit of exposure.

    Notes
    -----
    ``credit = cash price x (1 - deposit)``; financing ``credit x cost of funds x days / 365``; expected loss
    ``credit x LGD x PD over these days``; capital charge ``credit x capital x hurdle x days / 365``.

    Examples
    --------
    >>> from policy.rulebook import RULES, read_rulebook
    >>> found = price_floor(Decimal("10000.00"), Decimal(73), Decimal(0), Decimal("0.0475"), Decimal("0.10"), "EUR",
    ...                     read_rulebook(RULES / "2000-01-01"))
    >>> found.financing, found.expected_loss, found.capital_charge  # 10000 x .082/5; x .45 x .009686; x .1 x .12/5
    (Decimal('164.00'), Decimal('43.59'), Decimal('24.00'))
    >>> found.amount
    Decimal('10231.59')
    """
    p, credit, years = (
        rulebook.parameters,
        cash_price * (1 - deposit_share),
        days / _YEAR,
    )
    financing = round_money(credit * p["cost_of_funds"] * years, currency)
    expected = round_money(credit * p["lgd"] * pd_until(pd_12m, days), currency)
    charge = round_money(credit * capital * p["hurdle_rate"] * years, currency)
    return PriceFloor(
        cash_price,
        financing,
        expected,
        charge,
        cash_price + financing + expected + charge,
        currency,
    )


@cache  # few rates and days; a Decimal power takes 20 us
def discount_per_year(discount_rate: Decimal, days_earlier: int) -> Decimal:
    """Return the yearly rate a customer earns by taking a discount: (1 / (1 - d)) ** (365 / days) - 1.

    Examples
    --------
    2% for paying on day 10 instead of day 30, the textbook's 44.6%:

    >>> round(discount_per_year(Decimal("0.02"), 20), 4)
    Decimal('0.4459')
    """
    return (1 / (1 - discount_rate)) ** (_YEAR / days_earlier) - 1
