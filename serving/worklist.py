"""Collecting: the worklist of a day for so many collectors, and the contacts they record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import orjson

from obligor.data.account import (
    DAY,
    DISPUTE,
    DUE,
    END,
    ITEM,
    KIND,
    OPEN_END,
    PAYMENT,
    PROMISE,
    VALUE,
    day_number,
)
from obligor.data.acts import open_balances
from obligor.data.asof import KnownAccount
from obligor.data.money import round_money
from obligor.errors import AsOfError, ConflictError, ObligorError
from obligor.features.build import item_rates
from obligor.features.catalogue import NAMES
from obligor.policy.collection import (
    Debt,
    Plan,
    Rest,
    Task,
    is_quiet,
    next_contact_on,
    plan_of,
    task_of,
    working_day,
    worklist,
)
from obligor.policy.credit_file import NOTHING_ON_FILE
from obligor.policy.ladder import rung_on
from obligor.policy.rating import rate
from obligor.policy.rulebook import Rulebook, in_force
from obligor.record.entry import Entry
from obligor.serving.portfolio import active_on
from obligor.serving.promises import promises_of
from obligor.serving.questions import (
    ContactRequest,
    CreditFileBody,
    DecisionRequest,
    WorklistQuery,
)
from obligor.serving.scoring import Answer, Engine, require_past

REMEMBERED = timedelta(days=120)  # contacts longer ago fix nothing any more
DPD, BROKEN = NAMES.index("dpd_days"), NAMES.index("broken_promises_365d")


def worklist_answer(asked: WorklistQuery, engine: Engine) -> bytes:
    """Return the worklist of a day as JSON: the best value within capacity, each line with its reason.

    Raises
    ------
    AsOfError, SchemaError
        Where the day lies in the future, or no ledger is loaded.
    """
    as_of = engine.day(asked.as_of)
    rulebook = in_force(engine.rulebooks, as_of)
    answer: dict[str, Any] = {
        "as_of": as_of,
        "collectors": asked.collectors,
        "minutes": asked.minutes,
        "policy": {"version": rulebook.version, "sha256": rulebook.sha256},
    }
    found = [task_of(debt, as_of, rulebook) for debt in debts_on(engine, as_of)]
    tasks, resting = (
        [one for one in found if isinstance(one, Task)],
        [one for one in found if isinstance(one, Rest)],
    )
    quiet = is_quiet(as_of, rulebook)
    planned = worklist([] if quiet else tasks, asked.collectors, asked.minutes)
    left_out = tasks if quiet else planned.left_out
    answer |= {
        "is_quiet": quiet,
        "value": _total([task for _, task in planned.lines]),
        "lines": [
            _line(rank, *line) for rank, line in enumerate(planned.lines, start=1)
        ],
        "left_out": {"n": len(left_out), "value": _total(left_out)},
        "resting": dict(sorted(Counter(one.code for one in resting).items())),
    }
    return orjson.dumps(answer, default=str)


def debts_on(engine: Engine, as_of: date) -> list[Debt]:
    """Return every customer's overdue debt as it was known on a day, with what collectors agreed on."""
    known, rows = active_on(engine.ledger.every(), as_of)
    pds, rulebook = (
        engine.champions.of_ledger().model.predict_pd_12m(rows),
        in_force(engine.rulebooks, as_of),
    )
    contacts = _contacts(engine, as_of - REMEMBERED, as_of)
    asked = (
        DecisionRequest.model_validate_json(request)
        for request in engine.record.last_filed(as_of)
    )
    filed = {one.customer_id: one.file for one in asked}
    found = list[Debt]()
    for place in np.flatnonzero(rows[:, DPD] > 0).tolist():
        one = known[place]
        name = one.account.customer_id
        debt = _debt(one, float(pds[place]), rows[place], filed.get(name), rulebook)
        found.append(_after(debt, one, contacts.get(name, ())))
    return found


def _contacts(
    engine: Engine, first: date, last: date
) -> dict[str, list[dict[str, Any]]]:
    """The contacts of some days by customer, in the order recorded."""
    found = dict[str, list[dict[str, Any]]]()
    for body in engine.record.contacts(first, last):
        contact = orjson.loads(body)
        found.setdefault(contact["customer_id"], []).append(contact)
    return found


def _debt(
    known: KnownAccount,
    pd_12m: float,
    row: Any,
    body: CreditFileBody | None,
    rulebook: Rulebook,
) -> Debt:
    account, as_of, today = known.account, known.as_of, day_number(known.as_of)
    items, currency = _Items.of(known), account.currency
    file = body.credit_file() if body else NOTHING_ON_FILE
    dpd_days, pd_ = Decimal(int(row[DPD])), Decimal(str(pd_12m))
    broken = None if np.isnan(row[BROKEN]) else Decimal(int(row[BROKEN]))
    rung = rung_on(promises_of(known), as_of, rulebook).rung
    is_insured = any(
        one.kind == "insurance" and one.expires_on >= as_of for one in file.securities
    )
    promised = items.promised(account.events, today)
    return Debt(
        customer_id=account.customer_id,
        currency=currency,
        overdue=_money(items.balance.sum(), currency),
        dpd_days=dpd_days,
        pd_12m=pd_,
        customer_class=rate(
            pd_, dpd_days, broken, rung, file, as_of, rulebook
        ).customer_class,
        disputed=_money(items.balance[items.is_disputed].sum(), currency),
        promised=_money(promised, currency),
        amount_days=Decimal(str(float(items.balance @ items.late))),
        n_items=len(items.balance),
        country=account.country,
        is_insured=is_insured,
    )


