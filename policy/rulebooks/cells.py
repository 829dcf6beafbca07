"""The cells of a decision table: S-FEEL unary tests, parsed once; `policy.tables` compiles them.

A cell is ``-`` (anything), ``null``, ``< 5``, ``[0..30)``, ``"a", "b"``, ``true`` or ``not(...)`` of these.
"""

from __future__ import annotations

import itertools
import keyword
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from obligor.errors import PolicyError

Value = Decimal | int | str | bool | None

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


@dataclass(frozen=True)
class Column:
    """One input or output of a table.

    Attributes
    ----------
    type : {"number", "integer", "text", "boolean"}
        Numbers are Decimal.
    unit : str
        What a number counts; required for numbers.
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
        return (self.low is None or value >= self.low) and (
            self.high is None or value <= self.high
        )

    def checked(self, value: Value, where: str) -> Value:
        """Return a value the column allows; `PolicyError` for any other."""
        where = f"{where}.{self.name}"
        if value is None:
            if self.is_nullable:
                return None
            raise PolicyError(
                "value is missing", where=where, expected=f"a {self.type}"
            )
        if not isinstance(value, _KINDS[self.type]) or (
            self.is_number and isinstance(value, bool)
        ):
            raise PolicyError(
                f"{value!r} has another type", where=where, expected=f"a {self.type}"
            )
        if self.type == "text" and value not in self.values:
            raise PolicyError(
                f"{value!r} is no such text", where=where, expected=str(self.values)
            )
        if isinstance(value, Decimal) and not value.is_finite():
            raise PolicyError("value is not finite", where=where, expected="a number")
        if (
            isinstance(value, Decimal | int)
            and self.is_number
            and not self.allows(value)
        ):
            raise PolicyError(
                f"{value} is out of range",
                where=where,
                expected=f"{self.low} to {self.high}",
            )
        return value


def read_column(name: str, spec: Mapping[str, Any], table_id: str) -> Column:
    """Return a column from its entry in a table's file.

    Raises
    ------
    PolicyError
        Where the type, a number's unit or a text's values are missing.
    """
    where = f"{table_id}.{name}"
    if not _NAME.match(name) or keyword.iskeyword(name):
        raise PolicyError(
            f"name {name!r}", where=where, expected="small letters, digits and _"
        )
    known_keys(spec, {"type", "unit", "low", "high", "values", "nullable"}, where)
    kind = spec.get("type")
    if kind not in _KINDS:
        raise PolicyError(
            f"type {kind!r}", where=where, expected="number, integer, text or boolean"
        )
    if kind in ("number", "integer") and not spec.get("unit"):
        raise PolicyError(
            "no unit", where=where, expected="what the number counts, e.g. unit: days"
        )
    if kind == "text" and not spec.get("values"):
        raise PolicyError(
            "no values", where=where, expected="the list of texts that can occur"
        )
    low, high = (
        None if spec.get(end) is None else Decimal(str(spec[end]))
        for end in ("low", "high")
    )
    values = tuple(spec.get("values") or ())
    return Column(
        name,
        kind,
        spec.get("unit", ""),
        low,
        high,
        values,
        spec.get("nullable") is True,
    )


def known_keys(found: Mapping[str, Any], known: set[str], where: str) -> None:
    """Refuse a name nobody asked for: it is a mistyped one."""
    for name in found:
        if name not in known:
            raise PolicyError(
                f"unknown column {name!r}",
                where=where,
                expected=f"one of {sorted(known)}",
            )


@dataclass(frozen=True)
class Span:
    """The numbers between two ends, each end included or not; an end may be infinite."""

    low: Decimal
    high: Decimal
    has_low: bool
    has_high: bool

    def __contains__(self, value: Decimal | int) -> bool:
        """Whether a number lies within."""
        is_above = self.low <= value if self.has_low else self.low < value
        return is_above and (value <= self.high if self.has_high else value < self.high)


@dataclass(frozen=True)
class Cell:
    """A test of one value: whether any of `any_of` is true of it, or none (and it is known) where negated.

    Attributes
    ----------
    any_of : tuple
        A `Span` of numbers, a text, a truth value, or None for null; empty: anything goes.
    """

    any_of: tuple[Span | str | bool | None, ...] = ()
    is_negated: bool = False

    def __call__(self, value: Value) -> bool:
        """Whether the value passes.

        Examples
        --------
        >>> overdue = read_cell("(30..60]", Column("dpd_days", "number", "days"), "table")
        >>> overdue(Decimal(30)), overdue(Decimal(60)), overdue(None)
        (False, True, False)
        """
        if not self.any_of:
            return True
        if self.is_negated:
            return value is not None and not any(
                _is_true(one, value) for one in self.any_of
            )
        return any(_is_true(one, value) for one in self.any_of)

    def points(self) -> set[Decimal]:
        """Return the numbers at which its answer can change."""
        ends = {
            end
            for one in self.any_of
            if isinstance(one, Span)
            for end in (one.low, one.high)
        }
        return {end for end in ends if end.is_finite()}


def _is_true(one: Span | str | bool | None, value: Value) -> bool:
    if isinstance(one, Span):
        return isinstance(value, Decimal | int) and value in one
    return value is one if one is None or isinstance(one, bool) else value == one


def read_cell(text: str, column: Column, where: str) -> Cell:
    """Parse one cell.

    Raises
    ------
    PolicyError
        Where it cannot be read, naming the place and what is expected: never guessed, never skipped.
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
    parts = [text] if _RANGE.match(text) else [part.strip() for part in text.split(",")]
    return Cell(tuple(_atom(part, column, where) for part in parts))


