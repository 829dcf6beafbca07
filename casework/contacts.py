"""Contacts with a customer about overdue debt, and when to make the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import NamedTuple, Protocol

import orjson
from typing_extensions import TypedDict

from obligor.casework.calendar import CALENDAR
from obligor.casework.contact_queries import ContactQueries
from obligor.casework.questions import ContactRequest, PromiseBody
from obligor.data.time_zone import day_at
from obligor.decisions.answer import Stamp
from obligor.decisions.answer_parts import PolicyAnswer, policy_answer
from obligor.decisions.as_of import require_past
from obligor.decisions.batch import Question
from obligor.decisions.facts import DecidedQuestion
from obligor.decisions.questions import DecisionRequest
from obligor.decisions.recorded import AnswerRecord, RecordedAnswer
from obligor.errors import AsOfError
from obligor.policy.collecting.priority import (
    AccountAge,
    Plan,
    next_contact_on,
    plan_of,
)
from obligor.policy.collecting.working_days import WorkingDays
from obligor.record.entry import Entry


class PromiseAnswer(TypedDict):
    """A promise to pay."""

    amount: str
    currency: str
    pay_by: date
    reporting_amount: str


class ContactAnswer(TypedDict):
    """A recorded contact, with the day of the next."""

    contact_id: str
    customer_id: str
    contacted_on: date
    recorded_at: datetime
    by: str
    channel: str
    outcome: str
    promise: PromiseAnswer | None
    note: str | None
    stage: str
    contacts_today: int
    calls_per_day: int
    next_contact_on: date | None
    policy: PolicyAnswer


class DecideUnrecorded(Protocol):
    """Decides on a customer without recording it, as `Decider.decide_unrecorded`."""

    def __call__(
        self, question: Question, currencies: Sequence[str] = ()
    ) -> DecidedQuestion:
        """Return the decision about the customer."""


class _Attempt(NamedTuple):
    """A contact as it counts on its day."""

    request: ContactRequest
    contacted_on: date
    count_on_day: int


@dataclass(frozen=True)
class ContactDesk:
    """Records contacts.

    Attributes
    ----------
    queries : ContactQueries
        Reads earlier contacts from the record.
    answers : AnswerRecord
        Where contacts are recorded.
    decide : callable
        Decides on the customer without recording it: stage and class set the pace.
    now : callable
        Returns the time, with its zone.
    new_id : callable
        Returns a fresh contact id.
    zone : tzinfo
        The time zone of the house.
    """

    queries: ContactQueries
    answers: AnswerRecord
    decide: DecideUnrecorded
    now: Callable[[], datetime]
    new_id: Callable[[], str]
    zone: tzinfo = UTC

    def record(
        self,
        request: ContactRequest,
        key: str | None = None,
        requested_by_key: str | None = None,
    ) -> RecordedAnswer:
        """Record a contact; a repeated key gets the same answer.

        Parameters
        ----------
        request : ContactRequest
            Who contacted whom, how, and how it ended.
        key : str, optional
            The idempotency key.
        requested_by_key : str, optional
            The name of the API key that requested it; kept with the entry.

        Returns
        -------
        RecordedAnswer
            A `ContactAnswer`, with the day of the next contact.

        Raises
        ------
        AsOfError
            If the contact lies in the future, or a day it fixes lies before it.
        UnknownCustomerError
            If the ledger has no such customer.
        RecordError
            If the contact cannot be recorded.
        """
        return self.answers.answer_once(
            request, key, lambda: self._new_entry(request, key, requested_by_key)
        )

    def _new_entry(
        self, request: ContactRequest, key: str | None, requested_by_key: str | None
    ) -> Entry:
        now = self.now()
        today = day_at(now, self.zone)
        contacted_on = request.contacted_on or today
        _require_days_in_order(request, contacted_on, today)
        question = DecisionRequest(customer_id=request.customer_id, as_of=contacted_on)
        currencies = [request.promise.currency] if request.promise else []
        decided = self.decide(Question(question), currencies)
        earlier = self.queries.by_customer(contacted_on, contacted_on)
        count = 1 + len(earlier.get(request.customer_id, ()))
        attempt = _Attempt(request, contacted_on, count)
        stamp = Stamp(self.new_id(), now)
        answer = _contact_answer(attempt, decided, stamp)
        return Entry(
            entry_id=stamp.entry_id,
            kind="contact",
            customer_id=request.customer_id,
            as_of=contacted_on,
            recorded_at=stamp.recorded_at,
            idempotency_key=key,
            outcome=request.outcome,
            request=request.model_dump_json(),
            body=orjson.dumps(answer).decode(),
            policy_sha256=decided.rulebook.sha256,
            requested_by_key=requested_by_key,
        )


def _contact_answer(
    attempt: _Attempt, decided: DecidedQuestion, stamp: Stamp
) -> ContactAnswer:
    request = attempt.request
    decision = decided.decision
    position = decision.position
    age = AccountAge(
        dpd_days=position.dpd_days or Decimal(0),
        overdue_amount=position.overdue_amount or Decimal(0),
        material_dpd_days=position.material_dpd_days or Decimal(0),
        unapplied_amount=position.unapplied_amount,
    )
    plan = plan_of(age, decision.customer_class, decided.rulebook)
    return {
        "contact_id": stamp.entry_id,
        "customer_id": request.customer_id,
        "contacted_on": attempt.contacted_on,
        "recorded_at": stamp.recorded_at,
        "by": request.by,
        "channel": request.channel,
        "outcome": request.outcome,
        "promise": _promise_answer(request.promise, decided),
        "note": request.note,
        "stage": plan.stage,
        "contacts_today": attempt.count_on_day,
        "calls_per_day": plan.calls_per_day,
        "next_contact_on": _next_contact_on(attempt, plan, _working_days(decided)),
        "policy": policy_answer(decided.rulebook),
    }


def _promise_answer(
    promise: PromiseBody | None, decided: DecidedQuestion
) -> PromiseAnswer | None:
    if promise is None:
        return None
    reporting_amount = decided.known_question.reporting(
        promise.amount, promise.currency
    )
    return {
        "amount": str(promise.amount),
        "currency": promise.currency,
        "pay_by": promise.pay_by,
        "reporting_amount": str(reporting_amount),
    }


def _require_days_in_order(
    request: ContactRequest, contacted_on: date, today: date
) -> None:
    """Reject a contact in the future, and a day it fixes that lies before it."""
    require_past(contacted_on, today, "contacted_on")
    fixed = {"next_contact_on": request.next_contact_on}
    if request.promise:
        fixed = {"promise.pay_by": request.promise.pay_by, **fixed}
    for where, day in fixed.items():
        if day and day < contacted_on:
            raise AsOfError(
                f"{day} lies before the contact",
                where=where,
                expected=f"a day from {contacted_on} on",
            )


def _working_days(decided: DecidedQuestion) -> WorkingDays:
    """The working days between the house and the customer."""
    country = decided.known_question.account.account.country
    return WorkingDays(decided.rulebook, country, CALENDAR)


def _next_contact_on(
    attempt: _Attempt,
    plan: Plan,
    working_days: WorkingDays,
) -> date | None:
    """Return the day of the next contact: agreed, after a promise, or by rule."""
    request = attempt.request
    if request.next_contact_on:
        return request.next_contact_on
    if request.promise:
        last_day = working_days.payable_on(request.promise.pay_by)
        return working_days.first_from(last_day + timedelta(days=1))
    if plan.channel == "none":
        return None
    is_reached = request.outcome != "no_answer"
    return next_contact_on(
        attempt.contacted_on,
        attempt.count_on_day,
        is_reached,
        plan,
        working_days,
    )
