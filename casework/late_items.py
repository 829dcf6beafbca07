"""The items past due with what was open of them from day to day."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import numpy as np

from obligor.data.account import (
    CREDIT_NOTE,
    OLDEST_FIRST,
    PAYMENT,
    WRITE_OFF,
    Account,
    Events,
    select,
)
from obligor.data.asof import KnownAccount
from obligor.data.days import day_number, day_of
from obligor.data.money import minor_digits
from obligor.data.open_items import OverdueItems, disputed_amounts
from obligor.data.rates import rates_on
from obligor.data.settling import settled
from obligor.errors import SchemaError
from obligor.policy.collecting.debt import LateItem, OpenAmount

_SETTLING = (PAYMENT, CREDIT_NOTE, WRITE_OFF)
_A_DAY = timedelta(days=1)


def late_items(
    known_account: KnownAccount, overdue: OverdueItems
) -> tuple[LateItem, ...]:
    """Return the overdue items as the law on late interest looks at them.

    What is known on the as-of date counts: a payment that came back by then never was.
    Money that is allocated to no item is set against the oldest ones, also where the
    ledger leaves it as it is: the house has it, so it bears no interest.

    Parameters
    ----------
    known_account : KnownAccount
        The account.
    overdue : OverdueItems
        Its overdue items.
    """
    account = _netted(known_account.account)
    items = account.items
    disputed = disputed_amounts(account)
    settling = _settling_events(account)
    late = list[LateItem]()
    for index, rate in zip(overdue.index.tolist(), overdue.rate.tolist(), strict=True):
        currency = account.currencies[items.currency[index]]
        digits = minor_digits(currency)
        late.append(
            LateItem(
                issued_on=day_of(items.issued[index]),
                due_on=day_of(items.due[index]),
                currency=currency,
                # The rate is that of a minor unit.
                rate=Decimal(str(rate)).scaleb(digits),
                open_amounts=_open_amounts(account, index, settling),
                disputed=Decimal(int(disputed[index])).scaleb(-digits),
            )
        )
    return tuple(late)


def closing_rate(known_account: KnownAccount, currency: str) -> Decimal | None:
    """Return the last rate of a currency into the reporting one; None without any."""
    day = np.array([day_number(known_account.as_of)])
    try:
        (rate,) = rates_on(known_account.account, currency, day).tolist()
    except SchemaError:
        return None
    return Decimal(str(rate))


def _netted(account: Account) -> Account:
    """The account as if its money without an item had paid the oldest ones."""
    if account.unapplied_policy == OLDEST_FIRST or not len(account.money.day):
        return account
    return settled(replace(account, unapplied_policy=OLDEST_FIRST))


def _settling_events(account: Account) -> Events:
    """Payments, credit notes and write-offs, by item and day."""
    events = select(account.events, np.isin(account.events.kind, _SETTLING))
    return select(events, np.lexsort((events.day, events.item)))


def _open_amounts(
    account: Account,
    index: int,
    settling: Events,
) -> tuple[OpenAmount, ...]:
    """What was open of an item: from its issue, and from the day after each event."""
    items = account.items
    digits = minor_digits(account.currencies[items.currency[index]])
    issued_on = day_of(items.issued[index])
    balance = int(items.amount[index])
    by_day = {issued_on: balance}
    first, stop = np.searchsorted(settling.item, [index, index + 1]).tolist()
    for day, value in zip(
        settling.day[first:stop].tolist(),
        settling.value[first:stop].tolist(),
        strict=True,
    ):
        balance -= value
        # Money that came before the bill was written was never owed.
        since = max(day_of(day) + _A_DAY, issued_on)
        by_day[since] = balance
    return tuple(
        OpenAmount(since, Decimal(max(amount, 0)).scaleb(-digits))
        for since, amount in by_day.items()
    )
