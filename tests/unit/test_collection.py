"""Collecting: which debts are worked on, how, when again, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obligor.errors import PolicyError
from obligor.policy.collecting.debt import Debt
from obligor.policy.collecting.late_interest import late_interest
from obligor.policy.collecting.priority import (
    AccountAge,
    contact_value,
    is_quiet,
    next_contact_on,
    p_loss,
    plan_of,
)
from obligor.policy.collecting.working_days import WorkingDays
from obligor.policy.collecting.worklist import Pause, Task, task_of, worklist
from tests.customers import AS_OF, RULEBOOK

DEBT = Debt(
    customer_id="ANNA",
    currency="EUR",
    overdue=Decimal(20_000),
    dpd_days=Decimal(20),
    pd_12m=Decimal("0.05"),
    customer_class="general",
)
DAYS = WorkingDays(RULEBOOK)
INSURED = replace(DEBT, is_insured=True, dpd_days=Decimal(83))


def task(debt: Debt) -> Task:
    planned = task_of(debt, AS_OF, RULEBOOK)
    assert isinstance(planned, Task)
    return planned


def pause(debt: Debt) -> str:
    """The code of the pause of a debt."""
    planned = task_of(debt, AS_OF, RULEBOOK)
    assert isinstance(planned, Pause)
    assert planned.because
    return planned.code


def tasks_of(debts: Sequence[Debt]) -> list[Task]:
    planned = [task_of(debt, AS_OF, RULEBOOK) for debt in debts]
    return [entry for entry in planned if isinstance(entry, Task)]


@pytest.mark.parametrize(
    ("dpd_days", "customer_class", "stage", "channel", "calls"),
    [
        (1, "premium", "reminder", "mail", 1),
        (15, "general", "reminder", "mail", 1),
        (15, "risk", "reminder", "call", 1),
        (16, "general", "call", "call", 1),
        (30, "risk", "call", "call", 2),
        (31, "general", "escalation", "call", 2),
        (60, "risk", "escalation", "call", 3),
        (61, "premium", "final_notice", "call", 3),
        (90, "risk", "final_notice", "call", 3),
        (91, "premium", "legal", "lawyer", 1),
        (181, "general", "recovery", "lawyer", 1),
    ],
)
def test_age_and_class_give_stage_channel_and_pace(
    dpd_days: int,
    customer_class: str,
    stage: str,
    channel: str,
    calls: int,
) -> None:
    plan = plan_of(
        AccountAge(Decimal(dpd_days), Decimal(1000)), customer_class, RULEBOOK
    )
    assert plan.stage == stage
    assert plan.channel == channel
    assert plan.calls_per_day == calls


def test_a_contact_is_worth_the_loss_it_avoids_and_the_days_it_saves() -> None:
    planned = task(DEBT)
    # 20,000 x .05 x .45 x .2 + 20,000 x .082 x 7 / 365
    assert planned.value == contact_value(
        amount=Decimal(20_000),
        p_loss=Decimal("0.0225"),
        contact_effect=Decimal("0.2"),
        cost_of_funds=Decimal("0.082"),
        days_saved=Decimal(7),
    )
    assert round(planned.value, 2) == Decimal("121.45")
    assert planned.priority.value_per_minute == Decimal("10.12")


@pytest.mark.parametrize(
    "part", ["20000.00 EUR", "20 days", "450.00", "12 minutes", "20%", "121.45"]
)
def test_the_reason_of_a_contact_names_its_figures(part: str) -> None:
    assert part in task(DEBT).priority.because


def test_the_reason_of_a_contact_is_given_in_chinese_too() -> None:
    assert "电话" in task(DEBT).priority.because_zh


def test_a_loss_is_certain_beyond_90_days() -> None:
    pd_12m = Decimal("0.05")
    lgd = Decimal("0.45")
    assert p_loss(pd_12m, Decimal(90), lgd) < p_loss(pd_12m, Decimal(91), lgd)


def test_disputed_and_promised_amounts_are_not_asked_for() -> None:
    partly = replace(DEBT, disputed=Decimal(5_000), promised=Decimal(5_000))
    assert task(partly).debt.workable == 10_000
    assert pause(replace(DEBT, disputed=Decimal(20_000))) == "disputed"
    assert pause(replace(DEBT, promised=Decimal(20_000))) == "promised"
    mostly_disputed = replace(DEBT, disputed=Decimal(12_000), promised=Decimal(8_000))
    assert pause(mostly_disputed) == "disputed"


def test_an_agreed_day_is_waited_for() -> None:
    tomorrow = AS_OF + timedelta(days=1)
    assert pause(replace(DEBT, next_contact_on=tomorrow)) == "fixed_later"
    assert task(replace(DEBT, next_contact_on=AS_OF))


def test_the_calls_of_a_day_are_limited_by_class() -> None:
    contacted = replace(DEBT, contacts_today=1)
    assert pause(contacted) == "enough_today"
    assert task(replace(contacted, customer_class="risk"))


def test_a_debt_that_costs_more_than_it_brings_is_left_alone() -> None:
    assert pause(replace(DEBT, overdue=Decimal(50))) == "not_worth_it"


def test_the_next_contact_waits_for_a_working_day() -> None:
    monday_after = date(2025, 7, 7)
    general = plan_of(AccountAge(Decimal(20), Decimal(1000)), "general", RULEBOOK)
    # Five days later is Saturday.
    assert next_contact_on(AS_OF, 1, True, general, DAYS) == monday_after
    # One call a day.
    assert next_contact_on(AS_OF, 1, False, general, DAYS) == monday_after
    risk = plan_of(AccountAge(Decimal(20), Decimal(1000)), "risk", RULEBOOK)
    assert next_contact_on(AS_OF, 1, False, risk, DAYS) == AS_OF


def test_nobody_is_contacted_at_a_weekend() -> None:
    friday = date(2025, 7, 4)
    assert is_quiet(friday, RULEBOOK) is False
    assert is_quiet(friday + timedelta(days=1), RULEBOOK) is True
    assert DAYS.first_from(friday + timedelta(days=2)) == date(2025, 7, 7)


def test_an_insured_debt_is_urgent_in_the_last_week_before_its_deadline() -> None:
    assert task(INSURED).deadline == AS_OF + timedelta(days=7)
    assert not task(replace(INSURED, dpd_days=Decimal(82))).is_urgent
    assert task(replace(INSURED, is_insured=False)).deadline is None


def test_an_agreed_day_does_not_delay_an_urgent_debt() -> None:
    later = AS_OF + timedelta(days=5)
    assert task(replace(INSURED, next_contact_on=later)).is_urgent


def test_a_disputed_debt_cannot_be_handed_over() -> None:
    assert pause(replace(INSURED, disputed=Decimal(20_000))) == "disputed"


@pytest.mark.parametrize(
    ("country", "amount", "fee", "currency"),
    [
        ("DE", "55.62", "80", "EUR"),
        ("CN", "100.00", "0", "none"),
        ("GB", "65.75", "80", "GBP"),
        ("", "0.00", "0", "none"),
    ],
)
def test_the_law_of_the_country_sets_late_interest(
    country: str,
    amount: str,
    fee: str,
    currency: str,
) -> None:
    # 10,000 for 20 days
    debt = replace(
        DEBT,
        country=country,
        amount_days=Decimal(200_000),
        n_items=2,
    )
    interest = late_interest(debt, RULEBOOK, AS_OF)
    assert interest.amount == Decimal(amount)
    assert interest.fee == Decimal(fee)
    assert interest.fee_currency == currency


def test_time_goes_to_urgent_debts_and_then_to_the_best_value() -> None:
    debts = [
        replace(DEBT, customer_id=f"C{n}", overdue=Decimal(1000 * n))
        for n in range(5, 15)
    ]
    urgent = replace(
        INSURED,
        customer_id="LATE",
        overdue=Decimal(100),
        dpd_days=Decimal(89),
    )
    # Three calls of 12 minutes each; the urgent one takes 20.
    planned = worklist(tasks_of([*debts, urgent]), collectors=2, minutes=40)
    lines = [(collector, task.debt.customer_id) for collector, task in planned.lines]
    assert lines == [
        (1, "LATE"),
        (2, "C14"),
        (2, "C13"),
        (1, "C12"),
        (2, "C11"),
    ]
    left_out = [task.debt.customer_id for task in planned.left_out]
    assert left_out == ["C10", "C9", "C8", "C7", "C6", "C5"]


def test_a_worklist_without_tasks_is_empty() -> None:
    assert worklist([], 1, 60).lines == ()


@pytest.mark.parametrize(("collectors", "minutes"), [(0, 60), (3, 0), (-1, 60)])
def test_no_capacity_is_an_error(collectors: int, minutes: int) -> None:
    with pytest.raises(PolicyError, match="capacity"):
        worklist([task(DEBT)], collectors, minutes)


AGES_AND_AMOUNTS = st.lists(
    st.tuples(st.integers(1, 120), st.integers(2_000, 90_000)), min_size=1, max_size=9
)


def value_of(tasks: Sequence[Task]) -> Decimal:
    return sum((task.value for task in tasks), Decimal(0))


def minutes_of(tasks: Sequence[Task]) -> int:
    return sum(task.plan.minutes for task in tasks)


@given(AGES_AND_AMOUNTS, st.integers(12, 90))
def test_a_worklist_falls_short_of_the_best_by_less_than_one_task(
    ages_and_amounts: list[tuple[int, int]], minutes: int
) -> None:
    debts = []
    for n, (dpd_days, amount) in enumerate(ages_and_amounts):
        debt = replace(DEBT, dpd_days=Decimal(dpd_days), overdue=Decimal(amount))
        debts.append(replace(debt, customer_id=str(n)))
    tasks = tasks_of(debts)
    planned = worklist(tasks, 1, minutes)
    assert minutes_of([task for _, task in planned.lines]) <= minutes
    choices = []
    for n in range(len(tasks) + 1):
        choices.extend(combinations(tasks, n))
    best = max(value_of(chosen) for chosen in choices if minutes_of(chosen) <= minutes)
    largest = max((task.value for task in tasks), default=Decimal(1))
    assert best - planned.value < largest
