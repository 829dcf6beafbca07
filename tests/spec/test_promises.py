"""Promises to pay.

A promise is kept on the day by which as much as promised was paid since it was made.
It is broken on the day after the one it ran out on. Kept and broken promises move a
customer on a ladder of rungs from -3 to 2, whose middle is 0.
"""

from __future__ import annotations

from datetime import date, timedelta

from obligor.data.asof import known_account
from obligor.data.open_items import settled_promises
from obligor.policy.credit.promise_ladder import (
    LadderPosition,
    Promise,
    ladder_position,
)
from tests import ascii
from tests.ascii import parse, spec
from tests.customers import AS_OF, RULEBOOK


def test_a_promise_is_settled_when_enough_was_paid_or_its_day_has_passed() -> None:
    """The first promise is kept by two payments, the second is broken by a late one."""
    invoices = """
        invoice_id | customer_id | issued_on  | due_on     | amount
        A1         | ANNA        | 2024-01-01 | 2024-02-01 | 100
    """
    promises = """
        invoice_id | promised_on | pay_by     | amount
        A1         | 2024-02-10  | 2024-02-20 | 40
        A1         | 2024-03-01  | 2024-03-10 | 60
    """
    payments = """
        payment_id | invoice_id | paid_on    | amount
        P1         | A1         | 2024-02-12 | 15
        P2         | A1         | 2024-02-15 | 25
        P3         | A1         | 2024-03-11 | 60
    """
    expected = """
        as_of      | settled_on             | is_kept
        2024-02-14 | -                      | -
        2024-02-15 | 2024-02-15             | yes
        2024-03-10 | 2024-02-15             | yes
        2024-03-11 | 2024-02-15, 2024-03-11 | yes, no
    """
    book = ascii.ledger(
        invoices=invoices,
        promises=promises,
        payments=payments,
    )
    account = ascii.account(book, "ANNA")

    def settled(as_of: date) -> dict[str, object]:
        known_promises = settled_promises(known_account(account, as_of))
        return {
            "settled_on": [day for day, _ in known_promises],
            "is_kept": [is_kept for _, is_kept in known_promises],
        }

    spec(settled, expected)


def test_three_kept_in_a_row_are_a_step_up_and_every_broken_one_a_step_down() -> None:
    """One promise a week, in order: ``k`` was kept, ``b`` was broken.

    After a step, and after a broken promise, the count of kept ones begins again. The
    ladder ends at -3 and 2.
    """
    expected = """
        promises  | rung
        -         |  0
        kk        |  0
        kkk       |  1
        kkkkk     |  1
        kkkkkk    |  2
        kkkkkkkkk |  2
        b         | -1
        bbb       | -3
        bbbb      | -3
        kkb       | -1
        kkbkk     | -1
        bkkk      |  0
        kkkb      |  0
    """

    def position(promises: str | None) -> LadderPosition:
        marks = promises or ""
        settled = []
        for weeks_ago, mark in enumerate(reversed(marks)):
            day = AS_OF - timedelta(weeks=weeks_ago)
            settled.append(Promise(day, mark == "k"))
        return ladder_position(settled, AS_OF, RULEBOOK)

    spec(position, expected)


def test_a_quiet_year_is_a_step_back_to_the_middle() -> None:
    """A promise settled after the day of the question does not count."""
    promises = """
        settled_on | is_kept
        2023-01-01 | no
        2023-01-02 | no
    """
    expected = """
        as_of      | rung | since
        2022-12-31 |    0 | -
        2023-01-01 |   -1 | 2023-01-01
        2024-01-01 |   -2 | 2023-01-02
        2024-01-02 |   -1 | 2024-01-02
        2024-12-31 |   -1 | 2024-01-02
        2025-01-01 |    0 | 2025-01-01
        2029-01-01 |    0 | 2025-01-01
    """
    settled = []
    for row in parse(promises):
        day = date.fromisoformat(row["settled_on"])
        settled.append(Promise(day, row["is_kept"] == "yes"))

    def position(as_of: date) -> LadderPosition:
        return ladder_position(settled, as_of, RULEBOOK)

    spec(position, expected)
