"""The cells of a decision table: S-FEEL unary tests, parsed once.

A cell is ``-`` (anything), ``null``, ``< 5``, ``[0..30)``, ``"a", "b"``, ``true`` or
``not(...)`` of one of them.
"""

from __future__ import annotations

import itertools
import keyword
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from obligor.errors import PolicyError
from obligor.policy.rulebooks.files import ColumnEntry

Value = Decimal | int | str | bool | None

# Names become parameters of generated code, so nothing but a name may pass.
_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_NUMBER = re.compile(r"-?\d+(\.\d+)?\Z")
_COMPARISON = re.compile(r"(<=|>=|<|>)\s*(-?\d+(?:\.\d+)?)\Z")
_RANGE = re.compile(
    r"([\[(])\s*(-?\d+(?:\.\d+)?)\s*\.\.\s*(-?\d+(?:\.\d+)?)\s*([\])])\Z"
)
_KINDS: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (Decimal, int),
}
_EXPECTED_TEST = "a number, < <= > >= a number, or a range such as [0..30)"


@dataclass(frozen=True)
class Column:
    """One input or output of a table.

    Attributes
    ----------
    type : {"number", "integer", "text", "boolean"}
        Numbers are Decimal.
    unit : str
        Unit of a number, such as days; required for numbers.
    low, high : Decimal, optional
        The range of a number, both ends included.
    values : tuple of str
        Every text that can occur.
    is_nullable : bool
        Whether "not known" can occur; then some row must answer it.
    """

    name: str
    type: str
    unit: str = ""
    low: Decimal | None = None
    high: Decimal | None = None
    values: tuple[str, ...] = ()
    is_nullable: bool = False

    @property
    def is_number(self) -> bool:
        """Whether its values are numbers, whole or not."""
        return self.type in ("number", "integer")

    def allows(self, value: Decimal | int) -> bool:
        """Whether a number lies in the column's range."""
        is_too_low = self.low is not None and value < self.low
        is_too_high = self.high is not None and value > self.high
        return not (is_too_low or is_too_high)

    def checked(self, value: Value, where: str) -> Value:
        """Return a value that the column allows; `PolicyError` for any other."""
        where = f"{where}.{self.name}"
        if value is None:
            if not self.is_nullable:
                raise PolicyError(
                    "value is missing", where=where, expected=f"a {self.type}"
                )
            return None
        if not self._has_type(value):
            raise PolicyError(
                f"{value!r} has another type", where=where, expected=f"a {self.type}"
            )
        if self.type == "text" and value not in self.values:
            raise PolicyError(
                f"{value!r} is not one of the texts",
                where=where,
                expected=f"one of {self.values}",
            )
        if self.is_number and isinstance(value, Decimal | int):
            self._check_range(value, where)
        return value

    def _has_type(self, value: Value) -> bool:
        if self.is_number and isinstance(value, bool):
            return False
        return isinstance(value, _KINDS[self.type])

    def _check_range(self, value: Decimal | int, where: str) -> None:
        if isinstance(value, Decimal) and not value.is_finite():
            raise PolicyError("value is not finite", where=where, expected="a number")
        if not self.allows(value):
            raise PolicyError(
                f"{value} is out of range",
                where=where,
                expected=f"{self.low} to {self.high}",
            )


def read_column(
    name: str,
    entry: ColumnEntry,
    table_id: str,
) -> Column:
    """Return a column from its entry in a table's file.

    Parameters
    ----------
    name : str
        Name of the column.
    entry : ColumnEntry
        Type, unit, range, values and nullability.
    table_id : str
        The table, for messages.

    Returns
    -------
    Column
        The column.

    Raises
    ------
    PolicyError
        If the type, a number's unit or a text's values are missing.
    """
    where = f"{table_id}.{name}"
    if not _NAME.match(name) or keyword.iskeyword(name):
        raise PolicyError(
            f"{name!r} is not a valid column name",
            where=where,
            expected="small letters, digits and _",
        )
    check_keys(entry, ("type", "unit", "low", "high", "values", "nullable"), where)
    kind = entry.get("type")
    if kind not in _KINDS:
        raise PolicyError(
            f"unknown type {kind!r}",
            where=where,
            expected="number, integer, text or boolean",
        )
    if kind in ("number", "integer") and not entry.get("unit"):
        raise PolicyError(
            "the column has no unit",
            where=where,
            expected="the unit of the number, e.g. unit: days",
        )
    if kind == "text" and not entry.get("values"):
        raise PolicyError(
            "the column has no values",
            where=where,
            expected="the list of texts that can occur",
        )
    return Column(
        name=name,
        type=kind,
        unit=entry.get("unit", ""),
        low=_end(entry.get("low")),
        high=_end(entry.get("high")),
        values=tuple(entry.get("values") or ()),
        is_nullable=entry.get("nullable") is True,
    )


