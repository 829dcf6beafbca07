"""Which customers the collectors contact on a day, within the time they have."""

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
    CollectionPriority,
    Plan,
    collection_priority,
    is_quiet,
    plan_of,
    value_of_contact,
)
from obligor.policy.collecting.working_days import (
    NO_CALENDAR,
    Calendar,
    WorkingDays,
)
from obligor.policy.rulebooks.rulebook import Rulebook

URGENT_DAYS = 7  # before an insurer's deadline
_ZERO = Decimal(0)


@dataclass(frozen=True)
class Task:
    """A line of a worklist.

    Attributes
    ----------
    debt : Debt
        The overdue debt.
    plan : Plan
        How the account is treated.
    value : Decimal
        Expected saving of the contact, in the reporting currency.
    priority : CollectionPriority
        The value per minute, with the reason.
    late_interest : LateInterest
        Interest and fee by law.
    deadline : date, optional
        Last day on which an insurer accepts the debt.
    is_urgent : bool
        Whether the deadline is near; then it comes before every other line.
    calendar : str
        Which days off were observed; empty under rules that observe none.
    """

    debt: Debt
    plan: Plan
    value: Decimal
    priority: CollectionPriority
    late_interest: LateInterest
    deadline: date | None
    is_urgent: bool
    calendar: str = ""

    @property
    def value_per_minute(self) -> Decimal:
        """The expected saving per minute of work, not rounded."""
        return self.value / self.plan.minutes


@dataclass(frozen=True)
class Pause:
    """An account that is not worked on this day, and why."""

    customer_id: str
    code: str
    because: str


@dataclass(frozen=True)
class Worklist:
    """Tasks in order of their worth, each with the number of its collector.

    Attributes
    ----------
    lines : tuple of (int, Task)
        The collector, from 1, and the task.
    left_out : tuple of Task
        Tasks for which no time was left.
    """

    lines: tuple[tuple[int, Task], ...]
    left_out: tuple[Task, ...]

    @property
    def value(self) -> Decimal:
        """The expected saving of all contacts."""
        return sum((task.value for _, task in self.lines), _ZERO)


def task_of(
    debt: Debt,
    as_of: date,
    rulebook: Rulebook,
    calendar: Calendar = NO_CALENDAR,
) -> Task | Pause:
    """Return the task of a debt on a day, or the reason why it is left alone.

    A dispute is settled first, a promise is waited for, and days of rest are observed.
    None of these delays a debt whose insurer's deadline is near.

    Parameters
    ----------
    debt : Debt
        The overdue debt.
    as_of : date
        The day.
    rulebook : Rulebook
        The rules in force.
    calendar : Calendar
        The days off of countries.

    Returns
    -------
    Task or Pause
        The task with its value, or the reason for a pause.
    """
    plan = plan_of(debt.age, debt.customer_class, rulebook)
    deadline = _insurer_deadline(debt, as_of, rulebook) if debt.is_insured else None
    is_urgent = _is_urgent(debt, as_of, deadline)
    pause = _pause(debt, plan, as_of)
    working_days = WorkingDays(rulebook, debt.country, calendar)
    if pause is None:
        pause = _day_off(debt, as_of, working_days)
    # A stage without a contact has none for an urgent debt either.
    has_contact = plan.minutes > 0
    if pause and not (is_urgent and has_contact):
        return pause
    # An urgent debt is worked even if the contact costs more than it is worth.
    priority = collection_priority(debt.arrears, plan, rulebook)
    collector_cost = rulebook.parameters["collector_cost"]
    if priority.value_per_minute < collector_cost and not is_urgent:
        return Pause(
            debt.customer_id,
            "not_worth_it",
            f"a contact is worth {priority.value_per_minute} a minute, less than a "
            f"collector costs ({collector_cost})",
        )
    return Task(
        debt=debt,
        plan=plan,
        value=value_of_contact(debt.arrears, plan, rulebook),
        priority=priority,
        late_interest=late_interest(debt, rulebook, as_of, calendar),
        deadline=deadline,
        is_urgent=is_urgent,
        calendar=working_days.note(),
    )


def _insurer_deadline(
    debt: Debt,
    as_of: date,
    rulebook: Rulebook,
) -> date:
    """The last day on which the insurer accepts the debt."""
    parameters = rulebook.parameters
    most_dpd_days = (
        parameters["insurer_extension_days"] + parameters["insurer_handover_days"]
    )
    return as_of + timedelta(days=int(most_dpd_days - debt.dpd_days))


