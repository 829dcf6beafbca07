"""What leaves the service: the answer to a scored and decided question, and its entry in the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from pydantic import BaseModel

from obligor.data.money import to_minor
from obligor.decisions.champion import Champion
from obligor.decisions.facts import DecidedQuestion, ScoredRow, inputs_of
from obligor.decisions.questions import OrderRequest
from obligor.decisions.reasons import column_reasons, principal_reasons
from obligor.model.bundle import MODEL_NAME
from obligor.policy.credit.decide import Decision
from obligor.policy.credit.orders import Order, OrderCheck
from obligor.policy.credit.pricing import discount_per_year, floor_of
from obligor.policy.credit.terms import Terms
from obligor.record.entry import Entry


def entry_of(
    one: DecidedQuestion,
    counterfactuals: Sequence[Mapping[str, Any]],
    champion: Champion,
    decision_id: str,
    recorded_at: datetime,
) -> Entry:
    """Return the entry of a decision; its `body` is the exact text of the answer."""
    known, scored, decision, rulebook = (
        one.known,
        one.scored,
        one.decision,
        one.rulebook,
    )
    as_of, currency = known.account.as_of, known.currency
    answer = {
        "decision_id": decision_id,
        "customer_id": known.request.customer_id,
        "as_of": as_of,
        "recorded_at": recorded_at,
        "outcome": decision.outcome,
        **scored.pds(),
        **_decided(decision),
        "reasons": principal_reasons(
            decision.reasons,
            scored.values,
            scored.contributions,
            champion.model.reference,
            currency,
        ),
        "counterfactuals": counterfactuals,
        "explanation": explanation(champion, scored),
        "rules": decision.trace,
        "model": model_of(champion),
        "policy": {"version": rulebook.version, "sha256": rulebook.sha256},
        "features": one.facts.features,  # NaN is written as null
        "ledger": {"source": known.source, "observed_until": known.observed_until},
    }
    return _entry(
        one,
        "decision",
        decision.outcome,
        champion,
        decision_id,
        recorded_at,
        known.request,
        answer,
    )


def order_entry_of(
    one: DecidedQuestion,
    asked: OrderRequest,
    order: Order,
    check: OrderCheck,
    champion: Champion,
    decision_id: str,
    recorded_at: datetime,
) -> Entry:
    """Return the entry of an order check."""
    known, scored, decision, rulebook = (
        one.known,
        one.scored,
        one.decision,
        one.rulebook,
    )
    as_of, currency = known.account.as_of, known.currency
    decided = _decided(decision)
    reasons = principal_reasons(
        decision.reasons,
        scored.values,
        scored.contributions,
        champion.model.reference,
        currency,
    )
    floor = None
    if not order.is_prepaid:
        floor = floor_of(
            order.amount, decision.position, decision.terms, decision.pricing
        )
    answer = {
        "decision_id": decision_id,
        "kind": "order",
        "customer_id": asked.customer_id,
        "as_of": as_of,
        "recorded_at": recorded_at,
        "outcome": check.outcome,
        "order": {"amount": order.amount, "currency": currency},
        "exposure": {"amount": check.exposure, "currency": currency},
        "room": {"amount": check.room, "currency": currency},
        "blocks": [
            {
                "code": block.fired,
                "text": block.because,
                "text_zh": block.because_zh,
                **block.outputs,
            }
            for block in check.blocks
        ],
        "authority": check.authority.outputs,
        "releases": [
            {**vars(release), "currency": currency} for release in check.releases
        ],
        "price_floor": floor,
        "customer": {
            "outcome": decision.outcome,
            **scored.pds(),
            **{
                name: decided[name]
                for name in ("grade", "customer_class", "limit", "terms")
            },
            "reasons": reasons,
        },
        "rules": [*decision.trace, *check.blocks, check.authority],
        "model": model_of(champion),
        "policy": {"version": rulebook.version, "sha256": rulebook.sha256},
        "features": one.facts.features,
        "ledger": {"source": known.source, "observed_until": known.observed_until},
    }
    return _entry(
        one, "order", check.outcome, champion, decision_id, recorded_at, asked, answer
    )


def _entry(
    one: DecidedQuestion,
    kind: str,
    outcome: str,
    champion: Champion,
    decision_id: str,
    recorded_at: datetime,
    request: BaseModel,
    answer: Mapping[str, Any],
) -> Entry:
    asked, decision, currency = (
        request.model_dump_json(),
        one.decision,
        one.known.currency,
    )
    return Entry(
        entry_id=decision_id,
        kind=kind,
        customer_id=one.known.request.customer_id,
        as_of=one.known.account.as_of,
        recorded_at=recorded_at,
        idempotency_key=one.key,
        outcome=outcome,
        pd_12m=one.scored.pd_12m,
        grade=decision.grade,
        limit_minor=to_minor(decision.limit.amount, currency),
        currency=currency,
        model_sha256=champion.sha256,
        policy_sha256=one.rulebook.sha256,
        is_filed=one.known.request.file is not None,
        is_natural_person=one.known.request.is_natural_person,
        inputs=inputs_of(one.known),
        request=asked,
        # Decimals are written as text: a trace is read by people and must not lose a digit.
        body=orjson.dumps(answer, default=str).decode(),
    )


def score_answer(champion: Champion, scored: ScoredRow) -> bytes:
    """Return the answer to ready-made features as JSON."""
    baseline, encoding = champion.model.reference, champion.model.encoding
    told = scored.values, scored.contributions, baseline
    return orjson.dumps(
        {
            **scored.pds(),
            "reasons": column_reasons(*told, encoding)
            if encoding
            else principal_reasons((), *told),
            "explanation": explanation(champion, scored),
            "model": model_of(champion),
        }
    )


def explanation(champion: Champion, scored: ScoredRow) -> dict[str, Any]:
    """Return the exact explanation: base plus contributions is the margin, and the calibration gives the PD."""
    baseline = champion.model.reference
    return {
        "base": champion.model.base,
        "contributions": dict(
            zip(champion.model.features, scored.contributions, strict=True)
        ),
        "margin": scored.margin,
        "calibration": champion.calibration,
        "baseline": {"population": baseline.population, "n": baseline.n},
    }


def model_of(champion: Champion) -> dict[str, Any]:
    """Return which model it was."""
    return {
        "name": MODEL_NAME,
        "version": champion.version,
        "sha256": champion.sha256,
        "horizon_days": champion.model.horizon_days,
    }


def _decided(decision: Decision) -> dict[str, Any]:
    currency = decision.limit.currency
    collection = decision.collection and {
        "stage": decision.collection.stage,
        "channel": decision.collection.channel,
        "value_per_minute": {
            "amount": decision.collection.value_per_minute,
            "currency": currency,
        },
        "because": decision.collection.because,
        "because_zh": decision.collection.because_zh,
    }
    limit, floor = decision.limit, decision.price_floor
    return {
        "grade": decision.grade,
        "score": decision.score,
        "customer_class": decision.customer_class,
        "limit": {
            "amount": limit.amount,
            "currency": currency,
            "binding_cap": limit.binding_cap,
            "next_cap": limit.next_cap,
            "caps": limit.caps,
        },
        "terms": _terms(decision.terms),
        "price_floor": floor,
        "authority": {"approver": decision.approver, "persons": decision.persons},
        "expected_loss": {"amount": decision.expected_loss, "currency": currency},
        "next_review_on": decision.next_review_on,
        "ladder": {"rung": decision.ladder.rung, "since": decision.ladder.since},
        "collection": collection,
    }


def _terms(terms: Terms) -> dict[str, Any]:
    """The terms, with what the discount is worth in a year; without one where there is none to take."""
    days_earlier, per_year = terms.terms_days - terms.discount_days, None
    if terms.discount_rate and days_earlier > 0:
        per_year = float(discount_per_year(terms.discount_rate, days_earlier))
    return {
        "terms_days": terms.terms_days,
        "is_prepaid": terms.is_prepaid,
        "deposit_share": float(terms.deposit_share),
        "discount_rate": float(terms.discount_rate) if per_year is not None else 0.0,
        "discount_days": terms.discount_days if per_year is not None else None,
        "discount_per_year": per_year,
    }
