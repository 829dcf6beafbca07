"""The collectors' worklist.

A worklist says which customers to contact on a day, and by which means. A contact is
worth the loss it avoids plus the financing it saves; the best value per minute comes
first, as long as collectors have time. Unless a table says otherwise a customer of
class general with a PD of 5% owes 20,000 EUR that are 20 days late; the day is
Monday, 2025-06-30.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

from obligor.policy.collecting.debt import Debt
from obligor.policy.collecting.priority import (
    AccountAge,
    Plan,
    is_quiet,
    next_contact_on,
    plan_of,
)
from obligor.policy.collecting.working_days import WorkingDays
from obligor.policy.collecting.worklist import Pause, Task, task_of, worklist
from tests.ascii import parse, spec
from tests.customers import AS_OF, RULEBOOK

DEBT = Debt(
    customer_id="ANNA",
    currency="EUR",
    overdue=Decimal(20_000),
    dpd_days=Decimal(20),
    pd_12m=Decimal("0.05"),
    customer_class="general",
)


def shown(task: Task | Pause) -> dict[str, object]:
    """Return the code of a pause, or what the task is worth."""
    if isinstance(task, Pause):
        return {
            "pause": task.code,
            "value": None,
            "deadline": None,
            "is_urgent": None,
        }
    return {
        "pause": None,
        "value": round(task.value, 2),
        "deadline": task.deadline,
        "is_urgent": task.is_urgent,
    }


def test_age_and_class_give_stage_channel_and_pace() -> None:
    """The later a customer pays, and the riskier it is, the more a collector does."""
    expected = """
        dpd_days | customer_class | stage        | channel | calls_per_day | rest_days
               1 | premium        | reminder     | mail    |             1 |         7
              15 | general        | reminder     | mail    |             1 |         5
              15 | risk           | reminder     | call    |             1 |         3
              16 | general        | call         | call    |             1 |         5
              30 | risk           | call         | call    |             2 |         3
              31 | general        | escalation   | call    |             2 |         3
              60 | risk           | escalation   | call    |             3 |         2
              61 | premium        | final_notice | call    |             3 |         2
              91 | premium        | legal        | lawyer  |             1 |        30
             181 | general        | recovery     | lawyer  |             1 |        60
    """

    def plan(dpd_days: Decimal, customer_class: str) -> Plan:
        return plan_of(AccountAge(dpd_days, Decimal(1000)), customer_class, RULEBOOK)

    spec(plan, expected)


def test_a_contact_is_worth_the_loss_it_avoids_and_the_days_it_saves() -> None:
    """A call of this stage avoids 20% of the loss and brings the money 7 days earlier.

    The expected loss is amount x PD x LGD (45%), and the whole LGD beyond 90 days; a
    day costs 8.2% / 365. So the first line is 20,000 x 0.05 x 0.45 x 0.2 + 20,000 x
    0.082 x 7 / 365 = 121.45.
    """
    expected = """
        overdue | pd_12m | dpd_days | minutes | value  | value_per_minute
          20000 |   0.05 |       20 |      12 | 121.45 | 10.12
          10000 |   0.05 |       20 |      12 |  60.73 |  5.06
          20000 |   0.1  |       20 |      12 | 211.45 | 17.62
          20000 |   0.05 |       95 |      45 | 962.90 | 21.40
    """

    def task(
        overdue: Decimal,
        pd_12m: Decimal,
        dpd_days: Decimal,
    ) -> dict[str, object]:
        debt = replace(
            DEBT,
            overdue=overdue,
            pd_12m=pd_12m,
            dpd_days=dpd_days,
        )
        task = task_of(debt, AS_OF, RULEBOOK)
        assert isinstance(task, Task)
        return {
            "minutes": task.plan.minutes,
            "value": round(task.value, 2),
            "value_per_minute": task.priority.value_per_minute,
        }

    spec(task, expected)


def test_disputed_and_promised_amounts_are_not_asked_for() -> None:
    """A dispute is settled first, and a promise is waited for."""
    expected = """
        disputed | promised | pause    | value
               0 |        0 | -        | 121.45
            5000 |     5000 | -        |  60.73
           20000 |        0 | disputed | -
               0 |    20000 | promised | -
           12000 |     8000 | disputed | -
    """

    def task(disputed: Decimal, promised: Decimal) -> dict[str, object]:
        debt = replace(DEBT, disputed=disputed, promised=promised)
        return shown(task_of(debt, AS_OF, RULEBOOK))

    spec(task, expected)


def test_an_account_rests_after_a_contact_and_if_it_is_not_worth_the_work() -> None:
    """A collector costs 0.75 a minute."""
    expected = """
        overdue | next_contact_on | contacts_today | pause        | value
          20000 | 2025-06-30      |              0 | -            | 121.45
          20000 | 2025-07-01      |              0 | fixed_later  | -
          20000 | -               |              1 | enough_today | -
           1500 | -               |              0 | -            |   9.11
           1400 | -               |              0 | not_worth_it | -
    """

    def task(
        overdue: Decimal,
        next_contact_on: date | None,
        contacts_today: int,
    ) -> dict[str, object]:
        debt = replace(
            DEBT,
            overdue=overdue,
            next_contact_on=next_contact_on,
            contacts_today=contacts_today,
        )
        return shown(task_of(debt, AS_OF, RULEBOOK))

    spec(task, expected)


def test_an_insurers_deadline_is_not_missed() -> None:
    """The insurer accepts a debt until it is 90 days late.

    In the last week it is urgent and no agreed day delays it, but a disputed debt
    cannot be handed over.
    """
    expected = """
        dpd_days | next_contact_on | disputed | pause       | deadline   | is_urgent
              82 | -               |        0 | -           | 2025-07-08 | no
              83 | -               |        0 | -           | 2025-07-07 | yes
              83 | 2025-07-05      |        0 | -           | 2025-07-07 | yes
              82 | 2025-07-05      |        0 | fixed_later | -          | -
              83 | -               |    20000 | disputed    | -          | -
    """

    def task(
        dpd_days: Decimal,
        next_contact_on: date | None,
        disputed: Decimal,
    ) -> dict[str, object]:
        debt = replace(
            DEBT,
            is_insured=True,
            dpd_days=dpd_days,
            next_contact_on=next_contact_on,
            disputed=disputed,
        )
        return shown(task_of(debt, AS_OF, RULEBOOK))

    spec(task, expected)


def test_the_next_contact_waits_for_a_working_day() -> None:
    """A customer who was not reached is called again while calls are left that day.

    After that come the days of rest, and nobody is contacted at a weekend.
    """
    expected = """
        contacted_on | contacts_today | is_reached | customer_class | next_contact_on
        2025-06-30   |              1 | yes        | general        | 2025-07-07
        2025-06-30   |              1 | no         | general        | 2025-07-07
        2025-06-30   |              1 | no         | risk           | 2025-06-30
        2025-06-30   |              2 | no         | risk           | 2025-07-03
    """

    def contact(
        contacted_on: date,
        contacts_today: int,
        is_reached: bool,
        customer_class: str,
    ) -> dict[str, object]:
        plan = plan_of(AccountAge(Decimal(20), Decimal(1000)), customer_class, RULEBOOK)
        next_on = next_contact_on(
            contacted_on, contacts_today, is_reached, plan, WorkingDays(RULEBOOK)
        )
        return {"next_contact_on": next_on}

    spec(contact, expected)


def test_nobody_is_contacted_at_a_weekend() -> None:
    """Quiet days are in the rulebook."""
    expected = """
        day        | is_quiet
        2025-07-04 | no
        2025-07-05 | yes
        2025-07-06 | yes
        2025-07-07 | no
    """

    def quiet(day: date) -> dict[str, object]:
        return {"is_quiet": is_quiet(day, RULEBOOK)}

    spec(quiet, expected)


def test_time_goes_to_urgent_debts_and_then_to_the_best_value() -> None:
    """Two collectors have 40 minutes each. A call takes 12 minutes, the urgent one 20;
    each task goes to the collector with the most time left.
    """
    debts = """
        customer_id | overdue | dpd_days | is_insured
        BERT        |   11000 |       20 | no
        CARL        |   12000 |       20 | no
        DORA        |   13000 |       20 | no
        EMIL        |   14000 |       20 | no
        FRED        |     100 |       89 | yes
        GERD        |   10000 |       20 | no
    """
    expected = """
        collector | customer_id
                1 | FRED
                2 | EMIL
                2 | DORA
                1 | CARL
                2 | BERT
    """
    left_out = """
        customer_id
        GERD
    """
    tasks = []
    for row in parse(debts):
        debt = replace(
            DEBT,
            customer_id=row["customer_id"],
            overdue=Decimal(row["overdue"]),
            dpd_days=Decimal(row["dpd_days"]),
            is_insured=row["is_insured"] == "yes",
        )
        task = task_of(debt, AS_OF, RULEBOOK)
        assert isinstance(task, Task)
        tasks.append(task)
    planned = worklist(tasks, collectors=2, minutes=40)
    lines = [
        {"collector": collector, "customer_id": task.debt.customer_id}
        for collector, task in planned.lines
    ]
    spec(lines, expected)
    spec([task.debt.customer_id for task in planned.left_out], left_out)
