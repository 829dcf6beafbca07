"""Days as whole numbers, counted from 1970-01-01."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pandas as pd

from obligor.arrays import Ints

EPOCH = date(1970, 1, 1)

OPEN_END = 2**40  # the end of what has not ended: after every day


def day_number(day: date) -> int:
    """Return the days since 1970-01-01."""
    return (day - EPOCH).days


def day_of(number: int) -> date:
    """Return the day of a number."""
    return EPOCH + timedelta(days=int(number))


def days(values: pd.Series[Any]) -> Ints:
    """Return the days since 1970-01-01."""
    return values.to_numpy().astype("datetime64[D]").astype("int64")
