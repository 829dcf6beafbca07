"""Days off by country: its weekend and its public holidays, from `holidays` (MIT).

Holidays of a region alone are not among them, as a customer's region is not known.
"""

from __future__ import annotations

from datetime import date
from functools import cache

import holidays

from obligor.policy.collecting.working_days import Calendar

_SUNDAY = 7


@cache
def _countries() -> frozenset[str]:
    return frozenset(holidays.list_supported_countries())


# One for each year, filled before it is shared: a calendar that fills itself when it is
# asked gives another thread the year before its holidays are in it.
@cache
def _calendar(country: str, year: int) -> holidays.HolidayBase:
    return holidays.country_holidays(country, years=year, expand=False)


def has_calendar(country: str) -> bool:
    """Return whether the days off of a country are known.

    Examples
    --------
    >>> has_calendar("DE"), has_calendar("XX"), has_calendar("")
    (True, False, False)
    """
    return country in _countries()


def is_day_off(country: str, day: date) -> bool:
    """Return whether a day is a weekend or a public holiday in a country.

    A working day that replaces one of a bridge, as in China, is not a day off. In a
    country whose calendar is not known no day is.

    Parameters
    ----------
    country : str
        ISO 3166 code.
    day : date
        The day.

    Examples
    --------
    >>> is_day_off("DE", date(2025, 12, 25)), is_day_off("DE", date(2025, 12, 24))
    (True, False)
    >>> is_day_off("CN", date(2025, 9, 28)), is_day_off("DE", date(2025, 9, 28))
    (False, True)
    """
    if not has_calendar(country):
        return False
    return not _calendar(country, day.year).is_working_day(day)


def is_holiday(country: str, day: date) -> bool:
    """Return whether a day is a Sunday or a public holiday in a country.

    Parameters
    ----------
    country : str
        ISO 3166 code.
    day : date
        The day.

    Examples
    --------
    >>> saturday, sunday = date(2025, 8, 16), date(2025, 8, 17)
    >>> is_holiday("IT", saturday), is_holiday("IT", sunday)
    (False, True)
    """
    if not has_calendar(country):
        return False
    return day.isoweekday() == _SUNDAY or day in _calendar(country, day.year)


CALENDAR = Calendar(
    has_country=has_calendar,
    is_day_off=is_day_off,
    is_holiday=is_holiday,
)
