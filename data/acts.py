"""What an account would be had the customer acted on a day: paid open items, settled disputes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

from obligor.data.account import (
    AMOUNT,
    CREDIT_NOTE,
    DAY,
    DISPUTE,
    DUE,
    END,
    ITEM,
    KIND,
    OPEN_END,
    ORDER,
    PAYMENT,
    PROMISE,
    VALUE,
    WRITE_OFF,
    Account,
    Ints,
    day_number,
    day_of,
)
from obligor.data.asof import KnownAccount

_ORDER_OF_PAYMENTS = (
    2  # among the events of one item and day: behind promises and disputes
)


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


def with_payments(known: KnownAccount, places: Sequence[int] | Ints) -> KnownAccount:
    """Return the account after the open balance of some items was paid on the as-of date."""
    account, day = known.account, day_number(known.as_of)
    items = np.asarray(places, dtype=np.int64)
    paid = (
        np.array(
            [
                [item, day, _ORDER_OF_PAYMENTS, PAYMENT, balance, OPEN_END, day]
                for item, balance in zip(
                    items.tolist(), open_balances(account)[items].tolist(), strict=True
                )
            ],
            dtype=np.int64,
        )
        .reshape(-1, 7)
        .T
    )
    events = np.concatenate([account.events, paid], axis=1)
    events = np.ascontiguousarray(
        events[:, np.lexsort((events[ORDER], events[DAY], events[ITEM]))]
    )
    return KnownAccount(replace(account, events=events), known.as_of)


def with_disputes_settled(known: KnownAccount) -> KnownAccount:
    """Return the account after every dispute was resolved on the as-of date."""
    events = known.account.events.copy()
    events[END, _is_open_dispute(events)] = day_number(known.as_of)
    return KnownAccount(replace(known.account, events=events), known.as_of)


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
