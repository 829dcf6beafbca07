"""Who would be approved by one model and not by the other.

Two models are compared on rows that neither has learnt from. The swap-set divides the
rows by whom each model approves: at one approval rate, where both approve equally many,
and at one cut-off of the PD, where a model of another level approves more or fewer.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from obligor.training.validation.side_by_side import (
    ApprovalRule,
    ScoredRows,
    SwapSet,
    swap_sets,
)
from tests.ascii import parse, spec


class SwapRow(NamedTuple):
    """Rows by who approves them, with their defaults and their money."""

    group: str
    rows: int
    defaults: int
    amount: float
    amount_in_default: float


LOANS = """
    loan | pd_new | pd_old | defaulted | amount
    a    | 0.01   | 0.02   | 0         | 100
    b    | 0.02   | 0.20   | 0         | 200
    c    | 0.15   | 0.03   | 1         | 300
    d    | 0.30   | 0.40   | 1         | 400
"""


def swapped(rule: ApprovalRule) -> tuple[SwapSet, SwapSet]:
    rows = parse(LOANS)

    def column(name: str) -> np.ndarray:
        return np.array([float(row[name]) for row in rows])

    scored = ScoredRows(
        first=column("pd_new"),
        second=column("pd_old"),
        label=column("defaulted").astype(np.int64),
        groups=np.arange(len(rows)),
        amount=column("amount"),
    )
    return swap_sets(scored, rule, "champion")


def listed(swap: SwapSet) -> list[SwapRow]:
    return [
        SwapRow(
            group["group"],
            group["rows"],
            group["defaults"],
            group["amount"] or 0,
            group["amount_in_default"] or 0,
        )
        for group in swap.groups
    ]


def test_both_approve_equally_many() -> None:
    """Each approves the half of the loans with the lowest PD."""
    same_rate, _ = swapped(ApprovalRule(share=0.5))
    expected = """
        group                | rows | defaults | amount | amount_in_default
        approved by both     | 1    | 0        | 100    | 0
        only by this model   | 1    | 0        | 200    | 0
        only by the champion | 1    | 1        | 300    | 300
        by neither           | 1    | 1        | 400    | 400
    """
    spec(listed(same_rate), expected)


def test_one_cut_off_for_both() -> None:
    """A PD of at most 16% is approved: three loans by the new model, two by the old."""
    _, same_cut_off = swapped(ApprovalRule(cut_off=0.16))
    expected = """
        group                | rows | defaults | amount | amount_in_default
        approved by both     | 2    | 1        | 400    | 300
        only by this model   | 1    | 0        | 200    | 0
        only by the champion | 0    | 0        | 0      | 0
        by neither           | 1    | 1        | 400    | 400
    """
    spec(listed(same_cut_off), expected)
