"""The items past due with what was open of them from day to day."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import numpy as np

from obligor.data.account import CREDIT_NOTE, PAYMENT, WRITE_OFF
from obligor.data.asof import KnownAccount
from obligor.data.days import day_of
from obligor.data.money import minor_digits
from obligor.data.open_items import OverdueItems, disputed_amounts
from obligor.policy.collecting.debt import LateItem, OpenAmount

_SETTLING = (PAYMENT, CREDIT_NOTE, WRITE_OFF)
_A_DAY = timedelta(days=1)


def late_items(known: KnownAccount, overdue: OverdueItems) -> tuple[LateItem, ...]:
    """Return the overdue items as the law on late interest looks at them.

    What is known on the as-of date counts: a payment that came back by then never was.

    Parameters
    ----------
    known : KnownAccount
        The account.
    overdue : OverdueItems
        Its overdue items.
    """
    account = known.account
    items = account.items
    disputed = disputed_amounts(account)
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
                open_amounts=_open_amounts(known, index, digits),
                disputed=Decimal(int(disputed[index])).scaleb(-digits),
            )
        )
    return tuple(late)


def _open_amounts(
    known: KnownAccount,
    index: int,
    digits: int,
) -> tuple[OpenAmount, ...]:
    """What was open of an item: from its issue, and from the day after each event."""
    items = known.account.items
    events = known.account.events
    is_of_item = events.item == index
    rows = np.flatnonzero(is_of_item & np.isin(events.kind, _SETTLING))
    issued_on = day_of(items.issued[index])
    balance = int(items.amount[index])
    by_day = {issued_on: balance}
    for row in rows[np.argsort(events.day[rows], kind="stable")].tolist():
        balance -= int(events.value[row])
        # Money that came before the bill was written was never owed.
        since = max(day_of(events.day[row]) + _A_DAY, issued_on)
        by_day[since] = balance
    return tuple(
        OpenAmount(since, Decimal(max(amount, 0)).scaleb(-digits))
        for since, amount in by_day.items()
    )
