"""What a customer owes by age, and since when a material part of it is past due."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from obligor.policy.rulebooks.rulebook import Materiality

_ZERO = Decimal(0)


class OverdueItem(NamedTuple):
    """An open item past due.

    Attributes
    ----------
    days_late : int
        Days past due, 1 or more.
    amount : Decimal
        What is open of it, in the reporting currency.
    """

    days_late: int
    amount: Decimal


@dataclass(frozen=True)
class Ageing:
    """What a customer owes by age, in the reporting currency.

    Attributes
    ----------
    open_amount : Decimal
        The sum of its open items, due or not.
    overdue_items : tuple of OverdueItem
        The items past due, the oldest first.
    unapplied : Decimal
        Money of the customer that belongs to no item. It counts against the oldest
        items.
    """

    open_amount: Decimal
    overdue_items: tuple[OverdueItem, ...] = ()
    unapplied: Decimal = _ZERO

    @property
    def owed(self) -> Decimal:
        """The net position: what is open less the unapplied money, never below 0."""
        return max(self.open_amount - self.unapplied, _ZERO)

    @property
    def oldest_dpd_days(self) -> int:
        """Days past due of the oldest item, however small; 0 if none is past due."""
        return self.overdue_items[0].days_late if self.overdue_items else 0

    def overdue_beyond(self, days: int) -> Decimal:
        """Return what is more than so many days past due, less the unapplied money.

        Examples
        --------
        >>> items = (OverdueItem(200, Decimal(5)), OverdueItem(3, Decimal(20_000)))
        >>> ageing = Ageing(Decimal(20_005), items)
        >>> ageing.overdue_beyond(0), ageing.overdue_beyond(90)
        (Decimal('20005'), Decimal('5'))
        """
        amounts = [item.amount for item in self.overdue_items if item.days_late > days]
        return max(sum(amounts, _ZERO) - self.unapplied, _ZERO)

    def material_dpd_days(self, materiality: Materiality) -> int:
        """Return the days for which a material amount has been past due.

        It is the largest number of days for which all that is past due so long or
        longer is material together; 0 if there is none.

        Examples
        --------
        A bank kept 5.00 of a payment half a year ago; since then 20,000 fell due:

        >>> items = (OverdueItem(200, Decimal(5)), OverdueItem(3, Decimal(20_000)))
        >>> materiality = Materiality(Decimal(100), Decimal("0.01"))
        >>> Ageing(Decimal(20_005), items).material_dpd_days(materiality)
        3
        """
        overdue = -self.unapplied
        threshold = materiality.threshold(self.owed)
        for item in self.overdue_items:
            overdue += item.amount
            if overdue > threshold:
                return item.days_late
        return 0
