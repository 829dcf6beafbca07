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

from obligor.errors import PolicyError
from obligor.policy.rulebooks.cells import (
    Cell,
    Column,
    Value,
    known_keys,
    n_regions,
    read_cell,
    read_column,
    regions,
)

MOST_COMBINATIONS, MOST_ROWS = 200_000, 60
HIT_POLICIES = ("unique", "first", "collect")


@dataclass(frozen=True)
class Rule:
    """One row: an id, a cell per input, the outputs, and why it is there, in English and Chinese."""

    id: str
    cells: tuple[Cell, ...]
    outputs: Mapping[str, Value]
    because: str
    because_zh: str = ""


@dataclass(
    slots=True
)  # not frozen: that makes one take three times as long, and a decision has a dozen
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
class DecisionTable:
    """A compiled decision table.

    The numbers in its cells cut each input into regions in which no cell changes its answer. `masks` hold for
    every region of every input which rows pass, a bit each, and in the bit behind them that the region may
    occur; `fitting` finds the regions of some values and gives what all their masks share. So evaluating is
    finding the regions: exact, and the same however many rows there are.
    """

    id: str
    hit: str
    inputs: tuple[Column, ...]
    outputs: tuple[Column, ...]
    rules: tuple[Rule, ...]
    points: tuple[tuple[Decimal, ...], ...]
    masks: tuple[tuple[int, ...], ...]
    fitting: Callable[..., tuple[int, dict[str, Value]]]
    rows: tuple[tuple[Any, ...], ...]

    def __call__(self, **values: Value) -> Evaluation:
        """Evaluate the row that fits (the first of them); a missing, mistyped or out-of-range value is an error.

        Raises
        ------
        PolicyError
            Where a value is not one the table was proven for.
        """
        rows, seen = self.fitting(**values)
        if not rows >> len(self.rules):
            self._refuse(seen)
        return Evaluation(self.id, seen, *self.rows[(rows & -rows).bit_length() - 1])

    def all(self, **values: Value) -> list[Evaluation]:
        """Evaluate every row that fits, in their order; for the hit policy ``collect`` there may be none."""
        rows, seen = self.fitting(**values)
        if not rows >> len(self.rules):
            self._refuse(seen)
        fired = [row for row in range(len(self.rules)) if rows >> row & 1]
        return [
            Evaluation(self.id, seen, *self.rows[row])
            for row in (fired if self.hit == "collect" else fired[:1])
        ]

    def _refuse(self, values: Mapping[str, Value]) -> NoReturn:
        refuse(self.id, self.inputs, values)


def refuse(
    table_id: str, inputs: Sequence[Column], values: Mapping[str, Value]
) -> NoReturn:
    """Raise the error that says which value is not one the table was proven for."""
    for column in inputs:
        column.checked(values.get(column.name), table_id)
    raise PolicyError(
        f"no row answers {values}", where=table_id
    )  # unreachable: gaps are refused at load


def compile_table(spec: Mapping[str, Any]) -> DecisionTable:
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
    known_keys(
        spec,
        {"id", "hit", "effective", "source", "inputs", "outputs", "rules", "cases"},
        table_id,
    )
    if hit not in HIT_POLICIES:
        raise PolicyError(
            f"hit policy {hit!r}", where=table_id, expected=f"one of {HIT_POLICIES}"
        )
    inputs = tuple(
        read_column(name, text, table_id)
        for name, text in spec.get("inputs", {}).items()
    )
    outputs = tuple(
        read_column(name, text, table_id)
        for name, text in spec.get("outputs", {}).items()
    )
    rules = tuple(
        _rule(row, inputs, outputs, table_id) for row in spec.get("rules", ())
    )
    points = tuple(
        _points(column, [rule.cells[place] for rule in rules])
        for place, column in enumerate(inputs)
    )
    ids = tuple(rule.id for rule in rules)
    if len(set(ids)) < len(ids):
        raise PolicyError(
            "two rows have one id", where=table_id, expected="an id per row"
        )
    if not 0 < len(rules) <= MOST_ROWS:
        raise PolicyError(
            f"{len(rules)} rows",
            where=table_id,
            expected=f"1 to {MOST_ROWS}",
            do="split the table",
        )
    axes = [
        _axis(n, column, found, rules)
        for n, (column, found) in enumerate(zip(inputs, points, strict=True))
    ]
    _prove(table_id, hit, inputs, axes, rules)
    masks = tuple(
        _masks(column, found, axis, 1 << len(rules))
        for column, found, axis in zip(inputs, points, axes, strict=True)
    )
    rows = tuple(
        (
            ids if hit == "collect" else ids[: n + 1],
            rule.id,
            rule.because,
            rule.because_zh,
            rule.outputs,
        )
        for n, rule in enumerate(rules)
    )
    fitting = _fitting(table_id, inputs, points, masks)
    table = DecisionTable(
        table_id, hit, inputs, outputs, rules, points, masks, fitting, rows
    )
    _run_cases(table, spec.get("cases", ()))
    return table


