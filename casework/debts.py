"""The overdue debt of each customer on a day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from obligor.casework.contact_queries import ContactQueries
from obligor.casework.contacts import REMEMBERED, _contacts
from obligor.data.account import PAYMENT, select
from obligor.data.asof import KnownAccount
from obligor.data.days import day_number
from obligor.data.money import round_money
from obligor.data.open_items import OverdueItems
from obligor.data.rates import item_rates
from obligor.decisions.engine import Engine
from obligor.decisions.facts import promises_of
from obligor.decisions.questions import CreditFileBody, DecisionRequest
from obligor.features.catalogue import NAMES
from obligor.policy.collecting.debt import Debt
from obligor.policy.credit.credit_file import NOTHING_ON_FILE
from obligor.policy.credit.promise_ladder import ladder_position
from obligor.policy.credit.rating import Conduct, rate
from obligor.policy.rulebooks.rulebook import Rulebook, in_force
from obligor.portfolio.snapshot import active_on

DPD, BROKEN = NAMES.index("dpd_days"), NAMES.index("broken_promises_365d")


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
        for request in ContactQueries(engine.record.reader).requests_with_file(as_of)
    )
    filed = {one.customer_id: one.file for one in asked}
    found = list[Debt]()
    for place in np.flatnonzero(rows[:, DPD] > 0).tolist():
        one = known[place]
        name = one.account.customer_id
        debt = _debt(one, float(pds[place]), rows[place], filed.get(name), rulebook)
        found.append(_after(debt, one, contacts.get(name, ())))
    return found


def _debt(
    known: KnownAccount,
    pd_12m: float,
    row: Any,
    body: CreditFileBody | None,
    rulebook: Rulebook,
) -> Debt:
    account, as_of, today = known.account, known.as_of, day_number(known.as_of)
    items, currency = OverdueItems.of(known), account.currency
    file = body.credit_file() if body else NOTHING_ON_FILE
    dpd_days, pd_ = Decimal(int(row[DPD])), Decimal(str(pd_12m))
    broken = None if np.isnan(row[BROKEN]) else Decimal(int(row[BROKEN]))
    rung = ladder_position(promises_of(known), as_of, rulebook).rung
    conduct = Conduct(as_of, pd_, dpd_days, broken, rung)
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
        customer_class=rate(conduct, file, rulebook).customer_class,
        disputed=_money(items.balance[items.is_disputed].sum(), currency),
        promised=_money(promised, currency),
        amount_days=Decimal(str(float(items.balance @ items.days_late))),
        n_items=len(items.balance),
        country=account.country,
        is_insured=is_insured,
    )


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
        (events.kind == PAYMENT)
        & (events.day >= day_number(first))
        & (events.day <= day_number(last))
    )
    rates = item_rates(known.account)
    payments = select(events, is_meant)
    return _money(
        float((payments.value * rates[payments.item]).sum()),
        known.account.currency,
    )


def _money(amount: float, currency: str) -> Decimal:
    return round_money(Decimal(str(float(amount))), currency)
