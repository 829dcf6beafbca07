"""The price of credit: the floor of an order, and the value of a discount."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import NamedTuple

from obligor.data.money import round_money
from obligor.policy.credit.position import Position
from obligor.policy.credit.terms import Terms
from obligor.policy.economics import capital_ratio, pd_until
from obligor.policy.rulebooks.rulebook import Rulebook

_YEAR = Decimal(365)
_ZERO = Decimal(0)


class Pricing(NamedTuple):
    """The components of the price of credit to one customer.

    Attributes
    ----------
    pd_12m : Decimal
        Probability of default within 12 months, 0 to 1.
    lgd : Decimal
        Loss given default, 0 to 1.
    capital : Decimal
        Basel capital per unit of exposure.
    cost_of_funds, hurdle_rate : Decimal
        Interest on the financing and return on the capital, per year.
    """

    pd_12m: Decimal
    lgd: Decimal
    capital: Decimal
    cost_of_funds: Decimal
    hurdle_rate: Decimal


def pricing_of(pd_12m: float, rulebook: Rulebook) -> Pricing:
    """Return the components of the price of credit at a PD, under a rulebook.

    Examples
    --------
    >>> from obligor.policy.rulebooks.rulebook import RULES, read_rulebook
    >>> pricing = pricing_of(0.01, read_rulebook(RULES / "2000-01-01"))
    >>> round(pricing.capital, 4)  # Basel: LGD 45%, one year
    Decimal('0.0586')
    """
    parameters = rulebook.parameters
    capital = capital_ratio(
        pd_12m,
        float(parameters["lgd"]),
        confidence=float(parameters["capital_confidence"]),
    )
    return Pricing(
        Decimal(str(pd_12m)),
        parameters["lgd"],
        Decimal(str(capital)),
        parameters["cost_of_funds"],
        parameters["hurdle_rate"],
    )


@dataclass(frozen=True)
class PriceFloor:
    """The lowest price on credit that pays for the credit.

    `amount` is the sum: cash price, financing, expected loss and capital charge.
    """

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
    pricing: Pricing,
    currency: str,
) -> PriceFloor:
    """Return the price floor of an order on credit.

    Parameters
    ----------
    cash_price : Decimal
        The price if paid in cash, in `currency`.
    days : Decimal
        Terms plus the days this customer pays beyond them.
    deposit_share : Decimal
        Share paid in advance, 0 to 1; it costs nothing.
    pricing : Pricing
        PD, LGD, capital and rates.
    currency : str
        The reporting currency; each part is rounded to its minor unit.

    Returns
    -------
    PriceFloor
        The floor and its parts.

    Notes
    -----
    ``credit = cash price x (1 - deposit)``; financing ``credit x cost of funds x days
    / 365``; expected loss ``credit x LGD x PD over these days``; capital charge
    ``credit x capital x hurdle x days / 365``.

    Examples
    --------
    >>> pricing = Pricing(
    ...     pd_12m=Decimal("0.0475"),
    ...     lgd=Decimal("0.45"),
    ...     capital=Decimal("0.10"),
    ...     cost_of_funds=Decimal("0.082"),
    ...     hurdle_rate=Decimal("0.12"),
    ... )
    >>> floor = price_floor(
    ...     Decimal("10000.00"), Decimal(73), Decimal(0), pricing, "EUR"
    ... )
    >>> floor.financing  # 10000 x .082 / 5
    Decimal('164.00')
    >>> floor.expected_loss  # 10000 x .45 x .009686
    Decimal('43.59')
    >>> floor.capital_charge  # 10000 x .1 x .12 / 5
    Decimal('24.00')
    >>> floor.amount
    Decimal('10231.59')
    """
    credit = cash_price * (1 - deposit_share)
    years = days / _YEAR
    financing = credit * pricing.cost_of_funds * years
    loss = credit * pricing.lgd * pd_until(pricing.pd_12m, days)
    charge = credit * pricing.capital * pricing.hurdle_rate * years
    # Each part is rounded, so that the parts of an answer add up to its amount.
    financing = round_money(financing, currency)
    loss = round_money(loss, currency)
    charge = round_money(charge, currency)
    return PriceFloor(
        cash_price=cash_price,
        financing=financing,
        expected_loss=loss,
        capital_charge=charge,
        amount=cash_price + financing + loss + charge,
        currency=currency,
    )


def floor_of(
    amount: Decimal,
    position: Position,
    terms: Terms,
    pricing: Pricing,
) -> PriceFloor:
    """Return the price floor of an amount on a customer's terms.

    The customer is assumed to pay as late as it did in the past.

    Parameters
    ----------
    amount : Decimal
        Cash price, in the reporting currency.
    position : Position
        The customer's days beyond terms, and the currency.
    terms : Terms
        The terms offered; without any days the floor is the cash price.
    pricing : Pricing
        PD, LGD, capital and rates.

    Returns
    -------
    PriceFloor
        The floor and its parts.
    """
    days = _ZERO
    if terms.terms_days:
        days = terms.terms_days + (position.dbt_days or _ZERO)
    return price_floor(amount, days, terms.deposit_share, pricing, position.currency)


@cache  # few rates and days; a Decimal power takes 20 us
def discount_per_year(discount_rate: Decimal, days_earlier: int) -> Decimal:
    """Return the yearly rate a customer earns by taking an early-payment discount.

    It is (1 / (1 - d)) ** (365 / days) - 1.

    Examples
    --------
    2% for paying on day 10 instead of day 30, the textbook's 44.6%:

    >>> round(discount_per_year(Decimal("0.02"), 20), 4)
    Decimal('0.4459')
    """
    return (1 / (1 - discount_rate)) ** (_YEAR / days_earlier) - 1
