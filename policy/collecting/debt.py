"""The overdue debt of one customer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from obligor.policy.collecting.priority import AccountAge, Arrears

_ZERO = Decimal(0)


@dataclass(frozen=True)
class Debt:
    """A customer's overdue debt as collectors see it, in the reporting currency.

    Attributes
    ----------
    overdue : Decimal
        Open amount past its due date.
    dpd_days : Decimal
        Days past due of the oldest item.
    pd_12m, customer_class : Decimal, str
        PD and class of the customer.
    disputed, promised : Decimal
        Parts of the overdue amount: in dispute, and promised by a day not yet past.
    amount_days : Decimal
        The sum over items of open amount x days past due.
    n_items : int
        Items past due.
    country : str
        ISO 3166 code of the customer's country, for the law on late interest.
    is_insured : bool
        Whether credit insurance covers the customer.
    last_broken_on : date, optional
        Day on which the last promise made to a collector was broken.
    contacts_today : int
        Contacts made on the as-of date.
    next_contact_on : date, optional
        Day agreed in the last contact.
    """

    customer_id: str
    currency: str
    overdue: Decimal
    dpd_days: Decimal
    pd_12m: Decimal
    customer_class: str
    disputed: Decimal = _ZERO
    promised: Decimal = _ZERO
    amount_days: Decimal = _ZERO
    n_items: int = 1
    country: str = ""
    is_insured: bool = False
    last_broken_on: date | None = None
    contacts_today: int = 0
    next_contact_on: date | None = None

    @property
    def workable(self) -> Decimal:
        """The amount a collector can ask for: neither disputed nor promised."""
        return max(self.overdue - self.disputed - self.promised, _ZERO)

    @property
    def age(self) -> AccountAge:
        """How much is past due, and for how long."""
        return AccountAge(self.dpd_days, self.overdue)

    @property
    def arrears(self) -> Arrears:
        """The workable amount, as the priority is computed from it."""
        return Arrears(self.workable, self.dpd_days, self.pd_12m, self.currency)
