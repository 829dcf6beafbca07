"""The ordered spine of one policy decision: facts and a PD in, a decision with its full trace out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from math import isnan

from data.errors import PolicyError
from data.money import round_money
from policy.cells import Value
from policy.collection import CollectionPriority, collection_priority, plan_of
from policy.credit_file import NOTHING_ON_FILE, CreditFile, check_file
from policy.economics import capital_ratio, economic_cap, expected_loss, risk_cost
from policy.ladder import MIDDLE, Promise, Rung, rung_on
from policy.limits import (
    Limit,
    credit_limit,
    exposure_caps,
    filed_caps,
    need,
    peak_daily_sales,
    with_temporary,
)
from policy.pricing import PriceFloor, price_floor
from policy.rating import Rating, rate, score_of
from policy.rulebook import Rulebook
from policy.tables import Evaluation

SHORTEST_YEAR = Decimal(90)  # days of purchases that may stand for a year's
_YEAR, _NOTHING = Decimal(365), Decimal(0)
_MONEY = ("open_amount", "overdue_amount", "invoiced_amount_365d", "invoiced_amount_90d")
_NUMBERS = (*_MONEY, "dpd_days", "dbt_days_mean_365d", "written_off_amount_365d", "disputed_share",
            "days_since_first_invoice", "broken_promises_365d")  # fmt: skip


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
class Position:
    """How a customer stands with us, in exact numbers; None where not known."""

    open_amount: Decimal | None
    overdue_amount: Decimal | None
    dpd_days: Decimal | None
    dbt_days: Decimal | None
    written_off_amount_365d: Decimal | None
    disputed_share: Decimal | None
    relation_days: Decimal | None
    broken_promises: Decimal | None
    annual_sales: Decimal
    sales_90d: Decimal

    @property
    def used(self) -> Decimal:
        """What is open, 0 where that is not known: a hard stop refers such a customer."""
        return self.open_amount or _NOTHING


@dataclass(frozen=True)
class Terms:
    """What is offered: days, prepayment, a deposit, a discount for paying early; and whether delivery is stopped."""

    terms_days: int
    is_prepaid: bool
    deposit_share: Decimal
    discount_rate: Decimal
    discount_days: int
    is_stopped: bool = False


@dataclass(frozen=True)
class Decision:
    """What we do, and every rule that was tried for it."""

    outcome: str
    position: Position
    grade: int
    score: int
    customer_class: str
    limit: Limit
    terms: Terms
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
        raise PolicyError(f"PD {facts.pd_12m} is no probability", where="pd_12m", expected="0 to 1")
    if facts.file is not NOTHING_ON_FILE:
        check_file(facts.file)
    tables, p, currency = rulebook.tables, rulebook.parameters, facts.currency
    position, pd_12m = position_of(facts), Decimal(str(facts.pd_12m))
    # 1. Rating: promises kept and broken, master scale, overlay, override, class.
    rung = rung_on(facts.promises, facts.as_of, rulebook) if facts.promises else MIDDLE
    rating = rate(pd_12m, position.dpd_days, position.broken_promises, rung.rung, facts.file, facts.as_of, rulebook)
    # 2. Hard stops: what stops whatever the score.
    stops = _hard_stops(position, rulebook)
    # 3. Terms by grade and class, moved by the ladder; a shorter request stands.
    offered = tables["terms"](grade=rating.grade, customer_class=rating.customer_class)
    earned = tables["ladder"](rung=rung.rung)
    terms = _terms(offered, earned, facts.request)
    # 4. Limit: the smallest of its caps.
    capital = Decimal(str(capital_ratio(facts.pd_12m, float(p["lgd"]), confidence=float(p["capital_confidence"]))))
    wanted = position.used + facts.request.amount if facts.request else None
    limit, capped = _limit(facts, position, rating, terms, pd_12m, capital, wanted, rulebook)
    # 5. Authority: who may approve so much; then the outcome.
    fits = None if wanted is None else wanted <= limit.amount
    amount = limit.amount if wanted is None else wanted
    authority = tables["authority"](amount=amount, customer_class=rating.customer_class, grade=rating.grade)
    outcome = tables["outcome"](stop=stops.outputs["stop"], grade=rating.grade, request_fits=fits,
                                approver=authority.outputs["approver"])  # fmt: skip
    if outcome.outputs["outcome"] == "decline":
        limit = credit_limit({"decline": _NOTHING, **limit.caps}, currency)
    # 6. What it costs, when to look again, and whether to collect first.
    review = tables["review"](customer_class=rating.customer_class, has_event=facts.file.has_event(facts.as_of))
    return Decision(
        outcome=str(outcome.outputs["outcome"]),
        position=position,
        grade=rating.grade,
        score=score_of(min(max(facts.pd_12m, 1e-9), 1 - 1e-9), *rulebook.scale),
        customer_class=rating.customer_class,
        limit=limit,
        terms=terms,
        price_floor=_price_floor(facts, position, terms, pd_12m, capital, rulebook),
        approver=str(authority.outputs["approver"]),
        persons=authority.whole("persons"),
        expected_loss=round_money(expected_loss(pd_12m, p["lgd"], max(limit.amount, position.used)), currency),
        next_review_on=_next_review(facts, review),
        collection=_collection(position, pd_12m, rating.customer_class, currency, rulebook),
        rung=rung,
        reasons=_policy_reasons(stops, outcome, authority),
        trace=(
            *(step for _, step in rung.steps),
            *rating.trace,
            stops,
            offered,
            earned,
            *capped,
            authority,
            outcome,
            review,
        ),
    )


def position_of(facts: Facts) -> Position:
    """Return the position that features speak of: money in minor units, a year's purchases scaled up from 90 days."""
    number = {name: None if isnan(facts.features[name]) else Decimal(str(facts.features[name])) for name in _NUMBERS}
    money = [None if (v := number[name]) is None else round_money(v, facts.currency) for name in _MONEY]
    sales, days, annual = money[2], number["days_since_first_invoice"], _NOTHING
    if sales is not None and days is not None:
        annual = sales * 365 / min(max(days + 1, SHORTEST_YEAR), _YEAR)
    return Position(
        open_amount=money[0],
        overdue_amount=money[1],
        dpd_days=number["dpd_days"],
        dbt_days=number["dbt_days_mean_365d"],
        written_off_amount_365d=number["written_off_amount_365d"],
        disputed_share=number["disputed_share"],
        relation_days=days,
        broken_promises=number["broken_promises_365d"],
        annual_sales=annual,
        sales_90d=money[3] or _NOTHING,
    )


