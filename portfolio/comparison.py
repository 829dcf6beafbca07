"""Two decisions on one portfolio compared: figures by group, and the largest movers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import TypedDict

import numpy as np

from obligor.arrays import Bools, Floats, Ints
from obligor.policy.credit.decide import Decision, decide
from obligor.policy.credit.facts import Facts
from obligor.policy.rulebooks.rulebook import Rulebook
from obligor.portfolio.decide_many import CUSTOMER_CLASSES, OUTCOMES, PortfolioDecisions
from obligor.portfolio.snapshot import Portfolio

MOST_MOVERS = 20


class Figures(TypedDict):
    """Figures of a group of customers; pairs are before and after."""

    customers: int
    decisions_changed: int
    limits_changed: int
    approve: list[int]
    refer: list[int]
    decline: list[int]
    limit: list[float]
    expected_loss: list[float]
    eva: list[float]
    is_held: list[float]
    to_a_person: list[int]


class Mover(TypedDict):
    """A customer under two rulebooks; pairs are before and after."""

    customer_id: str
    pd_12m: float
    outcome: list[str]
    limit: list[Decimal]
    binding_cap: list[str]
    because: list[str]


def summary(
    portfolio: Portfolio, before: PortfolioDecisions, after: PortfolioDecisions
) -> dict[str, dict[str, Figures]]:
    """Return what changes between two decisions on a portfolio.

    Parameters
    ----------
    portfolio : Portfolio
        The customers.
    before, after : PortfolioDecisions
        Under two rulebooks, or without and with stress.

    Returns
    -------
    dict of str to dict of str to Figures
        Figures of everyone (``all``), and by grade, class and each group of the
        portfolio; parts without a customer are left out.
    """
    everyone = np.ones(len(portfolio), dtype=bool)
    parts = {
        "all": {"all": everyone},
        "grade": {str(grade): before.grade == grade for grade in range(1, 11)},
        "customer_class": {
            name: before.customer_class == index
            for index, name in enumerate(CUSTOMER_CLASSES)
        },
    }
    for name, texts in portfolio.groups.items():
        parts[name] = {str(text): texts == text for text in np.unique(texts)}
    figures = dict[str, dict[str, Figures]]()
    for name, members in parts.items():
        figures[name] = {
            key: _figures(before, after, chosen)
            for key, chosen in members.items()
            if chosen.any()
        }
    return figures


def _figures(
    before: PortfolioDecisions, after: PortfolioDecisions, chosen: Bools
) -> Figures:
    decisions = (before, after)

    def outcomes(name: str) -> list[int]:
        index = OUTCOMES.index(name)
        return [int((one.outcome == index)[chosen].sum()) for one in decisions]

    def totals(amount: Callable[[PortfolioDecisions], Floats | Bools]) -> list[float]:
        return [float(amount(one)[chosen].sum()) for one in decisions]

    return Figures(
        customers=int(chosen.sum()),
        decisions_changed=_changes(before.outcome, after.outcome, chosen),
        limits_changed=_changes(before.limit, after.limit, chosen),
        approve=outcomes("approve"),
        refer=outcomes("refer"),
        decline=outcomes("decline"),
        limit=totals(lambda result: result.limit),
        expected_loss=totals(lambda result: result.expected_loss),
        eva=totals(lambda result: result.eva),
        is_held=totals(lambda result: result.is_held),
        to_a_person=[int((one.approver > 0)[chosen].sum()) for one in decisions],
    )


def _changes(before: Floats | Ints, after: Floats | Ints, chosen: Bools) -> int:
    return int((before != after)[chosen].sum())


def movers(
    portfolio: Portfolio,
    old: Rulebook,
    new: Rulebook,
    before: PortfolioDecisions,
    after: PortfolioDecisions,
) -> list[Mover]:
    """Return the customers whose limits move most, each with the reasons.

    Parameters
    ----------
    portfolio : Portfolio
        The customers.
    old, new : Rulebook
        Two rulebooks; the movers are decided one by one under both to give reasons.
    before, after : PortfolioDecisions
        The decisions of the two rulebooks.

    Returns
    -------
    list of Mover
        At most `MOST_MOVERS`, the largest change first.
    """
    change = np.abs(after.limit - before.limit)
    largest_first = np.argsort(-change, kind="stable")[:MOST_MOVERS]
    return [
        compare_customer(portfolio.facts(row), old, new)
        for row in largest_first.tolist()
        if change[row] > 0
    ]


def compare_customer(facts: Facts, old: Rulebook, new: Rulebook) -> Mover:
    """Return one customer's decision under two rulebooks, and what differs.

    Parameters
    ----------
    facts : Facts
        The customer.
    old, new : Rulebook
        The rulebooks.

    Returns
    -------
    Mover
        Outcomes and limits, with the rules and caps that differ as reasons.
    """
    before = decide(facts, old)
    after = decide(facts, new)
    return Mover(
        customer_id=facts.customer_id,
        pd_12m=facts.pd_12m,
        outcome=[before.outcome, after.outcome],
        limit=[before.limit.amount, after.limit.amount],
        binding_cap=[before.limit.binding_cap, after.limit.binding_cap],
        because=[*_rule_changes(before, after), *_cap_changes(before, after)],
    )


def _rule_changes(before: Decision, after: Decision) -> Iterator[str]:
    """The tables in which another row fired, or the row gives something else."""
    earlier = {evaluation.table: evaluation for evaluation in before.trace}
    for evaluation in after.trace:
        old = earlier.get(evaluation.table)
        new_text = f"{evaluation.fired} {dict(evaluation.outputs)}"
        if old is None:
            yield f"{evaluation.table}: nothing -> {new_text}"
            continue
        is_same_row = old.fired == evaluation.fired
        if not is_same_row or old.outputs != evaluation.outputs:
            old_text = f"{old.fired} {dict(old.outputs)}"
            yield f"{evaluation.table}: {old_text} -> {new_text}"


def _cap_changes(before: Decision, after: Decision) -> Iterator[str]:
    """The caps of the limit that differ."""
    for name, cap in after.limit.caps.items():
        old_cap = before.limit.caps.get(name)
        if old_cap != cap:
            yield f"cap {name}: {old_cap} -> {cap}"
