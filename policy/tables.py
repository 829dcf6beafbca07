"""Decision tables in the DMN manner: read from plain data, proven whole at load, compiled to closures.

Cells are S-FEEL unary tests: ``-`` (anything), ``null``, ``< 5``, ``[0..30)``, ``"a", "b"``, ``not(...)``.
A table that has an unknown column, a mistyped cell, a gap, an overlap or a row that can never fire is
refused with its place and reason: a rule nobody can reach is a rule somebody believes in.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from data.errors import PolicyError

Value = Decimal | int | str | bool | None
Test = Callable[[Value], bool]
MOST_COMBINATIONS = 200_000

_NUMBER = re.compile(r"-?\d+(\.\d+)?\Z")
_COMPARISON = re.compile(r"(<=|>=|<|>)\s*(-?\d+(?:\.\d+)?)\Z")
_RANGE = re.compile(r"([\[(])\s*(-?\d+(?:\.\d+)?)\s*\.\.\s*(-?\d+(?:\.\d+)?)\s*([\])])\Z")


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


@dataclass(frozen=True)
class Rule:
    """One row: an id, a test per input, the outputs, and why it is there.

    `asked` are the tests that are not "anything", with the place of their input; `tried` the rows up to it.
    """

    id: str
    tests: tuple[Test, ...]
    outputs: Mapping[str, Value]
    because: str
    asked: tuple[tuple[int, Test], ...]
    tried: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """What a table did: the values it saw, the rows it tried, the row that fired, what that gave."""

    table: str
    inputs: Mapping[str, Value]
    tried: tuple[str, ...]
    fired: str
    because: str
    outputs: Mapping[str, Value]


@dataclass(frozen=True)
class Table:
    """A compiled decision table."""

    id: str
    hit: str
    inputs: tuple[Column, ...]
    outputs: tuple[Column, ...]
    rules: tuple[Rule, ...]

    def __call__(self, **values: Value) -> Evaluation:
        """Evaluate the first row that fits; a missing, mistyped or out-of-range value is an error.

        Raises
        ------
        PolicyError
            Where a value is not one the table was proven for.
        """
        row = [_checked(column, values.get(column.name), self.id) for column in self.inputs]
        for rule in self.rules:
            for place, test in rule.asked:
                if not test(row[place]):
                    break
            else:
                seen = {column.name: value for column, value in zip(self.inputs, row, strict=True)}
                return Evaluation(self.id, seen, rule.tried, rule.id, rule.because, rule.outputs)
        raise PolicyError(f"no row answers {row}", where=self.id)  # unreachable: gaps are refused at load


def compile_table(spec: Mapping[str, Any]) -> Table:
    """Compile one table and prove it: no gap, no overlap (hit ``unique``), no unreachable row, cases pass.

    Parameters
    ----------
    spec : mapping
        ``id, hit, inputs, outputs, rules, cases``: a YAML file of `policy/rules`, parsed.

    Raises
    ------
    PolicyError
        Naming table, row, column and reason.
    """
    table_id = str(spec.get("id", "?"))
    _known_keys(spec, {"id", "hit", "effective", "source", "inputs", "outputs", "rules", "cases"}, table_id)
    if spec.get("hit") not in ("unique", "first"):
        raise PolicyError(f"hit policy {spec.get('hit')!r}", where=table_id, expected="unique or first")
    inputs = tuple(_column(name, text, table_id) for name, text in spec.get("inputs", {}).items())
    outputs = tuple(_column(name, text, table_id) for name, text in spec.get("outputs", {}).items())
    points = {column.name: set[Decimal]() for column in inputs}
    rules = tuple(_rule(row, inputs, outputs, points, table_id) for row in spec.get("rules", ()))
    rules = tuple(
        replace(rule, tried=tuple(tried.id for tried in rules[: place + 1])) for place, rule in enumerate(rules)
    )
    table = Table(table_id, spec["hit"], inputs, outputs, rules)
    _prove(table, points)
    _run_cases(table, spec.get("cases", ()))
    return table


def _known_keys(found: Mapping[str, Any], known: set[str], where: str) -> None:
    for name in found:
        if name not in known:
            raise PolicyError(f"unknown column {name!r}", where=where, expected=f"one of {sorted(known)}")


def _column(name: str, spec: Mapping[str, Any], table_id: str) -> Column:
    where = f"{table_id}.{name}"
    _known_keys(spec, {"type", "unit", "low", "high", "values", "nullable"}, where)
    kind = spec.get("type")
    if kind not in ("number", "integer", "text", "boolean"):
        raise PolicyError(f"type {kind!r}", where=where, expected="number, integer, text or boolean")
    if kind in ("number", "integer") and not spec.get("unit"):
        raise PolicyError("no unit", where=where, expected="what the number counts, e.g. unit: days")
    if kind == "text" and not spec.get("values"):
        raise PolicyError("no values", where=where, expected="the list of texts that can occur")
    low, high = (None if spec.get(end) is None else Decimal(str(spec[end])) for end in ("low", "high"))
    return Column(
        name, kind, spec.get("unit", ""), low, high, tuple(spec.get("values", ())), spec.get("nullable") is True
    )


def _rule(
    row: Mapping[str, Any],
    inputs: Sequence[Column],
    outputs: Sequence[Column],
    points: dict[str, set[Decimal]],
    table_id: str,
) -> Rule:
    where = f"{table_id} row {row.get('id', '?')}"
    _known_keys(row, {"id", "when", "then", "because"}, where)
    if not row.get("id") or not row.get("because"):
        raise PolicyError("no id or no because", where=where, expected="an id and why the row is there")
    when, then = row.get("when", {}), row.get("then", {})
    _known_keys(when, {column.name for column in inputs}, f"{where} when")
    _known_keys(then, {column.name for column in outputs}, f"{where} then")
    tests = tuple(
        _test(str(when.get(column.name, "-")), column, points[column.name], f"{where}, {column.name}")
        for column in inputs
    )
    given = {column.name: _output(column, then, f"{where}, {column.name}") for column in outputs}
    asked = tuple((place, test) for place, test in enumerate(tests) if test is not _anything)
    return Rule(str(row["id"]), tests, given, str(row["because"]), asked)


def _output(column: Column, then: Mapping[str, Any], where: str) -> Value:
    if column.name not in then:
        raise PolicyError("no output", where=where, expected=f"a {column.type}")
    value = then[column.name]
    if column.type == "number" and isinstance(value, int | float) and not isinstance(value, bool):
        value = Decimal(str(value))
    return _checked(column, value, where)


_KINDS: dict[str, tuple[type, ...]] = {"text": (str,), "boolean": (bool,), "integer": (int,), "number": (Decimal, int)}


def _checked(column: Column, value: Value, where: str) -> Value:
    """Return the value of a column if it is one the column allows."""
    if value is None:
        if column.is_nullable:
            return None
        raise PolicyError("value is missing", where=f"{where}.{column.name}", expected=f"a {column.type}")
    is_number = column.type in ("number", "integer")
    if not isinstance(value, _KINDS[column.type]) or (is_number and isinstance(value, bool)):
        raise PolicyError(f"{value!r} has another type", where=f"{where}.{column.name}", expected=f"a {column.type}")
    if column.type == "text" and value not in column.values:
        raise PolicyError(f"{value!r} is no such text", where=f"{where}.{column.name}", expected=str(column.values))
    if isinstance(value, Decimal) and not value.is_finite():
        raise PolicyError("value is not finite", where=f"{where}.{column.name}", expected="a number")
    if isinstance(value, Decimal | int) and is_number and not _in_range(value, column):
        expected = f"{column.low} to {column.high}"
        raise PolicyError(f"{value} is out of range", where=f"{where}.{column.name}", expected=expected)
    return value


def _in_range(value: Decimal | int, column: Column) -> bool:
    return (column.low is None or value >= column.low) and (column.high is None or value <= column.high)


def _test(cell: str, column: Column, points: set[Decimal], where: str) -> Test:
    """Compile one cell; numbers it compares with go into `points`, where the answer can change."""
    cell = cell.strip()
    if cell == "-":
        return _anything
    if cell.startswith("not(") and cell.endswith(")"):
        inner = _test(cell[4:-1], column, points, where)
        return lambda value: value is not None and not inner(value)
    parts = _range_or_list(cell)
    tests = [_atom(part, column, points, where) for part in parts]
    return tests[0] if len(tests) == 1 else lambda value: any(test(value) for test in tests)


def _anything(value: Value) -> bool:
    return True


def _range_or_list(cell: str) -> list[str]:
    return [cell] if _RANGE.match(cell) else [part.strip() for part in cell.split(",")]


def _atom(cell: str, column: Column, points: set[Decimal], where: str) -> Test:
    expected = {"text": f"one of {column.values}", "boolean": "true or false"}.get(
        column.type, "a number, < <= > >= a number, or a range such as [0..30)"
    )
    if cell == "null":
        if not column.is_nullable:
            raise PolicyError("tests for null", where=where, expected="nullable: true on the column")
        return lambda value: value is None
    if column.type == "boolean" and cell.lower() in ("true", "false"):
        wanted = cell.lower() == "true"
        return lambda value: value is wanted
    if column.type == "text" and cell.strip('"') in column.values:
        text = cell.strip('"')
        return lambda value: value == text
    if column.type in ("number", "integer"):
        return _number_test(cell, points, where, expected)
    raise PolicyError(f"cannot read {cell!r}", where=where, expected=expected)


def _number_test(cell: str, points: set[Decimal], where: str, expected: str) -> Test:
    if _NUMBER.match(cell):
        low = high = Decimal(cell)
        has_low = has_high = True
    elif found := _COMPARISON.match(cell):
        sign, number = found[1], Decimal(found[2])
        low, high = (Decimal("-Infinity"), number) if sign[0] == "<" else (number, Decimal("Infinity"))
        has_low, has_high = sign != ">", sign != "<"
    elif found := _RANGE.match(cell):
        low, high = Decimal(found[2]), Decimal(found[3])
        has_low, has_high = found[1] == "[", found[4] == "]"
        if low > high or (low == high and not (has_low and has_high)):
            raise PolicyError(f"range {cell} is empty", where=where, expected="the lower end first")
    else:
        raise PolicyError(f"cannot read {cell!r}", where=where, expected=expected)
    points |= {end for end in (low, high) if end.is_finite()}

    def is_in(value: Value) -> bool:
        if not isinstance(value, Decimal | int):
            return False
        return (low <= value if has_low else low < value) and (value <= high if has_high else value < high)

    return is_in


def _prove(table: Table, points: Mapping[str, set[Decimal]]) -> None:
    """Try one value out of every region in which no cell changes its answer."""
    regions = [list(_representatives(column, points[column.name])) for column in table.inputs]
    if math.prod(len(region) for region in regions) > MOST_COMBINATIONS:
        raise PolicyError("too large to prove", where=table.id, expected=f"at most {MOST_COMBINATIONS} combinations")
    reached = set[str]()
    for values in itertools.product(*regions):
        hits = [
            rule.id for rule in table.rules if all(test(value) for test, value in zip(rule.tests, values, strict=True))
        ]
        seen = ", ".join(f"{column.name} = {value}" for column, value in zip(table.inputs, values, strict=True))
        if not hits:
            raise PolicyError(f"gap: no row answers {seen}", where=table.id, do="add a row")
        if len(hits) > 1 and table.hit == "unique":
            raise PolicyError(f"overlap: rows {' and '.join(hits)} both answer {seen}", where=table.id)
        reached.add(hits[0])
    for rule in table.rules:
        if rule.id not in reached:
            raise PolicyError("unreachable row", where=f"{table.id} row {rule.id}", do="remove it or move it up")


def _representatives(column: Column, points: set[Decimal]) -> Iterator[Value]:
    if column.is_nullable:
        yield None
    if column.type == "boolean":
        yield from (True, False)
    elif column.type == "text":
        yield from column.values
    else:
        yield from _numbers(column, sorted(points | {end for end in (column.low, column.high) if end is not None}))


def _numbers(column: Column, points: Sequence[Decimal]) -> Iterator[Decimal | int]:
    """Every point, one number between each two, one below the first and one above the last."""
    if not points:
        yield 0
        return
    between = [(a + b) / 2 for a, b in itertools.pairwise(points)]
    for number in (points[0] - 1, *points, *between, points[-1] + 1):
        if column.type == "integer":
            for whole in {math.floor(number), math.ceil(number)}:
                if _in_range(whole, column):
                    yield whole
        elif _in_range(number, column):
            yield number


def _run_cases(table: Table, cases: Sequence[Mapping[str, Any]]) -> None:
    if not cases:
        raise PolicyError("no cases", where=table.id, expected="worked examples: inputs -> outputs")
    for case in cases:
        given = {name: Decimal(str(v)) if isinstance(v, float) else v for name, v in case["in"].items()}
        outputs = table(**given).outputs
        for name, wanted in case["out"].items():
            if name not in outputs or str(outputs[name]) != str(wanted):
                raise PolicyError(
                    f"case {case['in']} gives {name} = {outputs.get(name)}", where=table.id, expected=str(wanted)
                )