def _is_urgent(
    debt: Debt,
    as_of: date,
    deadline: date | None,
) -> bool:
    if deadline is None or debt.workable <= 0:
        return False
    return (deadline - as_of).days <= URGENT_DAYS


def _without_contact(debt: Debt, plan: Plan) -> Pause:
    """The pause of a debt in a stage of collection that knows no contact."""
    if not debt.dpd_days:
        because = f"{debt.workable} {debt.currency} is past due: no material amount"
        return Pause(debt.customer_id, "not_material", because)
    because = f"the stage {plan.stage} has no contact"
    return Pause(debt.customer_id, "no_contact", because)


def _pause(
    debt: Debt,
    plan: Plan,
    as_of: date,
) -> Pause | None:
    """Why an account is not contacted on a day; None if it may be."""
    name = debt.customer_id
    if debt.workable <= 0:
        return _nothing_to_ask_for(debt)
    if not plan.minutes:
        return _without_contact(debt, plan)
    if debt.next_contact_on and debt.next_contact_on > as_of:
        because = f"the next contact is fixed for {debt.next_contact_on}"
        return Pause(name, "fixed_later", because)
    if debt.contacts_today >= plan.calls_per_day:
        because = f"{debt.contacts_today} contacts today; at most {plan.calls_per_day}"
        return Pause(name, "enough_today", because)
    return None


def _nothing_to_ask_for(debt: Debt) -> Pause:
    """Why nothing can be asked for; of several reasons the largest amount counts."""
    name = debt.customer_id
    if debt.unapplied > max(debt.disputed, debt.promised):
        because = f"{debt.unapplied} {debt.currency} is unapplied: apply it first"
        return Pause(name, "unapplied", because)
    if debt.disputed >= debt.promised:
        because = f"{debt.disputed} {debt.currency} is disputed: settle that first"
        return Pause(name, "disputed", because)
    because = f"{debt.promised} {debt.currency} is promised: wait for the day"
    return Pause(name, "promised", because)


def _day_off(
    debt: Debt,
    as_of: date,
    working_days: WorkingDays,
) -> Pause | None:
    """Why a day off in the customer's country is no day for a contact."""
    # On a quiet day of the house nobody is contacted anyway.
    is_quiet_for_all = is_quiet(as_of, working_days.rulebook)
    if is_quiet_for_all or not working_days.is_day_off(as_of):
        return None
    first = working_days.first_from(as_of)
    because = f"{as_of} is a day off in {debt.country}; the next working day is {first}"
    return Pause(debt.customer_id, "day_off", because)


def worklist(
    tasks: Sequence[Task],
    collectors: int,
    minutes: int,
) -> Worklist:
    """Return the best value within capacity: urgent tasks first, then by worth.

    Tasks are taken by worth per minute as long as time is left, each by the collector
    with the most time left. The value falls short of the best possible by less than
    one task per collector (Dantzig 1957).

    Parameters
    ----------
    tasks : sequence of Task
        The tasks of the day, in any order.
    collectors : int
        Number of collectors, at least 1.
    minutes : int
        Minutes each of them has, at least 1.

    Returns
    -------
    Worklist
        The tasks in order, and those for which no time was left.

    Raises
    ------
    PolicyError
        If there is no capacity at all.
    """
    if collectors < 1 or minutes < 1:
        raise PolicyError(
            f"{collectors} collectors with {minutes} minutes have no capacity",
            where="capacity",
            expected="at least 1 of each",
        )
    # A heap of (minutes left, negated; collector): the most time left is on top.
    free = [(-minutes, collector) for collector in range(1, collectors + 1)]
    lines = list[tuple[int, Task]]()
    left_out = list[Task]()
    for task in sorted(tasks, key=_rank):
        negated_minutes, collector = free[0]
        if -negated_minutes < task.plan.minutes:
            left_out.append(task)
        else:
            minutes_left = (negated_minutes + task.plan.minutes, collector)
            heapq.heapreplace(free, minutes_left)
            lines.append((collector, task))
    return Worklist(tuple(lines), tuple(left_out))


def _rank(task: Task) -> tuple[bool, Decimal, str]:
    """Sort key: urgent tasks first, then worth per minute, then the customer."""
    return not task.is_urgent, -task.value_per_minute, task.debt.customer_id
