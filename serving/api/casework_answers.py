"""What the endpoints that people work with give: cases, worklists, contacts, simulations."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from obligor.serving.api.answers import Authority, Money, PolicyAnswer


class LateInterestAnswer(Money):
    """Interest so far by the law of the customer's country, and its fee in that law's currency."""

    fee: str
    fee_currency: str
    because: str


class WorklistLine(BaseModel):
    """An account to work on, with what a contact is worth and why."""

    rank: int
    collector: int
    customer_id: str
    customer_class: Literal["premium", "general", "risk"]
    pd_12m: float
    amount: Money = Field(description="Overdue, and neither disputed nor promised")
    overdue: Money
    disputed: Money
    dpd_days: int
    stage: str
    channel: Literal["mail", "call", "visit", "lawyer"]
    minutes: int
    calls_left_today: int
    value: Money = Field(description="What the contact is expected to save")
    value_per_minute: Money
    late_interest: LateInterestAnswer
    hand_over: Literal["insurer", "lawyer"] | None
    deadline: date | None = Field(
        description="The insurer's, where the debt is insured"
    )
    promise_broken_on: date | None
    because: str
    because_zh: str


class LeftOut(BaseModel):
    """What there was no time for."""

    n: int
    value: Money | None


class WorklistAnswer(BaseModel):
    """The best value within the collectors' time; on a quiet day nobody is contacted."""

    as_of: date
    collectors: int
    minutes: int
    policy: PolicyAnswer
    is_quiet: bool
    value: Money | None
    lines: list[WorklistLine]
    left_out: LeftOut
    resting: dict[str, int] = Field(description="Accounts not worked on, by reason")


class PromiseAnswer(Money):
    """A promise to pay."""

    pay_by: date
    reporting_amount: str


class ContactAnswer(BaseModel):
    """A recorded contact, with the day of the next."""

    contact_id: str
    customer_id: str
    contacted_on: date
    recorded_at: datetime
    by: str
    channel: str
    outcome: str
    promise: PromiseAnswer | None
    note: str | None
    stage: str
    contacts_today: int
    calls_per_day: int
    next_contact_on: date | None
    policy: PolicyAnswer


class CaseReason(BaseModel):
    """Why a case was opened."""

    code: str
    text: str
    text_zh: str


class CaseEvent(BaseModel):
    """What was done about a case: a person's resolution, or the question asked again."""

    kind: Literal["resolution", "again"]
    at: datetime
    outcome: Literal["approve", "release", "refer", "hold", "decline", "pending"]
    by: str | None
    role: str | None
    because: str | None
    said: Literal["approve", "decline"] | None = Field(
        description="What this person decided"
    )
    decision_id: str | None = Field(description="Of the decision made again")


class CaseAnswer(BaseModel):
    """A decision that refers to a person, or an order that is held, and what became of it."""

    case_id: str
    kind: Literal["decision", "order"]
    customer_id: str
    as_of: date
    opened_at: datetime
    status: Literal["open", "closed"]
    outcome: Literal["approve", "release", "refer", "hold", "decline"]
    reasons: list[CaseReason]
    authority: Authority
    made_by: list[str]
    history: list[CaseEvent]


class CaseList(BaseModel):
    """The cases nobody has resolved, oldest first."""

    cases: list[CaseAnswer]


class Mover(BaseModel):
    """A customer's decision under two rulebooks, and every rule and cap that differs."""

    customer_id: str
    pd_12m: float
    outcome: list[str] = Field(description="Before and after")
    limit: list[str]
    binding_cap: list[str]
    because: list[str]


class SimulationAnswer(BaseModel):
    """The loaded ledger under two rulebooks; figures with two numbers are before and after."""

    from_: str = Field(alias="from")
    to: str
    as_of: date
    currency: str
    movers: list[Mover]
    by: dict[str, dict[str, dict[str, Any]]] = Field(
        description="In all, by grade, class, sector and country"
    )


class CheckpointAnswer(BaseModel):
    """What was signed about the record: its size and root at a time."""

    size: int
    root: str
    at: datetime
    key_id: str
    signature: str


class ProofAnswer(BaseModel):
    """That an entry is in the record: its leaf, its place, the hashes that lead to a signed root."""

    entry_id: str
    leaf: str = Field(description="Canonical JSON (RFC 8785)")
    place: int
    path: list[str]
    checkpoint: CheckpointAnswer


class ReplayAnswer(BaseModel):
    """A decision made again with the model, rules and inputs of its day."""

    decision_id: str
    is_equal: bool
    differences: list[str]


class InForceEntry(BaseModel):
    """A model or rulebook, since when, who brought it in and why."""

    since: datetime
    what: Literal["model", "rulebook"]
    version: str
    sha256: str
    by: str
    because: str


class InForceAnswer(BaseModel):
    """What was in force at a time."""

    at: datetime
    model: InForceEntry | None
    rulebook: InForceEntry | None
