"""Provisions.

Every open invoice has two provisions: by the matrix of IFRS 9, which goes by age, and
by the loss that the customer's PD implies. LGD is 45%; amounts are in EUR.
"""

from __future__ import annotations

from decimal import Decimal

import pandas as pd

from obligor.policy.collecting.provision import Provision, provision
from obligor.portfolio.migration import (
    implied_loss_rates,
    roll_rates,
    unknown_loss_rates,
)
from obligor.portfolio.month import Month
from tests.ascii import parse, spec
from tests.customers import RULEBOOK


def test_the_matrix_goes_by_age() -> None:
    """The older an invoice, the higher the share that is provided for.

    The open amount is 10,000. An invoice is past due from the day after its due date.
    """
    expected = """
        dpd_days | bucket  | matrix
             -30 | not_due |   50.00
               0 | not_due |   50.00
               1 | 1-15    |  120.00
              15 | 1-15    |  120.00
              16 | 16-30   |  300.00
              31 | 31-60   |  800.00
              61 | 61-90   | 2000.00
              90 | 61-90   | 2000.00
              91 | 90+     | 5000.00
    """

    def provided(dpd_days: int) -> Provision:
        return provision(
            Decimal(10_000),
            dpd_days,
            Decimal("0.1"),
            "EUR",
            RULEBOOK,
        )

    spec(provided, expected)


def test_the_expected_loss_goes_by_the_pd_of_the_customer() -> None:
    """It is open amount x LGD x the probability that the invoice ends in default.

    Before the due date that is the PD until the invoice would be 90 days late: 30 days
    before, 1 - 0.9 ** (120 / 365) = 3.40%. Past due it is the PD of the whole year, and
    beyond 90 days the customer is in default.
    """
    expected = """
        open_amount | dpd_days | pd_12m | expected_loss
              10000 |      -30 |   0.1  |  153.21
              10000 |        1 |   0.1  |  450.00
              10000 |       90 |   0.1  |  450.00
              10000 |       91 |   0.1  | 4500.00
              10000 |        1 |   0.02 |   90.00
               5000 |        1 |   0.02 |   45.00
    """

    def provided(
        open_amount: Decimal,
        dpd_days: int,
        pd_12m: Decimal,
    ) -> Provision:
        return provision(open_amount, dpd_days, pd_12m, "EUR", RULEBOOK)

    spec(provided, expected)


def test_roll_rates_follow_every_amount_for_a_month() -> None:
    """What was open is in a bucket a month later, or settled.

    Invoices of the later month are not in the table.
    """
    before = """
        invoice_id | open_amount | dpd_days
        A          |         100 |        5
        B          |          60 |        5
        C          |          40 |       70
        D          |          10 |       -3
    """
    after = """
        invoice_id | open_amount | dpd_days
        A          |          70 |       35
        C          |          40 |      100
        D          |          10 |       27
        E          |         500 |        1
    """
    expected = """
        from    | 16-30 | 31-60 | 90+ | settled
        not_due |    10 |     0 |   0 |       0
        1-15    |     0 |    70 |   0 |      90
        16-30   |     0 |     0 |   0 |       0
        31-60   |     0 |     0 |   0 |       0
        61-90   |     0 |     0 |  40 |       0
        90+     |     0 |     0 |   0 |       0
    """
    spec(roll_rates(month(before), month(after)), expected)


def month(items: str) -> Month:
    """Return a month of which only the open items are known."""
    frame = pd.DataFrame(parse(items))
    frame["open_amount"] = frame["open_amount"].astype(float)
    frame["dpd_days"] = frame["dpd_days"].astype(int)
    return Month(None, pd.Series(dtype=object), frame)  # type: ignore[arg-type]


def test_roll_rates_imply_a_loss_rate_for_every_bucket() -> None:
    """The chance that an amount ends beyond 90 days late, times LGD (here 40%).

    Half of what is 61 to 90 days late goes beyond 90, and a tenth of what is 31 to 60
    days late becomes 61 to 90 days late.
    """
    moves = """
        from    | not_due | 1-15 | 16-30 | 31-60 | 61-90 | 90+ | settled
        not_due |       0 |    0 |     0 |     0 |     0 |   0 |     100
        1-15    |       0 |    0 |     0 |     0 |     0 |   0 |     100
        16-30   |       0 |    0 |     0 |     0 |     0 |   0 |     100
        31-60   |       0 |    0 |     0 |     0 |    10 |   0 |      90
        61-90   |       0 |    0 |     0 |     0 |     0 |  50 |      50
        90+     |       0 |    0 |     0 |     0 |     0 |   0 |       0
    """
    expected = """
        bucket  | loss_rate
        not_due | 0
        31-60   | 0.02
        61-90   | 0.2
        90+     | 0.4
    """
    rolls = pd.DataFrame(parse(moves)).set_index("from").astype(float)
    loss_rates = implied_loss_rates(rolls, 0.4)

    def loss_rate(bucket: str) -> dict[str, object]:
        return {"loss_rate": loss_rates[bucket]}

    spec(loss_rate, expected)


def test_a_healthy_portfolio_implies_no_loss_rate() -> None:
    """A loss rate is implied only if the end of every amount was seen.

    One long invoice stays not due. Of what is 1 to 15 days late a part is paid, and the
    other part became 16 to 30 days late in the last month.
    """
    moves = """
        from    | not_due | 1-15 | 16-30 | 31-60 | 61-90 | 90+ | settled
        not_due |   20000 |    0 |     0 |     0 |     0 |   0 |       0
        1-15    |       0 |    0 |    10 |     0 |     0 |   0 |      90
        16-30   |       0 |    0 |     0 |     0 |     0 |   0 |       0
        31-60   |       0 |    0 |     0 |     0 |     0 |   0 |      50
        61-90   |       0 |    0 |     0 |     0 |     0 |   0 |       0
        90+     |       0 |    0 |     0 |     0 |     0 |   0 |       0
    """
    expected = """
        bucket  | loss_rate | not_known_because
        not_due | -         | no amount left this bucket
        1-15    | -         | amounts went to 16-30, of which no end is known
        16-30   | -         | no amount was in this bucket
        31-60   | 0         | -
        90+     | 0.4       | -
    """
    rolls = pd.DataFrame(parse(moves)).set_index("from").astype(float)
    loss_rates = implied_loss_rates(rolls, 0.4)
    reasons = unknown_loss_rates(rolls)

    def implied(bucket: str) -> dict[str, object]:
        return {
            "loss_rate": loss_rates[bucket],
            "not_known_because": reasons.get(bucket),
        }

    spec(implied, expected)
