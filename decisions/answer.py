"""The answers to questions, and the entry of a decision in the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, NamedTuple, NotRequired

import orjson
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from obligor.data.money import to_minor
from obligor.decisions.answer_parts import (
    Authority,
    CustomerClass,
    Explanation,
    LedgerAnswer,
    LimitAnswer,
    ModelAnswer,
    Outcome,
    PdAnswer,
    PolicyAnswer,
    PositionPart,
    PriceFloorAnswer,
    RuleTrace,
    Terms,
    explanation,
    ledger_answer,
    limit_answer,
    model_answer,
    pd_answer,
    policy_answer,
    price_floor_answer,
    reasons_of,
    rule_traces,
    terms_answer,
    with_position,
)
from obligor.decisions.champion import Champion
from obligor.decisions.counterfactuals import Counterfactual, OfferedQuestion
from obligor.decisions.facts import DecidedQuestion, ScoredRow, inputs_of
from obligor.decisions.json_values import Money, money
from obligor.decisions.reasons import (
    ExplainedRow,
    Reason,
    column_reasons,
    principal_reasons,
)
from obligor.policy.collecting.priority import CollectionPriority
from obligor.policy.credit.decide import Decision
from obligor.record.entry import Entry


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


class ScoreBody(PdAnswer):
    """A PD with its explanation: no decision."""

    reasons: list[Reason]
    explanation: Explanation
    model: ModelAnswer


class ScoreAnswer(ScoreBody):
    """A PD with its explanation: no decision; with an entry id if it is recorded."""

    entry_id: NotRequired[str]
    customer_id: NotRequired[str]
    recorded_at: NotRequired[datetime]


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


class _DecisionBody(PdAnswer, DecidedTerms):
    """A decision without the position, which not every rulebook shows."""

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


class DecisionAnswer(_DecisionBody, PositionPart):
    """An explained and recorded credit decision."""


class Stamp(NamedTuple):
    """The id and the time of a new entry."""

    entry_id: str
    recorded_at: datetime


class EntryHead(NamedTuple):
    """What an entry is and what it answers."""

    stamp: Stamp
    kind: str
    outcome: str
    request: BaseModel


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
    answer: _DecisionBody = {
        "decision_id": stamp.entry_id,
        "customer_id": known_question.request.customer_id,
        "as_of": known_question.account.as_of,
        "recorded_at": stamp.recorded_at,
        "outcome": decision.outcome,
        **pd_answer(decided.scored),
        **_decided_terms(decision),
        "reasons": reasons_of(decided, champion),
        "counterfactuals": offered.counterfactuals,
        "explanation": explanation(champion, decided.scored),
        "rules": rule_traces(decision.trace),
        "model": model_answer(champion),
        "policy": policy_answer(decided.rulebook),
        "features": decided.facts.features,  # NaN is written as null
        "ledger": ledger_answer(decided),
    }
    head = EntryHead(stamp, "decision", decision.outcome, known_question.request)
    return entry_with(head, decided, champion, with_position(answer, decided))


def entry_with(
    head: EntryHead,
    decided: DecidedQuestion,
    champion: Champion,
    answer: Mapping[str, object],
) -> Entry:
    """Return the entry of a computed answer.

    Parameters
    ----------
    head : EntryHead
        Id, time, kind, outcome and request.
    decided : DecidedQuestion
        The decision about the customer.
    champion : Champion
        The model that scored the customer.
    answer : mapping
        The answer, JSON values by name.

    Returns
    -------
    Entry
        Its `body` is the exact text of the answer.
    """
    known_question = decided.known_question
    decision = decided.decision
    return Entry(
        entry_id=head.stamp.entry_id,
        kind=head.kind,
        customer_id=known_question.request.customer_id,
        as_of=known_question.account.as_of,
        recorded_at=head.stamp.recorded_at,
        idempotency_key=known_question.question.key,
        outcome=head.outcome,
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
        request=head.request.model_dump_json(),
        # Decimals in a trace are written as text and lose no digit.
        body=orjson.dumps(answer, default=str).decode(),
    )


def score_answer(champion: Champion, scored: ScoredRow) -> ScoreBody:
    """Return the answer to ready-made features."""
    baseline = champion.model.reference
    encoding = champion.model.encoding
    values = scored.values
    contributions = scored.contributions
    if encoding:
        reasons = column_reasons(values, contributions, baseline, encoding)
    else:
        row = ExplainedRow(champion.model.features, values, contributions)
        reasons = principal_reasons((), row, baseline)
    return {
        **pd_answer(scored),
        "reasons": reasons,
        "explanation": explanation(champion, scored),
        "model": model_answer(champion),
    }


def _decided_terms(decision: Decision) -> DecidedTerms:
    currency = decision.limit.currency
    return {
        "grade": decision.grade,
        "score": decision.score,
        "customer_class": decision.customer_class,
        "limit": limit_answer(decision.limit),
        "terms": terms_answer(decision.terms),
        "price_floor": price_floor_answer(decision.price_floor),
        "authority": {"approver": decision.approver, "persons": decision.persons},
        "expected_loss": money(decision.expected_loss, currency),
        "next_review_on": decision.next_review_on,
        "ladder": {"rung": decision.ladder.rung, "since": decision.ladder.since},
        "collection": _collection_answer(decision.collection, currency),
    }


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
