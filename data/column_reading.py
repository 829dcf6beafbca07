"""What the reading of one column gives: its values, and what a person must know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

# What programs write for nothing. In a column of texts `NA` is a text: North Atlantic,
# or Namibia.
EMPTY_TEXTS = ("", "NULL", "null", "#N/A", "NaN", "<NA>")
EMPTY_VALUES = (
    *EMPTY_TEXTS,
    "NA",
    "N/A",
    "n/a",
    "nan",
    "None",
    "#NA",
    "-NaN",
    "-nan",
)


@dataclass(frozen=True)
class ColumnReading:
    """The values of a column, and how they were read.

    Attributes
    ----------
    values : Series
        In our type; a cell that cannot be read is empty.
    note : str
        What the column proved, e.g. that days come before months.
    refusal : str
        Why the column as a whole cannot be read; empty if it can.
    choice : str
        What the mapping can state to settle it.
    """

    values: pd.Series
    note: str = ""
    refusal: str = ""
    choice: str = ""


def text_of(value: object) -> str:
    """Return a cell as text: a whole number without decimals, no outer blanks.

    Examples
    --------
    >>> text_of(1001.0)
    '1001'
    """
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    text = str(int(float(str(value)))) if is_whole else str(value)
    return text.strip()


def is_missing(value: object) -> bool:
    """Return whether a cell holds no value of any type: None, NaN, NaT."""
    return value is None or value is pd.NaT or value is pd.NA or value != value


def texts_of(values: pd.Series, empty: tuple[str, ...] = ()) -> pd.Series:
    """Return the cells of a column as texts; None where nothing is there.

    Parameters
    ----------
    values : Series
        Cells of any type.
    empty : tuple of str
        Texts that stand for nothing.
    """
    if values.dtype == "str":
        # Ids of a text file: nearly all are distinct, so not one by one.
        texts = values.str.strip()
        return texts.where(~texts.isin(empty))
    return by_distinct_value(
        values, lambda value: None if text_of(value) in empty else text_of(value)
    ).astype("str")


def by_distinct_value(
    values: pd.Series, convert: Callable[[object], object]
) -> pd.Series:
    """Return a column converted cell by cell, each distinct value once.

    Parameters
    ----------
    values : Series
        Cells of any type; empty cells stay empty.
    convert : callable
        Takes a cell, returns its value or None.
    """
    codes, distinct = pd.factorize(values.astype("object"))
    converted = [convert(value) for value in distinct]
    converted.append(None)
    cells = pd.Series(converted, dtype="object")
    return pd.Series(cells.to_numpy()[codes], index=values.index)
