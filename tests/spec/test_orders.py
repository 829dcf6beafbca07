"""Order checks.

An order is released, referred to a person, or held. What the customer will owe within
30 days must fit the limit, and no block rule may fire. The customer has a limit of
16,438.35, owes 4,000, bought for 10,000 a month and last 10 days ago; every question
is asked as of 2025-06-30. Amounts are in EUR.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from math import nan

from obligor.policy.credit.orders import (
    Order,
    OrderBook,
    OrderCheck,
    check_order,
    exposure_until,
)
from tests.ascii import spec
from tests.customers import AS_OF, RULEBOOK, decision_about


def check(
    order: Order, pd_12m: float = 0.01, idle_days: int = 10, **features: float
) -> OrderCheck:
    """Check an order of a customer without other orders."""
    book = OrderBook(AS_OF, idle_days=Decimal(idle_days))
    return check_order(
        order,
        book,
        decision_about(pd_12m, **features),
        RULEBOOK,
    )


def shown(order_check: OrderCheck) -> dict[str, object]:
    """Return the outcome with the codes of its blocks."""
    return {
        "outcome": order_check.outcome,
        "blocks": [block.fired for block in order_check.blocks],
        "room": order_check.room,
        "exposure": order_check.exposure,
    }


def test_exposure_counts_deliveries_within_the_horizon() -> None:
    """To what is open, 1,000, come unbilled orders delivered by the last day and the
    order itself; prepaid orders do not count. The last day is 2025-07-30.
    """
    expected = """
        unbilled | deliver_on | unbilled_is_prepaid | amount | is_prepaid | exposure
             300 | 2025-07-30 | no                  |     50 | no         | 1350
             300 | 2025-07-31 | no                  |     50 | no         | 1050
             300 | 2025-07-30 | yes                 |     50 | no         | 1050
             300 | 2025-07-30 | no                  |     50 | yes        | 1300
    """

    def exposure(
        unbilled: Decimal,
        deliver_on: date,
        unbilled_is_prepaid: bool,
        amount: Decimal,
        is_prepaid: bool,
    ) -> dict[str, object]:
        others = [Order(unbilled, deliver_on, unbilled_is_prepaid)]
        order = Order(amount, AS_OF, is_prepaid)
        last_day = date(2025, 7, 30)
        return {
            "exposure": exposure_until(
                Decimal(1000),
                others,
                order,
                last_day,
            )
        }

    spec(exposure, expected)


def test_an_order_must_fit_the_room_of_the_limit() -> None:
    """The room is the limit less what the customer will owe without this order."""
    expected = """
        amount   | exposure | room     | outcome | blocks
         1000.00 |  5000.00 | 12438.35 | release | -
        12438.35 | 16438.35 | 12438.35 | release | -
        12438.36 | 16438.36 | 12438.35 | hold    | B03
    """

    def answer(amount: Decimal) -> dict[str, object]:
        return shown(check(Order(amount, AS_OF)))

    spec(answer, expected)


def test_each_block_rule_has_a_cause() -> None:
    """Late items, the decision about the customer and its terms can block an order.

    An order of up to 250 is not held for the limit or for an item 30 days late. A
    customer whose days past due are not known is referred.
    """
    expected = """
        amount | pd_12m | dpd_days | outcome | blocks
          1000 |   0.01 |        0 | release | -
          1000 |   0.5  |        0 | hold    | B01, B03
          1000 |   0.2  |        0 | hold    | B02, B03, B06
          1000 |   0.01 |       31 | hold    | B04, B06
           250 |   0.01 |       31 | refer   | B06
          1000 |   0.1  |        6 | hold    | B05
          1000 |   0.01 |        6 | release | -
          1000 |   0.01 |        - | refer   | B06, B07
    """

    def answer(
        amount: Decimal,
        pd_12m: float,
        dpd_days: float | None,
    ) -> dict[str, object]:
        days = nan if dpd_days is None else dpd_days
        return shown(check(Order(amount, AS_OF), pd_12m, dpd_days=days))

    spec(answer, expected)


def test_a_large_order_after_a_pause_is_referred() -> None:
    """More than five usual months at once, after more than 90 days without an invoice.

    This customer buys for 1,000 a month and owes nothing.
    """
    expected = """
        amount | idle_days | blocks
          5000 |        91 | B03
          5001 |        90 | B03
          5001 |        91 | B03, B08
    """

    def answer(amount: Decimal, idle_days: int) -> dict[str, object]:
        order_check = check(
            Order(amount, AS_OF),
            idle_days=idle_days,
            invoiced_amount_365d=12_000.0,
            open_amount=0.0,
        )
        return shown(order_check)

    spec(answer, expected)


def test_a_held_order_comes_with_steps_that_would_release_it() -> None:
    """The customer may order less, pay some of what is open, or pay in advance.

    A step is offered only if no block rule would fire after it.
    """
    expected = """
        act        | amount
        order_less | 12438.35
        pay        | 0.01
        prepay     | 12438.36
    """
    order_check = check(Order(Decimal("12438.36"), AS_OF))
    spec(order_check.releases, expected)


def test_a_late_customer_can_only_pay_in_advance() -> None:
    """A smaller order, or a payment up to the limit, would leave the item late."""
    expected = """
        act    | amount
        prepay | 1000
    """
    order_check = check(Order(Decimal(1000), AS_OF), dpd_days=31.0)
    spec(order_check.releases, expected)


def test_a_prepaid_order_is_released_whatever_the_customer() -> None:
    """A prepaid order adds no exposure."""
    expected = """
        amount | pd_12m | dpd_days | outcome | blocks
         50000 |    0.9 |      100 | release | -
    """

    def answer(
        amount: Decimal,
        pd_12m: float,
        dpd_days: float,
    ) -> dict[str, object]:
        order = Order(amount, AS_OF, is_prepaid=True)
        return shown(check(order, pd_12m, dpd_days=dpd_days))

    spec(answer, expected)
