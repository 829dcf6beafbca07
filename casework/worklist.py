"""The worklist of a day: whom so many collectors contact, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from obligor.casework.calendar import CALENDAR
from obligor.casework.contact_queries import ContactQueries
from obligor.casework.debts import REMEMBERED, ScoredCustomers, overdue_debts
from obligor.casework.late_items import closing_rate
from obligor.casework.questions import WorklistQuery
from obligor.data.asof import known_account
from obligor.data.money import round_money
from obligor.data.store import LedgerStore
from obligor.data.time_zone import day_at
from obligor.decisions.answer_parts import CustomerClass, PolicyAnswer, policy_answer
from obligor.decisions.as_of import as_of_or_default
from obligor.decisions.bureau_reports import bureau_summaries
from obligor.decisions.champion import ChampionLoader
from obligor.decisions.json_values import Money, money, one_of
from obligor.decisions.rulebooks import Rulebooks
from obligor.policy.collecting.debt import Debt
from obligor.policy.collecting.late_interest import (
    NO_CURRENCY,
    LateInterest,
    law_currency,
)
from obligor.policy.collecting.priority import is_quiet
from obligor.policy.collecting.worklist import Pause, Task, task_of, worklist
from obligor.policy.rulebooks.rulebook import Rulebook
from obligor.portfolio.snapshot import active_on


class LateInterestAnswer(TypedDict):
    """Interest so far by the law of the customer's country, and the fee of that law."""

    amount: str
    fee: str
    fee_currency: str
    because: str
    currency: str
    missing: NotRequired[
        Annotated[str, Field(description="Why no interest could be worked out")]
    ]


class WorklistLine(TypedDict):
    """An account to work on, with what a contact is worth and why."""

    rank: int
    collector: int
    customer_id: str
    customer_class: CustomerClass
    pd_12m: float
    amount: Annotated[
        Money, Field(description="Overdue, and neither disputed nor promised")
    ]
    overdue: Money
    disputed: Money
    dpd_days: int
    stage: str
    channel: Annotated[str, one_of("mail", "call", "visit", "lawyer")]
    minutes: int
    calls_left_today: int
    value: Annotated[
        Money, Field(description="The loss that the contact is expected to save")
    ]
    value_per_minute: Money
    late_interest: LateInterestAnswer
    hand_over: Annotated[str, one_of("insurer", "lawyer")] | None
    deadline: Annotated[
        date | None,
        Field(description="The insurer's deadline, if the debt is insured"),
    ]
    promise_broken_on: date | None
    because: str
    because_zh: str
    calendar: NotRequired[
        Annotated[str, Field(description="Whose days off were observed")]
    ]


class LeftOut(TypedDict):
    """The accounts that there was no time for."""

    n: int
    value: Money | None


class WorklistAnswer(TypedDict):
    """The best value within the collectors' time; nothing on a quiet day."""

    as_of: date
    collectors: int
    minutes: int
    policy: PolicyAnswer
    is_quiet: bool
    value: Money | None
    lines: list[WorklistLine]
    left_out: LeftOut
    resting: Annotated[
        dict[str, int], Field(description="Accounts not worked on, by reason")
    ]