def _rule(
    row: Mapping[str, Any],
    inputs: Sequence[Column],
    outputs: Sequence[Column],
    table_id: str,
) -> Rule:
    where = f"{table_id} row {row.get('id', '?')}"
    known_keys(row, {"id", "when", "then", "because", "zh"}, where)
    if not row.get("id") or not row.get("because"):
        raise PolicyError(
            "no id or no because",
            where=where,
            expected="an id and why the row is there",
        )
    when, then = row.get("when", {}), row.get("then", {})
    known_keys(when, {column.name for column in inputs}, f"{where} when")
    known_keys(then, {column.name for column in outputs}, f"{where} then")
    cells = tuple(
        read_cell(str(when.get(column.name, "-")), column, f"{where}, {column.name}")
        for column in inputs
    )
    given = {column.name: _output(column, then, where) for column in outputs}
    return Rule(
        str(row["id"]), cells, given, str(row["because"]), str(row.get("zh", ""))
    )


def _output(column: Column, then: Mapping[str, Any], where: str) -> Value:
    if column.name not in then:
        raise PolicyError(
            "no output", where=f"{where}.{column.name}", expected=f"a {column.type}"
        )
    value = then[column.name]
    if (
        column.type == "number"
        and isinstance(value, int | float)
        and not isinstance(value, bool)
    ):
        value = Decimal(str(value))
    return column.checked(value, where)


def _points(column: Column, cells: Sequence[Cell]) -> tuple[Decimal, ...]:
    """The numbers where an answer can change, the ends of the range among them: beyond these nothing answers."""
    ends = {end for end in (column.low, column.high) if end is not None}
    return tuple(sorted(ends.union(*(cell.points() for cell in cells))))


def _fitting(
    table_id: str,
    inputs: Sequence[Column],
    points: Sequence[Sequence[Decimal]],
    masks: Sequence[Sequence[int]],
) -> Callable[..., tuple[int, dict[str, Value]]]:
    """Return the function from a table's inputs to the rows that fit, and the inputs.

    It is written out and compiled, a line per input: a loop over the columns took four times as long. Only
    names are written; `read_column` lets none through that is more than a name.
    """
    known: dict[str, Any] = {
        "Decimal": Decimal,
        "bisect_left": bisect_left,
        "InvalidOperation": InvalidOperation,
    }
    lines, seen = (
        [],
        "{" + ", ".join(f"{column.name!r}: {column.name}" for column in inputs) + "}",
    )
    for n, (column, found, mask) in enumerate(zip(inputs, points, masks, strict=True)):
        known[f"points{n}"] = (*found, Decimal("Infinity"))
        known[f"texts{n}"] = {text: place for place, text in enumerate(column.values)}
        known[f"masks{n}"] = mask
        null = (
            f"elif {column.name} is None: place{n} = -1" if column.is_nullable else ""
        )
        lines += [*_region_lines(n, column), null, f"else: refuse({seen})"]
    head = f"def fitting({', '.join(f'{column.name}=None' for column in inputs)}):"
    body = [f"  {line}" for line in lines if line]
    rows = " & ".join(f"masks{n}[place{n}]" for n in range(len(inputs)))
    text = "\n".join(
        [
            head,
            " try:",
            *body,
            f"  return {rows}, {seen}",
            f" except InvalidOperation: refuse({seen})",
        ]
    )
    known["refuse"] = partial(refuse, table_id, inputs)
    exec(compile(text, f"<table {table_id}>", "exec"), known)
    return known["fitting"]  # type: ignore[no-any-return]


def _region_lines(n: int, column: Column) -> list[str]:
    """The lines that find the region of one input, up to the case of null."""
    name = column.name
    if column.type == "boolean":
        return [
            f"if {name} is True: place{n} = 1",
            f"elif {name} is False: place{n} = 0",
        ]
    if column.type == "text":
        return [f"if {name} in texts{n}: place{n} = texts{n}[{name}]"]
    kinds = f"type({name}) is int" + (
        "" if column.type == "integer" else f" or type({name}) is Decimal"
    )
    return [
        f"if {kinds}:",
        f"  place{n} = bisect_left(points{n}, {name})",
        f"  place{n} += place{n} + (points{n}[place{n}] == {name})",
    ]


