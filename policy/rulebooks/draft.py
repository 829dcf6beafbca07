"""A decision table as read from its file: every cell parsed, nothing proven yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple, cast

from obligor.errors import PolicyError
from obligor.policy.rulebooks.cells import (
    Cell,
    Column,
    Value,
    check_keys,
    read_cell,
    read_column,
)
from obligor.policy.rulebooks.files import ColumnEntry, RulebookFile, RuleEntry, Scalar

MOST_ROWS = 60  # rows and one more bit fit the 64 bits of an array element
HIT_POLICIES = ("unique", "first", "collect")
_KEYS = ("id", "hit", "effective", "source", "inputs", "outputs", "rules", "cases")


@dataclass(frozen=True)
class Rule:
    """One row: an id, a cell per input, the outputs, and why it is there."""

    id: str
    cells: tuple[Cell, ...]
    outputs: Mapping[str, Value]
    because: str
    because_zh: str = ""


class Draft(NamedTuple):
    """A table whose cells are parsed.

    Attributes
    ----------
    id : str
        Name of the table.
    hit : {"unique", "first", "collect"}
        Whether one row fits, the first that fits fires, or all that fit do.
    inputs, outputs : tuple of Column
        The columns.
    rules : tuple of Rule
        The rows.
    points : tuple of tuple of Decimal
        Per input, the numbers at which an answer can change, ascending.
    """

    id: str
    hit: str
    inputs: tuple[Column, ...]
    outputs: tuple[Column, ...]
    rules: tuple[Rule, ...]
    points: tuple[tuple[Decimal, ...], ...]


def read_draft(spec: RulebookFile) -> Draft:
    """Return the table that a file describes.

    Raises
    ------
    PolicyError
        Naming table, row, column and reason.
    """
    table_id = str(spec.get("id", "?"))
    check_keys(spec, _KEYS, table_id)
    hit = spec.get("hit")
    if hit not in HIT_POLICIES:
        raise PolicyError(
            f"unknown hit policy {hit!r}",
            where=table_id,
            expected=f"one of {HIT_POLICIES}",
        )
    inputs = _read_columns(spec.get("inputs", {}), table_id)
    outputs = _read_columns(spec.get("outputs", {}), table_id)
    rules = tuple(
        _read_rule(entry, inputs, outputs, table_id) for entry in spec.get("rules", ())
    )
    if not inputs:
        raise PolicyError(
            "the table has no inputs", where=table_id, expected="at least one column"
        )
    points = tuple(
        _points(column, [rule.cells[index] for rule in rules])
        for index, column in enumerate(inputs)
    )
    _check_rows(rules, table_id)
    return Draft(table_id, hit, inputs, outputs, rules, points)


def _read_columns(
    entries: Mapping[str, ColumnEntry], table_id: str
) -> tuple[Column, ...]:
    return tuple(read_column(name, entry, table_id) for name, entry in entries.items())


def _check_rows(rules: Sequence[Rule], table_id: str) -> None:
    # The id of a row is a reason code, so it must name one row.
    ids = {rule.id for rule in rules}
    if len(ids) < len(rules):
        raise PolicyError(
            "two rows have the same id", where=table_id, expected="an id per row"
        )
    if not 0 < len(rules) <= MOST_ROWS:
        raise PolicyError(
            f"the table has {len(rules)} rows",
            where=table_id,
            expected=f"1 to {MOST_ROWS}",
            do="split the table",
        )


def _read_rule(
    entry: RuleEntry,
    inputs: Sequence[Column],
    outputs: Sequence[Column],
    table_id: str,
) -> Rule:
    where = f"{table_id} row {entry.get('id', '?')}"
    check_keys(entry, ("id", "when", "then", "because", "zh"), where)
    if not entry.get("id") or not entry.get("because"):
        raise PolicyError(
            "the row has no id or no because",
            where=where,
            expected="an id and why the row is there",
        )
    when = entry.get("when", {})
    then = entry.get("then", {})
    check_keys(when, {column.name for column in inputs}, f"{where} when")
    check_keys(then, {column.name for column in outputs}, f"{where} then")
    cells = []
    for column in inputs:
        text = str(when.get(column.name, "-"))
        cells.append(read_cell(text, column, f"{where}, {column.name}"))
    return Rule(
        id=str(entry["id"]),
        cells=tuple(cells),
        outputs={column.name: _output(column, then, where) for column in outputs},
        because=str(entry["because"]),
        because_zh=str(entry.get("zh", "")),
    )


def _output(
    column: Column,
    then: Mapping[str, Scalar],
    where: str,
) -> Value:
    if column.name not in then:
        raise PolicyError(
            "the row has no output",
            where=f"{where}.{column.name}",
            expected=f"a {column.type}",
        )
    value = then[column.name]
    # YAML gives 0.1 as a float; its text is what the author wrote.
    is_plain_number = isinstance(value, int | float) and not isinstance(value, bool)
    if column.type == "number" and is_plain_number:
        return column.checked(Decimal(str(value)), where)
    # A scalar that no column holds, such as a date, is refused here.
    return column.checked(cast(Value, value), where)


def _points(column: Column, cells: Sequence[Cell]) -> tuple[Decimal, ...]:
    """The numbers where an answer can change.

    The ends of the range are among them, as no row answers beyond them.
    """
    points = {end for end in (column.low, column.high) if end is not None}
    for cell in cells:
        points |= cell.points()
    return tuple(sorted(points))
