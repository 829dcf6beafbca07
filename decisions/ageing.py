"""What a customer owes by age, from the account as it was known on a day."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

import numpy as np

from obligor.arrays import Floats, Ints
from obligor.data.asof import KnownAccount
from obligor.data.days import day_number
from obligor.data.money import minor_digits
from obligor.data.open_items import open_balances
from obligor.data.rates import closing_rates, unapplied_minor_units
from obligor.policy.credit.ageing import Ageing, OverdueItem


class AgedAmounts(NamedTuple):
    """What a customer owes by age, in whole minor units of the reporting currency.

    Amounts are floats, as an absurd amount at an absurd rate needs more than 64 bits.

    Attributes
    ----------
    open_amount : float
        The sum of the open items, due or not.
    days_late : Ints
        Days past due of each item past due, the oldest first.
    overdue : Floats
        What is open of it.
    unapplied : float
        Money of the customer that belongs to no item.
    """

    open_amount: float
    days_late: Ints
    overdue: Floats
    unapplied: float


def aged_amounts(known_account: KnownAccount) -> AgedAmounts:
    """Return what a customer owes by age.

    Items are rounded one by one, so that sums are exact.
    """
    account = known_account.account
    balance = open_balances(account)
    is_open = balance > 0
    minor_units = 10 ** minor_digits(account.currency)
    rates = closing_rates(known_account)[is_open]
    open_amounts = np.rint(balance[is_open] * rates * minor_units)
    days_late = day_number(known_account.as_of) - account.items.due[is_open]
    oldest_first = np.argsort(-days_late, kind="stable")
    overdue_rows = oldest_first[days_late[oldest_first] > 0]
    return AgedAmounts(
        open_amount=float(open_amounts.sum()),
        days_late=days_late[overdue_rows],
        overdue=open_amounts[overdue_rows],
        unapplied=unapplied_minor_units(known_account),
    )


def ageing_of(known_account: KnownAccount) -> Ageing:
    """Return what a customer owes by age, as the rules take it."""
    return exact_ageing(aged_amounts(known_account), known_account.account.currency)


def exact_ageing(aged: AgedAmounts, currency: str) -> Ageing:
    """Return amounts in minor units as the rules take them.

    Examples
    --------
    >>> aged = AgedAmounts(500.0, np.array([3]), np.array([250.0]), 0.0)
    >>> exact_ageing(aged, "EUR").overdue_items
    (OverdueItem(days_late=3, amount=Decimal('2.50')),)
    """
    digits = minor_digits(currency)

    def exact(minor_units: float) -> Decimal:
        return Decimal(int(minor_units)).scaleb(-digits)

    items = []
    for days_late, amount in zip(
        aged.days_late.tolist(),
        aged.overdue.tolist(),
        strict=True,
    ):
        items.append(OverdueItem(days_late, exact(amount)))
    return Ageing(
        open_amount=exact(aged.open_amount),
        overdue_items=tuple(items),
        unapplied=exact(aged.unapplied),
    )
