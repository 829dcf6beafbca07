"""What people put on file about a customer: marks, overrides, securities, groups; by name, and until a day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import date, timedelta
from decimal import Decimal

from obligor.errors import PolicyError
from obligor.policy.credit.groups import Group

_NOTHING = Decimal(0)
EVENT = timedelta(days=30)  # for so long after it, new payment details are an event


@dataclass(frozen=True)
class Assessment:
    """A named analyst's four marks, 1 (worst) to 5 (best), valid through `expires_on`."""

    market_position: int
    operating_capability: int
    industry_risk: int
    management_quality: int
    by: str
    expires_on: date

    @property
    def mean(self) -> Decimal:
        """The mean of the four marks.

        Examples
        --------
        >>> Assessment(4, 3, 3, 5, "A. Analyst", date(2025, 1, 1)).mean
        Decimal('3.75')
        """
        marks = (
            self.market_position,
            self.operating_capability,
            self.industry_risk,
            self.management_quality,
        )
        return Decimal(sum(marks)) / len(marks)


@dataclass(frozen=True)
class Override:
    """A grade set by a person, valid through `expires_on`."""

    grade: int
    by: str
    because: str
    expires_on: date


@dataclass(frozen=True)
class Security:
    """Collateral or credit insurance: counts for its amount less the haircut, through `expires_on`."""

    kind: str
    amount: Decimal
    haircut: Decimal
    expires_on: date

    def value(self, as_of: date) -> Decimal:
        """Return what it covers on a day.

        Examples
        --------
        >>> bond = Security("guarantee", Decimal("100000"), Decimal("0.20"), date(2025, 6, 30))
        >>> bond.value(date(2025, 6, 30)), bond.value(date(2025, 7, 1))
        (Decimal('80000.00'), Decimal('0'))
        """
        return (
            self.amount * (1 - self.haircut) if as_of <= self.expires_on else _NOTHING
        )


@dataclass(frozen=True)
class TemporaryLimit:
    """A limit for a season: from a day through another, and some days of grace."""

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
    """What a person did to a limit: ``freeze`` (nothing more), ``reduce`` (to an amount) or ``cancel``."""

    kind: str
    by: str
    because: str
    amount: Decimal = _NOTHING


@dataclass(frozen=True)
class CreditFile:
    """All that is on file; money is in the reporting currency."""

    assessment: Assessment | None = None
    override: Override | None = None
    securities: tuple[Security, ...] = ()
    temporary_limit: TemporaryLimit | None = None
    groups: tuple[Group, ...] = ()
    limit_event: LimitEvent | None = None
    payment_details_changed_on: date | None = None

    def has_event(self, as_of: date) -> bool:
        """Whether something calls for a review soon: a person touched the limit, or new payment details."""
        changed_on = self.payment_details_changed_on
        is_new = changed_on is not None and timedelta(0) <= as_of - changed_on <= EVENT
        return self.limit_event is not None or is_new

    def next_expiry(self, as_of: date) -> date | None:
        """Return the first day from `as_of` on which something on file ends.

        Examples
        --------
        >>> bond = Security("guarantee", Decimal(1), Decimal(0), date(2025, 6, 30))
        >>> CreditFile(securities=(bond,)).next_expiry(date(2025, 6, 1))
        datetime.date(2025, 6, 30)
        """
        days = [security.expires_on for security in self.securities]
        days += [part.expires_on for part in (self.assessment, self.override) if part]
        days += [self.temporary_limit.ends_on] if self.temporary_limit else []
        return min((day for day in days if day >= as_of), default=None)

    def secured(self, as_of: date) -> Decimal:
        """Return what collateral and insurance cover on a day, after haircuts."""
        return sum((security.value(as_of) for security in self.securities), _NOTHING)


NOTHING_ON_FILE = CreditFile()


def require_money(money: Iterable[tuple[str, Decimal]]) -> None:
    """Refuse an amount that is negative or no number.

    Raises
    ------
    PolicyError
        Naming the amount.
    """
    for name, amount in money:
        if not amount.is_finite() or amount < 0:
            raise PolicyError(
                f"{amount} is no amount", where=name, expected="0 or more"
            )


def check_file(file: CreditFile) -> None:
    """Refuse a file no rule may work with.

    Raises
    ------
    PolicyError
        Naming the part: a mark outside 1 to 5, a grade outside 1 to 10, a haircut outside 0 to 1, a negative amount.
    """
    if file.assessment:
        marks = {
            field.name: getattr(file.assessment, field.name)
            for field in fields(Assessment)[:4]
        }
        for name, mark in marks.items():
            if mark not in range(1, 6):
                raise PolicyError(
                    f"mark {mark}", where=f"assessment.{name}", expected="1 to 5"
                )
    if file.override and file.override.grade not in range(1, 11):
        raise PolicyError(
            f"grade {file.override.grade}", where="override.grade", expected="1 to 10"
        )
    for security in file.securities:
        if not 0 <= security.haircut <= 1:
            raise PolicyError(
                f"haircut {security.haircut}",
                where="securities.haircut",
                expected="0 to 1",
            )
    require_money(
        ("securities.amount", security.amount) for security in file.securities
    )
    if file.temporary_limit:
        require_money([("temporary_limit.amount", file.temporary_limit.amount)])
    for group in file.groups:
        require_money(
            [
                ("groups.limit", group.limit),
                ("groups.exposure_of_others", group.exposure_of_others),
            ]
        )
    if file.limit_event:
        require_money([("limit_event.amount", file.limit_event.amount)])
