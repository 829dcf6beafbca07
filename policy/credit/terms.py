"""Payment terms, and all else that grade, class and rung determine together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import NamedTuple

from obligor.policy.rulebooks.decision_table import Evaluation
from obligor.policy.rulebooks.rulebook import Rulebook


class CustomerGrade(NamedTuple):
    """How the rules classify a customer: grade, class, and rung of the promise ladder.

    Attributes
    ----------
    grade : int
        1 (safest) to 10.
    customer_class : {"premium", "general", "risk"}
        The class that grade and conduct give.
    rung : int
        Rung of the promise ladder; 0 for a customer without promises.
    """

    grade: int
    customer_class: str
    rung: int


@dataclass(frozen=True)
class Terms:
    """The terms offered to a customer.

    Attributes
    ----------
    terms_days : int
        Days of credit; 0 for prepayment.
    is_prepaid : bool
        Whether every order is paid in advance.
    deposit_share : Decimal
        Share of an order paid in advance, 0 to 1.
    discount_rate, discount_days : Decimal, int
        Discount for paying within so many days.
    is_stopped : bool
        Whether deliveries are stopped.
    """

    terms_days: int
    is_prepaid: bool
    deposit_share: Decimal
    discount_rate: Decimal
    discount_days: int
    is_stopped: bool = False


class GradeCaps(NamedTuple):
    """The caps that a grade sets on a limit.

    Attributes
    ----------
    ceiling : Decimal
        Largest exposure, in the reporting currency.
    unsecured : Decimal
        Amount lent on the customer's name alone, in the reporting currency.
    net_worth_share, turnover_share : Decimal
        Shares of equity and turnover, 0 to 1.
    """

    ceiling: Decimal
    unsecured: Decimal
    net_worth_share: Decimal
    turnover_share: Decimal


class GradePolicy(NamedTuple):
    """The evaluations that depend on grade, class and rung alone.

    Attributes
    ----------
    offered, ladder, caps, review, event_review : Evaluation
        The tables ``terms``, ``ladder``, ``exposure_caps``, and ``review`` without and
        with an event.
    terms : Terms
        The terms that follow from the first two.
    grade_caps : GradeCaps
        The numbers of `caps`.
    """

    offered: Evaluation
    ladder: Evaluation
    caps: Evaluation
    review: Evaluation
    event_review: Evaluation
    terms: Terms
    grade_caps: GradeCaps


def grade_policy(customer: CustomerGrade, rulebook: Rulebook) -> GradePolicy:
    """Return the evaluations that depend on grade, class and rung alone.

    There are few combinations, so each is evaluated once per rulebook.
    """
    policy = rulebook.memo.get(customer)
    if isinstance(policy, GradePolicy):
        return policy
    grade, customer_class, rung = customer
    tables = rulebook.tables
    offered = tables["terms"](grade=grade, customer_class=customer_class)
    ladder = tables["ladder"](rung=rung)
    caps = tables["exposure_caps"](grade=grade)
    policy = GradePolicy(
        offered=offered,
        ladder=ladder,
        caps=caps,
        review=tables["review"](customer_class=customer_class, has_event=False),
        event_review=tables["review"](customer_class=customer_class, has_event=True),
        terms=_terms(offered, ladder),
        grade_caps=GradeCaps(
            ceiling=caps.number("ceiling"),
            unsecured=caps.number("unsecured"),
            net_worth_share=caps.number("net_worth_share"),
            turnover_share=caps.number("turnover_share"),
        ),
    )
    rulebook.memo[customer] = policy
    return policy


def _terms(offered: Evaluation, ladder: Evaluation) -> Terms:
    """The terms of grade and class, moved by kept or broken promises.

    A customer that pays in advance stays on prepayment.
    """
    terms_days = offered.whole("terms_days")
    if terms_days:  # 0 is prepayment, which no kept promise turns into credit
        terms_days = max(terms_days + ladder.whole("days_change"), 0)
    discount_rate = offered.number("discount_rate")
    if discount_rate:  # nor does it earn a discount that was not offered
        discount_rate += ladder.number("discount_change")
    deposits = offered.number("deposit_share"), ladder.number("deposit_share")
    is_stopped = bool(ladder.outputs["is_stopped"])
    return Terms(
        terms_days=terms_days,
        is_prepaid=bool(offered.outputs["is_prepaid"]) or is_stopped,
        deposit_share=max(deposits),
        discount_rate=discount_rate,
        discount_days=offered.whole("discount_days"),
        is_stopped=is_stopped,
    )


def requested_terms(terms: Terms, requested_days: int | None) -> Terms:
    """Return the terms, shortened if the customer asked for fewer days.

    Examples
    --------
    >>> terms = Terms(45, False, Decimal(0), Decimal(0), 0)
    >>> requested_terms(terms, 10).terms_days, requested_terms(terms, 90).terms_days
    (10, 45)
    """
    if requested_days is None or requested_days >= terms.terms_days:
        return terms
    return replace(terms, terms_days=requested_days)
