"""What is open and overdue of each item."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import numpy as np

from obligor.arrays import Bools, Floats, Ints
from obligor.data.account import (
    DISPUTE,
    FIRST_ACCOUNTING,
    PAYMENT,
    PROMISE,
    WRITE_OFF,
    Account,
    Events,
    select,
)
from obligor.data.asof import KnownAccount
from obligor.data.days import OPEN_END, day_number, day_of
from obligor.data.promises import EventColumns, progress
from obligor.data.rates import closing_rates

# The kinds that reduce a balance are the first three.
_LAST_SETTLING = WRITE_OFF


def open_balances(account: Account) -> Ints:
    """Return what is open of each item, in its minor units, shape (items,)."""
    events = account.events
    # 37 us an account of 42 items; with `np.isin` and every column it was 69.
    is_settling = events.kind <= _LAST_SETTLING
    # Not `balance[item] -= value`, which counts one event of several for an item.
    balance = account.items.amount.copy()
    np.subtract.at(balance, events.item[is_settling], events.value[is_settling])
    return np.maximum(balance, 0)


def open_items(account: Account) -> Ints:
    """Return the indices of the items with a balance, the oldest due first."""
    indices = np.flatnonzero(open_balances(account))
    return indices[np.argsort(account.items.due[indices], kind="stable")]


def is_open_dispute(events: Events) -> Bools:
    """Return whether each event is a dispute that is not resolved."""
    is_open: Bools = (events.kind == DISPUTE) & (events.end == OPEN_END)
    return is_open


def disputed_amounts(account: Account) -> Ints:
    """Return what is disputed of each item, in its minor units, shape (items,).

    A dispute without an amount is about the whole item. More may be disputed than is
    open.
    """
    events = select(account.events, is_open_dispute(account.events))
    amount = account.items.amount
    is_of_part = events.value > 0
    values = np.where(is_of_part, events.value, amount[events.item])
    disputed = np.zeros(len(amount), dtype=np.int64)
    np.add.at(disputed, events.item, values)
    return disputed


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
    made; see `data.promises.progress`. It is broken on the day after its last day.
    """
    today = day_number(known.as_of)
    settled = []
    for promise in _promises(known.account):
        if promise.kept_on <= promise.pay_by:
            kept_on = day_of(promise.kept_on)
            settled.append(SettledPromise(kept_on, is_kept=True))
        elif promise.pay_by < today:
            broken_on = day_of(promise.pay_by + 1)
            settled.append(SettledPromise(broken_on, is_kept=False))
    return sorted(settled)


class _FollowedPromise(NamedTuple):
    """A promise of an item, amounts in minor units, days as in `Events`."""

    item: int
    pay_by: int
    amount: int
    missing: int
    kept_on: int


def _promises(account: Account) -> Iterator[_FollowedPromise]:
    """Yield the promises of an account, each with what was paid of it."""
    is_promise = account.events.kind == PROMISE
    if not is_promise.any():
        return
    # Only what is paid on an item with a promise matters.
    items = np.unique(account.events.item[is_promise])
    is_read = is_promise | (account.events.kind == PAYMENT)
    events = select(account.events, is_read & np.isin(account.events.item, items))
    columns = EventColumns(events.kind, events.day, events.value, events.end)
    counts_once = account.accounting > FIRST_ACCOUNTING
    firsts = np.searchsorted(events.item, items).tolist()
    stops = np.searchsorted(events.item, items, side="right").tolist()
    kinds = events.kind.tolist()
    ends = events.end.tolist()
    amounts = events.value.tolist()
    for item, first, stop in zip(items.tolist(), firsts, stops, strict=True):
        state = progress(columns, first, stop, counts_once)
        for row_index in range(first, stop):
            if kinds[row_index] == PROMISE:
                yield _FollowedPromise(
                    item=item,
                    pay_by=ends[row_index],
                    amount=amounts[row_index],
                    missing=state.missing.item(row_index - first),
                    kept_on=state.kept_on.item(row_index - first),
                )


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
    disputed : array of float, shape (n,)
        What of the balance is disputed.
    """

    index: Ints
    balance: Floats
    rate: Floats
    days_late: Ints
    disputed: Floats

    @classmethod
    def of(cls, known: KnownAccount) -> OverdueItems:
        """Return the overdue items of an account on its as-of date."""
        account = known.account
        balance = open_balances(account)
        days_late = day_number(known.as_of) - account.items.due
        index = np.flatnonzero((balance > 0) & (days_late > 0))
        rate = closing_rates(known)[index]
        disputed = np.minimum(disputed_amounts(account), balance)
        return cls(
            index=index,
            balance=balance[index] * rate,
            rate=rate,
            days_late=days_late[index],
            disputed=disputed[index] * rate,
        )

    def promised(self, known: KnownAccount) -> float:
        """Return what of the undisputed amounts is promised by a day not yet past.

        By the first version of accounting the whole amount of a promise counts, also
        what was paid of it; a later one leaves that out.

        Parameters
        ----------
        known : KnownAccount
            The account whose overdue items these are.

        Returns
        -------
        float
            In the reporting currency; per item at most its undisputed balance.
        """
        today = day_number(known.as_of)
        counts_once = known.account.accounting > FIRST_ACCOUNTING
        amounts = np.zeros(len(known.account.items.due), dtype=np.int64)
        for promise in _promises(known.account):
            if promise.pay_by >= today:
                amount = promise.missing if counts_once else promise.amount
                amounts[promise.item] += amount
        promised = amounts[self.index] * self.rate
        undisputed = self.balance - self.disputed
        return float(sum(np.minimum(promised, undisputed).tolist()))