def _atom(text: str, column: Column, where: str) -> Span | str | bool | None:
    expected = {"text": f"one of {column.values}", "boolean": "true or false"}.get(
        column.type, "a number, < <= > >= a number, or a range such as [0..30)"
    )
    if text == "null":
        if not column.is_nullable:
            raise PolicyError(
                "tests for null", where=where, expected="nullable: true on the column"
            )
        return None
    if column.type == "boolean" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if column.type == "text" and text.strip('"') in column.values:
        return text.strip('"')
    if column.is_number:
        return _span(text, where, expected)
    raise PolicyError(f"cannot read {text!r}", where=where, expected=expected)


def _span(text: str, where: str, expected: str) -> Span:
    if _NUMBER.match(text):
        return Span(Decimal(text), Decimal(text), has_low=True, has_high=True)
    if found := _COMPARISON.match(text):
        sign, number = found[1], Decimal(found[2])
        if sign[0] == "<":
            return Span(
                Decimal("-Infinity"), number, has_low=True, has_high=sign == "<="
            )
        return Span(number, Decimal("Infinity"), has_low=sign == ">=", has_high=True)
    if found := _RANGE.match(text):
        span = Span(
            Decimal(found[2]),
            Decimal(found[3]),
            has_low=found[1] == "[",
            has_high=found[4] == "]",
        )
        if span.low > span.high or (
            span.low == span.high and not (span.has_low and span.has_high)
        ):
            raise PolicyError(
                f"range {text} is empty", where=where, expected="the lower end first"
            )
        return span
    raise PolicyError(f"cannot read {text!r}", where=where, expected=expected)


def regions(column: Column, points: Sequence[Decimal]) -> Iterator[tuple[int, Value]]:
    """Give one value out of every region of a column in which no cell changes its answer, with its place.

    Parameters
    ----------
    points : sequence of Decimal
        The numbers at which an answer can change, ascending. Point i is region 2i + 1, what lies below it 2i.
    """
    if column.type == "boolean":
        yield from ((0, False), (1, True))
    elif column.type == "text":
        yield from enumerate(column.values)
    else:
        yield from _numbers(column, points)
    if column.is_nullable:
        yield n_regions(column, points) - 1, None


def n_regions(column: Column, points: Sequence[Decimal]) -> int:
    """Return how many places there are, those that no value can take included; null has the last."""
    known = {"boolean": 2, "text": len(column.values)}.get(
        column.type, 2 * len(points) + 2
    )  # and infinity
    return known + column.is_nullable


def _numbers(column: Column, points: Sequence[Decimal]) -> Iterator[tuple[int, Value]]:
    if not points:
        yield (
            0,
            next(
                end for end in (column.low, column.high, Decimal(0)) if end is not None
            ),
        )
        return
    between = [
        points[0] - 1,
        *((a + b) / 2 for a, b in itertools.pairwise(points)),
        points[-1] + 1,
    ]
    for place, number in enumerate(
        itertools.chain(*itertools.zip_longest(between, points))
    ):
        if number is None:
            break
        if column.type == "number":
            candidates: Sequence[Decimal | int] = [number]
        else:
            candidates = [
                whole
                for whole in (math.floor(number), math.ceil(number))
                if place_of(whole, points) == place
            ]
        for value in candidates[:1]:
            if column.allows(value):
                yield place, value


def place_of(value: Decimal | int, points: Sequence[Decimal]) -> int:
    """Return the region of a number: odd on a point, even between two."""
    below = sum(point < value for point in points)
    return 2 * below + (below < len(points) and points[below] == value)
