"""What a customer could do: pay items, settle disputes; the account that would follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from obligor.arrays import Ints
from obligor.data.account import DAY, END, ITEM, ORDER, PAYMENT
from obligor.data.asof import KnownAccount
from obligor.data.days import OPEN_END, day_number
from obligor.data.open_items import _is_open_dispute, open_balances

_ORDER_OF_PAYMENTS = (
    2  # among the events of one item and day: behind promises and disputes
)


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
