"""The ordered spine of one policy decision: facts and a PD in, a decision with its full trace out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import isnan

from data.errors import PolicyError
from data.money import round_money
from policy.collection import CollectionPriority, collection_priority
from policy.economics import capital_ratio, economic_cap, expected_loss, unit_cost
from policy.limits import Limit, credit_limit, need
from policy.master_scale import grade_of, score_of
from policy.rulebook import Rulebook
from policy.tables import Evaluation

SHORTEST_YEAR = Decimal(90)  # days of purchases that may stand for a year's
_YEAR, _NOTHING = Decimal(365), Decimal(0)
_MONEY = ("open_amount", "overdue_amount", "invoiced_amount_365d")
_NUMBERS = (*_MONEY, "dpd_days", "dbt_days_mean_365d", "written_off_amount_365d", "disputed_share",
            "days_since_first_invoice")  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What the customer asks for now, in the reporting currency."""

    amount: Decimal
    terms_days: int | None = None


@dataclass(frozen=True)
class Facts:
    """What is known about a customer: the PD, and the features by name (NaN: not known)."""

    pd_12m: float
    currency: str
    features: Mapping[str, float]
    request: Request | None = None


@dataclass(frozen=True)
class Position:
    """How a customer stands with us, in exact numbers; None where not known."""

    has_invoices: bool
    open_amount: Decimal | None
    overdue_amount: Decimal | None
    dpd_days: Decimal | None
    dbt_days: Decimal | None
    written_off_amount_365d: Decimal | None
    disputed_share: Decimal | None
    annual_sales: Decimal


@dataclass(frozen=True)
class Decision:
    """What we do, and every rule that was tried for it."""

    outcome: str
    position: Position
    grade: int
    score: int
    limit: Limit
    terms_days: int
    is_prepaid: bool
    expected_loss: Decimal
    collection: CollectionPriority | None
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
        Where the PD is not a probability.
    """
    if not 0 <= facts.pd_12m <= 1:
        raise PolicyError(f"PD {facts.pd_12m} is no probability", where="pd_12m", expected="0 to 1")
    pd_12m, parameters = Decimal(str(facts.pd_12m)), rulebook.parameters
    # 1. Rating.
    rating = grade_of(pd_12m, rulebook)
    grade = _whole(rating, "grade")
    # 2. Hard stops: what stops whatever the score.
    position = position_of(facts)
    stops = rulebook.tables["hard_stops"](**vars(position))
    # 3. Terms by grade; a shorter request stands.
    terms = rulebook.tables["terms"](grade=grade)
    terms_days = _whole(terms, "terms_days")
    if facts.request and facts.request.terms_days is not None:
        terms_days = min(terms_days, facts.request.terms_days)
    # 4. Limit: the smaller of what the customer needs and what the margin carries.
    used = position.open_amount or _NOTHING
    wanted = used + facts.request.amount if facts.request else None
    caps = {"need": _need(position, terms_days, wanted), "economic": _economic(facts, pd_12m, position, rulebook)}
    limit = credit_limit(caps, facts.currency)
    # 5. Outcome: stops, grade, and whether the request fits.
    fits = None if wanted is None else wanted <= limit.amount
    outcome = rulebook.tables["outcome"](stop=stops.outputs["stop"], grade=grade, request_fits=fits)
    if outcome.outputs["outcome"] == "decline":
        limit = credit_limit({**caps, "decline": _NOTHING}, facts.currency)
    # 6. What is at stake, and whether to collect first.
    overdue, dpd_days = position.overdue_amount or _NOTHING, position.dpd_days or _NOTHING
    return Decision(
        outcome=str(outcome.outputs["outcome"]),
        position=position,
        grade=grade,
        score=score_of(
            min(max(facts.pd_12m, 1e-9), 1 - 1e-9),
            *(float(parameters[name]) for name in ("base_score", "base_odds", "points_to_double_odds")),
        ),
        limit=limit,
        terms_days=terms_days,
        is_prepaid=bool(terms.outputs["is_prepaid"]),
        expected_loss=round_money(expected_loss(pd_12m, parameters["lgd"], max(limit.amount, used)), facts.currency),
        collection=collection_priority(overdue, dpd_days, pd_12m, facts.currency, rulebook),
        reasons=_policy_reasons(stops, outcome),
        trace=(rating, stops, terms, outcome),
    )


def position_of(facts: Facts) -> Position:
    """Return the position that features speak of: money in minor units, a year's purchases scaled up from 90 days."""
    number = {name: None if isnan(facts.features[name]) else Decimal(str(facts.features[name])) for name in _NUMBERS}
    money = [None if (v := number[name]) is None else round_money(v, facts.currency) for name in _MONEY]
    sales, days, annual = money[2], number["days_since_first_invoice"], _NOTHING
    if sales is not None and days is not None:
        annual = sales * 365 / min(max(days + 1, SHORTEST_YEAR), _YEAR)
    return Position(
        has_invoices=days is not None,
        open_amount=money[0],
        overdue_amount=money[1],
        dpd_days=number["dpd_days"],
        dbt_days=number["dbt_days_mean_365d"],
        written_off_amount_365d=number["written_off_amount_365d"],
        disputed_share=number["disputed_share"],
        annual_sales=annual,
    )


def _policy_reasons(stops: Evaluation, outcome: Evaluation) -> tuple[Evaluation, ...]:
    """The rule that kept the decision from being an approval comes first."""
    if outcome.outputs["outcome"] == "approve":
        return ()
    is_stopped = outcome.inputs["stop"] != "none"
    if is_stopped and outcome.inputs["stop"] == outcome.outputs["outcome"]:
        return (stops,)
    return (outcome, stops) if is_stopped else (outcome,)


def _need(position: Position, terms_days: int, wanted: Decimal | None) -> Decimal:
    """Buying as usual, or the request on top of what is open where that is more."""
    usual = need(position.annual_sales / _YEAR, Decimal(terms_days), position.dbt_days or _NOTHING)
    return usual if wanted is None else max(usual, wanted)


def _economic(facts: Facts, pd_12m: Decimal, position: Position, rulebook: Rulebook) -> Decimal:
    p = rulebook.parameters
    confidence = float(p["capital_confidence"])
    capital = Decimal(str(capital_ratio(facts.pd_12m, float(p["lgd"]), confidence=confidence)))
    cost = unit_cost(pd_12m, p["lgd"], p["cost_of_funds"], p["hurdle_rate"], capital)
    return economic_cap(position.annual_sales * p["credit_margin"], cost)


def _whole(evaluation: Evaluation, name: str) -> int:
    value = evaluation.outputs[name]
    assert isinstance(value, int)  # the table's column is an integer, checked at load
    return value
