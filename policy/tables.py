"""Decision tables in the DMN manner: read from plain data, proven whole at load, compiled to a lookup.

A table that has an unknown column, a mistyped cell, a gap, an overlap or a row that can never fire is
refused with its place and reason: a rule nobody can reach is a rule somebody believes in.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from data.errors import PolicyError
from policy.cells import Cell, Column, Value, known_keys, n_regions, read_cell, read_column, regions

MOST_COMBINATIONS = 200_000
HIT_POLICIES = ("unique", "first", "collect")


@dataclass(frozen=True)
class Rule:
    """One row: an id, a cell per input, the outputs, and why it is there, in English and Chinese."""

    id: str
    cells: tuple[Cell, ...]
    outputs: Mapping[str, Value]
    because: str
    because_zh: str = ""


@dataclass(frozen=True)
class Evaluation:
    """What a table did: the values it saw, the rows it tried, the row that fired, what that gave."""

    table: str
    inputs: Mapping[str, Value]
    tried: tuple[str, ...]
    fired: str
    because: str
    because_zh: str
    outputs: Mapping[str, Value]


@dataclass(frozen=True)
class Table:
    """A compiled decision table.

    The numbers in its cells cut each input into regions in which no cell changes its answer; `answers` holds
    the rows that fire for every combination of regions (the last input changes fastest), None where a value
    is out of range. So evaluating is finding the regions: exact, and the same however many rows there are.
    """

    id: str
    hit: str
    inputs: tuple[Column, ...]
    outputs: tuple[Column, ...]
    rules: tuple[Rule, ...]
    places: tuple[Callable[[Value], int], ...]
    sizes: tuple[int, ...]
    answers: Sequence[tuple[int, ...] | None]
    tried: tuple[tuple[str, ...], ...]

    def __call__(self, **values: Value) -> Evaluation:
        """Evaluate the row that fits (the first of them); a missing, mistyped or out-of-range value is an error.

        Raises
        ------
        PolicyError
            Where a value is not one the table was proven for.
        """
        fired = self._fired(values)
        return self._evaluation(values, fired[0])

    def all(self, **values: Value) -> list[Evaluation]:
        """Evaluate every row that fits, in their order; for the hit policy ``collect`` there may be none."""
        return [self._evaluation(values, place) for place in self._fired(values)]

    def _fired(self, values: Mapping[str, Value]) -> tuple[int, ...]:
        at = 0
        for column, place, size in zip(self.inputs, self.places, self.sizes, strict=True):
            found = place(values.get(column.name))
            if found < 0:
                break
            at = at * size + found
        else:
            fired = self.answers[at]
            if fired is not None:
                return fired
        for column in self.inputs:
            column.checked(values.get(column.name), self.id)
        raise PolicyError(f"no row answers {values}", where=self.id)  # unreachable: gaps are refused at load

    def _evaluation(self, values: Mapping[str, Value], place: int) -> Evaluation:
        rule, seen = self.rules[place], {column.name: values.get(column.name) for column in self.inputs}
        return Evaluation(self.id, seen, self.tried[place], rule.id, rule.because, rule.because_zh, rule.outputs)


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
    table_id, hit = str(spec.get("id", "?")), spec.get("hit")
    known_keys(spec, {"id", "hit", "effective", "source", "inputs", "outputs", "rules", "cases"}, table_id)
    if hit not in HIT_POLICIES:
        raise PolicyError(f"hit policy {hit!r}", where=table_id, expected=f"one of {HIT_POLICIES}")
    inputs = tuple(read_column(name, text, table_id) for name, text in spec.get("inputs", {}).items())
    outputs = tuple(read_column(name, text, table_id) for name, text in spec.get("outputs", {}).items())
    rules = tuple(_rule(row, inputs, outputs, table_id) for row in spec.get("rules", ()))
    points = [_points(column, [rule.cells[place] for rule in rules]) for place, column in enumerate(inputs)]
    sizes = tuple(n_regions(column, found) for column, found in zip(inputs, points, strict=True))
    ids = tuple(rule.id for rule in rules)
    if len(set(ids)) < len(ids):
        raise PolicyError("two rows have one id", where=table_id, expected="an id per row")
    table = Table(
        table_id, hit, inputs, outputs, rules,
        tuple(_place_in(column, found) for column, found in zip(inputs, points, strict=True)),
        sizes, _answers(table_id, hit, inputs, points, sizes, rules),
        tuple(ids if hit == "collect" else ids[: place + 1] for place in range(len(ids))),
    )  # fmt: skip
    _run_cases(table, spec.get("cases", ()))
    return table


def _rule(row: Mapping[str, Any], inputs: Sequence[Column], outputs: Sequence[Column], table_id: str) -> Rule:
    where = f"{table_id} row {row.get('id', '?')}"
    known_keys(row, {"id", "when", "then", "because", "zh"}, where)
    if not row.get("id") or not row.get("because"):
        raise PolicyError("no id or no because", where=where, expected="an id and why the row is there")
    when, then = row.get("when", {}), row.get("then", {})
    known_keys(when, {column.name for column in inputs}, f"{where} when")
    known_keys(then, {column.name for column in outputs}, f"{where} then")
    cells = tuple(read_cell(str(when.get(column.name, "-")), column, f"{where}, {column.name}") for column in inputs)
    given = {column.name: _output(column, then, where) for column in outputs}
    return Rule(str(row["id"]), cells, given, str(row["because"]), str(row.get("zh", "")))


def _output(column: Column, then: Mapping[str, Any], where: str) -> Value:
    if column.name not in then:
        raise PolicyError("no output", where=f"{where}.{column.name}", expected=f"a {column.type}")
    value = then[column.name]
    if column.type == "number" and isinstance(value, int | float) and not isinstance(value, bool):
        value = Decimal(str(value))
    return column.checked(value, where)


def _points(column: Column, cells: Sequence[Cell]) -> list[Decimal]:
    """The numbers where an answer can change, the ends of the range among them: beyond these nothing answers."""
    ends = {end for end in (column.low, column.high) if end is not None}
    return sorted(ends.union(*(cell.points() for cell in cells)))


def _place_in(column: Column, points: Sequence[Decimal]) -> Callable[[Value], int]:
    """Return a function from a value to its region; below 0 where the column does not allow it."""
    null = n_regions(column, points) - 1 if column.is_nullable else -1
    if column.type == "boolean":
        return lambda value: int(value) if isinstance(value, bool) else null if value is None else -1
    if column.type == "text":
        known: dict[Value, int] = {text: place for place, text in enumerate(column.values)}
        return lambda value: null if value is None else known.get(value, -1)
    types, n = (int,) if column.type == "integer" else (Decimal, int), len(points)

    def place(value: Any) -> int:
        if value is None:
            return null
        if type(value) not in types or not (type(value) is int or value.is_finite()):
            return -1
        below = bisect_left(points, value)
        return 2 * below + (below < n and points[below] == value)

    return place


def _answers(
    table_id: str,
    hit: str,
    inputs: Sequence[Column],
    points: Sequence[Sequence[Decimal]],
    sizes: Sequence[int],
    rules: Sequence[Rule],
) -> list[tuple[int, ...] | None]:
    """Try one value out of every region; a gap, an overlap or a row nobody can reach is refused."""
    if math.prod(sizes) > MOST_COMBINATIONS:
        raise PolicyError("too large to prove", where=table_id, expected=f"at most {MOST_COMBINATIONS} combinations")
    answers: list[tuple[int, ...] | None] = [None] * math.prod(sizes)
    reached = set[int]()
    axes = [list(regions(column, found)) for column, found in zip(inputs, points, strict=True)]
    for combination in itertools.product(*axes):
        at = 0
        for (place, _), size in zip(combination, sizes, strict=True):
            at = at * size + place
        values = [value for _, value in combination]
        hits = [
            place for place, rule in enumerate(rules)
            if all(cell(value) for cell, value in zip(rule.cells, values, strict=True))
        ]  # fmt: skip
        if hit != "collect":
            _one_answer(table_id, hit, [rules[place].id for place in hits], inputs, values)
            hits = hits[:1]
        answers[at] = tuple(hits)
        reached.update(hits)
    for place, rule in enumerate(rules):
        if place not in reached:
            raise PolicyError("unreachable row", where=f"{table_id} row {rule.id}", do="remove it or move it up")
    return answers


def _one_answer(table_id: str, hit: str, hits: Sequence[str], inputs: Sequence[Column], values: list[Value]) -> None:
    if len(hits) == 1 or (hits and hit == "first"):
        return
    seen = ", ".join(f"{column.name} = {value}" for column, value in zip(inputs, values, strict=True))
    if not hits:
        raise PolicyError(f"gap: no row answers {seen}", where=table_id, do="add a row")
    raise PolicyError(f"overlap: rows {' and '.join(hits)} both answer {seen}", where=table_id)


def _run_cases(table: Table, cases: Sequence[Mapping[str, Any]]) -> None:
    """Run the worked examples; those of a ``collect`` table say which rows fire: ``out: {fired: [W1]}``."""
    if not cases:
        raise PolicyError("no cases", where=table.id, expected="worked examples: inputs -> outputs")
    for case in cases:
        given = {name: Decimal(str(v)) if isinstance(v, float) else v for name, v in case["in"].items()}
        outputs: Mapping[str, Any]
        if table.hit == "collect":
            outputs = {"fired": [evaluation.fired for evaluation in table.all(**given)]}
        else:
            outputs = table(**given).outputs
        for name, wanted in case["out"].items():
            if name not in outputs or str(outputs[name]) != str(wanted):
                raise PolicyError(
                    f"case {case['in']} gives {name} = {outputs.get(name)}", where=table.id, expected=str(wanted)
                )
