"""Reading a whole column of dates: by its stated format, or by what it proves.

Nothing is guessed. ``01/10/2024`` is read day first if another cell of the column has
a day after 12 there, month first if that proves it, and otherwise not at all. A number
is a date only if the column as a whole can be nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from typing import Literal

import pandas as pd

from obligor.data.column_reading import (
    EMPTY_VALUES,
    ColumnReading,
    by_distinct_value,
    is_missing,
    text_of,
)
from obligor.data.ledger import DAY_DTYPE

EXCEL = "excel"
# Workbooks made on old Macintoshes count the days from 1904-01-01, as day 0.
EXCEL_1904 = "excel-1904"
DAYS_FROM_1900_TO_1904 = 1462
# Day 1 is 1900-01-01 and 1900 counts as a leap year, so that from March 1900 on the
# days count from here: ECMA-376, part 1, 18.17.4.1.
EXCEL_EPOCH = date(1899, 12, 30)
# Numbers of days that can only be dates of our time: 1990-01-01 to 2079-12-31.
PLAUSIBLE_SERIALS = (32_874, 65_745)
PLAUSIBLE_YEARS = (1970, 2100)
# Two digits of a year up to this are of this century (POSIX strptime).
LAST_SHORT_YEAR = 68
_TIME = (
    r"(?:[T ]\s*\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:\s?[AaPp][Mm])?"
    r"\s*(?:Z|UTC|[+-]\d{2}(?::?\d{2})?)?)?"
)
_YEAR_FIRST = re.compile(rf"(\d{{4}})([-/.年])(\d{{1,2}})[-/.月](\d{{1,2}})日?{_TIME}")
_YEAR_LAST = re.compile(rf"(\d{{1,2}})([-/.])(\d{{1,2}})\2(\d{{4}}|\d{{2}}){_TIME}")
_NUMBER = re.compile(r"(\d+)(?:\.(\d+))?")
_OFFSET_TIME = re.compile(
    r"[T ]\s*(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::\d{2}(?:[.,]\d+)?)?"
    r"(?P<half>\s?[AaPp][Mm])?\s*(?P<offset>Z|UTC|[+-]\d{2}(?::?\d{2})?)\Z"
)
_TIME_BEHIND = re.compile(rf"(.*?\S){_TIME}")
# The name of a month leaves no choice.
_NAMED_MONTHS = (
    "%d %b %Y",
    "%d %B %Y",
    "%d-%b-%Y",
    "%d-%b-%y",
    "%d.%b.%Y",
    "%d/%b/%Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%b %d %Y",
    "%B %d %Y",
)

Order = Literal["day/month/year", "month/day/year", "year/month/day"]
ORDERS: tuple[Order, ...] = ("day/month/year", "month/day/year", "year/month/day")
_FORMAT_OF: dict[Order, str] = {
    "day/month/year": "%d/%m/%Y",
    "month/day/year": "%m/%d/%Y",
    "year/month/day": "%y/%m/%d",
}
# What a cell is read by.
Reader = Callable[[object], date | None]


@dataclass(frozen=True)
class _Proof:
    """How one shape of cells is read, and what is to be told about it."""

    read: Reader
    note: str = ""
    refusal: str = ""
    choice: str = ""


def parse_days(
    values: pd.Series,
    date_format: str = "",
    *,
    is_workbook: bool = False,
    zone: tzinfo | None = None,
) -> ColumnReading:
    """Return a column of dates.

    Parameters
    ----------
    values : Series
        Cells of any type, empty ones included.
    date_format : str
        As `strptime` takes it, or ``excel`` or ``excel-1904`` for Excel's day numbers;
        empty if the column is to prove it.
    is_workbook : bool
        Whether the cells are of a workbook that counts days from 1900, so that numbers
        may be its day numbers.
    zone : tzinfo, optional
        The time zone in which a time stamp with an offset becomes a day; without it,
        the day is the written one.

    Examples
    --------
    >>> parse_days(pd.Series(["01/10/2024", "33/12/2024", "31/12/2024"])).note
    "read as day/month/year: '31/12/2024' proves it"
    >>> parse_days(pd.Series(["01/10/2024"])).refusal
    "'01/10/2024' can be day/month/year or month/day/year"
    """
    if values.dtype.kind == "M":
        return ColumnReading(_as_days(_local_times(values, zone)))
    if date_format == EXCEL:
        return ColumnReading(_converted(values, _serial_day))
    if date_format == EXCEL_1904:
        return ColumnReading(_converted(values, _serial_day_1904))
    if date_format:
        return ColumnReading(_by_format(values, date_format, zone))
    cells = [cell for cell in pd.unique(values.astype("object")) if _is_filled(cell)]
    proofs = _Proofs(
        _numbers_proof(cells, is_workbook),
        _year_last_proof(cells),
        zone,
    )
    return proofs.reading(values)


@dataclass(frozen=True)
class _Proofs:
    """How the two shapes of cells are read that leave a choice."""

    numbers: _Proof
    year_last: _Proof
    zone: tzinfo | None

    def reading(self, values: pd.Series) -> ColumnReading:
        """Return a column as it is read by the proofs."""
        numbers = self.numbers
        year_last = self.year_last
        return ColumnReading(
            values=_converted(values, self.day),
            note="; ".join(filter(None, (numbers.note, year_last.note))),
            refusal=numbers.refusal or year_last.refusal,
            choice=numbers.choice or year_last.choice,
        )

    def day(self, cell: object) -> date | None:
        """Return the day of one cell."""
        if not _is_filled(cell):
            return None
        if isinstance(cell, date):
            return _day_of(cell, self.zone)
        day = self._written_day(cell)
        return day and _day_in_zone(day, text_of(cell), self.zone)

    def _written_day(self, cell: object) -> date | None:
        if _NUMBER.fullmatch(text_of(cell)):
            return self.numbers.read(cell)
        if _YEAR_LAST.fullmatch(text_of(cell)):
            return self.year_last.read(cell)
        return _unmistakable_day(text_of(cell))


def _is_filled(cell: object) -> bool:
    return not is_missing(cell) and text_of(cell) not in EMPTY_VALUES


def _converted(values: pd.Series, read: Reader) -> pd.Series:
    return _as_days(by_distinct_value(values, read))


def _as_days(days: pd.Series) -> pd.Series:
    return pd.to_datetime(days, errors="coerce").dt.normalize().astype(DAY_DTYPE)


def _local_times(times: pd.Series, zone: tzinfo | None) -> pd.Series:
    """Return times without their zone: in the one given, otherwise as written."""
    if zone is not None and times.dt.tz is not None:
        times = times.dt.tz_convert(zone)
    local_times: pd.Series = times.dt.tz_localize(None)
    return local_times


def _day_in_zone(day: date, text: str, zone: tzinfo | None) -> date:
    """Return the day in a time zone of a text whose written day is known."""
    match = _OFFSET_TIME.search(text)
    if zone is None or match is None:
        return day
    hour = int(match["hour"])
    half = (match["half"] or "").strip().upper()
    if half:
        hour = hour % 12 + (12 if half == "PM" else 0)
    offset = match["offset"].replace("UTC", "Z")
    # 24:00 is the end of the day; `time` knows no such hour.
    time = datetime.fromisoformat(f"{day}T00:00:00{offset}")
    time += timedelta(hours=hour, minutes=int(match["minute"]))
    return time.astimezone(zone).date()


def _by_format(values: pd.Series, date_format: str, zone: tzinfo | None) -> pd.Series:
    """Return the days that a stated format reads."""

    def as_written(cell: object) -> object:
        if not _is_filled(cell):
            return None
        if isinstance(cell, date):
            return f"{_day_of(cell, zone):{date_format}}"
        return text_of(cell)

    # A day that a program kept as a number: 20190307.0 is 20190307.
    texts = by_distinct_value(values, as_written).astype("str")
    texts = texts.str.replace(r"^(\d+)\.0+$", r"\1", regex=True)
    if "%z" not in date_format and "%Z" not in date_format:
        return _as_days(pd.to_datetime(texts, format=date_format, errors="coerce"))

    def read(cell: object) -> date | None:
        return _strptime(str(cell), date_format, zone)

    return _converted(texts, read)


def _strptime(
    text: str,
    date_format: str,
    zone: tzinfo | None = None,
) -> date | None:
    try:
        return _day_of(datetime.strptime(text, date_format), zone)
    except ValueError:
        return None


def _day_of(cell: date, zone: tzinfo | None = None) -> date:
    if not isinstance(cell, datetime):
        return cell
    if zone is not None and cell.tzinfo is not None:
        return cell.astimezone(zone).date()
    return cell.date()


def _day(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _unmistakable_day(text: str) -> date | None:
    """Return the day of a text that can be read in one way only."""
    match = _YEAR_FIRST.fullmatch(text)
    if match:
        return _day(int(match[1]), int(match[3]), int(match[4]))
    without_time = _TIME_BEHIND.fullmatch(text)
    if without_time and any(character.isalpha() for character in without_time[1]):
        for date_format in _NAMED_MONTHS:
            day = _strptime(without_time[1], date_format)
            if day:
                return day
    return None


def _numbers_proof(cells: Sequence[object], is_workbook: bool) -> _Proof:
    """Return how the numbers of a column are read, if there are any."""
    texts = [text_of(cell) for cell in cells if not isinstance(cell, date)]
    numbers = [text for text in texts if _NUMBER.fullmatch(text)]
    # 00000000 stands for no date; it proves nothing about the others.
    numbers = [text for text in numbers if text.strip("0.")]
    compact = [text for text in numbers if _compact_day(text)]
    if compact:
        note = f"numbers such as {compact[0]} are read as year, month and day"
        return _Proof(_compact_day, note)
    lowest, highest = PLAUSIBLE_SERIALS
    are_serials = all(lowest <= _serial_of(number) <= highest for number in numbers)
    if numbers and is_workbook and are_serials:
        day = _serial_day(numbers[0])
        note = f"numbers are read as Excel's day numbers: {numbers[0]} is {day}"
        return _Proof(_serial_day, note)
    is_column_of_numbers = len(numbers) * 2 > len(cells)
    if not is_column_of_numbers:
        return _Proof(_no_day)
    return _Proof(
        _no_day,
        refusal=f"{numbers[0]} is a number where a date is expected",
        choice=f'date_format = "%Y%m%d" or "{EXCEL}" (day numbers)',
    )


def _no_day(_: object) -> None:
    return None


def _compact_day(cell: object) -> date | None:
    """Return the day of 20241001, or 20241001.0."""
    match = _NUMBER.fullmatch(text_of(cell))
    if match is None or len(match[1]) != 8 or (match[2] or "").strip("0"):
        return None
    digits = match[1]
    first_year, last_year = PLAUSIBLE_YEARS
    if not first_year <= int(digits[:4]) <= last_year:
        return None
    return _day(int(digits[:4]), int(digits[4:6]), int(digits[6:]))


def _serial_of(cell: object) -> float:
    match = _NUMBER.fullmatch(text_of(cell))
    return float(match[0]) if match and len(match[1]) < 9 else -1.0


def _serial_day(cell: object) -> date | None:
    """Return the day that Excel's day number names; a fraction is a time of day."""
    if isinstance(cell, date) and not is_missing(cell):
        return _day_of(cell)
    serial = _serial_of(cell)
    if not 61 <= serial < 2_958_466:  # 1900-03-01 to 9999-12-31
        return None
    return EXCEL_EPOCH + timedelta(days=int(serial))


