"""Two decisions on one portfolio compared: figures by group, and the largest movers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import numpy as np
from pydantic import Field
from typing_extensions import TypedDict

from obligor.arrays import Bools, Floats
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
    """A customer under two rulebooks, with every rule and cap that differs."""

    customer_id: str
    pd_12m: float
    outcome: Annotated[list[str], Field(description="Before and after")]
    limit: list[str]
    binding_cap: list[str]
    because: list[str]


def summary(
    portfolio: Portfolio,
    before: PortfolioDecisions,
    after: PortfolioDecisions,
) -> dict[str, dict[str, Figures]]:
    """Return the changes between two decisions on a portfolio.

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
    figures = dict[str, dict[str, Figures]]()
    for name, groups in _parts(portfolio, before).items():
        figures[name] = {
            key: _figures(before, after, chosen)
            for key, chosen in groups.items()
            if chosen.any()
        }
    return figures


def _parts(
    portfolio: Portfolio, before: PortfolioDecisions
) -> dict[str, dict[str, Bools]]:
    """Which customers belong to each group of each part."""
    everyone = np.ones(len(portfolio), dtype=bool)
    grades = {}
    for grade in range(1, 11):
        grades[str(grade)] = before.grade == grade
    classes = {}
    for index, name in enumerate(CUSTOMER_CLASSES):
        classes[name] = before.customer_class == index
    parts = {
        "all": {"all": everyone},
        "grade": grades,
        "customer_class": classes,
    }
    for name, texts in portfolio.groups.items():
        groups = {}
        for text in np.unique(texts):
            groups[str(text)] = texts == text
        parts[name] = groups
    return parts


def _figures(
    before: PortfolioDecisions,
    after: PortfolioDecisions,
    chosen: Bools,
) -> Figures:
    def count(is_counted: Bools) -> int:
        return int(is_counted[chosen].sum())

    def total(amounts: Floats | Bools) -> float:
        return float(amounts[chosen].sum())

    def outcomes(name: str) -> list[int]:
        index = OUTCOMES.index(name)
        return [count(before.outcome == index), count(after.outcome == index)]

    return Figures(
        customers=int(chosen.sum()),
        decisions_changed=count(before.outcome != after.outcome),
        limits_changed=count(before.limit != after.limit),
        approve=outcomes("approve"),
        refer=outcomes("refer"),
        decline=outcomes("decline"),
        limit=[total(before.limit), total(after.limit)],
        expected_loss=[total(before.expected_loss), total(after.expected_loss)],
        eva=[total(before.eva), total(after.eva)],
        is_held=[total(before.is_held), total(after.is_held)],
        to_a_person=[count(before.approver > 0), count(after.approver > 0)],
    )


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


def compare_customer(
    facts: Facts,
    old: Rulebook,
    new: Rulebook,
) -> Mover:
    """Return one customer's decision under two rulebooks, and the differences.

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
        limit=[str(before.limit.amount), str(after.limit.amount)],
        binding_cap=[before.limit.binding_cap, after.limit.binding_cap],
        because=[*_rule_changes(before, after), *_cap_changes(before, after)],
    )


def _rule_changes(before: Decision, after: Decision) -> Iterator[str]:
    """The tables in which another row fired, or whose row has other outputs."""
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
