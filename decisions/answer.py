"""The answers to questions and orders, and their entries in the record.

Each answer is described once, by the TypedDict it is built as; the OpenAPI document
reads the same ones. They are not pydantic models: dumping one by pydantic costs more
than writing the dict with orjson, and writes times in another way than the record does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, NamedTuple

import orjson
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from obligor.data.money import to_minor
from obligor.decisions.champion import Champion
from obligor.decisions.counterfactuals import Counterfactual, OfferedQuestion
from obligor.decisions.facts import DecidedQuestion, ScoredRow, inputs_of
from obligor.decisions.json_values import Money, money, one_of
from obligor.decisions.questions import OrderRequest
from obligor.decisions.reasons import Reason, column_reasons, principal_reasons
from obligor.model.bundle import MODEL_NAME
from obligor.policy.collecting.priority import CollectionPriority
from obligor.policy.credit.decide import Decision
from obligor.policy.credit.limits import Limit
from obligor.policy.credit.orders import Order, OrderCheck, Release
from obligor.policy.credit.pricing import PriceFloor, discount_per_year, floor_of
from obligor.policy.credit.terms import Terms as OfferedTerms
from obligor.policy.rulebooks.decision_table import Evaluation
from obligor.policy.rulebooks.rulebook import Rulebook
from obligor.record.entry import Entry

Outcome = Annotated[str, one_of("approve", "refer", "decline")]
CustomerClass = Annotated[str, one_of("premium", "general", "risk")]


class LimitAnswer(Money):
    """The credit limit, every cap considered, and the cap that binds."""

    binding_cap: str
    next_cap: Annotated[
        str | None,
        Field(description="The cap that would bind without the binding one"),
    ]
    caps: dict[str, str]


class Terms(TypedDict):
    """Payment terms.

    `discount_per_year` is what paying by `discount_days` earns in a year.
    """

    terms_days: int
    is_prepaid: bool
    deposit_share: float
    discount_rate: float
    discount_days: int | None
    discount_per_year: float | None


class PriceFloorAnswer(TypedDict):
    """The lowest price on credit that pays for the credit, and its parts."""

    cash_price: str
    financing: str
    expected_loss: str
    capital_charge: str
    amount: str
    currency: str


class Authority(TypedDict):
    """Who may approve the amount, and how many persons it takes."""

    approver: Annotated[
        str, one_of("system", "credit_analyst", "credit_manager", "director")
    ]
    persons: int


class BaselineAnswer(TypedDict):
    """The population that reasons compare the customer with."""

    population: str
    n: int


class Explanation(TypedDict):
    """Exact SHAP contributions, log-odds.

    Base plus contributions is the margin; the calibration turns the margin into the PD.
    """

    base: float
    contributions: dict[str, float]
    margin: float
    calibration: Mapping[str, object]
    baseline: BaselineAnswer


class ModelAnswer(TypedDict):
    """The model that gave the PD."""

    name: str
    version: str
    sha256: str
    horizon_days: int


class RuleTrace(TypedDict):
    """What one decision table saw, tried, and answered."""

    table: str
    inputs: Mapping[str, object]
    tried: Sequence[str]
    fired: str
    because: str
    because_zh: str
    outputs: Mapping[str, object]


class PolicyAnswer(TypedDict):
    """The rulebook that decided."""

    version: str
    sha256: str


class Collection(TypedDict):
    """The collection stage of an overdue account, and what a contact is worth."""

    stage: str
    channel: str
    value_per_minute: Money
    because: str
    because_zh: str


class LadderAnswer(TypedDict):
    """The rung that kept and broken promises led to, and since when.

    From -3 (nothing goes out unpaid) to 2.
    """

    rung: int
    since: date | None


class LedgerAnswer(TypedDict):
    """Where the facts came from."""

    source: Annotated[str, one_of("store", "request")]
    observed_until: date | None


class PdAnswer(TypedDict):
    """The probability of default.

    Over 12 months with its 95% interval over resampled customers, and earlier.
    """

    pd_12m: float
    pd_12m_interval: Annotated[
        list[float],
        Field(description="Low and high end of the default rate at such a margin"),
    ]
    pd_3m: float
    pd_6m: float


class ScoreAnswer(PdAnswer):
    """A PD with its explanation: no decision, nothing recorded."""

    reasons: list[Reason]
    explanation: Explanation
    model: ModelAnswer


class DecidedTerms(TypedDict):
    """What was decided about a customer."""

    grade: int
    score: int
    customer_class: CustomerClass
    limit: LimitAnswer
    terms: Terms
    price_floor: PriceFloorAnswer | None
    authority: Authority
    expected_loss: Money
    next_review_on: date
    ladder: LadderAnswer
    collection: Collection | None


class DecisionAnswer(PdAnswer, DecidedTerms):
    """An explained and recorded credit decision."""

    decision_id: str
    customer_id: str
    as_of: date
    recorded_at: datetime
    outcome: Outcome
    reasons: list[Reason]
    counterfactuals: Annotated[Sequence[Counterfactual], Field(max_length=3)]
    explanation: Explanation
    rules: list[RuleTrace]
    model: ModelAnswer
    policy: PolicyAnswer
    features: Mapping[str, float | None]
    ledger: LedgerAnswer


class Block(TypedDict):
    """A block rule that fired."""

    code: str
    text: str
    text_zh: str
    action: Annotated[str, one_of("hold", "refer")]


class ReleaseAnswer(TypedDict):
    """Something that would release the order, checked again by the rules."""

    act: Annotated[str, one_of("order_less", "pay", "prepay")]
    amount: str
    text: str
    text_zh: str
    currency: str


class OrderCustomer(PdAnswer):
    """The decision about the customer that the order must fit."""

    outcome: Outcome
    grade: int
    customer_class: CustomerClass
    limit: LimitAnswer
    terms: Terms
    reasons: list[Reason]


class OrderAnswer(TypedDict):
    """Whether the order may go out, why not, and what would release it."""

    decision_id: str
    kind: Annotated[str, one_of("order")]
    customer_id: str
    as_of: date
    recorded_at: datetime
    outcome: Annotated[str, one_of("release", "hold", "refer")]
    order: Money
    exposure: Annotated[
        Money,
        Field(description="Open items, unbilled orders in the horizon, and the order"),
    ]
    room: Annotated[Money, Field(description="The amount that fits the limit")]
    blocks: list[Block]
    authority: Annotated[
        Authority,
        Field(description="Who may release it against its blocks"),
    ]
    releases: list[ReleaseAnswer]
    price_floor: PriceFloorAnswer | None
    customer: OrderCustomer
    rules: list[RuleTrace]
    model: ModelAnswer
    policy: PolicyAnswer
    features: Mapping[str, float | None]
    ledger: LedgerAnswer


class Stamp(NamedTuple):
    """The id and the time of a new entry."""

    entry_id: str
    recorded_at: datetime


class CheckedOrder(NamedTuple):
    """An order in the reporting currency, with what the rules said about it."""

    request: OrderRequest
    order: Order
    check: OrderCheck


def decision_entry(offered: OfferedQuestion, champion: Champion, stamp: Stamp) -> Entry:
    """Return the entry of a decision.

    Parameters
    ----------
    offered : OfferedQuestion
        The decided question with its counterfactuals.
    champion : Champion
        The model that scored it.
    stamp : Stamp
        Id and time of the entry.

    Returns
    -------
    Entry
        Its `body` is the exact text of the answer.
    """
    decided = offered.decided
    known_question = decided.known_question
    decision = decided.decision
    answer: DecisionAnswer = {
        "decision_id": stamp.entry_id,
        "customer_id": known_question.request.customer_id,
        "as_of": known_question.account.as_of,
        "recorded_at": stamp.recorded_at,
        "outcome": decision.outcome,
        **_pd_answer(decided.scored),
        **_decided_terms(decision),
        "reasons": _reasons(decided, champion),
        "counterfactuals": offered.counterfactuals,
        "explanation": explanation(champion, decided.scored),
        "rules": _traces(decision.trace),
        "model": model_answer(champion),
        "policy": policy_answer(decided.rulebook),
        "features": decided.facts.features,  # NaN is written as null
        "ledger": _ledger_answer(decided),
    }
    return _entry("decision", decided, champion, known_question.request, answer)


def order_entry(
    decided: DecidedQuestion, checked: CheckedOrder, champion: Champion, stamp: Stamp
) -> Entry:
    """Return the entry of an order check.

    Parameters
    ----------
    decided : DecidedQuestion
        The decision about the customer.
    checked : CheckedOrder
        The order with its check.
    champion : Champion
        The model that scored the customer.
    stamp : Stamp
        Id and time of the entry.

    Returns
    -------
    Entry
        Its `body` is the exact text of the answer.
    """
    known_question = decided.known_question
    decision = decided.decision
    currency = known_question.currency
    request, order, check = checked
    answer: OrderAnswer = {
        "decision_id": stamp.entry_id,
        "kind": "order",
        "customer_id": request.customer_id,
        "as_of": known_question.account.as_of,
        "recorded_at": stamp.recorded_at,
        "outcome": check.outcome,
        "order": money(order.amount, currency),
        "exposure": money(check.exposure, currency),
        "room": money(check.room, currency),
        "blocks": [_block(block) for block in check.blocks],
        "authority": _authority_answer(check.authority),
        "releases": [_release_answer(release, currency) for release in check.releases],
        "price_floor": _order_price_floor(decided, order),
        "customer": {
            "outcome": decision.outcome,
            **_pd_answer(decided.scored),
            "grade": decision.grade,
            "customer_class": decision.customer_class,
            "limit": _limit_answer(decision.limit),
            "terms": _terms_answer(decision.terms),
            "reasons": _reasons(decided, champion),
        },
        "rules": _traces((*decision.trace, *check.blocks, check.authority)),
        "model": model_answer(champion),
        "policy": policy_answer(decided.rulebook),
        "features": decided.facts.features,
        "ledger": _ledger_answer(decided),
    }
    return _entry("order", decided, champion, request, answer)


def _entry(
    kind: str,
    decided: DecidedQuestion,
    champion: Champion,
    request: BaseModel,
    answer: DecisionAnswer | OrderAnswer,
) -> Entry:
    known_question = decided.known_question
    decision = decided.decision
    return Entry(
        entry_id=answer["decision_id"],
        kind=kind,
        customer_id=known_question.request.customer_id,
        as_of=known_question.account.as_of,
        recorded_at=answer["recorded_at"],
        idempotency_key=known_question.question.key,
        outcome=answer["outcome"],
        pd_12m=decided.scored.pd_12m,
        grade=decision.grade,
        limit_minor=to_minor(decision.limit.amount, known_question.currency),
        currency=known_question.currency,
        model_sha256=champion.sha256,
        policy_sha256=decided.rulebook.sha256,
        is_filed=known_question.request.file is not None,
        is_natural_person=known_question.request.is_natural_person,
        inputs=inputs_of(known_question),
        requested_by_key=known_question.question.requested_by_key,
        request=request.model_dump_json(),
        # Decimals in a trace are written as text and lose no digit.
        body=orjson.dumps(answer, default=str).decode(),
    )


def score_answer(champion: Champion, scored: ScoredRow) -> ScoreAnswer:
    """Return the answer to ready-made features."""
    baseline = champion.model.reference
    encoding = champion.model.encoding
    values = scored.values
    contributions = scored.contributions
    if encoding:
        reasons = column_reasons(values, contributions, baseline, encoding)
    else:
        reasons = principal_reasons((), values, contributions, baseline)
    return {
        **_pd_answer(scored),
        "reasons": reasons,
        "explanation": explanation(champion, scored),
        "model": model_answer(champion),
    }


def explanation(champion: Champion, scored: ScoredRow) -> Explanation:
    """Return the exact explanation of a score."""
    model = champion.model
    baseline = model.reference
    return {
        "base": model.base,
        "contributions": dict(zip(model.features, scored.contributions, strict=True)),
        "margin": scored.margin,
        "calibration": champion.calibration,
        "baseline": {"population": baseline.population, "n": baseline.n},
    }


def model_answer(champion: Champion) -> ModelAnswer:
    """Return which model scored."""
    return {
        "name": MODEL_NAME,
        "version": champion.version,
        "sha256": champion.sha256,
        "horizon_days": champion.model.horizon_days,
    }


def policy_answer(rulebook: Rulebook) -> PolicyAnswer:
    """Return which rulebook decided."""
    return {"version": rulebook.version, "sha256": rulebook.sha256}


def _pd_answer(scored: ScoredRow) -> PdAnswer:
    return {
        "pd_12m": scored.pd_12m,
        "pd_12m_interval": list(scored.interval_12m),
        "pd_3m": scored.pd_3m,
        "pd_6m": scored.pd_6m,
    }


def _reasons(decided: DecidedQuestion, champion: Champion) -> list[Reason]:
    return principal_reasons(
        decided.decision.reasons,
        decided.scored.values,
        decided.scored.contributions,
        champion.model.reference,
        decided.known_question.currency,
    )


def _ledger_answer(decided: DecidedQuestion) -> LedgerAnswer:
    known_question = decided.known_question
    return {
        "source": known_question.source,
        "observed_until": known_question.observed_until,
    }


def _decided_terms(decision: Decision) -> DecidedTerms:
    currency = decision.limit.currency
    return {
        "grade": decision.grade,
        "score": decision.score,
        "customer_class": decision.customer_class,
        "limit": _limit_answer(decision.limit),
        "terms": _terms_answer(decision.terms),
        "price_floor": _price_floor_answer(decision.price_floor),
        "authority": {"approver": decision.approver, "persons": decision.persons},
        "expected_loss": money(decision.expected_loss, currency),
        "next_review_on": decision.next_review_on,
        "ladder": {"rung": decision.ladder.rung, "since": decision.ladder.since},
        "collection": _collection_answer(decision.collection, currency),
    }


def _limit_answer(limit: Limit) -> LimitAnswer:
    return {
        "amount": str(limit.amount),
        "currency": limit.currency,
        "binding_cap": limit.binding_cap,
        "next_cap": limit.next_cap,
        "caps": {name: str(cap) for name, cap in limit.caps.items()},
    }


def _terms_answer(terms: OfferedTerms) -> Terms:
    """Return the terms; without a discount if there is none to take."""
    days_earlier = terms.terms_days - terms.discount_days
    per_year = None
    if terms.discount_rate and days_earlier > 0:
        per_year = float(discount_per_year(terms.discount_rate, days_earlier))
    has_discount = per_year is not None
    return {
        "terms_days": terms.terms_days,
        "is_prepaid": terms.is_prepaid,
        "deposit_share": float(terms.deposit_share),
        "discount_rate": float(terms.discount_rate) if has_discount else 0.0,
        "discount_days": terms.discount_days if has_discount else None,
        "discount_per_year": per_year,
    }


def _price_floor_answer(floor: PriceFloor | None) -> PriceFloorAnswer | None:
    if floor is None:
        return None
    return {
        "cash_price": str(floor.cash_price),
        "financing": str(floor.financing),
        "expected_loss": str(floor.expected_loss),
        "capital_charge": str(floor.capital_charge),
        "amount": str(floor.amount),
        "currency": floor.currency,
    }


def _order_price_floor(
    decided: DecidedQuestion, order: Order
) -> PriceFloorAnswer | None:
    """Return the price floor of an order on credit; None for one that is prepaid."""
    if order.is_prepaid:
        return None
    decision = decided.decision
    floor = floor_of(order.amount, decision.position, decision.terms, decision.pricing)
    return _price_floor_answer(floor)


def _collection_answer(
    priority: CollectionPriority | None, currency: str
) -> Collection | None:
    if priority is None:
        return None
    return {
        "stage": priority.stage,
        "channel": priority.channel,
        "value_per_minute": money(priority.value_per_minute, currency),
        "because": priority.because,
        "because_zh": priority.because_zh,
    }


def _block(block: Evaluation) -> Block:
    return {
        "code": block.fired,
        "text": block.because,
        "text_zh": block.because_zh,
        "action": str(block.outputs["action"]),
    }


def _authority_answer(authority: Evaluation) -> Authority:
    return {
        "approver": str(authority.outputs["approver"]),
        "persons": authority.whole("persons"),
    }


def _release_answer(release: Release, currency: str) -> ReleaseAnswer:
    return {
        "act": release.act,
        "amount": str(release.amount),
        "text": release.text,
        "text_zh": release.text_zh,
        "currency": currency,
    }


def _traces(evaluations: Sequence[Evaluation]) -> list[RuleTrace]:
    return [
        {
            "table": evaluation.table,
            "inputs": evaluation.inputs,
            "tried": evaluation.tried,
            "fired": evaluation.fired,
            "because": evaluation.because,
            "because_zh": evaluation.because_zh,
            "outputs": evaluation.outputs,
        }
        for evaluation in evaluations
    ]
