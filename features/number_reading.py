"""How the cells of one column become numbers, in a file and in a request alike.

The signs of a column are those that its spec states, or those that its cells prove:
``1.234,56`` leaves no choice, ``1.234`` alone does. A column that can be read in two
ways is refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypedDict

import numpy as np
import pandas as pd

from obligor.arrays import Floats
from obligor.data.column_reading import by_distinct_value, is_missing
from obligor.data.money import MINOR_DIGITS
from obligor.features.levels import MISSING_WORDS, are_truths, truth_of
from obligor.reading.amounts import (
    BLANKS,
    CONTINENTAL,
    ENGLISH,
    AmountSigns,
    is_unsure,
    prove_signs,
    stated_signs,
)
from obligor.reading.mapping import NumberFormat

_NUMBERS = (int, float, np.number, Decimal)
# The share of the cells of a column that must be numbers for it to be one of numbers.
NEARLY_ALL = 0.95
_LETTERS = re.compile(r"(?<![^\W\d_])[A-Za-z]{3}(?![^\W\d_])")
_SIGN = re.compile(r"%|‰|(?<![^\W\d_])[A-Z]{0,2}[$€£¥₹₽₩₺₫₴₪฿₦]|元|zł|kr\.?|Kč|Fr\.")
# Swiss prices without a fraction end so: 1'000.-
_NO_FRACTION = re.compile(r"(?<=\d)[.,][-–]+$")


class ReadingFields(TypedDict):
    """A `NumberReading` as JSON."""

    decimal: str
    thousands: str
    units: list[str]
    missing: list[str]
    is_truth: bool


@dataclass(frozen=True)
class NumberReading:
    """How the texts of a column are read as numbers.

    Attributes
    ----------
    decimal, thousands : str
        Its signs; empty if no cell has shown them. Then only texts are read that have
        one meaning.
    units : tuple of str
        Signs of percent and currencies that occur beside the numbers.
    missing : tuple of str
        Words in place of a number that stand for a missing one, besides the usual.
    is_truth : bool
        Whether the numbers are 1 for true and 0 for false.
    """

    decimal: str = ""
    thousands: str = ""
    units: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    is_truth: bool = False

    def number(self, cell: object) -> float | None:
        """Return a cell as a number, NaN if it is missing, None if it is not one.

        Examples
        --------
        >>> NumberReading(",", ".", ("€",)).number("1.234,50 €")
        1234.5
        >>> NumberReading().number("1,234") is None
        True
        """
        if is_missing(cell):
            return float("nan")
        if isinstance(cell, bool | np.bool_):
            return float(cell) if self.is_truth else None
        if isinstance(cell, _NUMBERS):
            return float(cell)
        text = str(cell).strip()
        if text in MISSING_WORDS or text in self.missing:
            return float("nan")
        truth = truth_of(text) if self.is_truth else None
        return self._number_of(text) if truth is None else float(truth)

    def _number_of(self, text: str) -> float | None:
        digits, unit = without_unit(text)
        if unit and unit not in self.units:
            return None
        signs = ENGLISH
        if self.decimal:
            signs = AmountSigns(self.decimal, self.thousands)
        elif is_unsure(digits) and "," in digits:
            return None
        number = signs.number(digits)
        return None if number is None else float(number)

    def expected(self) -> str:
        """Return what a cell may be, for a message."""
        if self.is_truth:
            return "true or false, 1 or 0, or null"
        if self.decimal == ",":
            return "a number such as 1234.5, a text such as '1.234,5', or null"
        return "a number such as 1234.5, or null"

    def fields(self) -> ReadingFields:
        """Return its values for JSON."""
        return {
            "decimal": self.decimal,
            "thousands": self.thousands,
            "units": list(self.units),
            "missing": list(self.missing),
            "is_truth": self.is_truth,
        }

    @classmethod
    def from_fields(cls, fields: ReadingFields) -> NumberReading:
        """Return the reading that `fields` describes."""
        return cls(
            decimal=fields["decimal"],
            thousands=fields["thousands"],
            units=tuple(fields["units"]),
            missing=tuple(fields["missing"]),
            is_truth=fields["is_truth"],
        )


# Of a column whose cells are numbers, not texts.
NATIVE = NumberReading()
# Bundles of earlier versions do not say how their columns are read: as they were.
EARLIER = NumberReading(".", ",", units=("%", "$", "€"), is_truth=True)


@dataclass(frozen=True)
class StatedReading:
    """What a spec states about the texts of a column.

    Attributes
    ----------
    decimal, thousands : str
        Its signs; empty if they are to be proven.
    missing : tuple of str
        Words that stand for a missing value.
    special : tuple of float
        Numbers that are codes.
    is_number : bool
        Whether the column is stated to be of numbers, whatever its cells look like.
    has_direction : bool
        Whether more of it is stated to mean more or less risk: then words for truth
        values are 1 and 0.
    """

    decimal: str = ""
    thousands: str = ""
    missing: tuple[str, ...] = ()
    special: tuple[float, ...] = ()
    is_number: bool = False
    has_direction: bool = False


@dataclass(frozen=True)
class NumberColumn:
    """A column whose cells are numbers.

    Attributes
    ----------
    reading : NumberReading
        How its texts are read.
    note : str
        What the cells have proven.
    refusal, choice : str
        Why it cannot be read, and what the spec can state.
    unreadable : tuple of str
        Its distinct texts that are neither a number nor a known word, sorted.
    """

    reading: NumberReading
    note: str = ""
    refusal: str = ""
    choice: str = ""
    unreadable: tuple[str, ...] = ()


def number_column(
    values: pd.Series,
    stated: StatedReading | None = None,
) -> NumberColumn | None:
    """Return how a column is read as numbers, None if it is not one of numbers.

    Parameters
    ----------
    values : Series, shape (n,)
        Cells of any type.
    stated : StatedReading, optional
        What the spec says.

    Examples
    --------
    >>> column = number_column(pd.Series(["€ 1.234,50", "12", "?"] * 20))
    >>> column is None
    True
    >>> column = number_column(pd.Series(["€ 1.234,50", "12"] * 20 + ["?"]))
    >>> column.reading.decimal, column.reading.units, column.unreadable
    (',', ('€',), ('?',))
    """
    stated = stated or StatedReading()
    if pd.api.types.is_bool_dtype(values):
        return NumberColumn(NumberReading(is_truth=True))
    if pd.api.types.is_numeric_dtype(values):
        return NumberColumn(_native_reading(values, stated))
    cells = _cells(values, stated.missing)
    is_ordered = stated.is_number or stated.has_direction
    if is_ordered and are_truths(cells.texts):
        return NumberColumn(NumberReading(missing=stated.missing, is_truth=True))
    is_enough = cells.share_of_numbers > NEARLY_ALL
    if not (is_enough or stated.is_number):
        return None
    return _text_column(cells, stated)


def _native_reading(values: pd.Series, stated: StatedReading) -> NumberReading:
    """Return how texts of requests are read for a column that a file has as numbers."""
    signs = _signs_of(stated)
    distinct = {float(value) for value in pd.unique(values.dropna())}
    return NumberReading(
        decimal=signs.decimal if signs else "",
        thousands=signs.thousands if signs else "",
        missing=stated.missing,
        is_truth=distinct.difference(stated.special) <= {0.0, 1.0},
    )


def _signs_of(stated: StatedReading) -> AmountSigns | None:
    if not (stated.decimal or stated.thousands):
        return None
    return stated_signs(NumberFormat(stated.decimal, stated.thousands))


@dataclass(frozen=True)
class _Cells:
    """The filled cells of a column: numbers, and texts without their units.

    Attributes
    ----------
    texts : tuple of str
        Distinct texts as they are.
    digits : tuple of str
        The same without their units.
    units : tuple of str
        The distinct units, sorted; empty for a text without one.
    share_of_numbers : float
        The share of the filled cells that are numbers in some reading.
    """

    texts: tuple[str, ...]
    digits: tuple[str, ...]
    units: tuple[str, ...]
    share_of_numbers: float


def _cells(values: pd.Series, missing: Collection[str]) -> _Cells:
    """Return the distinct filled cells of a column."""
    counts: dict[object, int] = values.astype("object").value_counts().to_dict()
    n_filled = 0
    n_numbers = 0
    digits_of = dict[str, str]()
    units = set[str]()
    for cell, count in counts.items():
        if isinstance(cell, _NUMBERS) and not isinstance(cell, bool):
            n_filled += count
            n_numbers += count
            continue
        text = str(cell).strip()
        if text in MISSING_WORDS or text in missing:
            continue
        digits_of[text], unit = without_unit(text)
        units.add(unit)
        n_filled += count
        n_numbers += count * is_number_like(text)
    return _Cells(
        texts=tuple(digits_of),
        digits=tuple(digits_of.values()),
        units=tuple(sorted(filter(None, units))),
        share_of_numbers=n_numbers / n_filled if n_filled else 0.0,
    )


def is_number_like(text: str) -> bool:
    """Return whether a text can be read as a number in some way."""
    digits, _ = without_unit(text)
    return any(signs.number(digits) is not None for signs in (ENGLISH, CONTINENTAL))


def _text_column(cells: _Cells, stated: StatedReading) -> NumberColumn:
    """Return how a column of texts is read, by what is stated or what it proves."""
    currencies = [unit for unit in cells.units if unit not in "%‰"]
    if len(currencies) > 1 or (currencies and len(currencies) < len(cells.units)):
        return NumberColumn(
            NumberReading(),
            refusal=f"the amounts have the units {', '.join(cells.units)}",
            choice="convert them to one unit, or name the column in [table] drop",
        )
    signs = _signs_of(stated)
    note = ""
    if signs is None:
        proof = prove_signs([text for text in cells.digits if is_number_like(text)])
        if proof.signs is None:
            return NumberColumn(
                NumberReading(),
                refusal=proof.refusal,
                choice=proof.choice,
            )
        signs = proof.signs if proof.has_proof else AmountSigns("", "")
        note = proof.note
    reading = NumberReading(
        decimal=signs.decimal,
        thousands=signs.thousands,
        units=cells.units,
        missing=stated.missing,
    )
    unreadable = sorted(text for text in cells.texts if reading.number(text) is None)
    contradicting = [text for text in unreadable if is_number_like(text)]
    if contradicting:
        return NumberColumn(
            NumberReading(),
            refusal=f"{contradicting[0]!r} does not have the signs that are stated",
            choice="state decimal for this column alone, or name the text in missing",
        )
    return NumberColumn(reading, note, unreadable=tuple(unreadable))


def without_unit(text: str) -> tuple[str, str]:
    """Return a text without its sign of percent or of a currency, and that sign.

    Examples
    --------
    >>> without_unit("13.5 %"), without_unit("EUR 1 000"), without_unit("(US$ 5)")
    (('13.5', '%'), ('1 000', 'EUR'), ('(5)', 'US$'))
    """
    match = _SIGN.search(text) or _currency_code(text)
    unit = ""
    if match is not None:
        unit = match[0]
        before = text[: match.start()].rstrip(BLANKS)
        behind = text[match.end() :].lstrip(BLANKS)
        text = before + behind
    return _NO_FRACTION.sub("", text.strip(BLANKS)), unit


def _currency_code(text: str) -> re.Match[str] | None:
    match = _LETTERS.search(text)
    is_code = match is not None and match[0] in MINOR_DIGITS
    return match if is_code else None


def parse_numbers(values: pd.Series, reading: NumberReading) -> Floats:
    """Return a column as numbers, shape (n,); NaN if missing, infinite or unreadable.

    Parameters
    ----------
    values : Series, shape (n,)
        Cells of any type.
    reading : NumberReading
        How its texts are read.
    """
    if pd.api.types.is_numeric_dtype(values):
        parsed = values.to_numpy(dtype=np.float64, na_value=np.nan).copy()
    else:
        numbers = by_distinct_value(values, reading.number)
        parsed = numbers.to_numpy(dtype=np.float64, na_value=np.nan).copy()
    parsed[~np.isfinite(parsed)] = np.nan
    return parsed


def numbers(values: pd.Series, stated: StatedReading | None = None) -> Floats:
    """Return a column as numbers by what it proves itself; see `parse_numbers`.

    Parameters
    ----------
    values : Series, shape (n,)
        Cells of any type.
    stated : StatedReading, optional
        What the spec says.
    """
    column = number_column(values, stated)
    return parse_numbers(values, column.reading if column else NATIVE)


def unreadable_cells(values: pd.Series, reading: NumberReading) -> Sequence[int]:
    """Return the positions of the cells that are not numbers.

    Parameters
    ----------
    values : Series, shape (n,)
        Cells of any type.
    reading : NumberReading
        How its texts are read.
    """
    if pd.api.types.is_numeric_dtype(values):
        return []
    is_unreadable = by_distinct_value(values, lambda cell: reading.number(cell) is None)
    return [int(position) for position in np.flatnonzero(is_unreadable.eq(True))]