@dataclass(frozen=True)
class _Items:
    """The items past due: place, balance in the reporting currency, days, and whether each is disputed."""

    place: Any
    balance: Any
    rate: Any
    late: Any
    is_disputed: Any

    @classmethod
    def of(cls, known: KnownAccount) -> _Items:
        """Those of an account that are past due on its as-of date."""
        account, today = known.account, day_number(known.as_of)
        open_, late, rates = (
            open_balances(account),
            today - account.items[DUE],
            item_rates(account),
        )
        place = np.flatnonzero((open_ > 0) & (late > 0))
        disputes = account.events[
            ITEM, (account.events[KIND] == DISPUTE) & (account.events[END] == OPEN_END)
        ]
        return cls(
            place,
            open_[place] * rates[place],
            rates[place],
            late[place],
            np.isin(place, disputes),
        )

    def promised(self, events: Any, today: int) -> float:
        """Return what of the undisputed is promised by a day that has not passed."""
        promises = events[:, (events[KIND] == PROMISE) & (events[END] >= today)]
        total = 0.0
        for n in np.flatnonzero(~self.is_disputed).tolist():
            mine = promises[VALUE, promises[ITEM] == self.place[n]]
            total += min(float(mine.sum() * self.rate[n]), float(self.balance[n]))
        return total


def _after(debt: Debt, known: KnownAccount, contacts: Sequence[dict[str, Any]]) -> Debt:
    """The debt with what the contacts so far agreed on: the next day, promises followed and broken."""
    as_of, promised, broken_on = known.as_of, Decimal(0), None
    for contact in contacts:
        if promise := contact["promise"]:
            pay_by, amount = (
                date.fromisoformat(promise["pay_by"]),
                Decimal(promise["reporting_amount"]),
            )
            made = date.fromisoformat(contact["contacted_on"])
            paid = _paid(known, made, pay_by)
            if pay_by >= as_of:
                promised = max(amount - paid, Decimal(0))
            elif paid < amount:
                broken_on = pay_by + timedelta(days=1)
    last = contacts[-1]["next_contact_on"] if contacts else None
    return replace(
        debt,
        promised=max(debt.promised, min(promised, debt.overdue)),
        last_broken_on=broken_on,
        contacts_today=sum(
            contact["contacted_on"] == as_of.isoformat() for contact in contacts
        ),
        next_contact_on=date.fromisoformat(last) if last else None,
    )


def _paid(known: KnownAccount, first: date, last: date) -> Decimal:
    events = known.account.events
    is_meant = (
        (events[KIND] == PAYMENT)
        & (events[DAY] >= day_number(first))
        & (events[DAY] <= day_number(last))
    )
    rates = item_rates(known.account)
    return _money(
        float((events[VALUE, is_meant] * rates[events[ITEM, is_meant]]).sum()),
        known.account.currency,
    )


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
        decision_id=str(body["contact_id"]),
        kind="contact",
        customer_id=asked.customer_id,
        as_of=on,
        recorded_at=now,
        idempotency_key=key,
        outcome=asked.outcome,
        request=request,
        body=orjson.dumps(body, default=str).decode(),
        policy_sha256=one.rulebook.sha256,
        made_by=maker,
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


def _line(rank: int, collector: int, task: Task) -> dict[str, Any]:
    debt, plan = task.debt, task.plan
    broken = debt.last_broken_on
    hand_over = (
        "insurer" if task.is_urgent else "lawyer" if plan.channel == "lawyer" else None
    )
    return {
        "rank": rank,
        "collector": collector,
        "customer_id": debt.customer_id,
        "customer_class": debt.customer_class,
        "pd_12m": float(debt.pd_12m),
        "amount": _of(debt.workable, debt),
        "overdue": _of(debt.overdue, debt),
        "disputed": _of(debt.disputed, debt),
        "dpd_days": int(debt.dpd_days),
        "stage": plan.stage,
        "channel": plan.channel,
        "minutes": plan.minutes,
        "calls_left_today": plan.calls_per_day - debt.contacts_today,
        "value": _of(round_money(task.value, debt.currency), debt),
        "value_per_minute": _of(task.priority.value_per_minute, debt),
        "late_interest": {**vars(task.late_interest), "currency": debt.currency},
        "hand_over": hand_over,
        "deadline": task.deadline,
        "promise_broken_on": broken,
        "because": task.priority.because
        + (f"; a promise was broken on {broken}" if broken else ""),
        "because_zh": task.priority.because_zh
        + (f"；{broken} 未履行付款承诺" if broken else ""),
    }


def _of(amount: Decimal, debt: Debt) -> dict[str, Any]:
    return {"amount": amount, "currency": debt.currency}


def _money(amount: float, currency: str) -> Decimal:
    return round_money(Decimal(str(float(amount))), currency)


def _total(tasks: Sequence[Task]) -> dict[str, Any] | None:
    """What tasks are worth together; None where there are none to say the currency."""
    if not tasks:
        return None
    currency = tasks[0].debt.currency
    return {
        "amount": round_money(
            sum((task.value for task in tasks), Decimal(0)), currency
        ),
        "currency": currency,
    }
