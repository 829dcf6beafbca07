"""What one customer owes that is overdue."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from obligor.policy.collecting.priority import _NOTHING


@dataclass(frozen=True)
class Debt:
    """What a customer owes past its day, as collectors see it, in the reporting currency.

    Attributes
    ----------
    disputed, promised : Decimal
        Of the overdue amount: in dispute, and promised by a day that has not passed.
    amount_days : Decimal
        The sum over items of open amount x days past due.
    n_items : int
        Items past due.
    last_broken_on : date, optional
        When the last promise a collector took was broken.
    contacts_today : int
        Contacts made on the as-of date.
    next_contact_on : date, optional
        What the last contact fixed.
    """

    customer_id: str
    currency: str
    overdue: Decimal
    dpd_days: Decimal
    pd_12m: Decimal
    customer_class: str
    disputed: Decimal = _NOTHING
    promised: Decimal = _NOTHING
    amount_days: Decimal = _NOTHING
    n_items: int = 1
    country: str = ""
    is_insured: bool = False
    last_broken_on: date | None = None
    contacts_today: int = 0
    next_contact_on: date | None = None

    @property
    def workable(self) -> Decimal:
        """What there is to ask for: neither disputed nor promised."""
        return max(self.overdue - self.disputed - self.promised, _NOTHING)
