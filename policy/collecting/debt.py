"""The overdue debt of one customer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from obligor.policy.collecting.priority import AccountAge, Arrears

_ZERO = Decimal(0)


class OpenAmount(NamedTuple):
    """What was open of an item from a day on, in the item's currency."""

    since: date
    amount: Decimal


@dataclass(frozen=True)
class LateItem:
    """An item past due, with what was open of it from day to day.

    Attributes
    ----------
    issued_on, due_on : date
        When it was issued, and when it was due.
    currency : str
        Its currency.
    rate : Decimal
        Units of the reporting currency for one unit of it.
    open_amounts : tuple of OpenAmount
        By day; the first is of the day of issue. Money that came in on a day is taken
        off from the next day on.
    disputed : Decimal
        What is in an open dispute, in its currency.
    """

    issued_on: date
    due_on: date
    currency: str
    rate: Decimal
    open_amounts: tuple[OpenAmount, ...]
    disputed: Decimal = _ZERO

    def open_on(self, day: date) -> Decimal:
        """Return what was open at the beginning of a day."""
        amount = _ZERO
        for step in self.open_amounts:
            if step.since <= day:
                amount = step.amount
        return amount


@dataclass(frozen=True)
class Debt:
    """A customer's overdue debt as collectors see it, in the reporting currency.

    Attributes
    ----------
    overdue : Decimal
        Open amount past its due date.
    dpd_days : Decimal
        Days past due of the oldest item, or those for which a material amount has been
        past due under rules that say what is material.
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
    unapplied : Decimal
        Money of the customer that belongs to no item.
    in_default : Decimal, optional
        What is undisputed and more than 90 days past due; None if the age of the oldest
        item counts for all of it.
    late_items : tuple of LateItem
        The items past due, for the law on late interest; empty under rules in which it
        is one table.
    law_rate : Decimal, optional
        Units of the reporting currency for one unit of the currency in which the law
        states the compensation; None if it is not needed or not known.
    oldest_dpd_days : Decimal, optional
        Days past due of the oldest item, however small; None if it is `dpd_days`.
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
    unapplied: Decimal = _ZERO
    in_default: Decimal | None = None
    oldest_dpd_days: Decimal | None = None
    late_items: tuple[LateItem, ...] = ()
    law_rate: Decimal | None = None

    @property
    def workable(self) -> Decimal:
        """The amount a collector can ask for.

        It is neither disputed nor promised, and not covered by unapplied money.
        """
        excused = self.disputed + self.promised + self.unapplied
        return max(self.overdue - excused, _ZERO)

    @property
    def age(self) -> AccountAge:
        """How much is past due, and for how long."""
        oldest_dpd_days = self.oldest_dpd_days
        if oldest_dpd_days is None:
            oldest_dpd_days = self.dpd_days
        return AccountAge(
            dpd_days=oldest_dpd_days,
            overdue_amount=max(self.overdue - self.unapplied, _ZERO),
            material_dpd_days=self.dpd_days,
            unapplied_amount=self.unapplied,
        )

    @property
    def arrears(self) -> Arrears:
        """The workable amount, as the priority is computed from it."""
        in_default = self.in_default
        if in_default is not None:
            # Unapplied money counts against the oldest items.
            in_default = max(in_default - self.unapplied, _ZERO)
            in_default = min(in_default, self.workable)
        return Arrears(
            amount=self.workable,
            dpd_days=self.dpd_days,
            pd_12m=self.pd_12m,
            currency=self.currency,
            in_default=in_default,
        )
