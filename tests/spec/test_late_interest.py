"""Late interest.

The law of the customer's country adds interest to an overdue debt, and a fee for each
item. The rates are those of the rulebook 2000-01-01.
"""

from __future__ import annotations

from decimal import Decimal

from obligor.policy.collecting.debt import Debt
from obligor.policy.collecting.late_interest import LateInterest, late_interest
from tests.ascii import spec
from tests.customers import RULEBOOK


def debt(
    amount: Decimal,
    days: int,
    country: str | None,
    n_items: int = 1,
) -> Debt:
    """Return a debt of items that are all equally late."""
    return Debt(
        customer_id="ANNA",
        currency="EUR",
        overdue=amount,
        dpd_days=Decimal(days),
        pd_12m=Decimal("0.05"),
        customer_class="general",
        amount_days=amount * days,
        n_items=n_items,
        country=country or "",
    )


def test_the_law_of_the_country_sets_rate_and_fee() -> None:
    """10.15% a year in the EU, 0.05% a day in China, 12% a year in Great Britain.

    In other countries only what was agreed applies. 10,000 EUR are 20 days late.
    """
    expected = """
        country | amount | fee | fee_currency
        DE      |  55.62 |  40 | EUR
        CN      | 100.00 |   0 | none
        GB      |  65.75 |  40 | GBP
        US      |   0.00 |   0 | none
        -       |   0.00 |   0 | none
    """

    def interest(country: str | None) -> LateInterest:
        return late_interest(debt(Decimal(10_000), 20, country), RULEBOOK)

    spec(interest, expected)


def test_interest_grows_with_amount_and_days() -> None:
    """Interest is amount x rate x days / 365, rounded to the cent."""
    expected = """
        overdue | days | amount
           1000 |    0 |   0.00
           1000 |   73 |  20.30
           1000 |  365 | 101.50
           2000 |   73 |  40.60
    """

    def interest(overdue: Decimal, days: int) -> LateInterest:
        return late_interest(debt(overdue, days, "DE"), RULEBOOK)

    spec(interest, expected)


def test_every_item_has_its_fee() -> None:
    """A customer in Germany has so many items past due."""
    expected = """
        n_items | fee
              1 |  40
              3 | 120
    """

    def interest(n_items: int) -> LateInterest:
        return late_interest(
            debt(
                Decimal(10_000),
                20,
                "DE",
                n_items,
            ),
            RULEBOOK,
        )

    spec(interest, expected)