def _end(value: float | None) -> Decimal | None:
    """One end of a column's range; None if it is open."""
    return None if value is None else Decimal(str(value))


def check_keys(
    entry: Mapping[str, object],
    allowed: Collection[str],
    where: str,
) -> None:
    """Refuse an unknown key: it is a mistyped one.

    Parameters
    ----------
    entry : mapping
        An entry of a file.
    allowed : collection of str
        The keys it may have.
    where : str
        The file and entry, for the message.

    Raises
    ------
    PolicyError
        Naming the key.
    """
    for name in entry:
        if name not in allowed:
            raise PolicyError(
                f"unknown column {name!r}",
                where=where,
                expected=f"one of {sorted(allowed)}",
            )


@dataclass(frozen=True)
class Span:
    """The numbers between two ends; an end may be included, excluded or infinite."""

    low: Decimal
    high: Decimal
    has_low: bool
    has_high: bool

    def __contains__(self, value: Decimal | int) -> bool:
        """Whether a number lies within."""
        is_above = self.low <= value if self.has_low else self.low < value
        is_below = value <= self.high if self.has_high else value < self.high
        return is_above and is_below


Test = Span | str | bool | None


@dataclass(frozen=True)
class Cell:
    """A test of one value.

    Attributes
    ----------
    any_of : tuple
        Spans of numbers, texts, truth values, or None for null. The value passes if it
        is one of them; without any, every value passes.
    is_negated : bool
        Whether the value passes if it is known and none of them.
    """

    any_of: tuple[Test, ...] = ()
    is_negated: bool = False

    def __call__(self, value: Value) -> bool:
        """Whether the value passes.

        Examples
        --------
        >>> overdue = read_cell(
        ...     "(30..60]", Column("dpd_days", "number", "days"), "table"
        ... )
        >>> overdue(Decimal(30)), overdue(Decimal(60)), overdue(None)
        (False, True, False)
        """
        if not self.any_of:
            return True
        # A missing value never passes by negation.
        if self.is_negated and value is None:
            return False
        passes = any(_is_true(test, value) for test in self.any_of)
        return passes is not self.is_negated

    def points(self) -> set[Decimal]:
        """Return the numbers at which its answer can change."""
        ends = set[Decimal]()
        for test in self.any_of:
            if isinstance(test, Span):
                ends |= {test.low, test.high}
        return {end for end in ends if end.is_finite()}


def _is_true(test: Test, value: Value) -> bool:
    if isinstance(test, Span):
        return isinstance(value, Decimal | int) and value in test
    if test is None or isinstance(test, bool):
        return value is test
    return value == test


def read_cell(
    text: str,
    column: Column,
    where: str,
) -> Cell:
    """Parse one cell; nothing is guessed and nothing is skipped.

    Parameters
    ----------
    text : str
        The test.
    column : Column
        The input it tests.
    where : str
        Table, row and column, for messages.

    Returns
    -------
    Cell
        The test, parsed.

    Raises
    ------
    PolicyError
        If it cannot be read; names the place and what is expected.
    """
    text = text.strip()
    if text == "-":
        return Cell()
    if text.startswith("not(") and text.endswith(")"):
        inner = read_cell(text[4:-1], column, where)
        if inner.is_negated or not inner.any_of:
            raise PolicyError(
                f"cannot read {text!r}", where=where, expected="not() of a test, once"
            )
        return Cell(inner.any_of, is_negated=True)
    parts = [text]
    if not _RANGE.match(text):  # a single range needs no split
        parts = [part.strip() for part in text.split(",")]
    return Cell(tuple(_read_test(part, column, where) for part in parts))


