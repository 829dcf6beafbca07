"""How the texts of a whole table are read, settled before its rows are split.

A fold that lacks the cell that proves a comma would otherwise be read in another way
than the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from obligor.errors import SchemaError
from obligor.features.encoding import kind_of, stated_reading
from obligor.features.levels import texts
from obligor.features.number_reading import NumberColumn, number_column
from obligor.features.table_spec import ColumnSpec, Spec

MOST_WORDS = 20  # in place of numbers that are learnt as missing
NAMED = 5  # words or columns in a message


@dataclass(frozen=True)
class SettledSpec:
    """A spec that says how each text of a number is read.

    Attributes
    ----------
    spec : Spec
        As it was stated, completed by what the columns prove.
    notes : tuple of str
        What they have proven.
    """

    spec: Spec
    notes: tuple[str, ...]


def settle_spec(frame: pd.DataFrame, spec: Spec, names: Sequence[str]) -> SettledSpec:
    """Return a spec with the signs of every column whose numbers are texts.

    Parameters
    ----------
    frame : DataFrame
        The whole table.
    spec : Spec
        As a person stated it.
    names : sequence of str
        The columns that may become features.

    Raises
    ------
    SchemaError
        If columns can be read in two ways, with the choice.
    """
    columns = dict(spec.columns)
    notes = list[str]()
    refused = dict[str, NumberColumn]()
    for name in names:
        number = _text_numbers(frame[name], spec, name)
        if number is None:
            continue
        if number.refusal:
            refused[name] = number
            continue
        columns[name] = _completed(spec.column(name), number)
        notes.extend(_reading_notes(name, frame[name], number))
    if refused:
        raise _refusal(refused)
    settled = spec.model_copy(update={"columns": columns})
    notes.extend(_directions_without_order(frame, settled, names))
    return SettledSpec(settled, tuple(notes))


def _text_numbers(values: pd.Series, spec: Spec, name: str) -> NumberColumn | None:
    """Return how a column is read if its numbers are texts, otherwise None."""
    is_typed = pd.api.types.is_numeric_dtype(values)
    stated = stated_reading(spec, name)
    kind = spec.column(name).type or kind_of(values, stated)
    return None if is_typed or kind != "number" else number_column(values, stated)


def _directions_without_order(
    frame: pd.DataFrame,
    spec: Spec,
    names: Iterable[str],
) -> list[str]:
    return [
        f"{name}: a direction is stated, but a category has no order, so that it is "
        'not used; state type = "number" if its values are numbers'
        for name in names
        if spec.column(name).direction and not _has_order(frame[name], spec, name)
    ]


def _has_order(values: pd.Series, spec: Spec, name: str) -> bool:
    return kind_of(values, stated_reading(spec, name)) == "number"


def _completed(stated: ColumnSpec, number: NumberColumn) -> ColumnSpec:
    reading = number.reading
    words = number.unreadable[:MOST_WORDS]
    missing = dict.fromkeys((*stated.missing, *words))
    return stated.model_copy(
        update={
            "type": "number",
            "decimal": reading.decimal,
            "thousands": reading.thousands,
            "missing": tuple(missing),
        }
    )


def _reading_notes(
    name: str,
    values: pd.Series,
    number: NumberColumn,
) -> list[str]:
    """Return what must be said of a column of numbers that are texts."""
    notes = []
    if number.note:
        notes.append(f"{name}: {number.note}")
    if number.unreadable:
        n_unreadable = int(texts(values).isin(number.unreadable).sum())
        notes.append(
            f"{name}: {_count(n_unreadable, len(values))} are not numbers but "
            f"{_some(number.unreadable)}, and count as missing"
        )
    return notes


def _count(n_cells: int, n_rows: int) -> str:
    return f"{n_cells:,} cells ({n_cells / n_rows:.1%})"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:NAMED])
    n_more = len(names) - NAMED
    return f"{shown} and {n_more} others" if n_more > 0 else shown


def _refusal(refused: dict[str, NumberColumn]) -> SchemaError:
    name, number = next(iter(refused.items()))
    others = list(refused)[1:]
    message = number.refusal
    if others:
        message += f"; the columns {_some(others)} are not clear either"
    return SchemaError(
        message,
        where=name,
        expected="one way to read the whole column",
        do=f"state in [columns.{name}], or in [table] for all: {number.choice}",
    )
