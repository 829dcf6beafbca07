"""The proof of a decision table: no gap, no overlap, no row that can never fire."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from obligor.errors import PolicyError
from obligor.policy.rulebooks.cells import Value, regions
from obligor.policy.rulebooks.draft import Draft

MOST_COMBINATIONS = 200_000  # beyond that a proof at load takes too long


class Region(NamedTuple):
    """A part of one input in which no cell changes its answer.

    Attributes
    ----------
    position : int
        Its position among the regions of the input.
    value : Value
        A value of it.
    passing : int
        The rows whose cell passes there, a bit each.
    """

    position: int
    value: Value
    passing: int


Axis = Sequence[Region]  # every region of one input that may occur


def axes_of(draft: Draft) -> list[Axis]:
    """Return the regions of every input, with the rows that pass in each."""
    axes = list[Axis]()
    for n, column in enumerate(draft.inputs):
        axis = []
        for index, value in regions(column, draft.points[n]):
            passing = 0
            for row, rule in enumerate(draft.rules):
                passing |= rule.cells[n](value) << row
            axis.append(Region(index, value, passing))
        axes.append(axis)
    return axes


def prove(draft: Draft, axes: Sequence[Axis]) -> None:
    """Prove a table by one value of every region.

    Rows of a ``collect`` table do not exclude each other, so each is tried by itself.

    Parameters
    ----------
    draft : Draft
        The table.
    axes : sequence of Axis
        Its regions.

    Raises
    ------
    PolicyError
        If the table has a gap, an overlap or an unreachable row, or is too large.
    """
    reached = rows_reached(draft, axes)
    for row, rule in enumerate(draft.rules):
        if row not in reached:
            raise PolicyError(
                "unreachable row",
                where=f"{draft.id} row {rule.id}",
                do="remove it or move it up",
            )


def rows_reached(draft: Draft, axes: Sequence[Axis]) -> set[int]:
    """Return the rows that fire for some values of the inputs.

    Raises
    ------
    PolicyError
        If the table has a gap or an overlap, or is too large.
    """
    if draft.hit == "collect":
        return _rows_reached_alone(axes, len(draft.rules))
    return _rows_reached_first(draft, axes)


def _rows_reached_alone(axes: Sequence[Axis], n_rules: int) -> set[int]:
    """The rows whose every cell passes in some region."""
    reached = set(range(n_rules))
    for axis in axes:
        passing = 0
        for region in axis:
            passing |= region.passing
        reached = {row for row in reached if passing >> row & 1}
    return reached


def _rows_reached_first(draft: Draft, axes: Sequence[Axis]) -> set[int]:
    """The rows that answer some combination of regions; a gap or overlap is refused."""
    if math.prod(len(axis) for axis in axes) > MOST_COMBINATIONS:
        raise PolicyError(
            "the table is too large to prove",
            where=draft.id,
            expected=f"at most {MOST_COMBINATIONS} combinations",
        )
    reached = set[int]()
    for rows, values in _combinations(axes, len(draft.rules)):
        reached.add(_answering_row(draft, rows, values))
    return reached


def _combinations(
    axes: Sequence[Axis], n_rules: int
) -> list[tuple[int, tuple[Value, ...]]]:
    """The rows that fit and the values of every combination of regions."""
    # Grown input by input, so that no combination is tested from the start.
    combinations: list[tuple[int, tuple[Value, ...]]] = [((1 << n_rules) - 1, ())]
    for axis in axes:
        combinations = [
            (rows & region.passing, (*values, region.value))
            for rows, values in combinations
            for region in axis
        ]
    return combinations


def _answering_row(
    draft: Draft,
    rows: int,
    values: Sequence[Value],
) -> int:
    """The row that answers; an error if there is none, or two under ``unique``."""
    # Clearing the lowest bit leaves 0 if it is the only one.
    is_single = rows & (rows - 1) == 0
    if rows and (draft.hit == "first" or is_single):
        return lowest_bit(rows)
    pairs = zip(draft.inputs, values, strict=True)
    seen = ", ".join(f"{column.name} = {value}" for column, value in pairs)
    if not rows:
        raise PolicyError(f"gap: no row answers {seen}", where=draft.id, do="add a row")
    ids = [rule.id for row, rule in enumerate(draft.rules) if rows >> row & 1]
    raise PolicyError(
        f"overlap: rows {' and '.join(ids)} all answer {seen}", where=draft.id
    )


def lowest_bit(rows: int) -> int:
    """Return the index of the lowest bit that is set.

    Examples
    --------
    >>> lowest_bit(0b1100)
    2
    """
    return (rows & -rows).bit_length() - 1