def _read_test(
    text: str,
    column: Column,
    where: str,
) -> Test:
    if text == "null":
        if not column.is_nullable:
            raise PolicyError(
                "the cell tests for null, which cannot occur",
                where=where,
                expected="nullable: true on the column",
            )
        return None
    if column.type == "boolean" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if column.type == "text" and text.strip('"') in column.values:
        return text.strip('"')
    span = _read_span(text, where) if column.is_number else None
    if span is None:
        expected = {"text": f"one of {column.values}", "boolean": "true or false"}
        raise PolicyError(
            f"cannot read {text!r}",
            where=where,
            expected=expected.get(column.type, _EXPECTED_TEST),
        )
    return span


def _read_span(text: str, where: str) -> Span | None:
    """The numbers of a number, a comparison or a range; None for any other text."""
    if _NUMBER.match(text):
        return Span(
            Decimal(text),
            Decimal(text),
            has_low=True,
            has_high=True,
        )
    if comparison := _COMPARISON.match(text):
        return _compared(comparison[1], Decimal(comparison[2]))
    ends = _RANGE.match(text)
    if ends is None:
        return None
    span = Span(
        low=Decimal(ends[2]),
        high=Decimal(ends[3]),
        has_low=ends[1] == "[",
        has_high=ends[4] == "]",
    )
    # [5..5] is the number 5; [5..5) is nothing.
    is_point = span.low == span.high and span.has_low and span.has_high
    if span.low >= span.high and not is_point:
        raise PolicyError(
            f"range {text} is empty", where=where, expected="the lower end first"
        )
    return span


def _compared(sign: str, number: Decimal) -> Span:
    """The numbers that a comparison such as ``<= 30`` lets through."""
    includes_end = sign.endswith("=")
    if sign.startswith("<"):
        return Span(
            Decimal("-Infinity"),
            number,
            has_low=True,
            has_high=includes_end,
        )
    return Span(
        number,
        Decimal("Infinity"),
        has_low=includes_end,
        has_high=True,
    )


def regions(column: Column, points: Sequence[Decimal]) -> Iterator[tuple[int, Value]]:
    """Give one value of every region of a column in which no cell changes its answer.

    Parameters
    ----------
    column : Column
        The input.
    points : sequence of Decimal
        The numbers at which an answer can change, ascending. Point i is region 2i + 1,
        and the numbers just below it are region 2i.

    Yields
    ------
    (int, Value)
        Index of the region, and a value of it.
    """
    if column.type == "boolean":
        yield from ((0, False), (1, True))
    elif column.type == "text":
        yield from enumerate(column.values)
    else:
        yield from _number_regions(column, points)
    if column.is_nullable:
        yield n_regions(column, points) - 1, None


def n_regions(column: Column, points: Sequence[Decimal]) -> int:
    """Return the number of regions, including those no value can take.

    Null has the last one, and infinity the one before it.
    """
    if column.type == "boolean":
        n_values = 2
    elif column.type == "text":
        n_values = len(column.values)
    else:
        n_values = 2 * len(points) + 2
    return n_values + column.is_nullable


def _number_regions(
    column: Column, points: Sequence[Decimal]
) -> Iterator[tuple[int, Value]]:
    if not points:
        ends = (column.low, column.high, Decimal(0))
        yield 0, next(end for end in ends if end is not None)
        return
    # One number below the first point, between two, and above the last one.
    between = [
        points[0] - 1,
        *((low + high) / 2 for low, high in itertools.pairwise(points)),
        points[-1] + 1,
    ]
    numbers = [between[0]]
    for point, above in zip(points, between[1:], strict=True):
        numbers += [point, above]
    for region, number in enumerate(numbers):
        value = _value_of_region(region, number, column, points)
        if value is not None and column.allows(value):
            yield region, value


def _value_of_region(
    region: int,
    number: Decimal,
    column: Column,
    points: Sequence[Decimal],
) -> Decimal | int | None:
    """A number of the region; a whole one, if there is any, for integers."""
    if column.type == "number":
        return number
    # Between 1 and 1.5 there is no whole number, between 1 and 2.5 there is 2.
    for whole in (math.floor(number), math.ceil(number)):
        if region_of(whole, points) == region:
            return whole
    return None


def region_of(value: Decimal | int, points: Sequence[Decimal]) -> int:
    """Return the region of a number: odd on a point, even between two."""
    below = sum(point < value for point in points)
    is_on_point = below < len(points) and points[below] == value
    return 2 * below + is_on_point
