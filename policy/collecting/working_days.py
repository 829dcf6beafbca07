"""On which days a customer is contacted, and on which a payment can be made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

from obligor.policy.rulebooks.rulebook import Rulebook

_A_DAY = timedelta(days=1)
# No run of days off is as long: the longest holidays of China are nine days.
_LONGEST_BREAK = 31
DayTest = Callable[[str, date], bool]


def never(country: str, day: date) -> bool:
    """Return False: the answer of a calendar that knows no country."""
    return False


class Calendar(NamedTuple):
    """The days off of countries; the code that reads them is handed in.

    Attributes
    ----------
    has_country : callable
        Whether the days off of a country are known.
    is_day_off : callable
        Whether a day is a weekend or a public holiday in a country.
    is_holiday : callable
        Whether a day is a Sunday or a public holiday in a country.
    """

    has_country: Callable[[str], bool]
    is_day_off: DayTest
    is_holiday: DayTest


NO_CALENDAR = Calendar(lambda country: False, never, never)


@dataclass(frozen=True)
class WorkingDays:
    """The working days between the house and a customer.

    Attributes
    ----------
    rulebook : Rulebook
        Its table ``quiet_days`` lists the days without contacts.
    country : str
        ISO 3166 code of the customer's country; empty if it is not known.
    calendar : Calendar
        The days off of countries.
    """

    rulebook: Rulebook
    country: str = ""
    calendar: Calendar = NO_CALENDAR

    @property
    def counts_days_off(self) -> bool:
        """Whether the rules look at the days off of the customer's country."""
        columns = self.rulebook.tables["quiet_days"].inputs
        return any(column.name == "is_day_off" for column in columns)

    def is_quiet(self, day: date) -> bool:
        """Return whether the customer is not contacted on a day."""
        evaluation = self.rulebook.tables["quiet_days"](
            weekday=day.isoweekday(),
            is_day_off=self.is_day_off(day),
        )
        return bool(evaluation.outputs["is_quiet"])

    def is_day_off(self, day: date) -> bool:
        """Return whether a day is off in the customer's country, if the rules ask."""
        # The calendar of a country takes a second to load: not for nothing.
        return self.counts_days_off and self.calendar.is_day_off(self.country, day)

    def first_from(self, day: date) -> date:
        """Return the day, or the first one after it on which a contact is made."""
        for offset in range(_LONGEST_BREAK):
            candidate = day + timedelta(days=offset)
            if not self.is_quiet(candidate):
                return candidate
        # A rulebook whose every day is quiet leaves the day as it is.
        return day

    def payable_on(self, day: date) -> date:
        """Return the day, or the first working day in the customer's country after it.

        A promise to pay by a holiday is broken only if nothing came on the day after.
        """
        if not self.counts_days_off:
            return day
        return next_day(day, self.country, self.calendar.is_day_off)

    def note(self) -> str:
        """Return which calendar was used, or that there is none."""
        if not self.counts_days_off:
            return ""
        if self.calendar.has_country(self.country):
            return f"public holidays of {self.country}, without those of a region alone"
        if self.country:
            return f"there is no calendar of {self.country!r}: weekends only"
        return "the customer's country is not known: weekends only"


def next_day(
    day: date,
    country: str,
    is_off: DayTest,
) -> date:
    """Return the day, or the first one after it that is not off in a country.

    Parameters
    ----------
    day : date
        The day.
    country : str
        ISO 3166 code.
    is_off : callable
        Whether a day is off in a country.

    Examples
    --------
    >>> is_sunday = lambda country, day: day.isoweekday() == 7
    >>> next_day(date(2025, 6, 29), "IT", is_sunday)
    datetime.date(2025, 6, 30)
    """
    for _ in range(_LONGEST_BREAK):
        if not is_off(country, day):
            return day
        day += _A_DAY
    return day