def _hard_stops(position: Position, rulebook: Rulebook) -> Evaluation:
    return rulebook.tables["hard_stops"](
        has_invoices=position.relation_days is not None,
        dpd_days=position.dpd_days,
        written_off_amount_365d=position.written_off_amount_365d,
        open_amount=position.open_amount,
        disputed_share=position.disputed_share,
    )


def _terms(offered: Evaluation, earned: Evaluation, request: Request | None) -> Terms:
    """What grade and class offer, and what kept or broken promises add or take; prepayment stays prepayment."""
    given, moved = offered.outputs, earned.outputs
    days, is_stopped = offered.whole("terms_days"), bool(moved["is_stopped"])
    days = max(days + earned.whole("days_change"), 0) if days else 0
    if request is not None and request.terms_days is not None:
        days = min(days, request.terms_days)
    deposit, discount = (_number(given, name) for name in ("deposit_share", "discount_rate"))
    return Terms(days, bool(given["is_prepaid"]) or is_stopped, max(deposit, _number(moved, "deposit_share")),
                 discount and discount + _number(moved, "discount_change"), offered.whole("discount_days"),
                 is_stopped)  # fmt: skip


def _number(outputs: Mapping[str, Value], name: str) -> Decimal:
    value = outputs[name]
    return value if isinstance(value, Decimal) else Decimal(str(value))


def _next_review(facts: Facts, review: Evaluation) -> date:
    """The day the rules set, or the first on which something on file ends."""
    regular = facts.as_of + timedelta(days=review.whole("review_days"))
    expiry = facts.file.next_expiry(facts.as_of)
    return min(regular, expiry) if expiry else regular


def _collection(
    position: Position, pd_12m: Decimal, customer_class: str, currency: str, rulebook: Rulebook
) -> CollectionPriority | None:
    """What a contact is worth; None where nothing is past due."""
    overdue, dpd_days = position.overdue_amount or _NOTHING, position.dpd_days or _NOTHING
    if overdue <= 0 or dpd_days <= 0:
        return None
    plan = plan_of(dpd_days, customer_class, rulebook)
    return collection_priority(overdue, dpd_days, pd_12m, plan, currency, rulebook)[1]


def _limit(
    facts: Facts,
    position: Position,
    rating: Rating,
    terms: Terms,
    pd_12m: Decimal,
    capital: Decimal,
    wanted: Decimal | None,
    rulebook: Rulebook,
) -> tuple[Limit, tuple[Evaluation, ...]]:
    """Every cap there is, the smallest of them, and a temporary limit where one is in force."""
    p, file = rulebook.parameters, facts.file
    graded = rulebook.tables["exposure_caps"](grade=rating.grade)
    earned = rulebook.tables["step_up"](relation_days=position.relation_days)
    secured = file.secured(facts.as_of)
    usual = need(peak_daily_sales(position.annual_sales, position.sales_90d), Decimal(terms.terms_days),
                 position.dbt_days or _NOTHING)  # fmt: skip
    risk = risk_cost(pd_12m, p["lgd"], p["hurdle_rate"], capital)
    caps = {
        "need": usual if wanted is None else max(usual, wanted),
        "economic": economic_cap(position.annual_sales * p["credit_margin"], p["cost_of_funds"], risk, secured),
        **exposure_caps(graded, _known(facts.equity), _known(facts.turnover), secured, p["secured_share"]),
        **filed_caps(file, facts.customer_id, position.used),
    }
    share = Decimal(str(earned.outputs["share"]))
    if share < 1:
        caps["step_up"] = min(caps.values()) * share
    limit = with_temporary(credit_limit(caps, facts.currency), file, facts.as_of)
    return limit, (graded, earned)


def _price_floor(
    facts: Facts, position: Position, terms: Terms, pd_12m: Decimal, capital: Decimal, rulebook: Rulebook
) -> PriceFloor | None:
    if facts.request is None:
        return None
    days = terms.terms_days + (position.dbt_days or _NOTHING) if terms.terms_days else _NOTHING
    return price_floor(facts.request.amount, days, terms.deposit_share, pd_12m, capital, facts.currency, rulebook)


def _policy_reasons(stops: Evaluation, outcome: Evaluation, authority: Evaluation) -> tuple[Evaluation, ...]:
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


def _known(value: float) -> Decimal | None:
    return None if isnan(value) else Decimal(str(value))
