"""Reading a whole column of amounts: by its stated signs, or by what it proves.

``12.500`` is 12.5 or 12500. It is read as one or the other only if the mapping states
the decimal sign, or another cell of the column leaves no choice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from numbers import Number

import pandas as pd

from obligor.data.column_reading import EMPTY_VALUES, ColumnReading, by_distinct_value
from obligor.reading.mapping import NumberFormat

# Signs that part thousands besides a dot and a comma; Indian groups have two digits.
BLANKS = " \u00a0\u202f\u2009"
QUOTES = "'\u2019"
MINUS_SIGNS = "-\u2212\u2013"
_PLAIN = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?|inf|infinity", re.I)


@dataclass(frozen=True)
class AmountSigns:
    """One way to read the signs in a column: of decimals, and of thousands."""

    decimal: str
    thousands: str

    def number(self, text: str) -> str | None:
        """Return a text in the form of Python, or None if it cannot be read so."""
        sign, digits = _sign_and_digits(text)
        if self.decimal == "." and _PLAIN.fullmatch(digits):
            return sign + digits
        thousands = f"[{re.escape(self.thousands + BLANKS + QUOTES)}]"
        decimal = re.escape(self.decimal)
        groups = rf"[1-9]\d{{0,2}}(?:{thousands}\d{{2,3}})*{thousands}\d{{3}}"
        whole = rf"(?:{groups}|\d+)"
        match = re.fullmatch(rf"({whole})?(?:{decimal}(\d*))?", digits)
        if match is None or not (match[1] or match[2]):
            return None
        integer = re.sub(r"\D", "", match[1] or "0")
        return f"{sign}{integer}.{match[2] or '0'}"


ENGLISH = AmountSigns(".", ",")
CONTINENTAL = AmountSigns(",", ".")


def parse_amounts(
    values: pd.Series, numbers: NumberFormat | None = None
) -> ColumnReading:
    """Return a column of amounts.

    Parameters
    ----------
    values : Series
        Numbers, or texts; empty cells stay empty.
    numbers : NumberFormat, optional
        The signs that the mapping states.

    Examples
    --------
    >>> parse_amounts(pd.Series(["1.234,56", "12.500"])).values.tolist()
    [1234.56, 12500.0]
    >>> parse_amounts(pd.Series(["(500.00)", "500.00-"])).values.tolist()
    [-500.0, -500.0]
    >>> parse_amounts(pd.Series(["12.500"])).refusal
    "'12.500' can be 12.500 or 12500"
    """
    stated = numbers or NumberFormat()
    if values.dtype.kind in "iuf":
        return ColumnReading(values.astype("float64"))
    if stated == NumberFormat():
        plain = _plain_numbers(values)
        if plain is not None:
            return ColumnReading(plain)
    is_number = by_distinct_value(values, _is_number).eq(True)
    texts = by_distinct_value(
        values.where(~is_number), lambda cell: _amount_text(cell, stated)
    )
    if stated.decimal or stated.thousands:
        reading = ColumnReading(_converted(texts, stated_signs(stated)))
    else:
        reading = _proven(texts)
    amounts = pd.to_numeric(values.where(is_number), errors="coerce")
    return replace(reading, values=reading.values.fillna(amounts.astype("float64")))


def _plain_numbers(values: pd.Series) -> pd.Series | None:
    """Return numbers that need no proof, or None: most columns are of this kind."""
    if values.dtype != "str":
        return None
    is_filled = values.notna()
    is_unsure = values.str.fullmatch(r"\s*[+-]?[1-9]\d{0,2}\.\d{3}\s*").eq(True)
    amounts = pd.to_numeric(values, errors="coerce").astype("float64")
    is_plain = bool(amounts[is_filled].notna().all()) and not is_unsure.any()
    return amounts if is_plain else None


def _is_number(cell: object) -> bool:
    return isinstance(cell, Number) and not isinstance(cell, bool)


@dataclass(frozen=True)
class SignProof:
    """How the cells of a column show that its amounts are read.

    Attributes
    ----------
    signs : AmountSigns, optional
        None if there are two ways, or none.
    has_proof : bool
        Whether a cell leaves no choice; otherwise there is nothing to choose.
    note : str
        What was read, and by what cell.
    refusal, choice : str
        Why the column cannot be read, and what can be stated.
    """

    signs: AmountSigns | None
    has_proof: bool = False
    note: str = ""
    refusal: str = ""
    choice: str = ""


def prove_signs(texts: Sequence[str]) -> SignProof:
    """Return how the distinct texts of a column are read as amounts.

    Examples
    --------
    >>> prove_signs(["12,5", "1.234,56"]).note.partition(":")[0]
    'the decimal sign is read as a comma and the thousands sign as a dot'
    >>> prove_signs(["12.500"]).refusal
    "'12.500' can be 12.500 or 12500"
    """
    only_english = _proofs(texts, ENGLISH, CONTINENTAL)
    only_continental = _proofs(texts, CONTINENTAL, ENGLISH)
    if only_english and only_continental:
        return _contradiction(only_english[0], only_continental[0])
    if only_continental:
        note = _note(CONTINENTAL, only_continental[0])
        return SignProof(CONTINENTAL, True, note)
    unsure = [text for text in texts if is_unsure(text)]
    if unsure and not only_english:
        return _ambiguity(unsure[0])
    has_commas = any("," in text for text in only_english)
    note = _note(ENGLISH, only_english[0]) if unsure or has_commas else ""
    return SignProof(ENGLISH, bool(only_english), note)


def _proven(texts: pd.Series) -> ColumnReading:
    """Read a column by the cells of it that leave no choice."""
    proof = prove_signs([str(text) for text in pd.unique(texts.dropna())])
    if proof.signs is None:
        nothing = pd.Series(float("nan"), index=texts.index, dtype="float64")
        return ColumnReading(nothing, refusal=proof.refusal, choice=proof.choice)
    return ColumnReading(_converted(texts, proof.signs), proof.note)


def _proofs(
    texts: Iterable[str],
    reading: AmountSigns,
    other: AmountSigns,
) -> list[str]:
    """Return the texts with a dot or a comma that one reading takes, the other not."""
    return [
        text
        for text in texts
        if re.search("[.,]", text) and reading.number(text) and not other.number(text)
    ]


def _amount_text(cell: object, stated: NumberFormat) -> str | None:
    """Return a cell without the stated sign of the currency, None if it is empty."""
    text = str(cell).strip(BLANKS)
    if stated.currency_sign:
        text = text.replace(stated.currency_sign, "").strip(BLANKS)
    return None if text in EMPTY_VALUES else text


def stated_signs(stated: NumberFormat) -> AmountSigns:
    """Return the signs of a format; of dot and comma the one it lacks is the other.

    Examples
    --------
    >>> stated_signs(NumberFormat(decimal=","))
    AmountSigns(decimal=',', thousands='.')
    """
    other = {".": ",", ",": "."}
    decimal = stated.decimal or other.get(stated.thousands, ".")
    thousands = stated.thousands or other.get(decimal, ",")
    return AmountSigns(decimal, thousands)


def _sign_and_digits(text: str) -> tuple[str, str]:
    """Part a minus, in front, behind or as brackets, from the digits."""
    digits = text
    is_negative = False
    if digits.startswith("(") and digits.endswith(")"):
        is_negative = True
        digits = digits[1:-1].strip(BLANKS)
    elif digits[:1] and digits[0] in MINUS_SIGNS:
        is_negative = True
        digits = digits[1:].strip(BLANKS)
    elif digits[-1:] and digits[-1] in MINUS_SIGNS:
        is_negative = True
        digits = digits[:-1].strip(BLANKS)
    elif digits.startswith("+"):
        digits = digits[1:]
    return "-" if is_negative else "", digits


def _converted(texts: pd.Series, reading: AmountSigns) -> pd.Series:
    numbers = by_distinct_value(texts, lambda text: reading.number(str(text)))
    return pd.to_numeric(numbers, errors="coerce").astype("float64")


def is_unsure(text: str) -> bool:
    """Return whether both readings take a text, for different amounts."""
    english = ENGLISH.number(text)
    continental = CONTINENTAL.number(text)
    if english is None or continental is None:
        return False
    return float(english) != float(continental)


def _note(reading: AmountSigns, proof: str) -> str:
    signs = {".": "a dot", ",": "a comma"}
    return (
        f"the decimal sign is read as {signs[reading.decimal]} and the thousands "
        f"sign as {signs[reading.thousands]}: {proof!r} proves it"
    )


_CHOICE = 'decimal = "." and thousands = ",", or decimal = "," and thousands = "."'


def _ambiguity(text: str) -> SignProof:
    english = ENGLISH.number(text)
    continental = CONTINENTAL.number(text)
    readings = " or ".join(_short(number) for number in (english, continental))
    return SignProof(None, refusal=f"{text!r} can be {readings}", choice=_CHOICE)


def _short(number: str | None) -> str:
    text = number or ""
    return text.removesuffix(".0")


def _contradiction(english: str, continental: str) -> SignProof:
    refusal = f"{english!r} has a decimal dot, {continental!r} a decimal comma"
    return SignProof(None, refusal=refusal, choice=_CHOICE)
