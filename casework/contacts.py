"""Recording a contact with a customer, and what it fixes for the next."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import orjson

from obligor.casework.contact_queries import ContactQueries
from obligor.casework.questions import ContactRequest
from obligor.decisions.engine import Answer, Engine, require_past
from obligor.decisions.questions import DecisionRequest
from obligor.errors import AsOfError, ConflictError, ObligorError
from obligor.policy.collecting.priority import (
    Plan,
    next_contact_on,
    plan_of,
    working_day,
)
from obligor.policy.rulebooks.rulebook import Rulebook
from obligor.record.entry import Entry

REMEMBERED = timedelta(days=120)  # contacts longer ago fix nothing any more


def _contacts(
    engine: Engine, first: date, last: date
) -> dict[str, list[dict[str, Any]]]:
    """The contacts of some days by customer, in the order recorded."""
    found = dict[str, list[dict[str, Any]]]()
    for body in ContactQueries(engine.record.reader).contacts_between(first, last):
        contact = orjson.loads(body)
        found.setdefault(contact["customer_id"], []).append(contact)
    return found


def record_contact(
    asked: ContactRequest, key: str | None, engine: Engine, maker: str | None = None
) -> Answer:
    """Record a contact and return it as JSON, with the day of the next one.

    Raises
    ------
    ObligorError
        Where the customer is unknown, a day lies where it cannot, or nothing can be recorded.
    """
    stored = engine.answered(asked, key)
    if isinstance(stored, ObligorError):
        raise stored
    if stored is not None:
        return stored
    now, today = engine.now(), engine.now().date()
    on = asked.contacted_on or today
    _require_order(asked, on, today)
    currencies = [asked.promise.currency] if asked.promise else []
    one = engine.look(
        DecisionRequest(customer_id=asked.customer_id, as_of=on), currencies
    )
    dpd_days = one.decision.position.dpd_days or Decimal(0)
    plan = plan_of(dpd_days, one.decision.customer_class, one.rulebook)
    count = 1 + len(_contacts(engine, on, on).get(asked.customer_id, ()))
    promise = asked.promise and {
        "amount": asked.promise.amount,
        "currency": asked.promise.currency,
        "pay_by": asked.promise.pay_by,
        "reporting_amount": one.known.reporting(
            asked.promise.amount, asked.promise.currency
        ),
    }
    body = {
        "contact_id": engine.new_id(),
        "customer_id": asked.customer_id,
        "contacted_on": on,
        "recorded_at": now,
        "by": asked.by,
        "channel": asked.channel,
        "outcome": asked.outcome,
        "promise": promise,
        "note": asked.note,
        "stage": plan.stage,
        "contacts_today": count,
        "calls_per_day": plan.calls_per_day,
        "next_contact_on": _next(asked, on, count, plan, one.rulebook),
        "policy": {"version": one.rulebook.version, "sha256": one.rulebook.sha256},
    }
    request = asked.model_dump_json()
    entry = Entry(
        entry_id=str(body["contact_id"]),
        kind="contact",
        customer_id=asked.customer_id,
        as_of=on,
        recorded_at=now,
        idempotency_key=key,
        outcome=asked.outcome,
        request=request,
        body=orjson.dumps(body, default=str).decode(),
        policy_sha256=one.rulebook.sha256,
        requested_by_key=maker,
    )
    try:
        return engine.recorded([entry])[0]
    except ConflictError:
        return record_contact(asked, key, engine, maker)


def _require_order(asked: ContactRequest, on: date, today: date) -> None:
    """Days in their order: a contact is not in the future, what it fixes is not before it."""
    require_past(on, today, "contacted_on")
    later = {
        "promise.pay_by": asked.promise and asked.promise.pay_by,
        "next_contact_on": asked.next_contact_on,
    }
    for where, day in later.items():
        if day and day < on:
            raise AsOfError(
                f"{day} lies before the contact",
                where=where,
                expected=f"a day from {on} on",
            )


def _next(
    asked: ContactRequest, on: date, count: int, plan: Plan, rulebook: Rulebook
) -> date | None:
    if asked.next_contact_on:
        return asked.next_contact_on
    if asked.promise:
        return working_day(asked.promise.pay_by + timedelta(days=1), rulebook)
    if plan.channel == "none":
        return None
    return next_contact_on(on, count, asked.outcome != "no_answer", plan, rulebook)
