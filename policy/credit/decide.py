"""The ordered steps of one policy decision: from facts and a PD to a full trace."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

from obligor.data.money import round_money
from obligor.policy.collecting.priority import (
    AccountAge,
    Arrears,
    CollectionPriority,
    collection_priority,
    plan_of,
)
from obligor.policy.credit.credit_file import NOTHING_ON_FILE
from obligor.policy.credit.facts import Customer, Facts, check_facts, customer_of
from obligor.policy.credit.limits import (
    Limit,
    credit_limit,
    declined,
    exposure_at_default,
    limit_caps,
    with_step_up,
    with_temporary,
)
from obligor.policy.credit.position import Position
from obligor.policy.credit.pricing import PriceFloor, Pricing, floor_of
from obligor.policy.credit.promise_ladder import (
    MIDDLE_RUNG,
    LadderPosition,
    ladder_position,
)
from obligor.policy.credit.rating import Conduct, Rating, rate, score_of
from obligor.policy.credit.terms import (
    CustomerGrade,
    GradePolicy,
    Terms,
    grade_policy,
    requested_terms,
)
from obligor.policy.economics import expected_loss
from obligor.policy.rulebooks.decision_table import Evaluation
from obligor.policy.rulebooks.rulebook import Rulebook

_ZERO = Decimal(0)
REFERRED_BY_AUTHORITY = "P26"  # the row of ``outcome`` that asks for an approver
INCOMPLETE = "P11"  # the row of ``hard_stops`` on an incomplete ledger


class Decision(NamedTuple):
    """A decision about a customer, with every rule that was evaluated.

    Attributes
    ----------
    outcome : {"approve", "refer", "decline"}
        The decision.
    position : Position
        The customer's position in exact numbers.
    grade, score, customer_class : int, int, str
        The rating: 1 (safest) to 10, points, and class.
    limit : Limit
        The credit limit with its caps.
    terms : Terms
        The terms offered.
    pricing : Pricing
        The cost of credit to the customer.
    price_floor : PriceFloor, optional
        Of the credit asked for.
    approver, persons : str, int
        The authority an approval needs.
    expected_loss : Decimal
        Within 12 months, in the reporting currency.
    next_review_on : date
        The day of the next review.
    collection : CollectionPriority, optional
        The value of a contact, if an item is past due.
    ladder : LadderPosition
        The rung of the promise ladder.
    reasons, trace : tuple of Evaluation
        The rules that prevented an approval, and every rule.
    """

    outcome: str
    position: Position
    grade: int
    score: int
    customer_class: str
    limit: Limit
    terms: Terms
    pricing: Pricing
    price_floor: PriceFloor | None
    approver: str
    persons: int
    expected_loss: Decimal
    next_review_on: date
    collection: CollectionPriority | None
    ladder: LadderPosition
    reasons: tuple[Evaluation, ...]
    trace: tuple[Evaluation, ...]


class Verdict(NamedTuple):
    """The rules that set the outcome: hard stops, authority, table of outcomes."""

    stops: Evaluation
    authority: Evaluation
    outcome: Evaluation

    @property
    def is_decline(self) -> bool:
        """Whether the outcome is to decline."""
        return self.outcome.outputs["outcome"] == "decline"


def decide(facts: Facts, rulebook: Rulebook) -> Decision:
    """Decide on one customer under one rulebook.

    Parameters
    ----------
    facts : Facts
        PD over 12 months and features, as known on the as-of date.
    rulebook : Rulebook
        The rules in force.

    Returns
    -------
    Decision
        Outcome, limit, terms and price, with the trace of every rule.

    Raises
    ------
    PolicyError
        If the PD is not a probability, or the credit file is not valid.
    """
    check_facts(facts)
    customer = customer_of(facts, rulebook)
    position = customer.position
    # 1. Rating: promise ladder, master scale, overlay, override, class.
    ladder = MIDDLE_RUNG
    if facts.promises:
        ladder = ladder_position(facts.promises, facts.as_of, rulebook)
    rating = rate(_conduct(customer, ladder.rung), facts.credit_file, rulebook)
    # 2. Hard stops: what stops a customer whatever its score.
    stops = _hard_stops(position, rulebook)
    # 3. Terms by grade, class and rung; shorter terms are granted on request.
    customer_grade = CustomerGrade(rating.grade, rating.customer_class, ladder.rung)
    policy = grade_policy(customer_grade, rulebook)
    requested_days = facts.request.terms_days if facts.request else None
    terms = requested_terms(policy.terms, requested_days)
    # 4. Limit: the smallest of its caps; a new customer earns it in steps.
    step_up = rulebook.tables["step_up"](relation_days=position.relation_days)
    caps = limit_caps(customer, terms, policy.grade_caps, rulebook)
    limit = credit_limit(with_step_up(caps, step_up.number("share")), facts.currency)
    limit = with_temporary(limit, facts.credit_file, facts.as_of)
    # 5. Authority: who may approve the amount; then the outcome.
    verdict = _verdict(customer, rating, stops, limit, rulebook)
    if verdict.is_decline:
        limit = declined(limit)
    # 6. Next review, and the trace in the order of the steps.
    review = _review(facts, policy)
    trace = (
        *(step for _, step in ladder.steps),
        *rating.trace,
        stops,
        policy.offered,
        policy.ladder,
        policy.caps,
        step_up,
        verdict.authority,
        verdict.outcome,
        review,
    )
    return Decision(
        outcome=str(verdict.outcome.outputs["outcome"]),
        position=position,
        grade=rating.grade,
        score=score_of(_inner_probability(facts.pd_12m), rulebook.scale),
        customer_class=rating.customer_class,
        limit=limit,
        terms=terms,
        pricing=customer.pricing,
        price_floor=_price_floor(customer, terms),
        approver=str(verdict.authority.outputs["approver"]),
        persons=verdict.authority.whole("persons"),
        expected_loss=_expected_loss(customer, limit),
        next_review_on=_next_review_on(facts, review),
        collection=_collection(customer, rating.customer_class, rulebook),
        ladder=ladder,
        reasons=_policy_reasons(verdict),
        trace=trace,
    )


def _conduct(customer: Customer, rung: int) -> Conduct:
    return Conduct(
        customer.facts.as_of,
        customer.pricing.pd_12m,
        customer.position,
        rung,
    )


def _hard_stops(position: Position, rulebook: Rulebook) -> Evaluation:
    stops = rulebook.tables["hard_stops"](
        has_invoices=position.relation_days is not None,
        **position.standing(),
    )
    if position.is_incomplete and stops.outputs["stop"] == "none":
        return _incomplete(stops)
    return stops


def _incomplete(stops: Evaluation) -> Evaluation:
    """The stop of a customer with an incomplete ledger, if the rulebook has none.

    Rulebooks made before ledgers were known to be incomplete do not ask for it. What is
    missing can be a debt, so no rulebook approves without it.
    """
    return Evaluation(
        table=stops.table,
        inputs={**stops.inputs, "is_incomplete": True},
        tried=stops.tried,
        fired=INCOMPLETE,
        because="the ledger of this customer is incomplete",
        because_zh="该客户的账簿不完整",
        outputs={**stops.outputs, "stop": "refer"},
    )


def _verdict(
    customer: Customer,
    rating: Rating,
    stops: Evaluation,
    limit: Limit,
    rulebook: Rulebook,
) -> Verdict:
    """The authority for the exposure asked for, or for the limit; then the outcome."""
    requested_exposure = customer.requested_exposure
    # Without a request the limit itself needs the authority.
    if requested_exposure is None:
        amount = limit.amount
        request_fits = None
    else:
        amount = requested_exposure
        request_fits = requested_exposure <= limit.amount
    authority = rulebook.tables["authority"](
        amount=amount,
        customer_class=rating.customer_class,
        grade=rating.grade,
    )
    outcome = rulebook.tables["outcome"](
        stop=stops.outputs["stop"],
        grade=rating.grade,
        request_fits=request_fits,
        approver=authority.outputs["approver"],
    )
    return Verdict(stops, authority, outcome)


def _review(facts: Facts, policy: GradePolicy) -> Evaluation:
    """The rule of the next review: sooner after an event."""
    if facts.credit_file.has_event(facts.as_of):
        return policy.event_review
    return policy.review


def _next_review_on(facts: Facts, review: Evaluation) -> date:
    """The day the rules set, or the first day on which an entry on file ends."""
    regular = facts.as_of + timedelta(days=review.whole("review_days"))
    if facts.credit_file is NOTHING_ON_FILE:
        return regular
    expiry = facts.credit_file.next_expiry(facts.as_of)
    return min(regular, expiry) if expiry else regular


def _inner_probability(pd_12m: float) -> float:
    """The PD moved off 0 and 1, where odds are not defined."""
    return min(max(pd_12m, 1e-9), 1 - 1e-9)


def _price_floor(customer: Customer, terms: Terms) -> PriceFloor | None:
    request = customer.facts.request
    if request is None:
        return None
    return floor_of(request.amount, customer.position, terms, customer.pricing)


def _expected_loss(customer: Customer, limit: Limit) -> Decimal:
    ead = exposure_at_default(limit, customer.position)
    pricing = customer.pricing
    return round_money(expected_loss(pricing.pd_12m, pricing.lgd, ead), limit.currency)


def _collection(
    customer: Customer,
    customer_class: str,
    rulebook: Rulebook,
) -> CollectionPriority | None:
    """The value of a contact; None if nothing is past due."""
    position = customer.position
    overdue = position.overdue_amount or _ZERO
    dpd_days = position.material_dpd_days or _ZERO
    if overdue <= 0 or dpd_days <= 0:
        return None
    age = AccountAge(
        dpd_days=position.dpd_days or _ZERO,
        overdue_amount=overdue,
        material_dpd_days=dpd_days,
        unapplied_amount=position.unapplied_amount,
    )
    plan = plan_of(age, customer_class, rulebook)
    # A house may leave small or young debts alone.
    if not plan.minutes:
        return None
    arrears = Arrears(
        amount=overdue,
        dpd_days=dpd_days,
        pd_12m=customer.pricing.pd_12m,
        currency=position.currency,
        in_default=position.overdue_in_default,
    )
    return collection_priority(arrears, plan, rulebook)


def _policy_reasons(verdict: Verdict) -> tuple[Evaluation, ...]:
    """The rules that prevented an approval, the decisive one first."""
    stops, authority, outcome = verdict
    if outcome.outputs["outcome"] == "approve":
        return ()
    reasons = [outcome]
    # A hard stop that decided by itself is the only reason; else it comes second.
    if outcome.inputs["stop"] != "none":
        reasons.append(stops)
        if outcome.inputs["stop"] == outcome.outputs["outcome"]:
            return (stops,)
    if outcome.fired == REFERRED_BY_AUTHORITY:
        reasons.append(authority)
    return tuple(reasons)
