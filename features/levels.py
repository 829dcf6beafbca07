"""What a cell of a table stands for, however it is written."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from math import isfinite

import pandas as pd

from obligor.data.column_reading import is_missing

MISSING = ""
# What programs write for nothing; R and pandas write NA. One list for every file and
# every request, so that a cell is missing wherever it is met.
MISSING_WORDS = frozenset(
    (
        "",
        "#N/A",
        "#N/A N/A",
        "#NA",
        "-1.#IND",
        "-1.#QNAN",
        "-NaN",
        "-nan",
        "1.#IND",
        "1.#QNAN",
        "<NA>",
        "N/A",
        "NA",
        "NULL",
        "NaN",
        "NaT",
        "None",
        "n/a",
        "nan",
        "null",
    )
)
_WHOLE = re.compile(r"[+-]?\d{1,40}(\.0*)?")
_TRUTHS = ("true", "false")
# Words for true and words for false that occur together.
_TRUTH_WORDS = (
    (("true", "t"), ("false", "f")),
    (("yes", "y"), ("no", "n")),
    (("ja", "j"), ("nein", "n")),
    (("oui", "o"), ("non", "n")),
    (("sí", "si", "s"), ("no", "n")),
    (("是",), ("否",)),
)
_TRUE_WORDS = frozenset(word for trues, _ in _TRUTH_WORDS for word in trues)
_FALSE_WORDS = frozenset(word for _, falses in _TRUTH_WORDS for word in falses)


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


def truth_of(text: str) -> bool | None:
    """Return what a word for a truth value says, None for another word.

    Examples
    --------
    >>> truth_of("Ja"), truth_of("f"), truth_of("0"), truth_of("perhaps")
    (True, False, False, None)
    """
    word = text.strip().casefold()
    if word in _TRUE_WORDS or word in ("1", "1.0"):
        return True
    if word in _FALSE_WORDS or word in ("0", "0.0"):
        return False
    return None


def are_truths(texts: Collection[str]) -> bool:
    """Return whether the texts of a column are a word for true and one for false.

    Examples
    --------
    >>> are_truths(["Y", "N", ""]), are_truths(["f", "m"]), are_truths(["no"])
    (True, False, False)
    """
    words = {text.strip().casefold() for text in texts if text not in MISSING_WORDS}
    for trues, falses in _TRUTH_WORDS:
        has_both = bool(words.intersection(trues)) and bool(words.intersection(falses))
        if has_both and words <= {*trues, *falses}:
            return True
    return False


def synonyms_of(texts: Collection[str]) -> Mapping[str, str]:
    """Return what words for truth values, and 1 and 0, stand for among some texts.

    Parameters
    ----------
    texts : collection of str
        The levels of a column, or their keys.

    Returns
    -------
    mapping of str to str
        The level by each word in small letters; empty if the levels are not truth
        values, or 1 and 0.
    """
    if are_truths(texts):
        words = (*_TRUE_WORDS, *_FALSE_WORDS, "1", "0")
    elif "true" in texts or "false" in texts:
        words = ("1", "0")
    else:
        words = _TRUTHS
    level_by_truth = dict[bool | None, str]()
    for text in sorted(texts):
        level_by_truth.setdefault(truth_of(text), text)
    synonyms = dict[str, str]()
    for word in words:
        level = level_by_truth.get(truth_of(word))
        if level is not None:
            synonyms[word] = level
    return synonyms


def texts(values: pd.Series) -> pd.Series:
    """Return a column as texts; a missing value is the empty text.

    A whole number is written without a dot: a column of codes is read as floats as soon
    as one of them is missing.
    """
    is_float = pd.api.types.is_float_dtype(values)
    if is_float or values.dtype == object:
        values = values.astype(object).map(_without_fraction)
    present = values.astype(object).where(values.notna(), MISSING)
    stripped = present.astype(str).str.strip()
    return stripped.where(~stripped.isin(MISSING_WORDS), MISSING)


def cell_text(cell: object) -> str:
    """Return one cell as `texts` returns a column of them.

    Examples
    --------
    >>> cell_text(2.0), cell_text(" a "), cell_text(None), cell_text(True)
    ('2', 'a', '', 'True')
    """
    if is_missing(cell):
        return MISSING
    text = str(_without_fraction(cell)).strip()
    return MISSING if text in MISSING_WORDS else text


class LevelLookup:
    """Finds the level that a text stands for.

    ``1``, ``1.0`` and ``"1"`` are one level, as are ``true``, ``yes`` and ``1`` where
    there is no other.

    Parameters
    ----------
    levels : sequence of str
        As they were learnt.
    """

    def __init__(self, levels: Sequence[str]) -> None:
        self._index_of = {level: index for index, level in enumerate(levels)}
        self._index_of_key = dict[str, int]()
        for index, level in enumerate(levels):
            self._index_of_key.setdefault(level_key(level), index)
        self._synonyms = synonyms_of(self._index_of_key)

    def index(self, text: str) -> float:
        """Return the index of the level of a text, NaN if it is another one."""
        # A text that is a level itself is meant, though it equals another in value.
        index = self._index_of.get(text)
        if index is None:
            key = level_key(text)
            synonym = self._synonyms.get(key.casefold(), key)
            by_synonym = self._index_of_key.get(synonym)
            index = self._index_of_key.get(key, by_synonym)
        return float("nan") if index is None else float(index)


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
