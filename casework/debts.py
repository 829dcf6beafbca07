"""The overdue debt of each customer on a day, with what collectors agreed on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from obligor.arrays import Floats
from obligor.casework.calendar import CALENDAR
from obligor.casework.contact_queries import RecordedContact
from obligor.casework.late_items import late_items
from obligor.data.account import FIRST_ACCOUNTING, PAYMENT, PROMISE, Account, select
from obligor.data.asof import KnownAccount
from obligor.data.days import OPEN_END, day_number, day_of
from obligor.data.money import MOST_MINOR_UNITS, minor_digits, round_money
from obligor.data.open_items import OverdueItems
from obligor.data.promises import EventColumns, progress
from obligor.data.rates import item_rates
from obligor.decisions.ageing import ageing_of
from obligor.decisions.facts import promises_of
from obligor.features.catalogue import NAMES
from obligor.policy.collecting.debt import Debt, LateItem
from obligor.policy.collecting.priority import DEFAULT_DPD_DAYS
from obligor.policy.collecting.working_days import Calendar, WorkingDays
from obligor.policy.credit.credit_file import NOTHING_ON_FILE, CreditFile
from obligor.policy.credit.position import (
    NO_REPORT,
    BureauSummary,
    Position,
    position_of,
)
from obligor.policy.credit.promise_ladder import ladder_position
from obligor.policy.credit.rating import Conduct, rate
from obligor.policy.rulebooks.rulebook import INTEREST_TABLES, Rulebook

# Contacts longer ago fix nothing any more.
REMEMBERED = timedelta(days=120)
_OVERDUE_AMOUNT = NAMES.index("overdue_amount")


class ScoredCustomers(NamedTuple):
    """Customers as they were known on one day, with their scores.

    Attributes
    ----------
    accounts : sequence of KnownAccount
        One for each customer.
    rows : array of float, shape (customers, features)
        Their features, in catalogue order.
    pds : array of float, shape (customers,)
        Their PD over 12 months.
    bureau : mapping of str to BureauSummary
        By customer, what bureaus say of those they report on.
    """

    accounts: Sequence[KnownAccount]
    rows: Floats
    pds: Floats
    bureau: Mapping[str, BureauSummary] = MappingProxyType({})


def overdue_debts(
    customers: ScoredCustomers,
    credit_files: Mapping[str, CreditFile],
    contacts: Mapping[str, Sequence[RecordedContact]],
    rulebook: Rulebook,
    calendar: Calendar = CALENDAR,
) -> list[Debt]:
    """Return the overdue debt of each customer who has any.

    Parameters
    ----------
    customers : ScoredCustomers
        Every customer with an invoice known on the day.
    credit_files : mapping of str to CreditFile
        What people had put on file by that day, by customer.
    contacts : mapping of str to sequence of RecordedContact
        The contacts of the last `REMEMBERED` days, by customer, in the order recorded;
        promises made in them reduce what is left to ask for.
    rulebook : Rulebook
        The rules in force on the day.
    calendar : Calendar
        The days off of countries: a promise to pay by one runs until the next day.

    Returns
    -------
    list of Debt
        In the order of the customers.
    """
    debts = list[Debt]()
    for index in np.flatnonzero(customers.rows[:, _OVERDUE_AMOUNT] > 0).tolist():
        known_account = customers.accounts[index]
        customer_id = known_account.account.customer_id
        scored = _ScoredCustomer(
            known_account=known_account,
            row=customers.rows[index],
            pd_12m=float(customers.pds[index]),
            bureau=customers.bureau.get(customer_id, NO_REPORT),
        )
        credit_file = credit_files.get(customer_id, NOTHING_ON_FILE)
        debt = _debt(scored, credit_file, rulebook)
        working_days = WorkingDays(rulebook, debt.country, calendar)
        own_contacts = contacts.get(customer_id, ())
        debts.append(_after_contacts(debt, known_account, own_contacts, working_days))
    return debts


class _ScoredCustomer(NamedTuple):
    known_account: KnownAccount
    row: Floats
    pd_12m: float
    bureau: BureauSummary


def _debt(
    customer: _ScoredCustomer, credit_file: CreditFile, rulebook: Rulebook
) -> Debt:
    known_account = customer.known_account
    account = known_account.account
    as_of = known_account.as_of
    currency = account.currency
    items = OverdueItems.of(known_account)
    pd_12m = Decimal(str(customer.pd_12m))
    position = _position(customer, rulebook)
    rung = ladder_position(promises_of(known_account), as_of, rulebook).rung
    conduct = Conduct(as_of, pd_12m, position, rung)
    rating = rate(conduct, credit_file, rulebook)
    promised = items.promised(known_account)
    return Debt(
        customer_id=account.customer_id,
        currency=currency,
        overdue=_money(items.balance.sum(), currency),
        dpd_days=Decimal(int(position.material_dpd_days or 0)),
        pd_12m=pd_12m,
        customer_class=rating.customer_class,
        disputed=_money(items.disputed[items.disputed > 0].sum(), currency),
        promised=_money(promised, currency),
        amount_days=Decimal(str(float(items.balance @ items.days_late))),
        n_items=len(items.balance),
        country=account.country,
        is_insured=_is_insured(credit_file, as_of),
        unapplied=position.unapplied_amount,
        in_default=_in_default(items, currency, rulebook),
        oldest_dpd_days=position.dpd_days,
        late_items=_late_items(known_account, items, rulebook),
    )


def _late_items(
    known_account: KnownAccount,
    items: OverdueItems,
    rulebook: Rulebook,
) -> tuple[LateItem, ...]:
    """The items as the law on late interest looks at them, if the rules state it so."""
    if INTEREST_TABLES[0] not in rulebook.tables:
        return ()
    return late_items(known_account, items)


def _position(customer: _ScoredCustomer, rulebook: Rulebook) -> Position:
    """What the customer owes, as the rules of a decision see it."""
    account = customer.known_account.account
    position = position_of(
        dict(zip(NAMES, customer.row.tolist(), strict=True)),
        account.currency,
        ageing_of(customer.known_account),
        rulebook.materiality,
    )
    return position._replace(
        is_incomplete=account.is_incomplete,
        bureau=customer.bureau,
    )


def _in_default(
    items: OverdueItems,
    currency: str,
    rulebook: Rulebook,
) -> Decimal | None:
    """What is undisputed and in default; None if the oldest item's age counts for all.

    The rules count item by item if they say what is material.
    """
    if rulebook.materiality is None:
        return None
    is_in_default = items.days_late > DEFAULT_DPD_DAYS
    undisputed = items.balance - items.disputed
    return _money(undisputed[is_in_default].sum(), currency)


def _is_insured(credit_file: CreditFile, as_of: date) -> bool:
    for security in credit_file.securities:
        if security.kind == "insurance" and security.expires_on >= as_of:
            return True
    return False


def _after_contacts(
    debt: Debt,
    known_account: KnownAccount,
    contacts: Sequence[RecordedContact],
    working_days: WorkingDays,
) -> Debt:
    """Return the debt with promises that are running or broken, and the next day."""
    if not contacts:
        return debt
    as_of = known_account.as_of
    running = [Decimal(0)]
    last_broken_on = None
    for promise in _followed(known_account, contacts, working_days):
        if promise.pay_by >= as_of:
            running.append(promise.missing)
        elif not promise.is_kept:
            last_broken_on = promise.pay_by + timedelta(days=1)
    is_first = known_account.account.accounting == FIRST_ACCOUNTING
    promised = running[-1] if is_first else sum(running, Decimal(0))
    return replace(
        debt,
        promised=max(debt.promised, min(promised, debt.overdue)),
        last_broken_on=last_broken_on,
        contacts_today=sum(contact.contacted_on == as_of for contact in contacts),
        next_contact_on=contacts[-1].next_contact_on,
    )


class _FollowedPromise(NamedTuple):
    """A promise made in a contact, with what is not yet paid of it."""

    pay_by: date
    missing: Decimal
    is_kept: bool


class _Row(NamedTuple):
    """A promise or a payment; amounts in minor units of the reporting currency."""

    day: int
    kind: int
    amount: int
    end: int
    contact_index: int


def _followed(
    known_account: KnownAccount,
    contacts: Sequence[RecordedContact],
    working_days: WorkingDays,
) -> list[_FollowedPromise]:
    """Return the promises of contacts that stand, in order; what is paid counts once.

    A promise that a later one replaced is neither running nor broken.
    """
    account = known_account.account
    scale = 10 ** minor_digits(account.currency)
    rows = list[_Row]()
    is_first = account.accounting == FIRST_ACCOUNTING
    replaced = set[int]() if is_first else _replaced(contacts, working_days)
    for index, contact in enumerate(contacts):
        if contact.promise is not None and index not in replaced:
            amount = min(int(contact.promise.amount * scale), MOST_MINOR_UNITS)
            made_on = day_number(contact.contacted_on)
            pay_by = day_number(working_days.payable_on(contact.promise.pay_by))
            rows.append(_Row(made_on, PROMISE, amount, pay_by, index))
    if not rows:
        return []
    rows.extend(_payments(account, scale))
    # In order of time; on one day the promises come first.
    rows.sort(key=lambda row: (row.day, row.kind == PAYMENT))
    numbers = np.array(rows, dtype=np.int64)
    columns = EventColumns(
        kind=numbers[:, 1],
        day=numbers[:, 0],
        value=numbers[:, 2],
        end=numbers[:, 3],
    )
    state = progress(columns, 0, len(rows), counts_once=not is_first)
    followed = {}
    for row, missing, kept_on in zip(
        rows,
        state.missing.tolist(),
        state.kept_on.tolist(),
        strict=True,
    ):
        if row.kind == PROMISE:
            followed[row.contact_index] = _FollowedPromise(
                pay_by=day_of(row.end),
                missing=Decimal(missing) / scale,
                is_kept=kept_on < OPEN_END,
            )
    return [followed[index] for index in sorted(followed)]


def _replaced(
    contacts: Sequence[RecordedContact],
    working_days: WorkingDays,
) -> set[int]:
    """Return the contacts whose promise a later one replaced.

    A promise made in a contact is about all that is owed. While it runs, a promise of
    a later day is made in its place; one of the same day is an instalment beside it.
    """
    replaced = set[int]()
    for index, contact in enumerate(contacts):
        if contact.promise is None:
            continue
        pay_by = working_days.payable_on(contact.promise.pay_by)
        for later in contacts[index + 1 :]:
            is_later = contact.contacted_on < later.contacted_on <= pay_by
            if later.promise is not None and is_later:
                replaced.add(index)
    return replaced


def _payments(account: Account, scale: int) -> list[_Row]:
    """Return what was paid, at the rates of the invoices' days."""
    payments = select(account.events, account.events.kind == PAYMENT)
    paid = payments.value * item_rates(account)[payments.item] * scale
    # An absurd amount at an absurd rate needs more than 64 bits.
    amounts = [min(round(amount), MOST_MINOR_UNITS) for amount in paid.tolist()]
    return [
        _Row(day, PAYMENT, amount, OPEN_END, -1)
        for day, amount in zip(payments.day.tolist(), amounts, strict=True)
    ]


def _money(amount: float, currency: str) -> Decimal:
    return round_money(Decimal(str(float(amount))), currency)
