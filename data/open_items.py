"""What is open and overdue of each item in the reporting currency."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from obligor.arrays import Ints
from obligor.data.account import (
    AMOUNT,
    CREDIT_NOTE,
    DAY,
    DISPUTE,
    DUE,
    END,
    ITEM,
    KIND,
    PAYMENT,
    PROMISE,
    VALUE,
    WRITE_OFF,
    Account,
)
from obligor.data.asof import KnownAccount
from obligor.data.days import OPEN_END, day_number, day_of
from obligor.data.rates import item_rates


def open_balances(account: Account) -> Ints:
    """Return what is open of each item, in its minor units, shape (items,); 0 where nothing is."""
    events = account.events[
        :, np.isin(account.events[KIND], (PAYMENT, CREDIT_NOTE, WRITE_OFF))
    ]
    balance = account.items[AMOUNT].copy()
    np.subtract.at(balance, events[ITEM], events[VALUE])
    return np.maximum(balance, 0)  # type: ignore[no-any-return]


def open_items(account: Account) -> Ints:
    """Return the places of the items with a balance, the oldest due first."""
    places = np.flatnonzero(open_balances(account))
    return places[np.argsort(account.items[DUE, places], kind="stable")]


def has_open_dispute(account: Account) -> bool:
    """Whether any dispute is unresolved."""
    return bool(_is_open_dispute(account.events).any())


def settled_promises(known: KnownAccount) -> list[tuple[date, bool]]:
    """Return each promise settled by the as-of date: the day it was kept, or the one after it ran out, and which.

    A promise is kept on the day by which as much as promised was paid since it was made.
    """
    events, today, found = (
        known.account.events,
        day_number(known.as_of),
        list[tuple[date, bool]](),
    )
    for promise in events[:, events[KIND] == PROMISE].T.tolist():
        item, made, value, last = (
            promise[ITEM],
            promise[DAY],
            promise[VALUE],
            promise[END],
        )
        is_paid = (events[KIND] == PAYMENT) & (events[ITEM] == item)
        paid = events[:, is_paid & (events[DAY] >= made) & (events[DAY] <= last)]
        reached = np.flatnonzero(np.cumsum(paid[VALUE]) >= value)
        if len(reached):
            found.append((day_of(paid[DAY, reached[0]]), True))
        elif last < today:
            found.append((day_of(last + 1), False))
    return sorted(found)


def _is_open_dispute(events: Ints) -> NDArray[np.bool_]:
    return (events[KIND] == DISPUTE) & (events[END] == OPEN_END)  # type: ignore[no-any-return]


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