@dataclass(frozen=True)
class WorklistPlanner:
    """Plans the collectors' day.

    Attributes
    ----------
    ledger : LedgerStore
        The loaded ledger.
    champions : ChampionLoader
        Loads the model that serves.
    rulebooks : Rulebooks
        The rules by the day they are in force.
    contacts : ContactQueries
        Reads contacts and credit files from the record.
    now : callable
        Returns the time, with its zone.
    zone : tzinfo
        The time zone of the house.
    """

    ledger: LedgerStore
    champions: ChampionLoader
    rulebooks: Rulebooks
    contacts: ContactQueries
    now: Callable[[], datetime]
    zone: tzinfo = UTC

    def debts(self, as_of: date) -> list[Debt]:
        """Return every customer's overdue debt as it was known on a day.

        Raises
        ------
        AsOfError
            If no invoice was known on that day.
        """
        model = self.champions.for_customers().model
        reports = self.ledger.parties.every_report()
        customers = active_on(self.ledger.every(), as_of, model, reports)
        rows = customers.rows
        pds = model.predict_pd_12m(model.own_columns(rows))
        bureau = bureau_summaries(reports, self.ledger.account, as_of)
        rulebook = self.rulebooks.in_force(as_of)
        debts = overdue_debts(
            ScoredCustomers(customers.accounts, rows, pds, bureau),
            self.contacts.credit_files(as_of),
            self.contacts.by_customer(as_of - REMEMBERED, as_of),
            rulebook,
        )
        return [self._with_law_rate(debt, as_of, rulebook) for debt in debts]

    def _with_law_rate(
        self,
        debt: Debt,
        as_of: date,
        rulebook: Rulebook,
    ) -> Debt:
        """The debt with the rate of the law's currency, if the fixed sum needs it."""
        currency = law_currency(debt.country, rulebook)
        is_law = [item.currency == currency for item in debt.late_items]
        if currency in (NO_CURRENCY, debt.currency) or all(is_law):
            return debt
        account = self.ledger.account(debt.customer_id, [currency])
        law_rate = closing_rate(known_account(account, as_of), currency)
        return replace(debt, law_rate=law_rate)

    def plan(self, query: WorklistQuery) -> WorklistAnswer:
        """Return the worklist of a day: the best value within capacity.

        Raises
        ------
        AsOfError
            If the day lies in the future.
        SchemaError
            If no ledger is loaded.
        """
        today = day_at(self.now(), self.zone)
        as_of = as_of_or_default(query.as_of, self.ledger, today)
        rulebook = self.rulebooks.in_force(as_of)
        tasks = list[Task]()
        pauses = list[Pause]()
        for debt in self.debts(as_of):
            task = task_of(debt, as_of, rulebook, CALENDAR)
            if isinstance(task, Task):
                tasks.append(task)
            else:
                pauses.append(task)
        quiet = is_quiet(as_of, rulebook)
        planned = worklist([] if quiet else tasks, query.collectors, query.minutes)
        left_out = tasks if quiet else planned.left_out
        codes = Counter(pause.code for pause in pauses)
        return {
            "as_of": as_of,
            "collectors": query.collectors,
            "minutes": query.minutes,
            "policy": policy_answer(rulebook),
            "is_quiet": quiet,
            "value": _total([task for _, task in planned.lines]),
            "lines": [
                _line(rank, collector, task)
                for rank, (collector, task) in enumerate(planned.lines, start=1)
            ],
            "left_out": {"n": len(left_out), "value": _total(left_out)},
            "resting": dict(sorted(codes.items())),
        }


def _line(rank: int, collector: int, task: Task) -> WorklistLine:
    debt = task.debt
    plan = task.plan
    currency = debt.currency
    because = task.priority.because
    because_zh = task.priority.because_zh
    if debt.last_broken_on:
        because += f"; a promise was broken on {debt.last_broken_on}"
        because_zh += f"；{debt.last_broken_on} 未履行付款承诺"
    line: WorklistLine = {
        "rank": rank,
        "collector": collector,
        "customer_id": debt.customer_id,
        "customer_class": debt.customer_class,
        "pd_12m": float(debt.pd_12m),
        "amount": money(debt.workable, currency),
        "overdue": money(debt.overdue, currency),
        "disputed": money(debt.disputed, currency),
        "dpd_days": int(debt.dpd_days),
        "stage": plan.stage,
        "channel": plan.channel,
        "minutes": plan.minutes,
        "calls_left_today": plan.calls_per_day - debt.contacts_today,
        "value": money(round_money(task.value, currency), currency),
        "value_per_minute": money(task.priority.value_per_minute, currency),
        "late_interest": _late_interest_answer(task.late_interest, currency),
        "hand_over": _hand_over(task),
        "deadline": task.deadline,
        "promise_broken_on": debt.last_broken_on,
        "because": because,
        "because_zh": because_zh,
    }
    if task.calendar:
        line["calendar"] = task.calendar
    return line


def _hand_over(task: Task) -> str | None:
    """Return who takes the debt over: the insurer, the lawyer, or nobody."""
    if task.is_urgent:
        return "insurer"
    return "lawyer" if task.plan.channel == "lawyer" else None


def _late_interest_answer(interest: LateInterest, currency: str) -> LateInterestAnswer:
    answer: LateInterestAnswer = {
        "amount": str(interest.amount),
        "fee": str(interest.fee),
        "fee_currency": interest.fee_currency,
        "because": interest.because,
        "currency": currency,
    }
    if interest.missing:
        answer["missing"] = interest.missing
    return answer


def _total(tasks: Sequence[Task]) -> Money | None:
    """Return the value of tasks together; None without any, as no currency is known."""
    if not tasks:
        return None
    currency = tasks[0].debt.currency
    value = sum((task.value for task in tasks), Decimal(0))
    return money(round_money(value, currency), currency)
