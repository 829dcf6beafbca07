"""Acts of a customer: pay items, settle disputes; each gives the account after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from obligor.arrays import Ints
from obligor.data.account import EVENT_TABLES, PAYMENT, Events
from obligor.data.account_building import in_order
from obligor.data.asof import KnownAccount
from obligor.data.days import OPEN_END, day_number
from obligor.data.open_items import is_open_dispute, open_balances

_ORDER_OF_PAYMENTS = list(EVENT_TABLES).index("payments")


def with_payments(
    known_account: KnownAccount, items: Sequence[int] | Ints
) -> KnownAccount:
    """Return the account after some items were paid in full on the as-of date.

    Parameters
    ----------
    known_account : KnownAccount
        The account as it is.
    items : sequence of int
        Indices of the items to pay.

    Returns
    -------
    KnownAccount
        With a payment of the open balance for each of the items.
    """
    account = known_account.account
    item = np.asarray(items, dtype=np.int64)
    day = np.full(len(item), day_number(known_account.as_of))
    payments = Events(
        item=item,
        day=day,
        order=np.full(len(item), _ORDER_OF_PAYMENTS),
        kind=np.full(len(item), PAYMENT),
        value=open_balances(account)[item],
        end=np.full(len(item), OPEN_END),
        known_on=day,
        until=np.full(len(item), OPEN_END),
    )
    columns = zip(account.events, payments, strict=True)
    events = in_order(Events._make(map(np.concatenate, columns)))
    return KnownAccount(replace(account, events=events), known_account.as_of)


def with_disputes_settled(known_account: KnownAccount) -> KnownAccount:
    """Return the account after every dispute was resolved on the as-of date."""
    events = known_account.account.events
    today = day_number(known_account.as_of)
    end = np.where(is_open_dispute(events), today, events.end)
    account = replace(known_account.account, events=events._replace(end=end))
    return KnownAccount(account, known_account.as_of)