def _axis(
    n: int, column: Column, points: Sequence[Decimal], rules: Sequence[Rule]
) -> list[tuple[int, Value, int]]:
    """Every region of one input that may occur: its place, a value out of it, and which rows pass there."""
    return [
        (place, value, sum(rule.cells[n](value) << k for k, rule in enumerate(rules)))
        for place, value in regions(column, points)
    ]


def _masks(
    column: Column,
    points: Sequence[Decimal],
    axis: Sequence[tuple[int, Value, int]],
    may_occur: int,
) -> tuple[int, ...]:
    """The rows that pass in every region, with the bit that it may occur; 0 where it may not."""
    masks = [0] * n_regions(column, points)
    for place, _, passing in axis:
        masks[place] = passing | may_occur
    return tuple(masks)


def _prove(
    table_id: str,
    hit: str,
    inputs: Sequence[Column],
    axes: Sequence[Sequence[tuple[int, Value, int]]],
    rules: Sequence[Rule],
) -> None:
    """Try one value out of every region; a gap, an overlap or a row nobody can reach is refused.

    Where every row that fits fires, rows do not stand in each other's way: each is tried by itself.
    """
    if hit == "collect":
        reached = [
            all(any(passing >> row & 1 for _, _, passing in axis) for axis in axes)
            for row in range(len(rules))
        ]
    else:
        if math.prod(len(axis) for axis in axes) > MOST_COMBINATIONS:
            expected = f"at most {MOST_COMBINATIONS} combinations"
            raise PolicyError("too large to prove", where=table_id, expected=expected)
        first = {
            _one_row(table_id, hit, inputs, rules, *one)
            for one in _combinations(axes, len(rules))
        }
        reached = [row in first for row in range(len(rules))]
    for rule, is_reached in zip(rules, reached, strict=True):
        if not is_reached:
            raise PolicyError(
                "unreachable row",
                where=f"{table_id} row {rule.id}",
                do="remove it or move it up",
            )


def _combinations(
    axes: Sequence[Sequence[tuple[int, Value, int]]], n_rules: int
) -> list[tuple[int, tuple[Value, ...]]]:
    """The rows that fit and the values of every combination of regions, grown input by input."""
    found: list[tuple[int, tuple[Value, ...]]] = [((1 << n_rules) - 1, ())]
    for axis in axes:
        found = [
            (rows & passing, (*values, value))
            for rows, values in found
            for _, value, passing in axis
        ]
    return found


def _one_row(
    table_id: str,
    hit: str,
    inputs: Sequence[Column],
    rules: Sequence[Rule],
    rows: int,
    values: Sequence[Value],
) -> int:
    """The row that answers; `PolicyError` where there is none, or two under ``unique``."""
    if rows and (hit == "first" or rows & (rows - 1) == 0):
        return (rows & -rows).bit_length() - 1
    seen = ", ".join(
        f"{column.name} = {value}" for column, value in zip(inputs, values, strict=True)
    )
    if not rows:
        raise PolicyError(f"gap: no row answers {seen}", where=table_id, do="add a row")
    both = " and ".join(
        rule.id for place, rule in enumerate(rules) if rows >> place & 1
    )
    raise PolicyError(f"overlap: rows {both} both answer {seen}", where=table_id)


def _run_cases(table: DecisionTable, cases: Sequence[Mapping[str, Any]]) -> None:
    """Run the worked examples; those of a ``collect`` table say which rows fire: ``out: {fired: [W1]}``."""
    if not cases:
        raise PolicyError(
            "no cases", where=table.id, expected="worked examples: inputs -> outputs"
        )
    for case in cases:
        given = {
            name: Decimal(str(v)) if isinstance(v, float) else v
            for name, v in case["in"].items()
        }
        outputs: Mapping[str, Any]
        if table.hit == "collect":
            outputs = {"fired": [evaluation.fired for evaluation in table.all(**given)]}
        else:
            outputs = table(**given).outputs
        for name, wanted in case["out"].items():
            if name not in outputs or str(outputs[name]) != str(wanted):
                raise PolicyError(
                    f"case {case['in']} gives {name} = {outputs.get(name)}",
                    where=table.id,
                    expected=str(wanted),
                )
