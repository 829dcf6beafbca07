"""What the endpoints give; the OpenAPI document is made from these."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

from pydantic import BaseModel, Field


class Money(BaseModel):
    """An amount as a decimal text, with its currency."""

    amount: str
    currency: str


class LimitAnswer(Money):
    """The credit limit, every cap considered, and the one that binds."""

    binding_cap: str
    next_cap: str | None = Field(
        description="The cap that would bind if the binding one went"
    )
    caps: dict[str, str]


class Terms(BaseModel):
    """Payment terms; a discount for paying by `discount_days`, and what taking it earns in a year."""

    terms_days: int
    is_prepaid: bool
    deposit_share: float
    discount_rate: float
    discount_days: int | None
    discount_per_year: float | None


class PriceFloorAnswer(Money):
    """The lowest price on credit that pays for the credit, and what it is made of."""

    cash_price: str
    financing: str
    expected_loss: str
    capital_charge: str


class Authority(BaseModel):
    """Who may approve the amount, and how many persons."""

    approver: Literal["system", "credit_analyst", "credit_manager", "director"]
    persons: int


class Reason(BaseModel):
    """A principal reason: a rule that decided (P..), or a family of features that raised the PD (F..)."""

    code: str
    text: str
    text_zh: str
    family: str | None = Field(description="The features that speak together here")
    features: list[str] = Field(
        description="Those of the family that raised the PD against the baseline"
    )
    feature: str | None = Field(
        description="The strongest of them; the text is about it"
    )
    value: float | None
    baseline: float | None = Field(
        description="The feature's median over the baseline population"
    )
    unit: str | None
    contribution: float | None = Field(
        description="Log-odds the family adds to the baseline's mean"
    )


class Change(BaseModel):
    """A field that an act would change."""

    feature: str
    from_: float | None = Field(alias="from")
    to: float | None
    unit: str


class Counterfactual(BaseModel):
    """An act of the customer that would have made it an approval, scored and decided again."""

    act: str
    text: str
    text_zh: str
    changes: list[Change]
    outcome: Literal["approve"]
    pd_12m: float
    grade: int
    limit: Money


class BaselineAnswer(BaseModel):
    """Who reasons compare the customer with."""

    population: str
    n: int


class Explanation(BaseModel):
    """Exact SHAP contributions on the log-odds scale: base + sum = margin; the calibration gives the PD."""

    base: float
    contributions: dict[str, float]
    margin: float
    calibration: dict[str, Any]
    baseline: BaselineAnswer


class ModelAnswer(BaseModel):
    """The model that gave the PD."""

    name: str
    version: str
    sha256: str
    horizon_days: int


class PdAnswer(BaseModel):
    """The probability of default: over 12 months with its 95% interval over resampled customers, and earlier."""

    pd_12m: float
    pd_12m_interval: list[float] = Field(
        description="Low and high: of the default rate at such a margin"
    )
    pd_3m: float
    pd_6m: float


class ScoreAnswer(PdAnswer):
    """A PD with its explanation: no decision, no record."""

    reasons: list[Reason]
    explanation: Explanation
    model: ModelAnswer


class RuleTrace(BaseModel):
    """What one decision table saw, tried, and answered."""

    table: str
    inputs: dict[str, Any]
    tried: list[str]
    fired: str
    because: str
    because_zh: str
    outputs: dict[str, Any]


class PolicyAnswer(BaseModel):
    """The rulebook that decided."""

    version: str
    sha256: str


class Collection(BaseModel):
    """For an overdue account: its stage, and what a contact is worth per minute."""

    stage: str
    channel: str
    value_per_minute: Money
    because: str
    because_zh: str


class LadderAnswer(BaseModel):
    """The rung kept and broken promises led to: -3 (nothing goes out unpaid) to 2, and since when."""

    rung: int
    since: date | None


class LedgerAnswer(BaseModel):
    """Where the facts came from."""

    source: Literal["store", "request"]
    observed_until: date | None


class DecisionAnswer(PdAnswer):
    """An explained and recorded credit decision."""

    decision_id: str
    customer_id: str
    as_of: date
    recorded_at: datetime
    outcome: Literal["approve", "refer", "decline"]
    grade: int
    score: int
    customer_class: Literal["premium", "general", "risk"]
    limit: LimitAnswer
    terms: Terms
    price_floor: PriceFloorAnswer | None
    authority: Authority
    expected_loss: Money
    next_review_on: date
    collection: Collection | None
    ladder: LadderAnswer
    reasons: list[Reason]
    counterfactuals: list[Counterfactual] = Field(max_length=3)
    explanation: Explanation
    rules: list[RuleTrace]
    model: ModelAnswer
    policy: PolicyAnswer
    features: dict[str, float | None]
    ledger: LedgerAnswer


class Block(BaseModel):
    """A block rule that fired."""

    code: str
    action: Literal["hold", "refer"]
    text: str
    text_zh: str


class ReleaseAnswer(Money):
    """Something that would release the order, put to the rules again."""

    act: Literal["order_less", "pay", "prepay"]
    text: str
    text_zh: str


class OrderAnswer(BaseModel):
    """Whether the order may go out, why not, and what would release it; recorded as a decision is."""

    decision_id: str
    kind: Literal["order"]
    customer_id: str
    as_of: date
    recorded_at: datetime
    outcome: Literal["release", "hold", "refer"]
    order: Money
    exposure: Money = Field(
        description="Open items, unbilled orders in the horizon, and the order"
    )
    room: Money = Field(description="What fits the limit")
    blocks: list[Block]
    authority: Authority = Field(description="Who may release it against its blocks")
    releases: list[ReleaseAnswer]
    price_floor: PriceFloorAnswer | None
    customer: OrderCustomer
    rules: list[RuleTrace]
    model: ModelAnswer
    policy: PolicyAnswer
    features: dict[str, float | None]
    ledger: LedgerAnswer


class OrderCustomer(PdAnswer):
    """The decision about the customer that the order must fit."""

    outcome: Literal["approve", "refer", "decline"]
    grade: int
    customer_class: Literal["premium", "general", "risk"]
    limit: LimitAnswer
    terms: Terms
    reasons: list[Reason]


class EarlyWarning(BaseModel):
    """An early warning that fired, with the values it saw."""

    code: str
    severity: Literal["watch", "act"]
    text: str
    text_zh: str
    evidence: dict[str, Any]


class DriverAnswer(BaseModel):
    """A feature's part in the change of the margin (log-odds)."""

    feature: str
    was: float | None
    now: float | None
    margin_change: float


class Since(BaseModel):
    """What changed since the decision before; drivers only where one model gave both."""

    decision_id: str
    as_of: date
    pd_12m: list[float] = Field(description="Before and now")
    grade: list[int]
    margin_change: float
    drivers: list[DriverAnswer]
    text: str


class WarningsAnswer(BaseModel):
    """The early warnings about a customer, as of the last recorded decision."""

    customer_id: str
    decision_id: str
    as_of: date
    warnings: list[EarlyWarning]
    review_on: date = Field(
        description="At once where a warning asks to act, else as the decision said"
    )
    since: Since | None


class Problem(BaseModel):
    """An error per RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    where: str | None = None
    expected: str | None = None
    do: str | None = None


class BatchItem(BaseModel):
    """The answer to one question of a batch: a decision or a problem."""

    status: int
    decision: DecisionAnswer | None = None
    receipt: str | None = None
    problem: Problem | None = None


class BatchAnswer(BaseModel):
    """The answers in the order of the questions."""

    decisions: list[BatchItem]


class DecisionList(BaseModel):
    """A customer's decisions, newest first."""

    customer_id: str
    decisions: list[DecisionAnswer]