def _serial_day_1904(cell: object) -> date | None:
    """Return the day that a day number from 1904 names."""
    if isinstance(cell, date):
        return _serial_day(cell)
    return _serial_day(_serial_of(cell) + DAYS_FROM_1900_TO_1904)


def _year_last_proof(cells: Iterable[object]) -> _Proof:
    """Return in which order days, months and years stand, if a cell proves it."""
    texts = [text_of(cell) for cell in cells if not isinstance(cell, date)]
    texts = [text for text in texts if _YEAR_LAST.fullmatch(text)]
    days_by_order = {
        order: [_in_order(text, order) for text in texts] for order in ORDERS
    }
    readable = [
        index
        for index in range(len(texts))
        if any(days_by_order[order][index] for order in ORDERS)
    ]
    if not readable:
        return _Proof(_no_day)
    orders = [
        order
        for order in ORDERS
        if all(days_by_order[order][index] for index in readable)
    ]
    if not orders:
        return _contradiction(texts)
    first = orders[0]
    for other in orders[1:]:
        for index in readable:
            if days_by_order[first][index] != days_by_order[other][index]:
                return _ambiguity(texts[index], first, other)
    proof = _proof_of(texts, first)
    note = f"read as {first}: {proof!r} proves it" if proof else ""
    return _Proof(lambda cell: _in_order(text_of(cell), first), note)


