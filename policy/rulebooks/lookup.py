"""From the inputs of a decision table to the rows that fit, compiled to Python."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import NoReturn, cast

from obligor.errors import PolicyError
from obligor.policy.rulebooks.cells import Column, Value, n_regions
from obligor.policy.rulebooks.draft import Draft
from obligor.policy.rulebooks.proof import Axis

Lookup = Callable[..., tuple[int, dict[str, Value]]]
Masks = tuple[tuple[int, ...], ...]


def refuse(
    table_id: str,
    inputs: Sequence[Column],
    values: Mapping[str, Value],
) -> NoReturn:
    """Raise the error of a value for which a table was not proven.

    Parameters
    ----------
    table_id : str
        The table.
    inputs : sequence of Column
        Its inputs.
    values : mapping of str to Value
        The values it was called with.

    Raises
    ------
    PolicyError
        Naming the input, and what the column allows.
    """
    for column in inputs:
        column.checked(values.get(column.name), table_id)
    # Unreachable: gaps are refused at load.
    raise PolicyError(f"no row answers {values}", where=table_id)


def masks_of(draft: Draft, axes: Sequence[Axis]) -> Masks:
    """Return, per region of each input, the rows that pass there, a bit each.

    The bit behind those of the rows says that the region may occur; the mask of a
    region that may not is 0.
    """
    may_occur = 1 << len(draft.rules)
    masks = []
    for column, points, axis in zip(
        draft.inputs,
        draft.points,
        axes,
        strict=True,
    ):
        of_column = [0] * n_regions(column, points)
        for region in axis:
            of_column[region.position] = region.passing | may_occur
        masks.append(tuple(of_column))
    return tuple(masks)


def compile_lookup(
    draft: Draft,
    masks: Masks,
    offered: Collection[str],
) -> Lookup:
    """Return the function from a table's inputs to the rows that fit, and the inputs.

    Its parameters are the inputs of the table and those that the code offers it; only
    the table's own are looked at and returned. Any other is a `TypeError`.

    It is generated as source, a few lines per input, and compiled: a loop over the
    columns took four times as long. Only names are inserted, and `read_column` accepts
    nothing but names.

    Parameters
    ----------
    draft : Draft
        The table.
    masks : tuple of tuple of int
        Per input and region, the rows that pass there (`masks_of`).
    offered : collection of str
        The inputs that the code gives the table, whether it uses them or not.

    Returns
    -------
    callable
        From the inputs, by name, to the rows that fit and the inputs of the table.
    """
    # The inputs as the trace shows them, by name.
    pairs = [f"{column.name!r}: {column.name}" for column in draft.inputs]
    seen = "{" + ", ".join(pairs) + "}"
    lines = list[str]()
    for n, column in enumerate(draft.inputs):
        lines += _region_lines(n, column)
        if column.is_nullable:  # null has the last region
            lines.append(f"elif {column.name} is None: region{n} = -1")
        lines.append(f"else: refuse({seen})")
    own = [column.name for column in draft.inputs]
    names = [*own, *(name for name in offered if name not in own)]
    parameters = ", ".join(f"{name}=None" for name in names)
    rows = " & ".join(f"masks{n}[region{n}]" for n in range(len(draft.inputs)))
    source = [
        f"def lookup({parameters}):",
        " try:",
        *(f"  {line}" for line in lines),
        f"  return {rows}, {seen}",
        # A signalling NaN fails when it is compared.
        f" except InvalidOperation: refuse({seen})",
    ]
    namespace = _namespace(draft, masks)
    exec(compile("\n".join(source), f"<table {draft.id}>", "exec"), namespace)
    return cast(Lookup, namespace["lookup"])


def _namespace(draft: Draft, masks: Masks) -> dict[str, object]:
    """The names that the generated source uses."""
    namespace: dict[str, object] = {
        "Decimal": Decimal,
        "InvalidOperation": InvalidOperation,
        "bisect_left": bisect_left,
        "refuse": partial(refuse, draft.id, draft.inputs),
    }
    for n, column in enumerate(draft.inputs):
        # Behind the last point stands infinity, so that every number finds a region.
        namespace[f"points{n}"] = (*draft.points[n], Decimal("Infinity"))
        namespace[f"texts{n}"] = {text: i for i, text in enumerate(column.values)}
        namespace[f"masks{n}"] = masks[n]
    return namespace


def _region_lines(n: int, column: Column) -> list[str]:
    """The lines that find the region of one input, up to the case of null."""
    name = column.name
    if column.type == "boolean":
        return [
            f"if {name} is True: region{n} = 1",
            f"elif {name} is False: region{n} = 0",
        ]
    if column.type == "text":
        return [f"if {name} in texts{n}: region{n} = texts{n}[{name}]"]
    # By type and not by isinstance: a bool is an int, and True is not a number here.
    is_number = f"type({name}) is int"
    if column.type == "number":
        is_number += f" or type({name}) is Decimal"
    return [
        f"if {is_number}:",
        # Point i is region 2i + 1, the numbers just below it are region 2i.
        f"  region{n} = bisect_left(points{n}, {name})",
        f"  region{n} += region{n} + (points{n}[region{n}] == {name})",
    ]
