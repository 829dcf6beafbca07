"""What is open and overdue of each item."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import numpy as np

from obligor.arrays import Bools, Floats, Ints
from obligor.data.account import (
    CREDIT_NOTE,
    DISPUTE,
    PAYMENT,
    PROMISE,
    WRITE_OFF,
    Account,
    Events,
    select,
)
from obligor.data.asof import KnownAccount
from obligor.data.days import OPEN_END, day_number, day_of
from obligor.data.rates import item_rates

_SETTLING = (PAYMENT, CREDIT_NOTE, WRITE_OFF)


def open_balances(account: Account) -> Ints:
    """Return what is open of each item, in its minor units, shape (items,)."""
    events = select(account.events, np.isin(account.events.kind, _SETTLING))
    # Not `balance[item] -= value`, which counts one event of several for an item.
    balance = account.items.amount.copy()
    np.subtract.at(balance, events.item, events.value)
    return np.maximum(balance, 0)


def open_items(account: Account) -> Ints:
    """Return the indices of the items with a balance, the oldest due first."""
    indices = np.flatnonzero(open_balances(account))
    return indices[np.argsort(account.items.due[indices], kind="stable")]


def is_open_dispute(events: Events) -> Bools:
    """Return whether each event is a dispute that is not resolved."""
    is_open: Bools = (events.kind == DISPUTE) & (events.end == OPEN_END)
    return is_open


def has_open_dispute(account: Account) -> bool:
    """Return whether any dispute is not resolved."""
    return bool(is_open_dispute(account.events).any())


class SettledPromise(NamedTuple):
    """A promise to pay whose outcome is known, and the day on which it became so."""

    settled_on: date
    is_kept: bool


def settled_promises(known: KnownAccount) -> list[SettledPromise]:
    """Return the promises that were kept or broken by the as-of date, by day.

    A promise is kept on the day by which as much as promised has been paid since it was
    made. It is broken on the day after its last day.
    """
    events = known.account.events
    promises = np.flatnonzero(events.kind == PROMISE)
    if not len(promises):
        return []
    today = day_number(known.as_of)
    # Only the columns that are read: 19 us an account, 29 with whole events selected.
    is_payment = events.kind == PAYMENT
    paid_item = events.item[is_payment]
    paid_day = events.day[is_payment]
    paid_value = events.value[is_payment]
    settled = []
    for item, made, amount, last in zip(
        events.item[promises].tolist(),
        events.day[promises].tolist(),
        events.value[promises].tolist(),
        events.end[promises].tolist(),
        strict=True,
    ):
        is_in_time = (paid_item == item) & (paid_day >= made) & (paid_day <= last)
        is_reached = np.cumsum(paid_value[is_in_time]) >= amount
        if is_reached.any():
            kept_on = day_of(paid_day[is_in_time][is_reached.argmax()])
            settled.append(SettledPromise(kept_on, is_kept=True))
        elif last < today:
            settled.append(SettledPromise(day_of(last + 1), is_kept=False))
    return sorted(settled)


@dataclass(frozen=True)
class OverdueItems:
    """The items past due on the as-of date, amounts in the reporting currency.

    Attributes
    ----------
    index : array of int, shape (n,)
        The item's index in `Account.items`.
    balance : array of float, shape (n,)
        What is open of it.
    rate : array of float, shape (n,)
        What a minor unit of it is worth.
    days_late : array of int, shape (n,)
        Days past due, 1 or more.
    is_disputed : array of bool, shape (n,)
        Whether a dispute about it is open.
    """

    index: Ints
    balance: Floats
    rate: Floats
    days_late: Ints
    is_disputed: Bools

    @classmethod
    def of(cls, known: KnownAccount) -> OverdueItems:
        """Return the overdue items of an account on its as-of date."""
        account = known.account
        balance = open_balances(account)
        days_late = day_number(known.as_of) - account.items.due
        index = np.flatnonzero((balance > 0) & (days_late > 0))
        rate = item_rates(account)[index]
        disputed_items = account.events.item[is_open_dispute(account.events)]
        return cls(
            index=index,
            balance=balance[index] * rate,
            rate=rate,
            days_late=days_late[index],
            is_disputed=np.isin(index, disputed_items),
        )

    def promised(self, events: Events, today: int) -> float:
        """Return what of the undisputed items is promised by a day not yet past.

        Parameters
        ----------
        events : Events
            The account's events.
        today : int
            The as-of date, in days since 1970-01-01.

        Returns
        -------
        float
            In the reporting currency; per item at most its balance.
        """
        is_running = (events.kind == PROMISE) & (events.end >= today)
        promises = select(events, is_running)
        total = 0.0
        for row in np.flatnonzero(~self.is_disputed).tolist():
            amount = promises.value[promises.item == self.index[row]].sum()
            promised = float(amount * self.rate[row])
            total += min(promised, float(self.balance[row]))
        return total
