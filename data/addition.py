"""Items and payments that were added to a stored account since it was packed.

Packing an account anew costs 0.5 ms, because all rows of the customer are read and
written. Rows that only add to it are kept beside it, and put in their places when the
account is read: the result is the account that all rows together make, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import orjson

from obligor.arrays import Bools, Ints
from obligor.data.account import (
    Account,
    Events,
    Items,
    packed_columns,
)
from obligor.data.account_building import in_order
from obligor.data.settling import rough_items

_HEAD = 3
_ITEM_COLUMNS = len(Items._fields)
_EVENT_COLUMNS = len(Events._fields)


@dataclass(frozen=True)
class Addition:
    """What was added to the account of one customer.

    Attributes
    ----------
    n_parts : int
        How many updates it comes from; each has source rows of its own.
    currencies : tuple of str
        The currencies up to the last one in use by the items added.
    invoice_ids : list of str
        The ids of the items, none of which the account has.
    items : Items
        The items; ``document`` has no meaning yet.
    paid_ids : list of str
        The id of the item of each event.
    events : Events
        The payments and credit notes in the order in which they arrived; ``item`` has
        no meaning yet.
    """

    n_parts: int
    currencies: tuple[str, ...]
    invoice_ids: list[str]
    items: Items
    paid_ids: list[str]
    events: Events

    @property
    def n_rows(self) -> int:
        """How many rows were added."""
        return len(self.invoice_ids) + len(self.paid_ids)

    def followed_by(self, other: Addition) -> Addition:
        """Return what this addition and a later one add together."""
        longest = max(self.currencies, other.currencies, key=len)
        return Addition(
            n_parts=self.n_parts + other.n_parts,
            currencies=longest,
            invoice_ids=self.invoice_ids + other.invoice_ids,
            items=Items._make(_joined(self.items, other.items)),
            paid_ids=self.paid_ids + other.paid_ids,
            events=Events._make(_joined(self.events, other.events)),
        )

    def packed(self) -> bytes:
        """Return the addition as bytes; `unpacked_addition` reads them."""
        counts = [self.n_parts, len(self.invoice_ids), len(self.paid_ids)]
        texts = [self.currencies, self.invoice_ids, self.paid_ids]
        parts = [
            np.array(counts, dtype=np.int64).tobytes(),
            packed_columns(self.items),
            packed_columns(self.events),
            orjson.dumps(texts),
        ]
        return b"".join(parts)


def unpacked_addition(packed: bytes) -> Addition:
    """Return the addition that `Addition.packed` wrote."""
    n_parts, n_items, n_events = np.frombuffer(packed, np.int64, _HEAD).tolist()
    offset = 8 * _HEAD
    items = np.frombuffer(packed, np.int64, _ITEM_COLUMNS * n_items, offset)
    offset += items.nbytes
    events = np.frombuffer(packed, np.int64, _EVENT_COLUMNS * n_events, offset)
    offset += events.nbytes
    currencies, invoice_ids, paid_ids = orjson.loads(memoryview(packed)[offset:])
    return Addition(
        n_parts=n_parts,
        currencies=tuple(currencies),
        invoice_ids=invoice_ids,
        items=Items(*items.reshape(_ITEM_COLUMNS, n_items)),
        paid_ids=paid_ids,
        events=Events(*events.reshape(_EVENT_COLUMNS, n_events)),
    )


def _joined(
    earlier: tuple[Ints, ...],
    later: tuple[Ints, ...],
) -> list[Ints]:
    return [
        np.concatenate([column, added])
        for column, added in zip(earlier, later, strict=True)
    ]


def with_addition(account: Account, addition: Addition) -> Account:
    """Return a stored account with what was added to it.

    Parameters
    ----------
    account : Account
        As it was packed.
    addition : Addition
        Its items are not in the account; its events are of items of either.
    """
    ids = [*account.invoice_ids, *addition.invoice_ids]
    in_id_order = sorted(range(len(ids)), key=ids.__getitem__)
    invoice_ids = [ids[row] for row in in_id_order]
    order = np.array(in_id_order, dtype=np.int64)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    items = _all_items(account, addition, order, rank)
    events = _all_events(account, addition, rank, invoice_ids)
    is_rough = rough_items(items, events, _has_versions(invoice_ids))
    money = account.money
    document = np.where(money.document < 0, -1, rank[money.document])
    learnt_on = [
        account.last_learnt() if account.learnt_until is None else account.learnt_until,
        *addition.items.known_on.tolist(),
        *addition.events.known_on.tolist(),
    ]
    currencies = max(account.currencies, addition.currencies, key=len)
    return replace(
        account,
        currencies=currencies,
        invoice_ids=invoice_ids,
        items=items,
        events=events,
        money=money._replace(document=document),
        learnt_until=max(learnt_on),
        is_plain=not is_rough.any() and len(account.money.day) == 0,
    )


def _has_versions(invoice_ids: Sequence[str]) -> Bools:
    """Return which ids are there more than once; they are sorted, shape (n,)."""
    is_like_next = [earlier == later for earlier, later in pairwise(invoice_ids)]
    has_versions = np.zeros(len(invoice_ids), dtype=bool)
    has_versions[:-1] |= np.array(is_like_next, dtype=bool)
    has_versions[1:] |= np.array(is_like_next, dtype=bool)
    return has_versions


def _all_items(
    account: Account,
    addition: Addition,
    order: Ints,
    rank: Ints,
) -> Items:
    """Return the items of an account and of an addition to it, by id."""
    n_earlier = len(account.invoice_ids)
    own_numbers = np.arange(n_earlier, len(order))
    added = addition.items._replace(document=own_numbers)
    items = Items._make(_joined(account.items, added))
    # The documents that were there keep their first item: the order among their items
    # is as before.
    numbered = items._replace(document=rank[items.document])
    return Items._make(column[order] for column in numbered)


def _all_events(
    account: Account,
    addition: Addition,
    rank: Ints,
    invoice_ids: Sequence[str],
) -> Events:
    """Return the events of an account and of an addition to it, in their order."""
    if not addition.paid_ids:
        return account.events._replace(item=rank[account.events.item])
    # Of several versions the first.
    item_of: dict[str, int] = {}
    for item, invoice_id in enumerate(invoice_ids):
        item_of.setdefault(invoice_id, item)
    paid = np.array([item_of[invoice_id] for invoice_id in addition.paid_ids])
    stored = account.events._replace(item=rank[account.events.item])
    added = addition.events._replace(item=paid)
    return in_order(Events._make(_joined(stored, added)))
