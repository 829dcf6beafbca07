"""The answer to an order check, and its entry in the record."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, NamedTuple

from pydantic import Field
from typing_extensions import TypedDict

from obligor.decisions.answer import EntryHead, Stamp, entry_with
from obligor.decisions.answer_parts import (
    Authority,
    CustomerClass,
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
from obligor.decisions.facts import DecidedQuestion
from obligor.decisions.json_values import Money, money, one_of
from obligor.decisions.questions import OrderRequest
from obligor.decisions.reasons import Reason
from obligor.policy.credit.orders import Order, OrderCheck, Release
from obligor.policy.credit.pricing import floor_of
from obligor.policy.rulebooks.decision_table import Evaluation
from obligor.record.entry import Entry


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


class _OrderBody(TypedDict):
    """An order check without the position, which not every rulebook shows."""

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


class OrderAnswer(_OrderBody, PositionPart):
    """Whether the order may go out, why not, and what would release it."""


class CheckedOrder(NamedTuple):
    """An order in the reporting currency, with what the rules said about it."""

    request: OrderRequest
    order: Order
    check: OrderCheck


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
    answer: _OrderBody = {
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
            **pd_answer(decided.scored),
            "grade": decision.grade,
            "customer_class": decision.customer_class,
            "limit": limit_answer(decision.limit),
            "terms": terms_answer(decision.terms),
            "reasons": reasons_of(decided, champion),
        },
        "rules": rule_traces((*decision.trace, *check.blocks, check.authority)),
        "model": model_answer(champion),
        "policy": policy_answer(decided.rulebook),
        "features": decided.facts.features,
        "ledger": ledger_answer(decided),
    }
    head = EntryHead(stamp, "order", check.outcome, request)
    return entry_with(head, decided, champion, with_position(answer, decided))


def _order_price_floor(
    decided: DecidedQuestion, order: Order
) -> PriceFloorAnswer | None:
    """Return the price floor of an order on credit; None for one that is prepaid."""
    if order.is_prepaid:
        return None
    decision = decided.decision
    floor = floor_of(order.amount, decision.position, decision.terms, decision.pricing)
    return price_floor_answer(floor)


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
