"""The credit file: entries people make about a customer, by name and until a day.

It holds analysts' marks, overrides, securities, limits set by hand, and groups.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from obligor.errors import PolicyError
from obligor.policy.credit.groups import Group

_ZERO = Decimal(0)
# For so long after a change, new payment details count as an event.
NEW_PAYMENT_DETAILS = timedelta(days=30)


@dataclass(frozen=True)
class Assessment:
    """A named analyst's four marks, 1 (worst) to 5 (best), valid through `expires_on`.

    Attributes
    ----------
    market_position, operating_capability, industry_risk, management_quality : int
        The marks; a high mark for industry risk means low risk.
    by : str
        The analyst.
    expires_on : date
        Last day on which the marks count.
    """

    market_position: int
    operating_capability: int
    industry_risk: int
    management_quality: int
    by: str
    expires_on: date

    @property
    def marks(self) -> dict[str, int]:
        """The four marks by name."""
        return {
            "market_position": self.market_position,
            "operating_capability": self.operating_capability,
            "industry_risk": self.industry_risk,
            "management_quality": self.management_quality,
        }

    @property
    def mean(self) -> Decimal:
        """The mean of the four marks.

        Examples
        --------
        >>> Assessment(4, 3, 3, 5, "A. Analyst", date(2025, 1, 1)).mean
        Decimal('3.75')
        """
        return Decimal(sum(self.marks.values())) / len(self.marks)


@dataclass(frozen=True)
class Override:
    """A grade set by a person, valid through `expires_on`."""

    grade: int
    by: str
    because: str
    expires_on: date


@dataclass(frozen=True)
class Security:
    """Collateral or credit insurance, valid through `expires_on`.

    It counts for its amount less the haircut.
    """

    kind: str
    amount: Decimal
    haircut: Decimal
    expires_on: date

    def value(self, as_of: date) -> Decimal:
        """Return the amount it covers on a day.

        Examples
        --------
        >>> bond = Security(
        ...     "guarantee", Decimal("100000"), Decimal("0.20"), date(2025, 6, 30)
        ... )
        >>> bond.value(date(2025, 6, 30)), bond.value(date(2025, 7, 1))
        (Decimal('80000.00'), Decimal('0'))
        """
        if as_of > self.expires_on:
            return _ZERO
        return self.amount * (1 - self.haircut)


@dataclass(frozen=True)
class TemporaryLimit:
    """A limit for a season: from one day through another, plus days of grace."""

    amount: Decimal
    starts_on: date
    ends_on: date
    grace_days: int
    by: str

    def is_in_force(self, as_of: date) -> bool:
        """Whether it applies on a day, grace included."""
        return self.starts_on <= as_of <= self.ends_on + timedelta(days=self.grace_days)


@dataclass(frozen=True)
class LimitEvent:
    """A limit set by a person.

    Attributes
    ----------
    kind : {"freeze", "reduce", "cancel"}
        Nothing beyond what is owed; no more than `amount`; nothing at all.
    by, because : str
        The person, and the reason.
    amount : Decimal
        The new limit of ``reduce``, in the reporting currency.
    """

    kind: str
    by: str
    because: str
    amount: Decimal = _ZERO


@dataclass(frozen=True)
class CreditFile:
    """The entries about a customer; money is in the reporting currency.

    Attributes
    ----------
    assessment, override, temporary_limit, limit_event : optional
        At most one of each.
    securities : tuple of Security
        Collateral and credit insurance.
    groups : tuple of Group
        The tree of groups the customer belongs to.
    payment_details_changed_on : date, optional
        Day on which the customer last changed its bank details.
    """

    assessment: Assessment | None = None
    override: Override | None = None
    securities: tuple[Security, ...] = ()
    temporary_limit: TemporaryLimit | None = None
    groups: tuple[Group, ...] = ()
    limit_event: LimitEvent | None = None
    payment_details_changed_on: date | None = None

    def has_event(self, as_of: date) -> bool:
        """Whether an early review is due: a limit set by hand, or new bank details."""
        if self.limit_event is not None:  # it has no end, so it calls every time
            return True
        changed_on = self.payment_details_changed_on
        if changed_on is None:
            return False
        return timedelta(0) <= as_of - changed_on <= NEW_PAYMENT_DETAILS

    def next_expiry(self, as_of: date) -> date | None:
        """Return the first day from `as_of` on which an entry of the file ends.

        Examples
        --------
        >>> bond = Security("guarantee", Decimal(1), Decimal(0), date(2025, 6, 30))
        >>> CreditFile(securities=(bond,)).next_expiry(date(2025, 6, 1))
        datetime.date(2025, 6, 30)
        """
        days = [security.expires_on for security in self.securities]
        if self.assessment:
            days.append(self.assessment.expires_on)
        if self.override:
            days.append(self.override.expires_on)
        if self.temporary_limit:
            days.append(self.temporary_limit.ends_on)
        return min((day for day in days if day >= as_of), default=None)

    def secured(self, as_of: date) -> Decimal:
        """Return the value of collateral and insurance on a day, after haircuts."""
        return sum((security.value(as_of) for security in self.securities), _ZERO)


NOTHING_ON_FILE = CreditFile()


def require_money(amounts: Iterable[tuple[str, Decimal]]) -> None:
    """Refuse an amount that is negative or not finite.

    Parameters
    ----------
    amounts : iterable of (str, Decimal)
        Each amount with the name of its field.

    Raises
    ------
    PolicyError
        Naming the field.
    """
    for name, amount in amounts:
        if not amount.is_finite() or amount < 0:
            raise PolicyError(
                f"{amount} is not a valid amount", where=name, expected="0 or more"
            )


def check_credit_file(credit_file: CreditFile) -> None:
    """Refuse a credit file that no rule can work with.

    Raises
    ------
    PolicyError
        Naming the entry: a mark outside 1 to 5, a grade outside 1 to 10, a haircut
        outside 0 to 1, or a negative amount.
    """
    if credit_file.assessment:
        _check_marks(credit_file.assessment)
    if credit_file.override and credit_file.override.grade not in range(1, 11):
        raise PolicyError(
            f"grade {credit_file.override.grade} is out of range",
            where="override.grade",
            expected="1 to 10",
        )
    for security in credit_file.securities:
        if not 0 <= security.haircut <= 1:
            raise PolicyError(
                f"haircut {security.haircut} is out of range",
                where="securities.haircut",
                expected="0 to 1",
            )
    require_money(_amounts(credit_file))


def _check_marks(assessment: Assessment) -> None:
    for name, mark in assessment.marks.items():
        if mark not in range(1, 6):
            raise PolicyError(
                f"mark {mark} is out of range",
                where=f"assessment.{name}",
                expected="1 to 5",
            )


def _amounts(credit_file: CreditFile) -> list[tuple[str, Decimal]]:
    """Every amount of a credit file, with the name of its field."""
    amounts = [
        ("securities.amount", security.amount) for security in credit_file.securities
    ]
    if credit_file.temporary_limit:
        amounts.append(("temporary_limit.amount", credit_file.temporary_limit.amount))
    for group in credit_file.groups:
        amounts.append(("groups.limit", group.limit))
        amounts.append(("groups.exposure_of_others", group.exposure_of_others))
    if credit_file.limit_event:
        amounts.append(("limit_event.amount", credit_file.limit_event.amount))
    return amounts
