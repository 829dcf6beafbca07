"""A rulebook against the contracts of its tables: nothing asked in vain, nothing lost.

The proof of a table looks at its rows alone. Here every column is compared with what
the code gives and reads, and every row is tried again with no other values than those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches

from obligor.errors import PolicyError
from obligor.policy.rulebooks.cells import Column
from obligor.policy.rulebooks.contracts import (
    CONTRACTS,
    OTHER_COUNTRY,
    REFERENCE,
    STAGE,
    TableContract,
)
from obligor.policy.rulebooks.decision_table import DecisionTable
from obligor.policy.rulebooks.draft import Draft
from obligor.policy.rulebooks.proof import axes_of, rows_reached


def require_contracts(tables: Mapping[str, DecisionTable]) -> None:
    """Refuse a rulebook with a column that the code does not give or does not read.

    Raises
    ------
    PolicyError
        Naming the table and the column, and what there is.
    """
    for name, table in tables.items():
        _require_contract(name, table, CONTRACTS[name])
    _require_stages(tables["collection_stage"], tables["collection_strategy"])
    if "interest_laws" in tables:
        _require_interest(tables)


def _require_contract(
    name: str,
    table: DecisionTable,
    contract: TableContract,
) -> None:
    if table.id != name:
        raise PolicyError(
            f"the table in {name}.yaml has the id {table.id!r}",
            where=name,
            expected=f"id: {name}",
        )
    if (table.hit == "collect") != contract.is_collect:
        expected = "collect" if contract.is_collect else "unique or first"
        raise PolicyError(
            f"the code cannot use the hit policy {table.hit}",
            where=name,
            expected=expected,
        )
    for column in table.inputs:
        where = f"{name}.{column.name}"
        offered = _counterpart(column, contract.inputs, where, "nothing fills")
        _require_kind(column, offered, where)
        _require_domain(column, offered, where)
    for column in table.outputs:
        where = f"{name}.{column.name}"
        read = _counterpart(column, contract.outputs, where, "nothing reads")
        _require_kind(column, read, where)
        _require_fitting(column, read, where)
    _require_all_outputs(table, contract)
    _require_reachable(table, contract)


def _counterpart(
    column: Column,
    declared: Sequence[Column],
    where: str,
    lack: str,
) -> Column:
    """The column of the contract with the same name."""
    names = [candidate.name for candidate in declared]
    if column.name in names:
        return declared[names.index(column.name)]
    close = get_close_matches(column.name, names, n=1)
    raise PolicyError(
        f"{lack} this column",
        where=where,
        expected=f"one of {', '.join(names)}",
        do=f"write {close[0]}, if that is meant" if close else "remove the column",
    )


def _require_kind(
    column: Column,
    declared: Column,
    where: str,
) -> None:
    """Refuse another type, unit or list of texts than the contract has."""
    # A whole number fits a column of numbers, and not the other way round.
    is_whole = declared.type == "integer" and column.type == "number"
    if column.type != declared.type and not is_whole:
        raise PolicyError(
            f"the column has the type {column.type}",
            where=where,
            expected=f"type: {declared.type}",
        )
    # The first words of a unit say what is counted; a house may add which.
    if not column.unit.startswith(declared.unit):
        raise PolicyError(
            f"the column has the unit {column.unit!r}",
            where=where,
            expected=f"a unit that begins with {declared.unit!r}",
        )
    # Whole portfolios are decided with the positions of texts, so their order counts.
    if declared.values and column.values != declared.values:
        raise PolicyError(
            f"the column has the values {', '.join(column.values)}",
            where=where,
            expected=f"values: [{', '.join(declared.values)}], in this order",
        )


def _require_domain(
    column: Column,
    offered: Column,
    where: str,
) -> None:
    """Refuse an input that does not allow every value the code may give."""
    if offered.is_nullable and not column.is_nullable:
        raise PolicyError(
            "the column may be not known, and no row answers that",
            where=where,
            expected="nullable: true",
        )
    for end in (offered.low, offered.high):
        if end is not None and not column.allows(end):
            raise PolicyError(
                f"the column does not allow {end}, which can occur",
                where=where,
                expected=f"a range that includes {end}",
            )


def _require_fitting(
    column: Column,
    read: Column,
    where: str,
) -> None:
    """Refuse an output that another table could not take as its input."""
    is_too_low = read.low is not None and (column.low is None or column.low < read.low)
    is_too_high = read.high is not None and (
        column.high is None or column.high > read.high
    )
    if is_too_low or is_too_high:
        raise PolicyError(
            "the column allows values that the next table does not take",
            where=where,
            expected=f"low: {read.low}, high: {read.high}",
        )
    if column.type == "number" and read.type == "integer":
        raise PolicyError(
            "the column has the type number",
            where=where,
            expected="type: integer",
        )


def _require_all_outputs(table: DecisionTable, contract: TableContract) -> None:
    names = {column.name for column in table.outputs}
    missing = [column.name for column in contract.outputs if column.name not in names]
    if missing:
        raise PolicyError(
            f"the table has no output {missing[0]}",
            where=table.id,
            expected=f"every one of {[column.name for column in contract.outputs]}",
        )


def _require_reachable(table: DecisionTable, contract: TableContract) -> None:
    """Refuse a row that only fires on values the code never gives."""
    offered = {column.name: column for column in contract.inputs}
    inputs = [_narrowed(column, offered[column.name]) for column in table.inputs]
    draft = Draft(
        table.id,
        table.hit,
        tuple(inputs),
        table.outputs,
        table.rules,
        table.points,
    )
    reached = rows_reached(draft, axes_of(draft))
    for row, rule in enumerate(table.rules):
        if row not in reached:
            raise PolicyError(
                "the row can never fire: its values do not occur",
                where=f"{table.id} row {rule.id}",
                expected="; ".join(_domain(column) for column in contract.inputs),
            )


def _narrowed(column: Column, offered: Column) -> Column:
    """The column with no other values than those the code gives."""
    return replace(
        column,
        low=column.low if offered.low is None else offered.low,
        high=column.high if offered.high is None else offered.high,
        is_nullable=offered.is_nullable,
    )


def _domain(column: Column) -> str:
    """The values that a column of a contract may have, in words."""
    if column.type == "boolean":
        domain = "true or false"
    elif column.type == "text":
        domain = ", ".join(column.values) or "a text"
    elif column.high is None:
        domain = "any number" if column.low is None else f"{column.low} or more"
    else:
        domain = f"{column.low} to {column.high}"
    return f"{column.name} {domain}{' or null' if column.is_nullable else ''}"


def _require_interest(tables: Mapping[str, DecisionTable]) -> None:
    """Refuse countries or reference rates that one of the tables does not have."""
    laws = tables["interest_laws"]
    (country,) = laws.inputs
    if OTHER_COUNTRY not in country.values:
        raise PolicyError(
            f"the column lacks the value {OTHER_COUNTRY}",
            where=f"{laws.id}.{country.name}",
            expected=f"{OTHER_COUNTRY}, for every country that has no row",
        )
    (reference,) = [column for column in laws.outputs if column.name == REFERENCE.name]
    for table, expected in (
        (tables["compensation"], country),
        (tables["reference_rates"], reference),
    ):
        for column in table.inputs:
            is_same = column.values == expected.values
            if column.name == expected.name and not is_same:
                raise PolicyError(
                    f"the column has the values {', '.join(column.values)}",
                    where=f"{table.id}.{column.name}",
                    expected=f"those of {laws.id}: {', '.join(expected.values)}",
                )


def _require_stages(stage: DecisionTable, strategy: DecisionTable) -> None:
    """Refuse stages of collection that one of the two tables does not have.

    A house names its own stages, so they are no part of a contract.
    """
    (output,) = [column for column in stage.outputs if column.name == STAGE.name]
    for column in strategy.inputs:
        if column.name == STAGE.name and set(column.values) != set(output.values):
            raise PolicyError(
                f"the column has the values {', '.join(column.values)}",
                where=f"{strategy.id}.{STAGE.name}",
                expected=f"those of {stage.id}: {', '.join(output.values)}",
            )
