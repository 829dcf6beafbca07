"""Decision tables in the DMN manner: read from plain data, proven and compiled.

A table with an unknown column, a mistyped cell, a gap, an overlap or a row that can
never fire is refused with its place and the reason. A rule that cannot be reached is a
rule that somebody relies on in vain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import cast

from obligor.errors import PolicyError
from obligor.policy.rulebooks.cells import Column, Value
from obligor.policy.rulebooks.contracts import TableContract
from obligor.policy.rulebooks.draft import Draft, Rule, read_draft
from obligor.policy.rulebooks.files import RulebookFile, Scalar, WorkedExample
from obligor.policy.rulebooks.lookup import (
    Lookup,
    Masks,
    compile_lookup,
    masks_of,
    refuse,
)
from obligor.policy.rulebooks.proof import axes_of, prove


# Not frozen: that takes three times as long to build, and a decision has a dozen.
@dataclass(slots=True)
class Evaluation:
    """One evaluation of a table.

    Attributes
    ----------
    table : str
        The table.
    inputs : mapping of str to Value
        The values it saw.
    tried : tuple of str
        Ids of the rows up to the one that fired; all of a ``collect`` table.
    fired : str
        Id of the row that fired.
    because, because_zh : str
        Why the row is there.
    outputs : mapping of str to Value
        Its outputs.
    """

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

    def number(self, name: str) -> Decimal:
        """Return an output whose column is a number, whole or not."""
        value = self.outputs[name]
        return value if isinstance(value, Decimal) else Decimal(str(value))


RowAnswer = tuple[tuple[str, ...], str, str, str, Mapping[str, Value]]


@dataclass(frozen=True)
class DecisionTable:
    """A compiled decision table.

    The numbers in its cells cut each input into regions in which no cell changes its
    answer. To evaluate the table is to find the region of each input, so the result is
    exact and takes the same time however many rows there are.

    Attributes
    ----------
    id, hit : str
        Name, and hit policy: ``unique``, ``first`` or ``collect``.
    inputs, outputs : tuple of Column
        The columns.
    rules : tuple of Rule
        The rows.
    points : tuple of tuple of Decimal
        Per input, the numbers between its regions.
    masks : tuple of tuple of int
        Per input and region, the rows that pass, a bit each, and a bit behind them if
        the region may occur.
    lookup : callable
        From the inputs to the rows that fit, and the inputs by name.
    answers : tuple
        Per row, all of its evaluation but table and inputs.
    """

    id: str
    hit: str
    inputs: tuple[Column, ...]
    outputs: tuple[Column, ...]
    rules: tuple[Rule, ...]
    points: tuple[tuple[Decimal, ...], ...]
    masks: Masks
    lookup: Lookup
    answers: tuple[RowAnswer, ...]

    def __call__(self, **values: Value) -> Evaluation:
        """Evaluate the first row that fits.

        Raises
        ------
        PolicyError
            If a value is missing, mistyped or out of range.
        """
        rows, seen = self.lookup(**values)
        if not rows >> len(self.rules):  # some region may not occur
            refuse(self.id, self.inputs, seen)
        first_row = (rows & -rows).bit_length() - 1
        return Evaluation(self.id, seen, *self.answers[first_row])

    def all(self, **values: Value) -> list[Evaluation]:
        """Evaluate every row that fits, in order; a ``collect`` table may have none.

        Raises
        ------
        PolicyError
            If a value is missing, mistyped or out of range.
        """
        rows, seen = self.lookup(**values)
        if not rows >> len(self.rules):
            refuse(self.id, self.inputs, seen)
        fired = [row for row in range(len(self.rules)) if rows >> row & 1]
        if self.hit != "collect":
            fired = fired[:1]
        return [Evaluation(self.id, seen, *self.answers[row]) for row in fired]

    def tests(self, row_id: str, prefix: str) -> bool:
        """Return whether a row asks for an input whose name begins so.

        Parameters
        ----------
        row_id : str
            Id of a row; a row that the table does not have asks for nothing.
        prefix : str
            The beginning of the input's name, such as ``bureau_``.
        """
        for rule in self.rules:
            if rule.id == row_id:
                pairs = zip(self.inputs, rule.cells, strict=True)
                return any(
                    column.name.startswith(prefix) and cell.any_of
                    for column, cell in pairs
                )
        return False


def compile_table(
    spec: RulebookFile, contract: TableContract | None = None
) -> DecisionTable:
    """Compile one table, prove it, and run its worked examples.

    Parameters
    ----------
    spec : RulebookFile
        ``id, hit, inputs, outputs, rules, cases``: a YAML file of `policy/rules`,
        parsed.
    contract : TableContract, optional
        Its inputs may be given in every evaluation, also those the table does not use.
        Whether the table keeps to it is not checked here.

    Returns
    -------
    DecisionTable
        A table without gap, overlap (hit ``unique``) or unreachable row.

    Raises
    ------
    PolicyError
        Naming table, row, column and reason.
    """
    draft = read_draft(spec)
    axes = axes_of(draft)
    prove(draft, axes)
    masks = masks_of(draft, axes)
    offered = [column.name for column in contract.inputs] if contract else []
    table = DecisionTable(
        id=draft.id,
        hit=draft.hit,
        inputs=draft.inputs,
        outputs=draft.outputs,
        rules=draft.rules,
        points=draft.points,
        masks=masks,
        lookup=compile_lookup(draft, masks, offered),
        answers=_answers(draft),
    )
    _run_worked_examples(table, spec.get("cases", ()))
    return table


def _answers(draft: Draft) -> tuple[RowAnswer, ...]:
    ids = tuple(rule.id for rule in draft.rules)
    answers = list[RowAnswer]()
    for row, rule in enumerate(draft.rules):
        tried = ids if draft.hit == "collect" else ids[: row + 1]
        answers.append((tried, rule.id, rule.because, rule.because_zh, rule.outputs))
    return tuple(answers)


def _run_worked_examples(
    table: DecisionTable, examples: Sequence[WorkedExample]
) -> None:
    """Run the worked examples of a table.

    Those of a ``collect`` table list the rows that fire: ``out: {fired: [W1]}``.
    """
    if not examples:
        raise PolicyError(
            "the table has no cases",
            where=table.id,
            expected="worked examples: inputs -> outputs",
        )
    for example in examples:
        values = {name: _exact(value) for name, value in example["in"].items()}
        outputs: Mapping[str, object] = {}
        if table.hit == "collect":
            outputs = {"fired": [row.fired for row in table.all(**values)]}
        else:
            outputs = table(**values).outputs
        # Compared as texts, as a file holds floats and the table Decimals.
        for name, expected in example["out"].items():
            if name not in outputs or str(outputs[name]) != str(expected):
                raise PolicyError(
                    f"case {example['in']} gives {name} = {outputs.get(name)}",
                    where=table.id,
                    expected=str(expected),
                )


def _exact(value: Scalar) -> Value:
    """The value of a file as the tables take it: floats become Decimals."""
    if isinstance(value, float):
        return Decimal(str(value))
    # A scalar that no column holds, such as a date, is refused by the table.
    return cast(Value, value)
