"""The ordered spine of one policy decision: facts and a PD in, a decision with its full trace out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

from obligor.data.money import round_money
from obligor.errors import PolicyError
from obligor.policy.collecting.priority import (
    CollectionPriority,
    collection_priority,
    plan_of,
)
from obligor.policy.credit.credit_file import NOTHING_ON_FILE, CreditFile, check_file
from obligor.policy.credit.limits import (
    Limit,
    credit_limit,
    exposure_caps,
    filed_caps,
    need,
    peak_daily_sales,
    with_temporary,
)
from obligor.policy.credit.position import Position, number, position_of
from obligor.policy.credit.pricing import PriceFloor, price_floor
from obligor.policy.credit.promise_ladder import MIDDLE, Promise, Rung, rung_on
from obligor.policy.credit.rating import rate, score_of
from obligor.policy.economics import (
    capital_ratio,
    economic_cap,
    expected_loss,
    risk_cost,
)
from obligor.policy.rulebooks.decision_table import Evaluation
from obligor.policy.rulebooks.rulebook import Rulebook

_NOTHING = Decimal(0)


@dataclass(frozen=True)
class Request:
    """What the customer asks for now, in the reporting currency."""

    amount: Decimal
    terms_days: int | None = None


@dataclass(frozen=True)
class Facts:
    """What is known about a customer: the PD, the features by name (NaN: not known), and what is on file.

    Equity and turnover are those of the last statement, NaN where not known; promises are those settled.
    """

    pd_12m: float
    currency: str
    features: Mapping[str, float]
    as_of: date
    request: Request | None = None
    file: CreditFile = NOTHING_ON_FILE
    equity: float = float("nan")
    turnover: float = float("nan")
    promises: tuple[Promise, ...] = ()
    customer_id: str = ""


@dataclass(frozen=True)
class Terms:
    """What is offered: days, prepayment, a deposit, a discount for paying early; and whether delivery is stopped."""

    terms_days: int
    is_prepaid: bool
    deposit_share: Decimal
    discount_rate: Decimal
    discount_days: int
    is_stopped: bool = False


class Decision(NamedTuple):
    """What we do, and every rule that was tried for it."""

    outcome: str
    position: Position
    grade: int
    score: int
    customer_class: str
    limit: Limit
    terms: Terms
    capital: Decimal
    price_floor: PriceFloor | None
    approver: str
    persons: int
    expected_loss: Decimal
    next_review_on: date
    collection: CollectionPriority | None
    rung: Rung
    reasons: tuple[Evaluation, ...]
    trace: tuple[Evaluation, ...]


def decide(facts: Facts, rulebook: Rulebook) -> Decision:
    """Decide on one customer under one rulebook.

    Parameters
    ----------
    facts : Facts
        PD over 12 months and features, as known on the as-of date.
    rulebook : Rulebook
        The rules in force.

    Raises
    ------
    PolicyError
        Where the PD is not a probability, or what is on file makes no sense.
    """
    if not 0 <= facts.pd_12m <= 1:
        raise PolicyError(
            f"PD {facts.pd_12m} is no probability", where="pd_12m", expected="0 to 1"
        )
    if facts.file is not NOTHING_ON_FILE:
        check_file(facts.file)
    tables, p = rulebook.tables, rulebook.parameters
    position, pd_12m = (
        position_of(facts.features, facts.currency),
        Decimal(str(facts.pd_12m)),
    )
    # 1. Rating: promises kept and broken, master scale, overlay, override, class.
    rung = rung_on(facts.promises, facts.as_of, rulebook) if facts.promises else MIDDLE
    rating = rate(
        pd_12m,
        position.dpd_days,
        position.broken_promises,
        rung.rung,
        facts.file,
        facts.as_of,
        rulebook,
    )
    # 2. Hard stops: what stops whatever the score.
    stops = _hard_stops(position, rulebook)
    # 3. Terms by grade and class, moved by the ladder; a shorter request stands.
    graded = graded_by(rating.grade, rating.customer_class, rung.rung, rulebook)
    terms = _asked(graded.terms, facts.request)
    # 4. Limit: the smallest of its caps.
    capital = Decimal(
        str(
            capital_ratio(
                facts.pd_12m, float(p["lgd"]), confidence=float(p["capital_confidence"])
            )
        )
    )
    wanted = position.used + facts.request.amount if facts.request else None
    earned = tables["step_up"](relation_days=position.relation_days)
    limit = _limit(
        facts,
        position,
        graded,
        terms,
        _number(earned, "share"),
        pd_12m,
        capital,
        wanted,
        rulebook,
    )
    # 5. Authority: who may approve so much; then the outcome.
    fits = None if wanted is None else wanted <= limit.amount
    amount = limit.amount if wanted is None else wanted
    authority = tables["authority"](
        amount=amount, customer_class=rating.customer_class, grade=rating.grade
    )
    approver = authority.outputs["approver"]
    stop = stops.outputs["stop"]
    outcome = tables["outcome"](
        stop=stop, grade=rating.grade, request_fits=fits, approver=approver
    )
    if outcome.outputs["outcome"] == "decline":
        limit = credit_limit({"decline": _NOTHING, **limit.caps}, facts.currency)
    # 6. What it must cost, when to look again, and whether to collect first.
    floor = None
    if facts.request:
        floor = floor_of(
            facts.request.amount,
            position,
            terms,
            pd_12m,
            capital,
            facts.currency,
            rulebook,
        )
    review = graded.event_review if facts.file.has_event(facts.as_of) else graded.review
    loss = round_money(
        expected_loss(pd_12m, p["lgd"], max(limit.amount, position.used)),
        facts.currency,
    )
    steps, set_by_grade = (
        (step for _, step in rung.steps),
        (graded.offered, graded.earned, graded.caps),
    )
    return Decision(
        outcome=str(outcome.outputs["outcome"]),
        position=position,
        grade=rating.grade,
        score=score_of(min(max(facts.pd_12m, 1e-9), 1 - 1e-9), *rulebook.scale),
        customer_class=rating.customer_class,
        limit=limit,
        terms=terms,
        capital=capital,
        price_floor=floor,
        approver=str(approver),
        persons=authority.whole("persons"),
        expected_loss=loss,
        next_review_on=_next_review(facts, review),
        collection=_collection(
            position, pd_12m, rating.customer_class, facts.currency, rulebook
        ),
        rung=rung,
        reasons=_policy_reasons(stops, outcome, authority),
        trace=(
            *steps,
            *rating.trace,
            stops,
            *set_by_grade,
            earned,
            authority,
            outcome,
            review,
        ),
    )


class Graded(NamedTuple):
    """What grade, class and rung decide by themselves."""

    offered: Evaluation
    earned: Evaluation
    caps: Evaluation
    review: Evaluation
    event_review: Evaluation
    terms: Terms


def graded_by(grade: int, customer_class: str, rung: int, rulebook: Rulebook) -> Graded:
    """Return what grade, class and rung decide by themselves, worked out once: there are few of them."""
    found = rulebook.memo.get((grade, customer_class, rung))
    if isinstance(found, Graded):
        return found
    tables = rulebook.tables
    offered = tables["terms"](grade=grade, customer_class=customer_class)
    earned = tables["ladder"](rung=rung)
    graded = Graded(
        offered,
        earned,
        tables["exposure_caps"](grade=grade),
        tables["review"](customer_class=customer_class, has_event=False),
        tables["review"](customer_class=customer_class, has_event=True),
        _terms(offered, earned),
    )
    rulebook.memo[grade, customer_class, rung] = graded
    return graded


def _hard_stops(position: Position, rulebook: Rulebook) -> Evaluation:
    return rulebook.tables["hard_stops"](
        has_invoices=position.relation_days is not None,
        dpd_days=position.dpd_days,
        written_off_amount_365d=position.written_off_amount_365d,
        open_amount=position.open_amount,
        disputed_share=position.disputed_share,
    )


def _terms(offered: Evaluation, earned: Evaluation) -> Terms:
    """What grade and class offer, and what kept or broken promises add or take; prepayment stays prepayment."""
    days, is_stopped = offered.whole("terms_days"), bool(earned.outputs["is_stopped"])
    discount = _number(offered, "discount_rate")
    return Terms(
        terms_days=max(days + earned.whole("days_change"), 0) if days else 0,
        is_prepaid=bool(offered.outputs["is_prepaid"]) or is_stopped,
        deposit_share=max(
            _number(offered, "deposit_share"), _number(earned, "deposit_share")
        ),
        discount_rate=discount and discount + _number(earned, "discount_change"),
        discount_days=offered.whole("discount_days"),
        is_stopped=is_stopped,
    )


def _asked(terms: Terms, request: Request | None) -> Terms:
    """The terms, or the shorter ones asked for."""
    if (
        request is None
        or request.terms_days is None
        or request.terms_days >= terms.terms_days
    ):
        return terms
    return replace(terms, terms_days=request.terms_days)


def _number(evaluation: Evaluation, name: str) -> Decimal:
    value = evaluation.outputs[name]
    return value if isinstance(value, Decimal) else Decimal(str(value))


def _next_review(facts: Facts, review: Evaluation) -> date:
    """The day the rules set, or the first on which something on file ends."""
    regular = facts.as_of + timedelta(days=review.whole("review_days"))
    expiry = facts.file.next_expiry(facts.as_of)
    return min(regular, expiry) if expiry else regular


def _collection(
    position: Position,
    pd_12m: Decimal,
    customer_class: str,
    currency: str,
    rulebook: Rulebook,
) -> CollectionPriority | None:
    """What a contact is worth; None where nothing is past due."""
    overdue, dpd_days = (
        position.overdue_amount or _NOTHING,
        position.dpd_days or _NOTHING,
    )
    if overdue <= 0 or dpd_days <= 0:
        return None
    plan = plan_of(dpd_days, customer_class, rulebook)
    return collection_priority(overdue, dpd_days, pd_12m, plan, currency, rulebook)[1]


def _limit(
    facts: Facts,
    position: Position,
    graded: Graded,
    terms: Terms,
    share: Decimal,
    pd_12m: Decimal,
    capital: Decimal,
    wanted: Decimal | None,
    rulebook: Rulebook,
) -> Limit:
    """Every cap there is, the smallest of them, and a temporary limit where one is in force."""
    p, file = rulebook.parameters, facts.file
    secured = file.secured(facts.as_of) if file.securities else _NOTHING
    usual = need(
        peak_daily_sales(position.annual_sales, position.sales_90d),
        Decimal(terms.terms_days),
        position.dbt_days or _NOTHING,
    )
    risk = risk_cost(pd_12m, p["lgd"], p["hurdle_rate"], capital)
    caps = {
        "need": usual if wanted is None else max(usual, wanted),
        "economic": economic_cap(
            position.annual_sales * p["credit_margin"],
            p["cost_of_funds"],
            risk,
            secured,
        ),
        **exposure_caps(
            graded.caps,
            number(facts.equity),
            number(facts.turnover),
            secured,
            p["secured_share"],
        ),
        **filed_caps(file, facts.customer_id, position.used),
    }
    if share < 1:
        caps["step_up"] = min(caps.values()) * share
    return with_temporary(credit_limit(caps, facts.currency), file, facts.as_of)


def floor_of(
    amount: Decimal,
    position: Position,
    terms: Terms,
    pd_12m: Decimal,
    capital: Decimal,
    currency: str,
    rulebook: Rulebook,
) -> PriceFloor:
    """Return the price floor of an amount on a customer's terms, paid as late as this customer pays."""
    days = (
        terms.terms_days + (position.dbt_days or _NOTHING)
        if terms.terms_days
        else _NOTHING
    )
    return price_floor(
        amount, days, terms.deposit_share, pd_12m, capital, currency, rulebook
    )


def _policy_reasons(
    stops: Evaluation, outcome: Evaluation, authority: Evaluation
) -> tuple[Evaluation, ...]:
    """The rule that kept the decision from being an approval comes first, with what made it fire."""
    if outcome.outputs["outcome"] == "approve":
        return ()
    behind = []
    if outcome.inputs["stop"] != "none":
        behind.append(stops)
        if outcome.inputs["stop"] == outcome.outputs["outcome"]:
            return (stops,)
    if outcome.fired == "P26":
        behind.append(authority)
    return (outcome, *behind)
