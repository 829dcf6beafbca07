"""The time zone of the house: on which day an instant falls."""

from __future__ import annotations

from datetime import date, datetime, tzinfo
from difflib import get_close_matches
from zoneinfo import ZoneInfo, available_timezones

from obligor.errors import SchemaError

TIME_ZONE = "OBLIGOR_TIME_ZONE"


def parse_time_zone(name: str, where: str = TIME_ZONE) -> ZoneInfo:
    """Return the time zone of a name in the IANA database.

    Raises
    ------
    SchemaError
        If there is no such time zone.

    Examples
    --------
    >>> parse_time_zone("Asia/Shanghai")
    zoneinfo.ZoneInfo(key='Asia/Shanghai')
    >>> parse_time_zone("Europe/Berln")
    Traceback (most recent call last):
    obligor.errors.SchemaError: OBLIGOR_TIME_ZONE: 'Europe/Berln' is not a time zone...
    """
    try:
        return ZoneInfo(name)
    # A name of a folder, or one that leaves the database, is an error of the system.
    except (KeyError, OSError, ValueError):
        close = get_close_matches(name, sorted(available_timezones()), n=1)
        raise SchemaError(
            f"{name!r} is not a time zone",
            where=where,
            expected="a name of the IANA database such as Europe/Berlin",
            do=f"did you mean {close[0]}?" if close else "correct the name",
        ) from None


def day_at(instant: datetime, zone: tzinfo) -> date:
    """Return the day on which an instant falls in a time zone.

    Examples
    --------
    >>> late_evening = datetime.fromisoformat("2025-06-30T22:30:00+00:00")
    >>> day_at(late_evening, ZoneInfo("Europe/Berlin"))
    datetime.date(2025, 7, 1)
    """
    return instant.astimezone(zone).date()
