"""Collecting: what is worked on, how, when again, and the best value within the time there is."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obligor.errors import PolicyError
from obligor.policy.collecting.debt import Debt
from obligor.policy.collecting.late_interest import late_interest
from obligor.policy.collecting.priority import (
    contact_value,
    is_quiet,
    next_contact_on,
    p_loss,
    plan_of,
    working_day,
)
from obligor.policy.collecting.worklist import Pause, Task, task_of, worklist
from obligor.policy.rulebooks.rulebook import RULES, read_rulebook

RULEBOOK = read_rulebook(RULES / "2000-01-01")
MONDAY = date(2025, 6, 30)
DEBT = Debt("ANNA", "EUR", Decimal(20_000), Decimal(20), Decimal("0.05"), "general")


def task(**changes: Any) -> Task:
    found = task_of(replace(DEBT, **changes), MONDAY, RULEBOOK)
    assert isinstance(found, Task)
    return found


def rest(**changes: Any) -> str:
    found = task_of(replace(DEBT, **changes), MONDAY, RULEBOOK)
    assert isinstance(found, Pause)
    assert found.because
    return found.code


@pytest.mark.parametrize(
    ("dpd_days", "class_", "stage", "channel", "calls"),
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
def test_stage_channel_and_pace_by_age_and_class(
    dpd_days: int, class_: str, stage: str, channel: str, calls: int
) -> None:
    plan = plan_of(Decimal(dpd_days), class_, RULEBOOK)
    assert (plan.stage, plan.channel, plan.calls_per_day) == (stage, channel, calls)


def test_the_value_of_a_contact_is_the_loss_it_avoids_and_the_days_it_saves() -> None:
    found = task()
    # 20,000 x .05 x .45 x .2 + 20,000 x .082 x 7 / 365
    assert found.value == contact_value(
        Decimal(20_000), Decimal("0.0225"), Decimal("0.2"), Decimal("0.082"), Decimal(7)
    )
    assert round(found.value, 2) == Decimal("121.45")
    assert found.priority.value_per_minute == Decimal("10.12")
    for part in ("20000.00 EUR", "20 days", "450.00", "12 minutes", "20%", "121.45"):
        assert part in found.priority.because
    assert "电话" in found.priority.because_zh
    assert p_loss(Decimal("0.05"), Decimal(90), Decimal("0.45")) < p_loss(
        Decimal("0.05"), Decimal(91), Decimal("0.45")
    )


def test_what_is_disputed_or_promised_is_not_asked_for() -> None:
    assert (
        task(disputed=Decimal(5_000), promised=Decimal(5_000)).debt.workable == 10_000
    )
    assert rest(disputed=Decimal(20_000)) == "disputed"
    assert rest(promised=Decimal(20_000)) == "promised"
    assert rest(disputed=Decimal(12_000), promised=Decimal(8_000)) == "disputed"


def test_a_fixed_day_and_the_calls_of_a_day_are_kept() -> None:
    assert rest(next_contact_on=MONDAY + timedelta(days=1)) == "fixed_later"
    assert task(next_contact_on=MONDAY)
    assert rest(contacts_today=1) == "enough_today"
    assert task(contacts_today=1, customer_class="risk")
    assert rest(overdue=Decimal(50)) == "not_worth_it"


def test_the_next_contact_waits_for_a_working_day() -> None:
    plan, friday = plan_of(Decimal(20), "general", RULEBOOK), date(2025, 7, 4)
    assert next_contact_on(MONDAY, 1, True, plan, RULEBOOK) == date(
        2025, 7, 7
    )  # five days later is Saturday
    assert next_contact_on(MONDAY, 1, False, plan, RULEBOOK) == date(
        2025, 7, 7
    )  # one call a day
    assert (
        next_contact_on(
            MONDAY, 1, False, plan_of(Decimal(20), "risk", RULEBOOK), RULEBOOK
        )
        == MONDAY
    )
    assert (
        is_quiet(friday, RULEBOOK),
        is_quiet(friday + timedelta(days=1), RULEBOOK),
    ) == (False, True)
    assert working_day(friday + timedelta(days=2), RULEBOOK) == date(2025, 7, 7)


def test_an_insurers_deadline_is_not_moved_by_rest() -> None:
    insured = {"is_insured": True, "dpd_days": Decimal(83)}
    assert task(**insured).deadline == MONDAY + timedelta(days=7)
    assert task(**insured, next_contact_on=MONDAY + timedelta(days=5)).is_urgent
    assert not task(is_insured=True, dpd_days=Decimal(82)).is_urgent
    assert (
        rest(**insured, disputed=Decimal(20_000)) == "disputed"
    )  # there is nothing to hand over
    assert task(dpd_days=Decimal(83)).deadline is None


@pytest.mark.parametrize(
    ("country", "interest", "fee", "currency"),
    [
        ("DE", "55.62", "80", "EUR"),
        ("CN", "100.00", "0", "none"),
        ("GB", "65.75", "80", "GBP"),
        ("", "0.00", "0", "none"),
    ],
)
def test_late_interest_by_the_law_of_the_country(
    country: str, interest: str, fee: str, currency: str
) -> None:
    debt = replace(
        DEBT, country=country, amount_days=Decimal(200_000), n_items=2
    )  # 10,000 for 20 days
    found = late_interest(debt, RULEBOOK)
    assert (found.amount, found.fee, found.fee_currency) == (
        Decimal(interest),
        Decimal(fee),
        currency,
    )


def test_time_goes_to_what_is_worth_most_a_minute_and_urgent_ones_first() -> None:
    debts = [
        replace(DEBT, customer_id=f"C{n}", overdue=Decimal(1000 * n))
        for n in range(5, 15)
    ]
    urgent = replace(
        DEBT,
        customer_id="LATE",
        overdue=Decimal(100),
        is_insured=True,
        dpd_days=Decimal(89),
    )
    tasks = [
        one
        for debt in [*debts, urgent]
        if isinstance(one := task_of(debt, MONDAY, RULEBOOK), Task)
    ]
    planned = worklist(
        tasks, collectors=2, minutes=40
    )  # three calls of 12 minutes each; the urgent one takes 20
    assert [(place, one.debt.customer_id) for place, one in planned.lines] == [
        (1, "LATE"),
        (2, "C14"),
        (2, "C13"),
        (1, "C12"),
        (2, "C11"),
    ]
    assert [one.debt.customer_id for one in planned.left_out] == [
        "C10",
        "C9",
        "C8",
        "C7",
        "C6",
        "C5",
    ]
    assert worklist([], 1, 60).lines == ()


@pytest.mark.parametrize(("collectors", "minutes"), [(0, 60), (3, 0), (-1, 60)])
def test_no_capacity_is_an_error(collectors: int, minutes: int) -> None:
    with pytest.raises(PolicyError, match="capacity"):
        worklist([task()], collectors, minutes)


AGES_AND_AMOUNTS = st.lists(
    st.tuples(st.integers(1, 120), st.integers(2_000, 90_000)), min_size=1, max_size=9
)


@given(AGES_AND_AMOUNTS, st.integers(12, 90))
def test_a_worklist_falls_short_of_the_best_by_less_than_one_task(
    debts: list[tuple[int, int]], minutes: int
) -> None:
    found = [
        task_of(
            replace(
                DEBT, customer_id=str(n), dpd_days=Decimal(dpd), overdue=Decimal(amount)
            ),
            MONDAY,
            RULEBOOK,
        )
        for n, (dpd, amount) in enumerate(debts)
    ]
    tasks = [one for one in found if isinstance(one, Task)]
    planned = worklist(tasks, 1, minutes)
    assert sum(one.plan.minutes for _, one in planned.lines) <= minutes
    every = [chosen for n in range(len(tasks) + 1) for chosen in combinations(tasks, n)]
    fitting = [
        chosen for chosen in every if sum(one.plan.minutes for one in chosen) <= minutes
    ]
    best = max(sum((one.value for one in chosen), Decimal(0)) for chosen in fitting)
    assert best - planned.value < max((one.value for one in tasks), default=Decimal(1))
