"""The ordered spine of one policy decision: facts and a PD in, a decision with its full trace out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from data.errors import PolicyError
from data.money import round_money
from policy.collection import CollectionPriority, collection_priority
from policy.economics import capital_ratio, economic_cap, expected_loss, unit_cost
from policy.limits import Limit, credit_limit, need
from policy.master_scale import grade_of, score_of
from policy.rulebook import Rulebook
from policy.tables import Evaluation

SHORTEST_YEAR = 90  # days of purchases that may stand for a year's


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
class Decision:
    """What we do, and every rule that was tried for it."""

    outcome: str
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
    stops = rulebook.tables["hard_stops"](**_stop_inputs(facts))
    # 3. Terms by grade; a shorter request stands.
    terms = rulebook.tables["terms"](grade=grade)
    terms_days = _whole(terms, "terms_days")
    if facts.request and facts.request.terms_days is not None:
        terms_days = min(terms_days, facts.request.terms_days)
    # 4. Limit: the smaller of what the customer needs and what the margin carries.
    caps = {"need": _need(facts, terms_days), "economic": _economic(facts, pd_12m, rulebook)}
    limit = credit_limit(caps, facts.currency)
    # 5. Outcome: stops, grade, and whether the request fits.
    outcome = rulebook.tables["outcome"](
        stop=stops.outputs["stop"], grade=grade, request_fits=_request_fits(facts, limit)
    )
    if outcome.outputs["outcome"] == "decline":
        limit = credit_limit({**caps, "decline": Decimal(0)}, facts.currency)
    # 6. What is at stake, and whether to collect first.
    exposure = _money(facts, "open_amount") or Decimal(0)
    overdue, dpd_days = _money(facts, "overdue_amount") or Decimal(0), _number(facts, "dpd_days") or Decimal(0)
    return Decision(
        outcome=str(outcome.outputs["outcome"]),
        grade=grade,
        score=score_of(
            min(max(facts.pd_12m, 1e-9), 1 - 1e-9),
            *(float(parameters[name]) for name in ("base_score", "base_odds", "points_to_double_odds")),
        ),
        limit=limit,
        terms_days=terms_days,
        is_prepaid=bool(terms.outputs["is_prepaid"]),
        expected_loss=round_money(
            expected_loss(pd_12m, parameters["lgd"], max(limit.amount, exposure)), facts.currency
        ),
        collection=collection_priority(overdue, dpd_days, pd_12m, facts.currency, rulebook),
        reasons=_policy_reasons(stops, outcome),
        trace=(rating, stops, terms, outcome),
    )


def _policy_reasons(stops: Evaluation, outcome: Evaluation) -> tuple[Evaluation, ...]:
    """The rule that kept the decision from being an approval comes first."""
    if outcome.outputs["outcome"] == "approve":
        return ()
    is_stopped = outcome.inputs["stop"] != "none"
    if is_stopped and outcome.inputs["stop"] == outcome.outputs["outcome"]:
        return (stops,)
    return (outcome, stops) if is_stopped else (outcome,)


def _stop_inputs(facts: Facts) -> dict[str, Decimal | bool | None]:
    return {
        "has_invoices": not math.isnan(facts.features["days_since_first_invoice"]),
        "dpd_days": _number(facts, "dpd_days"),
        "written_off_amount_365d": _number(facts, "written_off_amount_365d"),
        "open_amount": _money(facts, "open_amount"),
        "disputed_share": _number(facts, "disputed_share"),
    }


def _need(facts: Facts, terms_days: int) -> Decimal:
    """Buying as usual, or the request on top of what is open where that is more."""
    dbt_days = _number(facts, "dbt_days_mean_365d") or Decimal(0)
    usual = need(_annual_sales(facts) / Decimal(365), Decimal(terms_days), dbt_days)
    if facts.request is None:
        return usual
    return max(usual, (_money(facts, "open_amount") or Decimal(0)) + facts.request.amount)


def _economic(facts: Facts, pd_12m: Decimal, rulebook: Rulebook) -> Decimal:
    p = rulebook.parameters
    confidence = float(p["capital_confidence"])
    capital = Decimal(str(capital_ratio(facts.pd_12m, float(p["lgd"]), confidence=confidence)))
    cost = unit_cost(pd_12m, p["lgd"], p["cost_of_funds"], p["hurdle_rate"], capital)
    return economic_cap(_annual_sales(facts) * p["credit_margin"], cost)


def _annual_sales(facts: Facts) -> Decimal:
    """A year's purchases; a shorter relation is scaled up, from 90 days on."""
    sales, days = _money(facts, "invoiced_amount_365d"), _number(facts, "days_since_first_invoice")
    if sales is None or days is None:
        return Decimal(0)
    return sales * 365 / min(max(days + 1, Decimal(SHORTEST_YEAR)), Decimal(365))


def _request_fits(facts: Facts, limit: Limit) -> bool | None:
    if facts.request is None:
        return None
    return (_money(facts, "open_amount") or Decimal(0)) + facts.request.amount <= limit.amount


def _number(facts: Facts, name: str) -> Decimal | None:
    value = facts.features[name]
    return None if math.isnan(value) else Decimal(str(value))


def _money(facts: Facts, name: str) -> Decimal | None:
    value = _number(facts, name)
    return None if value is None else round_money(value, facts.currency)


def _whole(evaluation: Evaluation, name: str) -> int:
    value = evaluation.outputs[name]
    assert isinstance(value, int)  # the table's column is an integer, checked at load
    return value
