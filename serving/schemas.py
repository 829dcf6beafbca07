"""What the endpoints take and give; the OpenAPI document is made from these."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from data.errors import SchemaError
from data.money import MINOR_DIGITS, minor_digits

MOST_IN_BATCH = 1000
MOST_ROWS = 20_000


def _known_currency(code: str) -> str:
    try:
        minor_digits(code)
    except SchemaError as error:
        raise ValueError(str(error)) from None
    return code


Id = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f]+$")]
Currency = Annotated[
    str, Field(json_schema_extra={"enum": sorted(MINOR_DIGITS)}, max_length=3), AfterValidator(_known_currency)
]
Amount = Annotated[Decimal, Field(gt=0, le=Decimal("1e12"), max_digits=18, decimal_places=3, allow_inf_nan=False)]
AmountOrZero = Annotated[Decimal, Field(ge=0, le=Decimal("1e12"), max_digits=18, decimal_places=3)]
Figure = Annotated[float, Field(allow_inf_nan=False, ge=-1e15, le=1e15)]


class Body(BaseModel):
    """What comes in: strict about types and names."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class CustomerRow(Body):
    """The customer's master record."""

    registered_on: date
    known_on: date | None = None


class InvoiceRow(Body):
    """An item that was invoiced."""

    invoice_id: Id
    issued_on: date
    due_on: date
    amount: Amount
    currency: Currency
    known_on: date | None = None


class PaymentRow(Body):
    """Money received for an item, or a credit note given."""

    invoice_id: Id
    paid_on: date
    amount: Amount
    kind: Literal["payment", "credit_note"] = "payment"
    payment_id: Id | None = None
    known_on: date | None = None


class PromiseRow(Body):
    """A promise to pay an amount of an item by a day."""

    invoice_id: Id
    promised_on: date
    pay_by: date
    amount: Amount
    known_on: date | None = None


class DisputeRow(Body):
    """A dispute about an item."""

    invoice_id: Id
    opened_on: date
    resolved_on: date | None = None
    known_on: date | None = None


class WriteOffRow(Body):
    """What was given up of an item."""

    invoice_id: Id
    written_off_on: date
    amount: Amount
    known_on: date | None = None


class LimitRow(Body):
    """A credit limit and the day it became known."""

    amount: AmountOrZero
    currency: Currency
    known_on: date


class FinancialsRow(Body):
    """A yearly statement and the day it became known."""

    period_end: date
    known_on: date
    turnover: Figure | None = None
    net_income: Figure | None = None
    total_assets: Figure | None = None
    equity: Figure | None = None
    current_assets: Figure | None = None
    current_liabilities: Figure | None = None


class RateRow(Body):
    """Units of the reporting currency per unit of another."""

    currency: Currency
    rate_on: date
    rate: Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
    known_on: date | None = None


class InlineLedger(Body):
    """One customer's ledger, sent with the request instead of looked up."""

    currency: Currency = Field(description="The reporting currency")
    customers: Annotated[list[CustomerRow], Field(max_length=1)] = []
    invoices: Annotated[list[InvoiceRow], Field(max_length=MOST_ROWS)] = []
    payments: Annotated[list[PaymentRow], Field(max_length=MOST_ROWS)] = []
    promises: Annotated[list[PromiseRow], Field(max_length=MOST_ROWS)] = []
    disputes: Annotated[list[DisputeRow], Field(max_length=MOST_ROWS)] = []
    write_offs: Annotated[list[WriteOffRow], Field(max_length=MOST_ROWS)] = []
    limits: Annotated[list[LimitRow], Field(max_length=MOST_ROWS)] = []
    financials: Annotated[list[FinancialsRow], Field(max_length=MOST_ROWS)] = []
    fx_rates: Annotated[list[RateRow], Field(max_length=MOST_ROWS)] = []


class CreditRequest(Body):
    """What the customer asks for now."""

    amount: Amount
    currency: Currency
    terms_days: Annotated[int, Field(ge=0, le=365)] | None = None


class DecisionRequest(Body):
    """A question about one customer."""

    customer_id: Id
    as_of: date | None = Field(None, description="Known through the end of that day; default the ledger's last")
    request: CreditRequest | None = None
    ledger: InlineLedger | None = None


class BatchRequest(Body):
    """Up to 1,000 questions, answered in order; one that fails does not stop the others."""

    decisions: Annotated[list[DecisionRequest], Field(min_length=1, max_length=MOST_IN_BATCH)]


class ScoreRequest(Body):
    """Ready-made features to score: every name of the catalogue, null where not known."""

    features: Annotated[dict[str, Figure | None], Field(max_length=1000)]


class Money(BaseModel):
    """An amount as a decimal text, with its currency."""

    amount: str
    currency: str


class LimitAnswer(Money):
    """The credit limit, every cap considered, and the one that binds."""

    binding_cap: str
    caps: dict[str, str]


class Terms(BaseModel):
    """Payment terms."""

    terms_days: int
    is_prepaid: bool


class Reason(BaseModel):
    """A principal reason: a rule that decided (P..), or a family of features that raised the PD (F..)."""

    code: str
    text: str
    text_zh: str
    family: str | None = Field(description="The features that speak together here")
    features: list[str] = Field(description="Those of the family that raised the PD against the baseline")
    feature: str | None = Field(description="The strongest of them; the text is about it")
    value: float | None
    baseline: float | None = Field(description="The feature's median over the baseline population")
    unit: str | None
    contribution: float | None = Field(description="Log-odds the family adds to the baseline's mean")


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


class ScoreAnswer(BaseModel):
    """A PD with its explanation: no decision, no record."""

    pd_12m: float
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
    value_per_minute: Money
    because: str


class LedgerAnswer(BaseModel):
    """Where the facts came from."""

    source: Literal["store", "request"]
    observed_until: date | None


class DecisionAnswer(BaseModel):
    """An explained and recorded credit decision."""

    decision_id: str
    customer_id: str
    as_of: date
    recorded_at: datetime
    outcome: Literal["approve", "refer", "decline"]
    pd_12m: float
    grade: int
    score: int
    limit: LimitAnswer
    terms: Terms
    expected_loss: Money
    collection: Collection | None
    reasons: list[Reason]
    counterfactuals: list[Counterfactual] = Field(max_length=3)
    explanation: Explanation
    rules: list[RuleTrace]
    model: ModelAnswer
    policy: PolicyAnswer
    features: dict[str, float | None]
    ledger: LedgerAnswer


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
    problem: Problem | None = None


class BatchAnswer(BaseModel):
    """The answers in the order of the questions."""

    decisions: list[BatchItem]


class DecisionList(BaseModel):
    """A customer's decisions, newest first."""

    customer_id: str
    decisions: list[DecisionAnswer]
