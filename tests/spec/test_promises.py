"""Promises to pay.

A promise is kept on the day by which as much as promised was paid since it was made.
It is broken on the day after the one it ran out on. What is paid on an item counts
once, for the oldest promise that lacks it; promises made on one day are instalments of
a plan, of which the one to be paid first is the oldest. Kept and broken promises move a
customer on a ladder of rungs from -3 to 2, whose middle is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta

from obligor.data.account import ACCOUNTING, FIRST_ACCOUNTING
from obligor.data.asof import known_account
from obligor.data.open_items import settled_promises
from obligor.features.build import account_features
from obligor.features.catalogue import NAMES
from obligor.policy.credit.promise_ladder import (
    LadderPosition,
    Promise,
    ladder_position,
)
from tests import ascii
from tests.ascii import parse, spec
from tests.customers import AS_OF, RULEBOOK

PLANNED = """
    invoice_id | customer_id | issued_on  | due_on     | amount
    A1         | ANNA        | 2024-01-01 | 2024-02-01 | 900
"""


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
    spec(settled(invoices, promises, payments), expected)


def test_what_is_paid_counts_for_one_instalment_of_a_plan() -> None:
    """One payment of 300 keeps one of three promises.

    It would be in time for each of them.
    """
    promises = """
        invoice_id | promised_on | pay_by     | amount
        A1         | 2024-02-10  | 2024-02-20 | 300
        A1         | 2024-02-10  | 2024-03-20 | 300
        A1         | 2024-02-10  | 2024-04-20 | 300
    """
    payments = """
        invoice_id | paid_on    | amount
        A1         | 2024-02-15 | 300
    """
    expected = """
        as_of      | settled_on                         | is_kept
        2024-02-15 | 2024-02-15                         | yes
        2024-03-21 | 2024-02-15, 2024-03-21             | yes, no
        2024-04-21 | 2024-02-15, 2024-03-21, 2024-04-21 | yes, no, no
    """
    spec(settled(PLANNED, promises, payments), expected)


def test_money_that_comes_late_for_an_instalment_is_not_money_for_the_next() -> None:
    """The instalment of February comes in March, and that of March does not come.

    What is paid beyond an instalment is for the next one.
    """
    promises = """
        invoice_id | promised_on | pay_by     | amount
        A1         | 2024-02-10  | 2024-02-20 | 300
        A1         | 2024-02-10  | 2024-03-20 | 300
        A1         | 2024-02-10  | 2024-04-20 | 300
    """
    payments = """
        invoice_id | paid_on    | amount
        A1         | 2024-03-01 | 300
        A1         | 2024-04-01 | 600
    """
    expected = """
        as_of      | settled_on                         | is_kept
        2024-02-21 | 2024-02-21                         | no
        2024-03-21 | 2024-02-21, 2024-03-21             | no, no
        2024-04-01 | 2024-02-21, 2024-03-21, 2024-04-01 | no, no, yes
    """
    spec(settled(PLANNED, promises, payments), expected)


def test_a_promise_after_a_broken_one_is_not_charged_for_it() -> None:
    """The second promise was made when the first had run out: no plan."""
    promises = """
        invoice_id | promised_on | pay_by     | amount
        A1         | 2024-02-10  | 2024-02-20 | 300
        A1         | 2024-02-25  | 2024-03-05 | 300
    """
    payments = """
        invoice_id | paid_on    | amount
        A1         | 2024-03-01 | 300
    """
    expected = """
        as_of      | settled_on             | is_kept
        2024-03-01 | 2024-02-21, 2024-03-01 | no, yes
    """
    spec(settled(PLANNED, promises, payments), expected)


def test_the_oldest_of_promises_that_run_together_is_paid_first() -> None:
    """120 are enough for the promise of 10 February, and 20 are left for the other."""
    promises = """
        invoice_id | promised_on | pay_by     | amount
        A1         | 2024-02-10  | 2024-03-20 | 100
        A1         | 2024-02-12  | 2024-02-20 | 100
    """
    payments = """
        invoice_id | paid_on    | amount
        A1         | 2024-02-15 | 120
    """
    expected = """
        as_of      | settled_on             | is_kept
        2024-02-20 | 2024-02-15             | yes
        2024-02-21 | 2024-02-15, 2024-02-21 | yes, no
    """
    spec(settled(PLANNED, promises, payments), expected)


def test_an_earlier_version_counted_a_payment_for_every_promise() -> None:
    """A ledger that it stored is judged as it was: all three promises are kept."""
    promises = """
        invoice_id | promised_on | pay_by     | amount
        A1         | 2024-02-10  | 2024-02-20 | 300
        A1         | 2024-02-10  | 2024-03-20 | 300
        A1         | 2024-02-10  | 2024-04-20 | 300
    """
    payments = """
        invoice_id | paid_on    | amount
        A1         | 2024-02-15 | 300
    """
    expected = """
        as_of      | settled_on                         | is_kept
        2024-02-15 | 2024-02-15, 2024-02-15, 2024-02-15 | yes, yes, yes
    """
    answer = settled(
        PLANNED,
        promises,
        payments,
        accounting=FIRST_ACCOUNTING,
    )
    spec(answer, expected)


def settled(
    invoices: str,
    promises: str,
    payments: str,
    accounting: int = ACCOUNTING,
) -> Callable[[date], dict[str, object]]:
    """Return a function from the as-of date to what became of ANNA's promises."""
    book = ascii.ledger(
        invoices=invoices,
        promises=promises,
        payments=payments,
    )
    account = replace(ascii.account(book, "ANNA"), accounting=accounting)

    def answer(as_of: date) -> dict[str, object]:
        known = known_account(account, as_of)
        outcomes = settled_promises(known)
        n_broken = account_features([known])[0, NAMES.index("broken_promises_365d")]
        assert n_broken == sum(not is_kept for _, is_kept in outcomes)
        return {
            "settled_on": [day for day, _ in outcomes],
            "is_kept": [is_kept for _, is_kept in outcomes],
        }

    return answer


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
