"""Decision tables in the DMN manner: read from plain data, proven whole at load, compiled to a lookup.

A table that has an unknown column, a mistyped cell, a gap, an overlap or a row that can never fire is
refused with its place and reason: a rule nobody can reach is a rule somebody believes in.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any, NoReturn

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


@dataclass(slots=True)  # not frozen: that makes one take three times as long, and a decision has a dozen
class Evaluation:
    """What a table did: the values it saw, the rows it tried, the row that fired, what that gave."""

    table: str
    inputs: Mapping[str, Value]
    tried: tuple[str, ...]
    fired: str
    because: str
    because_zh: str
    outputs: Mapping[str, Value]

    def whole(self, name: str) -> int:
        """Return an output whose column is an integer, as checked at load."""
        value = self.outputs[name]
        assert isinstance(value, int)
        return value


@dataclass(frozen=True)
class Table:
    """A compiled decision table.

    The numbers in its cells cut each input into regions in which no cell changes its answer; `answers` holds
    the rows that fire for every combination of regions (the last input changes fastest), None where a value
    is out of range; `place` finds the combination.
    So evaluating is finding the regions: exact, and the same however many rows there are.
    """

    id: str
    hit: str
    inputs: tuple[Column, ...]
    outputs: tuple[Column, ...]
    rules: tuple[Rule, ...]
    points: tuple[tuple[Decimal, ...], ...]
    sizes: tuple[int, ...]
    answers: Sequence[tuple[int, ...] | None]
    place: Callable[..., tuple[int, dict[str, Value]]]
    rows: tuple[tuple[Any, ...], ...]

    def __call__(self, **values: Value) -> Evaluation:
        """Evaluate the row that fits (the first of them); a missing, mistyped or out-of-range value is an error.

        Raises
        ------
        PolicyError
            Where a value is not one the table was proven for.
        """
        place, seen = self.place(**values)
        fired = self.answers[place]
        return Evaluation(self.id, seen, *self.rows[fired[0]]) if fired else self._refuse(seen)

    def all(self, **values: Value) -> list[Evaluation]:
        """Evaluate every row that fits, in their order; for the hit policy ``collect`` there may be none."""
        place, seen = self.place(**values)
        fired = self.answers[place]
        if fired is None:
            self._refuse(seen)
        return [Evaluation(self.id, seen, *self.rows[row]) for row in fired or ()]

    def _refuse(self, values: Mapping[str, Value]) -> NoReturn:
        refuse(self.id, self.inputs, values)


def refuse(table_id: str, inputs: Sequence[Column], values: Mapping[str, Value]) -> NoReturn:
    """Raise the error that says which value is not one the table was proven for."""
    for column in inputs:
        column.checked(values.get(column.name), table_id)
    raise PolicyError(f"no row answers {values}", where=table_id)  # unreachable: gaps are refused at load


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
    points = tuple(_points(column, [rule.cells[place] for rule in rules]) for place, column in enumerate(inputs))
    sizes = tuple(n_regions(column, found) for column, found in zip(inputs, points, strict=True))
    ids = tuple(rule.id for rule in rules)
    if len(set(ids)) < len(ids):
        raise PolicyError("two rows have one id", where=table_id, expected="an id per row")
    answers = _answers(table_id, hit, inputs, points, sizes, rules)
    rows = tuple(
        (ids if hit == "collect" else ids[: n + 1], rule.id, rule.because, rule.because_zh, rule.outputs)
        for n, rule in enumerate(rules)
    )
    placing = _placing(table_id, inputs, points, sizes)
    table = Table(table_id, hit, inputs, outputs, rules, points, sizes, answers, placing, rows)
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


def _points(column: Column, cells: Sequence[Cell]) -> tuple[Decimal, ...]:
    """The numbers where an answer can change, the ends of the range among them: beyond these nothing answers."""
    ends = {end for end in (column.low, column.high) if end is not None}
    return tuple(sorted(ends.union(*(cell.points() for cell in cells))))


def _placing(
    table_id: str, inputs: Sequence[Column], points: Sequence[Sequence[Decimal]], sizes: Sequence[int]
) -> Callable[..., tuple[int, dict[str, Value]]]:
    """Return the function from a table's inputs to the place of their regions in `answers`, and the inputs.

    It is written out and compiled, a line per input: a loop over the columns took four times as long. Only
    names and sizes are written; `read_column` lets no name through that is more than a name.
    """
    known: dict[str, Any] = {"Decimal": Decimal, "bisect_left": bisect_left, "InvalidOperation": InvalidOperation}
    lines, seen = [], "{" + ", ".join(f"{column.name!r}: {column.name}" for column in inputs) + "}"
    for n, (column, found) in enumerate(zip(inputs, points, strict=True)):
        known[f"points{n}"] = (*found, Decimal("Infinity"))
        known[f"texts{n}"] = {text: place for place, text in enumerate(column.values)}
        null = f"elif {column.name} is None: place{n} = {sizes[n] - 1}" if column.is_nullable else ""
        lines += [*_region_lines(n, column), null, f"else: refuse({seen})"]
    place = "0"
    for n, size in enumerate(sizes):
        place = f"({place} * {size} + place{n})" if n else "place0"
    head = f"def place({', '.join(f'{column.name}=None' for column in inputs)}):"
    body = [f"  {line}" for line in lines if line]
    text = "\n".join([head, " try:", *body, f"  return {place}, {seen}", f" except InvalidOperation: refuse({seen})"])
    known["refuse"] = partial(refuse, table_id, inputs)
    exec(compile(text, f"<table {table_id}>", "exec"), known)
    return known["place"]  # type: ignore[no-any-return]


def _region_lines(n: int, column: Column) -> list[str]:
    """The lines that find the region of one input, up to the case of null."""
    name = column.name
    if column.type == "boolean":
        return [f"if {name} is True: place{n} = 1", f"elif {name} is False: place{n} = 0"]
    if column.type == "text":
        return [f"if {name} in texts{n}: place{n} = texts{n}[{name}]"]
    kinds = f"type({name}) is int" + ("" if column.type == "integer" else f" or type({name}) is Decimal")
    return [
        f"if {kinds}:",
        f"  place{n} = bisect_left(points{n}, {name})",
        f"  place{n} += place{n} + (points{n}[place{n}] == {name})",
    ]


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
    for at, fitting, values in _combinations(inputs, points, sizes, rules):
        hits = tuple(place for place in range(len(rules)) if fitting >> place & 1)
        if hit != "collect":
            _one_answer(table_id, hit, [rules[place].id for place in hits], inputs, values)
            hits = hits[:1]
        answers[at] = hits
        reached.update(hits)
    for place, rule in enumerate(rules):
        if place not in reached:
            raise PolicyError("unreachable row", where=f"{table_id} row {rule.id}", do="remove it or move it up")
    return answers


def _combinations(
    inputs: Sequence[Column], points: Sequence[Sequence[Decimal]], sizes: Sequence[int], rules: Sequence[Rule]
) -> list[tuple[int, int, tuple[Value, ...]]]:
    """Every combination of regions: its place, the rules whose cells all pass (a bit each), a value of each region.

    Grown column by column, so that a cell is asked once per region and not once per combination.
    """
    found: list[tuple[int, int, tuple[Value, ...]]] = [(0, (1 << len(rules)) - 1, ())]
    for n, (column, ends, size) in enumerate(zip(inputs, points, sizes, strict=True)):
        axis = [
            (place, sum(rule.cells[n](value) << k for k, rule in enumerate(rules)), value)
            for place, value in regions(column, ends)
        ]
        found = [
            (at * size + place, fitting & passing, (*values, value))
            for at, fitting, values in found
            for place, passing, value in axis
        ]
    return found


def _one_answer(
    table_id: str, hit: str, hits: Sequence[str], inputs: Sequence[Column], values: Sequence[Value]
) -> None:
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
