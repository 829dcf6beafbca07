"""Days as whole numbers, counted from 1970-01-01."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pandas as pd

from obligor.arrays import Ints

EPOCH = date(1970, 1, 1)

# The end of what has not ended: after every day.
OPEN_END = 2**40


def day_number(day: date) -> int:
    """Return the days from 1970-01-01 to a day.

    Examples
    --------
    >>> day_number(date(1970, 1, 31))
    30
    """
    return (day - EPOCH).days


def day_of(number: int) -> date:
    """Return the day that is so many days after 1970-01-01.

    Examples
    --------
    >>> day_of(30)
    datetime.date(1970, 1, 31)
    """
    return EPOCH + timedelta(days=int(number))


def days(values: pd.Series[Any]) -> Ints:
    """Return the days from 1970-01-01 to each date of a column, shape (n,)."""
    return values.to_numpy().astype("datetime64[D]").astype("int64")