def _in_order(text: str, order: Order) -> date | None:
    """Return the day of a text, if it is one in this order."""
    match = _YEAR_LAST.fullmatch(text)
    if match is None:
        return None
    parts = [match[1], match[3], match[4]]
    names = order.split("/")
    by_name = dict(zip(names, parts, strict=True))
    year = int(by_name["year"])
    if len(by_name["year"]) <= 2:
        year += 2000 if year <= LAST_SHORT_YEAR else 1900
    if order == "year/month/day" and not len(match[1]) == len(match[4]) == 2:
        return None
    return _day(year, int(by_name["month"]), int(by_name["day"]))


def _proof_of(texts: Iterable[str], order: Order) -> str:
    """Return the first text that can be read in one order only."""
    others = [other for other in ORDERS if other != order]
    for text in texts:
        is_other = any(_in_order(text, other) for other in others)
        if _in_order(text, order) and not is_other:
            return text
    return ""


def _ambiguity(text: str, first: Order, other: Order) -> _Proof:
    return _Proof(
        _no_day,
        refusal=f"{text!r} can be {first} or {other}",
        choice=f'date_format = "{_stated(text, first)}" or "{_stated(text, other)}"',
    )


def _contradiction(texts: list[str]) -> _Proof:
    proofs = [_proof_of(texts, order) for order in ORDERS]
    examples = " and ".join(repr(text) for text in proofs if text)
    return _Proof(
        _no_day,
        refusal=f"{examples} are in different orders of day, month and year",
        choice="date_format = the format of the correct ones",
    )


def _stated(text: str, order: Order) -> str:
    """Return the `strptime` format of a text in an order."""
    match = _YEAR_LAST.fullmatch(text)
    if match is None:
        return _FORMAT_OF[order]
    stated = _FORMAT_OF[order].replace("/", match[2])
    return stated if len(match[4]) == 4 else stated.replace("%Y", "%y")
