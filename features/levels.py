"""What a cell of a table stands for, however it is written."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from math import isfinite

import pandas as pd

MISSING = ""
_WHOLE = re.compile(r"[+-]?\d{1,40}(\.0*)?")
_TRUTHS = ("true", "false")


def level_key(text: str) -> str:
    """Return the value that a text stands for, as a text: one for equal values.

    Examples
    --------
    >>> level_key("1.0"), level_key("01"), level_key("True"), level_key("A1")
    ('1', '1', 'true', 'A1')
    """
    if _WHOLE.fullmatch(text):
        # Not by a float: codes may have more digits than it holds.
        return str(int(text.partition(".")[0]))
    if is_number(text):
        return repr(float(text))
    return text.lower() if text.lower() in _TRUTHS else text


def synonyms_of(keys: Collection[str]) -> Mapping[str, str]:
    """Return what the keys of truth values and of 0 and 1 stand for among levels."""
    if "true" in keys or "false" in keys:
        return {"1": "true", "0": "false"}
    if "1" in keys or "0" in keys:
        return {"true": "1", "false": "0"}
    return {}


def texts(values: pd.Series) -> pd.Series:
    """Return a column as texts; a missing value is the empty text.

    A whole number is written without a dot: a column of codes is read as floats as soon
    as one of them is missing.
    """
    is_float = pd.api.types.is_float_dtype(values)
    if is_float or values.dtype == object:
        values = values.astype(object).map(_without_fraction)
    present = values.astype(object).where(values.notna(), MISSING)
    return present.astype(str).str.strip()


def _without_fraction(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def is_number(text: str) -> bool:
    """Return whether a text is a finite number."""
    try:
        return isfinite(float(text))
    except ValueError:
        return False
