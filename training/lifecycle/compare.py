"""Two registered versions on the same raw rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

from obligor.arrays import Floats
from obligor.errors import SchemaError
from obligor.features.number_reading import numbers
from obligor.training.lifecycle.raw_rows import KnownModel, RawRows, rival_of
from obligor.training.validation.side_by_side import (
    ApprovalRule,
    ScoredRows,
    SideBySide,
    can_be_compared,
    side_by_side,
)

ROUNDS = 200
NAMED = 30  # columns named in a message
SEED = 0  # fixed, so that a comparison always gives the same figures


@dataclass(frozen=True)
class Comparison:
    """How a version compares with another one.

    Attributes
    ----------
    version, other : str
        Both versions in the registry.
    result : SideBySide, optional
        None if they cannot be compared; the notes say why.
    notes : tuple of str
        Sentences on rows that are left out and columns that are missing.
    """

    version: str
    other: str
    result: SideBySide | None
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """Return everything as JSON values."""
        compared = {} if self.result is None else self.result.as_dict()
        return {
            "version": self.version,
            "other": self.other,
            "notes": list(self.notes),
            **compared,
        }


@dataclass(frozen=True)
class ComparedRows:
    """The rows that versions are compared on.

    Attributes
    ----------
    raw : RawRows
        The rows, before any encoding.
    amount : ndarray of float, shape (n,), optional
        Money that each row stands for.
    weight : ndarray of float, shape (n,), optional
        How often each row counts; 1 by default.
    """

    raw: RawRows
    amount: Floats | None = None
    weight: Floats | None = None

    def with_amount(self, column: str) -> ComparedRows:
        """Return the rows with the money of one of their columns.

        Raises
        ------
        SchemaError
            If the rows have no such column.
        """
        frame = self.raw.frame
        if column not in frame:
            raise SchemaError(
                f"the rows have no column {column!r}",
                where="--amount",
                expected=f"one of {list(frame)[:NAMED]}",
            )
        return replace(self, amount=numbers(frame[column]))


def compare(
    ours: KnownModel,
    other: KnownModel,
    rows: ComparedRows,
    rule: ApprovalRule | None = None,
) -> Comparison:
    """Compare two models on the rows that neither has learnt from.

    Parameters
    ----------
    ours, other : KnownModel
        Both models, with what they have learnt from.
    rows : ComparedRows
        Rows with outcomes over the horizon of the first model.
    rule : ApprovalRule, optional
        Whom the models approve in the swap-sets.

    Returns
    -------
    Comparison
        Figures, differences, swap-sets, and what stands in their way.
    """
    raw = rows.raw
    days = ours.model.horizon_days
    first = rival_of(ours, raw, days)
    second = rival_of(other, raw, days)
    notes = list(dict.fromkeys([*first.notes, *second.notes]))
    if first.pd is None or second.pd is None:
        return Comparison(ours.version, other.version, None, tuple(notes))
    is_unseen = first.is_unseen & second.is_unseen
    label = raw.label[is_unseen]
    if not can_be_compared(label):
        notes.append(
            f"{len(label):,} rows with {int(label.sum()):,} defaults are new to both "
            "models: too few to compare."
        )
        return Comparison(ours.version, other.version, None, tuple(notes))
    scored = ScoredRows(
        first=first.pd[is_unseen],
        second=second.pd[is_unseen],
        label=label,
        groups=raw.groups[is_unseen],
        amount=None if rows.amount is None else rows.amount[is_unseen],
        weight=None if rows.weight is None else rows.weight[is_unseen],
    )
    result = side_by_side(
        scored,
        ROUNDS,
        SEED,
        rule,
        other.name,
    )
    return Comparison(ours.version, other.version, result, tuple(notes))
