"""What is left of an account's rows when what they undo and pay is worked out.

A stored account holds each row as it was told: a payment that came back, money without
an item, a due date that was extended. Behind the gate an account holds what follows
from them on that day: payments, credit notes and write-offs that stand, on items that
stand, and the money of the customer that is left. The steps are those of an accountant:

1. The due day of an item is that of its last extension.
2. A cancelled item is gone; what was paid for it is money of the customer.
3. An amount below 0 undoes earlier ones of its item and kind.
4. What is paid and credited beyond the amount of an item is money of the customer.
5. Money that was returned, paid out or allocated is taken from the customer's money, or
   else from what was paid for items.
6. Money for a document pays its items. All that is left pays the open items, the
   oldest due first, unless the ledger says that it stays as it was allocated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from obligor.arrays import Bools, Ints
from obligor.data.account import (
    CANCELLATION,
    CREDIT_NOTE,
    EVENT_TABLES,
    EXTENSION,
    OLDEST_FIRST,
    PAYMENT,
    PROMISE,
    WRITE_OFF,
    Account,
    Events,
    Items,
    Money,
    select,
)
from obligor.data.days import OPEN_END

_ORDERS = {
    PAYMENT: list(EVENT_TABLES).index("payments"),
    CREDIT_NOTE: list(EVENT_TABLES).index("payments"),
    WRITE_OFF: list(EVENT_TABLES).index("write_offs"),
}


def rough_items(items: Items, events: Events, has_versions: Bools) -> Bools:
    """Return which items have something to settle, shape (items,).

    Parameters
    ----------
    items : Items
        The items of one or more accounts.
    events : Events
        Their events.
    has_versions : array of bool, shape (items,)
        Whether an item is in the table more than once.
    """
    n_items = len(items.amount)
    is_settling = np.isin(events.kind, (PAYMENT, CREDIT_NOTE))
    settled = np.zeros(n_items, dtype=np.int64)
    np.add.at(settled, events.item[is_settling], events.value[is_settling])
    is_rough: Bools = has_versions | (items.until < OPEN_END)
    is_rough |= settled > items.amount
    is_rough_event = (
        (events.value < 0) | (events.kind > PROMISE) | (events.until < OPEN_END)
    )
    is_rough[events.item[is_rough_event]] = True
    return is_rough


@dataclass
class _Booking:
    """An amount that was paid, credited or written off, and still stands."""

    day: int
    kind: int
    value: int
    known_on: int
    document: int


@dataclass(frozen=True)
class _Undoing:
    """An amount that takes from earlier ones of its kind."""

    day: int
    kind: int
    value: int
    undone_day: int
    known_on: int
    document: int


@dataclass
class _Purse:
    """The money of the customer in one currency, and what is to be taken from it."""

    bookings: list[_Booking] = field(default_factory=list)
    undoings: list[_Undoing] = field(default_factory=list)


@dataclass
class _Item:
    """An item with what is booked on it."""

    index: int
    due: int
    amount: int
    currency: int
    known_on: int
    document: int
    bookings: list[_Booking] = field(default_factory=list)
    undoings: list[_Undoing] = field(default_factory=list)
    is_cancelled: bool = False

    def booked(self, kinds: Sequence[int]) -> int:
        """Return what is booked in some kinds."""
        return sum(booking.value for booking in self.bookings if booking.kind in kinds)

    def balance(self) -> int:
        """Return what is open."""
        booked = self.booked((PAYMENT, CREDIT_NOTE, WRITE_OFF))
        return max(self.amount - booked, 0)


def settled(account: Account) -> Account:
    """Return an account of which each row stands as it is.

    Parameters
    ----------
    account : Account
        What is known on a day: one version of each item, no row that is not known.

    Returns
    -------
    Account
        Its events are payments, credit notes and write-offs above 0, disputes and
        promises; `Account.money` is what is left of the customer's money.
    """
    items = _items_of(account)
    purses = _purses_of(account)
    is_matched = True
    for item in items:
        is_matched &= _settle_item(item, purses.setdefault(item.currency, _Purse()))
    standing = [item for item in items if not item.is_cancelled]
    for currency, purse in purses.items():
        own = [item for item in standing if item.currency == currency]
        is_matched &= _settle_purse(purse, own)
        _pay_documents(purse, own)
        if account.unapplied_policy == OLDEST_FIRST:
            _pay(purse.bookings, own)
    return replace(
        account,
        invoice_ids=[account.invoice_ids[item.index] for item in standing],
        items=_standing_items(account.items, standing),
        events=_standing_events(account.events, standing),
        money=_money_left(purses),
        is_plain=True,
        has_unmatched=not is_matched,
    )


def _items_of(account: Account) -> list[_Item]:
    """Return the items with what is booked on them, extensions and cancellations."""
    columns = zip(
        account.items.due.tolist(),
        account.items.amount.tolist(),
        account.items.currency.tolist(),
        account.items.known_on.tolist(),
        account.items.document.tolist(),
        strict=True,
    )
    items = [_Item(index, *row) for index, row in enumerate(columns)]
    events = account.events
    extended = dict[int, tuple[int, int]]()
    for row_index in range(len(events.item)):
        item = items[events.item[row_index]]
        kind = int(events.kind[row_index])
        if kind == CANCELLATION:
            item.is_cancelled = True
        elif kind == EXTENSION:
            said = (int(events.day[row_index]), int(events.known_on[row_index]))
            if said >= extended.get(item.index, said):
                extended[item.index] = said
                item.due = int(events.end[row_index])
        elif kind in _ORDERS:
            _book(item, events, row_index, item.document)
    return items


def _book(
    place: _Item | _Purse,
    rows: Events | Money,
    row_index: int,
    document: int,
) -> None:
    """Book one row where it belongs: an amount that stands, or one that undoes."""
    value = int(rows.value[row_index])
    day = int(rows.day[row_index])
    kind = int(rows.kind[row_index])
    known_on = int(rows.known_on[row_index])
    if value >= 0:
        place.bookings.append(_Booking(day, kind, value, known_on, document))
    else:
        undone_day = int(rows.end[row_index])
        place.undoings.append(
            _Undoing(day, kind, -value, undone_day, known_on, document)
        )


def _purses_of(account: Account) -> dict[int, _Purse]:
    """Return the money without an item, by currency."""
    purses = dict[int, _Purse]()
    money = account.money
    documents = money.document.tolist()
    for row_index, currency in enumerate(money.currency.tolist()):
        purse = purses.setdefault(currency, _Purse())
        _book(purse, money, row_index, documents[row_index])
    return purses


def _settle_item(item: _Item, purse: _Purse) -> bool:
    """Work out what stands on one item; what does not belong to it goes to the purse.

    Returns whether every undoing row found what it undoes.
    """
    is_matched = True
    item.bookings.sort(key=_latest_first)
    for undoing in sorted(item.undoings, key=_in_order):
        own = [booking for booking in item.bookings if booking.kind == undoing.kind]
        missing = _take(undoing, own)
        if not missing or (item.is_cancelled and undoing.kind != PAYMENT):
            continue
        if undoing.kind == WRITE_OFF:
            is_matched = False
        else:
            purse.undoings.append(_with_value(undoing, missing))
    if item.is_cancelled:
        purse.bookings += [
            booking for booking in item.bookings if booking.kind == PAYMENT
        ]
        return is_matched
    excess = item.booked((PAYMENT, CREDIT_NOTE)) - item.amount
    for booking in item.bookings:
        if excess <= 0:
            break
        if booking.kind == WRITE_OFF:
            continue
        value = min(excess, booking.value)
        booking.value -= value
        excess -= value
        purse.bookings.append(replace(booking, value=value))
    return is_matched


def _with_value(undoing: _Undoing, value: int) -> _Undoing:
    """Return what is left of an undoing row."""
    return replace(undoing, value=value)


def _latest_first(booking: _Booking) -> tuple[int, ...]:
    # Every column counts: what is left must not depend on the order of the rows.
    return (
        -booking.day,
        -booking.kind,
        -booking.known_on,
        -booking.value,
        -booking.document,
    )


def _in_order(undoing: _Undoing) -> tuple[int, ...]:
    return (
        undoing.day,
        undoing.kind,
        -undoing.value,
        undoing.undone_day,
        undoing.document,
    )


def _take(undoing: _Undoing, bookings: Iterable[_Booking]) -> int:
    """Take an amount from bookings, the likeliest first; return what is missing.

    Parameters
    ----------
    undoing : _Undoing
        The row that takes.
    bookings : iterable of _Booking
        What it may take from; of equally likely ones, the first.
    """
    missing = undoing.value
    for booking in sorted(bookings, key=_likeliest_first(undoing)):
        value = min(missing, booking.value)
        booking.value -= value
        missing -= value
    return missing


def _likeliest_first(undoing: _Undoing) -> Callable[[_Booking], tuple[int, ...]]:
    """Return how likely a booking is what a row undoes, the smallest first.

    First what is of its document; then of the day that the row names; then what was
    booked by its own day, as nothing comes back before it came; then an equal amount;
    then the latest.
    """

    def key(booking: _Booking) -> tuple[int, ...]:
        return (
            booking.document != undoing.document,
            booking.day != undoing.undone_day,
            booking.day > undoing.day,
            booking.value != undoing.value,
            -booking.day,
        )

    return key


def _settle_purse(purse: _Purse, items: Sequence[_Item]) -> bool:
    """Take what was returned, paid out or allocated; return whether all was there.

    It is taken from the customer's money, then from what is paid on items, the last due
    first; each time of its own kind first.
    """
    on_items = list[_Booking]()
    for item in sorted(items, key=_due, reverse=True):
        on_items += [booking for booking in item.bookings if booking.kind != WRITE_OFF]
    purse.bookings.sort(key=_latest_first)
    is_matched = True
    for undoing in sorted(purse.undoings, key=_in_order):
        missing = undoing.value
        for bookings in (purse.bookings, on_items):
            own = [booking for booking in bookings if booking.kind == undoing.kind]
            missing = _take(_with_value(undoing, missing), own)
            missing = _take(_with_value(undoing, missing), bookings)
        is_matched = is_matched and missing == 0
    return is_matched


def _due(item: _Item) -> tuple[int, int]:
    return item.due, item.index


def _pay_documents(purse: _Purse, items: Sequence[_Item]) -> None:
    """Pay the open items of each document with the money that is for it."""
    for booking in reversed(purse.bookings):
        if booking.document >= 0:
            own = [item for item in items if item.document == booking.document]
            _pay([booking], own)


def _pay(money: Sequence[_Booking], items: Sequence[_Item]) -> None:
    """Pay open items, the oldest due first, with money in the order it came."""
    oldest_first = sorted(money, key=_latest_first, reverse=True)
    for item in sorted(items, key=_due):
        balance = item.balance()
        for booking in oldest_first:
            value = min(balance, booking.value)
            if value == 0:
                continue
            booking.value -= value
            balance -= value
            known_on = max(booking.known_on, item.known_on)
            payment = replace(
                booking,
                value=value,
                known_on=known_on,
                document=item.document,
            )
            item.bookings.append(payment)


def _standing_items(items: Items, standing: Sequence[_Item]) -> Items:
    rows = np.array([item.index for item in standing], dtype=np.int64)
    due = np.array([item.due for item in standing], dtype=np.int64)
    first_items = dict[int, int]()
    for index, item in enumerate(standing):
        first_items.setdefault(item.document, index)
    documents = [first_items[item.document] for item in standing]
    document = np.array(documents, dtype=np.int64)
    return select(items, rows)._replace(due=due, document=document)


def _standing_events(events: Events, standing: Sequence[_Item]) -> Events:
    """Return what stands on the items: bookings, and disputes and promises as told."""
    rows = list[tuple[int, ...]]()
    new_index = {item.index: index for index, item in enumerate(standing)}
    for index, item in enumerate(standing):
        for booking in item.bookings:
            if booking.value > 0:
                rows.append(
                    (
                        index,
                        booking.day,
                        _ORDERS[booking.kind],
                        booking.kind,
                        booking.value,
                        OPEN_END,
                        booking.known_on,
                        OPEN_END,
                    )
                )
    is_agreed = (events.kind <= PROMISE) & ~np.isin(events.kind, tuple(_ORDERS))
    agreed = select(events, is_agreed)
    for row in zip(*(column.tolist() for column in agreed), strict=True):
        if row[0] in new_index:
            rows.append((new_index[row[0]], *row[1:]))
    matrix = np.array(rows, dtype=np.int64).reshape(-1, len(Events._fields))
    order = np.lexsort((matrix[:, 2], matrix[:, 1], matrix[:, 0]))
    return Events._make(np.ascontiguousarray(matrix[order].T))


def _money_left(purses: dict[int, _Purse]) -> Money:
    rows = [
        (
            booking.day,
            booking.kind,
            booking.value,
            currency,
            OPEN_END,
            booking.known_on,
            OPEN_END,
            -1,
        )
        for currency, purse in purses.items()
        for booking in purse.bookings
        if booking.value > 0
    ]
    rows.sort()
    matrix = np.array(rows, dtype=np.int64).reshape(-1, len(Money._fields))
    return Money._make(np.ascontiguousarray(matrix.T))


def unapplied(account: Account) -> Ints:
    """Return the money of the customer by currency, minor units, as `currencies`."""
    totals = np.zeros(len(account.currencies), dtype=np.int64)
    np.add.at(totals, account.money.currency, account.money.value)
    return totals
