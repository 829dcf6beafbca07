"""Whom the collectors contact on a day, within the time they have."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from obligor.errors import PolicyError
from obligor.policy.collecting.debt import Debt
from obligor.policy.collecting.late_interest import LateInterest, late_interest
from obligor.policy.collecting.priority import (
    _NOTHING,
    URGENT_DAYS,
    CollectionPriority,
    Plan,
    collection_priority,
    plan_of,
)
from obligor.policy.rulebooks.rulebook import Rulebook


@dataclass(frozen=True)
class Task:
    """A line of a worklist."""

    debt: Debt
    plan: Plan
    value: Decimal
    priority: CollectionPriority
    late_interest: LateInterest
    deadline: date | None
    is_urgent: bool


@dataclass(frozen=True)
class Pause:
    """An account that is not worked on this day, and why."""

    customer_id: str
    code: str
    because: str


@dataclass(frozen=True)
class Worklist:
    """Tasks in order of their worth with the collector of each; `left_out` had no time."""

    lines: tuple[tuple[int, Task], ...]
    left_out: tuple[Task, ...]

    @property
    def value(self) -> Decimal:
        """What the contacts are expected to save."""
        return sum((task.value for _, task in self.lines), _NOTHING)


def task_of(debt: Debt, as_of: date, rulebook: Rulebook) -> Task | Pause:
    """Return what to do about a debt on a day, or why it rests.

    Disputes stop the ladder, promises are waited for, a day of rest is kept: but an insurer's deadline is not moved.
    """
    plan, p = plan_of(debt.dpd_days, debt.customer_class, rulebook), rulebook.parameters
    deadline = None
    if debt.is_insured:
        left = p["insurer_extension_days"] + p["insurer_handover_days"] - debt.dpd_days
        deadline = as_of + timedelta(days=int(left))
    is_urgent = (
        deadline is not None
        and (deadline - as_of).days <= URGENT_DAYS
        and debt.workable > 0
    )
    resting = _rest(debt, plan, as_of)
    if resting and not is_urgent:
        return resting
    value, priority = collection_priority(
        debt.workable, debt.dpd_days, debt.pd_12m, plan, debt.currency, rulebook
    )
    if priority.value_per_minute < p["collector_cost"] and not is_urgent:
        return Pause(
            debt.customer_id,
            "not_worth_it",
            f"a contact is worth {priority.value_per_minute} a minute, less "
            f"than a collector costs ({p['collector_cost']})",
        )
    return Task(
        debt, plan, value, priority, late_interest(debt, rulebook), deadline, is_urgent
    )


def _rest(debt: Debt, plan: Plan, as_of: date) -> Pause | None:
    name = debt.customer_id
    if debt.workable <= 0 and debt.disputed >= debt.promised:
        return Pause(
            name,
            "disputed",
            f"{debt.disputed} {debt.currency} is disputed: settle that first",
        )
    if debt.workable <= 0:
        return Pause(
            name,
            "promised",
            f"{debt.promised} {debt.currency} is promised: wait for the day",
        )
    if debt.next_contact_on and debt.next_contact_on > as_of:
        return Pause(
            name, "fixed_later", f"the next contact is fixed for {debt.next_contact_on}"
        )
    if debt.contacts_today >= plan.calls_per_day:
        return Pause(
            name,
            "enough_today",
            f"{debt.contacts_today} contacts today; {plan.calls_per_day} is the most",
        )
    return None


def worklist(tasks: Sequence[Task], collectors: int, minutes: int) -> Worklist:
    """Return the best value within capacity: by worth per minute, urgent ones first, as long as time is left.

    Each task goes to the collector with the most time left. Taking by worth per minute falls short of the best
    possible by less than one task per collector (Dantzig 1957).

    Raises
    ------
    PolicyError
        Where there is no capacity at all.
    """
    if collectors < 1 or minutes < 1:
        raise PolicyError(
            f"{collectors} collectors with {minutes} minutes",
            where="capacity",
            expected="at least 1 of each",
        )
    free = [(-minutes, place) for place in range(1, collectors + 1)]
    lines, left_out = list[tuple[int, Task]](), list[Task]()
    for task in sorted(
        tasks,
        key=lambda one: (
            not one.is_urgent,
            -one.value / one.plan.minutes,
            one.debt.customer_id,
        ),
    ):
        left, place = free[0]
        if -left < task.plan.minutes:
            left_out.append(task)
        else:
            heapq.heapreplace(free, (left + task.plan.minutes, place))
            lines.append((place, task))
    return Worklist(tuple(lines), tuple(left_out))
